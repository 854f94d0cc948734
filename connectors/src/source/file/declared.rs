//! The declared kind of files, from `STORED AS` or option `format`, and the options of CSV.

use std::sync::Arc;

use crate::Error;
use crate::source::declaration::SourceConfig;

/// The options that only CSV has.
const OF_CSV: [&str; 3] = ["delimiter", "header", "quote"];

/// Columns that are filled from the message, or say what a change is.
const FROM_ELSEWHERE: [&str; 7] = ["_sequence", "_ordinal", "_subject", "_timestamp", "_headers", "_payload", "_change"];

/// The declaration of a source's files.
#[derive(Debug, Clone)]
pub(super) struct Declared {
    /// The source's name, for messages.
    pub(super) source_name: String,
    pub(super) kind: Kind,
    /// The declared columns that are filled from the file.
    pub(super) columns: Arc<[String]>,
}

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// JSON, Parquet, Arrow or Avro, detected by the file's first bytes.
    Any,
    Json,
    Csv(Dialect),
    Parquet,
    Arrow,
    Avro,
}

/// The dialect of a CSV file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    /// The quote character. If `None`, quotes are ordinary characters.
    pub(super) quote: Option<u8>,
    /// Whether the first record names the columns. Otherwise they are the declared columns in order.
    pub(super) header: bool,
}

impl Declared {
    /// Reads the declaration.
    ///
    /// # Errors
    /// [`Error::Config`] with the option concerned.
    pub(super) fn of(config: &SourceConfig) -> Result<Declared, Error> {
        let wrong = |message: String, help: &str| Error::Config {
            message: format!("source {}: {message}", config.name),
            help: Some(help.to_owned()),
        };
        let stored_as = config.stored_as.to_ascii_lowercase();
        let format = config.options.get("format").map(|format| format.to_ascii_lowercase());
        let word = match (stored_as.as_str(), format.as_deref()) {
            ("file", Some(format @ ("csv" | "parquet" | "arrow" | "avro"))) => format,
            ("file", Some(_)) => "json",
            ("json", Some(other @ ("csv" | "parquet" | "arrow" | "avro"))) => {
                let message = format!("option 'format' is '{other}', and the source is STORED AS {}", config.stored_as);
                return Err(wrong(message, "leave the option out"));
            }
            (kind @ ("csv" | "parquet" | "arrow" | "avro"), Some(other)) if kind != other => {
                let message = format!("option 'format' is '{other}', and the source is STORED AS {}", config.stored_as);
                return Err(wrong(message, "leave the option out"));
            }
            (kind, _) => kind,
        };
        let kind = match word {
            "csv" => Kind::Csv(dialect(config).map_err(|(message, help)| wrong(message, help))?),
            "parquet" => Kind::Parquet,
            "arrow" => Kind::Arrow,
            "avro" => Kind::Avro,
            "json" => Kind::Json,
            _ => Kind::Any,
        };
        if !matches!(kind, Kind::Csv(_))
            && let Some(option) = OF_CSV.iter().find(|option| config.options.contains_key(**option))
        {
            return Err(wrong(format!("option '{option}' is one of CSV files"), "write STORED AS CSV"));
        }
        let columns = config.declared.fields().iter().map(|field| field.name());
        let columns = columns.filter(|name| !FROM_ELSEWHERE.contains(&name.as_str())).cloned().collect();
        Ok(Declared { source_name: config.name.clone(), kind, columns })
    }
}

impl Declared {
    pub(super) fn is_csv(&self) -> bool {
        matches!(self.kind, Kind::Csv(_))
    }

    /// Checks whether the files may hold JSON.
    pub(super) fn is_json(&self) -> bool {
        matches!(self.kind, Kind::Any | Kind::Json)
    }
}

fn dialect(config: &SourceConfig) -> Result<Dialect, (String, &'static str)> {
    let option = |name: &str| config.options.get(name).map(String::as_str);
    let byte = |name: &str, text: &str| match text.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Ok(*byte),
        _ => Err((format!("option '{name}' is '{text}'"), "write one ASCII character, or 'tab'")),
    };
    let delimiter = match option("delimiter") {
        None => b',',
        Some("\\t" | "tab") => b'\t',
        Some(text) => byte("delimiter", text)?,
    };
    let quote = match option("quote") {
        None => Some(b'"'),
        Some("" | "none") => None,
        Some(text) => Some(byte("quote", text)?),
    };
    let header = match option("header").map(str::to_ascii_lowercase).as_deref() {
        None | Some("true") => true,
        Some("false") => false,
        Some(other) => return Err((format!("option 'header' is '{other}'"), "write 'true' or 'false'")),
    };
    if quote == Some(delimiter) {
        return Err(("the options 'delimiter' and 'quote' are one character".into(), "write another one of them"));
    }
    Ok(Dialect { delimiter, quote, header })
}

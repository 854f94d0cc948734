//! Sources whose events are changes of a table's rows: what their options say.
//!
//! | option | says |
//! | --- | --- |
//! | `format 'debezium'` | a change as Debezium writes it, with or without its schema |
//! | `envelope 'upsert'` | a payload is a row as it is now; an empty one, that there is none |
//! | `envelope 'change'` | a payload has the row before and after, and what was done |
//! | `op`, `before`, `after` | the names of its members |
//! | `deleted` | the member of an upsert that says that the row is gone |
//! | `key` | the columns that tell rows apart |
//! | `truncate` | `apply`: a payload may say that all rows are gone |
//! | `decimals` | how Debezium writes decimals: `precise`, `string` or `double` |

use super::envelope::Part;
use crate::Error;
use crate::source::SourceConfig;

/// The options of a source of changes.
pub(super) const OPTIONS: [&str; 8] = ["after", "before", "decimals", "deleted", "envelope", "key", "op", "truncate"];

/// The column that says what an event does to the row of its key.
pub(super) const KIND_COLUMN: &str = "_change";

/// Columns of a key whose change can be noticed.
const MOST_COLUMNS: usize = 4;

/// How a payload tells of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// It is the row as it is now.
    Row {
        /// The member that says that the row is gone.
        deleted: Option<String>,
        /// The key is in the message around the payload: an empty payload says that its row is gone.
        key_outside: bool,
    },
    /// It has the row before and after.
    BeforeAfter { before: String, after: String, op: String },
}

/// What a source of changes declares.
#[derive(Debug, Clone)]
pub(super) struct Changes {
    pub(super) shape: Shape,
    /// The columns of the key.
    pub(super) key: Vec<String>,
    pub(super) truncates: bool,
    /// As Debezium writes them.
    pub(super) debezium: bool,
}

impl Changes {
    /// Of a source's options; none where its events are no changes.
    ///
    /// # Errors
    /// [`Error::Config`] with the option concerned.
    pub(super) fn of(config: &SourceConfig) -> Result<Option<Changes>, Error> {
        let wrong = |message: String, help: &str| Error::Config {
            message: format!("source {}: {message}", config.name),
            help: Some(help.to_owned()),
        };
        let option = |name: &str| config.options.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let is = |name: &str, word: &str| option(name).is_some_and(|value| value.eq_ignore_ascii_case(word));
        let (debezium, kv) = (is("format", "debezium"), is("format", "kv"));
        let key: Vec<String> = option("key").unwrap_or_default().split(',').map(|name| name.trim().to_owned()).collect();
        let member = |name: &str, default: &str| option(name).unwrap_or(default).to_owned();
        let shape = match option("envelope").map(str::to_ascii_lowercase).as_deref() {
            None if !debezium && !kv => {
                return match OPTIONS.iter().find(|name| option(name).is_some()) {
                    None => Ok(None),
                    Some(name) => Err(wrong(
                        format!("option '{name}' is one of sources of changes"),
                        "write format 'debezium', envelope 'upsert' or envelope 'change' in OPTIONS",
                    )),
                };
            }
            None if debezium => Shape::BeforeAfter { before: "before".into(), after: "after".into(), op: "op".into() },
            Some("change") if !kv && !debezium => {
                Shape::BeforeAfter { before: member("before", "before"), after: member("after", "after"), op: member("op", "op") }
            }
            None | Some("upsert") if !debezium => Shape::Row {
                deleted: option("deleted").map(str::to_owned),
                key_outside: key.iter().all(|column| Part::of(column).is_some()),
            },
            Some("upsert" | "change") => {
                return Err(wrong("options 'format' and 'envelope' do not go together".into(), "leave out 'envelope'"));
            }
            other => {
                let other = other.unwrap_or_default();
                return Err(wrong(format!("envelope '{other}' is not known"), "write 'upsert' or 'change'"));
            }
        };
        let unfit: &[&str] = match shape {
            Shape::Row { .. } => &["op", "before", "after", "truncate", "decimals"],
            Shape::BeforeAfter { .. } if debezium => &["op", "before", "after", "deleted"],
            Shape::BeforeAfter { .. } => &["deleted", "decimals"],
        };
        if let Some(name) = unfit.iter().find(|name| option(name).is_some()) {
            return Err(wrong(format!("option '{name}' does not go with this envelope"), "leave the option out"));
        }
        if kv && !config.stored_as.eq_ignore_ascii_case("NATS") {
            return Err(wrong("format 'kv' is one of buckets of NATS".into(), "write STORED AS NATS"));
        }
        if key.len() > MOST_COLUMNS && matches!(shape, Shape::BeforeAfter { .. }) {
            return Err(wrong(format!("a key has {} columns", key.len()), "name at most 4, or give envelope 'upsert'"));
        }
        let truncates = match option("truncate") {
            None => false,
            Some(value) if value.eq_ignore_ascii_case("apply") => true,
            Some(other) => return Err(wrong(format!("option 'truncate' is '{other}'"), "write 'apply', or leave it out")),
        };
        if config.declared.fields().iter().filter(|field| field.name() == KIND_COLUMN).count() > 1 {
            return Err(wrong(format!("{KIND_COLUMN} is a column that a source of changes has already"), "give it another name"));
        }
        if config.declared.field_with_name(KIND_COLUMN).is_err() {
            return Err(wrong(
                "what makes its events changes is not said in its SQL".into(),
                "write the options 'format' and 'envelope' in OPTIONS of CREATE EXTERNAL TABLE",
            ));
        }
        Ok(Some(Changes { shape, key, truncates, debezium }))
    }
}

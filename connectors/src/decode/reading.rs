//! The source's options for reading column values. `option` applies to all columns, `option.column` to one.
//!
//! | option | meaning |
//! | --- | --- |
//! | `on_bad_member` | what happens to a value that does not fit: `dead_letter` (readers of the column leave the event out) or `null` |
//! | `epoch` | the unit of a time since 1970 that is written as a number: `s`, `ms`, `us` or `ns` |
//! | `null_text` | the text that is read as NULL |
//! | `on_absent_member` | what is said of a column that no event has a member for: `warn`, or `ignore` |

use arrow::datatypes::{DataType, Field, TimeUnit};

use super::changes::Changes;
use super::envelope::Part;
use super::sql_type::SqlType;
use crate::Error;
use crate::source::SourceConfig;

const ON_BAD_MEMBER: &str = "on_bad_member";
const EPOCH: &str = "epoch";
const NULL_TEXT: &str = "null_text";
const ON_ABSENT_MEMBER: &str = "on_absent_member";
/// The text that Debezium writes for a value that the database did not send.
const UNKNOWN: &str = "__debezium_unavailable_value";

/// The names of the options, for error messages of sources.
pub(crate) const OPTIONS: [&str; 4] = [ON_BAD_MEMBER, EPOCH, NULL_TEXT, ON_ABSENT_MEMBER];

/// Checks whether an option of a source is one of these, for all columns or for one.
pub(super) fn is_option(name: &str) -> bool {
    OPTIONS.contains(&name.split_once('.').map_or(name, |(option, _)| option))
}

/// How to read the values of one column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// Whether a value that does not fit becomes NULL without a dead letter.
    pub bad_is_null: bool,
    /// The unit of a number in a TIMESTAMP. Without it, the unit is that of the type. A type in nanoseconds then takes no numbers, since
    /// that is rarely the unit meant.
    pub epoch: Option<TimeUnit>,
    /// The text that is read as NULL.
    pub null_text: Option<String>,
    /// Whether text in a DECIMAL is the base64 of its unscaled value, as Debezium and Kafka Connect write it.
    pub unscaled_decimals: bool,
    /// The text that stands for a value that the writer did not have.
    pub unknown_text: Option<&'static str>,
    /// That no event has a member for the column is nothing to be told.
    pub may_be_absent: bool,
}

impl Reading {
    /// Sets an option. Returns `None` if `value` is not valid for it.
    fn set(&mut self, option: &str, value: &str) -> Option<()> {
        match option {
            ON_BAD_MEMBER => self.bad_is_null = bad_is_null(value)?,
            EPOCH => self.epoch = Some(unit(value)?),
            ON_ABSENT_MEMBER => self.may_be_absent = may_be_absent(value)?,
            _ => self.null_text = Some(value.to_owned()),
        }
        Some(())
    }
}

/// Returns the reading of each declared column, in order.
///
/// # Errors
/// [`Error::Config`] for an invalid value, an unknown column, or an option that does not apply to its column.
pub(super) fn readings(config: &SourceConfig) -> Result<Vec<Reading>, Error> {
    let fields = config.declared.fields();
    let mut readings: Vec<_> = fields.iter().map(|field| before_options(config, field)).collect::<Result<_, _>>()?;
    let options = || config.options.iter().filter(|(name, _)| is_option(name));
    let wrong = |message: String, help: &str| Error::Config {
        message: format!("source {}: {message}", config.name),
        help: Some(help.to_owned()),
    };
    let not_a_value = |name: &str, option: &str, value: &str| {
        wrong(
            format!("option '{name}' is '{value}'"),
            match option {
                EPOCH => "write 's', 'ms', 'us' or 'ns'",
                ON_ABSENT_MEMBER => "write 'warn' or 'ignore'",
                _ => "write 'dead_letter' or 'null'",
            },
        )
    };
    for (name, value) in options().filter(|(name, _)| !name.contains('.')) {
        for (reading, field) in readings.iter_mut().zip(fields) {
            let mut read = reading.clone();
            read.set(name, value).ok_or_else(|| not_a_value(name, name, value))?;
            if fits(name, field, &read).is_ok() {
                *reading = read;
            }
        }
    }
    for (name, option, column, value) in
        options().filter_map(|(name, value)| name.split_once('.').map(|(option, column)| (name, option, column, value)))
    {
        let found = fields.iter().position(|field| field.name() == column);
        let found = found.or_else(|| fields.iter().position(|field| field.name().eq_ignore_ascii_case(column)));
        let (reading, field) = match found.and_then(|index| Some((readings.get_mut(index)?, fields.get(index)?))) {
            Some(found) => found,
            None => return Err(wrong(format!("option '{name}' names no column"), "name one that is declared")),
        };
        reading.set(option, value).ok_or_else(|| not_a_value(name, option, value))?;
        fits(option, field, reading).map_err(|help| {
            wrong(
                format!("option '{name}' does not apply to column {} of type {}", field.name(), SqlType(field.data_type())),
                help,
            )
        })?;
    }
    Ok(readings)
}

/// Returns the reading of a column without its options. Debezium writes values in its own units and forms.
fn before_options(config: &SourceConfig, field: &Field) -> Result<Reading, Error> {
    let mut reading = Reading::default();
    if !Changes::of(config)?.is_some_and(|changes| changes.debezium) {
        return Ok(reading);
    }
    let wrong = |message: String, help: &str| {
        Err(Error::Config { message: format!("source {}: {message}", config.name), help: Some(help.to_owned()) })
    };
    reading.unknown_text = Some(UNKNOWN);
    reading.unscaled_decimals = match config.options.get("decimals").map(|value| value.to_ascii_lowercase()).as_deref() {
        None | Some("precise") => true,
        Some("string" | "double") => false,
        Some(other) => return wrong(format!("option 'decimals' is '{other}'"), "write 'precise', 'string' or 'double'"),
    };
    match field.data_type() {
        // Debezium has no unit of seconds: it writes times with up to three digits as milliseconds.
        DataType::Timestamp(TimeUnit::Second, _) => reading.epoch = Some(TimeUnit::Millisecond),
        DataType::Time32(TimeUnit::Second) | DataType::Time64(TimeUnit::Nanosecond) => {
            return wrong(
                format!("column {} is a TIME whose unit Debezium does not write", field.name()),
                "declare TIME(3) where the database has up to three digits of a second, else TIME(6)",
            );
        }
        _ => {}
    }
    Ok(reading)
}

/// Checks whether an option applies to a column. The error says what to do.
fn fits(option: &str, field: &Field, reading: &Reading) -> Result<(), &'static str> {
    match option {
        ON_BAD_MEMBER if reading.bad_is_null && !field.is_nullable() => Err("declare the column without NOT NULL"),
        EPOCH if !holds_timestamp(field.data_type()) => Err("use it only for columns that contain a TIMESTAMP"),
        EPOCH | NULL_TEXT | ON_ABSENT_MEMBER if Part::of(field.name()).is_some() => Err("the column is filled from the message"),
        _ => Ok(()),
    }
}

fn holds_timestamp(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(..) => true,
        DataType::Struct(fields) => fields.iter().any(|field| holds_timestamp(field.data_type())),
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) | DataType::Map(field, _) => {
            holds_timestamp(field.data_type())
        }
        _ => false,
    }
}

fn bad_is_null(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "dead_letter" => Some(false),
        "null" => Some(true),
        _ => None,
    }
}

fn may_be_absent(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "warn" => Some(false),
        "ignore" => Some(true),
        _ => None,
    }
}

fn unit(value: &str) -> Option<TimeUnit> {
    Some(match value.to_ascii_lowercase().as_str() {
        "s" | "second" | "seconds" => TimeUnit::Second,
        "ms" | "millisecond" | "milliseconds" => TimeUnit::Millisecond,
        "us" | "microsecond" | "microseconds" => TimeUnit::Microsecond,
        "ns" | "nanosecond" | "nanoseconds" => TimeUnit::Nanosecond,
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Schema;

    use super::*;
    use crate::source::BatchLimits;

    fn of(options: &[(&str, &str)]) -> Result<Vec<Reading>, String> {
        let time = |unit| DataType::Timestamp(unit, None);
        let inner = DataType::Struct(vec![Field::new("at", time(TimeUnit::Nanosecond), true)].into());
        let fields = vec![
            Field::new("id", DataType::Int64, false),
            Field::new("at", time(TimeUnit::Nanosecond), true),
            Field::new("Data", inner, true),
            Field::new("_payload", DataType::Utf8, true),
        ];
        let config = SourceConfig {
            name: "events".into(),
            stored_as: "FILE".into(),
            location: "-".into(),
            folder: Default::default(),
            options: options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            declared: Arc::new(Schema::new(fields)),
            columns: vec![0],
            limits: BatchLimits::default(),
        };
        readings(&config).map_err(|error| match error {
            Error::Config { message, help } => format!("{message}; {}", help.unwrap()),
            other => panic!("{other}"),
        })
    }

    #[test]
    fn a_column_goes_before_the_source() {
        let read =
            of(&[("on_bad_member", "null"), ("on_bad_member.at", "dead_letter"), ("epoch", "ms"), ("epoch.data", "S")]).unwrap();
        assert_eq!(read.iter().map(|reading| reading.bad_is_null).collect::<Vec<_>>(), [false, false, true, true]);
        let epochs: Vec<_> = read.iter().map(|reading| reading.epoch).collect();
        assert_eq!(epochs, [None, Some(TimeUnit::Millisecond), Some(TimeUnit::Second), None]);
        let read = of(&[("null_text", ""), ("null_text.at", "N/A"), ("format", "json")]).unwrap();
        let texts: Vec<_> = read.iter().map(|reading| reading.null_text.as_deref()).collect();
        assert_eq!(texts, [Some(""), Some("N/A"), Some(""), None]);
        assert_eq!(of(&[]).unwrap(), vec![Reading::default(); 4]);
    }

    #[test]
    fn what_is_none_says_what_to_write() {
        for (option, value, said) in [
            ("on_bad_member", "skip", "option 'on_bad_member' is 'skip'; write 'dead_letter' or 'null'"),
            ("epoch.at", "days", "option 'epoch.at' is 'days'; write 's', 'ms', 'us' or 'ns'"),
            ("on_absent_member.at", "no", "option 'on_absent_member.at' is 'no'; write 'warn' or 'ignore'"),
            ("epoch.then", "ms", "option 'epoch.then' names no column"),
            ("epoch.id", "ms", "column id of type BIGINT; use it only for"),
            ("on_bad_member.id", "null", "declare the column without NOT NULL"),
            ("null_text._payload", "", "filled from the message"),
        ] {
            let error = of(&[(option, value)]).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}

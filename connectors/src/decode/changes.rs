//! The options of sources whose events are changes of a table's rows (change data capture).
//!
//! | option | meaning |
//! | --- | --- |
//! | `format 'debezium'` | payloads are changes as Debezium writes them, with or without schema |
//! | `envelope 'upsert'` | a payload is the current row; an empty payload deletes the row |
//! | `envelope 'change'` | a payload has the row before and after the change, and the operation |
//! | `op`, `before`, `after` | the names of these members |
//! | `deleted` | the member of an upsert that marks the row as deleted |
//! | `key` | the key columns of a row |
//! | `truncate` | `apply`: a payload may delete all rows |
//! | `decimals` | how Debezium writes decimals: `precise`, `string` or `double` |

use super::envelope::Part;
use crate::Error;
use crate::source::SourceConfig;

/// The names of the options.
pub(super) const OPTIONS: [&str; 8] = ["after", "before", "decimals", "deleted", "envelope", "key", "op", "truncate"];

/// The column that holds the kind of change of a row.
pub(super) const KIND_COLUMN: &str = "_change";

/// Columns of a key whose change can be noticed.
const MOST_COLUMNS: usize = 4;

/// How a payload describes a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// It is the current row.
    Row {
        /// The member that marks the row as deleted.
        deleted: Option<String>,
        /// Whether all key columns are filled from the message. An empty payload then deletes the row.
        key_outside: bool,
    },
    /// It has the row before and after the change, and the operation, in members of these names.
    BeforeAfter { before: String, after: String, op: String },
}

/// The declaration of a source of changes.
#[derive(Debug, Clone)]
pub(super) struct Changes {
    pub(super) shape: Shape,
    /// The names of the key columns.
    pub(super) key: Vec<String>,
    pub(super) truncates: bool,
    /// Whether Debezium writes the changes.
    pub(super) debezium: bool,
}

impl Changes {
    /// Reads the options of a source. Returns `None` if its events are not changes.
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

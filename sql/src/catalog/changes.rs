//! A source whose events are changes of a table's rows: what its declaration says of it. What the options mean for a payload is the connectors'
//! to say.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field};
use datafusion::sql::parser::CreateExternalTable;
use datafusion::sql::sqlparser::ast::{ColumnDef, ColumnOption, Expr, TableConstraint};

use crate::catalog::batches;
use crate::catalog::types::normalized;
use crate::declarations::{ChangeKind, Changes};
use crate::error::Error;
use crate::names::nearest;
use crate::text::Text;

/// The column that says what an event does to the row of its key.
pub(crate) const KIND_COLUMN: &str = "_change";
const SEQUENCE: &str = "_sequence";

/// Whether the options make the events of a source changes.
pub(crate) fn are_declared(options: &BTreeMap<String, String>) -> bool {
    let is = |option: &str, words: &[&str]| {
        options.get(option).is_some_and(|value| words.iter().any(|word| value.eq_ignore_ascii_case(word)))
    };
    is("format", &["debezium", "kv"]) || is("envelope", &["upsert", "change"])
}

/// The key of a PRIMARY KEY clause, if that is the only constraint, or of the columns that are declared as one.
pub(crate) fn primary_key(statement: &CreateExternalTable) -> Option<Vec<String>> {
    let is_key = |column: &&ColumnDef| column.options.iter().any(|option| matches!(option.option, ColumnOption::PrimaryKey(_)));
    let columns: Vec<String> = statement.columns.iter().filter(is_key).map(|column| normalized(&column.name)).collect();
    if !columns.is_empty() && statement.constraints.is_empty() {
        return Some(columns);
    }
    let [TableConstraint::PrimaryKey(key)] = statement.constraints.as_slice() else { return None };
    key.columns
        .iter()
        .map(|column| match &column.column.expr {
            Expr::Identifier(name) => Some(normalized(name)),
            _ => None,
        })
        .collect()
}

/// What a source of changes declares; its key is NOT NULL, and columns for the sequence and the kind of a change are added behind the
/// declared ones. Writes the key to the options, for the connectors.
pub(crate) fn changes(
    statement: &CreateExternalTable,
    options: &mut BTreeMap<String, String>,
    fields: &mut Vec<Field>,
    holds_batches: bool,
    text: &Text,
    errors: &mut Vec<Error>,
) -> Option<Changes> {
    let at = || text.value_of("key").or_else(|| text.word("PRIMARY")).unwrap_or_else(|| text.head());
    let names = match (options.get("key"), primary_key(statement)) {
        (Some(written), _) => written.split(',').map(|name| name.trim().to_owned()).collect(),
        (None, Some(key)) => key,
        (None, None) if options.get("format").is_some_and(|format| format.eq_ignore_ascii_case("kv")) => {
            if !fields.iter().any(|field| field.name() == "_subject") {
                errors.push(Error {
                    message: format!("the source {} is a bucket and has no column for its keys", statement.name),
                    help: Some("declare the column _subject VARCHAR".to_owned()),
                    at: text.head(),
                });
                return None;
            }
            vec!["_subject".to_owned()]
        }
        (None, None) => {
            errors.push(Error {
                message: format!("the source {} holds changes of rows, and no key says of which", statement.name),
                help: Some("write PRIMARY KEY (id) behind its columns, or the option key 'id'".to_owned()),
                at: text.head(),
            });
            return None;
        }
    };
    let mut key = Vec::new();
    for name in &names {
        let found = fields.iter().position(|field| field.name() == name);
        let Some(index) = found.or_else(|| fields.iter().position(|field| field.name().eq_ignore_ascii_case(name))) else {
            let near = nearest(name, fields.iter().map(|field| field.name().as_str()));
            errors.push(Error {
                message: format!("the key names {name}, which is no column of the source"),
                help: Some(
                    near.map_or_else(|| "name columns that are declared".to_owned(), |near| format!("did you mean {near}?")),
                ),
                at: at(),
            });
            return None;
        };
        fields[index] = fields[index].clone().with_nullable(false);
        key.push(index);
    }
    options.insert("key".to_owned(), key.iter().map(|index| fields[*index].name().as_str()).collect::<Vec<_>>().join(", "));
    let visible = fields.len();
    let sequence = fields.iter().position(|field| field.name() == SEQUENCE).unwrap_or_else(|| {
        fields.push(Field::new(SEQUENCE, DataType::UInt64, false));
        fields.len() - 1
    });
    let ordinal = holds_batches.then(|| batches::ordinal(fields));
    fields.push(Field::new(KIND_COLUMN, ChangeKind::DATA_TYPE, false));
    let truncates = options.get("truncate").is_some_and(|value| value.eq_ignore_ascii_case("apply"));
    if truncates && holds_batches {
        errors.push(Error {
            message: "truncate does not go with messages that hold several events".to_owned(),
            help: Some("leave out truncate: a body that empties the table becomes a dead letter".to_owned()),
            at: text.value_of("truncate").unwrap_or_else(|| text.head()),
        });
    }
    Some(Changes { key, visible, sequence, ordinal, kind: fields.len() - 1, truncates })
}

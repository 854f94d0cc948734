//! `CREATE EXTERNAL TABLE`: its columns, and the form of its options. The connectors define what an option means.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::sql::parser::CreateExternalTable;
use datafusion::sql::sqlparser::ast::{ColumnDef, ColumnOption, DataType as SqlType, ObjectName, Spanned, Value};

use crate::catalog::types::{arrow_type, normalized};
use crate::catalog::watermarks::watermark;
use crate::catalog::{batches, changes, once};
use crate::declarations::Source;
use crate::error::Error;
use crate::file::Location;
use crate::names::nearest;
use crate::schemas::{SchemaColumns, Schemas};
use crate::session::Names;
use crate::text::Text;

/// Returns the name of a source or view, if it is safe as the name of a folder. Errors go to `errors`.
pub(crate) fn declared_name(name: &ObjectName, text: &Text, errors: &mut Vec<Error>) -> Option<(String, Location)> {
    let at = text.span(name.span());
    let [part] = name.0.as_slice() else {
        errors.push(Error {
            message: format!("{name} has a schema; there are none here"),
            help: name.0.last().map(|last| format!("write {last}")),
            at,
        });
        return None;
    };
    let written = part.as_ident().map(normalized)?;
    let safe = !written.is_empty()
        && written.len() <= 128
        && !written.starts_with('-')
        && written.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if !safe {
        errors.push(Error {
            message: format!("the name {part} cannot be a folder's name"),
            help: Some("names are of the letters a to z, digits, _ and -, at most 128 of them".to_owned()),
            at,
        });
        return None;
    }
    Some((written, at))
}

/// Returns the source that a statement declares. Errors go to `errors`.
pub(crate) fn source(
    statement: &CreateExternalTable,
    text: &Text,
    (names, schemas): (&Names<'_>, &Schemas<'_>),
    errors: &mut Vec<Error>,
) -> Option<Source> {
    let before = errors.len();
    let name = declared_name(&statement.name, text, errors);
    refuse_twin_columns(statement, text, errors);
    let mut options = options(statement, text, errors);
    let keyed = changes::are_declared(&options);
    let batches = batches::are_declared(&statement.file_type, &options);
    let mut fields: Vec<Field> =
        statement.columns.iter().filter_map(|column| field(column, keyed, text, names, errors)).collect();
    let own = fields.len();
    let notes = of_schema(statement, &options, keyed, &mut fields, text, (schemas, &mut *errors));
    let of_schema = fields.len() - own;
    if fields.is_empty() && errors.len() == before {
        errors.push(Error {
            message: format!("the source {} has no columns", statement.name),
            help: Some(format!(
                "write CREATE EXTERNAL TABLE {} (id BIGINT NOT NULL, country VARCHAR, total DECIMAL(12, 2)) STORED AS ..., or name their \
                 schema in OPTIONS: schema 'FILE', or registry 'http://HOST:PORT', registry_subject 'NAME'",
                statement.name
            )),
            at: text.span(statement.name.span()),
        });
    }
    say_nanoseconds(statement, &mut options);
    refuse_clauses(statement, keyed && changes::primary_key(statement).is_some(), text, errors);
    let changes = (keyed && errors.len() == before)
        .then(|| changes::changes(statement, &mut options, &mut fields, batches, text, errors))
        .flatten();
    let once = once::once(&options, &mut fields, batches, text, errors);
    if once.is_some() && changes.is_some() {
        errors.push(Error {
            message: "a source of changes has no copies: the last change of a key counts, however often it comes".to_owned(),
            help: Some("leave out deduplicate".to_owned()),
            at: text.value_of("deduplicate").unwrap_or_else(|| text.head()),
        });
    }
    let location = match statement.locations.as_slice() {
        [location] => location.clone(),
        _ => {
            errors.push(Error {
                message: "a source has one LOCATION".to_owned(),
                help: Some("declare one source for each, and put them together with UNION ALL in a view".to_owned()),
                at: text.word("LOCATION").unwrap_or_else(|| text.head()),
            });
            return None;
        }
    };
    let (name, _) = name?;
    if errors.len() > before {
        return None;
    }
    let schema = Schema::new(fields);
    let watermark = match options.remove("watermark").map(|written| watermark(&written, &schema)).transpose() {
        Ok(watermark) => watermark,
        Err(refused) => {
            let at = text.value_of("watermark").unwrap_or_else(|| text.head());
            errors.push(Error { message: refused.message, help: Some(refused.help), at });
            return None;
        }
    };
    Some(Source {
        name,
        schema: Arc::new(schema),
        changes,
        batches,
        once,
        stored_as: statement.file_type.to_uppercase(),
        location,
        options,
        watermark,
        of_schema,
        notes,
        at: text.at(),
    })
}

/// Adds the columns of the schema that the options name, where none of the body is declared. Returns notes about them.
fn of_schema(
    statement: &CreateExternalTable,
    options: &BTreeMap<String, String>,
    keyed: bool,
    fields: &mut Vec<Field>,
    text: &Text,
    (schemas, errors): (&Schemas<'_>, &mut Vec<Error>),
) -> Vec<String> {
    let of_message = |column: &ColumnDef| MESSAGE_COLUMNS.contains(&normalized(&column.name).as_str());
    if keyed || !statement.columns.iter().all(of_message) {
        return Vec::new();
    }
    match (schemas.columns)(&statement.name.to_string(), &statement.file_type, options) {
        Ok(None) => Vec::new(),
        Ok(Some(SchemaColumns { fields: derived, notes })) => {
            let own = std::mem::take(fields);
            fields.extend(derived);
            fields.extend(own);
            notes
        }
        Err((message, help)) => {
            let at = text.value_of("schema").or_else(|| text.value_of("registry_subject")).unwrap_or_else(|| text.head());
            errors.push(Error { message, help, at });
            Vec::new()
        }
    }
}

/// The options, keys lower case.
fn options(statement: &CreateExternalTable, text: &Text, errors: &mut Vec<Error>) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    for (key, value) in &statement.options {
        let key_at =
            || text.tokens.iter().rev().find(|token| token.token.to_string().trim_matches('\'').eq_ignore_ascii_case(key));
        let value = match value {
            Value::SingleQuotedString(value) | Value::DoubleQuotedString(value) | Value::EscapedStringLiteral(value) => {
                value.clone()
            }
            other => other.to_string(),
        };
        if options.insert(key.to_lowercase(), value).is_some() {
            errors.push(Error {
                message: format!("the option {key} is given twice"),
                help: Some("keep one of them".to_owned()),
                at: key_at().map_or_else(|| text.head(), |token| text.span(token.span)),
            });
        }
    }
    options
}

/// Adds the option that makes `TIMESTAMP(9)` read numbers as nanoseconds. `TIMESTAMP`, otherwise the same type, takes no numbers.
fn say_nanoseconds(statement: &CreateExternalTable, options: &mut BTreeMap<String, String>) {
    if options.contains_key("epoch") {
        return;
    }
    for column in &statement.columns {
        let name = normalized(&column.name);
        if matches!(column.data_type, SqlType::Timestamp(Some(9), _)) && !MESSAGE_COLUMNS.contains(&name.as_str()) {
            options.entry(format!("epoch.{}", name.to_lowercase())).or_insert_with(|| "ns".to_owned());
        }
    }
}

/// `keyed`: a PRIMARY KEY says which row a change is of.
fn refuse_clauses(statement: &CreateExternalTable, keyed: bool, text: &Text, errors: &mut Vec<Error>) {
    let mut refuse = |present: bool, word: &str, message: &str, help: &str| {
        if present {
            let at = text.word(word).unwrap_or_else(|| text.head());
            errors.push(Error { message: message.to_owned(), help: Some(help.to_owned()), at });
        }
    };
    refuse(
        !statement.table_partition_cols.is_empty(),
        "PARTITIONED",
        "a source has no PARTITIONED BY: its events come in one order",
        "declare the column among the others",
    );
    refuse(
        !statement.order_exprs.is_empty(),
        "ORDER",
        "a source has no WITH ORDER: its events come in the order of their sequence",
        "leave out WITH ORDER",
    );
    refuse(
        !statement.constraints.is_empty() && !keyed,
        statement.constraints.first().map_or("CONSTRAINT", |constraint| match constraint.to_string().split(' ').next() {
            Some("PRIMARY") => "PRIMARY",
            Some("UNIQUE") => "UNIQUE",
            Some("FOREIGN") => "FOREIGN",
            Some("CHECK") => "CHECK",
            _ => "CONSTRAINT",
        }),
        "events are not held to table constraints",
        "leave it out; a view can keep the rows that fit, and NOT NULL sends others to the dead letters",
    );
    refuse(statement.temporary, "TEMPORARY", "a source is not temporary", "write CREATE EXTERNAL TABLE");
}

/// Returns one column. `None` if something is wrong with it. `keyed`: a PRIMARY KEY says which row a change is of.
fn field(column: &ColumnDef, keyed: bool, text: &Text, names: &Names<'_>, errors: &mut Vec<Error>) -> Option<Field> {
    let name = normalized(&column.name);
    let at = text.span(column.name.span);
    let mut nullable = true;
    for option in &column.options {
        match &option.option {
            ColumnOption::NotNull => nullable = false,
            ColumnOption::PrimaryKey(_) if keyed => nullable = false,
            ColumnOption::Null | ColumnOption::Comment(_) => {}
            other => {
                errors.push(Error {
                    message: format!("the column {name} cannot have {other}"),
                    help: Some("a column has a name, a type and NOT NULL; compute or check the rest in a view".to_owned()),
                    at: at.clone(),
                });
                return None;
            }
        }
    }
    let data_type = match arrow_type(&column.data_type, names) {
        Ok(data_type) => data_type,
        Err(refused) => {
            let type_at = text.tokens.iter().find(|token| token.span.start >= column.name.span.end);
            errors.push(Error {
                message: format!("column {name}: {}", refused.message),
                help: Some(refused.help),
                at: type_at.map_or(at, |token| text.span(token.span)),
            });
            return None;
        }
    };
    if let Err(error) = message_column(&name, &data_type, at) {
        errors.push(error);
        return None;
    }
    Some(Field::new(name, data_type, nullable))
}

/// Checks that a column filled from the message can hold what the message has.
fn message_column(name: &str, data_type: &DataType, at: Location) -> Result<(), Error> {
    let strings = |fields: &DataType| match fields {
        DataType::Struct(fields) => {
            fields.len() == 2
                && fields[0].data_type() == &DataType::Utf8
                && match fields[1].data_type() {
                    DataType::Utf8 => true,
                    DataType::List(item) => item.data_type() == &DataType::Utf8,
                    _ => false,
                }
        }
        _ => false,
    };
    let (fits, write) = match name {
        "_sequence" => (matches!(data_type, DataType::UInt64 | DataType::Int64), "BIGINT UNSIGNED"),
        "_ordinal" => {
            (matches!(data_type, DataType::Int32 | DataType::UInt32 | DataType::Int64 | DataType::UInt64), "INT UNSIGNED")
        }
        "_subject" => (data_type == &DataType::Utf8, "VARCHAR"),
        "_timestamp" => (matches!(data_type, DataType::Timestamp(_, _)), "TIMESTAMP"),
        "_headers" => (
            match data_type {
                DataType::Utf8 => true,
                DataType::Map(entries, _) => strings(entries.data_type()),
                _ => false,
            },
            "MAP(VARCHAR, VARCHAR), MAP(VARCHAR, VARCHAR[]) or VARCHAR for JSON",
        ),
        "_payload" => (matches!(data_type, DataType::Utf8 | DataType::Binary), "VARCHAR or BYTEA"),
        _ if name.starts_with('_') => {
            let near = nearest(name, MESSAGE_COLUMNS);
            return match near {
                Some(near) => Err(Error {
                    message: format!("{name} is neither filled from the message nor likely to be a member of the body"),
                    help: Some(format!("did you mean {near}?")),
                    at,
                }),
                None => Ok(()),
            };
        }
        _ => return Ok(()),
    };
    if fits {
        return Ok(());
    }
    Err(Error {
        message: format!("{name} is filled from the message and cannot be {data_type}"),
        help: Some(format!("write {name} {write}")),
        at,
    })
}

/// Columns that are filled from the message.
const MESSAGE_COLUMNS: [&str; 6] = ["_sequence", "_ordinal", "_subject", "_timestamp", "_headers", "_payload"];

/// Checks that no two columns have the same name.
fn refuse_twin_columns(statement: &CreateExternalTable, text: &Text, errors: &mut Vec<Error>) {
    for (index, column) in statement.columns.iter().enumerate() {
        let name = normalized(&column.name);
        if let Some(first) = statement.columns[..index].iter().find(|other| normalized(&other.name) == name) {
            let (line, position) = text.span(first.name.span).line_column();
            errors.push(Error {
                message: format!("the column {name} is declared twice, first at line {line}, column {position}"),
                help: Some("keep one of them".to_owned()),
                at: text.span(column.name.span),
            });
        }
    }
}

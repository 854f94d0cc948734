//! The SQL of a view as it was when it was committed: what the view needs to go on when the files say something else.

use std::collections::BTreeMap;

use alluvium_connectors::decode::KeptSchema;
use alluvium_sql::{RelationKind, View, quoted};
use datafusion::arrow::datatypes::FieldRef;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use serde::{Deserialize, Serialize};

use crate::project::Project;
use crate::query::sql_types::declared_type;
use crate::settings::is_credential;

/// The statements behind one view, without semicolons. Those of views that it reads stand in their own records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// Its own.
    pub view: String,
    /// Of each source that it reads directly, without credentials.
    pub sources: BTreeMap<String, String>,
    /// Of the functions that these statements may call.
    pub functions: BTreeMap<String, String>,
    /// The views that it reads directly.
    pub reads: Vec<String>,
    /// Of each of these sources that has a schema in files: the files.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schemas: BTreeMap<String, Vec<KeptSchema>>,
}

impl Definition {
    /// Of a view of a project; none where a source's text cannot be had, which does not happen.
    #[must_use]
    pub fn of(project: &Project, view: &View) -> Option<Definition> {
        let (catalog, mut sources, mut schemas) = (&project.catalog, BTreeMap::new(), BTreeMap::new());
        let mut reads = Vec::new();
        for (kind, name) in &view.plan.reads {
            match kind {
                RelationKind::View => reads.push(name.clone()),
                RelationKind::Source => {
                    let source = catalog.sources.get(name)?;
                    let statement = source.statement_without(is_credential)?;
                    let of_schema = source.schema.fields().iter().take(source.of_schema);
                    sources.insert(name.clone(), with_columns(&statement, of_schema)?);
                    schemas.extend(project.schemas.get(name).map(|kept| (name.clone(), kept.clone())));
                }
            }
        }
        let functions = called(&view.sql, &catalog.functions);
        Some(Definition { functions, view: view.sql.clone(), sources, reads, schemas })
    }
}

/// Returns the statement of a source with columns that it does not declare itself, since a schema has them: another version of the schema,
/// and a registry that is away, do not change what a commit was made of. None if the statement does not parse, which does not happen.
fn with_columns<'f>(statement: &str, columns: impl Iterator<Item = &'f FieldRef>) -> Option<String> {
    let column = |field: &FieldRef| {
        let not_null = if field.is_nullable() { "" } else { " NOT NULL" };
        format!("{} {}{not_null}", quoted(field.name()), declared_type(field.data_type(), &quoted))
    };
    let columns = columns.map(column).collect::<Vec<_>>().join(", ");
    if columns.is_empty() {
        return Some(statement.to_owned());
    }
    let tokens = Tokenizer::new(&GenericDialect {}, statement).with_unescape(false).tokenize().ok()?;
    let is_stored = |token: &Token| matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("STORED"));
    let list = tokens.iter().position(|token| *token == Token::LParen || is_stored(token))?;
    let written = |tokens: &[Token]| tokens.iter().map(ToString::to_string).collect::<String>();
    if is_stored(&tokens[list]) {
        return Some(format!("{}({columns}) {}", written(&tokens[..list]), written(&tokens[list..])));
    }
    let rest = written(&tokens[list + 1..]);
    let comma = if rest.trim_start().starts_with(')') { "" } else { ", " };
    Some(format!("{}({columns}{comma}{rest}", written(&tokens[..list])))
}

/// The functions whose names stand in a text, and in those of these functions.
fn called(text: &str, functions: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut unread = vec![text];
    while let Some(text) = unread.pop() {
        let text = text.to_lowercase();
        for (name, statement) in functions {
            if text.contains(&name.to_lowercase()) && !found.contains_key(name) {
                found.insert(name.clone(), statement.clone());
                unread.push(statement);
            }
        }
    }
    found
}

//! Which rows of a view a request asks for: equality on columns, an order, a limit.
//!
//! A parameter is a column, unless it is one of the words below; `column.limit` is the column `limit`.

use std::collections::BTreeMap;

use alluvium_sql::{listed, nearest};
use datafusion::arrow::array::StringArray;
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::{Column, ScalarValue};
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::{Expr, SortExpr, lit};

use super::refusal::Refusal;
use crate::error::Error;
use crate::query::newest::OpenCommit;
use crate::query::sql_types::sql_name;

/// The parameters that are no columns.
const WORDS: [&str; 5] = ["limit", "order_by", "format", "min_sequence", "timeout"];
/// What a column begins with that has the name of one of these.
const COLUMN: &str = "column.";

/// What a request asks for, before it is compared with the columns.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// By column: its value, as text.
    equal: BTreeMap<String, String>,
    order: Vec<(String, bool)>,
    limit: Option<usize>,
    pub(super) format: Option<String>,
    /// `min_sequence` and `timeout`.
    pub(super) waits: BTreeMap<String, String>,
}

impl Selection {
    /// Reads the parameters.
    pub(super) fn parse(parameters: &[(String, String)]) -> Result<Selection, Refusal> {
        let mut selection = Selection::default();
        let mut seen = Vec::new();
        for (name, value) in parameters {
            if seen.contains(&name) {
                return Err(Refusal::wrong(
                    format!("'{name}' is given twice"),
                    "one value a column; POST /query takes any condition",
                ));
            }
            seen.push(name);
            match name.as_str() {
                "limit" => {
                    let limit =
                        value.parse().map_err(|_| Refusal::wrong(format!("limit '{value}' is not a number"), "limit=100"))?;
                    selection.limit = Some(limit);
                }
                "order_by" => selection.order = order(value)?,
                "format" => selection.format = Some(value.clone()),
                "min_sequence" | "timeout" => {
                    selection.waits.insert(name.clone(), value.clone());
                }
                name => {
                    let column = name.strip_prefix(COLUMN).filter(|column| WORDS.contains(column)).unwrap_or(name);
                    selection.equal.insert(column.to_owned(), value.clone());
                }
            }
        }
        Ok(selection)
    }

    /// The rows of a commit that it selects, as a query.
    pub(super) async fn over(&self, commit: &OpenCommit) -> Result<DataFrame, Refusal> {
        let schema = commit.schema();
        let mut conditions = Vec::new();
        let mut values = BTreeMap::new();
        for (column, text) in &self.equal {
            let value = value(schema, column, text)?;
            values.insert(index(schema, column)?, value.clone());
            conditions.push(Expr::Column(Column::new_unqualified(column)).eq(lit(value)));
        }
        for (column, _) in &self.order {
            index(schema, column)?;
        }
        // A key leads to one part.
        let hash = commit.hash_of(&values)?;
        let mut rows = commit.rows(|part| hash.is_none_or(|hash| part.may_hold(hash))).await?;
        if let Some(condition) = conditions.into_iter().reduce(Expr::and) {
            rows = rows.filter(condition).map_err(Error::from)?;
        }
        if !self.order.is_empty() {
            // NULL counts as larger than all values, as in PostgreSQL.
            let sorted = self
                .order
                .iter()
                .map(|(column, ascending)| SortExpr::new(Expr::Column(Column::new_unqualified(column)), *ascending, !*ascending));
            rows = rows.sort(sorted.collect()).map_err(Error::from)?;
        }
        if self.limit.is_some() {
            rows = rows.limit(0, self.limit).map_err(Error::from)?;
        }
        Ok(rows)
    }
}

/// Reads `a, b desc`: columns, each with whether it ascends.
fn order(text: &str) -> Result<Vec<(String, bool)>, Refusal> {
    let read = |term: &str| {
        let term = term.trim();
        let (column, direction) = term.rsplit_once(char::is_whitespace).unwrap_or((term, ""));
        match direction.to_ascii_lowercase().as_str() {
            "desc" => Some((column.trim().to_owned(), false)),
            "asc" => Some((column.trim().to_owned(), true)),
            _ if !term.is_empty() => Some((term.to_owned(), true)),
            _ => None,
        }
    };
    let terms: Option<Vec<_>> = text.split(',').map(read).collect();
    terms.ok_or_else(|| Refusal::wrong(format!("order_by '{text}' names no column"), "order_by=revenue desc,country"))
}

fn index(schema: &SchemaRef, column: &str) -> Result<usize, Refusal> {
    schema.index_of(column).map_err(|_| {
        let names = || schema.fields().iter().map(|field| field.name().as_str());
        let help = match nearest(column, names().chain(WORDS)) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("its columns are {}", listed(names())),
        };
        Refusal::wrong(format!("there is no column {column}"), help)
    })
}

/// Converts a text to a value of a column's type.
fn value(schema: &SchemaRef, column: &str, text: &str) -> Result<ScalarValue, Refusal> {
    let data_type = schema.field(index(schema, column)?).data_type();
    let wrong = || {
        let help = match data_type {
            data_type if data_type.is_nested() => "POST /query takes any condition".to_owned(),
            DataType::Timestamp(..) => format!("write {column}=2026-01-31T12:00:00"),
            DataType::Date32 => format!("write {column}=2026-01-31"),
            _ => format!("write a {}", sql_name(data_type)),
        };
        Refusal::wrong(format!("column {column} is a {}, and '{text}' is none", sql_name(data_type)), help)
    };
    if data_type.is_nested() {
        return Err(wrong());
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let cast = cast_with_options(&StringArray::from(vec![text]), data_type, &options).map_err(|_| wrong())?;
    ScalarValue::try_from_array(&cast, 0).map_err(|_| wrong())
}

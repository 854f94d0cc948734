//! The rows in which two commits of a view differ whose SQL may be another: which columns came and went, and which rows were added, removed
//! and changed. Rows are matched by the columns that identify them.
//!
//! It is for people who edit a view. `changed` compares commits of one version, for programs.

use std::collections::BTreeMap;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::can_cast_types;
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::Column;
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::logical_expr::{Expr, cast, lit, try_cast};
use futures::TryStreamExt;

use super::newest::{OpenCommit, rows_of_both};
use super::sql_types::sql_name;
use crate::error::Error;

/// The name of the column with the weights. No view is likely to have it.
const WEIGHT: &str = "$weight";
/// Beyond so many rows that differ, they are only counted.
const MATCHED: usize = 100_000;

/// What differs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// A line for each column that came, went, or has another type.
    pub columns: Vec<String>,
    /// How many rows came.
    pub added: u64,
    /// How many went.
    pub removed: u64,
    /// How many have other values with the same key.
    pub changed: u64,
    /// The first of them, by key: `+` before a row that came, `-` before one that went, `~` before one that changed.
    pub rows: Vec<String>,
    /// How many rows are not among them.
    pub more: u64,
}

impl Compared {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.columns.is_empty() && self.added + self.removed + self.changed == 0
    }
}

/// The values of a row as texts; `None` for NULL.
type Values = Vec<Option<String>>;

fn text(cell: &Option<String>) -> &str {
    cell.as_deref().unwrap_or("NULL")
}

/// A row that only one of the commits has: its cells, and how often more.
struct Row {
    cells: Values,
    times: u64,
}

/// The rows of a key that only one of the commits has.
#[derive(Default)]
struct OfKey {
    removed: Vec<Row>,
    added: Vec<Row>,
}

/// Compares two commits in the columns that both have, and lists the first `shown` rows. `key` names the columns that identify the rows of the
/// later one, if some do; a view of at most one row has none of them.
///
/// # Errors
/// A query over the files fails.
pub async fn compare(before: &OpenCommit, after: &OpenCommit, key: Option<&[String]>, shown: usize) -> Result<Compared, Error> {
    let mut compared = Compared { columns: columns(before.schema(), after.schema()), ..Compared::default() };
    let common: Vec<&Field> = common(before.schema(), after.schema());
    if common.is_empty() {
        (compared.removed, compared.added) = (before.manifest.rows, after.manifest.rows);
        return Ok(compared);
    }
    // Without the whole key, rows cannot be matched.
    let place = |name: &String| common.iter().position(|field| field.name() == name);
    let keys: Option<Vec<usize>> = key.and_then(|key| key.iter().map(place).collect());
    let names: Vec<&str> = common.iter().map(|field| field.name().as_str()).collect();

    let mut stream = differing(before, after, &common).await?;
    let mut found: BTreeMap<Values, OfKey> = BTreeMap::new();
    let (mut added, mut removed, mut count) = (0, 0, 0);
    while let Some(batch) = stream.try_next().await? {
        let weights = batch.column(batch.num_columns() - 1).as_primitive::<Int64Type>();
        let cells = Cells::of(&batch).map_err(arrow)?;
        count += batch.num_rows();
        for (row, weight) in weights.values().iter().enumerate() {
            *(if *weight > 0 { &mut added } else { &mut removed }) += weight.unsigned_abs();
            if count > MATCHED {
                continue;
            }
            let cells = cells.row(row);
            let key =
                keys.as_ref().map_or_else(|| cells.clone(), |keys| keys.iter().map(|index| cells[*index].clone()).collect());
            let of_key = found.entry(key).or_default();
            let side = if *weight > 0 { &mut of_key.added } else { &mut of_key.removed };
            side.push(Row { cells, times: weight.unsigned_abs() });
        }
        if count > MATCHED {
            found.clear();
        }
    }
    if count > MATCHED {
        return Ok(Compared { added, removed, more: added + removed, ..compared });
    }
    for of_key in found.into_values() {
        compared.add(&of_key, &names, keys.as_deref().unwrap_or_default(), shown);
    }
    Ok(compared)
}

impl Compared {
    fn add(&mut self, of_key: &OfKey, names: &[&str], keys: &[usize], shown: usize) {
        if let ([removed], [added]) = (of_key.removed.as_slice(), of_key.added.as_slice()) {
            let cell =
                |index: usize| format!("{} {} -> {}", names[index], text(&removed.cells[index]), text(&added.cells[index]));
            let differ = (0..names.len()).filter(|index| removed.cells[*index] != added.cells[*index]).map(cell);
            let differ: Vec<String> = differ.collect();
            let of_key: Vec<String> =
                keys.iter().map(|index| format!("{} {}", names[*index], text(&added.cells[*index]))).collect();
            let head = if of_key.is_empty() { String::new() } else { format!("{}: ", of_key.join(", ")) };
            let (was, is) = (removed.times, added.times);
            let times = if was == is { String::new() } else { format!(" ({was} times before, {is} now)") };
            let both = was.min(is);
            (self.changed, self.removed, self.added) = (self.changed + both, self.removed + was - both, self.added + is - both);
            return self.show(format!("~ {head}{}{times}", differ.join(", ")), was.max(is), shown);
        }
        let all = |row: &Row| {
            let cells = names.iter().zip(&row.cells).map(|(name, cell)| format!("{name} {}", text(cell)));
            let times = if row.times > 1 { format!(" ({} times)", row.times) } else { String::new() };
            cells.collect::<Vec<_>>().join(", ") + &times
        };
        for row in &of_key.removed {
            self.removed += row.times;
            self.show(format!("- {}", all(row)), row.times, shown);
        }
        for row in &of_key.added {
            self.added += row.times;
            self.show(format!("+ {}", all(row)), row.times, shown);
        }
    }

    /// Keeps a line that stands for some rows, or counts them.
    fn show(&mut self, line: String, rows: u64, shown: usize) {
        if self.rows.len() < shown {
            self.rows.push(line);
        } else {
            self.more += rows;
        }
    }
}

/// The rows that only one of the commits has, with weights in the last column: those of `before` with negative ones.
async fn differing(
    before: &OpenCommit,
    after: &OpenCommit,
    common: &[&Field],
) -> Result<datafusion::execution::SendableRecordBatchStream, Error> {
    let column = |field: &Field| Expr::Column(Column::new_unqualified(field.name()));
    let weight = || Expr::Column(Column::new_unqualified(WEIGHT));
    // A value of the old type that the new one does not have is NULL.
    let old = |field: &&Field| try_cast(column(field), field.data_type().clone()).alias(field.name());
    let new = |field: &&Field| cast(column(field), field.data_type().clone()).alias(field.name());
    let left = common.iter().map(old).chain([lit(-1_i64).alias(WEIGHT)]).collect::<Vec<_>>();
    let came = common.iter().map(new).chain([lit(1_i64).alias(WEIGHT)]).collect::<Vec<_>>();
    let (of_before, of_after) = rows_of_both(before, after).await?;
    let (left, came) = (of_before.select(left)?, of_after.select(came)?);
    let by = common.iter().map(|field| column(field)).collect();
    let net = came.union(left)?.aggregate(by, vec![sum(weight()).alias(WEIGHT)])?.filter(weight().not_eq(lit(0_i64)))?;
    super::run::stream(net, None).await
}

/// The columns that both have, as the later commit has them, where the old values can be read as values of the new type.
fn common<'s>(before: &SchemaRef, after: &'s SchemaRef) -> Vec<&'s Field> {
    let both =
        |field: &&Field| before.field_with_name(field.name()).is_ok_and(|old| can_cast_types(old.data_type(), field.data_type()));
    after.fields().iter().map(AsRef::as_ref).filter(both).collect()
}

/// What differs in the columns, a line each.
fn columns(before: &SchemaRef, after: &SchemaRef) -> Vec<String> {
    let line = |sign: char, name: &str, kind: &DataType| format!("{sign} column {name} {}", sql_name(kind));
    let mut lines = Vec::new();
    for old in before.fields() {
        match after.field_with_name(old.name()) {
            Err(_) => lines.push(line('-', old.name(), old.data_type())),
            Ok(new) if new.data_type() != old.data_type() => {
                let (was, is) = (sql_name(old.data_type()), sql_name(new.data_type()));
                lines.push(format!("~ column {}: {was} -> {is}", old.name()));
            }
            Ok(_) => {}
        }
    }
    let came = after.fields().iter().filter(|new| before.field_with_name(new.name()).is_err());
    lines.extend(came.map(|new| line('+', new.name(), new.data_type())));
    lines
}

/// The cells of a batch as texts, without its last column.
struct Cells<'b>(Vec<(&'b ArrayRef, ArrayFormatter<'b>)>);

impl Cells<'_> {
    fn of(batch: &RecordBatch) -> Result<Cells<'_>, ArrowError> {
        const OPTIONS: &FormatOptions<'static> = &FormatOptions::new().with_null("NULL");
        let columns = batch.columns().iter().take(batch.num_columns() - 1);
        let formatted = columns.map(|column| Ok::<_, ArrowError>((column, ArrayFormatter::try_new(column.as_ref(), OPTIONS)?)));
        Ok(Cells(formatted.collect::<Result<_, _>>()?))
    }

    fn row(&self, row: usize) -> Values {
        self.0.iter().map(|(column, formatter)| column.is_valid(row).then(|| formatter.value(row).to_string())).collect()
    }
}

fn arrow(error: ArrowError) -> Error {
    datafusion::common::DataFusionError::from(error).into()
}

//! Rows that can be compared: bit for bit within a run, and with floats to 1e-9 relative between runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, DurationNanosecondType, Float32Type, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    Text(String),
    /// The bits, so that floats are compared bit for bit.
    Float(u64),
}

pub type Row = Vec<Cell>;

/// Rows, each with its number of copies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bag(pub BTreeMap<Row, i64>);

pub fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<Vec<Cell>> = batch
        .columns()
        .iter()
        .map(|column| {
            let column = &as_lengths(column);
            let text = ArrayFormatter::try_new(column, &options).unwrap();
            (0..column.len())
                .map(|row| match column.data_type() {
                    _ if column.is_null(row) => Cell::Text("NULL".to_owned()),
                    DataType::Float64 => Cell::Float(column.as_primitive::<Float64Type>().value(row).to_bits()),
                    DataType::Float32 => Cell::Float(f64::from(column.as_primitive::<Float32Type>().value(row)).to_bits()),
                    _ => match text.value(row).to_string() {
                        empty if empty.is_empty() => Cell::Text("(empty)".to_owned()),
                        text => Cell::Text(text),
                    },
                })
                .collect()
        })
        .collect();
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect()
}

/// Returns INTERVALs as what views store of them. Those with months stay.
fn as_lengths(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let intervals = column.as_primitive::<IntervalMonthDayNanoType>();
            let length = |interval: IntervalMonthDayNano| {
                let days = i64::from(interval.days) * 86_400_000_000_000;
                (interval.months == 0).then_some(days + interval.nanoseconds).ok_or(())
            };
            let lengths = intervals.try_unary::<_, DurationNanosecondType, ()>(length);
            lengths.map_or_else(|()| Arc::clone(column), |lengths| Arc::new(lengths) as ArrayRef)
        }
        _ => Arc::clone(column),
    }
}

impl Bag {
    pub fn of(batches: &[RecordBatch]) -> Bag {
        let mut bag = Bag::default();
        for row in batches.iter().flat_map(rows_of) {
            bag.add(row, 1);
        }
        bag
    }

    pub fn add(&mut self, row: Row, weight: i64) {
        let entry = self.0.entry(row).or_default();
        *entry += weight;
    }

    pub fn settle(&mut self) {
        self.0.retain(|_, weight| *weight != 0);
        assert!(self.0.values().all(|weight| *weight > 0), "a row was taken out that is not there: {:?}", self.0);
    }

    /// Describes the difference, if there is one.
    pub fn difference(&self, other: &Bag) -> Option<String> {
        let (own, others) = (self.sorted(), other.sorted());
        if own.len() != others.len() {
            return Some(format!("{} rows and {} rows:\n{}\nand\n{}", own.len(), others.len(), show(&own), show(&others)));
        }
        let differs = own.iter().zip(&others).any(|(own, other)| !close(own, other));
        differs.then(|| format!("{}\nand\n{}", show(&own), show(&others)))
    }

    /// Sorts by text first, so that floats that differ by rounding do not change the order.
    fn sorted(&self) -> Vec<Row> {
        let mut rows: Vec<Row> =
            self.0.iter().flat_map(|(row, weight)| std::iter::repeat_n(row.clone(), *weight as usize)).collect();
        rows.sort_by_cached_key(|row| {
            let text: Vec<String> =
                row.iter().filter_map(|cell| if let Cell::Text(text) = cell { Some(text.clone()) } else { None }).collect();
            let floats: Vec<String> = row
                .iter()
                .filter_map(|cell| {
                    if let Cell::Float(bits) = cell { Some(format!("{:.6e}", f64::from_bits(*bits) + 0.0)) } else { None }
                })
                .collect();
            (text, floats)
        });
        rows
    }

    pub fn shown(&self) -> Vec<Vec<String>> {
        self.sorted().iter().map(|row| row.iter().map(show_cell).collect()).collect()
    }
}

fn close(own: &Row, other: &Row) -> bool {
    own.len() == other.len()
        && own.iter().zip(other).all(|(own, other)| match (own, other) {
            (Cell::Float(own), Cell::Float(other)) => {
                let (own, other) = (f64::from_bits(*own), f64::from_bits(*other));
                own == other
                    || (own.is_nan() && other.is_nan())
                    || (own - other).abs() <= 1e-9 * own.abs().max(other.abs()).max(1e-3)
            }
            _ => own == other,
        })
}

fn show_cell(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.clone(),
        Cell::Float(bits) => {
            let value = f64::from_bits(*bits);
            let rounded = format!("{value:.6}");
            let trimmed = rounded.trim_end_matches('0').trim_end_matches('.');
            if trimmed == "-0" { "0".to_owned() } else { trimmed.to_owned() }
        }
    }
}

fn show(rows: &[Row]) -> String {
    rows.iter()
        .map(|row| format!("    {}", row.iter().map(show_cell).collect::<Vec<_>>().join(" | ")))
        .collect::<Vec<_>>()
        .join("\n")
}

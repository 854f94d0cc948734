//! The option `watermark` of a source: how late its events may arrive, by their own time. Parses and validates it. The planner
//! decides what a view does with it.

use std::time::Duration;

use arrow::datatypes::{DataType, Schema};

use crate::declarations::Watermark;
use crate::durations::duration;
use crate::names::nearest;
use crate::time_units::units;
use crate::type_names::sql_types;

/// What is wrong with a watermark, and what to write.
pub(crate) struct Refused {
    pub(crate) message: String,
    pub(crate) help: String,
}

/// Parses `'placed_at - 5 seconds'`, or a column alone.
pub(crate) fn watermark(written: &str, schema: &Schema) -> Result<Watermark, Refused> {
    let (name, delay) = match written.split_once('-') {
        Some((name, delay)) => (name.trim(), Some(delay.trim())),
        None => (written.trim(), None),
    };
    let example = "write a column of type TIMESTAMP and how late its events may come: watermark 'placed_at - 5 seconds'";
    let Some((column, field)) = schema.column_with_name(name) else {
        let near = nearest(name, schema.fields().iter().map(|field| field.name().as_str()));
        return Err(Refused {
            message: format!("the source has no column {name} for its watermark"),
            help: near.map_or_else(|| example.to_owned(), |near| format!("did you mean {near}?")),
        });
    };
    let DataType::Timestamp(unit, _) = field.data_type() else {
        return Err(Refused {
            message: format!("a watermark cannot be of {name}, which is {}", sql_types(&field.data_type().to_string())),
            help: example.to_owned(),
        });
    };
    let delay = delay.map_or(Some(Duration::ZERO), duration);
    let Some(delay) = delay.filter(|delay| units(*delay, *unit).is_some()) else {
        return Err(Refused { message: format!("{written} does not say how late events may come"), help: example.to_owned() });
    };
    Ok(Watermark { column, delay })
}

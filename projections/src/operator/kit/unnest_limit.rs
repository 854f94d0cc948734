//! Limits how much an UNNEST may produce. Each element of a list repeats the row's other columns, so a short event can ask for more memory
//! than there is.

use alluvium_sql::{BATCH_BYTES, add_bytes};
use arrow::array::{Array, AsArray, OffsetSizeTrait};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use datafusion::physical_plan::unnest::UnnestExec;

use crate::error::Error;

/// The columns of the input that become rows, each with the number of nested lists to expand.
#[derive(Debug)]
pub(crate) struct UnnestLimit {
    lists: Vec<(usize, usize)>,
}

impl UnnestLimit {
    pub(crate) fn of(unnest: &UnnestExec) -> UnnestLimit {
        let lists = unnest.list_column_indices().iter().map(|list| (list.index_in_input_schema, list.depth)).collect();
        UnnestLimit { lists }
    }

    /// Checks that the rows can be unnested together.
    ///
    /// # Errors
    /// [`Error::Row`] if they would make more than [`BATCH_BYTES`]. Fewer of them may fit. A single row that does not is at fault.
    pub(crate) fn check(&self, rows: &RecordBatch) -> Result<(), Error> {
        let mut elements = vec![1; rows.num_rows()];
        let mut in_lists = vec![0; rows.num_rows()];
        for (column, depth) in &self.lists {
            let list = rows.column(*column);
            for (most, of) in elements.iter_mut().zip(elements_of(list, *depth)) {
                *most = of.max(*most);
            }
            add_bytes(list, &mut in_lists)?;
        }
        let mut beside = vec![8; rows.num_rows()];
        for (index, column) in rows.columns().iter().enumerate() {
            if !self.lists.iter().any(|(list, _)| *list == index) {
                add_bytes(column, &mut beside)?;
            }
        }
        let of_rows = elements.iter().zip(&beside).zip(&in_lists);
        let made = of_rows.map(|((elements, beside), list)| elements.saturating_mul(*beside).saturating_add(*list));
        if made.fold(0_u64, u64::saturating_add) > BATCH_BYTES {
            return Err(Error::Row(format!("UNNEST would make more than {} MiB", BATCH_BYTES >> 20)));
        }
        Ok(())
    }
}

/// Counts the elements of each row, through `depth` nested lists.
fn elements_of(array: &dyn Array, depth: usize) -> Vec<u64> {
    if depth == 0 {
        return vec![1; array.len()];
    }
    match array.data_type() {
        DataType::List(_) => summed(array.as_list::<i32>().offsets(), &elements_of(array.as_list::<i32>().values(), depth - 1)),
        DataType::LargeList(_) => {
            summed(array.as_list::<i64>().offsets(), &elements_of(array.as_list::<i64>().values(), depth - 1))
        }
        DataType::FixedSizeList(_, length) => {
            let list = array.as_fixed_size_list();
            let (length, of_values) = (usize::try_from(*length).unwrap_or_default(), elements_of(list.values(), depth - 1));
            (0..array.len()).map(|row| of_values[row * length..(row + 1) * length].iter().sum()).collect()
        }
        _ => vec![1; array.len()],
    }
}

fn summed<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>, of_values: &[u64]) -> Vec<u64> {
    offsets.windows(2).map(|bounds| of_values[bounds[0].as_usize()..bounds[1].as_usize()].iter().sum()).collect()
}

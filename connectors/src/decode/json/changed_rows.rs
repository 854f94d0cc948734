//! Decodes payloads that describe changes. Each change becomes a row of the table, with the kind of change in the column `_change`.
//!
//! Only the key of a deleted row is read: other members of its payload may be missing or not fit.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array};
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;

use super::change::{Change, Changed};
use super::format::{JsonFormat, not_utf8};
use crate::decode::changes::{Changes, KIND_COLUMN};
use crate::decode::contract::{Format, Member, RowBuilder};
use crate::decode::fault::{Faults, MemberFault};

/// The kinds of change in the column `_change`.
const UPSERT: i8 = 0;
const DELETE: i8 = 1;
const TRUNCATE: i8 = 2;

/// The format for JSON that describes changes.
#[derive(Debug)]
pub(in crate::decode) struct ChangeFormat {
    changes: Changes,
}

impl ChangeFormat {
    pub(in crate::decode) fn new(changes: Changes) -> ChangeFormat {
        ChangeFormat { changes }
    }
}

impl Format for ChangeFormat {
    fn check(&self, field: &Field) -> Result<(), String> {
        if field.name() == KIND_COLUMN && *field.data_type() != DataType::Int8 {
            return Err("it says what a change is and must be TINYINT".into());
        }
        JsonFormat.check(field)
    }

    fn rows(&self, members: &[Member], capacity: usize) -> Result<Box<dyn RowBuilder>, String> {
        let kind =
            members.iter().position(|member| member.field.name() == KIND_COLUMN).ok_or("no column says what a change is")?;
        let mut of_rows = members.to_vec();
        let said = of_rows.remove(kind).decoded;
        let is_key = of_rows.iter().map(|member| self.changes.key.iter().any(|name| name == member.field.name())).collect();
        Ok(Box::new(ChangedRows {
            changed: Changed::new(&self.changes),
            rows: JsonFormat.rows(&of_rows, capacity)?,
            kind,
            kind_at: said.then(|| of_rows[..kind].iter().filter(|member| member.decoded).count()),
            is_key,
            kinds: Vec::with_capacity(capacity),
            faults: Faults::default(),
        }))
    }
}

struct ChangedRows {
    changed: Changed,
    /// The builder of all columns except `_change`.
    rows: Box<dyn RowBuilder>,
    /// The index of `_change` among the members.
    kind: usize,
    /// The index of `_change` among the decoded columns; `None` if it is not decoded.
    kind_at: Option<usize>,
    /// Whether each member except `_change` is a key column.
    is_key: Vec<bool>,
    kinds: Vec<i8>,
    /// The faults of the current rows. The memory is reused.
    faults: Faults,
}

impl RowBuilder for ChangedRows {
    fn append(&mut self, payloads: &[&[u8]], faults: &mut Faults) {
        // The payload, the text and the kind of change of each row.
        let mut rows: Vec<(usize, &[u8], i8)> = Vec::with_capacity(payloads.len());
        let mut failed = Vec::new();
        for (index, payload) in payloads.iter().enumerate() {
            let change =
                simdutf8::basic::from_utf8(payload).map_err(|_| not_utf8(payload)).and_then(|text| self.changed.read(text));
            match change {
                Ok(Change::Upsert(row)) => rows.push((index, row.as_bytes(), UPSERT)),
                Ok(Change::Delete(row)) => rows.push((index, row.as_bytes(), DELETE)),
                Ok(Change::Truncate) => rows.push((index, b"{}", TRUNCATE)),
                Ok(Change::Moved(before, after)) => {
                    // Where the two keys turn out to be one, the first row of the two counts.
                    rows.push((index, after.as_bytes(), UPSERT));
                    rows.push((index, before.as_bytes(), DELETE));
                    faults.uneven.push((index, 2));
                }
                Ok(Change::Nothing) => faults.uneven.push((index, 0)),
                Err(fault) => failed.push((index, fault)),
            }
        }
        let texts: Vec<&[u8]> = rows.iter().map(|(_, text, _)| *text).collect();
        self.faults.clear();
        self.rows.append(&texts, &mut self.faults);
        let mut refused = self.faults.payloads.drain(..).peekable();
        for (row, (index, _, kind)) in rows.iter().enumerate() {
            match refused.next_if(|(at, _)| *at == row) {
                Some((_, fault)) => failed.push((*index, fault)),
                None => self.kinds.push(*kind),
            }
        }
        drop(refused);
        for MemberFault { payload: row, member, fault } in self.faults.members.drain(..) {
            let (index, _, kind) = rows[row];
            if kind == UPSERT || kind == DELETE && self.is_key[member] {
                let member = if member < self.kind { member } else { member + 1 };
                faults.members.push(MemberFault { payload: index, member, fault });
            }
        }
        failed.sort_by_key(|(index, _)| *index);
        faults.payloads.append(&mut failed);
    }

    fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError> {
        let mut columns = self.rows.finish()?;
        if let Some(at) = self.kind_at {
            columns.insert(at, Arc::new(Int8Array::from(std::mem::take(&mut self.kinds))));
        }
        Ok(columns)
    }
}

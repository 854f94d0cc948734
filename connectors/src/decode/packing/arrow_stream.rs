//! The events of a body that are the rows of Arrow IPC: a stream, or a file. Each row is written as a JSON object, as the rows of Arrow files
//! are, and decoded by the rules of JSON.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::DataType;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::root_as_message;
use memchr::memchr_iter;

use super::events::Events;
use crate::decode::fault::Fault;
use crate::decode::written_rows::write_lines;

/// The first and the last bytes of a file.
const MAGIC: &[u8] = b"ARROW1";
/// The number of rows that are written at once.
const AT_ONCE: usize = 1024;
/// The largest text of the rows of a body, in bytes.
const LARGEST: usize = 256 << 20;

#[cold]
fn not_arrow(reason: String) -> Fault {
    Fault::of_payload("not_arrow", reason)
}

/// Appends the rows of a body.
pub(super) fn rows(payload: &[u8], events: &mut Events) -> Result<(), Fault> {
    // The library panics on some bodies that are damaged. What is unwound is dropped: the events of the message, and the decoder.
    catch_unwind(AssertUnwindSafe(|| rows_of(payload, events)))
        .unwrap_or_else(|_| Err(not_arrow("the body is damaged: the library that reads Arrow panics on it".into())))
}

fn rows_of(payload: &[u8], events: &mut Events) -> Result<(), Fault> {
    let stream = if payload.starts_with(MAGIC) { stream_of_file(payload) } else { Some(payload) };
    let stream = stream.ok_or_else(|| not_arrow("the body begins as an Arrow file, and does not end as one".into()))?;
    let mut buffer = Buffer::from(stream);
    refuse_compressed(&buffer)?;
    let mut decoder = StreamDecoder::new();
    loop {
        let batch = match decoder.decode(&mut buffer) {
            Ok(Some(batch)) => batch,
            Ok(None) => break,
            Err(error) => return Err(not_arrow(format!("the body is not an Arrow stream: {error}"))),
        };
        append(&batch, payload.len().saturating_mul(8), events)?;
    }
    match decoder.finish() {
        Ok(()) if decoder.schema().is_some() => Ok(()),
        Ok(()) => Err(not_arrow("the body has no schema: it is not an Arrow stream".into())),
        Err(_) => Err(not_arrow("cut off: the body ends within an Arrow stream".into())),
    }
}

/// Refuses a stream with a compressed batch: the library allocates the lengths that it declares before it reads anything. What is not a
/// stream is left to the library, which reads the messages in the same way.
fn refuse_compressed(stream: &[u8]) -> Result<(), Fault> {
    let mut rest = stream;
    while let Some((first, after)) = rest.split_first_chunk::<4>() {
        // Before the size of a message comes a mark, except in old streams.
        let marked = if *first == [0xff; 4] { after.split_first_chunk::<4>() } else { Some((first, after)) };
        let Some((size, after)) = marked else { return Ok(()) };
        let size = u32::from_le_bytes(*size) as usize;
        let Some((message, body)) = after.split_at_checked(size).filter(|_| size > 0) else { return Ok(()) };
        let Ok(message) = root_as_message(message) else { return Ok(()) };
        let of_rows = message.header_as_record_batch();
        let batch = of_rows.or_else(|| message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data()));
        if batch.is_some_and(|batch| batch.compression().is_some()) {
            return Err(not_arrow("the body is compressed, which is not read; write it without compression".into()));
        }
        let Some(next) = usize::try_from(message.bodyLength()).ok().and_then(|length| body.get(length..)) else { return Ok(()) };
        rest = next;
    }
    Ok(())
}

/// Returns the stream within a file: its footer repeats what the stream says.
fn stream_of_file(file: &[u8]) -> Option<&[u8]> {
    let rest = file.strip_prefix(MAGIC)?.strip_suffix(MAGIC)?;
    let (rest, length) = rest.split_last_chunk::<4>()?;
    let footer = usize::try_from(i32::from_le_bytes(*length)).ok()?;
    let padded = rest.get(..rest.len().checked_sub(footer)?)?;
    // The magic is padded with zeros, and no message begins with one.
    let start = padded.iter().position(|byte| *byte != 0).unwrap_or(padded.len());
    Some(&padded[start..])
}

/// Appends the rows of a batch. `most` is the number of rows that the body can hold.
fn append(batch: &RecordBatch, most: usize, events: &mut Events) -> Result<(), Fault> {
    if batch.num_rows() > most || batch.schema_ref().fields().iter().any(|field| repeats(field.data_type(), false)) {
        return Err(not_arrow("the body says that it has more values than its bytes can hold".into()));
    }
    for first in (0..batch.num_rows()).step_by(AT_ONCE) {
        let start = events.made.len();
        let rows = batch.slice(first, AT_ONCE.min(batch.num_rows() - first));
        write_lines(&rows, &mut events.made).map_err(|error| not_arrow(error.to_string()))?;
        if events.made_of_message() > LARGEST {
            return Err(not_arrow(format!("the text of its rows has more than {LARGEST} bytes")));
        }
        // A line end within a text is written as an escape.
        let ends: Vec<usize> = memchr_iter(b'\n', &events.made[start..]).map(|end| start + end).collect();
        let starts = std::iter::once(start).chain(ends.iter().map(|end| end + 1));
        starts.zip(&ends).try_for_each(|(start, end)| events.push_made(start..*end))?;
    }
    Ok(())
}

/// Whether a few bytes can stand for any number of values within one row.
fn repeats(data_type: &DataType, nested: bool) -> bool {
    match data_type {
        DataType::Null | DataType::RunEndEncoded(..) => nested,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) | DataType::Map(item, _) => {
            repeats(item.data_type(), true)
        }
        DataType::ListView(item) | DataType::LargeListView(item) => repeats(item.data_type(), true),
        DataType::Struct(fields) => fields.iter().any(|field| repeats(field.data_type(), nested)),
        DataType::Dictionary(_, values) => repeats(values, nested),
        _ => false,
    }
}

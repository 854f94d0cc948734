//! CSV records as lines: each becomes a JSON object of texts, with the names of the header. A record with more or fewer fields than the
//! header becomes an array, which the decoder refuses.
//!
//! A record that no line end follows is given without a line end too; one whose quotes are open, without its closing bracket.

use std::io::{self, Read};

use csv::{ByteRecord, Reader, ReaderBuilder};

use super::declared::Dialect;
use super::lines;
use crate::decode::written::write_text;

/// The number of bytes of lines to convert at once.
const MADE: usize = 64 << 10;

/// Reads CSV as lines with one JSON object each.
pub(super) struct Records<R> {
    reader: Reader<Ending<R>>,
    /// `"name":` of each column.
    names: Vec<Vec<u8>>,
    /// The names are known.
    named: bool,
    record: ByteRecord,
    /// The closing bracket of the last line, until it is known that its record is whole.
    open: Option<u8>,
    /// The last line has no line end yet.
    unended: bool,
    /// The converted records. The first `given` bytes have been returned.
    output: Vec<u8>,
    given: usize,
}

/// Most bytes between two quotes: more come of a quote that stands alone.
const MOST_QUOTED: usize = 16 << 20;

/// Follows quotes and line ends, to know whether the last record is whole.
struct Ending<R> {
    input: R,
    dialect: Dialect,
    place: Place,
    /// Bytes since a quote was opened.
    quoted: usize,
}

/// Where in a record the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Behind a line end, or at the start.
    Line,
    /// Behind a delimiter.
    Field,
    /// In a field without quotes, or behind its last quote.
    Plain,
    Quoted,
    /// Behind a quote that ends the field, or is the first of two.
    Quote,
}

impl<R> Ending<R> {
    fn new(input: R, dialect: Dialect) -> Ending<R> {
        Ending { input, dialect, place: Place::Line, quoted: 0 }
    }

    fn take(&mut self, byte: u8) {
        let is_quote = self.dialect.quote == Some(byte);
        self.place = match self.place {
            Place::Quoted if is_quote => Place::Quote,
            Place::Quoted => Place::Quoted,
            Place::Quote if is_quote => Place::Quoted,
            Place::Line | Place::Field if is_quote => Place::Quoted,
            _ if matches!(byte, b'\n' | b'\r') => Place::Line,
            _ if byte == self.dialect.delimiter => Place::Field,
            _ => Place::Plain,
        };
        self.quoted = if self.place == Place::Quoted { self.quoted + 1 } else { 0 };
    }
}

impl<R: Read> Read for Ending<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        buffer[..read].iter().for_each(|byte| self.take(*byte));
        if self.quoted > MOST_QUOTED {
            let message = format!("a quote is not closed within {MOST_QUOTED} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(read)
    }
}

impl<R: Read> Records<R> {
    /// Creates the reader. `columns` are the names if there is no header.
    pub(super) fn new(input: R, dialect: Dialect, columns: &[String]) -> Records<R> {
        let names = if dialect.header { Vec::new() } else { columns.iter().map(|name| named(name.as_bytes())).collect() };
        Records {
            reader: reader(Ending::new(input, dialect), dialect),
            named: !dialect.header,
            names,
            record: ByteRecord::new(),
            open: None,
            unended: false,
            output: Vec::new(),
            given: 0,
        }
    }

    /// Converts the next records to lines.
    fn make(&mut self) -> io::Result<()> {
        self.output.clear();
        self.given = 0;
        while self.output.len() < MADE {
            if !self.reader.read_byte_record(&mut self.record)? {
                let place = self.reader.get_ref().place;
                self.output.extend(self.open.take().filter(|_| place != Place::Quoted));
                if self.unended && place == Place::Line {
                    self.output.push(b'\n');
                    self.unended = false;
                }
                return Ok(());
            }
            if !self.named {
                self.named = true;
                self.names = header_of(&self.record).map(named).collect();
                continue;
            }
            if let Some(bracket) = self.open {
                self.output.extend([bracket, b'\n']);
            }
            self.open = Some(write(&self.names, &self.record, &mut self.output));
            self.unended = true;
        }
        Ok(())
    }
}

impl<R: Read> Read for Records<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.output.len() {
            self.make()?;
        }
        let count = buffer.len().min(self.output.len() - self.given);
        buffer[..count].copy_from_slice(&self.output[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}

/// Returns the fields of the first record, given the beginning of a text. Returns `None` if there is no record.
pub(super) fn first_record(head: &[u8], dialect: Dialect) -> Option<Vec<String>> {
    let mut record = ByteRecord::new();
    let read = reader(head, dialect).read_byte_record(&mut record).ok()?;
    read.then(|| header_of(&record).map(|name| String::from_utf8_lossy(name).into_owned()).collect())
}

fn reader<R: Read>(input: R, dialect: Dialect) -> Reader<R> {
    let mut builder = ReaderBuilder::new();
    builder.has_headers(false).flexible(true).delimiter(dialect.delimiter).quoting(dialect.quote.is_some());
    if let Some(quote) = dialect.quote {
        builder.quote(quote);
    }
    builder.from_reader(input)
}

fn header_of(record: &ByteRecord) -> impl Iterator<Item = &[u8]> {
    record.iter().enumerate().map(|(index, name)| if index == 0 { lines::without_mark(name) } else { name })
}

fn named(name: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    write_text(name.trim_ascii(), &mut text);
    text.push(b':');
    text
}

/// Writes a record without its closing bracket, which it returns.
fn write(names: &[Vec<u8>], record: &ByteRecord, line: &mut Vec<u8>) -> u8 {
    let whole = names.len() == record.len();
    line.push(if whole { b'{' } else { b'[' });
    for (index, field) in record.iter().enumerate() {
        if index > 0 {
            line.push(b',');
        }
        if whole {
            line.extend_from_slice(&names[index]);
        }
        write_text(field, line);
    }
    if whole { b'}' } else { b']' }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const DIALECT: Dialect = Dialect { delimiter: b',', quote: Some(b'"'), header: true };

    fn lines(text: &str, dialect: Dialect) -> String {
        let mut lines = String::new();
        Records::new(text.as_bytes(), dialect, &["a".into(), "b".into()]).read_to_string(&mut lines).unwrap();
        lines
    }

    #[test]
    fn each_record_is_an_object() {
        let semicolons = Dialect { delimiter: b';', quote: None, header: false };
        for (text, dialect, expected) in [
            ("", DIALECT, ""),
            ("x,y\n", DIALECT, ""),
            ("x,y\n1,2\r\n\n3,\n", DIALECT, "{\"x\":\"1\",\"y\":\"2\"}\n{\"x\":\"3\",\"y\":\"\"}\n"),
            ("\u{feff}x, y\n\"a,\"\"b\n\",2", DIALECT, "{\"x\":\"a,\\\"b\\n\",\"y\":\"2\"}"),
            ("x,y\n1\n1,2,3\n", DIALECT, "[\"1\"]\n[\"1\",\"2\",\"3\"]\n"),
            ("x,y\n1,\"2\n", DIALECT, "{\"x\":\"1\",\"y\":\"2\\n\""),
            ("x,y\n1", DIALECT, "[\"1\"]"),
            ("1;\"2\"\n", semicolons, "{\"a\":\"1\",\"b\":\"\\\"2\\\"\"}\n"),
        ] {
            assert_eq!(lines(text, dialect), expected, "{text}");
        }
    }

    #[test]
    fn lines_are_the_same_however_a_file_has_grown() {
        let text: String = std::iter::once("x,y\n".to_owned()).chain((0..9000).map(|n| format!("{n},\"é{n}\n\"\n"))).collect();
        let whole = lines(&text, DIALECT);
        assert_eq!(whole.lines().count(), 9000);
        // However much of it is there, only whole records are lines.
        for at in (0..text.len()).filter(|at| text.is_char_boundary(*at)).take(400) {
            let lines = lines(&text[..at], DIALECT);
            let ended = lines.rfind('\n').map_or("", |end| &lines[..=end]);
            assert!(whole.starts_with(ended), "{at}: {lines}");
        }
    }
}

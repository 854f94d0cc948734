//! Converts a text with JSON values that span several lines, or that are the elements of an array, to one line per value. A value is kept
//! byte for byte, except that line ends within it become spaces. Invalid JSON is passed on, so that the decoder reports it.

use std::io::{self, Read};

const READ: usize = 64 << 10;

/// Reads a text as lines with one value each.
pub(super) struct Values<R> {
    text: R,
    state: State,
    input: Vec<u8>,
    /// The converted input. Its first `given` bytes have been returned.
    output: Vec<u8>,
    given: usize,
}

/// The place of the next byte in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Between values.
    Between,
    /// In a value that began with a bracket. Holds the number of open brackets.
    Nested(u64),
    /// In a JSON string. Holds the number of open brackets around it.
    Quoted(u64),
    /// After a backslash in a JSON string. Holds the number of open brackets around it.
    Escaped(u64),
    /// In a value without brackets or quotes.
    Word,
}

struct State {
    place: Place,
    /// Whether values are the elements of an open array.
    in_array: bool,
    at_start: bool,
}

impl<R: Read> Values<R> {
    pub(super) fn new(text: R) -> Values<R> {
        let state = State { place: Place::Between, in_array: false, at_start: true };
        Values { text, state, input: vec![0; READ], output: Vec::new(), given: 0 }
    }
}

impl<R: Read> Read for Values<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.output.len() {
            let read = self.text.read(&mut self.input)?;
            if read == 0 {
                return Ok(0);
            }
            self.output.clear();
            self.given = 0;
            let input = &self.input[..read];
            let input = if self.state.at_start { super::lines::without_mark(input) } else { input };
            self.state.at_start = false;
            for byte in input {
                self.state.take(*byte, &mut self.output);
            }
        }
        let count = buffer.len().min(self.output.len() - self.given);
        buffer[..count].copy_from_slice(&self.output[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}

impl State {
    fn take(&mut self, byte: u8, lines: &mut Vec<u8>) {
        let kept = if matches!(byte, b'\n' | b'\r') { b' ' } else { byte };
        match self.place {
            Place::Between => self.between(byte, lines),
            Place::Nested(open) => {
                lines.push(kept);
                match byte {
                    b'{' | b'[' => self.place = Place::Nested(open + 1),
                    b'}' | b']' if open == 1 => self.end(lines),
                    b'}' | b']' => self.place = Place::Nested(open - 1),
                    b'"' => self.place = Place::Quoted(open),
                    _ => {}
                }
            }
            Place::Quoted(open) => {
                // A line end in a string is invalid. It becomes another invalid character, so that the decoder reports it.
                lines.push(if byte == b'\n' { b'\r' } else { byte });
                match byte {
                    b'\\' => self.place = Place::Escaped(open),
                    b'"' if open == 0 => self.end(lines),
                    b'"' => self.place = Place::Nested(open),
                    _ => {}
                }
            }
            Place::Escaped(open) => {
                lines.push(if byte == b'\n' { b'\r' } else { byte });
                self.place = Place::Quoted(open);
            }
            Place::Word if byte.is_ascii_whitespace() || matches!(byte, b',' | b']' | b'{' | b'[' | b'"') => {
                self.end(lines);
                self.between(byte, lines);
            }
            Place::Word => lines.push(byte),
        }
    }

    fn between(&mut self, byte: u8, lines: &mut Vec<u8>) {
        match byte {
            _ if byte.is_ascii_whitespace() => {}
            b'[' if !self.in_array => self.in_array = true,
            b',' if self.in_array => {}
            b']' if self.in_array => self.in_array = false,
            _ => {
                lines.push(byte);
                self.place = match byte {
                    b'{' | b'[' => Place::Nested(1),
                    b'"' => Place::Quoted(0),
                    _ => Place::Word,
                };
            }
        }
    }

    fn end(&mut self, lines: &mut Vec<u8>) {
        lines.push(b'\n');
        self.place = Place::Between;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A text that is read in pieces of a number of bytes.
    struct Pieces<'t>(&'t [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            let (now, later) = self.0.split_at(count);
            buffer[..count].copy_from_slice(now);
            self.0 = later;
            Ok(count)
        }
    }

    #[test]
    fn each_value_is_a_line() {
        for (text, expected) in [
            ("[{\"a\":1},\n{\"a\":[2,{}]}\n]\n", "{\"a\":1}\n{\"a\":[2,{}]}\n"),
            ("\u{feff}[]", ""),
            ("[\n  {\n    \"a\": \"]}\\\"[\"\n  }\n]", "{     \"a\": \"]}\\\"[\"   }\n"),
            ("{\n\"a\":1\r\n}\n{\"a\":2} {\"a\":3}", "{ \"a\":1  }\n{\"a\":2}\n{\"a\":3}\n"),
            ("[1, \"x, y\", null, [2,3], tru]", "1\n\"x, y\"\nnull\n[2,3]\ntru\n"),
            ("[{\"a\":1}]\n[{\"a\":2}]", "{\"a\":1}\n{\"a\":2}\n"),
            ("[{\"a\":1},{\"a\":", "{\"a\":1}\n{\"a\":"),
            ("[{\"a\":\"\\", "{\"a\":\"\\"),
            ("[{\"a\":\"b\nc\"}]", "{\"a\":\"b\rc\"}\n"),
            ("[{\"é\":\"😀\"}]", "{\"é\":\"😀\"}\n"),
        ] {
            for piece in [3, 7, 1000] {
                let mut lines = String::new();
                Values::new(Pieces(text.as_bytes(), piece)).read_to_string(&mut lines).unwrap();
                assert_eq!(lines, expected, "{text} in pieces of {piece}");
            }
        }
    }
}

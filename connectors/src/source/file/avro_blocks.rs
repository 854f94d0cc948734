//! Converts the data of an Avro object container file to lines. Each datum becomes a JSON object with all its fields, and is decoded by the
//! rules of JSON. Nothing is lost: decimals are numbers with all digits, times are text, bytes are base64.
//!
//! Blocks may be compressed with deflate, zstandard or snappy. A block that does not decode whole damages the file. A datum with a text that is
//! not UTF-8 becomes a line that is not UTF-8 either, which the decoder refuses. A block that is cut off is not read: it may still be written.

use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::decode::avro::datum::{self, Cursor};
use crate::decode::avro::schema::Schema;
use crate::decode::value::write_json;

/// The largest block in bytes, compressed or not.
const LARGEST: usize = 256 << 20;
/// The number of bytes of lines to convert at once.
const MADE: usize = 64 << 10;
/// The largest metadata of a file in bytes.
const LARGEST_HEAD: u64 = 64 << 20;
/// The most data of a block that take no byte.
const MOST_EMPTY: usize = 1 << 16;
/// Bytes between blocks that tell where one ends.
const MARK: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    Null,
    Deflate,
    Zstandard,
    Snappy,
}

/// Reads a container file as lines with one JSON object each.
pub(super) struct AvroBlocks<R> {
    file: R,
    schema: Schema,
    codec: Codec,
    mark: [u8; MARK],
    /// The current block. The first `at` bytes have been converted, and `left` data follow.
    block: Vec<u8>,
    at: usize,
    left: u64,
    /// Lines of the current block. The first `given` bytes have been returned.
    output: Vec<u8>,
    given: usize,
    /// Set when the file ends within a block.
    cut_off: Arc<AtomicBool>,
}

impl<R: BufRead> AvroBlocks<R> {
    /// Reads the head of a file, whose next byte must be its first one. `cut_off` is set when reading finds that the last block is cut off.
    ///
    /// # Errors
    /// The file cannot be read, or has a schema or a compression that is not known; [`io::ErrorKind::UnexpectedEof`] if the head is cut off.
    pub(super) fn new(mut file: R, cut_off: Arc<AtomicBool>) -> io::Result<AvroBlocks<R>> {
        let mut magic = [0; 4];
        file.read_exact(&mut magic)?;
        if magic != *b"Obj\x01" {
            return Err(broken("it does not begin as an Avro file"));
        }
        let (mut schema, mut codec) = (None, Codec::Null);
        loop {
            let count = long(&mut file)?.ok_or_else(ended)?;
            if count < 0 {
                long(&mut file)?;
            }
            if count == 0 {
                break;
            }
            for _ in 0..count.unsigned_abs() {
                let name = short_bytes(&mut file)?;
                let value = short_bytes(&mut file)?;
                match name.as_slice() {
                    b"avro.schema" => schema = Some(value),
                    b"avro.codec" => codec = codec_of(&value)?,
                    _ => {}
                }
            }
        }
        let schema = schema.and_then(|schema| String::from_utf8(schema).ok()).ok_or_else(|| broken("it has no schema"))?;
        let schema = Schema::of_text(&schema).map_err(|reason| broken(&format!("its schema: {reason}")))?;
        let mut mark = [0; MARK];
        file.read_exact(&mut mark)?;
        Ok(AvroBlocks { file, schema, codec, mark, block: Vec::new(), at: 0, left: 0, output: Vec::new(), given: 0, cut_off })
    }

    /// Reads the next block. Returns false at the end of the file, or if the block is cut off.
    fn next_block(&mut self) -> io::Result<bool> {
        let (count, block) = match self.packed_block() {
            Ok(Some(block)) => block,
            Ok(None) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.cut_off.store(true, Ordering::Relaxed);
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        self.block = unpacked(self.codec, block).map_err(|error| broken(&error.to_string()))?;
        self.at = 0;
        self.left = u64::try_from(count).map_err(|_| broken("a block has a negative number of data"))?;
        if self.left > (self.block.len() + MOST_EMPTY) as u64 {
            return Err(broken("a block holds fewer data than it says"));
        }
        Ok(true)
    }

    /// Reads the number of data of the next block, and its bytes as they are. Returns `None` at the end of the file.
    fn packed_block(&mut self) -> io::Result<Option<(i64, Vec<u8>)>> {
        let Some(count) = long(&mut self.file)? else { return Ok(None) };
        let size = long(&mut self.file)?.ok_or_else(ended)?;
        let size =
            usize::try_from(size).ok().filter(|size| *size <= LARGEST).ok_or_else(|| broken("a block has no valid size"))?;
        let mut block = Vec::new();
        (&mut self.file).take(size as u64).read_to_end(&mut block)?;
        let mut mark = [0; MARK];
        if block.len() < size {
            return Err(ended());
        }
        self.file.read_exact(&mut mark)?;
        if mark != self.mark {
            return Err(broken("a block does not end where it should"));
        }
        Ok(Some((count, block)))
    }

    /// Converts data of the current block, until there are enough lines.
    fn convert(&mut self) -> io::Result<()> {
        let mut cursor = Cursor::of_data(&self.block[self.at..]);
        let mut values = Vec::new();
        while self.left > 0 && self.output.len() < MADE {
            values.clear();
            let read = datum::read(&self.schema, self.schema.root(), &mut cursor, &mut values, 0);
            read.map_err(|fault| broken(&fault.describe(&self.block)))?;
            write_json(&values, &mut self.output);
            self.output.push(b'\n');
            self.left -= 1;
        }
        self.at = self.block.len() - cursor.rest();
        if self.left == 0 && self.at < self.block.len() {
            return Err(broken("a block holds more than its data"));
        }
        Ok(())
    }
}

impl<R: BufRead> Read for AvroBlocks<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.output.len() {
            self.output.clear();
            self.given = 0;
            if self.left == 0 && !self.next_block()? {
                return Ok(0);
            }
            self.convert()?;
        }
        let count = buffer.len().min(self.output.len() - self.given);
        buffer[..count].copy_from_slice(&self.output[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}

fn broken(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.to_owned())
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it is cut off")
}

fn codec_of(name: &[u8]) -> io::Result<Codec> {
    match name {
        b"null" | b"" => Ok(Codec::Null),
        b"deflate" => Ok(Codec::Deflate),
        b"zstandard" => Ok(Codec::Zstandard),
        b"snappy" => Ok(Codec::Snappy),
        other => {
            let name = String::from_utf8_lossy(other);
            Err(broken(&format!("it is compressed with {name}; write it with null, deflate, zstandard or snappy")))
        }
    }
}

/// Decompresses a block.
fn unpacked(codec: Codec, block: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut whole = Vec::new();
    let limit = LARGEST as u64 + 1;
    match codec {
        Codec::Null => return Ok(block),
        Codec::Deflate => drop(flate2::read::DeflateDecoder::new(block.as_slice()).take(limit).read_to_end(&mut whole)?),
        Codec::Zstandard => drop(zstd::Decoder::new(block.as_slice())?.take(limit).read_to_end(&mut whole)?),
        Codec::Snappy => {
            // A checksum of the uncompressed block follows it.
            let (packed, checksum) = block.split_last_chunk::<4>().ok_or_else(ended)?;
            if snap::raw::decompress_len(packed).map_err(io::Error::other)? > LARGEST {
                return Err(broken("a block is too large"));
            }
            whole = snap::raw::Decoder::new().decompress_vec(packed).map_err(io::Error::other)?;
            if crc32fast::hash(&whole) != u32::from_be_bytes(*checksum) {
                return Err(broken("a block does not have its checksum"));
            }
        }
    }
    if whole.len() > LARGEST {
        return Err(broken("a block is too large"));
    }
    Ok(whole)
}

/// Reads a number in zigzag encoding. Returns `None` if the file ends before it.
fn long(file: &mut impl BufRead) -> io::Result<Option<i64>> {
    let mut bytes = Vec::with_capacity(10);
    loop {
        let mut byte = [0];
        match file.read(&mut byte)? {
            0 if bytes.is_empty() => return Ok(None),
            0 => return Err(ended()),
            _ => bytes.push(byte[0]),
        }
        if byte[0] < 0x80 {
            return Cursor::new(&bytes).long().map(Some).map_err(|fault| broken(&fault.describe(&bytes)));
        }
        if bytes.len() > 10 {
            return Err(broken("a number has more than 64 bits"));
        }
    }
}

fn short_bytes(file: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let length = long(file)?.ok_or_else(ended)?;
    let length =
        u64::try_from(length).ok().filter(|length| *length <= LARGEST_HEAD).ok_or_else(|| broken("its head is damaged"))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(ended()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"Obj\x01\x04\x16avro.schema\x82\x01{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"n\",\"type\":\"int\"}]}\x14avro.codec\x08null\x00";
    const END: [u8; 16] = [7; 16];

    fn file() -> Vec<u8> {
        let block = |data: &[u8]| [&[(data.len() * 2) as u8, (data.len() * 2) as u8], data, &END].concat();
        [HEAD, &END, &block(&[2, 4]), &block(&[5])].concat()
    }

    /// The lines, and whether the file is cut off.
    fn read(file: &[u8]) -> io::Result<(Vec<u8>, bool)> {
        let (mut text, cut_off) = (Vec::new(), Arc::new(AtomicBool::new(false)));
        AvroBlocks::new(file, Arc::clone(&cut_off))?.read_to_end(&mut text)?;
        Ok((text, cut_off.load(Ordering::Relaxed)))
    }

    fn lines(file: &[u8]) -> io::Result<String> {
        read(file).map(|(text, _)| String::from_utf8(text).unwrap())
    }

    #[test]
    fn data_are_lines() {
        assert_eq!(lines(&file()).unwrap(), "{\"n\":1}\n{\"n\":2}\n{\"n\":-3}\n");
    }

    #[test]
    fn a_text_that_is_not_utf8_spoils_its_line_only() {
        let head = b"Obj\x01\x02\x16avro.schema\x88\x01{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"n\",\"type\":\"string\"}]}\x00";
        let data = [&b"\x02a"[..], b"\x04\xff\n", b"\x02b"].concat();
        let file = [&head[..], &END, &[6, (data.len() * 2) as u8], &data, &END].concat();
        let (lines, cut_off) = read(&file).unwrap();
        assert_eq!(lines, b"{\"n\":\"a\"}\n{\"n\":\"\xff\\n\"}\n{\"n\":\"b\"}\n");
        assert!(!cut_off);
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let whole = file();
        let ends = [HEAD.len() + 16, HEAD.len() + 16 + 20];
        for length in 0..whole.len() {
            let (lines, cut_off) = match read(&whole[..length]) {
                Ok(read) => read,
                Err(error) => {
                    assert!(length < ends[0] && error.kind() == io::ErrorKind::UnexpectedEof, "{length}: {error}");
                    continue;
                }
            };
            // What is whole is read, and what is not is known.
            let expected: &[u8] = if length < ends[1] { b"" } else { b"{\"n\":1}\n{\"n\":2}\n" };
            assert_eq!((lines.as_slice(), cut_off), (expected, !ends.contains(&length)), "cut off at {length}");
        }
        for at in 0..whole.len() {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = byte;
                // Whatever it says, it must not panic or run on, and data before the damage stay as they are.
                if let Ok(read) = lines(&damaged)
                    && at >= ends[1]
                {
                    assert!(read.starts_with("{\"n\":1}\n{\"n\":2}\n"), "{read}");
                }
            }
        }
    }
}

//! The messages of the Postgres protocol, version 3: reads those of a client, writes those of a server. Knows no SQL.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest message that is read.
const LONGEST: usize = 16 << 20;

/// A message of a client: its kind and its content.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) kind: u8,
    content: Vec<u8>,
    at: usize,
}

/// The longest message of a client that has not been authenticated.
const LONGEST_FIRST: usize = 10_000;

/// Reads a message that has no kind: the first of a connection.
pub(super) async fn read_first(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Message> {
    read_content(stream, 0, LONGEST_FIRST).await
}

/// Reads a message of a client that has not been authenticated; `None` if it is gone.
pub(super) async fn read_early(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Message>> {
    read_at_most(stream, LONGEST_FIRST).await
}

/// Reads a message; `None` if the client is gone.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Message>> {
    read_at_most(stream, LONGEST).await
}

async fn read_at_most(stream: &mut (impl AsyncRead + Unpin), longest: usize) -> io::Result<Option<Message>> {
    match stream.read_u8().await {
        Ok(kind) => read_content(stream, kind, longest).await.map(Some),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

async fn read_content(stream: &mut (impl AsyncRead + Unpin), kind: u8, longest: usize) -> io::Result<Message> {
    let length = usize::try_from(stream.read_i32().await?).ok().and_then(|length| length.checked_sub(4));
    let length = length.filter(|length| *length <= longest).ok_or_else(|| malformed("its length"))?;
    let mut content = vec![0; length];
    stream.read_exact(&mut content).await?;
    Ok(Message { kind, content, at: 0 })
}

/// The error for a message that is not as the protocol has it.
pub(super) fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a message is malformed: {what}"))
}

impl Message {
    pub(super) fn bytes(&mut self, length: usize) -> io::Result<&[u8]> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.content.len()).ok_or_else(|| malformed("it is short"))?;
        let bytes = &self.content[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    /// What has not been read.
    pub(super) fn rest(&mut self) -> &[u8] {
        let rest = &self.content[self.at..];
        self.at = self.content.len();
        rest
    }

    pub(super) fn is_read(&self) -> bool {
        self.at == self.content.len()
    }

    pub(super) fn i16(&mut self) -> io::Result<i16> {
        self.bytes(2).map(|bytes| i16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(super) fn i32(&mut self) -> io::Result<i32> {
        self.bytes(4).map(|bytes| i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A text that ends with a zero byte.
    pub(super) fn text(&mut self) -> io::Result<String> {
        let rest = &self.content[self.at..];
        let length = rest.iter().position(|byte| *byte == 0).ok_or_else(|| malformed("a text does not end"))?;
        let text = String::from_utf8(rest[..length].to_vec()).map_err(|_| malformed("a text is not UTF-8"))?;
        self.at += length + 1;
        Ok(text)
    }

    /// A list of numbers, after their count.
    pub(super) fn i16s(&mut self) -> io::Result<Vec<i16>> {
        (0..self.i16()?).map(|_| self.i16()).collect()
    }

    pub(super) fn i32s(&mut self) -> io::Result<Vec<i32>> {
        (0..self.i16()?).map(|_| self.i32()).collect()
    }

    /// A value after its length; `None` for NULL.
    pub(super) fn value(&mut self) -> io::Result<Option<Vec<u8>>> {
        match usize::try_from(self.i32()?) {
            Ok(length) => self.bytes(length).map(|bytes| Some(bytes.to_vec())),
            Err(_) => Ok(None),
        }
    }
}

/// Messages of the server that are not yet sent.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    pub(super) bytes: Vec<u8>,
}

impl Outgoing {
    /// Adds a message whose content `write` appends.
    pub(super) fn message(&mut self, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
        self.bytes.push(kind);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        write(&mut self.bytes);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    pub(super) fn authentication(&mut self, code: i32, data: &[u8]) {
        self.message(b'R', |out| {
            out.extend_from_slice(&code.to_be_bytes());
            out.extend_from_slice(data);
        });
    }

    pub(super) fn parameter(&mut self, name: &str, value: &str) {
        self.message(b'S', |out| {
            text(out, name);
            text(out, value);
        });
    }

    pub(super) fn complete(&mut self, tag: &str) {
        self.message(b'C', |out| text(out, tag));
    }

    /// The server waits for a query; `state` is I outside a transaction, T in one, E in a failed one.
    pub(super) fn ready(&mut self, state: u8) {
        self.message(b'Z', |out| out.push(state));
    }

    pub(super) fn error(&mut self, severity: &str, code: &str, message: &str, help: Option<&str>, position: Option<usize>) {
        self.message(b'E', |out| {
            for (field, value) in [(b'S', severity), (b'V', severity), (b'C', code), (b'M', message)] {
                out.push(field);
                text(out, value);
            }
            if let Some(help) = help {
                out.push(b'H');
                text(out, help);
            }
            if let Some(position) = position {
                out.push(b'P');
                text(out, &position.to_string());
            }
            out.push(0);
        });
    }
}

/// Appends a text and a zero byte. A zero byte in it is left out.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().filter(|byte| *byte != 0));
    out.push(0);
}

//! One connection of a Postgres client: it starts, is authenticated, and then sends queries, which are answered from committed views.
//!
//! A query outside a transaction reads one snapshot. A transaction reads the snapshot that its first query took, until it ends. Nothing can be
//! changed; what sets options of the connection is accepted and has no effect.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::execution::SendableRecordBatchStream;
use futures::{FutureExt, StreamExt};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::Instant;

use super::messages::{self, Message, Outgoing, malformed, text};
use super::portals::{Portal, Prepared, Rows, format_of, same_columns, shown, type_at};
use super::refused::{Ended, Refused, refused};
use super::shared::Shared;
use super::values::{Column, parameter, type_of, type_of_oid};
use super::words::{Word, option, split, word_of};
use crate::error::Error;
use crate::query::{PreparedQuery, ViewsAtOnce};

/// How long a query waits for its turn while there are too many.
const TURN: Duration = Duration::from_secs(2);
/// How long a connection may be idle, and how long within a transaction, which holds files open.
const IDLE: Duration = Duration::from_secs(3600);
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(300);
/// The most prepared statements, and the most portals, of a connection.
const PREPARED: usize = 1_000;
const PORTALS: usize = 100;

/// What is sent before the client has to take it.
const SENT_AT_ONCE: usize = 64 << 10;

/// A connection.
pub(super) struct Session<'s> {
    shared: &'s Shared,
    stream: BufReader<TcpStream>,
    out: Outgoing,
    prepared: BTreeMap<String, Prepared>,
    portals: BTreeMap<String, Portal>,
    /// I outside a transaction, T in one, E in one that has failed.
    state: u8,
    snapshot: Option<(ViewsAtOnce, OwnedSemaphorePermit)>,
    cancel: Arc<Notify>,
}

impl<'s> Session<'s> {
    /// Takes a connection whose client has been authenticated.
    pub(super) fn new(shared: &'s Shared, stream: BufReader<TcpStream>, cancel: Arc<Notify>) -> Session<'s> {
        Session {
            shared,
            stream,
            out: Outgoing::default(),
            prepared: BTreeMap::new(),
            portals: BTreeMap::new(),
            state: b'I',
            snapshot: None,
            cancel,
        }
    }

    /// Answers queries until the client leaves.
    pub(super) async fn run(mut self) -> io::Result<()> {
        loop {
            let idle = if self.state == b'I' { IDLE } else { IDLE_IN_TRANSACTION };
            let Ok(read) = tokio::time::timeout(idle, messages::read(&mut self.stream)).await else {
                self.out.error("FATAL", "57P05", "the connection was idle for too long", None, None);
                return self.flush().await;
            };
            let Some(message) = read? else { return Ok(()) };
            let kind = message.kind;
            match self.take(message).await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(Ended::Connection(error)) => return Err(error),
                Err(Ended::Query(refused)) => {
                    self.refuse(&refused);
                    if kind == b'Q' {
                        self.out.ready(self.state);
                    } else if !self.skip_to_sync().await? {
                        return Ok(());
                    }
                    self.flush().await?;
                }
            }
        }
    }

    fn refuse(&mut self, refused: &Refused) {
        self.out.error("ERROR", refused.code, &refused.message, refused.help.as_deref(), refused.position);
        if self.state == b'T' {
            self.state = b'E';
        }
    }

    /// After an error in the extended protocol, everything up to the next Sync is passed over.
    async fn skip_to_sync(&mut self) -> io::Result<bool> {
        self.flush().await?;
        loop {
            match messages::read(&mut self.stream).await? {
                None => return Ok(false),
                Some(message) if message.kind == b'X' => return Ok(false),
                Some(message) if message.kind == b'S' => {
                    self.out.ready(self.state);
                    return Ok(true);
                }
                Some(_) => {}
            }
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.out.bytes);
        let write = self.stream.get_mut().write_all(&bytes);
        tokio::time::timeout(self.shared.limits.time, write).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// Does what a message asks for. Returns whether the connection goes on.
    async fn take(&mut self, mut message: Message) -> Result<bool, Ended> {
        match message.kind {
            b'Q' => {
                for sql in split(&message.text()?) {
                    self.simple(&sql).await?;
                }
                self.out.ready(self.state);
                self.flush().await?;
            }
            b'P' => {
                let (name, sql, oids) = (message.text()?, message.text()?, message.i32s()?);
                let parameters = oids.into_iter().map(type_of_oid).collect();
                if self.prepared.len() >= PREPARED && !self.prepared.contains_key(&name) {
                    return Err(refused("54000", format!("{PREPARED} statements are prepared: close some")).into());
                }
                let sql = sql.trim().trim_end_matches(';').to_owned();
                self.prepared.insert(name, Prepared { sql, parameters, described: None });
                self.out.message(b'1', |_| {});
            }
            b'B' => self.bind(&mut message).await?,
            b'D' => {
                let (what, name) = (message.bytes(1)?[0], message.text()?);
                self.describe(what, &name).await?;
            }
            b'E' => {
                let (name, most) = (message.text()?, message.i32()?);
                self.execute(&name, usize::try_from(most).ok().filter(|most| *most > 0)).await?;
            }
            b'C' => {
                let (what, name) = (message.bytes(1)?[0], message.text()?);
                if what == b'S' {
                    self.prepared.remove(&name);
                } else {
                    self.portals.remove(&name);
                }
                self.out.message(b'3', |_| {});
            }
            b'S' => {
                if self.state == b'I' {
                    self.portals.clear();
                }
                self.out.ready(self.state);
                self.flush().await?;
            }
            b'H' => self.flush().await?,
            b'X' => return Ok(false),
            _ => return Err(malformed("its kind is not known").into()),
        }
        Ok(true)
    }

    /// Runs one statement of a simple query.
    async fn simple(&mut self, sql: &str) -> Result<(), Ended> {
        if self.control(sql, true)? {
            return Ok(());
        }
        let (mut rows, schema) = self.begin(sql, Vec::new()).await?;
        self.row_description(&schema, &[]);
        let (sent, _) = self.send(&mut rows, &[], None).await?;
        self.out.complete(&format!("SELECT {sent}"));
        Ok(())
    }

    /// Begins a query, once it is its turn. Returns its rows and their columns.
    async fn begin(&mut self, sql: &str, values: Vec<ScalarValue>) -> Result<(Rows, SchemaRef), Ended> {
        let waiting = tokio::time::timeout(TURN, Arc::clone(&self.shared.limits.turns).acquire_owned());
        let Ok(Ok(turn)) = waiting.await else {
            return Err(refused("53300", "too many queries are running: try again; `max_queries` allows more").into());
        };
        // A request to cancel the query before is not for this one.
        let _ = self.cancel.notified().now_or_never();
        let deadline = Instant::now() + self.shared.limits.time;
        let query = self.plan(sql).await?;
        let schema = query.schema();
        let stream = query.bind(values)?.stream_within(&self.shared.limits.memory).await?;
        Ok((Rows { stream, waiting: None, deadline, _turn: turn }, schema))
    }

    /// Does what is no query. `described` says whether the rows of SHOW are described here. Returns whether it was done.
    fn control(&mut self, sql: &str, described: bool) -> Result<bool, Ended> {
        let word = word_of(sql);
        if self.state == b'E' && !matches!(word, Word::Commit | Word::Rollback | Word::RollbackTo) {
            return Err(refused("25P02", "the transaction has failed: ROLLBACK ends it").into());
        }
        match word {
            Word::Empty => self.out.message(b'I', |_| {}),
            Word::Begin => {
                self.state = b'T';
                self.out.complete("BEGIN");
            }
            Word::Commit | Word::Rollback => {
                let tag = if self.state == b'E' || word == Word::Rollback { "ROLLBACK" } else { "COMMIT" };
                (self.state, self.snapshot) = (b'I', None);
                self.portals.clear();
                self.out.complete(tag);
            }
            Word::Accepted(tag) => self.out.complete(tag),
            Word::RollbackTo => {
                self.state = if self.state == b'E' { b'T' } else { self.state };
                self.out.complete("ROLLBACK");
            }
            Word::Show(name) => {
                let Some(value) = option(&name) else {
                    return Err(refused("42704", format!("there is no option {name}")).into());
                };
                if described {
                    self.row_description(&shown(&name), &[]);
                }
                self.out.message(b'D', |out| {
                    out.extend_from_slice(&1_i16.to_be_bytes());
                    out.extend_from_slice(&u32::try_from(value.len()).unwrap_or(0).to_be_bytes());
                    out.extend_from_slice(value.as_bytes());
                });
                self.out.complete("SHOW");
            }
            Word::Query => return Ok(false),
        }
        Ok(true)
    }

    /// Plans a query over the snapshot of the transaction, or over the newest commits.
    async fn plan(&mut self, sql: &str) -> Result<PreparedQuery, Ended> {
        if self.state == b'T' && self.snapshot.is_none() {
            let waiting = tokio::time::timeout(TURN, Arc::clone(&self.shared.snapshots).acquire_owned());
            let Ok(Ok(permit)) = waiting.await else {
                return Err(refused("53300", "too many transactions hold a snapshot: try again, or do without BEGIN").into());
            };
            self.snapshot = Some((ViewsAtOnce::take(&self.shared.layout).await?, permit));
        }
        let snapshot = self.snapshot.as_ref().map(|(snapshot, _)| snapshot);
        Ok(crate::query::prepare(&self.shared.layout, sql, snapshot).await?)
    }

    fn row_description(&mut self, schema: &SchemaRef, formats: &[i16]) {
        self.out.message(b'T', |out| {
            out.extend_from_slice(&u16::try_from(schema.fields().len()).unwrap_or(u16::MAX).to_be_bytes());
            for (index, field) in schema.fields().iter().enumerate() {
                let (oid, length) = type_of(field.data_type());
                text(out, field.name());
                out.extend_from_slice(&[0; 6]);
                out.extend_from_slice(&oid.to_be_bytes());
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(&(-1_i32).to_be_bytes());
                out.extend_from_slice(&format_of(formats, index).to_be_bytes());
            }
        });
    }

    async fn bind(&mut self, message: &mut Message) -> Result<(), Ended> {
        let (portal, name, formats) = (message.text()?, message.text()?, message.i16s()?);
        let values = (0..message.i16()?).map(|_| message.value()).collect::<io::Result<Vec<_>>>()?;
        let columns = message.i16s()?;
        let Some(prepared) = self.prepared.get(&name) else {
            return Err(refused("26000", format!("there is no prepared statement '{name}'")).into());
        };
        let (sql, declared, described) = (prepared.sql.clone(), prepared.parameters.clone(), prepared.described.clone());
        if self.portals.len() >= PORTALS && !self.portals.contains_key(&portal) {
            return Err(refused("54000", format!("{PORTALS} portals are open: close some")).into());
        }
        let mut bound = Vec::new();
        if !values.is_empty() {
            let inferred = self.plan(&sql).await?.parameters();
            for (index, value) in values.iter().enumerate() {
                let data_type = type_at(&declared, &inferred, index);
                let value = parameter(value.as_deref(), format_of(&formats, index) == 1, &data_type);
                bound.push(value.map_err(|message| refused("22P02", format!("${}: {message}", index + 1)))?);
            }
        }
        self.portals.insert(portal, Portal { sql, values: bound, formats: columns, described, rows: None });
        self.out.message(b'2', |_| {});
        Ok(())
    }

    async fn describe(&mut self, what: u8, name: &str) -> Result<(), Ended> {
        let (sql, formats) = match (what, self.prepared.get(name), self.portals.get(name)) {
            (b'S', Some(prepared), _) => (prepared.sql.clone(), Vec::new()),
            (b'P', _, Some(portal)) => (portal.sql.clone(), portal.formats.clone()),
            _ => return Err(refused("26000", format!("there is no statement or portal '{name}'")).into()),
        };
        let (schema, inferred) = match word_of(&sql) {
            Word::Query => {
                let query = self.plan(&sql).await?;
                (Some(query.schema()), query.parameters())
            }
            Word::Show(name) => (Some(shown(&name)), Vec::new()),
            _ => (None, Vec::new()),
        };
        if what == b'S' {
            let declared = self.prepared.get(name).map(|prepared| prepared.parameters.clone()).unwrap_or_default();
            let count = inferred.len().max(declared.len());
            self.out.message(b't', |out| {
                out.extend_from_slice(&u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes());
                for index in 0..count {
                    out.extend_from_slice(&type_of(&type_at(&declared, &inferred, index)).0.to_be_bytes());
                }
            });
        }
        match (what, self.prepared.get_mut(name), self.portals.get_mut(name)) {
            (b'S', Some(prepared), _) => prepared.described = schema.clone(),
            (b'P', _, Some(portal)) => portal.described = schema.clone(),
            _ => {}
        }
        match schema {
            Some(schema) => self.row_description(&schema, &formats),
            None => self.out.message(b'n', |_| {}),
        }
        Ok(())
    }

    async fn execute(&mut self, name: &str, most: Option<usize>) -> Result<(), Ended> {
        let Some(mut portal) = self.portals.remove(name) else {
            return Err(refused("34000", format!("there is no portal '{name}'")).into());
        };
        if self.control(&portal.sql, false)? {
            return Ok(());
        }
        let mut rows = match portal.rows.take() {
            Some(rows) => rows,
            None => {
                let (rows, schema) = self.begin(&portal.sql, portal.values.clone()).await?;
                if portal.described.as_ref().is_some_and(|described| !same_columns(described, &schema)) {
                    return Err(refused("0A000", "the columns of the statement have changed: prepare it again").into());
                }
                rows
            }
        };
        let (sent, more) = self.send(&mut rows, &portal.formats, most).await?;
        if more {
            self.out.message(b's', |_| {});
            portal.rows = Some(rows);
            self.portals.insert(name.to_owned(), portal);
        } else {
            self.out.complete(&format!("SELECT {sent}"));
        }
        Ok(())
    }

    /// Sends rows, at most `most`. Returns how many were sent, and whether there may be more.
    async fn send(&mut self, rows: &mut Rows, formats: &[i16], most: Option<usize>) -> Result<(usize, bool), Ended> {
        let deadline = rows.deadline;
        let (mut sent, mut scratch) = (0, String::new());
        loop {
            let (batch, first) = match rows.waiting.take() {
                Some(waiting) => waiting,
                None => match self.next(&mut rows.stream, deadline).await? {
                    Some(batch) => (batch, 0),
                    None => return Ok((sent, false)),
                },
            };
            let columns = batch.columns().iter().enumerate();
            let columns = columns.map(|(index, array)| Column::new(array, format_of(formats, index) == 1));
            let columns = columns.collect::<Result<Vec<_>, _>>().map_err(|error| refused("0A000", error.to_string()))?;
            for row in first..batch.num_rows() {
                if most == Some(sent) {
                    rows.waiting = Some((batch, row));
                    return Ok((sent, true));
                }
                let (mut failed, begins) = (None, self.out.bytes.len());
                self.out.message(b'D', |out| {
                    out.extend_from_slice(&u16::try_from(columns.len()).unwrap_or(u16::MAX).to_be_bytes());
                    failed = columns.iter().try_for_each(|column| column.write(row, out, &mut scratch)).err();
                });
                if let Some(error) = failed {
                    self.out.bytes.truncate(begins);
                    return Err(refused("22000", error.to_string()).into());
                }
                sent += 1;
                if self.out.bytes.len() >= SENT_AT_ONCE {
                    self.flush().await?;
                }
            }
        }
    }

    /// The next rows of a query. It ends if it takes too long, if the client asks for that, or is gone.
    async fn next(&mut self, stream: &mut SendableRecordBatchStream, deadline: Instant) -> Result<Option<RecordBatch>, Ended> {
        let listens = self.stream.buffer().is_empty();
        tokio::select! {
            batch = stream.next() => match batch.transpose() {
                Ok(batch) => Ok(batch),
                Err(error) => Err(Error::from(error).into()),
            },
            () = tokio::time::sleep_until(deadline) => {
                Err(refused("57014", "the query took too long: ask for less; `query_timeout` allows more").into())
            }
            () = self.cancel.notified() => Err(refused("57014", "the query was cancelled").into()),
            gone = gone(&mut self.stream), if listens => Err(gone.into()),
        }
    }
}

/// Returns once the client is gone. What it sends meanwhile is kept.
async fn gone(stream: &mut BufReader<TcpStream>) -> io::Error {
    match stream.fill_buf().await {
        Ok([]) => io::ErrorKind::UnexpectedEof.into(),
        Ok(_) => std::future::pending().await,
        Err(error) => error,
    }
}

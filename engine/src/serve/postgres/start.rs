//! The start of a connection: encryption is declined, the client is authenticated, and told about the server.

use std::io;
use std::time::Duration;

use ring::rand::SecureRandom as _;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::messages::{self, Message, Outgoing, malformed};
use super::scram::Exchange;
use super::session::Session;
use super::shared::Shared;
use super::words::OPTIONS;

const SSL_REQUEST: i32 = 80_877_103;
const GSS_REQUEST: i32 = 80_877_104;
const CANCEL_REQUEST: i32 = 80_877_102;
const VERSION_3: i32 = 196_608;
const MECHANISM: &str = "SCRAM-SHA-256";

/// How long a client may take until it is authenticated.
const START: Duration = Duration::from_secs(10);

/// Serves one connection until its client leaves.
pub(super) async fn serve(shared: &Shared, stream: TcpStream) -> io::Result<()> {
    let started = tokio::time::timeout(START, start(shared, stream)).await;
    let started = started.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the client did not say who it is in time"))??;
    let Some((stream, key)) = started else { return Ok(()) };
    let cancel = shared.register(key);
    let ended = Session::new(shared, stream, cancel).run().await;
    shared.forget(key);
    ended
}

/// Authenticates a client. Returns its connection, and the key to cancel its queries; none if there is nothing to serve.
async fn start(shared: &Shared, mut stream: TcpStream) -> io::Result<Option<(BufReader<TcpStream>, (i32, i32))>> {
    stream.set_nodelay(true)?;
    let mut first = loop {
        let mut first = messages::read_first(&mut stream).await?;
        match first.i32()? {
            SSL_REQUEST | GSS_REQUEST => stream.write_all(b"N").await?,
            CANCEL_REQUEST => {
                shared.cancel((first.i32()?, first.i32()?));
                return Ok(None);
            }
            VERSION_3 => break first,
            _ => return Err(malformed("the protocol's version is not 3")),
        }
    };
    let user = user_of(&mut first)?;
    let mut stream = BufReader::new(stream);
    let mut out = Outgoing::default();
    if !authenticate(shared, &mut stream, &user).await? {
        out.error("FATAL", "28P01", &format!("the password of user {user} is wrong, or there is no such user"), None, None);
        return stream.write_all(&out.bytes).await.map(|()| None);
    }
    out.authentication(0, &[]);
    for (name, value) in OPTIONS {
        out.parameter(name, value);
    }
    let key = (random()? & i32::MAX, random()?);
    out.message(b'K', |out| {
        out.extend_from_slice(&key.0.to_be_bytes());
        out.extend_from_slice(&key.1.to_be_bytes());
    });
    out.ready(b'I');
    stream.write_all(&out.bytes).await?;
    Ok(Some((stream, key)))
}

/// The user that a client says it is.
fn user_of(first: &mut Message) -> io::Result<String> {
    let mut user = None;
    while !first.is_read() {
        let name = first.text()?;
        if name.is_empty() {
            break;
        }
        let value = first.text()?;
        if name == "user" {
            user = Some(value);
        }
    }
    user.ok_or_else(|| malformed("it names no user"))
}

/// Whether the client is who it says. Without an account, everyone is.
async fn authenticate(shared: &Shared, stream: &mut BufReader<TcpStream>, user: &str) -> io::Result<bool> {
    let Some(account) = &shared.account else { return Ok(true) };
    let mut out = Outgoing::default();
    out.authentication(10, format!("{MECHANISM}\0\0").as_bytes());
    stream.write_all(&out.bytes).await?;
    let Some(mut message) = messages::read_early(stream).await?.filter(|message| message.kind == b'p') else { return Ok(false) };
    if message.text()? != MECHANISM {
        return Ok(false);
    }
    let begin = message.value()?.and_then(|begin| Exchange::begin(&begin));
    let Some(exchange) = begin else { return Ok(false) };
    let mut out = Outgoing::default();
    out.authentication(11, exchange.challenge().as_bytes());
    stream.write_all(&out.bytes).await?;
    let Some(mut message) = messages::read_early(stream).await?.filter(|message| message.kind == b'p') else { return Ok(false) };
    let proved = exchange.finish(message.rest(), &account.password).filter(|_| user == account.user);
    let Some(last) = proved else { return Ok(false) };
    let mut out = Outgoing::default();
    out.authentication(12, last.as_bytes());
    stream.write_all(&out.bytes).await?;
    Ok(true)
}

fn random() -> io::Result<i32> {
    let mut bytes = [0; 4];
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("no random numbers"))?;
    Ok(i32::from_be_bytes(bytes))
}

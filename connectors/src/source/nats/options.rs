//! Parses and checks `LOCATION` and `OPTIONS` of a NATS source, without any I/O.
//!
//! Options may hold secrets. This module never prints the value of a credential, neither in `Debug` nor in errors. Files named in options
//! are opened only when connecting.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::ServerAddr;

use crate::Error;
use crate::decode;
use crate::source::declaration::SourceConfig;

/// The names of all options.
const KNOWN: &[&str] = &[
    "allow_consuming_retention",
    "audit_interval",
    "connect_timeout",
    "creds",
    "domain",
    "format",
    "inbox_prefix",
    "nkey",
    "on_gap",
    "password",
    "request_timeout",
    "subject",
    "tls_ca",
    "tls_cert",
    "tls_first",
    "tls_key",
    "token",
    "user",
];

/// How often the filter is audited.
const AUDIT_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// The values of option `on_gap`.
const ON_GAP: &str = "write 'stop', 'rebuild' or 'continue'";

/// How the program authenticates.
pub(super) enum Credentials {
    /// It does not authenticate.
    None,
    /// With a `.creds` file, which holds a JWT and a seed.
    File(PathBuf),
    /// With user and password.
    User(String, String),
    /// With a token.
    Token(String),
    /// With the seed of an nkey.
    Seed(String),
    /// With a file that holds the seed of an nkey.
    SeedFile(PathBuf),
}

/// A checked declaration.
pub(super) struct NatsOptions {
    /// The addresses of the servers. Any of them will do.
    pub(super) servers: Vec<ServerAddr>,
    /// The stream's name.
    pub(super) stream: String,
    /// The subjects to read. Empty means all.
    pub(super) subjects: Vec<String>,
    /// How to authenticate.
    pub(super) credentials: Credentials,
    /// The file of certificates to trust in addition to the system's.
    pub(super) tls_ca: Option<PathBuf>,
    /// The files of the client certificate and its key.
    pub(super) tls_client: Option<(PathBuf, PathBuf)>,
    /// Whether TLS is required.
    pub(super) tls: bool,
    /// Whether to start TLS before the server sends its first message.
    pub(super) tls_first: bool,
    /// The JetStream domain.
    pub(super) domain: Option<String>,
    /// The prefix of the subjects for answers, if the account's permissions require one.
    pub(super) inbox_prefix: Option<String>,
    /// How long connecting to a server may take.
    pub(super) connect_timeout: Duration,
    /// How long the server may take to answer a request.
    pub(super) request_timeout: Duration,
    /// Whether to read streams from which reading can delete events, because of their retention.
    pub(super) allow_consuming_retention: bool,
    /// Whether reading goes on without events that the stream has lost before they were read.
    pub(super) continue_on_gap: bool,
    /// Whether the stream is a key-value bucket, of which only the newest message of each key counts.
    pub(super) is_bucket: bool,
    /// How often to audit the filter; `None` for never.
    pub(super) audit_interval: Option<Duration>,
}

impl fmt::Debug for NatsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsOptions")
            .field("servers", &self.servers_text())
            .field("stream", &self.stream)
            .field("subjects", &self.subjects)
            .finish_non_exhaustive()
    }
}

impl NatsOptions {
    /// Parses and checks the declaration.
    pub(super) fn parse(config: &SourceConfig) -> Result<NatsOptions, Error> {
        let wrong = |message: String, help: &str| Error::Config {
            message: format!("source {}: {message}", config.name),
            help: Some(help.to_owned()),
        };
        for name in config.options.keys() {
            if !KNOWN.contains(&name.as_str()) && !decode::is_option(name) {
                return Err(wrong(format!("option '{name}' is not known"), &nearest(name)));
            }
        }
        let text = |name: &str| config.options.get(name).filter(|value| !value.is_empty()).cloned();
        let path = |name: &str| text(name).map(PathBuf::from);
        let flag = |name: &str| match text(name).map(|value| value.to_ascii_lowercase()).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(wrong(format!("option '{name}' is neither true nor false"), "write 'true' or 'false'")),
        };
        let duration = |name: &str, default: Duration| match text(name) {
            None => Ok(default),
            Some(value) => match humantime::parse_duration(&value) {
                Ok(duration) if !duration.is_zero() => Ok(duration),
                _ => Err(wrong(format!("option '{name}' is not a length of time: '{value}'"), "write for instance '5 seconds'")),
            },
        };

        let (servers, stream) = location(&config.location).map_err(|(message, help)| wrong(message, help))?;
        let subjects = subjects(config.options.get("subject").map_or("", String::as_str))
            .map_err(|message| wrong(message, "write for instance 'orders.placed.>' or 'orders.placed.*, orders.paid.*'"))?;
        let tls_ca = path("tls_ca");
        let tls_client = match (path("tls_cert"), path("tls_key")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => return Err(wrong("tls_cert without tls_key".into(), "name the key's file with option 'tls_key'")),
            (None, Some(_)) => {
                return Err(wrong("tls_key without tls_cert".into(), "name the certificate's file with option 'tls_cert'"));
            }
        };
        let tls_first = flag("tls_first")?;
        let tls = tls_first || tls_ca.is_some() || tls_client.is_some() || servers.iter().any(ServerAddr::tls_required);
        Ok(NatsOptions {
            credentials: credentials(&text).map_err(|message| {
                wrong(message, "give one of: creds, user and password, token, nkey; here, in alluvium.toml or the environment")
            })?,
            servers,
            stream,
            subjects,
            tls_ca,
            tls_client,
            tls,
            tls_first,
            domain: text("domain"),
            inbox_prefix: text("inbox_prefix"),
            connect_timeout: duration("connect_timeout", Duration::from_secs(5))?,
            request_timeout: duration("request_timeout", Duration::from_secs(5))?,
            allow_consuming_retention: flag("allow_consuming_retention")?,
            continue_on_gap: continue_on_gap(text("on_gap").as_deref()).map_err(|message| wrong(message, ON_GAP))?,
            is_bucket: text("format").is_some_and(|format| format.eq_ignore_ascii_case("kv")),
            audit_interval: match text("audit_interval") {
                Some(value) if value.eq_ignore_ascii_case("off") => None,
                _ => Some(duration("audit_interval", AUDIT_INTERVAL)?),
            },
        })
    }

    /// Returns the servers as text, for messages.
    pub(super) fn servers_text(&self) -> String {
        let each = |server: &ServerAddr| format!("{}://{}:{}", server.scheme(), server.host(), server.port());
        self.servers.iter().map(each).collect::<Vec<_>>().join(",")
    }
}

/// Suggests what to write instead of an unknown option.
fn nearest(name: &str) -> String {
    let known = || KNOWN.iter().copied().chain(decode::options());
    let best = known()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .filter(|(likeness, _)| *likeness > 0.75);
    match best {
        Some((_, known)) => format!("did you mean '{known}'?"),
        None => format!("write one of: {}", known().collect::<Vec<_>>().join(", ")),
    }
}

/// Parses servers and stream from `nats://host:port[,host:port...]/STREAM`. The error says what is wrong and what to write instead.
fn location(location: &str) -> Result<(Vec<ServerAddr>, String), (String, &'static str)> {
    const FORM: &str = "write LOCATION 'nats://host:4222/STREAM'";
    if location.contains('@') {
        return Err((
            "LOCATION holds a user or a password".into(),
            "leave it out and use the options user and password or token, in alluvium.toml or the environment",
        ));
    }
    let (scheme, rest) = location.split_once("://").ok_or_else(|| ("LOCATION has no scheme".to_owned(), FORM))?;
    if scheme != "nats" && scheme != "tls" {
        return Err((format!("LOCATION begins with '{scheme}://'"), "begin with nats:// or tls://"));
    }
    let (hosts, stream) = rest.rsplit_once('/').ok_or_else(|| ("LOCATION names no stream".to_owned(), FORM))?;
    let bad = |character: char| character.is_whitespace() || character.is_control() || ".*>/\\?#".contains(character);
    if stream.is_empty() || stream.contains(bad) {
        return Err((format!("'{stream}' is not a stream's name"), FORM));
    }
    let mut servers = Vec::new();
    for host in hosts.split(',').map(str::trim) {
        let address = if host.contains("://") { host.to_owned() } else { format!("{scheme}://{host}") };
        match address.parse::<ServerAddr>() {
            Ok(server) if !server.host().is_empty() && matches!(server.scheme(), "nats" | "tls") => servers.push(server),
            _ => return Err((format!("'{host}' is not a server's address"), FORM)),
        }
    }
    Ok((servers, stream.to_owned()))
}

/// Parses a comma-separated list of subjects. A list with `>` selects everything, like an empty list, and becomes one.
fn subjects(list: &str) -> Result<Vec<String>, String> {
    let mut subjects = Vec::new();
    for subject in list.split(',').map(str::trim).filter(|subject| !subject.is_empty()) {
        let tokens: Vec<&str> = subject.split('.').collect();
        let well_formed = tokens.iter().enumerate().all(|(place, token)| {
            !token.is_empty() && !token.contains(char::is_whitespace) && (*token != ">" || place + 1 == tokens.len())
        });
        if !well_formed {
            return Err(format!("'{subject}' is not a subject"));
        }
        if !subjects.iter().any(|known| known == subject) {
            subjects.push(subject.to_owned());
        }
    }
    if subjects.iter().any(|subject| subject == ">") {
        subjects.clear();
    }
    Ok(subjects)
}

/// Parses option `on_gap`: whether reading goes on where events are missing. What happens where it does not is not the reader's matter.
fn continue_on_gap(on_gap: Option<&str>) -> Result<bool, String> {
    match on_gap.map(str::to_ascii_lowercase).as_deref() {
        None | Some("stop" | "rebuild") => Ok(false),
        Some("continue") => Ok(true),
        Some(other) => Err(format!("option 'on_gap' is '{other}'")),
    }
}

/// Returns the credentials. Fails if more than one kind is given.
fn credentials(text: &impl Fn(&str) -> Option<String>) -> Result<Credentials, String> {
    let user = match (text("user"), text("password")) {
        (Some(user), Some(password)) => Some(Credentials::User(user, password)),
        (None, None) => None,
        (Some(_), None) => return Err("user without password".into()),
        (None, Some(_)) => return Err("password without user".into()),
    };
    let seed = text("nkey").map(|nkey| match nkey.trim() {
        seed if seed.len() == 58 && seed.starts_with('S') && seed.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Credentials::Seed(seed.to_owned())
        }
        path => Credentials::SeedFile(PathBuf::from(path)),
    });
    let given = [user, seed, text("creds").map(|path| Credentials::File(path.into())), text("token").map(Credentials::Token)];
    let mut given = given.into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(_), Some(_)) => Err("more than one kind of credentials is given".into()),
        (Some(credentials), None) => Ok(credentials),
        (None, _) => Ok(Credentials::None),
    }
}

#[cfg(test)]
mod tests;

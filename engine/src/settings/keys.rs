//! The table of settings: names, defaults, what they are for. `alluvium init` writes its file from it.

/// Environment variables of ours begin with this.
pub const PREFIX: &str = "ALLUVIUM_";

/// One setting at the top of `alluvium.toml`; its environment variable is `ALLUVIUM_` and its name in upper case.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Its default, as text.
    pub default: &'static str,
    /// Whether its default is written in quotation marks.
    pub quoted: bool,
    /// What it is for.
    pub help: &'static str,
}

/// Every setting at the top of the file.
pub const KEYS: &[Key] = &[
    Key {
        name: "data",
        default: "data",
        quoted: true,
        help: "Where checkpoints, state and views are kept, relative to this folder.",
    },
    Key {
        name: "commit_interval",
        default: "1 second",
        quoted: true,
        help: "How often changes are committed; WITH (commit_interval = ...) of a view goes before it.",
    },
    Key {
        name: "snapshots_kept",
        default: "10",
        quoted: false,
        help: "Old snapshots kept of each view, for readers that are still at it.",
    },
    Key { name: "snapshots_min_age", default: "60 seconds", quoted: true, help: "An old snapshot is kept at least this long." },
    Key {
        name: "http",
        default: "127.0.0.1:9464",
        quoted: true,
        help: "Where /metrics, /healthz, /readyz and /status listen; \"off\" for nowhere.",
    },
    Key {
        name: "on_stream_change",
        default: "stop",
        quoted: true,
        help: "When a stream was made anew or lost events that were not yet read: \"stop\" or \"rebuild\".",
    },
    Key {
        name: "shutdown_timeout",
        default: "10 seconds",
        quoted: true,
        help: "How long a run that is told to end may take to commit; then it ends, and reads again what was not committed.",
    },
    Key {
        name: "source_timeout",
        default: "5 minutes",
        quoted: true,
        help: "How long `run --until-caught-up` waits for a source that does not answer; then it ends with an error. `run` waits for ever.",
    },
    Key { name: "batch_events", default: "65536", quoted: false, help: "Events in a micro-batch, at most." },
    Key { name: "batch_bytes", default: "67108864", quoted: false, help: "Bytes of bodies in a micro-batch, at most." },
];

/// The tables of the file.
pub const TABLES: &[&str] = &["nats", "sources"];

/// What `[nats]` and `ALLUVIUM_NATS_...` may say for every NATS source; `url` replaces the server of each LOCATION.
pub const NATS: &[&str] = &["url", "creds", "user", "password", "token", "nkey", "tls_ca", "tls_cert", "tls_key", "tls_first"];

/// Variables that the command line reads.
const COMMAND_LINE: &[&str] = &["ALLUVIUM_DIR", "ALLUVIUM_LOG", "ALLUVIUM_LOG_FORMAT"];

/// Options of one source: `ALLUVIUM_SOURCE_<NAME>_<OPTION>`.
pub(super) const SOURCE_PREFIX: &str = "ALLUVIUM_SOURCE_";

/// Options of every NATS source: `ALLUVIUM_NATS_<OPTION>`.
pub(super) const NATS_PREFIX: &str = "ALLUVIUM_NATS_";

/// The environment variable of a setting.
#[must_use]
pub fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.to_ascii_uppercase())
}

pub(super) fn is_known_variable(name: &str) -> bool {
    name.starts_with(SOURCE_PREFIX)
        // Set for tests and benches of this program.
        || name.starts_with("ALLUVIUM_TEST_")
        || name.starts_with("ALLUVIUM_BENCH_")
        || all_variables().iter().any(|known| known == name)
}

pub(super) fn all_variables() -> Vec<String> {
    let nats = NATS.iter().map(|name| format!("{NATS_PREFIX}{}", name.to_ascii_uppercase()));
    KEYS.iter().map(|key| variable(key.name)).chain(nats).chain(COMMAND_LINE.iter().map(|name| (*name).to_owned())).collect()
}

/// A line of the file with the default of a setting.
#[must_use]
pub fn example(name: &str) -> String {
    KEYS.iter().find(|key| key.name == name).map_or_else(String::new, |key| {
        if key.quoted { format!("{name} = \"{}\"", key.default) } else { format!("{name} = {}", key.default) }
    })
}

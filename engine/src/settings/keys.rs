//! The table of settings: names, defaults and help. `alluvium init` writes its `alluvium.toml` from it.

/// The prefix of our environment variables.
pub const PREFIX: &str = "ALLUVIUM_";

/// A setting at the top level of `alluvium.toml`. Its environment variable is `ALLUVIUM_` and its name in upper case.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Its default, as text.
    pub default: &'static str,
    /// Whether its default is written in quotation marks.
    pub quoted: bool,
    /// Its help text.
    pub help: &'static str,
}

/// Every setting at the top level of the file.
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
        help: "How often changes are committed. WITH (commit_interval = ...) of a view overrides it.",
    },
    Key {
        name: "snapshots_kept",
        default: "10",
        quoted: false,
        help: "How many old snapshots of each view are kept for readers that still use them.",
    },
    Key {
        name: "snapshots_min_age",
        default: "60 seconds",
        quoted: true,
        help: "An old snapshot is kept at least this long, unless the disk is nearly full.",
    },
    Key {
        name: "http",
        default: "127.0.0.1:9464",
        quoted: true,
        help: "The address of the HTTP server (/metrics, /healthz, /readyz, /status, /sources, /query, /views, commands); \"off\" disables it.",
    },
    Key {
        name: "on_stream_change",
        default: "stop",
        quoted: true,
        help: "What to do when a stream was deleted and created again, or lost events that were not read yet: \"stop\" or \"rebuild\". Option on_gap of a source overrides it.",
    },
    Key {
        name: "on_error",
        default: "dead_letter",
        quoted: true,
        help: "What becomes of an event that a view cannot apply: \"dead_letter\" sets it aside, \"stop\" stops the view. Sources and views can say it, too.",
    },
    Key {
        name: "max_dead_letters",
        default: "50%",
        quoted: true,
        help: "A view stops where more than this share of the last 1,000 events of a source was set aside; \"off\" for never. Sources and views can say it, too.",
    },
    Key {
        name: "shutdown_timeout",
        default: "10 seconds",
        quoted: true,
        help: "How long a run may take to commit after it is told to stop. Uncommitted events are read again at the next start.",
    },
    Key {
        name: "source_timeout",
        default: "5 minutes",
        quoted: true,
        help: "How long `run --until-caught-up` waits for a source or a disk that does not answer before it fails, and other commands for a source. `run` waits for ever.",
    },
    Key {
        name: "memory_limit",
        default: "80%",
        quoted: true,
        help: "How much memory the process may take: a size as \"4 GB\", a share of what the machine or the cgroup has, or \"off\". Near the limit readers slow down; beyond it the pipeline with the most state stops.",
    },
    Key {
        name: "verify_interval",
        default: "off",
        quoted: true,
        help: "How often `run` verifies all views at low priority, for instance \"1 day\"; it reads all events again. \"off\" for never.",
    },
    Key {
        name: "max_queries",
        default: "16",
        quoted: false,
        help: "How many queries over HTTP and the Postgres protocol run at once; further ones wait for a moment and are then refused.",
    },
    Key {
        name: "query_timeout",
        default: "1 minute",
        quoted: true,
        help: "How long a query over HTTP or the Postgres protocol may take, until its last row is sent.",
    },
    Key {
        name: "query_memory",
        default: "10%",
        quoted: true,
        help: "How much memory the queries over HTTP and the Postgres protocol may take together: a size as \"256 MB\", a share of what the machine or the cgroup has, or \"off\". A query for which too little is left fails alone.",
    },
    Key { name: "batch_events", default: "65536", quoted: false, help: "Events in a micro-batch, at most." },
    Key { name: "batch_bytes", default: "67108864", quoted: false, help: "Bytes of bodies in a micro-batch, at most." },
];

/// The tables of the file.
pub const TABLES: &[&str] = &["nats", "serve", "sources"];

/// The options of every NATS source, in `[nats]` and as `ALLUVIUM_NATS_...`. `url` replaces the server of each LOCATION.
pub const NATS: &[&str] = &["url", "creds", "user", "password", "token", "nkey", "tls_ca", "tls_cert", "tls_key", "tls_first"];

/// The keys of `[serve]`, and as `ALLUVIUM_SERVE_...`: the servers beside HTTP.
pub const SERVE: &[&str] = &["http_token", "postgres", "postgres_user", "postgres_password", "postgres_password_file"];

/// The variables that the command line reads.
const COMMAND_LINE: &[&str] = &["ALLUVIUM_DIR", "ALLUVIUM_LOG", "ALLUVIUM_LOG_FORMAT"];

/// The prefix of options of one source: `ALLUVIUM_SOURCE_<NAME>_<OPTION>`.
pub(super) const SOURCE_PREFIX: &str = "ALLUVIUM_SOURCE_";

/// The prefix of options of every NATS source: `ALLUVIUM_NATS_<OPTION>`.
pub(super) const NATS_PREFIX: &str = "ALLUVIUM_NATS_";

/// The prefix of the keys of `[serve]`: `ALLUVIUM_SERVE_<KEY>`.
pub(super) const SERVE_PREFIX: &str = "ALLUVIUM_SERVE_";

/// The environment variable of a setting.
#[must_use]
pub fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.to_ascii_uppercase())
}

pub(super) fn is_known_variable(name: &str) -> bool {
    name.starts_with(SOURCE_PREFIX)
        // Variables of our tests and benches.
        || name.starts_with("ALLUVIUM_TEST_")
        || name.starts_with("ALLUVIUM_BENCH_")
        || all_variables().iter().any(|known| known == name)
}

pub(super) fn all_variables() -> Vec<String> {
    let nats = NATS.iter().map(|name| format!("{NATS_PREFIX}{}", name.to_ascii_uppercase()));
    let serve = SERVE.iter().map(|name| format!("{SERVE_PREFIX}{}", name.to_ascii_uppercase()));
    KEYS.iter()
        .map(|key| variable(key.name))
        .chain(nats)
        .chain(serve)
        .chain(COMMAND_LINE.iter().map(|name| (*name).to_owned()))
        .collect()
}

/// Returns a line of `alluvium.toml` with the default of a setting.
#[must_use]
pub fn example(name: &str) -> String {
    KEYS.iter().find(|key| key.name == name).map_or_else(String::new, |key| {
        if key.quoted { format!("{name} = \"{}\"", key.default) } else { format!("{name} = {}", key.default) }
    })
}

//! Writes the project of the demo: settings, sources over streams or files, and six views.

use std::fs;
use std::path::Path;

use super::events::{file, stream};
use super::shop::Kind;
use crate::error::Error;
use crate::settings::FILE;

/// The views by name, in the order in which they are shown.
pub const VIEWS: [(&str, &str); 6] = [
    ("revenue_by_country", include_str!("folder/revenue_by_country.sql")),
    ("revenue_by_minute", include_str!("folder/revenue_by_minute.sql")),
    ("top_products", include_str!("folder/top_products.sql")),
    ("unpaid_orders", include_str!("folder/unpaid_orders.sql")),
    ("unpaid_by_country", include_str!("folder/unpaid_by_country.sql")),
    ("parcels_by_carrier", include_str!("folder/parcels_by_carrier.sql")),
];

/// The folder of the files with events, below that of the project.
pub const EVENTS: &str = "events";

/// Where the sources of the project find their events.
#[derive(Debug, Clone, Copy)]
pub enum Sources<'a> {
    /// In streams of the server at this address, `nats://host:port`.
    Nats(&'a str),
    /// In files of the folder [`EVENTS`].
    Files,
}

/// Writes the files of the project into a folder, which must exist. `http` and `postgres` are the addresses of its servers.
///
/// # Errors
/// The disk fails.
pub fn write(dir: &Path, sources: Sources<'_>, http: &str, postgres: &str) -> Result<(), Error> {
    let settings = format!("commit_interval = \"500 ms\"\nhttp = \"{http}\"\n\n[serve]\npostgres = \"{postgres}\"\n");
    let declared = declarations(sources);
    let views = VIEWS.iter().map(|(name, text)| (format!("{name}.sql"), *text));
    let others = [(FILE.to_owned(), settings.as_str()), ("sources.sql".to_owned(), declared.as_str())];
    for (name, text) in views.chain(others) {
        let path = dir.join(name);
        fs::write(&path, text).map_err(|error| Error::io("writing", path, error))?;
    }
    Ok(())
}

/// The declarations of the three sources.
fn declarations(sources: Sources<'_>) -> String {
    let mut text = include_str!("folder/sources.sql").to_owned();
    for kind in Kind::ALL {
        let place = match sources {
            Sources::Nats(url) => format!("STORED AS NATS\nLOCATION '{url}/{}'", stream(kind)),
            Sources::Files => format!("STORED AS FILE\nLOCATION '{EVENTS}/{}'", file(kind)),
        };
        text = text.replace(&format!("STORED AS {}", kind.source()), &place);
    }
    text
}

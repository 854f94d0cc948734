//! Nexmark's people, auctions and bids as JSON lines in folders, the same in every run: ten thousand events a second of event time.
//!
//! The events of each stream go to two files in turn, so that both files of a folder are in the order of time. Reading them side by side,
//! a program finds no late event.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use miette::{IntoDiagnostic, Result, WrapErr};
use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::Event;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::{self, BorrowedFormatItem};

/// 15 July 2015, midnight UTC.
const BASE_TIME_MS: u64 = 1_436_918_400_000;
const FILES: usize = 2;
/// The number of rows in the side table of q13.
const SIDE_INPUT: usize = 100;

/// Returns the declarations of the four sources. `folder` has a folder for each of them.
pub(crate) fn sources(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "CREATE EXTERNAL TABLE person (id BIGINT, name VARCHAR, email_address VARCHAR, credit_card VARCHAR, city VARCHAR,
  state VARCHAR, date_time TIMESTAMP(3), extra VARCHAR) STORED AS FILE LOCATION '{folder}/person';
CREATE EXTERNAL TABLE auction (id BIGINT, item_name VARCHAR, description VARCHAR, initial_bid BIGINT, reserve BIGINT,
  date_time TIMESTAMP(3), expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra VARCHAR)
  STORED AS FILE LOCATION '{folder}/auction';
CREATE EXTERNAL TABLE bid (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, date_time TIMESTAMP(3),
  extra VARCHAR) STORED AS FILE LOCATION '{folder}/bid';
CREATE EXTERNAL TABLE side_input (code BIGINT, value VARCHAR) STORED AS FILE LOCATION '{folder}/side_input';\n"
    )
}

/// Writes the first `count` events.
///
/// # Errors
/// If the disk fails.
pub(crate) fn write(folder: &Path, count: usize) -> Result<()> {
    let clock = Clock::new()?;
    let mut side_input = Stream::new(folder, "side_input")?;
    for code in 0..SIDE_INPUT {
        side_input.write(&json!({ "code": code, "value": format!("value {}", code % 7) }))?;
    }
    side_input.end()?;
    let mut person = Stream::new(folder, "person")?;
    let mut auction = Stream::new(folder, "auction")?;
    let mut bid = Stream::new(folder, "bid")?;
    let config = NexmarkConfig { base_time: BASE_TIME_MS, ..NexmarkConfig::default() };
    for event in EventGenerator::new(config).take(count) {
        match event {
            Event::Person(one) => person.write(&json!({
                "id": one.id, "name": one.name, "email_address": one.email_address, "credit_card": one.credit_card,
                "city": one.city, "state": one.state, "date_time": clock.moment(one.date_time)?, "extra": one.extra,
            }))?,
            Event::Auction(one) => auction.write(&json!({
                "id": one.id, "item_name": one.item_name, "description": one.description, "initial_bid": one.initial_bid,
                "reserve": one.reserve, "date_time": clock.moment(one.date_time)?, "expires": clock.moment(one.expires)?,
                "seller": one.seller, "category": one.category, "extra": one.extra,
            }))?,
            Event::Bid(one) => bid.write(&json!({
                "auction": one.auction, "bidder": one.bidder, "price": one.price, "channel": one.channel, "url": one.url,
                "date_time": clock.moment(one.date_time)?, "extra": one.extra,
            }))?,
        }
    }
    [person, auction, bid].into_iter().try_for_each(Stream::end)
}

/// Formats milliseconds since 1970 as a time without a zone, which both programs read.
struct Clock {
    form: Vec<BorrowedFormatItem<'static>>,
}

impl Clock {
    fn new() -> Result<Clock> {
        let form = "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]";
        Ok(Clock { form: format_description::parse_borrowed::<2>(form).into_diagnostic()? })
    }

    fn moment(&self, milliseconds: u64) -> Result<String> {
        let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000).into_diagnostic()?;
        moment.format(&self.form).into_diagnostic()
    }
}

/// The files of a stream, written to in turn.
struct Stream {
    files: Vec<BufWriter<File>>,
    next: usize,
}

impl Stream {
    fn new(folder: &Path, name: &str) -> Result<Stream> {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).into_diagnostic()?;
        let file = |index| {
            let path = folder.join(format!("{name}-{index}.jsonl"));
            let file = File::create(&path).into_diagnostic().wrap_err_with(|| format!("writing {}", path.display()))?;
            Ok(BufWriter::with_capacity(1 << 20, file))
        };
        Ok(Stream { files: (0..FILES).map(file).collect::<Result<_>>()?, next: 0 })
    }

    fn write(&mut self, event: &serde_json::Value) -> Result<()> {
        let file = &mut self.files[self.next % FILES];
        self.next += 1;
        writeln!(file, "{event}").into_diagnostic()
    }

    fn end(self) -> Result<()> {
        self.files.into_iter().try_for_each(|mut file| file.flush().into_diagnostic())
    }
}

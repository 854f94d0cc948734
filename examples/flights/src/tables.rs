//! Reads the rows of the CSV files unchanged: times are local, and `NA` stands for an unknown value.

use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;

use miette::{IntoDiagnostic, Result, WrapErr};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};

/// A flight, with the columns of `flights.csv` that the events use.
#[derive(Debug, Deserialize)]
pub(crate) struct Flight {
    pub(crate) year: i32,
    pub(crate) month: u8,
    pub(crate) day: u8,
    /// In minutes; `None` for a cancelled flight.
    #[serde(deserialize_with = "known")]
    pub(crate) dep_delay: Option<i32>,
    /// The local time of day at the destination as `hhmm`; `None` if the flight is not known to have landed there.
    #[serde(deserialize_with = "known")]
    pub(crate) arr_time: Option<u16>,
    /// In minutes; `None` for a diverted flight.
    #[serde(deserialize_with = "known")]
    pub(crate) arr_delay: Option<i32>,
    pub(crate) carrier: String,
    pub(crate) flight: u32,
    #[serde(deserialize_with = "known")]
    pub(crate) tailnum: Option<String>,
    pub(crate) origin: String,
    pub(crate) dest: String,
    /// In minutes.
    #[serde(deserialize_with = "known")]
    pub(crate) air_time: Option<u32>,
    /// In miles.
    pub(crate) distance: u32,
    /// The hour and minute of the scheduled departure, in local time.
    pub(crate) hour: u8,
    pub(crate) minute: u8,
    /// The hour of the scheduled departure, in RFC 3339 and UTC.
    pub(crate) time_hour: String,
}

/// The weather at an airport in an hour.
#[derive(Debug, Deserialize)]
pub(crate) struct Weather {
    pub(crate) origin: String,
    #[serde(deserialize_with = "known")]
    pub(crate) temp: Option<f64>,
    #[serde(deserialize_with = "known")]
    pub(crate) dewp: Option<f64>,
    #[serde(deserialize_with = "known")]
    pub(crate) humid: Option<f64>,
    #[serde(deserialize_with = "known")]
    pub(crate) wind_dir: Option<u16>,
    #[serde(deserialize_with = "known")]
    pub(crate) wind_speed: Option<f64>,
    #[serde(deserialize_with = "known")]
    pub(crate) wind_gust: Option<f64>,
    #[serde(deserialize_with = "known")]
    pub(crate) precip: Option<f64>,
    #[serde(deserialize_with = "known")]
    pub(crate) pressure: Option<f64>,
    #[serde(deserialize_with = "known")]
    pub(crate) visib: Option<f64>,
    pub(crate) time_hour: String,
}

/// An airline.
#[derive(Debug, Deserialize)]
pub(crate) struct Airline {
    pub(crate) carrier: String,
    pub(crate) name: String,
}

/// An airport.
#[derive(Debug, Deserialize)]
pub(crate) struct Airport {
    pub(crate) faa: String,
    pub(crate) name: String,
    pub(crate) lat: f64,
    pub(crate) lon: f64,
    /// In feet.
    pub(crate) alt: i32,
    /// The offset of standard time from UTC in hours.
    pub(crate) tz: i32,
    /// `A` if the airport follows the daylight saving time of the United States, `N` if not, `U` if unknown.
    pub(crate) dst: char,
    #[serde(deserialize_with = "known")]
    pub(crate) tzone: Option<String>,
}

/// An aircraft.
#[derive(Debug, Deserialize)]
pub(crate) struct Plane {
    pub(crate) tailnum: String,
    #[serde(deserialize_with = "known")]
    pub(crate) year: Option<u16>,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) manufacturer: String,
    pub(crate) model: String,
    pub(crate) engines: u8,
    pub(crate) seats: u16,
    pub(crate) engine: String,
}

/// The rows of all files.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) flights: Vec<Flight>,
    pub(crate) weather: Vec<Weather>,
    pub(crate) airlines: Vec<Airline>,
    pub(crate) airports: Vec<Airport>,
    pub(crate) planes: Vec<Plane>,
}

impl Tables {
    /// Reads the five files of a folder, but at most `limit` flights.
    pub(crate) fn read(folder: &Path, limit: Option<usize>) -> Result<Tables> {
        Ok(Tables {
            flights: rows(folder, "flights.csv", limit)?,
            weather: rows(folder, "weather.csv", None)?,
            airlines: rows(folder, "airlines.csv", None)?,
            airports: rows(folder, "airports.csv", None)?,
            planes: rows(folder, "planes.csv", None)?,
        })
    }
}

fn rows<T: DeserializeOwned>(folder: &Path, name: &str, limit: Option<usize>) -> Result<Vec<T>> {
    let path = folder.join(name);
    let reading = || format!("reading {}; run `make tools` to download the data", path.display());
    let mut reader = csv::Reader::from_path(&path).into_diagnostic().wrap_err_with(reading)?;
    reader.deserialize().take(limit.unwrap_or(usize::MAX)).collect::<Result<Vec<T>, _>>().into_diagnostic().wrap_err_with(reading)
}

/// Deserializes a value, or `None` for `NA`.
fn known<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    if text == "NA" { Ok(None) } else { text.parse().map(Some).map_err(D::Error::custom) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn na_is_none_and_anything_else_must_parse() {
        let header = "origin,year,temp,dewp,humid,wind_dir,wind_speed,wind_gust,precip,pressure,visib,time_hour\n";
        let read = |line: &str| csv::Reader::from_reader(format!("{header}{line}").as_bytes()).deserialize().next().unwrap();
        let weather: Weather = read("EWR,2013,39.02,26.06,59.37,270,10.5,NA,0,NA,10,2013-01-01T06:00:00Z").unwrap();
        assert_eq!((weather.temp, weather.wind_gust, weather.precip, weather.pressure), (Some(39.02), None, Some(0.0), None));
        let broken: Result<Weather, csv::Error> = read("EWR,2013,warm,26.06,59.37,270,10.5,NA,0,NA,10,2013-01-01T06:00:00Z");
        assert!(broken.is_err());
    }
}

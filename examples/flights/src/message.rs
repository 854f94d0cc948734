//! Turns an event into a message: an envelope as event-sourced systems use it, a subject and an id.

use miette::{IntoDiagnostic, Result};
use serde::{Serialize, Serializer};

use crate::clock::Minute;
use crate::timeline::{Event, Timeline};

/// The source that a message belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Flights,
    Weather,
    Airlines,
    Airports,
    Planes,
}

impl Source {
    pub(crate) const ALL: [Source; 5] = [Source::Flights, Source::Weather, Source::Airlines, Source::Airports, Source::Planes];

    /// Returns its name in `sources.sql`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Source::Flights => "flights",
            Source::Weather => "weather",
            Source::Airlines => "airlines",
            Source::Airports => "airports",
            Source::Planes => "planes",
        }
    }

    /// Returns the name of its stream.
    pub(crate) fn stream(self) -> &'static str {
        match self {
            Source::Flights => "FLIGHTS",
            Source::Weather => "WEATHER",
            Source::Airlines | Source::Airports | Source::Planes => "REFERENCE",
        }
    }
}

/// A message to publish.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) source: Source,
    pub(crate) subject: String,
    /// The event's id, unique in all streams.
    pub(crate) id: String,
    /// One JSON object without a line break.
    pub(crate) body: String,
}

#[derive(Serialize)]
struct Envelope<'a, D> {
    event_id: &'a str,
    event_type: &'static str,
    aggregate_id: &'a str,
    version: u32,
    timestamp: Minute,
    data: D,
    metadata: Metadata<'a>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    correlation_id: &'a str,
    causation_id: Option<&'a str>,
}

/// The data of a flight's event: the flight, then the members of this type of event.
#[derive(Serialize)]
struct FlightData<'a> {
    /// The local date of the scheduled departure.
    date: String,
    carrier: &'a str,
    flight: u32,
    origin: &'a str,
    dest: &'a str,
    tailnum: Option<&'a str>,
    distance_miles: u32,
    scheduled_departure: Minute,
    /// The local hour of the scheduled departure.
    scheduled_hour: u8,
    #[serde(flatten)]
    news: News,
}

#[derive(Serialize)]
#[serde(untagged)]
enum News {
    Nothing {},
    Departed { delay_minutes: Option<i32> },
    Arrived { delay_minutes: Option<i32>, air_minutes: Option<u32> },
}

#[derive(Serialize)]
struct WeatherData<'a> {
    origin: &'a str,
    hour: Minute,
    temperature_f: Option<f64>,
    dew_point_f: Option<f64>,
    humidity_percent: Option<f64>,
    wind_direction_degrees: Option<u16>,
    wind_speed_mph: Option<f64>,
    wind_gust_mph: Option<f64>,
    precipitation_inches: Option<f64>,
    pressure_millibars: Option<f64>,
    visibility_miles: Option<f64>,
}

#[derive(Serialize)]
struct AirlineData<'a> {
    carrier: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
struct AirportData<'a> {
    code: &'a str,
    name: &'a str,
    latitude: f64,
    longitude: f64,
    altitude_feet: i32,
    time_zone: Option<&'a str>,
}

#[derive(Serialize)]
struct PlaneData<'a> {
    tailnum: &'a str,
    built: Option<u16>,
    kind: &'a str,
    manufacturer: &'a str,
    model: &'a str,
    engines: u8,
    seats: u16,
    engine: &'a str,
}

impl Serialize for Minute {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Timeline<'_> {
    /// Returns all messages in order.
    pub(crate) fn messages(&self) -> impl Iterator<Item = Result<Message>> {
        self.events.iter().map(|(at, event)| self.message(*at, *event))
    }

    fn message(&self, at: Minute, event: Event) -> Result<Message> {
        match event {
            Event::Scheduled(index) => self.flight(at, index, "flight.scheduled", 1, News::Nothing {}),
            Event::Departed(index) => {
                let delay_minutes = self.tables.flights[index].dep_delay;
                self.flight(at, index, "flight.departed", 2, News::Departed { delay_minutes })
            }
            Event::Arrived(index) => {
                let flight = &self.tables.flights[index];
                let news = News::Arrived { delay_minutes: flight.arr_delay, air_minutes: flight.air_time };
                self.flight(at, index, "flight.arrived", 3, news)
            }
            Event::Cancelled(index) => self.flight(at, index, "flight.cancelled", 2, News::Nothing {}),
            Event::WeatherObserved(index) => self.weather(at, index),
            Event::AirlineRegistered(index) => {
                let airline = &self.tables.airlines[index];
                let data = AirlineData { carrier: &airline.carrier, name: &airline.name };
                registered(at, Source::Airlines, "airline.registered", &airline.carrier, data)
            }
            Event::AirportRegistered(index) => {
                let airport = &self.tables.airports[index];
                let data = AirportData {
                    code: &airport.faa,
                    name: &airport.name,
                    latitude: airport.lat,
                    longitude: airport.lon,
                    altitude_feet: airport.alt,
                    time_zone: airport.tzone.as_deref(),
                };
                registered(at, Source::Airports, "airport.registered", &airport.faa, data)
            }
            Event::PlaneRegistered(index) => {
                let plane = &self.tables.planes[index];
                let data = PlaneData {
                    tailnum: &plane.tailnum,
                    built: plane.year,
                    kind: &plane.kind,
                    manufacturer: &plane.manufacturer,
                    model: &plane.model,
                    engines: plane.engines,
                    seats: plane.seats,
                    engine: &plane.engine,
                };
                registered(at, Source::Planes, "plane.registered", &plane.tailnum, data)
            }
        }
    }

    fn flight(&self, at: Minute, index: usize, event_type: &'static str, version: u32, news: News) -> Result<Message> {
        let flight = &self.tables.flights[index];
        let date = format!("{}-{:02}-{:02}", flight.year, flight.month, flight.day);
        // A carrier uses a flight number once a day from each of the three airports, so this id is unique.
        let aggregate = format!("{date}-{}-{}-{}", flight.carrier, flight.flight, flight.origin);
        let data = FlightData {
            date,
            carrier: &flight.carrier,
            flight: flight.flight,
            origin: &flight.origin,
            dest: &flight.dest,
            tailnum: flight.tailnum.as_deref(),
            distance_miles: flight.distance,
            scheduled_departure: self.scheduled[index],
            scheduled_hour: flight.hour,
            news,
        };
        let what = event_type.trim_start_matches("flight.");
        let subject = format!("flights.{what}.{}.{}", flight.origin, flight.carrier);
        envelope(Source::Flights, subject, event_type, &aggregate, version, at, data)
    }

    fn weather(&self, at: Minute, index: usize) -> Result<Message> {
        let weather = &self.tables.weather[index];
        let data = WeatherData {
            origin: &weather.origin,
            hour: at,
            temperature_f: weather.temp,
            dew_point_f: weather.dewp,
            humidity_percent: weather.humid,
            wind_direction_degrees: weather.wind_dir,
            wind_speed_mph: weather.wind_speed,
            wind_gust_mph: weather.wind_gust,
            precipitation_inches: weather.precip,
            pressure_millibars: weather.pressure,
            visibility_miles: weather.visib,
        };
        let subject = format!("weather.observed.{}", weather.origin);
        let aggregate = format!("weather-{}", weather.origin);
        envelope(Source::Weather, subject, "weather.observed", &aggregate, self.observation[index], at, data)
    }
}

fn registered<D: Serialize>(at: Minute, source: Source, event_type: &'static str, key: &str, data: D) -> Result<Message> {
    let what = event_type.trim_end_matches(".registered");
    envelope(source, format!("reference.{what}.{key}"), event_type, &format!("{what}-{key}"), 1, at, data)
}

fn envelope<D: Serialize>(
    source: Source,
    subject: String,
    event_type: &'static str,
    aggregate_id: &str,
    version: u32,
    timestamp: Minute,
    data: D,
) -> Result<Message> {
    let id = format!("{aggregate_id}-{version}");
    let cause = (version > 1 && source == Source::Flights).then(|| format!("{aggregate_id}-{}", version - 1));
    let metadata = Metadata { correlation_id: aggregate_id, causation_id: cause.as_deref() };
    let body = Envelope { event_id: &id, event_type, aggregate_id, version, timestamp, data, metadata };
    let body = serde_json::to_string(&body).into_diagnostic()?;
    Ok(Message { source, subject, id, body })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashSet;

    use super::*;
    use crate::timeline::tests::tables;

    #[test]
    fn an_event_says_what_happened_to_what_and_why() {
        let tables = tables();
        let timeline = Timeline::new(&tables).unwrap();
        let messages: Vec<Message> = timeline.messages().map(Result::unwrap).collect();
        let arrived = messages.iter().find(|message| message.id == "2013-01-01-UA-1545-EWR-3").unwrap();
        assert_eq!(arrived.subject, "flights.arrived.EWR.UA");
        assert_eq!(
            arrived.body,
            concat!(
                r#"{"event_id":"2013-01-01-UA-1545-EWR-3","event_type":"flight.arrived","#,
                r#""aggregate_id":"2013-01-01-UA-1545-EWR","version":3,"timestamp":"2013-01-01T14:30:00Z","#,
                r#""data":{"date":"2013-01-01","carrier":"UA","flight":1545,"origin":"EWR","dest":"IAH","#,
                r#""tailnum":"N14228","distance_miles":1400,"scheduled_departure":"2013-01-01T10:15:00Z","#,
                r#""scheduled_hour":5,"delay_minutes":11,"air_minutes":227},"#,
                r#""metadata":{"correlation_id":"2013-01-01-UA-1545-EWR","causation_id":"2013-01-01-UA-1545-EWR-2"}}"#,
            )
        );
        let ids: HashSet<&str> = messages.iter().map(|message| message.id.as_str()).collect();
        assert_eq!(ids.len(), messages.len());
    }
}

//! Derives the events and their order in time from the tables.
//!
//! This module supplies the times that the data lacks: reference data is registered before everything else; a flight is scheduled a day
//! before its departure; a cancelled flight is cancelled at its scheduled departure.

use std::collections::HashMap;

use miette::Result;

use crate::clock::{Minute, Zone};
use crate::tables::{Flight, Tables};

const MINUTES_SCHEDULED_AHEAD: i64 = 24 * 60;
const REGISTERED_AT: &str = "2012-12-31T00:00:00Z";

/// What happened. The number is an index into the table concerned. The variants are in the order of events within one minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// An airline was registered.
    AirlineRegistered(usize),
    /// An airport was registered.
    AirportRegistered(usize),
    /// An aircraft was registered.
    PlaneRegistered(usize),
    /// The weather was observed.
    WeatherObserved(usize),
    /// The first event of a flight.
    Scheduled(usize),
    /// The second event of a flight.
    Departed(usize),
    /// The third and last event of a flight.
    Arrived(usize),
    /// The second and last event of a cancelled flight.
    Cancelled(usize),
}

/// All events with their times, in order of time.
#[derive(Debug)]
pub(crate) struct Timeline<'a> {
    pub(crate) tables: &'a Tables,
    pub(crate) events: Vec<(Minute, Event)>,
    /// The scheduled departure of each flight.
    pub(crate) scheduled: Vec<Minute>,
    /// The number of each weather observation among those of its airport, from 1.
    pub(crate) observation: Vec<u32>,
}

impl Timeline<'_> {
    /// Derives the events of all tables.
    pub(crate) fn new(tables: &Tables) -> Result<Timeline<'_>> {
        let scheduled = tables.flights.iter().map(scheduled_departure).collect::<Result<Vec<_>>>()?;
        let mut events = flight_events(tables, &scheduled);
        let last = events.iter().map(|(at, _)| *at).max();
        let mut seen: HashMap<&str, u32> = HashMap::new();
        let mut observation = Vec::with_capacity(tables.weather.len());
        for (index, weather) in tables.weather.iter().enumerate() {
            let number = seen.entry(&weather.origin).or_default();
            *number += 1;
            observation.push(*number);
            let at = Minute::parse(&weather.time_hour)?;
            if last.is_some_and(|last| at <= last) {
                events.push((at, Event::WeatherObserved(index)));
            }
        }
        let registered = Minute::parse(REGISTERED_AT)?;
        events.extend((0..tables.airlines.len()).map(|index| (registered, Event::AirlineRegistered(index))));
        events.extend((0..tables.airports.len()).map(|index| (registered, Event::AirportRegistered(index))));
        events.extend((0..tables.planes.len()).map(|index| (registered, Event::PlaneRegistered(index))));
        events.sort_unstable();
        Ok(Timeline { tables, events, scheduled, observation })
    }
}

fn scheduled_departure(flight: &Flight) -> Result<Minute> {
    Ok(Minute::parse(&flight.time_hour)?.plus(flight.minute.into()))
}

fn flight_events(tables: &Tables, scheduled: &[Minute]) -> Vec<(Minute, Event)> {
    let zones: HashMap<&str, Zone> = tables
        .airports
        .iter()
        .map(|airport| (airport.faa.as_str(), Zone { standard_hours: airport.tz, daylight_saving: airport.dst == 'A' }))
        .collect();
    let mut events = Vec::with_capacity(tables.flights.len() * 3);
    for (index, (flight, &scheduled)) in tables.flights.iter().zip(scheduled).enumerate() {
        events.push((scheduled.plus(-MINUTES_SCHEDULED_AHEAD), Event::Scheduled(index)));
        let Some(delay) = flight.dep_delay else {
            events.push((scheduled, Event::Cancelled(index)));
            continue;
        };
        let departed = scheduled.plus(delay.into());
        events.push((departed, Event::Departed(index)));
        if let Some(time) = flight.arr_time {
            let zone = zones.get(flight.dest.as_str()).copied().unwrap_or(Zone::ATLANTIC);
            events.push((departed.next_local(time, zone), Event::Arrived(index)));
        }
    }
    events
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::tables::{Airline, Airport, Weather};

    /// Three flights, of which one is cancelled and one never arrives, and three hours of weather.
    pub(crate) fn tables() -> Tables {
        let flight = |number, dep_delay, arr_time| Flight {
            year: 2013,
            month: 1,
            day: 1,
            dep_delay,
            arr_time,
            arr_delay: arr_time.map(|_| 11),
            carrier: "UA".into(),
            flight: number,
            tailnum: dep_delay.map(|_| "N14228".into()),
            origin: "EWR".into(),
            dest: "IAH".into(),
            air_time: arr_time.map(|_| 227),
            distance: 1400,
            hour: 5,
            minute: 15,
            time_hour: "2013-01-01T10:00:00Z".into(),
        };
        let weather = |origin: &str, hour: u32| Weather {
            origin: origin.into(),
            temp: Some(39.02),
            dewp: None,
            humid: Some(59.37),
            wind_dir: Some(270),
            wind_speed: Some(10.357_019_999_999_999),
            wind_gust: None,
            precip: Some(0.0),
            pressure: Some(1012.0),
            visib: Some(10.0),
            time_hour: format!("2013-01-01T{hour:02}:00:00Z"),
        };
        Tables {
            flights: vec![flight(1545, Some(2), Some(830)), flight(1714, None, None), flight(9, Some(-3), None)],
            weather: vec![weather("EWR", 9), weather("JFK", 9), weather("EWR", 10), weather("EWR", 23)],
            airlines: vec![Airline { carrier: "UA".into(), name: "United Air Lines Inc.".into() }],
            airports: vec![Airport {
                faa: "IAH".into(),
                name: "George Bush Intercontinental".into(),
                lat: 29.98,
                lon: -95.34,
                alt: 97,
                tz: -6,
                dst: 'A',
                tzone: Some("America/Chicago".into()),
            }],
            planes: Vec::new(),
        }
    }

    #[test]
    fn events_come_in_order_of_time_and_weather_ends_with_the_flights() {
        let tables = tables();
        let timeline = Timeline::new(&tables).unwrap();
        let shown: Vec<String> = timeline.events.iter().map(|(at, event)| format!("{at} {event:?}")).collect();
        let expected = [
            "2012-12-31T00:00:00Z AirlineRegistered(0)",
            "2012-12-31T00:00:00Z AirportRegistered(0)",
            "2012-12-31T10:15:00Z Scheduled(0)",
            "2012-12-31T10:15:00Z Scheduled(1)",
            "2012-12-31T10:15:00Z Scheduled(2)",
            "2013-01-01T09:00:00Z WeatherObserved(0)",
            "2013-01-01T09:00:00Z WeatherObserved(1)",
            "2013-01-01T10:00:00Z WeatherObserved(2)",
            "2013-01-01T10:12:00Z Departed(2)",
            "2013-01-01T10:15:00Z Cancelled(1)",
            "2013-01-01T10:17:00Z Departed(0)",
            "2013-01-01T14:30:00Z Arrived(0)",
        ];
        assert_eq!(shown, expected);
        assert_eq!(timeline.observation, [1, 1, 2, 3]);
    }
}

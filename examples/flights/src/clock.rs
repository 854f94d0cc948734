//! Converts local times of day to instants. The data has only whole minutes, and so has this module.

use std::fmt;

use miette::{IntoDiagnostic, Result, WrapErr};
use time::format_description::well_known::Rfc3339;
use time::{Date, Month, OffsetDateTime};

const MINUTES_A_DAY: i64 = 24 * 60;

/// Minutes since the epoch, in UTC. Shown as RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Minute(pub(crate) i64);

impl Minute {
    /// Parses RFC 3339 text.
    pub(crate) fn parse(text: &str) -> Result<Minute> {
        let instant = OffsetDateTime::parse(text, &Rfc3339)
            .into_diagnostic()
            .wrap_err_with(|| format!("the time {text:?} is not RFC 3339"))?;
        Ok(Minute(instant.unix_timestamp().div_euclid(60)))
    }

    /// Adds minutes.
    pub(crate) fn plus(self, minutes: i64) -> Minute {
        Minute(self.0 + minutes)
    }

    /// Returns the first instant at or after this one at which clocks in `zone` show `hhmm` (2400 is midnight).
    pub(crate) fn next_local(self, hhmm: u16, zone: Zone) -> Minute {
        let time_of_day = i64::from(hhmm / 100) * 60 + i64::from(hhmm % 100);
        let utc = time_of_day - zone.offset_minutes(self);
        self.plus((utc - self.0).rem_euclid(MINUTES_A_DAY))
    }
}

impl fmt::Display for Minute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instant = OffsetDateTime::from_unix_timestamp(self.0 * 60).map_err(|_| fmt::Error)?;
        f.write_str(&instant.format(&Rfc3339).map_err(|_| fmt::Error)?)
    }
}

/// An airport's time zone in 2013.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Zone {
    /// The offset of standard time from UTC in hours.
    pub(crate) standard_hours: i32,
    /// Whether the zone follows the daylight saving time of the United States.
    pub(crate) daylight_saving: bool,
}

impl Zone {
    /// The zone of the airports that the data does not list. All of them are in Puerto Rico and the Virgin Islands.
    pub(crate) const ATLANTIC: Zone = Zone { standard_hours: -4, daylight_saving: false };

    /// Returns the offset from UTC. Daylight saving time begins on the second Sunday of March and ends on the first of November, each time
    /// at two in the morning, local time.
    fn offset_minutes(self, at: Minute) -> i64 {
        let standard = i64::from(self.standard_hours) * 60;
        let two_o_clock = |month, day, offset| {
            let day = Date::from_calendar_date(2013, month, day).map_or(0, |date| i64::from(date.to_julian_day() - 2_440_588));
            Minute(day * MINUTES_A_DAY + 120 - offset)
        };
        let summer = two_o_clock(Month::March, 10, standard)..two_o_clock(Month::November, 3, standard + 60);
        if self.daylight_saving && summer.contains(&at) { standard + 60 } else { standard }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const NEW_YORK: Zone = Zone { standard_hours: -5, daylight_saving: true };

    #[track_caller]
    fn check(departure: &str, hhmm: u16, zone: Zone, expected: &str) {
        assert_eq!(Minute::parse(departure).unwrap().next_local(hhmm, zone).to_string(), expected);
    }

    #[test]
    fn an_arrival_is_the_next_time_that_the_destinations_clocks_show_it() {
        check("2013-01-01T10:17:00Z", 830, Zone { standard_hours: -6, ..NEW_YORK }, "2013-01-01T14:30:00Z");
        check("2013-01-02T03:50:00Z", 5, NEW_YORK, "2013-01-02T05:05:00Z");
        check("2013-01-02T03:50:00Z", 2400, NEW_YORK, "2013-01-02T05:00:00Z");
        check("2013-01-01T10:17:00Z", 517, NEW_YORK, "2013-01-01T10:17:00Z");
    }

    #[test]
    fn clocks_change_in_march_and_november_where_they_do() {
        check("2013-03-10T06:59:00Z", 300, NEW_YORK, "2013-03-10T08:00:00Z");
        check("2013-03-10T07:00:00Z", 300, NEW_YORK, "2013-03-10T07:00:00Z");
        check("2013-11-03T05:59:00Z", 200, NEW_YORK, "2013-11-03T06:00:00Z");
        check("2013-11-03T06:00:00Z", 100, NEW_YORK, "2013-11-03T06:00:00Z");
        check("2013-07-01T12:00:00Z", 1200, Zone::ATLANTIC, "2013-07-01T16:00:00Z");
    }
}

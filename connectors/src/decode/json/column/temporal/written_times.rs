//! Converts other ways to write a time to RFC 3339: ISO 8601 without seconds or in its basic form, and RFC 2822, the form in mail and HTTP.

use super::calendar::{days_in_month, days_since_epoch};

/// Converts a time to RFC 3339. The result has no offset if the text has none. Returns `None` for text in none of these forms.
pub(super) fn as_rfc3339(text: &str) -> Option<String> {
    iso(text).or_else(|| mail(text))
}

/// Converts a date in the basic form, `20240501`, to the extended form.
pub(super) fn basic_date(text: &str) -> Option<String> {
    let (year, month, day) = (text.get(..4)?, text.get(4..6)?, text.get(6..)?);
    (day.len() == 2 && is_digits(text)).then(|| format!("{year}-{month}-{day}"))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Converts ISO 8601 text such as `2024-05-01T10Z`, `2024-05-01 10:00` or `20240501T100000,5+0200`. Date and time can each be basic or
/// extended; the time can lack seconds, or minutes and seconds.
fn iso(text: &str) -> Option<String> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let date = match date.len() {
        8 => basic_date(date)?,
        10 if date.get(4..5) == Some("-") && date.get(7..8) == Some("-") => date.to_owned(),
        _ => return None,
    };
    let rest = rest.trim_end_matches(" UTC").trim_end_matches(" GMT");
    let zone_at = rest.find(['Z', 'z', '+', '-', ' ']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(zone_at);
    let zone = if text.ends_with(" UTC") || text.ends_with(" GMT") { "Z" } else { zone.trim_start() };
    Some(format!("{date}T{}{}", clock(time)?, offset(zone)?))
}

/// Converts `HH`, `HH:MM` or `HH:MM:SS`, with or without colons and with a fraction of the seconds, to `HH:MM:SS` and the fraction.
fn clock(time: &str) -> Option<String> {
    let (whole, fraction) = match time.split_once(['.', ',']) {
        Some((whole, fraction)) if is_digits(fraction) => (whole, format!(".{fraction}")),
        Some(_) => return None,
        None => (time, String::new()),
    };
    let digits: String = whole.chars().filter(|character| *character != ':').collect();
    let colons = whole.len() - digits.len();
    let separated = whole.split(':').all(|part| part.len() == 2);
    if !is_digits(&digits) || (colons > 0 && !separated) {
        return None;
    }
    match (digits.len(), fraction.is_empty()) {
        (2, true) => Some(format!("{digits}:00:00")),
        (4, true) => Some(format!("{}:{}:00", &digits[..2], &digits[2..])),
        (6, _) => Some(format!("{}:{}:{}{fraction}", &digits[..2], &digits[2..4], &digits[4..])),
        _ => None,
    }
}

/// Converts an offset (empty, `Z`, `+02`, `+0200` or `+02:00`) to the form in RFC 3339.
fn offset(zone: &str) -> Option<String> {
    if matches!(zone, "" | "Z" | "z") {
        return Some(zone.to_ascii_uppercase());
    }
    let (sign, digits) = zone.split_at_checked(1).filter(|(sign, _)| matches!(*sign, "+" | "-"))?;
    let digits = digits.replacen(':', "", 1);
    match digits.len() {
        2 if is_digits(&digits) => Some(format!("{sign}{digits}:00")),
        4 if is_digits(&digits) => Some(format!("{sign}{}:{}", &digits[..2], &digits[2..])),
        _ => None,
    }
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
/// The weekdays, beginning with that of the epoch.
const DAYS: [&str; 7] = ["thu", "fri", "sat", "sun", "mon", "tue", "wed"];

/// Converts RFC 2822 text such as `Wed, 1 May 2024 10:00:00 +0200`. Weekday and seconds are optional; a weekday must match the date.
fn mail(text: &str) -> Option<String> {
    let (weekday, rest) = match text.split_once(',') {
        Some((weekday, rest)) => (Some(weekday.trim()), rest),
        None => (None, text),
    };
    let mut words = rest.split_ascii_whitespace();
    let (day, month, year, time, zone) = (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !is_digits(day) || !is_digits(year) || year.len() != 4 {
        return None;
    }
    let (day, year): (i64, i64) = (day.parse().ok()?, year.parse().ok()?);
    let month = 1 + i64::try_from(MONTHS.iter().position(|name| month.eq_ignore_ascii_case(name))?).ok()?;
    if !(1..=days_in_month(year, month)).contains(&day) {
        return None;
    }
    let of_date = DAYS[usize::try_from(days_since_epoch(year, month, day).rem_euclid(7)).ok()?];
    if weekday.is_some_and(|weekday| !weekday.eq_ignore_ascii_case(of_date)) {
        return None;
    }
    let zone = match zone.to_ascii_uppercase().as_str() {
        "GMT" | "UTC" | "UT" | "Z" => "Z".to_owned(),
        _ => offset(zone)?,
    };
    let colons = time.bytes().filter(|byte| *byte == b':').count();
    (colons >= 1).then(|| clock(time)).flatten().map(|time| format!("{year:04}-{month:02}-{day:02}T{time}{zone}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_way_says_one_time() {
        for (written, read) in [
            ("2024-05-01T10:00Z", "2024-05-01T10:00:00Z"),
            ("2024-05-01 10:00", "2024-05-01T10:00:00"),
            ("2024-05-01T10Z", "2024-05-01T10:00:00Z"),
            ("20240501T100000Z", "2024-05-01T10:00:00Z"),
            ("20240501T1000+0200", "2024-05-01T10:00:00+02:00"),
            ("2024-05-01T10:00:00,25-03", "2024-05-01T10:00:00.25-03:00"),
            ("2024-05-01 10:00:00 UTC", "2024-05-01T10:00:00Z"),
            ("2024-05-01 10:00:00 +0200", "2024-05-01T10:00:00+02:00"),
            ("Wed, 01 May 2024 10:00:00 +0200", "2024-05-01T10:00:00+02:00"),
            ("Thu, 29 Feb 2024 23:59:59 GMT", "2024-02-29T23:59:59Z"),
            ("1 May 2024 10:00 -0000", "2024-05-01T10:00:00-00:00"),
        ] {
            assert_eq!(as_rfc3339(written).as_deref(), Some(read), "{written}");
        }
    }

    #[test]
    fn what_is_unclear_is_none() {
        for written in [
            "",
            "yesterday",
            "20240501",
            "2024-05-01",
            "2024-5-1T10:00Z",
            "2024-05-01T1:00Z",
            "2024-05-01T10:0Z",
            "2024-05-01T10:00.5Z",
            "2024-05-01T10:00:00 CEST",
            "2024-05-01T10:00:00+2",
            "05/01/2024 10:00",
            "Thu, 01 May 2024 10:00:00 GMT",
            "Wed, 01 May 24 10:00:00 GMT",
            "30 Feb 2024 10:00 GMT",
            "1 May 2024 10:00",
            "1 May 2024 10 GMT",
            "é024-05-01T10:00Z",
        ] {
            assert_eq!(as_rfc3339(written), None, "{written}");
        }
    }
}

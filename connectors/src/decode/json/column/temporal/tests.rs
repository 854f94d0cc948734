#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use fastrand::Rng;

use super::*;

/// Text in the form of the fast path, mostly with times that exist.
fn text(rng: &mut Rng) -> String {
    let year = if rng.bool() { rng.u16(1900..2100) } else { rng.u16(..10_000) };
    let odd = rng.u8(..6) == 0;
    let mut number = |common: std::ops::Range<u8>| if odd { rng.u8(..100) } else { rng.u8(common) };
    let (month, day, hour, minute, second) = (number(1..13), number(1..32), number(0..24), number(0..60), number(0..60));
    let fraction: String = (0..rng.usize(..12)).map(|_| char::from(b'0' + rng.u8(..10).min(rng.u8(..10)))).collect();
    let fraction = if rng.bool() { String::new() } else { format!(".{fraction}") };
    let separator = rng.choice(["T", " ", "t"]).unwrap();
    let zone = rng.choice(["", "", "Z", "Z", "z", "+02:00", " UTC"]).unwrap();
    format!("\"{year:04}-{month:02}-{day:02}{separator}{hour:02}:{minute:02}:{second:02}{fraction}{zone}\"")
}

fn mutate(rng: &mut Rng, text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let place = rng.usize(1..bytes.len() - 1);
    let byte = *rng.choice(b"0123456789-+:. TZz/;\\a").unwrap();
    match rng.u8(..3) {
        0 => bytes[place] = byte,
        1 => bytes.insert(place, byte),
        _ => drop(bytes.remove(place)),
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn plain_timestamps_are_those_of_the_general_way() {
    let seed = std::env::var("ALLUVIUM_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("seed {seed}: set ALLUVIUM_SEED to repeat");
    let mut rng = Rng::with_seed(seed);
    let mut plain = 0;
    for round in 0..300_000 {
        let whole = text(&mut rng);
        let text = if round % 3 == 0 { mutate(&mut rng, &whole) } else { whole };
        let units = *rng.choice(&[1, 1000, 1_000_000, NANOSECONDS]).unwrap();
        let zone = *rng.choice(&["+00:00", "UTC", "+02:00", "-11:30"]).unwrap();
        let utc = matches!(zone, "+00:00" | "UTC");
        let Ok(tz) = zone.parse::<Tz>() else { continue };
        let digits = [1, 1000, 1_000_000, NANOSECONDS].iter().position(|of| *of == units).unwrap() as i8 * 3;
        let layout = Layout { digits, zone: tz, utc, epoch: None };
        let general = any_timestamp(&text, units, &layout);
        if let Some(value) = plain_timestamp(&text, units, utc) {
            assert_eq!(Ok(value), general, "{text}, {units} a second, in {zone}");
            plain += 1;
        }
        assert_eq!(timestamp(&text, units, &layout), general, "{text}, {units} a second, in {zone}");
    }
    assert!(plain > 20_000, "{plain} in the plain way");
}

#[test]
fn every_day_is_the_general_ways() {
    let layout = Layout { digits: 0, zone: "+00:00".parse().unwrap(), utc: true, epoch: None };
    for year in (0..=9999).filter(|year| year % 100 < 5 || (1890..2110).contains(year)) {
        for (month, day) in (1..=12).flat_map(|month| [1, 28, 29, 30, 31].map(|day| (month, day))) {
            let text = format!("\"{year:04}-{month:02}-{day:02}T00:00:00Z\"");
            assert_eq!(plain_timestamp(&text, 1, true), any_timestamp(&text, 1, &layout).ok(), "{text}");
        }
    }
}

//! Compares the fast path for compact objects with serde_json's walk: both must find the same members and the same faults.

use fastrand::Rng;

use crate::decode::json::depth::is_nested;
use crate::decode::json::members::{Members, Target};
use crate::decode::json::object::walk_any;
use crate::decode::json::plain;
use crate::decode::json::runs::is_plain;

const NAMES: [&str; 9] = ["id", "date_time", "Price", "", "a name of more than sixteen bytes", "é", "x", "y", "skipped"];

fn members() -> Members {
    Members::new(NAMES[..6].iter().enumerate().map(|(index, name)| ((*name).to_owned(), Some(index))).collect())
}

fn value(rng: &mut Rng, depth: usize) -> String {
    let text: String =
        (0..rng.usize(..30)).map(|_| *rng.choice(&['a', 'Z', ' ', '{', ',', ':', 'é', '\u{7f}']).unwrap()).collect();
    match rng.u8(..14) {
        0..4 => format!("\"{text}\""),
        4 => format!("\"{text}\\n\\u00e9{text}\\\"\""),
        5 => rng.i64(..).to_string(),
        6 => rng.i64(-20..20).to_string(),
        7 => format!("{:.3}", rng.f64() * 100.0),
        8 => format!("-0.{}", rng.u16(..)),
        9 => format!("{}{}{}", rng.u16(..), rng.choice(["e5", "E-7", ".5e+300", "e999"]).unwrap(), ""),
        10 => (*rng.choice(&["true", "false", "null"]).unwrap()).to_owned(),
        11 if depth < 4 => body(rng, depth + 1),
        12 if depth < 4 => format!("[{},{}]", value(rng, depth + 1), value(rng, depth + 1)),
        _ => "0".to_owned(),
    }
}

fn body(rng: &mut Rng, depth: usize) -> String {
    let (colon, comma) = *rng.choice(&[(":", ","), (": ", ", "), (":  ", ","), (":", " ,"), (": ", ",\n")]).unwrap();
    // Mostly in the same order, like events of one kind.
    let names: Vec<&str> = NAMES.iter().copied().filter(|_| rng.u8(..8) > 0).collect();
    let mut members = Vec::new();
    for name in names {
        let odd = rng.u8(..40) == 0;
        let name = if odd { *rng.choice(&["id", "i\\u0064", "a\\\"b", "price", "new"]).unwrap() } else { name };
        members.push(format!("\"{name}\"{colon}{}", value(rng, depth)));
    }
    format!("{{{}}}", members.join(comma))
}

fn mutate(rng: &mut Rng, body: &str) -> String {
    let mut bytes = body.as_bytes().to_vec();
    for _ in 0..rng.usize(..3) {
        let place = rng.usize(..bytes.len().max(1));
        let byte = *rng.choice(b"{}[]\",:\\ 0123456789-+.eEtfnu\n\t\r\0\x1f\x7fa").unwrap();
        match rng.u8(..5) {
            0 if place < bytes.len() => bytes[place] = byte,
            1 if place < bytes.len() => drop(bytes.remove(place)),
            2 => bytes.truncate(place),
            3 if place < bytes.len() => bytes.extend_from_within(place..),
            _ => bytes.insert(place, byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The members that a column reads or that are nested, and the fault.
fn seen(
    walk: impl FnOnce(&mut Vec<(Target, String)>) -> Result<(), crate::decode::fault::Fault>,
    body: &str,
) -> (Vec<(Target, String)>, String) {
    let mut seen = Vec::new();
    let fault = walk(&mut seen).err().map(|fault| format!("{}: {}", fault.kind, fault.describe(body.as_bytes())));
    seen.retain(|(target, value)| target.column.is_some() || is_nested(value));
    (seen, fault.unwrap_or_default())
}

#[test]
fn the_short_cut_gives_what_serde_json_gives() {
    let seed = std::env::var("ALLUVIUM_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("seed {seed}: set ALLUVIUM_SEED to repeat");
    let mut rng = Rng::with_seed(seed);
    let (mut fast, mut slow) = (members(), members());
    let (mut plainly, mut refused) = (0, 0);
    for round in 0..60_000 {
        let body = body(&mut rng, 0);
        let body = if rng.bool() { mutate(&mut rng, &body) } else { body };
        if let Some(found) = plain::members_of(&body, &mut fast) {
            plainly += 1;
            fast.keep(found);
        }
        let push = |target, value: &str, list: &mut Vec<(Target, String)>| {
            list.push((target, value.to_owned()));
            Ok(())
        };
        let expected = seen(|list| walk_any(&body, &mut slow, |target, value| push(target, value, list)), &body);
        let given = seen(
            |list| match plain::walk(&body, &mut fast, |target, value| push(target, value, list)) {
                Some(walked) => walked,
                None => walk_any(&body, &mut fast, |target, value| push(target, value, list)),
            },
            &body,
        );
        refused += usize::from(!expected.1.is_empty());
        if expected.1.is_empty() {
            assert_eq!(given, expected, "round {round}: {body}");
        } else {
            // The caller discards members reported before the fault.
            assert_eq!(given.1, expected.1, "round {round}: {body}");
        }
    }
    assert!(plainly > 12_000 && refused > 8_000, "{plainly} plain, {refused} refused");
}

#[test]
fn every_byte_ends_a_text_or_does_not() {
    for byte in 0..=127_u8 {
        for place in 0..24 {
            let mut text = "é".repeat(12).into_bytes();
            text.splice(place & !1..(place & !1) + 2, [byte, b'a']);
            let text = String::from_utf8(text).unwrap();
            let ends = byte < 0x20 || byte == b'"' || byte == b'\\';
            assert_eq!(is_plain(&text), !ends, "byte {byte} at {place}");
        }
    }
}

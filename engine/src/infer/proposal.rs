//! Proposes the type of a member from what was seen of it, and says what was seen.

use super::names::words_of;
use super::numbers::Numbers;
use super::secrets;
use super::seen::{Reading, Seen};
use super::times::{self, Unit};
use super::types::{Member, Type, time_of};

/// A precision that leaves room for larger amounts than were seen.
const USUAL_PRECISION: usize = 12;
/// The largest precision of a DECIMAL in 128 bits.
const LARGEST_PRECISION: usize = 38;
/// Objects with at least so many names, most of which each object lacks, have names that are data.
const NAMES_OF_A_MAP: usize = 24;
/// The most letters of an example.
const EXAMPLE: usize = 40;

/// Words that name an amount of money, which has a fixed scale.
const AMOUNTS: [&str; 20] = [
    "amount", "total", "subtotal", "price", "cost", "fee", "fees", "tax", "vat", "balance", "revenue", "net", "gross",
    "discount", "credit", "debit", "payment", "paid", "refund", "salary",
];

/// Words of names of shares and ratios, which have any scale.
const NO_AMOUNTS: [&str; 8] = ["rate", "ratio", "percent", "percentage", "pct", "per", "share", "factor"];
/// Words of names whose digits are no number: they may begin with 0.
const CODES: [&str; 16] = [
    "zip", "postal", "postcode", "plz", "phone", "mobile", "fax", "iban", "bic", "code", "number", "ean", "gtin", "sku", "isbn",
    "serial",
];

/// A proposed type.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Proposal {
    pub(super) of_type: Type,
    /// The unit of times that are written as numbers, where an option has to tell it.
    pub(super) unit: Option<Unit>,
}

impl From<Type> for Proposal {
    fn from(of_type: Type) -> Proposal {
        Proposal { of_type, unit: None }
    }
}

/// Proposes a type. An option can tell the unit of a time only for a column, that is at the `top`.
pub(super) fn propose(name: &str, seen: &Seen, top: bool, reading: Reading) -> Proposal {
    let present = seen.present;
    let reading = Reading { hidden: reading.hidden || secrets::is_secret_name(name), ..reading };
    if present == 0 || seen.deep > 0 {
        return Type::Varchar.into();
    }
    if seen.objects == present {
        return of_objects(seen, reading).into();
    }
    if seen.arrays == present {
        let item = seen.items.as_ref().map_or(Type::Varchar, |items| propose(name, items, false, reading).of_type);
        return Type::List(Box::new(item)).into();
    }
    if seen.objects + seen.arrays > 0 {
        return Type::Varchar.into();
    }
    let texts = &seen.texts;
    if seen.booleans + texts.booleans == present && (seen.booleans > 0 || reading.empty_is_null) {
        return Type::Boolean.into();
    }
    if seen.numbers.count == present {
        return of_numbers(name, &seen.numbers, top);
    }
    if seen.numbers.count + texts.numbers.count == present {
        let together = seen.numbers.with(&texts.numbers);
        let only_texts = seen.numbers.count == 0 && !reading.empty_is_null;
        let is_code = seen.numbers.count == 0 && words_of(name).iter().any(|word| CODES.contains(&word.as_str()));
        if is_code {
            return Type::Varchar.into();
        }
        if !only_texts {
            return of_numbers(name, &together, top);
        }
        return of_text_numbers(name, &together).unwrap_or(Type::Varchar).into();
    }
    if texts.dates == present {
        return Type::Date.into();
    }
    if texts.dates + texts.times == present {
        return Type::Timestamp.into();
    }
    Type::Varchar.into()
}

fn of_objects(seen: &Seen, reading: Reading) -> Type {
    let names = seen.members.len();
    if names == 0 {
        return Type::Varchar;
    }
    let values: u64 = seen.members.iter().map(|(_, member)| member.present).sum();
    let are_data = names >= NAMES_OF_A_MAP && values.saturating_mul(4) < seen.objects.saturating_mul(names as u64);
    if are_data || seen.members.more {
        let exact = seen.members.iter().all(|(_, member)| member.numbers.exact && member.texts.numbers.exact);
        let types = seen.members.iter().filter(|(_, member)| member.present > 0);
        let types = types.map(|(name, member)| propose(name, member, false, reading).of_type);
        let common = types.reduce(|one, other| match (&one, &other) {
            _ if one == other => one,
            (Type::BigInt | Type::Double, Type::BigInt | Type::Double) if exact => Type::Double,
            _ => Type::Varchar,
        });
        return Type::Map(Box::new(common.unwrap_or(Type::Varchar)));
    }
    let member = |(name, member): (&str, &Seen)| {
        let of_type = propose(name, member, false, reading).of_type;
        let comment = comment(name, member, &of_type, seen.objects, reading);
        Member { name: name.to_owned(), of_type, comment }
    };
    Type::Struct(seen.members.iter().map(member).collect())
}

fn of_numbers(name: &str, numbers: &Numbers, top: bool) -> Proposal {
    if let Some(unit) = times::unit(numbers).filter(|unit| times::is_name_of_a_time(name, *unit)) {
        // What is finer than milliseconds in seconds with a fraction would not fit.
        let fits = numbers.are_whole() || unit == Unit::Second && numbers.most_scale <= 3;
        match time_of(unit) {
            Some(of_type) if top && fits => {
                let digits = if unit == Unit::Second { Type::TimestampOf(3) } else { of_type };
                return Proposal { of_type: digits, unit: Some(unit) };
            }
            Some(of_type) if numbers.are_whole() => return of_type.into(),
            _ => {}
        }
    }
    if numbers.are_whole() {
        return match (numbers.fit_signed, numbers.fit_unsigned) {
            // A program may write 5.00 as 5.
            _ if is_amount(name) && numbers.integer_digits <= 16 => Type::Decimal { precision: 18, scale: 2 },
            (true, _) => Type::BigInt,
            (false, true) => Type::UnsignedBigInt,
            _ if numbers.integer_digits <= LARGEST_PRECISION => Type::Decimal { precision: LARGEST_PRECISION, scale: 0 },
            _ => Type::Varchar,
        }
        .into();
    }
    let has_fixed_scale = numbers.padded && numbers.most_scale <= 9 && numbers.least_scale == numbers.most_scale;
    let is_amount = numbers.most_scale <= 2 && is_amount(name);
    if !numbers.exponents && (has_fixed_scale || is_amount) {
        return decimal(numbers, numbers.most_scale.max(2)).unwrap_or(Type::Varchar).into();
    }
    match numbers.exact {
        true => Type::Double,
        false if numbers.exponents => Type::Varchar,
        // A floating-point number would lose digits.
        false => decimal(numbers, numbers.most_scale).unwrap_or(Type::Varchar),
    }
    .into()
}

/// Numbers in text are often names or versions: only amounts are taken for numbers.
fn of_text_numbers(name: &str, numbers: &Numbers) -> Option<Type> {
    let is_number = is_amount(name) && !numbers.exponents && (1..=9).contains(&numbers.most_scale);
    if is_number { decimal(numbers, numbers.most_scale.max(2)) } else { None }
}

fn decimal(numbers: &Numbers, scale: usize) -> Option<Type> {
    let needed = numbers.integer_digits + scale;
    let precision = USUAL_PRECISION.max(needed + 3).min(LARGEST_PRECISION);
    (needed <= LARGEST_PRECISION).then_some(Type::Decimal { precision, scale })
}

/// Checks whether a name is that of an amount of money: `total`, `unit_price`, `amountPaid`, and no `tax_rate`.
fn is_amount(name: &str) -> bool {
    let words = words_of(name);
    let is_share = words.iter().any(|word| NO_AMOUNTS.contains(&word.as_str()));
    !is_share && words.last().is_some_and(|word| AMOUNTS.contains(&word.as_str()))
}

/// Says what was seen of a member of `of` objects: how often it is there, how many distinct values, one of them.
pub(super) fn comment(name: &str, seen: &Seen, of_type: &Type, of: u64, reading: Reading) -> String {
    if seen.present == 0 {
        return "never has a value in the sample".to_owned();
    }
    let mut parts = vec![share(seen.present, of)];
    let scalars = seen.present - seen.objects - seen.arrays - seen.deep;
    if (scalars > 0 && scalars < seen.present) || kinds(seen).len() > 1 {
        parts.push(kinds(seen).join(", "));
    }
    if let Some(unit) = times::unit(&seen.numbers.with(&seen.texts.numbers)) {
        match of_type {
            Type::TimestampOf(_) => parts.push(format!("numbers in {} since 1970", unit.option())),
            Type::BigInt => parts.push(format!("perhaps a time in {}", unit.option())),
            _ => {}
        }
    }
    if scalars > 0 {
        parts.push(format!("{} distinct", seen.distinct.len()));
    }
    if let Some(example) = seen.items.as_deref().unwrap_or(seen).example.as_ref().filter(|_| seen.objects == 0) {
        let hidden = reading.hidden
            || secrets::is_secret_name(name)
            || seen.secret
            || seen.items.as_deref().is_some_and(|items| items.secret);
        parts.push(if hidden { "such as '***'".to_owned() } else { format!("such as {}", shortened(example)) });
    }
    parts.join(", ")
}

fn kinds(seen: &Seen) -> Vec<String> {
    [
        ("text", seen.texts.count),
        ("a number", seen.numbers.count),
        ("a boolean", seen.booleans),
        ("an object", seen.objects),
        ("an array", seen.arrays),
    ]
    .into_iter()
    .filter(|(_, count)| *count > 0)
    .map(|(kind, count)| format!("{kind} in {count}"))
    .collect()
}

fn share(count: u64, of: u64) -> String {
    if count >= of {
        return "in all".to_owned();
    }
    match 100.0 * count as f64 / of as f64 {
        percent if percent < 0.1 => format!("in {count} of {of}"),
        percent => format!("in {percent:.1}%"),
    }
}

/// An example or a name as a comment may hold it: on one line, and not long.
pub(super) fn shortened(text: &str) -> String {
    let plain = |letter: char| if letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}') { ' ' } else { letter };
    let mut short: String = text.chars().take(EXAMPLE).map(plain).collect();
    if text.chars().nth(EXAMPLE).is_some() {
        short.push_str("...");
    }
    short
}

//! Which examples may not be shown: values of members whose names say that they are secret, and text that looks like a secret.

/// Words of names whose values are secret.
const WORDS: [&str; 34] = [
    "otp",
    "passcode",
    "jwt",
    "signature",
    "sig",
    "salt",
    "webhook",
    "connectionstring",
    "card",
    "key",
    "password",
    "passwd",
    "pwd",
    "pass",
    "passphrase",
    "secret",
    "secrets",
    "token",
    "tokens",
    "credential",
    "credentials",
    "creds",
    "authorization",
    "auth",
    "cookie",
    "cookies",
    "session",
    "seed",
    "nkey",
    "ssn",
    "cvv",
    "cvc",
    "iban",
    "pin",
];
/// Words that name a secret if `key` or `number` follows.
const OF_KEYS: [&str; 9] = ["api", "private", "secret", "access", "signing", "encryption", "card", "license", "account"];
/// Beginnings of text that is secret.
const BEGINNINGS: [&str; 23] = [
    "sk-",
    "whsec_",
    "hf_",
    "npm_",
    "sg.",
    "ya29",
    "https://hooks.",
    "bearer ",
    "basic ",
    "eyj",
    "sk_",
    "pk_",
    "rk_",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "xox",
    "akia",
    "asia",
    "-----begin",
    "glpat-",
    "aiza",
];

/// Checks whether the values of a member are secret by its name.
pub(super) fn is_secret_name(name: &str) -> bool {
    let words = super::names::words_of(name);
    let follows = words.windows(2).any(|pair| {
        matches!(pair, [first, second] if OF_KEYS.contains(&first.as_str()) && matches!(second.as_str(), "key" | "keys" | "number"))
    });
    let whole = words.concat();
    follows
        || words.iter().any(|word| WORDS.contains(&word.as_str()))
        || ["password", "apikey", "secretkey", "accesskey", "privatekey", "accesstoken", "cardnumber"]
            .iter()
            .any(|s| whole.contains(s))
}

/// Checks whether a text looks like a secret, whatever its name.
pub(super) fn is_secret_text(text: &str) -> bool {
    let lower = text.trim_start().to_ascii_lowercase();
    let has_user = lower
        .split_once("://")
        .is_some_and(|(_, rest)| rest.split(['/', '?', '#']).next().is_some_and(|host| host.contains('@')));
    let names_one =
        ["key", "signature", "sig", "password", "passwd", "secret", "token", "api_key", "apikey"].iter().any(|word| {
            lower.split(*word).skip(1).any(|rest| rest.trim_start_matches(['"', '\'']).trim_start().starts_with([':', '=']))
        });
    has_user || names_one || is_card(text) || is_random(text) || BEGINNINGS.iter().any(|beginning| lower.starts_with(beginning))
}

/// Checks for the number of a card: 13 to 19 digits whose last one is right by Luhn's rule.
fn is_card(text: &str) -> bool {
    let digits: Vec<u32> =
        text.chars().filter(|letter| !matches!(letter, ' ' | '-')).map_while(|letter| letter.to_digit(10)).collect();
    let all = text.chars().all(|letter| letter.is_ascii_digit() || matches!(letter, ' ' | '-'));
    let sum = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| if place % 2 == 0 { *digit } else { digit * 2 / 10 + digit * 2 % 10 });
    all && (13..=19).contains(&digits.len()) && sum.sum::<u32>() % 10 == 0
}

/// Checks for text that only a machine writes: long, without spaces, of letters in both cases and of digits.
fn is_random(text: &str) -> bool {
    let plain = text.len() >= 20
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '/' | '=' | '_' | '-'));
    let has = |kind: fn(&char) -> bool| text.chars().any(|letter| kind(&letter));
    plain && has(char::is_ascii_lowercase) && has(char::is_ascii_uppercase) && has(char::is_ascii_digit)
}

//! Which examples may not be shown: values of members whose names say that they are secret, and text that looks like a secret.

/// Words of names whose values are secret.
const WORDS: [&str; 24] = [
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
const BEGINNINGS: [&str; 16] = [
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
    let names_one = ["password", "passwd", "secret", "token", "api_key", "apikey"].iter().any(|word| {
        lower.split(*word).skip(1).any(|rest| rest.trim_start_matches(['"', '\'']).trim_start().starts_with([':', '=']))
    });
    has_user || names_one || BEGINNINGS.iter().any(|beginning| lower.starts_with(beginning))
}

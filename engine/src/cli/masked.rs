//! Files as they may be shown: values that can be secret are stars, one for each byte, so that places stay where they are.
//!
//! It goes by names that are known to be harmless, and not by those that are known to be secret: the name may be misspelt. It reads text that
//! may not parse.

use super::words::{Word, words};

/// Options whose values may be shown, also as `option.column`.
const HARMLESS: &[&str] = &[
    "allow_consuming_retention",
    "audit_interval",
    "compatibility",
    "connect_timeout",
    "domain",
    "epoch",
    "format",
    "inbox_prefix",
    "location",
    "max_dead_letters",
    "message",
    "null_text",
    "on_absent_member",
    "on_bad_member",
    "on_error",
    "on_gap",
    "on_no_events",
    "registry",
    "registry_subject",
    "request_timeout",
    "schema",
    "subject",
    "tls_ca",
    "tls_cert",
    "tls_first",
    "tls_key",
    "url",
    "watermark",
];

/// Words before a value that is secret wherever it stands.
const SECRET: &[&str] = &["creds", "nkey", "pass", "passwd", "password", "pwd", "secret", "seed", "token"];

/// A text with stars, and what they stand for.
pub(super) struct Masked {
    pub(super) text: String,
    secrets: Vec<String>,
}

impl Masked {
    /// Of a SQL file, or of `alluvium.toml`.
    pub(super) fn new(path: &str, text: &str) -> Masked {
        let mut spans = if path.ends_with(".toml") { of_toml(text) } else { of_sql(text) };
        spans.extend(users(text));
        let mut bytes = text.as_bytes().to_vec();
        let mut secrets = Vec::new();
        for (start, end) in spans {
            secrets.extend(text.get(start..end).map(str::trim).filter(|secret| secret.len() >= 4).map(str::to_owned));
            if let Some(span) = bytes.get_mut(start..end) {
                span.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b'*');
            }
        }
        // Only whole values were replaced, by as many bytes.
        let text = String::from_utf8(bytes).unwrap_or_else(|_| "*".repeat(text.len()));
        Masked { text, secrets }
    }

    /// A message about the text, without what the stars stand for.
    pub(super) fn message(&self, message: &str) -> String {
        self.secrets.iter().fold(message.to_owned(), |message, secret| message.replace(secret, "***"))
    }
}

/// The values of options that are not known to be harmless, and what follows a word for a secret.
fn of_sql(text: &str) -> Vec<(usize, usize)> {
    let mut spans = Vec::new();
    let mut name = String::new();
    // Brackets that are open since OPTIONS.
    let mut depth = 0_usize;
    let mut awaits_bracket = false;
    // Quoted text in place of a name: it is one where something follows.
    let mut perhaps_name: Option<(usize, usize)> = None;
    let span_of = |(start, end): (usize, usize)| text.get(start..end).unwrap_or_default();
    for word in words(text) {
        if let Some(span) = perhaps_name.take() {
            match word {
                Word::Quoted { .. } | Word::Other => name = span_of(span).to_ascii_lowercase(),
                _ => spans.push(span),
            }
        }
        match word {
            Word::Name { word, start } if depth > 0 && !name.is_empty() && !is_harmless(&name) => {
                spans.push((start, start + word.len()))
            }
            Word::Name { word, .. } => {
                awaits_bracket = depth == 0 && (word.eq_ignore_ascii_case("options") || word.eq_ignore_ascii_case("with"));
                name = word.to_ascii_lowercase();
            }
            Word::Quoted { start, end } => {
                let secret = SECRET.contains(&name.as_str()) || (depth > 0 && !name.is_empty() && !is_harmless(&name));
                if secret {
                    spans.push((start, end));
                    name.clear();
                } else if depth > 0 && name.is_empty() {
                    perhaps_name = Some((start, end));
                } else {
                    name.clear();
                }
            }
            Word::Open => {
                depth += usize::from(depth > 0 || awaits_bracket);
                (awaits_bracket, name) = (false, String::new());
            }
            Word::Close => (depth, name) = (depth.saturating_sub(1), String::new()),
            Word::Comma => name.clear(),
            Word::Other => {}
        }
    }
    spans.extend(perhaps_name);
    spans
}

/// The value of each key that is neither a setting nor an option known to be harmless, to the end of its line or of its quotes.
fn of_toml(text: &str) -> Vec<(usize, usize)> {
    let mut spans = Vec::new();
    let mut start = 0;
    while let Some(rest) = text.get(start..).filter(|rest| !rest.is_empty()) {
        let line = rest.split_inclusive('\n').next().unwrap_or(rest);
        let mut end = start + line.trim_end().len();
        if let Some((key, value)) = line.split_once('=') {
            let key = key.trim().trim_matches(['"', '\'']).rsplit('.').next().unwrap_or_default().trim_matches(['"', '\'', ' ']);
            let known = crate::settings::keys::KEYS.iter().any(|known| known.name == key) || is_harmless(key);
            if !known && !line.trim_start().starts_with('#') {
                let from = start + line.len() - value.trim_start().len();
                for quotes in ["\"\"\"", "'''"] {
                    if let Some(inner) = text.get(from..).and_then(|value| value.strip_prefix(quotes)) {
                        end = from + 3 + inner.find(quotes).unwrap_or(inner.len());
                    }
                }
                let quoted = text.get(from..end).unwrap_or_default();
                let inner = quoted.trim_matches(['"', '\'']);
                let from = from + (quoted.len() - quoted.trim_start_matches(['"', '\'']).len());
                spans.push((from, from + inner.len()));
            }
        }
        let first = line.trim_start();
        if !line.contains('=') && !first.is_empty() && !first.starts_with(['[', '#']) {
            // No key, or what follows a key of a line before.
            spans.push((start, end));
        }
        start = (start + line.len()).max(text.get(end..).and_then(|rest| rest.find('\n')).map_or(text.len(), |at| end + at + 1));
    }
    spans
}

fn is_harmless(name: &str) -> bool {
    let option = name.split('.').next().unwrap_or(name);
    HARMLESS.iter().any(|harmless| harmless.eq_ignore_ascii_case(option))
}

/// What stands before an `@`, from the quote, the space or the `://` before it on.
fn users(text: &str) -> Vec<(usize, usize)> {
    let mut spans = Vec::new();
    for (at, _) in text.match_indices('@') {
        let before = text.get(..at).unwrap_or_default();
        let ends = |character: char| character.is_whitespace() || "'\"(".contains(character);
        let word = before.rfind(ends).map_or(0, |end| end + 1);
        let start = before.get(word..).and_then(|word| word.find("://")).map_or(word, |scheme| word + scheme + 3);
        if start < at {
            spans.push((start, at));
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_options_are_stars_but_for_those_known_to_be_harmless() {
        for (text, shown) in [
            ("OPTIONS (user 'u', password 'hunter2', subject 'a.>')", "OPTIONS (user '*', password '*******', subject 'a.>')"),
            ("OPTIONS (pasword 'hunter2' format 'json')", "OPTIONS (pasword '*******' format 'json')"),
            ("options('token' = 'hunter2', 'null_text.a' '-')", "options('token' = '*******', 'null_text.a' '-')"),
            ("OPTIONS (password 'it''s hunter2')", "OPTIONS (password '*************')"),
            ("OPTIONS (password 'hunter2", "OPTIONS (password '*******"),
            ("OPTIONS (password \"hunter2\")", "OPTIONS (password \"*******\")"),
            ("LOCATION 'nats://me:hunter2@host:4222/S'", "LOCATION 'nats://**********@host:4222/S'"),
            ("SELECT 1 FROM t WHERE country = 'DE' AND f('x')", "SELECT 1 FROM t WHERE country = 'DE' AND f('x')"),
            ("OPTIONS ('hunter2')", "OPTIONS ('*******')"),
            ("OPTIONS (format 'json', 'hunter2', 'a'", "OPTIONS (format 'json', '*******', '*'"),
            ("OPTIONS (password hunter2)", "OPTIONS (password *******)"),
            ("OPTIONS (password $$hunter2$$)", "OPTIONS (password $$*******$$)"),
            ("LOCATION 'nats://me:hun/t,r2@h/S'", "LOCATION 'nats://***********@h/S'"),
            ("LOCATION 'me:hunter2@h/S'", "LOCATION '**********@h/S'"),
            ("PASSWORD 'hunter2'", "PASSWORD '*******'"),
            ("-- password 'it\nSELECT 'x'", "-- password 'it\nSELECT 'x'"),
            ("OPTIONS (password 'hünter')", "OPTIONS (password '*******')"),
        ] {
            assert_eq!(Masked::new("a.sql", text).text, shown);
            assert_eq!(Masked::new("a.sql", text).text.len(), text.len());
        }
        let masked = Masked::new("a.sql", "OPTIONS (password 'hunter2')");
        assert_eq!(masked.message("expected ), found 'hunter2'"), "expected ), found '***'");
    }

    #[test]
    fn values_of_settings_are_stars_but_for_those_known_to_be_harmless() {
        let text = "commit_interval = '1 s'\n[nats]\ntokn = 'hunter2' \nuser = \"u\"\n# password = x\nurl = 'nats://a:b@h'\n\
                    nkey = '''\nhunter2\n'''\n[sources.o]\nsubject = 'x'\npassword = 12345\nsources.o.token = 'a'\n";
        let shown = "commit_interval = '1 s'\n[nats]\ntokn = '*******' \nuser = \"*\"\n# password = x\nurl = 'nats://***@h'\n\
                     nkey = '''\n*******\n'''\n[sources.o]\nsubject = 'x'\npassword = *****\nsources.o.token = '*'\n";
        assert_eq!(Masked::new("alluvium.toml", text).text, shown);
    }
}

//! What a statement of a Postgres client is, by its first words, before it is a query: transactions, options of the connection.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

/// What is done with a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Word {
    /// ROLLBACK TO a savepoint: nothing has changed, so the transaction goes on.
    RollbackTo,
    /// There is none.
    Empty,
    Begin,
    Commit,
    Rollback,
    /// Accepted, without an effect: the tag to answer with.
    Accepted(&'static str),
    /// SHOW of an option of the connection: its name.
    Show(String),
    /// A query.
    Query,
}

/// Splits a text at the semicolons between its statements. A text that does not tokenize is one statement, whose error the parser tells.
pub(super) fn split(sql: &str) -> Vec<String> {
    let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, sql).with_unescape(false).tokenize() else {
        return vec![sql.to_owned()];
    };
    let mut statements = vec![String::new()];
    for token in tokens {
        match (token, statements.last_mut()) {
            (Token::SemiColon, _) => statements.push(String::new()),
            (Token::Whitespace(_), Some(last)) => last.push(' '),
            (token, Some(last)) => last.push_str(&token.to_string()),
            (_, None) => {}
        }
    }
    if statements.len() > 1 {
        statements.retain(|statement| !statement.trim().is_empty());
    }
    // Tokens are not written as they stood; where there is one statement, errors point into the text itself.
    if statements.len() <= 1 && !sql.contains("--") && !sql.contains("/*") {
        vec![sql.trim().trim_end_matches(';').to_owned()]
    } else {
        statements
    }
}

/// Returns what a statement is.
pub(super) fn word_of(sql: &str) -> Word {
    let mut words = sql.split(|c: char| c.is_whitespace() || c == ';' || c == '(').filter(|word| !word.is_empty());
    let Some(first) = words.next() else { return Word::Empty };
    match first.to_ascii_uppercase().as_str() {
        "BEGIN" | "START" => Word::Begin,
        "COMMIT" | "END" => Word::Commit,
        "ROLLBACK" | "ABORT" if words.clone().any(|word| word.eq_ignore_ascii_case("TO")) => Word::RollbackTo,
        "ROLLBACK" | "ABORT" => Word::Rollback,
        "SAVEPOINT" => Word::Accepted("SAVEPOINT"),
        "RELEASE" => Word::Accepted("RELEASE"),
        "SET" => Word::Accepted("SET"),
        "RESET" => Word::Accepted("RESET"),
        "DISCARD" => Word::Accepted("DISCARD ALL"),
        "DEALLOCATE" => Word::Accepted("DEALLOCATE"),
        "UNLISTEN" => Word::Accepted("UNLISTEN"),
        "SHOW" => {
            let name = words.collect::<Vec<_>>().join("_").to_ascii_lowercase();
            if matches!(name.as_str(), "tables") || name.starts_with("columns") { Word::Query } else { Word::Show(name) }
        }
        _ => Word::Query,
    }
}

/// The options that a client can ask for, with their values.
pub(super) const OPTIONS: [(&str, &str); 9] = [
    ("server_version", concat!("16.0 (Alluvium ", env!("CARGO_PKG_VERSION"), ")")),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
    ("default_transaction_read_only", "on"),
];

/// The value of an option.
pub(super) fn option(name: &str) -> Option<&'static str> {
    let found = OPTIONS.iter().find(|(option, _)| option.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
    found.or(match name {
        "transaction_isolation_level" | "transaction_isolation" | "default_transaction_isolation" => Some("repeatable read"),
        "transaction_read_only" => Some("on"),
        "time_zone" => Some("UTC"),
        "search_path" => Some("public"),
        "max_identifier_length" => Some("63"),
        "extra_float_digits" => Some("1"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_told_apart() {
        assert_eq!(split("SELECT ';' AS a; SELECT 2;").len(), 2);
        assert_eq!(split("SELECT 1;"), ["SELECT 1"]);
        assert_eq!(split(""), [""]);
        assert_eq!(word_of("begin transaction read only"), Word::Begin);
        assert_eq!(word_of("ROLLBACK TO SAVEPOINT a"), Word::RollbackTo);
        assert_eq!(split("SELECT 1; -- done"), ["SELECT 1"]);
        assert_eq!(word_of("show transaction isolation level"), Word::Show("transaction_isolation_level".into()));
        assert_eq!(word_of("SELECT 1"), Word::Query);
        assert_eq!(option("timezone"), Some("UTC"));
    }
}

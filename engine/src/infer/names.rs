//! Names: their words, and how SQL writes them.

use datafusion::sql::sqlparser::keywords::{
    ALL_KEYWORDS, ALL_KEYWORDS_INDEX, RESERVED_FOR_COLUMN_ALIAS, RESERVED_FOR_IDENTIFIER, RESERVED_FOR_TABLE_ALIAS,
};

/// Returns a name as SQL has to write it: in quotes if it would be read as another name, or as no name, without them.
pub(super) fn written(name: &str) -> String {
    let is_plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if is_plain && !is_reserved(name) { name.to_owned() } else { alluvium_sql::quoted(name) }
}

/// Words that a query reads as something else than a name.
const ALSO_RESERVED: [&str; 23] = [
    "USER",
    "TABLE",
    "CASE",
    "CAST",
    "NOT",
    "NULL",
    "TRUE",
    "FALSE",
    "AND",
    "OR",
    "IN",
    "IS",
    "LIKE",
    "BETWEEN",
    "ALL",
    "ANY",
    "CURRENT_USER",
    "SESSION_USER",
    "CURRENT_TIMESTAMP",
    "CURRENT_DATE",
    "CURRENT_TIME",
    "LOCALTIME",
    "LOCALTIMESTAMP",
];

/// Checks whether a word is reserved somewhere in a query.
fn is_reserved(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    if ALSO_RESERVED.contains(&upper.as_str()) {
        return true;
    }
    let Some(keyword) = ALL_KEYWORDS.binary_search(&upper.as_str()).ok().and_then(|index| ALL_KEYWORDS_INDEX.get(index)) else {
        return false;
    };
    [RESERVED_FOR_COLUMN_ALIAS, RESERVED_FOR_TABLE_ALIAS, RESERVED_FOR_IDENTIFIER].iter().any(|words| words.contains(keyword))
}

/// Returns the words of a name, in lower case: `createdAt`, `created_at` and `Created-At` have two.
pub(super) fn words_of(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut begins = true;
    let mut was_upper = false;
    for letter in name.chars() {
        if !letter.is_alphanumeric() {
            begins = true;
            continue;
        }
        begins |= letter.is_uppercase() && !was_upper;
        was_upper = letter.is_uppercase();
        if begins {
            words.push(String::new());
        }
        begins = false;
        if let Some(word) = words.last_mut() {
            word.extend(letter.to_lowercase());
        }
    }
    words
}

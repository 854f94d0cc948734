//! How deep statements may nest, and the stack that this takes: parsing, planning and computing call themselves for each level.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::dialect::tokens::is_word;

/// How often the parser may call itself. A level of a query takes two to three calls.
pub(crate) const CALLS: usize = 2_000;

/// The most operators, set operations and joins in a row. `a + b + c` has two: the parser needs one call for all of them, and what is planned
/// and computed nests one in the other.
const IN_A_ROW: usize = 2_500;

/// What is wrong with more. It names the number above.
pub(crate) const IN_A_ROW_MESSAGE: &str = "more than 2500 operators, joins or set operations in a row";

/// The stack that a thread needs to compute the deepest statement, in bytes. Computing takes up to two kilobytes for an operator; only what is
/// used of a stack takes memory.
pub const THREAD_STACK: usize = 16 << 20;

/// The stack that the deepest statement takes to be planned, in bytes. Only what is used of it takes memory.
const STACK: usize = 256 << 20;

/// Runs some work with enough stack for the deepest statement.
pub fn deep<T>(work: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(STACK / 2, STACK, work)
}

/// The operator at which there are more in a row than a statement may have, counted through parentheses.
pub(crate) fn too_many_in_a_row(tokens: &[TokenWithSpan]) -> Option<&TokenWithSpan> {
    // Of each open parenthesis: the operators of the expression in hand, and the joins and set operations of the query.
    let mut open = vec![(0, 0)];
    let mut all = 0;
    for token in tokens {
        let nested = open.len() > 1;
        let (expression, query) = open.last_mut()?;
        match &token.token {
            Token::LParen => open.push((0, 0)),
            Token::RParen if nested => {
                all -= *expression + *query;
                open.pop();
            }
            Token::Comma => all -= std::mem::take(expression),
            _ if QUERIES.iter().any(|word| is_word(token, word)) => {
                (*query, all) = (*query + 1, all + 1);
            }
            _ if CLAUSES.iter().any(|word| is_word(token, word)) => all -= std::mem::take(expression),
            other if is_operator(other) || LOGIC.iter().any(|word| is_word(token, word)) => {
                (*expression, all) = (*expression + 1, all + 1);
            }
            _ => {}
        }
        if all > IN_A_ROW {
            return Some(token);
        }
    }
    None
}

const QUERIES: [&str; 4] = ["JOIN", "UNION", "INTERSECT", "EXCEPT"];
const CLAUSES: [&str; 8] = ["SELECT", "FROM", "WHERE", "GROUP", "HAVING", "ORDER", "WHEN", "THEN"];
const LOGIC: [&str; 3] = ["AND", "OR", "NOT"];

/// Whether it stands between two values, or behind one: each makes a level.
fn is_operator(token: &Token) -> bool {
    use Token as T;
    !matches!(
        token,
        T::Word(_)
            | T::Number(..)
            | T::SingleQuotedString(_)
            | T::DoubleQuotedString(_)
            | T::EscapedStringLiteral(_)
            | T::NationalStringLiteral(_)
            | T::HexStringLiteral(_)
            | T::DollarQuotedString(_)
            | T::Placeholder(_)
            | T::LParen
            | T::RParen
            | T::Comma
            | T::SemiColon
            | T::Period
            | T::Whitespace(_)
            | T::EOF
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    use super::*;

    fn column(sql: &str) -> Option<u64> {
        let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().unwrap();
        too_many_in_a_row(&tokens).map(|token| token.span.start.column)
    }

    fn row(term: &str, between: &str, count: usize) -> String {
        vec![term; count].join(between)
    }

    #[test]
    fn operators_in_a_row_are_counted() {
        assert_eq!(column(&format!("SELECT {}", row("x", "+", 2_501))), None);
        assert_eq!(column(&format!("SELECT {}", row("x", "+", 2_502))), Some(5_009), "the last one");
        assert!(column(&format!("SELECT {}", row("(x OR y)", " AND ", 2_502))).is_some());
        assert!(column(&format!("SELECT a WHERE {}{}", row("(1 + ", "", 2_502), row(")", "", 2_502))).is_some());
        assert!(column(&row("SELECT 1", " UNION ALL ", 2_502)).is_some());
        assert!(column(&format!("SELECT 1 FROM a {}", row("JOIN b ON x = y", " ", 2_502))).is_some());
    }

    #[test]
    fn what_does_not_nest_is_not_counted() {
        assert_eq!(column(&format!("SELECT {}", row("x + y", ", ", 5_000))), None);
        assert_eq!(column(&format!("SELECT f({})", row("-1", ", ", 5_000))), None);
        assert_eq!(column(&format!("SELECT CASE {} END", row("WHEN x = 1 THEN y + 1", " ", 5_000))), None);
        assert_eq!(column(&format!("SELECT {}", row("(1 + 2)", ", ", 5_000))), None);
        assert_eq!(column(")))"), None);
    }
}

//! Extends DataFusion's grammar: rewrites tokens into ones that the parser accepts, each with its place in the file. Knows no names
//! and no types.
//!
//! | written | read as |
//! | --- | --- |
//! | `body ? 'key'` | the operator, not a parameter |
//! | `key VARCHAR` of a source, `body.user`, `SELECT interval,` | the same in quotes |
//! | `a ASOF LEFT JOIN b ON ...` | `a ASOF JOIN b MATCH_CONDITION ("$nearest left") ON ...` |
//! | `TABLE t` | `SELECT * FROM t` |
//! | `TUMBLE(TABLE t, ...)`, `TABLE(TUMBLE(...))` | `TUMBLE(t, ...)`; likewise HOP and SESSION |
//! | `STRUCT<a STRUCT<b INT>>[]` | two closing brackets, so that `[]` belongs to the outer type |
//! | `ORDER BY x EXCLUDE TIES` in the frame of a window | `PARTITION BY ('$EXCLUDE TIES') ORDER BY x` |
//! | `SESSION(t, c, gap PARTITION BY k)`, `SESSION(TABLE t PARTITION BY k, c, gap)` | `SESSION(t, c, gap, k)` |

mod exclusions;
pub(crate) mod tokens;

use datafusion::common::{DataFusionError, Result};
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

pub(crate) use self::exclusions::EXCLUDED;
use self::tokens::{closing, is_word, own_level};
use crate::nesting::{CALLS, IN_A_ROW_MESSAGE, deep, too_many_in_a_row};

/// The functions in FROM that cut time into windows.
pub(crate) const TIME_WINDOWS: [&str; 3] = ["TUMBLE", "HOP", "SESSION"];

/// What stands for MATCH_CONDITION in an ASOF JOIN that has none: only rows with a nearest one, or all of the left side.
pub(crate) const NEAREST_INNER: &str = "$nearest inner";
pub(crate) const NEAREST_LEFT: &str = "$nearest left";

/// Parses the one statement that a text holds, with everything that views may use. `alluvium query` and the files of a folder share
/// this grammar.
///
/// # Errors
/// Those of the parser, or that there is not exactly one statement.
pub fn parse(sql: &str) -> Result<Statement> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql)
        .tokenize_with_location()
        .map_err(|error| DataFusionError::SQL(Box::new(error.into()), None))?;
    let kept = tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
    let mut tokens: Vec<TokenWithSpan> = kept.collect();
    if let Some(token) = too_many_in_a_row(&tokens) {
        return Err(DataFusionError::Plan(format!("{IN_A_ROW_MESSAGE}, the last one at {}", token.span.start)));
    }
    rewrite(&mut tokens);
    let mut statements = deep(|| DFParserBuilder::new(tokens).with_recursion_limit(CALLS).build()?.parse_statements())?;
    match (statements.pop_front(), statements.is_empty()) {
        (Some(statement), true) => Ok(statement),
        (None, _) => Err(DataFusionError::Plan("there is no statement".to_owned())),
        (Some(_), false) => Err(DataFusionError::Plan("there is more than one statement".to_owned())),
    }
}

/// Rewrites the tokens of a statement, without white space.
pub(crate) fn rewrite(tokens: &mut Vec<TokenWithSpan>) {
    for token in tokens.iter_mut() {
        // A view has no parameters, but the dialect would read this as one.
        if token.token == Token::Placeholder("?".to_owned()) {
            token.token = Token::Question;
        }
    }
    for index in 0..tokens.len() {
        if is_name(tokens, index) {
            quote(&mut tokens[index]);
        }
    }
    close_types(tokens);
    let mut index = 0;
    while index + 1 < tokens.len() {
        if TIME_WINDOWS.iter().any(|name| is_word(&tokens[index], name)) && tokens[index + 1].token == Token::LParen {
            index = unwrap_table(tokens, index);
            if is_word_before_name(tokens, index + 2) {
                tokens.remove(index + 2);
            }
            if is_word(&tokens[index], "SESSION") {
                partition_last(tokens, index + 1);
            }
        }
        index += 1;
    }
    write_out_tables(tokens);
    match_nearest(tokens);
    exclusions::mark(tokens);
}

/// Gives each ASOF JOIN its MATCH_CONDITION, without which the parser reads none.
fn match_nearest(tokens: &mut Vec<TokenWithSpan>) {
    let mut index = 0;
    while index + 1 < tokens.len() {
        index += 1;
        let is_name = index >= 2 && is_word(&tokens[index - 2], "AS");
        let joins = |token: &TokenWithSpan| ["LEFT", "OUTER", "INNER", "JOIN"].iter().any(|word| is_word(token, word));
        let join = tokens[index..].iter().take_while(|token| joins(token)).any(|token| is_word(token, "JOIN"));
        if !is_word(&tokens[index - 1], "ASOF") || is_name || !join {
            continue;
        }
        let kept = is_word(&tokens[index], "LEFT");
        while ["LEFT", "OUTER", "INNER"].iter().any(|word| is_word(&tokens[index], word)) && index + 1 < tokens.len() {
            tokens.remove(index);
        }
        if !is_word(&tokens[index], "JOIN") {
            continue;
        }
        let own = own_level(tokens, index + 1..tokens.len());
        let ends =
            |at: &usize| ["ON", "USING", "MATCH_CONDITION", "JOIN", "WHERE"].iter().any(|word| is_word(&tokens[*at], word));
        let Some(on) = own.into_iter().find(ends).filter(|on| is_word(&tokens[*on], "ON")) else { continue };
        let span = tokens[on].span;
        let name = if kept { NEAREST_LEFT } else { NEAREST_INNER };
        let condition = [Token::make_keyword("MATCH_CONDITION"), Token::LParen, Token::make_word(name, Some('"')), Token::RParen];
        tokens.splice(on..on, condition.map(|token| TokenWithSpan { token, span }));
    }
}

/// Writes `TABLE t` in the place of a query as `SELECT * FROM t`.
fn write_out_tables(tokens: &mut Vec<TokenWithSpan>) {
    for index in (0..tokens.len()).rev() {
        let begins_query = match index.checked_sub(1).map(|before| &tokens[before]) {
            None => true,
            Some(before) if before.token == Token::LParen => true,
            // Elsewhere AS gives a name.
            Some(before) if is_word(before, "AS") => {
                is_word(&tokens[0], "CREATE") && !tokens[..index].iter().any(|token| is_word(token, "SELECT"))
            }
            Some(before) => ["UNION", "EXCEPT", "INTERSECT", "ALL", "DISTINCT"].iter().any(|word| is_word(before, word)),
        };
        let ends_item = |word: &str| tokens.get(index + 1).is_some_and(|after| is_word(after, word));
        let is_item = ["FROM", "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "UNION", "AS"].into_iter().any(ends_item);
        if begins_query && !is_item && is_word_before_name(tokens, index) {
            let word = |keyword: Keyword| Token::make_keyword(&format!("{keyword:?}"));
            let span = tokens[index].span;
            let select = [word(Keyword::SELECT), Token::Mul, word(Keyword::FROM)].map(|token| TokenWithSpan { token, span });
            tokens.splice(index..=index, select);
        }
    }
}

/// Splits `>>` where it closes two types. The parser would give what follows to the inner type.
fn close_types(tokens: &mut Vec<TokenWithSpan>) {
    let opens = |tokens: &[TokenWithSpan], index: usize| {
        tokens[index].token == Token::Lt && ["STRUCT", "ARRAY", "MAP"].iter().any(|word| is_word(&tokens[index - 1], word))
    };
    let mut depth = 0usize;
    let mut index = 1;
    while index < tokens.len() {
        match tokens[index].token {
            Token::Lt if opens(tokens, index) => depth += 1,
            Token::Gt => depth = depth.saturating_sub(1),
            Token::ShiftRight if depth >= 2 => {
                tokens[index].token = Token::Gt;
                tokens.insert(index, tokens[index].clone());
                depth -= 1;
            }
            _ => {}
        }
        index += 1;
    }
}

/// Checks whether a keyword can only be the name of a column where it stands: a member after a dot, `interval` without anything
/// that could be its length, `key` and the like before a type.
fn is_name(tokens: &[TokenWithSpan], index: usize) -> bool {
    let Token::Word(word) = &tokens[index].token else { return false };
    if word.quote_style.is_some() || word.keyword == Keyword::NoKeyword {
        return false;
    }
    let before = index.checked_sub(1).map(|before| &tokens[before].token);
    let after = tokens.get(index + 1).map(|after| &after.token);
    if before == Some(&Token::Period) {
        return after != Some(&Token::LParen);
    }
    match word.keyword {
        Keyword::INTERVAL => match after {
            None | Some(Token::Comma | Token::RParen | Token::Period | Token::Eq | Token::Lt | Token::Gt | Token::Neq) => true,
            Some(Token::Word(after)) => {
                matches!(after.keyword, Keyword::FROM | Keyword::AS | Keyword::IS | Keyword::GROUP | Keyword::ORDER)
            }
            _ => false,
        },
        Keyword::KEY | Keyword::INDEX | Keyword::CHECK | Keyword::UNIQUE => {
            let begins = matches!(before, Some(Token::LParen | Token::Comma));
            let in_source = tokens.iter().take(5).any(|token| is_word(token, "EXTERNAL"));
            begins && in_source && matches!(after, Some(Token::Word(_)))
        }
        _ => false,
    }
}

/// Turns a word into a quoted name, which reads the same.
fn quote(token: &mut TokenWithSpan) {
    if let Token::Word(word) = &mut token.token {
        word.value = word.value.to_lowercase();
        word.quote_style = Some('"');
        word.keyword = Keyword::NoKeyword;
    }
}

/// Checks whether `TABLE` is at an index, with a name after it.
fn is_word_before_name(tokens: &[TokenWithSpan], index: usize) -> bool {
    tokens.get(index).is_some_and(|token| is_word(token, "TABLE"))
        && tokens.get(index + 1).is_some_and(|token| matches!(token.token, Token::Word(_)))
}

/// Removes `TABLE(` and its parenthesis around the call at `index`. Returns the new index of the call.
fn unwrap_table(tokens: &mut Vec<TokenWithSpan>, index: usize) -> usize {
    let wrapped = index >= 2 && tokens[index - 1].token == Token::LParen && is_word(&tokens[index - 2], "TABLE");
    match closing(tokens, index - usize::from(wrapped)) {
        Some(close) if wrapped => {
            tokens.remove(close);
            tokens.drain(index - 2..index);
            index - 2
        }
        _ => index,
    }
}

/// Moves the keys of PARTITION BY to the end of the arguments of the call that `open` opens.
fn partition_last(tokens: &mut Vec<TokenWithSpan>, open: usize) {
    let Some(close) = closing(tokens, open) else { return };
    let own = own_level(tokens, open + 1..close);
    let Some(place) =
        own.iter().copied().find(|index| is_word(&tokens[*index], "PARTITION") && is_word(&tokens[index + 1], "BY"))
    else {
        return;
    };
    let commas: Vec<usize> = own.into_iter().filter(|index| tokens[*index].token == Token::Comma).collect();
    // Before the first comma, the keys end with the argument. After it, they go on to the end of the call.
    let end = match commas.first() {
        Some(first) if place < *first => *first,
        _ => close,
    };
    let comma = TokenWithSpan { token: Token::Comma, span: tokens[place].span };
    let mut keys: Vec<TokenWithSpan> = tokens.drain(place..end).skip(2).collect();
    let close = close - (end - place);
    if keys.first().is_some_and(|token| token.token == Token::LParen) && closing(&keys, 0) == Some(keys.len() - 1) {
        keys.pop();
        keys.remove(0);
    }
    keys.insert(0, comma);
    tokens.splice(close..close, keys);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn brackets_of_types_close_one_type_each() {
        let cast = |sql: &str| parse(&format!("SELECT CAST(x AS {sql})")).unwrap().to_string();
        for sql in ["STRUCT<a INT, b STRUCT<c INT>>[]", "STRUCT<a STRUCT<b STRUCT<c INT>>>[]", "STRUCT<a STRUCT<b INT>[]>[][]"] {
            assert_eq!(cast(sql), cast(&sql.replace('>', "> ")), "{sql}");
            assert!(cast(sql).ends_with(">[])") || cast(sql).ends_with(">[][])"), "{}", cast(sql));
        }
        assert_eq!(parse("SELECT a < 3 >> 1").unwrap().to_string(), "SELECT a < 3 >> 1");
    }

    #[test]
    fn windows_are_read_as_each_engine_writes_them() {
        let plain = |sql: &str| parse(sql).unwrap().to_string();
        for (written, read) in [
            ("SELECT * FROM TUMBLE(TABLE bid, DESCRIPTOR(t), i)", "SELECT * FROM TUMBLE(bid, DESCRIPTOR(t), i)"),
            ("SELECT * FROM TABLE(HOP(TABLE bid, t, i, j)) AS w", "SELECT * FROM HOP(bid, t, i, j) AS w"),
            ("SELECT * FROM session(bid, t, i PARTITION BY a, f(b, c))", "SELECT * FROM session(bid, t, i, a, f(b, c))"),
            (
                "SELECT * FROM TABLE(SESSION(TABLE bid PARTITION BY (a, b), DESCRIPTOR(t), i))",
                "SELECT * FROM SESSION(bid, DESCRIPTOR(t), i, a, b)",
            ),
            ("SELECT * FROM SESSION(TABLE bid PARTITION BY a, t, i) x", "SELECT * FROM SESSION(bid, t, i, a) x"),
            (
                "SELECT row_number() OVER (PARTITION BY a) FROM SESSION(bid, t, i)",
                "SELECT row_number() OVER (PARTITION BY a) FROM SESSION(bid, t, i)",
            ),
            ("TABLE bid", "SELECT * FROM bid"),
            (
                "SELECT sum(x) OVER (ORDER BY y ROWS 1 PRECEDING EXCLUDE TIES) FROM t",
                "SELECT sum(x) OVER (PARTITION BY ('$EXCLUDE TIES') ORDER BY y ROWS 1 PRECEDING) FROM t",
            ),
            (
                "SELECT sum(x) OVER (w PARTITION BY (a) ROWS 1 PRECEDING EXCLUDE CURRENT ROW) FROM t",
                "SELECT sum(x) OVER (w PARTITION BY ('$EXCLUDE CURRENT ROW'), (a) ROWS 1 PRECEDING) FROM t",
            ),
            ("SELECT sum(x) OVER (ROWS 1 PRECEDING EXCLUDE NO OTHERS) FROM t", "SELECT sum(x) OVER (ROWS 1 PRECEDING) FROM t"),
            ("SELECT kind AS table FROM t", "SELECT kind AS table FROM t"),
            ("SELECT 1 FROM t AS asof LEFT JOIN u ON a = b", "SELECT 1 FROM t AS asof LEFT JOIN u ON a = b"),
            ("(TABLE a) UNION ALL TABLE b", "(SELECT * FROM a) UNION ALL SELECT * FROM b"),
            (
                "SELECT b ? 'k' FROM t WHERE session > 1 AND tumble = hop",
                "SELECT b ? 'k' FROM t WHERE session > 1 AND tumble = hop",
            ),
        ] {
            assert_eq!(plain(written).replace(" AS x", " x"), read);
        }
        assert!(parse("").is_err() && parse("SELECT 1; SELECT 2").is_err() && parse("SELECT * FROM SESSION(").is_err());
    }
}

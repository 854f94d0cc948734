//! The statement of a source as text that may be kept: it says what is read and how, and holds no credential.

use datafusion::sql::sqlparser::tokenizer::Token;

use crate::declarations::Source;
use crate::text::{Text, is_word};

impl Source {
    /// The statement without its semicolon. Values of the options that `is_secret` names are empty in it, and LOCATION is without user and
    /// password. None where its file has changed in memory, which does not happen.
    #[must_use]
    pub fn statement_without(&self, is_secret: impl Fn(&str) -> bool) -> Option<String> {
        let text = Text::of(&self.at)?;
        let mut replaced: Vec<(usize, usize, String)> = Vec::new();
        for option in self.options.keys().filter(|option| is_secret(option)) {
            let at = text.value_of(option)?;
            replaced.push((at.offset, at.length, "''".to_owned()));
        }
        let location = text.tokens.windows(2).find(|pair| {
            is_word(&pair[0], "LOCATION")
                && matches!(&pair[1].token, Token::SingleQuotedString(written) if *written == self.location)
        })?;
        let at = text.span(location[1].span);
        replaced.push((at.offset, at.length, format!("'{}'", self.location_without_user().replace('\'', "''"))));
        replaced.sort_by_key(|(offset, ..)| std::cmp::Reverse(*offset));
        let start = text.at().offset;
        let mut statement = text.sql().to_owned();
        for (offset, length, value) in replaced {
            statement.replace_range(offset - start..offset - start + length, &value);
        }
        Some(statement)
    }

    /// LOCATION; of a URL without user and password.
    #[must_use]
    pub fn location_without_user(&self) -> String {
        match self.location.split_once("://") {
            Some((scheme, rest)) => {
                let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
                let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
                format!("{scheme}://{host}/{path}")
            }
            None => self.location.clone(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::{Catalog, SqlFile};

    #[test]
    fn a_kept_statement_holds_no_credential_and_declares_the_same() {
        let text = "CREATE FUNCTION twice(x BIGINT) RETURNS BIGINT RETURN 2 * x;
            -- of the shop
            CREATE EXTERNAL TABLE orders (location VARCHAR, password BIGINT /* hashed */)
            STORED AS NATS LOCATION 'nats://me:se''cret@host:4222/ORDERS'
            OPTIONS (subject 'orders.>', password 'hush', 'user' 'me');";
        let read = |text: &str| Catalog::load(&[SqlFile { path: "a.sql".to_owned(), text: text.to_owned() }]).unwrap();
        let catalog = read(text);
        let kept = catalog.sources["orders"].statement_without(|option| ["password", "token"].contains(&option)).unwrap();
        assert!(!kept.contains("cret") && !kept.contains("hush") && kept.contains("nats://host:4222/ORDERS"), "{kept}");
        let again = read(&kept);
        let source = &again.sources["orders"];
        assert_eq!(source.schema, catalog.sources["orders"].schema);
        assert_eq!((source.options["password"].as_str(), source.options["user"].as_str()), ("", "me"));
        assert_eq!(catalog.functions["twice"], "CREATE FUNCTION twice(x BIGINT) RETURNS BIGINT RETURN 2 * x");
    }

    #[test]
    fn a_credential_that_reads_like_a_name_is_not_kept_either() {
        for (options, kept) in [
            ("user 'user', password 'password'", "user 'user', password ''"),
            ("password 'token', token 'password'", "password '', token ''"),
            ("'password' 'options'", "'password' ''"),
        ] {
            let text = format!("CREATE EXTERNAL TABLE t (x BIGINT) STORED AS NATS LOCATION 'nats://host/T' OPTIONS ({options});");
            let catalog = Catalog::load(&[SqlFile { path: "a.sql".to_owned(), text }]).unwrap();
            let statement = catalog.sources["t"].statement_without(|option| ["password", "token"].contains(&option)).unwrap();
            assert!(statement.ends_with(&format!("OPTIONS ({kept})")), "{statement}");
        }
    }
}

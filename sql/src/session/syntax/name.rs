//! Names as they are compared.

use datafusion::sql::sqlparser::ast::Ident;

/// As written in quotes, else in lower case.
pub(super) fn normalized(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

//! Names in the form in which they are compared.

use datafusion::sql::sqlparser::ast::Ident;

/// Returns a quoted name as it is written, and any other name in lower case.
pub(super) fn normalized(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

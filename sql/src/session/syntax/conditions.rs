//! Joins without ON or USING. With UNNEST the condition is the row that is unnested; without it, most often one was forgotten.

use datafusion::common::Result;
use datafusion::sql::sqlparser::ast::{Expr, Ident, Join, JoinConstraint, Select, TableFactor, Value};

use super::merged_keys::constraint;
use super::pieces::refused;
use super::unnests;

/// Gives joins with UNNEST their condition.
///
/// # Errors
/// Other joins without one.
pub(super) fn complete(select: &mut Select) -> Result<()> {
    for join in select.from.iter_mut().flat_map(|from| &mut from.joins) {
        complete_one(join)?;
    }
    Ok(())
}

fn complete_one(join: &mut Join) -> Result<()> {
    let Some(constraint) = constraint(&mut join.join_operator) else { return Ok(()) };
    if *constraint != JoinConstraint::None {
        return Ok(());
    }
    if unnests::is_one(&join.relation) || matches!(join.relation, TableFactor::Derived { lateral: true, .. }) {
        *constraint = JoinConstraint::On(Expr::value(Value::Boolean(true)));
        return Ok(());
    }
    let help = "write ON a.id = b.id or USING (id) after it; CROSS JOIN pairs every row with every other";
    let named = match &join.relation {
        TableFactor::Table { name, .. } => name.0.last().and_then(|part| part.as_ident()).cloned(),
        _ => None,
    };
    Err(refused("JOIN has no condition", help, &Expr::Identifier(named.unwrap_or_else(|| Ident::new("JOIN")))))
}

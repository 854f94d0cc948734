//! `OVER (w ORDER BY x)` with `WINDOW w AS (PARTITION BY y)`: the named window, refined. DataFusion 55.2 ignores the name.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::ast::{Expr, NamedWindowDefinition, NamedWindowExpr, Select, Value, WindowSpec, WindowType};

use super::name::normalized;
use crate::dialect::EXCLUDED;
use crate::walk::{Rewrite, Step, walk};

/// Writes out the windows that a SELECT refines.
pub(super) fn refine(select: &mut Select) {
    if select.named_window.is_empty() {
        return;
    }
    let mut known: BTreeMap<String, WindowSpec> = BTreeMap::new();
    for NamedWindowDefinition(name, definition) in &mut select.named_window {
        let spec = match definition {
            NamedWindowExpr::NamedWindow(other) => known.get(&normalized(other)).cloned(),
            NamedWindowExpr::WindowSpec(spec) => Some(refined(spec, &known)),
        };
        if let Some(spec) = spec {
            *definition = NamedWindowExpr::WindowSpec(spec.clone());
            known.insert(normalized(name), spec);
        }
    }
    for item in &mut select.projection {
        let _ = walk(item, &mut Refine(&known));
    }
}

struct Refine<'a>(&'a BTreeMap<String, WindowSpec>);

impl Rewrite for Refine<'_> {
    fn after_expression(&mut self, expression: &mut Expr) -> Step {
        if let Expr::Function(function) = expression
            && let Some(WindowType::WindowSpec(spec)) = &mut function.over
        {
            *spec = refined(spec, self.0);
        }
        Step::Continue(())
    }
}

/// Checks whether a key is the mark of EXCLUDE.
fn is_mark(key: &Expr) -> bool {
    let Expr::Nested(key) = key else { return false };
    let Expr::Value(value) = key.as_ref() else { return false };
    matches!(&value.value, Value::SingleQuotedString(text) if EXCLUDED.contains(&text.as_str()))
}

fn refined(spec: &WindowSpec, known: &BTreeMap<String, WindowSpec>) -> WindowSpec {
    let Some(base) = spec.window_name.as_ref().and_then(|name| known.get(&normalized(name))) else {
        return spec.clone();
    };
    let mut partition_by = spec.partition_by.clone();
    // The mark of EXCLUDE is no key that a user has written.
    if partition_by.iter().all(is_mark) {
        partition_by.extend(base.partition_by.iter().cloned());
    }
    let or = |own: &Vec<_>, other: &Vec<_>| if own.is_empty() { other.clone() } else { own.clone() };
    WindowSpec {
        window_name: None,
        partition_by,
        order_by: or(&spec.order_by, &base.order_by),
        window_frame: spec.window_frame.clone().or_else(|| base.window_frame.clone()),
    }
}

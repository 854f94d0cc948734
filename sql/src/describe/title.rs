//! What a node does, in a few words.

use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};

use crate::plan::{Node, Op, leaf_index};
use crate::planner::aggregates;
use crate::type_names::sql_types;

/// Returns what a node does, in a few words.
pub(super) fn title(node: &Node) -> String {
    match &node.op {
        Op::Scan { relation, .. } => {
            let names: Vec<&str> = node.schema.fields().iter().map(|field| field.name().as_str()).collect();
            format!("{relation} ({})", names.join(", "))
        }
        Op::Merge { plan: LogicalPlan::Aggregate(aggregate) } | Op::Weighted { plan: LogicalPlan::Aggregate(aggregate) } => {
            // Columns of the input are qualified by the leaf's name, which means nothing to a user.
            let list = |expressions: &[Expr]| {
                let shown: Vec<String> = expressions.iter().map(|e| sql_types(&e.to_string().replace("$input0.", ""))).collect();
                shown.join(", ")
            };
            match (aggregate.group_expr.is_empty(), aggregate.aggr_expr.is_empty()) {
                (_, true) => format!("distinct {}", list(&aggregate.group_expr)),
                (true, false) => list(&aggregate.aggr_expr),
                (false, false) => format!("{} by {}", list(&aggregate.aggr_expr), list(&aggregate.group_expr)),
            }
        }
        Op::Ranks { plan, function, bound, .. } => match plan {
            LogicalPlan::Window(window) => format!("{} <= {bound}", sql_types(&window.window_expr[*function].to_string())),
            _ => "ranks".to_owned(),
        },
        Op::Sessions { .. } => "sessions".to_owned(),
        Op::Recursion { step, work, .. } => format!("recursion of {work}: {}", title(step)),
        Op::Repeats { .. } => "events that came before".to_owned(),
        Op::Watermark { emits_final: true, by_query: true, .. } => "rows that the watermark has reached".to_owned(),
        Op::Watermark { by_query: true, .. } => "rows that the watermark has not passed".to_owned(),
        Op::Watermark { emits_final, retain, .. } => match (emits_final, retain.is_some()) {
            (true, true) => "windows that are over, while they are retained",
            (true, false) => "windows that are over",
            (false, _) => "windows that are retained",
        }
        .to_owned(),
        Op::Merge { plan }
        | Op::Weighted { plan }
        | Op::Linear { plan }
        | Op::Join { plan, .. }
        | Op::Outer { plan, .. }
        | Op::Semi { plan, .. }
        | Op::Running { plan, .. }
        | Op::Top { plan, .. }
        | Op::Keyed { plan, .. }
        | Op::Full { plan } => operators(plan).join(", "),
    }
}

/// Returns the operators of a region from its root down, without those that only rename.
fn operators(plan: &LogicalPlan) -> Vec<String> {
    let mut found = Vec::new();
    let name = match plan {
        LogicalPlan::Projection(projection) => {
            let leaf =
                matches!(projection.input.as_ref(), LogicalPlan::TableScan(scan) if leaf_index(&scan.table_name).is_some());
            (!leaf || plan.inputs().is_empty()).then(|| "select".to_owned())
        }
        LogicalPlan::Filter(filter) => Some(format!("where {}", sql_types(&filter.predicate.to_string()))),
        LogicalPlan::Unnest(_) => Some("unnest".to_owned()),
        LogicalPlan::Union(_) => Some("union all".to_owned()),
        LogicalPlan::Join(join) => Some(format!("{} join", join.join_type.to_string().to_lowercase())),
        LogicalPlan::Aggregate(aggregate) => Some(aggregate_title(aggregate)),
        LogicalPlan::Window(_) => Some("window".to_owned()),
        LogicalPlan::Sort(_) => Some("order by".to_owned()),
        LogicalPlan::Limit(_) => Some("limit".to_owned()),
        LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => Some("constant rows".to_owned()),
        _ => None,
    };
    found.extend(name);
    for input in plan.inputs() {
        for name in operators(input) {
            if found.last() != Some(&name) {
                found.push(name);
            }
        }
    }
    found
}

/// Returns the functions of an aggregate, or DISTINCT.
fn aggregate_title(aggregate: &Aggregate) -> String {
    functions_title(&aggregates::functions(aggregate))
}

/// Returns the functions of an aggregate, or DISTINCT if there are none.
pub(super) fn functions_title(functions: &[String]) -> String {
    if functions.is_empty() { "DISTINCT".to_owned() } else { functions.join(", ") }
}

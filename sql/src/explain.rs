//! How a view is kept, for people: the tree of its nodes, and what they should know of it. Text, JSON and Mermaid of one tree; whoever
//! prints it chooses the colours.

mod mermaid;
mod summary;

use std::fmt::Write;

use datafusion::logical_expr::LogicalPlan;
use serde_json::{Value, json};

use crate::catalog::View;
use crate::plan::{Node, Op};
use crate::planner::aggregates;
use crate::wording::sql_types;

pub use mermaid::to_mermaid;
pub use summary::{ViewSummary, Warning, summary};

/// The tree of a view's nodes as text, the root first.
#[must_use]
pub fn explain(view: &View) -> String {
    let mut text = String::new();
    draw(&view.plan.root, "", "", &mut text);
    text
}

fn draw(node: &Node, first: &str, rest: &str, text: &mut String) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{first}{}", line(node));
    for (index, input) in node.inputs.iter().enumerate() {
        let last = index + 1 == node.inputs.len();
        let (branch, below) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        draw(input, &format!("{rest}{branch}"), &format!("{rest}{below}"), text);
    }
}

fn line(node: &Node) -> String {
    let mut line = format!("{}: {}", class_name(node), title(node));
    if let Some(reason) = &node.reason {
        let _ = write!(line, " because of {reason}");
    }
    let moves = if node.retracts { "rows can be taken back" } else { "rows only arrive" };
    let _ = write!(line, "  [{} \u{b7} {} \u{b7} {} \u{b7} {moves}]", node.cost, key_words(node), state_words(node));
    line
}

/// Its class, or that it is a scan, which is in none.
fn class_name(node: &Node) -> String {
    if matches!(node.op, Op::Scan { .. }) { "scan".to_owned() } else { node.class.to_string() }
}

fn key_words(node: &Node) -> String {
    match key_names(node) {
        Some(key) if key.is_empty() => "at most one row".to_owned(),
        Some(key) => format!("key {}", key.join(", ")),
        None => "no key".to_owned(),
    }
}

fn state_words(node: &Node) -> String {
    node.state.as_ref().map_or_else(|| "keeps nothing".to_owned(), |state| format!("keeps {state}"))
}

/// What a node does, in a few words.
fn title(node: &Node) -> String {
    match &node.op {
        Op::Scan { relation, .. } => {
            let names: Vec<&str> = node.schema.fields().iter().map(|field| field.name().as_str()).collect();
            format!("{relation} ({})", names.join(", "))
        }
        Op::Merge { plan: LogicalPlan::Aggregate(aggregate) } | Op::Weighted { plan: LogicalPlan::Aggregate(aggregate) } => {
            // Columns of the input carry the leaf's name, which says nothing to a user.
            let list = |expressions: &[datafusion::logical_expr::Expr]| {
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
        | Op::Semi { plan, .. }
        | Op::Top { plan, .. }
        | Op::Keyed { plan, .. }
        | Op::Full { plan } => operators(plan).join(", "),
    }
}

/// The operators of a region from its root down, without what only gives names.
fn operators(plan: &LogicalPlan) -> Vec<String> {
    let mut found = Vec::new();
    let name = match plan {
        LogicalPlan::Projection(projection) => {
            let leaf = matches!(projection.input.as_ref(), LogicalPlan::TableScan(scan) if crate::plan::leaf_index(&scan.table_name).is_some());
            (!leaf || plan.inputs().is_empty()).then(|| "select".to_owned())
        }
        LogicalPlan::Filter(filter) => Some(format!("where {}", sql_types(&filter.predicate.to_string()))),
        LogicalPlan::Unnest(_) => Some("unnest".to_owned()),
        LogicalPlan::Union(_) => Some("union all".to_owned()),
        LogicalPlan::Join(join) => Some(format!("{} join", join.join_type.to_string().to_lowercase())),
        LogicalPlan::Aggregate(aggregate) => Some(aggregates::title(aggregate)),
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

fn key_names(node: &Node) -> Option<Vec<String>> {
    node.key.as_ref().map(|key| key.iter().map(|column| node.schema.field(*column).name().clone()).collect())
}

/// Where a view is declared and what it reads, and the tree of its nodes: `id`, `class`, `does`, `reason`, `cost`,
/// `state`, `key`, `retracts`, `columns`, `logical_plan` and `inputs` of each.
#[must_use]
pub fn to_json(view: &View) -> Value {
    let (line, column) = view.at.line_column();
    let reads: Vec<&str> = view.plan.reads.iter().map(|(_, name)| name.as_str()).collect();
    json!({
        "view": view.name,
        "file": view.at.file.path,
        "line": line,
        "column": column,
        "reads": reads,
        "fingerprint": view.plan.fingerprint,
        "plan": node_json(&view.plan.root),
    })
}

/// What a node runs, over leaves that stand for its inputs.
fn logical_plan(node: &Node) -> Option<&LogicalPlan> {
    match &node.op {
        Op::Scan { .. } | Op::Watermark { .. } | Op::Sessions { .. } => None,
        Op::Linear { plan }
        | Op::Merge { plan }
        | Op::Weighted { plan }
        | Op::Join { plan, .. }
        | Op::Semi { plan, .. }
        | Op::Top { plan, .. }
        | Op::Ranks { plan, .. }
        | Op::Keyed { plan, .. }
        | Op::Full { plan } => Some(plan),
    }
}

fn node_json(node: &Node) -> Value {
    let columns: Vec<Value> = node
        .schema
        .fields()
        .iter()
        .map(|field| json!({ "name": field.name(), "type": field.data_type().to_string(), "nullable": field.is_nullable() }))
        .collect();
    json!({
        "id": node.id,
        "class": class_name(node),
        "does": title(node),
        "reason": node.reason,
        "cost": node.cost,
        "state": node.state,
        "key": key_names(node),
        "retracts": node.retracts,
        "columns": columns,
        "logical_plan": logical_plan(node).map(|plan| plan.display_indent().to_string()),
        "inputs": node.inputs.iter().map(node_json).collect::<Vec<_>>(),
    })
}

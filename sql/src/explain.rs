//! How a view is kept, for people: the tree of its nodes, and what they should know of it. Text, JSON and Mermaid of one tree; whoever
//! prints it chooses the colours.

mod mermaid;

use std::fmt::Write;

use datafusion::logical_expr::LogicalPlan;
use serde_json::{Value, json};

use crate::catalog::View;
use crate::plan::{Class, Node, Op};
use crate::planner::aggregates;

pub use mermaid::to_mermaid;

/// What `check` says of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewSummary {
    /// The dearest class of its nodes; rows that no event changes do not count.
    pub class: Class,
    /// The names of the columns that identify a row, where known; empty for a view of at most one row.
    pub key: Option<Vec<String>>,
    /// Whether rows that it showed can be taken back.
    pub retracts: bool,
    /// What a user should know.
    pub warnings: Vec<Warning>,
}

/// Something that a user should know of a view, and what could be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What and why.
    pub reason: String,
    /// What to write instead.
    pub suggestion: String,
}

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
    let mut line = match &node.op {
        Op::Scan { .. } => title(node),
        _ => format!("{}: {}", node.class, title(node)),
    };
    if let Some(reason) = &node.reason {
        let _ = write!(line, " because of {reason}");
    }
    match key_names(node) {
        Some(key) if key.is_empty() => line.push_str("  [at most one row"),
        Some(key) => {
            let _ = write!(line, "  [key {}", key.join(", "));
        }
        None => line.push_str("  [no key"),
    }
    line.push_str(if node.retracts { ", rows can be taken back]" } else { ", rows only arrive]" });
    line
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
                let shown: Vec<String> = expressions.iter().map(|e| e.to_string().replace("$input0.", "")).collect();
                shown.join(", ")
            };
            match (aggregate.group_expr.is_empty(), aggregate.aggr_expr.is_empty()) {
                (_, true) => format!("distinct {}", list(&aggregate.group_expr)),
                (true, false) => list(&aggregate.aggr_expr),
                (false, false) => format!("{} by {}", list(&aggregate.aggr_expr), list(&aggregate.group_expr)),
            }
        }
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
        LogicalPlan::Filter(filter) => Some(format!("where {}", filter.predicate)),
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

/// Where a view is declared and what it reads, and the tree of its nodes: `id`, `class`, `does`, `reason`, `key`, `retracts`,
/// `columns`, `logical_plan` and `inputs` of each.
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
        Op::Scan { .. } | Op::Watermark { .. } => None,
        Op::Linear { plan }
        | Op::Merge { plan }
        | Op::Weighted { plan }
        | Op::Join { plan, .. }
        | Op::Semi { plan, .. }
        | Op::Top { plan, .. }
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
        "class": if matches!(node.op, Op::Scan { .. }) { "scan".to_owned() } else { node.class.to_string() },
        "does": title(node),
        "reason": node.reason,
        "key": key_names(node),
        "retracts": node.retracts,
        "columns": columns,
        "logical_plan": logical_plan(node).map(|plan| plan.display_indent().to_string()),
        "inputs": node.inputs.iter().map(node_json).collect::<Vec<_>>(),
    })
}

/// What `check` says of a view.
#[must_use]
pub fn summary(view: &View) -> ViewSummary {
    let root = &view.plan.root;
    let mut warnings = Vec::new();
    warn(root, &mut warnings);
    ViewSummary { class: dearest(root), key: key_names(root), retracts: root.retracts, warnings }
}

fn is_constant(node: &Node) -> bool {
    node.inputs.is_empty() && matches!(node.op, Op::Full { .. })
}

fn dearest(node: &Node) -> Class {
    let own = if is_constant(node) { Class::Linear } else { node.class };
    node.inputs.iter().map(dearest).fold(own, Class::max)
}

fn warn(node: &Node, warnings: &mut Vec<Warning>) {
    let mut add = |reason: String, suggestion: &str| {
        let warning = Warning { reason, suggestion: suggestion.to_owned() };
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    };
    if let (Op::Full { plan }, false) = (&node.op, is_constant(node)) {
        let reason = node.reason.as_deref().unwrap_or("its shape");
        add(
            format!("all input is kept and the query is run again over it at each commit, because of {reason}"),
            "filter and aggregate each input in a view of its own first, so that less is kept and read",
        );
        let mut inner = Vec::new();
        collect_aggregates(plan, &mut inner);
        for aggregate in inner {
            about_aggregate(aggregate, false, &mut add);
        }
    }
    if let Op::Merge { plan: LogicalPlan::Aggregate(aggregate) } = &node.op {
        about_aggregate(aggregate, true, &mut add);
    }
    for input in &node.inputs {
        warn(input, warnings);
    }
}

fn about_aggregate(aggregate: &datafusion::logical_expr::Aggregate, merges: bool, add: &mut impl FnMut(String, &str)) {
    let floats = aggregates::float_sums(aggregate);
    if !floats.is_empty() {
        add(
            format!(
                "{} of floating-point numbers depends on the order in which they are added, in the last digits",
                floats.join(" and ")
            ),
            "for exact sums declare the column as DECIMAL(p, s), or CAST it to that",
        );
    }
    let unbounded = aggregates::unbounded(aggregate);
    if merges && !unbounded.is_empty() {
        add(
            format!("{} keeps every value of each group: its state grows with the events", unbounded.join(" and ")),
            "use approx_distinct for counts, or group by something that ends, such as a day",
        );
    }
    let arrival = aggregates::by_arrival(aggregate);
    if !arrival.is_empty() {
        add(
            format!("{} without ORDER BY takes values in order of arrival", arrival.join(" and ")),
            "say the order: array_agg(x ORDER BY _sequence)",
        );
    }
}

fn collect_aggregates<'a>(plan: &'a LogicalPlan, found: &mut Vec<&'a datafusion::logical_expr::Aggregate>) {
    if let LogicalPlan::Aggregate(aggregate) = plan {
        found.push(aggregate);
    }
    for input in plan.inputs() {
        collect_aggregates(input, found);
    }
}

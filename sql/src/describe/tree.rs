//! The tree of a view's nodes as text and as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use super::title::title;
use super::words::{class_name, cost, key_names, key_words, reasons, state, state_words};
use crate::catalog::View;
use crate::plan::Node;

/// Returns the tree of a view's nodes as text, root first.
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
    if let Some(reason) = reasons(node) {
        let _ = write!(line, " because of {reason}");
    }
    let moves = if node.retracts { "rows can be taken back" } else { "rows only arrive" };
    let _ = write!(line, "  [{} \u{b7} {} \u{b7} {} \u{b7} {moves}]", cost(node), key_words(node), state_words(node));
    line
}

/// Returns where a view is declared, what it reads, and the tree of its nodes: `id`, `class`, `does`, `reason`, `cost`, `state`,
/// `key`, `retracts`, `columns`, `logical_plan` and `inputs` of each.
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
        "reason": reasons(node),
        "cost": cost(node),
        "state": state(node),
        "key": key_names(node),
        "retracts": node.retracts,
        "columns": columns,
        "logical_plan": node.op.plan().map(|plan| plan.display_indent().to_string()),
        "inputs": node.inputs.iter().map(node_json).collect::<Vec<_>>(),
    })
}

//! A plan as a Mermaid flowchart, which GitHub, GitLab and many editors draw. Rows flow up.

use std::fmt::Write;

use super::title::title;
use super::words::{class_name, cost, key_words, reasons, state_words};
use crate::catalog::View;
use crate::plan::{Node, Op};

/// Returns the tree of a view's nodes as a flowchart.
#[must_use]
pub fn to_mermaid(view: &View) -> String {
    let mut text = String::from("flowchart BT\n");
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  view([\"{}\"])", escaped(&view.name));
    let _ = writeln!(text, "  n{} --> view", view.plan.root.id);
    draw(&view.plan.root, &mut text);
    text.push_str("  classDef recompute stroke:#c00,stroke-width:2px\n");
    text
}

fn draw(node: &Node, text: &mut String) {
    let mut lines = vec![class_name(node), title(node)];
    lines.extend(reasons(node).map(|reason| format!("because of {reason}")));
    lines.extend([key_words(node), state_words(node), cost(node).to_owned()]);
    let lines: Vec<String> = lines.iter().map(|line| escaped(line)).collect();
    let (open, close) = if matches!(node.op, Op::Scan { .. }) { ("[(", ")]") } else { ("[", "]") };
    let mark = if matches!(node.op, Op::Full { .. }) && !node.is_constant() { ":::recompute" } else { "" };
    let _ = writeln!(text, "  n{}{open}\"{}\"{close}{mark}", node.id, lines.join("<br/>"));
    for input in &node.inputs {
        let arrow = if input.retracts { "-. rows come and go .->" } else { "-->" };
        let _ = writeln!(text, "  n{} {arrow} n{}", input.id, node.id);
        draw(input, text);
    }
}

/// Escapes text within quotes: replaces what would end it or start a tag by entities.
fn escaped(text: &str) -> String {
    text.replace('#', "#35;").replace('"', "#quot;").replace('<', "#lt;").replace('>', "#gt;").replace('\n', " ")
}

//! `alluvium explain`.

use alluvium_sql::{Node, Op};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{Global, print, rebuild::must_be_declared};
use crate::error::Error;

const EXAMPLES: &str = "\
Examples:
  alluvium -C my-views explain revenue_by_country
  alluvium -C my-views explain revenue_by_country --format json";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A tree for people
    Text,
    /// For programs
    Json,
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Explain {
    /// The view
    view: String,
    /// How it is written
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Explain {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let project = global.project()?;
        must_be_declared(&project, &self.view)?;
        let Some(view) = project.catalog.views.iter().find(|view| view.name == self.view) else {
            return Err(Error::bug(format!("view {} is declared and is not there", self.view)));
        };
        let root = &view.plan.root;
        match self.format {
            Format::Json => {
                let (line, column) = view.at.line_column();
                let reads: Vec<_> = view.plan.reads.iter().map(|(_, name)| name).collect();
                print(&super::json(&json!({
                    "view": view.name,
                    "file": view.at.file.path,
                    "line": line,
                    "column": column,
                    "fingerprint": view.plan.fingerprint,
                    "commit_interval": humantime::format_duration(project.commit_interval(&view.name)).to_string(),
                    "reads": reads,
                    "plan": as_json(root),
                }))?)
            }
            Format::Text => {
                let mut text = format!("{}\n", view.name);
                draw(root, "", true, &mut text);
                print(&text)
            }
        }
    }
}

fn draw(node: &Node, indent: &str, last: bool, text: &mut String) {
    let (branch, below) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
    let inner = format!("{indent}{below}");
    let bar = if node.inputs.is_empty() { "   " } else { "│  " };
    text.push_str(&format!("{indent}{branch}{} [{}]", operator(node), node.class));
    if let Some(key) = key_names(node) {
        text.push_str(&format!(" key ({})", key.join(", ")));
    }
    if node.retracts {
        text.push_str(" rows change");
    }
    text.push('\n');
    if let Some(reason) = &node.reason {
        text.push_str(&format!("{inner}{bar}{reason}\n"));
    }
    for line in plan_lines(node) {
        text.push_str(&format!("{inner}{bar}{line}\n"));
    }
    for (index, input) in node.inputs.iter().enumerate() {
        draw(input, &inner, index + 1 == node.inputs.len(), text);
    }
}

fn operator(node: &Node) -> String {
    match &node.op {
        Op::Scan { relation, .. } => {
            let columns: Vec<_> = node.schema.fields().iter().map(|field| field.name().as_str()).collect();
            format!("scan {relation} ({})", columns.join(", "))
        }
        Op::Linear { .. } => "linear".into(),
        Op::Merge { .. } => "aggregate".into(),
        Op::Weighted { .. } => "aggregate".into(),
        Op::Join { .. } => "join".into(),
        Op::Semi { .. } => "semi join".into(),
        Op::Top { .. } => "first rows".into(),
        Op::Keyed { .. } => "query by key".into(),
        Op::Full { .. } => "query".into(),
    }
}

fn plan_lines(node: &Node) -> Vec<String> {
    match &node.op {
        Op::Scan { .. } => Vec::new(),
        Op::Linear { plan }
        | Op::Merge { plan }
        | Op::Weighted { plan }
        | Op::Join { plan, .. }
        | Op::Semi { plan, .. }
        | Op::Top { plan, .. }
        | Op::Keyed { plan, .. }
        | Op::Full { plan } => plan.display_indent().to_string().lines().map(str::to_owned).collect(),
    }
}

fn key_names(node: &Node) -> Option<Vec<&str>> {
    let key = node.key.as_ref()?;
    Some(key.iter().filter_map(|index| node.schema.fields().get(*index)).map(|field| field.name().as_str()).collect())
}

fn as_json(node: &Node) -> Value {
    let columns: Vec<_> = node
        .schema
        .fields()
        .iter()
        .map(|field| json!({"name": field.name(), "type": field.data_type().to_string(), "nullable": field.is_nullable()}))
        .collect();
    json!({
        "id": node.id,
        "operator": operator(node),
        "class": node.class.to_string(),
        "reason": node.reason,
        "key": key_names(node),
        "rows_change": node.retracts,
        "columns": columns,
        "plan": plan_lines(node).join("\n"),
        "inputs": node.inputs.iter().map(as_json).collect::<Vec<_>>(),
    })
}

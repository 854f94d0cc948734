//! `alluvium check`.

use alluvium_sql::{Class, Node, View};
use clap::Args;

use super::{Global, print, table};
use crate::error::Error;

const EXAMPLES: &str = "\
Examples:
  alluvium -C my-views check       exit 1 on any error, for CI

No source is asked and nothing is written.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Check {}

impl Check {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let project = global.project()?;
        project.connect()?;
        let mut table = table::plain(&["view", "kept up to date by", "reads", "columns"]);
        let mut warnings = String::new();
        for view in &project.catalog.views {
            let reads: Vec<_> = view.plan.reads.iter().map(|(_, name)| name.as_str()).collect();
            table.add_row(vec![
                view.name.clone(),
                dearest(&view.plan.root).to_string(),
                reads.join(", "),
                view.plan.schema.fields().len().to_string(),
            ]);
            warnings.push_str(&full_recomputes(view));
        }
        let sources = project.sources.len();
        print(&format!(
            "{table}\n{warnings}{} and {}: no errors\n",
            count(project.catalog.views.len(), "view"),
            count(sources, "source")
        ))
    }
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// The class that decides what a step costs.
pub(super) fn dearest(node: &Node) -> Class {
    node.inputs.iter().map(dearest).fold(node.class, Class::max)
}

fn full_recomputes(view: &View) -> String {
    fn walk<'a>(node: &'a Node, found: &mut Vec<&'a Node>) {
        if node.class == Class::FullRecompute {
            found.push(node);
        }
        node.inputs.iter().for_each(|input| walk(input, found));
    }
    let mut found = Vec::new();
    walk(&view.plan.root, &mut found);
    let line = |node: &&Node| {
        let (line, column) = view.at.line_column();
        let reason = node.reason.as_deref().unwrap_or("no cheaper way is known for it");
        format!(
            "warning: {}:{line}:{column}: {} is computed anew from all its input at each step: {reason}\n",
            view.at.file.path, view.name
        )
    };
    found.iter().map(line).collect()
}

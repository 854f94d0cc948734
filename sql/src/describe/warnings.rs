//! What could surprise the user of a view later: what grows, what rounds, what is recomputed.

use std::collections::BTreeSet;

use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::{Aggregate, LogicalPlan};

use super::words::reasons;
use crate::catalog::View;
use crate::file::Location;
use crate::plan::{Node, Op, Reason, RelationKind, given_leaf};
use crate::planner::aggregates;
use crate::text::Text;

/// Something that a user should know about a view, and what to do about it.
#[derive(Debug, Clone)]
pub struct Warning {
    /// What happens and why.
    pub reason: String,
    /// What to write instead.
    pub suggestion: String,
    /// What it is about: a call, a word, or the whole statement.
    pub at: Location,
}

/// Returns what a user should know about a view.
pub(super) fn warnings(view: &View) -> Vec<Warning> {
    let mut warnings = Warnings { view, text: Text::of(&view.at), found: Vec::new() };
    warnings.about(&view.plan.root);
    warnings.about_kept_rows(&view.plan.root);
    warnings.about_order();
    warnings.found
}

/// Checks whether a node, or one below it, stores rows that the watermark does not evict.
fn stores_for_good(node: &Node) -> bool {
    let own = node.op.kind().has_state()
        && !node.is_constant()
        && (node.inputs.is_empty() || (0..node.inputs.len()).any(|input| !node.expires(input)));
    own || node.inputs.iter().any(stores_for_good)
}

struct Warnings<'a> {
    view: &'a View,
    /// `None` if the statement cannot be read again.
    text: Option<Text>,
    found: Vec<Warning>,
}

impl Warnings<'_> {
    /// Adds a warning once, at the first place that is known.
    fn add(&mut self, reason: String, suggestion: &str, places: impl IntoIterator<Item = Option<Location>>) {
        if self.found.iter().all(|other| other.reason != reason) {
            let at = places.into_iter().flatten().next().unwrap_or_else(|| self.view.at.clone());
            self.found.push(Warning { reason, suggestion: suggestion.to_owned(), at });
        }
    }

    fn call(&self, name: &str) -> Option<Location> {
        self.text.as_ref()?.call_only(name)
    }

    fn word(&self, word: &str) -> Option<Location> {
        self.text.as_ref()?.word(word)
    }

    fn about(&mut self, node: &Node) {
        match &node.op {
            Op::Full { plan } if !node.is_constant() => {
                let reason = reasons(node).unwrap_or_default();
                self.add(
                    format!("all input is kept and the query is run again over it at each commit, because of {reason}"),
                    "filter and aggregate each input in a view of its own first, so that less is kept and read",
                    self.places_of(&node.reasons),
                );
                self.about_aggregates(plan, false);
            }
            Op::Merge { plan } => self.about_aggregates(plan, true),
            Op::Keyed { plan, .. } => self.about_aggregates(plan, false),
            Op::Watermark { retain: Some(_), by_query: false, .. } if node.inputs.first().is_some_and(stores_for_good) => self
                .add(
                    "retain takes old windows out of the view, and not out of what its query remembers".to_owned(),
                    "take window_end from TUMBLE or HOP, group and partition by it, and have it among the equal keys of joins",
                    [self.word("retain")],
                ),
            _ => {}
        }
        for input in &node.inputs {
            self.about(input);
        }
    }

    /// Returns the places in the statement that some reasons are about, the most telling first.
    fn places_of(&self, reasons: &[Reason]) -> Vec<Option<Location>> {
        let of_one = |reason: &Reason| match reason {
            Reason::NestedExtreme(function) | Reason::DependsOnCuts(function) | Reason::DoesNotMerge(function) => {
                vec![self.call(function)]
            }
            Reason::Retracts(functions) => functions.iter().map(|function| self.call(function)).collect(),
            Reason::Join | Reason::JoinWithoutKeys => vec![self.word("JOIN")],
            Reason::NullAwareNotIn => vec![self.word("NOT")],
            Reason::Mark | Reason::Semi => ["EXISTS", "IN", "INTERSECT", "EXCEPT"].map(|word| self.word(word)).into(),
            Reason::Window => vec![self.word("OVER")],
            Reason::FirstRows => vec![self.word("LIMIT")],
            Reason::Recursion => vec![self.word("RECURSIVE")],
            Reason::Distinct => vec![self.word("DISTINCT")],
            Reason::GroupingSets => ["ROLLUP", "CUBE", "SETS"].map(|word| self.word(word)).into(),
            Reason::Constant | Reason::OtherShape | Reason::Subquery | Reason::Sessions | Reason::OtherAggregate(_) => Vec::new(),
        };
        reasons.iter().flat_map(of_one).collect()
    }

    fn about_aggregates(&mut self, plan: &LogicalPlan, merges: bool) {
        let mut found = Vec::new();
        collect_aggregates(plan, &mut found);
        for aggregate in found {
            self.about_aggregate(aggregate, merges);
        }
    }

    fn about_aggregate(&mut self, aggregate: &Aggregate, merges: bool) {
        let floats = aggregates::float_sums(aggregate);
        if let Some(first) = floats.first() {
            self.add(
                format!(
                    "{} of floating-point numbers depends on the order in which they are added, in the last digits",
                    floats.join(" and ")
                ),
                "for exact sums declare the column as DECIMAL(p, s), or CAST it to that",
                [self.call(first)],
            );
        }
        let unbounded = aggregates::unbounded(aggregate);
        if let (true, Some(first)) = (merges, unbounded.first()) {
            self.add(
                format!("{} keeps every value of each group: its state grows with the events", unbounded.join(" and ")),
                "use approx_distinct for counts, or group by something that ends, such as a day",
                [self.call(first)],
            );
        }
        let arrival = aggregates::by_arrival(aggregate);
        if let Some(first) = arrival.first() {
            self.add(
                format!("{} without ORDER BY takes values in order of arrival", arrival.join(" and ")),
                "say the order: array_agg(x ORDER BY _sequence)",
                [self.call(first)],
            );
        }
    }

    /// ORDER BY that decides nothing.
    fn about_order(&mut self) {
        if let Some(order) = self.text.as_ref().and_then(Text::last_order) {
            self.add(
                "ORDER BY without LIMIT has no effect: the rows of a view have no order".to_owned(),
                "leave it out, and order the rows where the view is read",
                [Some(order)],
            );
        }
    }

    /// Warns about rows that are kept to be joined or ranked again, if their number keeps growing.
    fn about_kept_rows(&mut self, root: &Node) {
        let mut relations = BTreeSet::new();
        kept_for_good(root, &mut relations);
        if relations.is_empty() {
            return;
        }
        let names: Vec<&str> = relations.into_iter().collect();
        self.add(
            format!("rows of {} are kept for good: the state grows with the events", names.join(" and ")),
            "filter, aggregate, or take the latest row by key in a view of its own first, so that less is kept",
            ["JOIN", "OVER", "EXISTS", "IN"].map(|word| self.word(word)),
        );
    }
}

/// Collects the relations whose rows the nodes of a view keep in proportion to the events. Full recomputes have a warning of their
/// own.
fn kept_for_good<'a>(node: &'a Node, relations: &mut BTreeSet<&'a str>) {
    for (index, input) in node.inputs.iter().enumerate() {
        let keeps_rows = match &node.op {
            Op::Join { .. }
            | Op::Outer { .. }
            | Op::Top { .. }
            | Op::Running { .. }
            | Op::Sessions { .. }
            | Op::Keyed { keep: None, .. } => true,
            Op::Repeats { within, .. } => within.is_none(),
            // Rows of the other side are only counted by key.
            Op::Semi { plan, .. } => given_leaf(plan) == index,
            _ => false,
        };
        if keeps_rows && !node.expires(index) {
            growing(input, relations);
        }
        kept_for_good(input, relations);
    }
}

/// Collects the relations whose every event adds rows to what a node emits. Groups, first rows and views with a key are assumed to
/// be few.
fn growing<'a>(node: &'a Node, relations: &mut BTreeSet<&'a str>) {
    match &node.op {
        Op::Scan { relation, kind, .. } => {
            if *kind == RelationKind::Source || node.key.is_none() {
                relations.insert(relation);
            }
        }
        Op::Merge { .. } | Op::Weighted { .. } | Op::Top { .. } | Op::Ranks { .. } | Op::Keyed { keep: Some(_), .. } => {}
        // Its rows leave.
        Op::Watermark { by_query: true, emits_final: false, .. } => {}
        Op::Keyed { plan, .. } if plan.exists(|plan| Ok(matches!(plan, LogicalPlan::Aggregate(_)))).unwrap_or(false) => {}
        _ => {
            for input in &node.inputs {
                growing(input, relations);
            }
        }
    }
}

fn collect_aggregates<'a>(plan: &'a LogicalPlan, found: &mut Vec<&'a Aggregate>) {
    if let LogicalPlan::Aggregate(aggregate) = plan {
        found.push(aggregate);
    }
    for input in plan.inputs() {
        collect_aggregates(input, found);
    }
}

//! Puts a node's facts into words: its class, its key, what a change costs, what it stores, and why it is not in a cheaper class.

use std::fmt;

use super::title::functions_title;
use crate::plan::{Class, KeyedInput, Node, Op, Reason, given_leaf};

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::Linear => "linear",
            Class::Merge => "merge",
            Class::Join => "join",
            Class::KeyedRecompute => "keyed recompute",
            Class::FullRecompute => "full recompute",
        })
    }
}

/// Returns the class of a node, or `scan`.
pub(super) fn class_name(node: &Node) -> String {
    if matches!(node.op, Op::Scan { .. }) { "scan".to_owned() } else { node.class().to_string() }
}

/// Returns the names of the columns that identify a row.
pub(super) fn key_names(node: &Node) -> Option<Vec<String>> {
    node.key.as_ref().map(|key| key.iter().map(|column| node.schema.field(*column).name().clone()).collect())
}

pub(super) fn key_words(node: &Node) -> String {
    match key_names(node) {
        Some(key) if key.is_empty() => "at most one row".to_owned(),
        Some(key) => format!("key {}", key.join(", ")),
        None => "no key".to_owned(),
    }
}

pub(super) fn state_words(node: &Node) -> String {
    state(node).map_or_else(|| "keeps nothing".to_owned(), |state| format!("keeps {state}"))
}

/// Returns what a change costs.
pub(crate) fn cost(node: &Node) -> &'static str {
    match &node.op {
        Op::Scan { .. } | Op::Linear { .. } | Op::Merge { .. } | Op::Weighted { .. } | Op::Repeats { .. } => "O(changes)",
        Op::Join { keys, .. } if keys.iter().all(|key| key.columns.is_empty()) => "O(changes x rows of the other side)",
        Op::Outer { counted: true, .. } => "O(changes + rows with equal keys)",
        Op::Join { .. } | Op::Outer { .. } | Op::Semi { .. } => "O(changes + matches)",
        Op::Recursion { .. } => "O(changes + rows derived from them)",
        Op::Top { .. } => "O(changes x log rows + limit)",
        Op::Ranks { .. } | Op::Keyed { keep: Some(_), .. } => "O(changes + first rows of the touched keys)",
        Op::Running { .. } => "O(changes + rows behind them in the order of their keys)",
        Op::Sessions { .. } => "O(changes + times of the touched keys)",
        Op::Keyed { keep: None, .. } => "O(rows of the touched keys)",
        Op::Watermark { .. } => "O(changes + rows that the watermark passes)",
        Op::Full { .. } if node.is_constant() => "O(rows), once",
        Op::Full { .. } if node.reasons.contains(&Reason::Recursion) => "O(all input x steps of the recursion)",
        Op::Full { .. } => "O(all input)",
    }
}

/// Returns what a node stores. `None` if it stores nothing.
pub(crate) fn state(node: &Node) -> Option<String> {
    let kept = match &node.op {
        Op::Scan { .. } | Op::Linear { .. } => return None,
        Op::Merge { .. } => "the state of each group".to_owned(),
        Op::Weighted { .. } => "counts and sums of each group".to_owned(),
        Op::Outer { keys, counted: true, .. } => format!("{}; counts of matches", rows_by_key(node, keys)),
        Op::Join { keys, .. } | Op::Outer { keys, .. } | Op::Keyed { keys, keep: None, .. } => rows_by_key(node, keys),
        Op::Semi { plan, keys } => {
            let given = given_leaf(plan);
            format!("rows by {}; counts of {}", columns(node, keys, given), columns(node, keys, 1 - given))
        }
        Op::Recursion { step, distinct, .. } => recursion_state(step, *distinct),
        Op::Top { .. } => "all rows in their order".to_owned(),
        Op::Ranks { key, .. } => format!("the first rows by {}", columns(node, std::slice::from_ref(key), 0)),
        Op::Running { key, .. } => match columns(node, std::slice::from_ref(key), 0) {
            names if names.is_empty() => "all rows in their order, with their answers".to_owned(),
            names => format!("rows by {names} in their order, with their answers"),
        },
        Op::Sessions { key, .. } => format!("rows by {}", columns(node, std::slice::from_ref(key), 0)),
        Op::Repeats { within: None, .. } => "the identifier of each event".to_owned(),
        Op::Repeats { within: Some(within), .. } => format!("the identifiers of the last {within} events"),
        Op::Keyed { keys, keep: Some(_), .. } => match columns(node, keys, 0) {
            names if names.is_empty() => "the first rows".to_owned(),
            names => format!("the first rows by {names}"),
        },
        Op::Watermark { emits_final: true, by_query: true, .. } => "rows that the watermark has not reached".to_owned(),
        Op::Watermark { by_query: true, .. } => "rows that the watermark has not passed".to_owned(),
        Op::Watermark { retain: Some(_), .. } => "rows of windows that are retained".to_owned(),
        Op::Watermark { retain: None, .. } => "rows of windows that are not over".to_owned(),
        Op::Full { .. } if node.is_constant() => "its rows".to_owned(),
        Op::Full { .. } => "all input, and the last answer".to_owned(),
    };
    Some(if node.expiries.is_empty() { kept } else { format!("{kept}, until their windows are gone") })
}

fn recursion_state(step: &Node, distinct: bool) -> String {
    let mut kept: Vec<String> = distinct.then(|| "each row with the number of its derivations".to_owned()).into_iter().collect();
    let mut nodes = vec![step];
    while let Some(node) = nodes.pop() {
        kept.extend(state(node).filter(|state| !kept.contains(state)));
        nodes.extend(&node.inputs);
    }
    kept.join("; ")
}

fn rows_by_key(node: &Node, keys: &[KeyedInput]) -> String {
    let inputs = (0..node.inputs.len()).map(|input| match columns(node, keys, input) {
        names if names.is_empty() => "all rows".to_owned(),
        names => format!("rows by {names}"),
    });
    inputs.collect::<Vec<_>>().join("; ")
}

/// Returns the names of the key's columns of an input.
fn columns(node: &Node, keys: &[KeyedInput], input: usize) -> String {
    let (Some(input), Some(key)) = (node.inputs.get(input), keys.get(input)) else { return String::new() };
    let names: Vec<&str> = key.columns.iter().map(|column| input.schema.field(*column).name().as_str()).collect();
    names.join(", ")
}

/// Returns why a node is not in a cheaper class. `None` if nobody would expect one.
pub(crate) fn reasons(node: &Node) -> Option<String> {
    let reasons: Vec<String> = node.reasons.iter().map(reason).collect();
    (!reasons.is_empty()).then(|| reasons.join(", "))
}

fn reason(reason: &Reason) -> String {
    match reason {
        Reason::Constant => "rows that do not depend on any event".to_owned(),
        Reason::OtherShape => "a query of another shape".to_owned(),
        Reason::Join => "a join".to_owned(),
        Reason::JoinWithoutKeys => "a join on no equal keys".to_owned(),
        Reason::NullAwareNotIn => "NOT IN with values that may be NULL".to_owned(),
        Reason::Mark => "EXISTS or IN".to_owned(),
        Reason::Semi => "IN, EXISTS, INTERSECT or EXCEPT".to_owned(),
        Reason::Window => "a window function".to_owned(),
        Reason::FirstRows => "ORDER BY with LIMIT".to_owned(),
        Reason::Distinct => "DISTINCT".to_owned(),
        Reason::Recursion => "a recursive query".to_owned(),
        Reason::Subquery => "a subquery".to_owned(),
        Reason::Sessions => "sessions, which late rows change".to_owned(),
        Reason::GroupingSets => "grouping sets".to_owned(),
        Reason::NestedExtreme(function) => format!("{function} of nested values"),
        Reason::DependsOnCuts(function) => format!("{function}, whose answer depends on how its input is cut"),
        Reason::DoesNotMerge(function) => format!("{function}, whose partial answers cannot be put together"),
        Reason::OtherAggregate(expression) => format!("the aggregate {expression}"),
        Reason::Retracts(functions) => format!("{} over rows that can be taken back", functions_title(functions)),
    }
}

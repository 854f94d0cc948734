//! Orders views so that each comes after those that it reads. A cycle has no such order.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::views::Declared;
use crate::error::Error;

/// Returns the names of views, each after those that it reads. Leaves out the views of a cycle and those that read them. Each cycle
/// goes to `errors` once.
pub(crate) fn order(
    views: &BTreeMap<String, Declared>,
    reads: &BTreeMap<String, BTreeSet<String>>,
    errors: &mut Vec<Error>,
) -> Vec<String> {
    let mut ordered: Vec<String> = Vec::new();
    let mut waiting: Vec<&String> = views.keys().collect();
    loop {
        let (ready, rest): (Vec<&String>, Vec<&String>) = waiting.iter().partition(|name| {
            reads.get(**name).is_none_or(|read| read.iter().all(|read| !views.contains_key(read) || ordered.contains(read)))
        });
        waiting = rest;
        if ready.is_empty() {
            break;
        }
        ordered.extend(ready.into_iter().cloned());
    }
    let mut reported: BTreeSet<String> = BTreeSet::new();
    for start in waiting {
        let Some(cycle) = cycle_from(start, views, reads) else { continue };
        if cycle.iter().any(|name| reported.contains(name)) {
            continue;
        }
        reported.extend(cycle.iter().cloned());
        let Some(view) = views.get(start) else { continue };
        let (message, help) = match cycle.as_slice() {
            [own] => (format!("the view {own} reads itself"), "read the source or the views that it is made from"),
            _ => (
                format!("views read each other in a circle: {} -> {start}", cycle.join(" -> ")),
                "let one of them read a source instead",
            ),
        };
        errors.push(Error { message, help: Some(help.to_owned()), at: view.name_at.clone() });
    }
    ordered
}

/// Returns the shortest path from a view back to itself.
fn cycle_from(
    start: &String,
    views: &BTreeMap<String, Declared>,
    reads: &BTreeMap<String, BTreeSet<String>>,
) -> Option<Vec<String>> {
    let mut seen: BTreeSet<&String> = BTreeSet::new();
    let mut paths: std::collections::VecDeque<Vec<&String>> = [vec![start]].into();
    while let Some(path) = paths.pop_front() {
        for next in path.last().and_then(|last| reads.get(*last)).into_iter().flatten() {
            if next == start {
                return Some(path.into_iter().cloned().collect());
            }
            if views.contains_key(next) && seen.insert(next) {
                let mut longer = path.clone();
                longer.push(next);
                paths.push_back(longer);
            }
        }
    }
    None
}

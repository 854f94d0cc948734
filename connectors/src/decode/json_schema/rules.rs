//! What rules say of each other: which values they leave, and whether one follows from another.

use std::cmp::Ordering;

use serde_json::Value as Json;

use super::columns::of_values;
use super::number::{compare, equal, is_multiple};
use super::schema::{Count, NodeId, Rule, Schema, Types};

/// All rules of a node that hold for the same value.
pub(super) fn flat<'s>(schema: &'s Schema, id: NodeId, found: &mut Vec<&'s Rule>) {
    for rule in &schema.node(id).rules {
        match rule {
            Rule::Reference(of) => flat(schema, *of, found),
            Rule::AllOf(all) => all.iter().for_each(|of| flat(schema, *of, found)),
            _ => found.push(rule),
        }
    }
}

/// The types of values that rules allow.
pub(super) fn types_of(rules: &[&Rule]) -> Types {
    let of = |types: Types, rule: &&Rule| match rule {
        Rule::Type(allowed) => types.and(*allowed),
        Rule::Enum(values) => types.and(of_values(values)),
        Rule::Const(value) => types.and(of_values(std::slice::from_ref(value))),
        _ => types,
    };
    rules.iter().fold(Types::ALL, of)
}

/// The values that rules allow, where they name them.
pub(super) fn values_of<'s>(rules: &[&'s Rule]) -> Option<&'s [Json]> {
    rules.iter().find_map(|rule| match rule {
        Rule::Enum(values) => Some(values.as_slice()),
        Rule::Const(value) => Some(std::slice::from_ref(value)),
        _ => None,
    })
}

/// Whether two lists of rules name values of which none is the same.
pub(super) fn values_apart(one: &[&Rule], other: &[&Rule]) -> bool {
    match (values_of(one), values_of(other)) {
        (Some(one), Some(other)) => !one.iter().any(|value| other.iter().any(|other| equal(value, other))),
        _ => false,
    }
}

/// The members that rules name.
pub(super) fn members<'s>(rules: &[&'s Rule]) -> impl Iterator<Item = (&'s str, NodeId)> {
    let named = rules.iter().filter_map(|rule| match rule {
        Rule::Properties { named, .. } => Some(named),
        _ => None,
    });
    named.flatten().map(|(name, node)| (name.as_str(), *node)).collect::<Vec<_>>().into_iter()
}

/// Whether a value is within a bound.
pub(super) fn holds(rule: &Rule, value: &Json) -> bool {
    if let (Rule::Pattern(pattern), Json::String(text)) = (rule, value) {
        return pattern.is_match(text);
    }
    if let (Rule::Length(count), Json::String(text)) = (rule, value) {
        let length = text.chars().count() as u64;
        return if count.is_least { length >= count.bound } else { length <= count.bound };
    }
    let Json::Number(number) = value else { return true };
    match rule {
        Rule::Minimum(bound, excluded) => {
            compare(number, bound) != Ordering::Less && !(*excluded && compare(number, bound).is_eq())
        }
        Rule::Maximum(bound, excluded) => {
            compare(number, bound) != Ordering::Greater && !(*excluded && compare(number, bound).is_eq())
        }
        Rule::MultipleOf(of) => is_multiple(number, of),
        _ => false,
    }
}

pub(super) fn is_alike(one: &Rule, other: &Rule) -> bool {
    match (one, other) {
        (Rule::Length(one), Rule::Length(other))
        | (Rule::Items(one), Rule::Items(other))
        | (Rule::Members(one), Rule::Members(other)) => one.is_least == other.is_least,
        _ => true,
    }
}

/// Whether one rule holds wherever another one does.
pub(super) fn follows(rule: &Rule, other: &Rule) -> bool {
    let tighter = |one: &Count, other: &Count| {
        one.is_least == other.is_least && if one.is_least { other.bound >= one.bound } else { other.bound <= one.bound }
    };
    match (rule, other) {
        (Rule::Minimum(bound, excluded), Rule::Minimum(other, other_excluded)) => match compare(other, bound) {
            Ordering::Greater => true,
            Ordering::Equal => *other_excluded || !*excluded,
            Ordering::Less => false,
        },
        (Rule::Maximum(bound, excluded), Rule::Maximum(other, other_excluded)) => match compare(other, bound) {
            Ordering::Less => true,
            Ordering::Equal => *other_excluded || !*excluded,
            Ordering::Greater => false,
        },
        (Rule::MultipleOf(of), Rule::MultipleOf(other)) => is_multiple(other, of),
        (Rule::MultipleOf(of), Rule::Type(types)) => *types == Types::INTEGER && is_multiple(&1.into(), of),
        (Rule::Length(one), Rule::Length(other))
        | (Rule::Items(one), Rule::Items(other))
        | (Rule::Members(one), Rule::Members(other)) => tighter(one, other),
        (Rule::Pattern(one), Rule::Pattern(other)) => one.as_str() == other.as_str(),
        (Rule::UniqueItems, Rule::UniqueItems) => true,
        _ => false,
    }
}

/// Returns a bound as messages name it.
pub(super) fn shown(rule: &Rule) -> String {
    let keyword = rule.keyword();
    match rule {
        Rule::Minimum(bound, _) | Rule::Maximum(bound, _) | Rule::MultipleOf(bound) => format!("{keyword} {bound}"),
        Rule::Length(count) | Rule::Items(count) | Rule::Members(count) => format!("{keyword} {}", count.bound),
        Rule::Pattern(pattern) => format!("{keyword} {}", pattern.as_str()),
        _ => keyword.to_owned(),
    }
}

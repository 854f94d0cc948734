//! Which bodies a schema allows that another one does not. Each rule of the one that reads has to follow from the rules of the one that wrote.
//! Where that cannot be told, it counts as a change. A member that only the reader names is allowed, as long as it may be missing: who wrote
//! the body did not know it.

use std::cmp::Ordering;
use std::collections::HashSet;

use serde_json::Value as Json;

use super::number::{compare, equal, is_multiple};
use super::schema::{Count, NodeId, Rule, Schema, Types};
use crate::decode::comparison::{Comparison, Unread};

/// Compares the schemas before and now. The first of the files is that of a body.
///
/// # Errors
/// One of them is not a JSON Schema.
pub(in crate::decode) fn compared(before: &[(String, String)], now: &[(String, String)]) -> Result<Comparison, String> {
    let of = |files: &[(String, String)]| Schema::of_texts(files.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    Ok(Comparison::of(&of(before)?, &of(now)?, |reader, writer| {
        let mut comparing = Comparing { reader, writer, compared: HashSet::new(), path: String::new(), unread: Vec::new() };
        comparing.nodes(reader.root, writer.root);
        comparing.unread
    }))
}

struct Comparing<'s> {
    reader: &'s Schema,
    writer: &'s Schema,
    /// Pairs that are compared already, since schemas refer to themselves.
    compared: HashSet<(NodeId, NodeId)>,
    path: String,
    unread: Vec<Unread>,
}

/// All rules of a node that hold for the same value.
fn flat<'s>(schema: &'s Schema, id: NodeId, found: &mut Vec<&'s Rule>) {
    for rule in &schema.node(id).rules {
        match rule {
            Rule::Reference(of) => flat(schema, *of, found),
            Rule::AllOf(all) => all.iter().for_each(|of| flat(schema, *of, found)),
            _ => found.push(rule),
        }
    }
}

impl<'s> Comparing<'s> {
    /// Says which of the values that node `written` allows node `read` does not.
    fn nodes(&mut self, read: NodeId, written: NodeId) {
        if !self.compared.insert((read, written)) {
            return;
        }
        let (mut reading, mut writing) = (Vec::new(), Vec::new());
        flat(self.reader, read, &mut reading);
        flat(self.writer, written, &mut writing);
        if writing.iter().any(|rule| matches!(rule, Rule::Never)) {
            return;
        }
        let types = types_of(&writing);
        for rule in reading {
            self.rule(rule, (written, &writing, types));
        }
    }

    /// Whether node `read` allows all that node `written` does.
    fn allows(&mut self, read: NodeId, written: NodeId) -> bool {
        let (before, compared) = (self.unread.len(), self.compared.clone());
        self.nodes(read, written);
        let allows = self.unread.len() == before;
        self.unread.truncate(before);
        if !allows {
            self.compared = compared;
        }
        allows
    }

    fn rule(&mut self, rule: &'s Rule, (written, writing, types): (NodeId, &[&'s Rule], Types)) {
        let values = values_of(writing);
        match rule {
            Rule::Never => self.say("nothing".into(), types.to_string()),
            Rule::Type(allowed) => {
                if types.and(*allowed) != types {
                    self.say(allowed.to_string(), types.to_string());
                }
            }
            Rule::Enum(allowed) => self.values(allowed, values),
            Rule::Const(allowed) => self.values(std::slice::from_ref(allowed), values),
            Rule::Minimum(..) | Rule::Maximum(..) | Rule::MultipleOf(_) => {
                let known = values.is_some_and(|values| values.iter().all(|value| holds(rule, value)));
                if types.has(Types::NUMBER.with(Types::INTEGER)) && !known && !writing.iter().any(|other| follows(rule, other)) {
                    self.bound(rule, writing);
                }
            }
            Rule::Length(_) | Rule::Pattern(_) if !types.has(Types::STRING) || values.is_some() => {}
            Rule::Items(_) | Rule::UniqueItems if !types.has(Types::ARRAY) => {}
            Rule::Members(_) if !types.has(Types::OBJECT) => {}
            Rule::Length(_) | Rule::Items(_) | Rule::Members(_) | Rule::Pattern(_) | Rule::UniqueItems => {
                if !writing.iter().any(|other| follows(rule, other)) {
                    self.bound(rule, writing);
                }
            }
            Rule::Required(names) if types.has(Types::OBJECT) => {
                let is_written =
                    |name: &String| writing.iter().any(|rule| matches!(rule, Rule::Required(written) if written.contains(name)));
                for name in names.iter().filter(|name| !is_written(name)) {
                    self.below(name, |comparing| comparing.say("required".into(), "not required".into()));
                }
            }
            Rule::Properties { .. } if types.has(Types::OBJECT) => self.properties(rule, writing),
            Rule::Elements { prefix, rest, .. } if types.has(Types::ARRAY) => {
                for (index, read) in prefix.iter().enumerate() {
                    self.element(*read, index, writing);
                }
                if let Some(read) = rest {
                    self.element(*read, usize::MAX, writing);
                }
            }
            Rule::AnyOf(branches) | Rule::OneOf(branches) => self.branches(branches, written, writing),
            Rule::Properties { .. } | Rule::Required(_) | Rule::Elements { .. } => {}
            _ => self.other(rule, writing),
        }
    }

    fn values(&mut self, allowed: &[Json], written: Option<&[Json]>) {
        let missing = |value: &&Json| !allowed.iter().any(|known| equal(known, value));
        match written {
            Some(values) => {
                for value in values.iter().filter(missing) {
                    self.say("no such value".into(), format!("value {value}"));
                }
            }
            None => self.say(format!("one of {} values", allowed.len()), "any value".into()),
        }
    }

    /// Says that a bound is new or tighter.
    fn bound(&mut self, rule: &Rule, writing: &[&Rule]) {
        let before =
            writing.iter().find(|other| std::mem::discriminant(**other) == std::mem::discriminant(rule) && is_alike(rule, other));
        self.say(shown(rule), before.map_or_else(|| format!("no {}", rule.keyword()), |before| shown(before)));
    }

    fn properties(&mut self, rule: &'s Rule, writing: &[&'s Rule]) {
        let Rule::Properties { named, by_name, patterns, rest } = rule else { return };
        let mut is_open = true;
        for other in writing {
            let Rule::Properties { named: written, by_name: written_names, rest: written_rest, .. } = other else { continue };
            for (name, read) in named {
                let of = written_names.get(name).or(written_rest.as_ref());
                if let Some(of) = of {
                    self.below(name, |comparing| comparing.nodes(*read, *of));
                }
            }
            is_open &= written_rest.is_none();
            if let Some(read) = rest {
                let unnamed = |name: &String| !by_name.contains_key(name) && !patterns.iter().any(|(one, _)| one.is_match(name));
                for (name, of) in written.iter().filter(|(name, _)| unnamed(name)) {
                    self.below(name, |comparing| comparing.nodes(*read, *of));
                }
                if let Some(of) = written_rest {
                    self.below("{}", |comparing| comparing.nodes(*read, *of));
                }
            }
        }
        let is_closed = rest.is_some_and(|rest| !self.reader.node(rest).rules.is_empty());
        if is_closed && is_open {
            self.say("other members are not free".into(), "any other member".into());
        }
        let same = |pattern: &str| {
            let of = |rule: &&&Rule| matches!(rule, Rule::Properties { patterns, .. } if patterns.iter().any(|(one, _)| one.as_str() == pattern));
            writing.iter().any(|rule| of(&rule))
        };
        for (pattern, _) in patterns.iter().filter(|(pattern, _)| !same(pattern.as_str())) {
            self.say(format!("a rule for members like {}", pattern.as_str()), "none".into());
        }
    }

    /// Compares the elements at `index`, or those behind all that have schemas of their own.
    fn element(&mut self, read: NodeId, index: usize, writing: &[&'s Rule]) {
        let of = writing.iter().find_map(|rule| match rule {
            Rule::Elements { prefix, rest, .. } => prefix.get(index).copied().or(*rest),
            _ => None,
        });
        match of {
            Some(of) => self.below("[]", |comparing| comparing.nodes(read, of)),
            None if self.reader.node(read).rules.is_empty() => {}
            None => self.below("[]", |comparing| comparing.say("of a schema".into(), "anything".into())),
        }
    }

    /// Each branch that was written has to be allowed by one that is read.
    fn branches(&mut self, branches: &[NodeId], written: NodeId, writing: &[&'s Rule]) {
        let alternatives = writing.iter().find_map(|rule| match rule {
            Rule::AnyOf(all) | Rule::OneOf(all) => Some(all.clone()),
            _ => None,
        });
        let alternatives = alternatives.unwrap_or_else(|| vec![written]);
        for (index, of) in alternatives.iter().enumerate() {
            if branches.iter().any(|read| self.allows(*read, *of)) {
                continue;
            }
            // The branch at the same place is the one that was meant.
            match branches.get(index).filter(|_| alternatives.len() > 1) {
                Some(read) => self.nodes(*read, *of),
                None => self.say(format!("none of {} schemas", branches.len()), self.writer.node(*of).place.clone()),
            }
        }
    }

    /// Rules that are compared only for being the same.
    fn other(&mut self, rule: &'s Rule, writing: &[&'s Rule]) {
        let text = |schema: &Schema, rule: &Rule| written_out(schema, rule, 0);
        let own = text(self.reader, rule);
        if !writing.iter().any(|other| text(self.writer, other) == own) {
            let was = writing.iter().any(|other| other.keyword() == rule.keyword());
            self.say(rule.keyword().to_owned(), if was { "another one".into() } else { format!("no {}", rule.keyword()) });
        }
    }

    fn below(&mut self, step: &str, compare: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if !self.path.is_empty() && !step.starts_with(['[', '{']) {
            self.path.push('.');
        }
        self.path.push_str(step);
        compare(self);
        self.path.truncate(length);
    }

    fn say(&mut self, reader: String, writer: String) {
        self.unread.push(Unread { member: self.path.clone(), reader, writer });
    }
}

/// The types of values that rules allow.
fn types_of(rules: &[&Rule]) -> Types {
    let of = |types: Types, rule: &&Rule| match rule {
        Rule::Type(allowed) => types.and(*allowed),
        Rule::Enum(values) => types.and(super::columns::of_values(values)),
        Rule::Const(value) => types.and(super::columns::of_values(std::slice::from_ref(value))),
        _ => types,
    };
    rules.iter().fold(Types::ALL, of)
}

/// The values that rules allow, where they name them.
fn values_of<'s>(rules: &[&'s Rule]) -> Option<&'s [Json]> {
    rules.iter().find_map(|rule| match rule {
        Rule::Enum(values) => Some(values.as_slice()),
        Rule::Const(value) => Some(std::slice::from_ref(value)),
        _ => None,
    })
}

/// Whether a value is within a bound.
fn holds(rule: &Rule, value: &Json) -> bool {
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

fn is_alike(one: &Rule, other: &Rule) -> bool {
    match (one, other) {
        (Rule::Length(one), Rule::Length(other))
        | (Rule::Items(one), Rule::Items(other))
        | (Rule::Members(one), Rule::Members(other)) => one.is_least == other.is_least,
        _ => true,
    }
}

/// Whether one rule holds wherever another one does.
fn follows(rule: &Rule, other: &Rule) -> bool {
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
fn shown(rule: &Rule) -> String {
    let keyword = rule.keyword();
    match rule {
        Rule::Minimum(bound, _) | Rule::Maximum(bound, _) | Rule::MultipleOf(bound) => format!("{keyword} {bound}"),
        Rule::Length(count) | Rule::Items(count) | Rule::Members(count) => format!("{keyword} {}", count.bound),
        Rule::Pattern(pattern) => format!("{keyword} {}", pattern.as_str()),
        _ => keyword.to_owned(),
    }
}

/// Returns a rule with the nodes that it leads to, to compare it.
fn written_out(schema: &Schema, rule: &Rule, depth: usize) -> String {
    let node = |id: &NodeId| match depth {
        8.. => schema.node(*id).place.clone(),
        _ => {
            let mut rules = Vec::new();
            flat(schema, *id, &mut rules);
            rules.iter().map(|rule| written_out(schema, rule, depth + 1)).collect::<Vec<_>>().join(",")
        }
    };
    let nodes = |ids: &[NodeId]| ids.iter().map(node).collect::<Vec<_>>().join("|");
    match rule {
        Rule::Properties { named, patterns, rest, .. } => {
            let named: Vec<String> = named.iter().map(|(name, of)| format!("{name}: {}", node(of))).collect();
            let patterns: Vec<String> = patterns.iter().map(|(one, of)| format!("{one}: {}", node(of))).collect();
            format!("{{{named:?}{patterns:?}{:?}}}", rest.as_ref().map(node))
        }
        Rule::Elements { prefix, rest, .. } => format!("[{}; {:?}]", nodes(prefix), rest.as_ref().map(node)),
        Rule::Contains { schema: of, least, most, .. } => format!("contains {least} {most:?} {}", node(of)),
        Rule::DependentSchemas(all) => all.iter().map(|(name, of)| format!("{name}: {}", node(of))).collect(),
        Rule::Reference(of) | Rule::Not(of) | Rule::Names(of) | Rule::UnevaluatedItems(of) | Rule::UnevaluatedProperties(of) => {
            format!("{} {}", rule.keyword(), node(of))
        }
        Rule::AllOf(all) | Rule::AnyOf(all) | Rule::OneOf(all) => format!("{} {}", rule.keyword(), nodes(all)),
        Rule::If { condition, then, otherwise } => {
            format!("if {} {:?} {:?}", node(condition), then.as_ref().map(node), otherwise.as_ref().map(node))
        }
        _ => format!("{rule:?}"),
    }
}

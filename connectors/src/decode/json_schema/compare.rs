//! Which bodies a schema allows that another one does not. Each rule of the one that reads has to follow from the rules of the one that wrote.
//! Where that cannot be told, it counts as a change. A member that only the reader names is allowed, as long as it may be missing: who wrote
//! the body did not know it.

use std::collections::{HashMap, HashSet};

use arrow::datatypes::{DataType, Field};
use regex::Regex;
use serde_json::Value as Json;

use super::number::equal;
use super::rules::{flat, follows, holds, is_alike, members, shown, types_of, values_apart, values_of};
use super::schema::{NodeId, Rule, Schema, Types};
use super::written::Written;
use crate::decode::comparison::{Break, Budget, Comparison, Step, Unread};
use crate::decode::sql_type::SqlType;

/// Compares the schemas before and now. The first of the files is that of a body.
///
/// # Errors
/// One of them is not a JSON Schema.
pub(in crate::decode) fn compared(before: &[(String, String)], now: &[(String, String)]) -> Result<Comparison, String> {
    let of = |files: &[(String, String)]| Schema::of_texts(files.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    let (before, now) = (of(before)?, of(now)?);
    let mut compared = Comparison::of(&before, &now, |reader, writer| {
        let mut comparing = Comparing::new(reader, writer);
        comparing.nodes(reader.root, writer.root);
        comparing.unread
    });
    compared.backward.extend(columns(&before, &now, &compared.backward));
    Ok(compared)
}

/// Columns whose type the schema gives otherwise now, so that values of before may not fit. `broken` is known already.
fn columns(before: &Schema, now: &Schema, broken: &[Break]) -> Vec<Break> {
    let (Ok(before), Ok(now)) = (before.columns(), now.columns()) else { return Vec::new() };
    let differ = |now: &Field| {
        let before = before.fields.iter().find(|before| before.name() == now.name())?;
        let (was, is) = (before.data_type(), now.data_type());
        let is_broken = broken.iter().any(|one| one.member.to_ascii_lowercase().starts_with(&now.name().to_ascii_lowercase()));
        let fits = widens(was, is) || is_broken;
        let named = |data_type: &DataType| format!("a column of type {}", SqlType(data_type));
        (!fits).then(|| Break { member: now.name().clone(), before: named(was), now: named(is) })
    };
    now.fields.iter().filter_map(differ).collect()
}

/// Whether a column of type `is` holds the values of one of type `was`.
fn widens(was: &DataType, is: &DataType) -> bool {
    match (was, is) {
        (_, DataType::Utf8) => true,
        (DataType::Int32, DataType::Int64) | (DataType::Int32 | DataType::Int64, DataType::Float64) => true,
        (DataType::List(was), DataType::List(is)) | (DataType::Map(was, _), DataType::Map(is, _)) => {
            widens(was.data_type(), is.data_type())
        }
        (DataType::Struct(was), DataType::Struct(is)) => is.iter().all(|is| {
            let was = was.iter().find(|was| was.name() == is.name());
            was.is_none_or(|was| widens(was.data_type(), is.data_type()))
        }),
        (was, is) => was == is,
    }
}

/// The named members of a reader, its patterns, and the schema of all others.
type Members<'a> = (Named<'a>, Patterns<'a>, Option<NodeId>);
type Named<'a> = &'a [(String, NodeId)];
type Patterns<'a> = &'a [(Regex, NodeId)];

struct Comparing<'s> {
    reader: &'s Schema,
    writer: &'s Schema,
    /// Pairs that are compared already, since schemas refer to themselves.
    compared: HashSet<(NodeId, NodeId)>,
    /// What is known of pairs of which only whether one allows the other was asked.
    allowed: HashMap<(NodeId, NodeId), bool>,
    path: String,
    unread: Vec<Unread>,
    budget: Budget,
}

/// The most pairs of nodes that are compared, and the most nodes that are written out for it.
const MOST_STEPS: usize = 20_000;
/// The most nodes within each other.
const MAX_DEPTH: usize = 200;

impl<'s> Comparing<'s> {
    fn new(reader: &'s Schema, writer: &'s Schema) -> Comparing<'s> {
        Comparing {
            reader,
            writer,
            compared: HashSet::new(),
            allowed: HashMap::new(),
            path: String::new(),
            unread: Vec::new(),
            budget: Budget::new(MOST_STEPS, MAX_DEPTH),
        }
    }

    /// Says which of the values that node `written` allows node `read` does not.
    fn nodes(&mut self, read: NodeId, written: NodeId) {
        if !self.compared.insert((read, written)) {
            return;
        }
        match self.budget.begin() {
            Step::Compare => self.new_nodes(read, written),
            Step::Say(what) => self.say(what.into(), what.into()),
            Step::Nothing => {}
        }
        self.budget.end();
    }

    fn new_nodes(&mut self, read: NodeId, written: NodeId) {
        let (mut reading, mut writing) = (Vec::new(), Vec::new());
        flat(self.reader, read, &mut reading);
        flat(self.writer, written, &mut writing);
        if writing.iter().any(|rule| matches!(rule, Rule::Never)) {
            return;
        }
        // What these look at is spread over the other rules, so all of them have to stay.
        let looks = |rule: &&Rule| matches!(rule, Rule::UnevaluatedProperties(_) | Rule::UnevaluatedItems(_));
        if let Some(rule) = reading.iter().chain(&writing).find(|rule| looks(rule)) {
            let (read, written) = (Written::of(self.reader, &reading), Written::of(self.writer, &writing));
            if read.is_none() || read != written {
                self.say(format!("{} with these rules", rule.keyword()), "other rules".into());
            }
            return;
        }
        let types = types_of(&writing);
        for rule in reading {
            self.rule(rule, (written, &writing, types));
        }
    }

    /// Whether node `read` allows all that node `written` does.
    fn allows(&mut self, read: NodeId, written: NodeId) -> bool {
        if let Some(known) = self.allowed.get(&(read, written)) {
            return *known;
        }
        let (before, compared) = (self.unread.len(), self.compared.clone());
        self.nodes(read, written);
        let allows = self.unread.len() == before;
        if !self.budget.is_told() {
            self.unread.truncate(before);
        }
        if !allows {
            self.compared = compared;
        }
        self.allowed.insert((read, written), allows);
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
            Rule::Length(_) | Rule::Pattern(_)
                if !types.has(Types::STRING) || values.is_some_and(|values| values.iter().all(|value| holds(rule, value))) => {}
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
                    let written =
                        writing.iter().map(|rule| if let Rule::Elements { prefix, .. } = rule { prefix.len() } else { 0 });
                    let last = written.max().unwrap_or(0);
                    (prefix.len()..last).for_each(|index| self.element(*read, index, writing));
                    self.element(*read, usize::MAX, writing);
                }
            }
            Rule::OneOf(branches) if !self.are_apart(branches) => self.other(rule, writing),
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
            let Rule::Properties { named: written, by_name: written_names, rest: written_rest, patterns: written_patterns } =
                other
            else {
                continue;
            };
            self.patterns((named, patterns, *rest), (written, written_patterns));
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

    /// Compares the schemas of patterns with each other, and with those of names that they match.
    fn patterns(&mut self, (named, patterns, rest): Members<'_>, (written, written_patterns): (Named<'_>, Patterns<'_>)) {
        for (pattern, of) in written_patterns {
            let same = patterns.iter().find(|(one, _)| one.as_str() == pattern.as_str());
            let step = format!("{{{}}}", pattern.as_str());
            match (same, rest) {
                (Some((_, read)), _) => self.below(&step, |comparing| comparing.nodes(*read, *of)),
                (None, Some(read)) => self.below(&step, |comparing| comparing.nodes(read, *of)),
                (None, None) => {}
            }
            for (name, read) in named.iter().filter(|(name, _)| pattern.is_match(name)) {
                self.below(name, |comparing| comparing.nodes(*read, *of));
            }
        }
        for (pattern, read) in patterns {
            for (name, of) in written.iter().filter(|(name, _)| pattern.is_match(name)) {
                self.below(name, |comparing| comparing.nodes(*read, *of));
            }
        }
    }

    /// Whether no value can be allowed by two of the branches: their types differ, or a member has other values.
    fn are_apart(&self, branches: &[NodeId]) -> bool {
        let apart = |one: NodeId, other: NodeId| {
            let (mut first, mut second) = (Vec::new(), Vec::new());
            flat(self.reader, one, &mut first);
            flat(self.reader, other, &mut second);
            if types_of(&first).and(types_of(&second)) == Types(0) || values_apart(&first, &second) {
                return true;
            }
            members(&first).any(|(name, node)| {
                let (mut of_first, mut of_second) = (Vec::new(), Vec::new());
                let Some((_, other)) = members(&second).find(|(other, _)| *other == name) else { return false };
                flat(self.reader, node, &mut of_first);
                flat(self.reader, other, &mut of_second);
                values_apart(&of_first, &of_second)
            })
        };
        branches.iter().enumerate().all(|(index, one)| branches[index + 1..].iter().all(|other| apart(*one, *other)))
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
        let own = Written::of(self.reader, &[rule]);
        if own.is_none() || !writing.iter().any(|other| Written::of(self.writer, &[other]) == own) {
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

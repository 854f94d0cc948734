//! Checks a value. What fails names the value by its JSON pointer, and the rule by its place in the schema. Nothing is written down for a
//! value that conforms.
//!
//! Alternatives within alternatives ask the same of the same value again and again. From some number of steps on, answers are remembered, so that
//! the work is bounded by the schema times the body. Where that does not help, the number of steps is bounded.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value as Json};

use super::number::{canonical, compare, equal, is_integer, is_multiple};
use super::schema::{Count, NodeId, Rule, Schema, Types};
use super::violation::{Violation, excerpt, none_of};

/// The most nodes within each other, over all levels of a value.
const MAX_DEPTH: usize = 600;
/// From so many steps on, answers are remembered.
const REMEMBERS_FROM: u32 = 10_000;
/// The most steps.
const MOST_STEPS: u32 = 5_000_000;
/// The most values that a message names.
const MOST_NAMED: usize = 8;

/// What rules have looked at in a value. Kept only where a schema asks for it.
#[derive(Debug, Default)]
struct Seen<'v> {
    is_kept: bool,
    names: HashSet<&'v str>,
    /// So many elements from the first on.
    first: usize,
    elements: HashSet<usize>,
}

impl<'v> Seen<'v> {
    fn add(&mut self, other: Seen<'v>) {
        if self.is_kept {
            self.names.extend(other.names);
            self.first = self.first.max(other.first);
            self.elements.extend(other.elements);
        }
    }
}

type Checked<T> = Result<T, Box<Violation>>;

impl Schema {
    /// Checks a body.
    ///
    /// # Errors
    /// Returns the first rule that it fails.
    pub(super) fn check(&self, body: &Json) -> Checked<()> {
        let check = Check::new(self);
        let checked = check.node(self.root, body, false, 0).map(|_| ());
        // Below a `not`, a limit would count as a value that conforms.
        check.given_up.take().map_or(checked, Err)
    }
}

struct Check<'s> {
    schema: &'s Schema,
    steps: Cell<u32>,
    /// By node and the address of the value.
    known: RefCell<HashMap<(NodeId, usize), Checked<()>>>,
    /// The limit that was met.
    given_up: Cell<Option<Box<Violation>>>,
}

impl<'s> Check<'s> {
    fn new(schema: &'s Schema) -> Check<'s> {
        Check { schema, steps: Cell::new(0), known: RefCell::default(), given_up: Cell::default() }
    }

    fn holds(&self, id: NodeId, value: &Json, depth: usize) -> bool {
        self.node(id, value, false, depth).is_ok()
    }

    /// Checks a value. `is_kept`: whether a schema around asks what is looked at.
    fn node<'v>(&self, id: NodeId, value: &'v Json, is_kept: bool, depth: usize) -> Checked<Seen<'v>> {
        let steps = self.steps.get() + 1;
        self.steps.set(steps);
        if steps < REMEMBERS_FROM || is_kept {
            return self.rules(id, value, is_kept, depth);
        }
        let key = (id, std::ptr::from_ref(value).addr());
        if let Some(known) = self.known.borrow().get(&key) {
            return known.clone().map(|()| Seen::default());
        }
        let checked = self.rules(id, value, is_kept, depth).map(|_| ());
        self.known.borrow_mut().insert(key, checked.clone());
        checked.map(|()| Seen::default())
    }

    fn rules<'v>(&self, id: NodeId, value: &'v Json, is_kept: bool, depth: usize) -> Checked<Seen<'v>> {
        let node = self.schema.node(id);
        let mut seen = Seen { is_kept: is_kept || node.looks_at_rest, ..Seen::default() };
        if depth > MAX_DEPTH || self.steps.get() > MOST_STEPS {
            let message =
                if depth > MAX_DEPTH { "it is nested too deep for the schema" } else { "it takes too many steps to check" };
            let violation = Box::new(Violation { path: Vec::new(), message: message.into() });
            self.given_up.set(Some(violation.clone()));
            return Err(violation);
        }
        for rule in &node.rules {
            self.rule(rule, value, &mut seen, depth + 1).map_err(|failed| match failed {
                Failed::Here(what) => {
                    let slash = if rule.keyword().is_empty() { "" } else { "/" };
                    let message = format!("{what} ({}{slash}{})", node.place, rule.keyword());
                    Box::new(Violation { path: Vec::new(), message })
                }
                Failed::Within(violation) => violation,
            })?;
        }
        Ok(seen)
    }

    fn rule<'v>(&self, rule: &Rule, value: &'v Json, seen: &mut Seen<'v>, depth: usize) -> Result<(), Failed> {
        match (rule, value) {
            (Rule::Never, _) => here("nothing may stand here"),
            (Rule::Type(types), _) => of_type(*types, value),
            (Rule::Enum(values), _) if !values.iter().any(|one| equal(one, value)) => {
                let more =
                    if values.len() > MOST_NAMED { format!(" and {} more", values.len() - MOST_NAMED) } else { String::new() };
                let values: Vec<String> = values.iter().take(MOST_NAMED).map(excerpt).collect();
                here(format!("{} is none of {}{more}", excerpt(value), values.join(", ")))
            }
            (Rule::Const(one), _) if !equal(one, value) => here(format!("{} is not {}", excerpt(value), excerpt(one))),
            (Rule::Minimum(..) | Rule::Maximum(..) | Rule::MultipleOf(_), Json::Number(_)) => of_number(rule, value),
            (Rule::Length(count), Json::String(text)) => of_count(*count, text.chars().count(), "letters"),
            (Rule::Pattern(pattern), Json::String(text)) if !pattern.is_match(text) => {
                here(format!("{} does not match {}", excerpt(value), pattern.as_str()))
            }
            (Rule::Items(count), Json::Array(elements)) => of_count(*count, elements.len(), "elements"),
            (Rule::UniqueItems, Json::Array(elements)) => unique(elements),
            (Rule::Elements { .. } | Rule::Contains { .. } | Rule::UnevaluatedItems(_), Json::Array(elements)) => {
                self.elements(rule, elements, seen, depth)
            }
            (_, Json::Object(members)) if is_of_objects(rule) => self.object(rule, value, members, seen, depth),
            _ => self.beside(rule, value, seen, depth),
        }
    }

    fn elements<'v>(&self, rule: &Rule, elements: &'v [Json], seen: &mut Seen<'v>, depth: usize) -> Result<(), Failed> {
        let check = |id: NodeId, index: usize| {
            self.node(id, &elements[index], false, depth).map(|_| ()).map_err(|violation| Failed::Within(violation.below(index)))
        };
        match rule {
            Rule::Elements { prefix, rest, .. } => {
                for (index, id) in prefix.iter().enumerate().take(elements.len()) {
                    check(*id, index)?;
                }
                seen.first = seen.first.max(prefix.len());
                if let Some(id) = rest {
                    (prefix.len()..elements.len()).try_for_each(|index| check(*id, index))?;
                    seen.first = usize::MAX;
                }
            }
            Rule::Contains { schema, least, most, looks } => {
                let found: Vec<usize> =
                    (0..elements.len()).filter(|index| self.holds(*schema, &elements[*index], depth)).collect();
                let count = found.len() as u64;
                if count < *least || most.is_some_and(|most| count > most) {
                    return here(format!("{count} elements are what it has to contain"));
                }
                if seen.is_kept && *looks {
                    seen.elements.extend(found);
                }
            }
            Rule::UnevaluatedItems(id) => {
                let rest = (seen.first.min(elements.len())..elements.len()).filter(|index| !seen.elements.contains(index));
                for index in rest {
                    check(*id, index)?;
                }
                seen.first = usize::MAX;
            }
            _ => {}
        }
        Ok(())
    }

    fn object<'v>(
        &self,
        rule: &Rule,
        value: &'v Json,
        members: &'v Map<String, Json>,
        seen: &mut Seen<'v>,
        depth: usize,
    ) -> Result<(), Failed> {
        let check = |id: NodeId, name: &str, value: &Json| {
            self.node(id, value, false, depth).map(|_| ()).map_err(|violation| Failed::Within(violation.below(name)))
        };
        let missing = |names: &[String]| names.iter().find(|name| !members.contains_key(*name)).cloned();
        match rule {
            Rule::Members(count) => of_count(*count, members.len(), "members")?,
            Rule::Required(names) => {
                if let Some(name) = missing(names) {
                    return here(format!("it has no member {name}"));
                }
            }
            Rule::Properties { by_name, patterns, rest, .. } => {
                for (name, value) in members {
                    let own = by_name.get(name);
                    let matching = patterns.iter().filter(|(pattern, _)| pattern.is_match(name)).map(|(_, id)| id);
                    let mut applied = false;
                    for id in own.into_iter().chain(matching) {
                        check(*id, name, value)?;
                        applied = true;
                    }
                    if let (false, Some(id)) = (applied, rest) {
                        check(*id, name, value)?;
                        applied = true;
                    }
                    if applied && seen.is_kept {
                        seen.names.insert(name);
                    }
                }
            }
            Rule::Names(id) => {
                for name in members.keys() {
                    // Not a part of the body, so nothing is remembered of it.
                    let own = Check::new(self.schema).node(*id, &Json::String(name.clone()), false, depth).map(|_| ());
                    own.map_err(|violation| Failed::Within(violation.below(name)))?;
                }
            }
            Rule::DependentRequired(all) => {
                for (name, required) in all.iter().filter(|(name, _)| members.contains_key(name)) {
                    if let Some(missing) = missing(required) {
                        return here(format!("it has a member {name} and no member {missing}"));
                    }
                }
            }
            Rule::DependentSchemas(all) => {
                for (_, id) in all.iter().filter(|(name, _)| members.contains_key(name)) {
                    seen.add(self.node(*id, value, seen.is_kept, depth)?);
                }
            }
            Rule::UnevaluatedProperties(id) => {
                for (name, value) in members.iter().filter(|(name, _)| !seen.names.contains(name.as_str())) {
                    check(*id, name, value)?;
                }
                seen.names.extend(members.keys().map(String::as_str));
            }
            _ => {}
        }
        Ok(())
    }

    /// Checks the rules whose schemas apply to the value itself.
    fn beside<'v>(&self, rule: &Rule, value: &'v Json, seen: &mut Seen<'v>, depth: usize) -> Result<(), Failed> {
        let is_kept = seen.is_kept;
        match rule {
            Rule::Reference(id) => seen.add(self.node(*id, value, is_kept, depth)?),
            Rule::AllOf(all) => {
                for id in all {
                    seen.add(self.node(*id, value, is_kept, depth)?);
                }
            }
            Rule::AnyOf(all) => {
                let mut failed = Vec::new();
                let mut found = false;
                for id in all {
                    match self.node(*id, value, is_kept, depth) {
                        Ok(other) => {
                            seen.add(other);
                            found = true;
                            if !is_kept {
                                return Ok(());
                            }
                        }
                        Err(violation) => failed.push(violation),
                    }
                }
                if !found {
                    return here(none_of(&failed));
                }
            }
            Rule::OneOf(all) => {
                let mut failed = Vec::new();
                let mut held: Vec<NodeId> = Vec::new();
                for id in all {
                    match self.node(*id, value, is_kept, depth) {
                        Ok(other) => {
                            seen.add(other);
                            held.push(*id);
                        }
                        Err(violation) => failed.push(violation),
                    }
                }
                match held.as_slice() {
                    [] => return here(none_of(&failed)),
                    [_] => {}
                    [one, other, ..] => {
                        let place = |id: &NodeId| self.schema.node(*id).place.as_str();
                        return here(format!("both {} and {} allow it", place(one), place(other)));
                    }
                }
            }
            Rule::Not(id) if self.holds(*id, value, depth) => return here("it is what may not stand here"),
            Rule::If { condition, then, otherwise } => {
                let next = match self.node(*condition, value, is_kept, depth) {
                    Ok(other) => {
                        seen.add(other);
                        then
                    }
                    Err(_) => otherwise,
                };
                if let Some(id) = next {
                    seen.add(self.node(*id, value, is_kept, depth)?);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Why a rule fails.
enum Failed {
    /// The value itself fails it.
    Here(String),
    /// A rule of another node fails.
    Within(Box<Violation>),
}

impl From<Box<Violation>> for Failed {
    fn from(violation: Box<Violation>) -> Failed {
        Failed::Within(violation)
    }
}

#[cold]
fn here<T>(what: impl Into<String>) -> Result<T, Failed> {
    Err(Failed::Here(what.into()))
}

fn is_of_objects(rule: &Rule) -> bool {
    matches!(
        rule,
        Rule::Members(_)
            | Rule::Required(_)
            | Rule::Properties { .. }
            | Rule::Names(_)
            | Rule::DependentRequired(_)
            | Rule::DependentSchemas(_)
            | Rule::UnevaluatedProperties(_)
    )
}

fn of_type(types: Types, value: &Json) -> Result<(), Failed> {
    let of = match value {
        Json::Null => Types::NULL,
        Json::Bool(_) => Types::BOOLEAN,
        Json::Object(_) => Types::OBJECT,
        Json::Array(_) => Types::ARRAY,
        Json::String(_) => Types::STRING,
        Json::Number(number) if is_integer(number) => Types::INTEGER.with(Types::NUMBER),
        Json::Number(_) => Types::NUMBER,
    };
    if types.has(of) { Ok(()) } else { here(format!("{} is not of type {types}", excerpt(value))) }
}

fn of_number(rule: &Rule, value: &Json) -> Result<(), Failed> {
    let Json::Number(number) = value else { return Ok(()) };
    let wrong = |what: &str, bound: &dyn std::fmt::Display| here(format!("{number} is {what} {bound}"));
    match rule {
        Rule::Minimum(bound, excluded) => match compare(number, bound) {
            Ordering::Less => wrong("less than", bound),
            Ordering::Equal if *excluded => wrong("not more than", bound),
            _ => Ok(()),
        },
        Rule::Maximum(bound, excluded) => match compare(number, bound) {
            Ordering::Greater => wrong("more than", bound),
            Ordering::Equal if *excluded => wrong("not less than", bound),
            _ => Ok(()),
        },
        Rule::MultipleOf(of) if !is_multiple(number, of) => wrong("no multiple of", of),
        _ => Ok(()),
    }
}

fn of_count(Count { bound, is_least, .. }: Count, found: usize, what: &str) -> Result<(), Failed> {
    let found = found as u64;
    match is_least {
        true if found < bound => here(format!("it has {found} {what}, at least {bound} are needed")),
        false if found > bound => here(format!("it has {found} {what}, at most {bound} are allowed")),
        _ => Ok(()),
    }
}

fn unique(elements: &[Json]) -> Result<(), Failed> {
    let mut texts = HashSet::with_capacity(elements.len());
    for (index, element) in elements.iter().enumerate() {
        let mut text = String::new();
        // Elements whose digits are not known are not held against each other.
        if canonical(element, &mut text) && !texts.insert(text) {
            return here(format!("element {index} is there twice: {}", excerpt(element)));
        }
    }
    Ok(())
}

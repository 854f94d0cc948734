//! Writes rules out with the schemas that they lead to, so that rules of two schemas can be compared for being the same. A schema within itself
//! is written as how far outside it stands.

use super::rules::flat;
use super::schema::{NodeId, Rule, Schema};

/// The most schemas that are written.
const MOST: usize = 10_000;
/// The most schemas within each other.
const MAX_DEPTH: usize = 100;

/// Writes rules of one schema.
pub(super) struct Written<'s> {
    schema: &'s Schema,
    around: Vec<NodeId>,
    count: usize,
}

impl<'s> Written<'s> {
    /// Returns the texts of rules; none where they are too large.
    pub(super) fn of(schema: &'s Schema, rules: &[&Rule]) -> Option<Vec<String>> {
        let mut written = Written { schema, around: Vec::new(), count: 0 };
        let mut texts: Vec<String> = rules.iter().map(|rule| written.rule(rule)).collect();
        texts.sort();
        (written.count <= MOST).then_some(texts)
    }

    fn node(&mut self, id: NodeId) -> String {
        if let Some(outside) = self.around.iter().rev().position(|around| *around == id) {
            return format!("^{outside}");
        }
        self.count += 1;
        if self.around.len() > MAX_DEPTH {
            self.count = MOST + 1;
        }
        if self.count > MOST {
            return String::new();
        }
        self.around.push(id);
        let mut rules = Vec::new();
        flat(self.schema, id, &mut rules);
        let text = rules.iter().map(|rule| self.rule(rule)).collect::<Vec<_>>().join(",");
        self.around.pop();
        text
    }

    fn nodes(&mut self, ids: &[NodeId]) -> String {
        ids.iter().map(|id| self.node(*id)).collect::<Vec<_>>().join("|")
    }

    fn maybe(&mut self, id: Option<NodeId>) -> String {
        id.map_or_else(|| "none".to_owned(), |id| format!("({})", self.node(id)))
    }

    fn rule(&mut self, rule: &Rule) -> String {
        let keyword = rule.keyword();
        match rule {
            Rule::Properties { named, patterns, rest, .. } => {
                let mut named: Vec<String> = named.iter().map(|(name, of)| format!("{name:?}: ({})", self.node(*of))).collect();
                named.sort();
                let patterns: Vec<String> = patterns.iter().map(|(one, of)| format!("{one}: ({})", self.node(*of))).collect();
                format!("{{{named:?}{patterns:?}{}}}", self.maybe(*rest))
            }
            Rule::Elements { prefix, rest, .. } => format!("[{}; {}]", self.nodes(prefix), self.maybe(*rest)),
            Rule::Contains { schema, least, most, .. } => format!("contains {least} {most:?} ({})", self.node(*schema)),
            Rule::DependentSchemas(all) => all.iter().map(|(name, of)| format!("{name:?}: ({})", self.node(*of))).collect(),
            Rule::Reference(of)
            | Rule::Not(of)
            | Rule::Names(of)
            | Rule::UnevaluatedItems(of)
            | Rule::UnevaluatedProperties(of) => {
                format!("{keyword} ({})", self.node(*of))
            }
            Rule::AllOf(all) | Rule::AnyOf(all) | Rule::OneOf(all) => format!("{keyword} ({})", self.nodes(all)),
            Rule::If { condition, then, otherwise } => {
                format!("if ({}) {} {}", self.node(*condition), self.maybe(*then), self.maybe(*otherwise))
            }
            _ => format!("{rule:?}"),
        }
    }
}

//! A schema as nodes with rules. Nodes refer to each other by their index, since schemas refer to themselves.

use std::collections::HashMap;

use regex::Regex;
use serde_json::{Number, Value as Json};

/// The index of a node.
pub(super) type NodeId = usize;

/// A schema.
#[derive(Debug)]
pub(in crate::decode) struct Schema {
    pub(super) nodes: Vec<Node>,
    /// The schema of a body.
    pub(super) root: NodeId,
}

/// A part of a schema that applies to a value.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Where it stands, as messages name it: `#/properties/total`.
    pub(super) place: String,
    /// All hold.
    pub(super) rules: Vec<Rule>,
    /// Whether one of its rules asks what the others have looked at.
    pub(super) looks_at_rest: bool,
    /// What `format` says. No rule, but columns follow it.
    pub(super) format: Option<String>,
    /// Whether `contentEncoding` says that text is base64. No rule, but columns follow it.
    pub(super) is_base64: bool,
}

/// One keyword, or those that belong together.
#[derive(Debug)]
pub(super) enum Rule {
    /// The schema `false`.
    Never,
    Reference(NodeId),
    Type(Types),
    Enum(Vec<Json>),
    Const(Json),
    /// The bound, and whether the bound itself is left out.
    Minimum(Number, bool),
    Maximum(Number, bool),
    MultipleOf(Number),
    /// Of code points.
    Length(Count),
    Items(Count),
    Members(Count),
    Pattern(Regex),
    UniqueItems,
    Elements {
        prefix: Vec<NodeId>,
        rest: Option<NodeId>,
        /// The keyword of `rest`.
        keyword: &'static str,
    },
    Contains {
        schema: NodeId,
        least: u64,
        most: Option<u64>,
        /// Whether what it finds counts as looked at.
        looks: bool,
    },
    Properties {
        /// In the order of the text.
        named: Vec<(String, NodeId)>,
        by_name: HashMap<String, NodeId>,
        patterns: Vec<(Regex, NodeId)>,
        rest: Option<NodeId>,
    },
    Required(Vec<String>),
    Names(NodeId),
    DependentRequired(Vec<(String, Vec<String>)>),
    DependentSchemas(Vec<(String, NodeId)>),
    AllOf(Vec<NodeId>),
    AnyOf(Vec<NodeId>),
    OneOf(Vec<NodeId>),
    Not(NodeId),
    If {
        condition: NodeId,
        then: Option<NodeId>,
        otherwise: Option<NodeId>,
    },
    UnevaluatedItems(NodeId),
    UnevaluatedProperties(NodeId),
}

/// How many there may be: a bound, and whether it is the least.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count {
    pub(super) bound: u64,
    pub(super) is_least: bool,
    pub(super) keyword: &'static str,
}

/// A set of types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Types(pub(super) u8);

impl Types {
    /// The types in the order of their bits.
    const NAMES: [&'static str; 7] = ["null", "boolean", "object", "array", "number", "string", "integer"];
    pub(super) const NULL: Types = Types(1);
    pub(super) const BOOLEAN: Types = Types(1 << 1);
    pub(super) const OBJECT: Types = Types(1 << 2);
    pub(super) const ARRAY: Types = Types(1 << 3);
    pub(super) const NUMBER: Types = Types(1 << 4);
    pub(super) const STRING: Types = Types(1 << 5);
    pub(super) const INTEGER: Types = Types(1 << 6);
    pub(super) const ALL: Types = Types(0x3f);

    /// Returns the type of a name.
    pub(super) fn of_name(name: &str) -> Option<Types> {
        Types::NAMES.iter().position(|known| *known == name).map(|bit| Types(1 << bit))
    }

    pub(super) fn has(self, other: Types) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn with(self, other: Types) -> Types {
        Types(self.0 | other.0)
    }

    pub(super) fn without(self, other: Types) -> Types {
        Types(self.0 & !other.0)
    }

    /// Returns the types that are in both; an integer is a number.
    pub(super) fn and(self, other: Types) -> Types {
        let full = |types: Types| if types.has(Types::NUMBER) { types.with(Types::INTEGER) } else { types };
        let both = Types(full(self).0 & full(other).0);
        if both.has(Types::NUMBER) { both.without(Types::INTEGER) } else { both }
    }
}

/// `string or null`.
impl std::fmt::Display for Types {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = Types::NAMES.iter().enumerate().filter(|(bit, _)| self.0 & (1 << bit) != 0).map(|(_, name)| *name);
        f.write_str(&names.collect::<Vec<_>>().join(" or "))
    }
}

impl Schema {
    /// Returns a node.
    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }
}

impl Rule {
    /// Returns the keyword that a message names.
    pub(super) fn keyword(&self) -> &'static str {
        match self {
            Rule::Never => "",
            Rule::Reference(_) => "$ref",
            Rule::Type(_) => "type",
            Rule::Enum(_) => "enum",
            Rule::Const(_) => "const",
            Rule::Minimum(_, false) => "minimum",
            Rule::Minimum(_, true) => "exclusiveMinimum",
            Rule::Maximum(_, false) => "maximum",
            Rule::Maximum(_, true) => "exclusiveMaximum",
            Rule::MultipleOf(_) => "multipleOf",
            Rule::Length(count) | Rule::Items(count) | Rule::Members(count) => count.keyword,
            Rule::Pattern(_) => "pattern",
            Rule::UniqueItems => "uniqueItems",
            Rule::Elements { keyword, .. } => keyword,
            Rule::Contains { .. } => "contains",
            Rule::Properties { .. } => "properties",
            Rule::Required(_) => "required",
            Rule::Names(_) => "propertyNames",
            Rule::DependentRequired(_) => "dependentRequired",
            Rule::DependentSchemas(_) => "dependentSchemas",
            Rule::AllOf(_) => "allOf",
            Rule::AnyOf(_) => "anyOf",
            Rule::OneOf(_) => "oneOf",
            Rule::Not(_) => "not",
            Rule::If { .. } => "if",
            Rule::UnevaluatedItems(_) => "unevaluatedItems",
            Rule::UnevaluatedProperties(_) => "unevaluatedProperties",
        }
    }

    /// Returns the nodes that apply to the same value.
    pub(super) fn beside(&self) -> Vec<NodeId> {
        match self {
            Rule::Reference(of) | Rule::Not(of) => vec![*of],
            Rule::AllOf(all) | Rule::AnyOf(all) | Rule::OneOf(all) => all.clone(),
            Rule::If { condition, then, otherwise } => [Some(*condition), *then, *otherwise].into_iter().flatten().collect(),
            Rule::DependentSchemas(all) => all.iter().map(|(_, of)| *of).collect(),
            _ => Vec::new(),
        }
    }
}

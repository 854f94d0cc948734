//! The nodes of an incremental plan. Facts only: [`crate::describe`] puts them into words.

use arrow::datatypes::SchemaRef;

use super::class::Class;
use super::expiry::Expiry;
use super::operation::Op;
use super::reason::Reason;

/// One node of an incremental plan.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its number in the tree, from the root (0) depth first. Its state is stored under this number.
    pub id: usize,
    /// Why it is not in a cheaper class, where a user might expect one. Each reason once.
    pub reasons: Vec<Reason>,
    /// What it does.
    pub op: Op,
    /// Schema of its rows.
    pub schema: SchemaRef,
    /// Whether it can retract rows that it has emitted. If not, its deltas have no negative weights.
    pub retracts: bool,
    /// Output columns that together identify a row at any time, if known. Empty for a relation of at most one row.
    pub key: Option<Vec<usize>>,
    /// The nodes that it reads.
    pub inputs: Vec<Node>,
    /// What it evicts as the watermark advances; at most one entry for each input.
    pub expiries: Vec<Expiry>,
}

impl Node {
    /// Returns its class.
    #[must_use]
    pub fn class(&self) -> Class {
        self.op.kind().class()
    }

    /// Checks whether its rows depend on no event. They are then computed once.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.inputs.is_empty() && matches!(self.op, Op::Full { .. })
    }

    /// Returns the class of the most expensive operator in the tree under this node, itself included. Constant rows count as
    /// linear.
    #[must_use]
    pub fn most_expensive_class(&self) -> Class {
        let own = if self.is_constant() { Class::Linear } else { self.class() };
        self.inputs.iter().map(Node::most_expensive_class).fold(own, Class::max)
    }

    /// Checks whether rows of an input are evicted as the watermark advances.
    #[must_use]
    pub fn expires(&self, input: usize) -> bool {
        self.expiries.iter().any(|expiry| expiry.input == input)
    }
}

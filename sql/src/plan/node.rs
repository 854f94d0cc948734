//! The nodes of an incremental plan. Facts only: the words for them are in [`crate::describe`].

use arrow::datatypes::SchemaRef;

use super::class::Class;
use super::expiry::Expiry;
use super::operation::Op;
use super::reason::Reason;

/// One node of an incremental plan.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its number in the tree, root 0, depth first: names its state.
    pub id: usize,
    /// Why it is not in a cheaper class, where a user might expect one; each once.
    pub reasons: Vec<Reason>,
    /// What it does.
    pub op: Op,
    /// Schema of its rows.
    pub schema: SchemaRef,
    /// Whether rows that it gave can be taken back. If not, its deltas have no negative weights.
    pub retracts: bool,
    /// Output columns that together identify a row at any time, where known; empty for a relation of at most one row.
    pub key: Option<Vec<usize>>,
    /// What it reads.
    pub inputs: Vec<Node>,
    /// What it evicts as the watermark goes on; at most one for each input.
    pub expiries: Vec<Expiry>,
}

impl Node {
    /// Its class.
    #[must_use]
    pub fn class(&self) -> Class {
        self.op.kind().class()
    }

    /// Whether its rows depend on no event: they are computed once.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.inputs.is_empty() && matches!(self.op, Op::Full { .. })
    }

    /// The class of the most expensive operator of the tree below and including this node; constant rows count as linear.
    #[must_use]
    pub fn most_expensive_class(&self) -> Class {
        let own = if self.is_constant() { Class::Linear } else { self.class() };
        self.inputs.iter().map(Node::most_expensive_class).fold(own, Class::max)
    }

    /// Whether rows of an input are evicted as the watermark goes on.
    #[must_use]
    pub fn expires(&self, input: usize) -> bool {
        self.expiries.iter().any(|expiry| expiry.input == input)
    }
}

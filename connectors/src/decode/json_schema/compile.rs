//! Makes a schema of documents: a node for each part that the root leads to.

use serde_json::Value as Json;

use super::documents::{Documents, Spot, own_base};
use super::keywords::Reading;
use super::pending::Pending;
use super::schema::{Node, NodeId, Rule, Schema};
use crate::decode::schema_registry::{Registered, SchemaText};

/// The most schemas that apply to one value, one within the other.
const MAX_DEPTH: usize = 64;
/// The most schemas that apply to one value, counted as often as they are referred to.
const MOST_BESIDE: usize = 100_000;

impl Schema {
    /// Reads a schema. The first text is that of a body; it can refer to the others by their names or identifiers.
    ///
    /// # Errors
    /// Says what is wrong, and where.
    pub(in crate::decode) fn of_texts<'t>(texts: impl DoubleEndedIterator<Item = (&'t str, &'t str)>) -> Result<Schema, String> {
        compile(&Documents::read(texts.rev())?)
    }
}

impl Registered for Schema {
    const KIND: &'static str = "JSON";
    const NAME: &'static str = "JSON Schema";
    const FAULT: &'static str = "not_json";

    fn parse(texts: &[SchemaText]) -> Result<Schema, String> {
        let texts = texts.iter().map(|one| (one.name.as_str(), one.text.as_str()));
        compile(&Documents::read(texts)?)
    }
}

/// Makes the schema of documents.
///
/// # Errors
/// Says what is wrong, and where.
fn compile(documents: &Documents) -> Result<Schema, String> {
    let mut pending = Pending::new(documents);
    let mut nodes = Vec::new();
    let root = pending.id_of(documents.root()?);
    while let Some((id, spot)) = pending.next() {
        let place = documents.place(&spot);
        // Some reasons begin with the place of a keyword.
        let document = |text: &str| text.split_once('#').map(|(name, _)| name.to_owned());
        let read = node(&mut pending, spot).map_err(|reason| match document(&reason) == document(&place) {
            true => reason,
            false => format!("{place}: {reason}"),
        })?;
        nodes.resize_with(pending.count(), Node::default);
        nodes[id] = Node { place, ..read };
    }
    let schema = Schema { nodes, root };
    let mut depths = vec![None; schema.nodes.len()];
    for id in 0..schema.nodes.len() {
        depth(&schema, id, 0, &mut depths)?;
    }
    Ok(schema)
}

/// Reads what stands at a spot.
fn node(pending: &mut Pending<'_>, spot: Spot) -> Result<Node, String> {
    match pending.documents.value(&spot)? {
        Json::Bool(true) => Ok(Node::default()),
        Json::Bool(false) => Ok(Node { rules: vec![Rule::Never], ..Node::default() }),
        schema @ Json::Object(members) => {
            let is_draft_7 = pending.documents.document(&spot).is_draft_7;
            let base = own_base(schema, &spot.base, is_draft_7)?;
            Reading { members, spot: Spot { base, ..spot }, is_draft_7, pending }.node()
        }
        _ => Err("it is neither an object nor true or false, as a schema is".into()),
    }
}

/// Returns how many schemas apply to a value within each other, and how many in all. `above` is how many are around this one.
///
/// # Errors
/// There are too many, or without end.
fn depth(schema: &Schema, id: NodeId, above: usize, known: &mut [Option<(usize, usize)>]) -> Result<(usize, usize), String> {
    let below = known[id];
    if above + below.map_or(0, |(below, _)| below) > MAX_DEPTH {
        let place = &schema.node(id).place;
        return Err(format!("{place} refers to itself, or more than {MAX_DEPTH} schemas apply to one value through it"));
    }
    if let Some(below) = below {
        return Ok(below);
    }
    let (mut deepest, mut all) = (0, 1_usize);
    for rule in &schema.node(id).rules {
        for beside in rule.beside() {
            let (below, count) = depth(schema, beside, above + 1, known)?;
            deepest = deepest.max(below + 1);
            all = all.saturating_add(count);
        }
    }
    if all > MOST_BESIDE {
        return Err(format!("{}: more than {MOST_BESIDE} schemas apply to one value", schema.node(id).place));
    }
    known[id] = Some((deepest, all));
    Ok((deepest, all))
}

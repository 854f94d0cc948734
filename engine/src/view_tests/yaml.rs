//! YAML as JSON values with the places of mappings: what a test of views can say.

use saphyr::{LoadableYamlNode, MarkedYamlOwned, ScalarOwned, YamlDataOwned};
use serde_json::{Map, Number, Value};

/// A place in a file: line and column, from 1.
pub(super) type Place = (usize, usize);

/// A node of a file.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: Place,
    pub(super) content: Content,
}

/// What a node is.
#[derive(Debug)]
pub(super) enum Content {
    Mapping(Vec<(String, Node)>),
    Sequence(Vec<Node>),
    Plain(Value),
}

/// Reads the one document of a file. An empty file is an empty sequence.
///
/// # Errors
/// What is no YAML, or has no meaning in a test, with its place.
pub(super) fn parse(text: &str) -> Result<Node, (Place, String)> {
    let documents = MarkedYamlOwned::load_from_str(text).map_err(|error| {
        let at = error.marker();
        ((at.line(), at.col() + 1), error.info().to_owned())
    })?;
    let mut documents = documents.into_iter();
    match (documents.next(), documents.next()) {
        (None, _) => Ok(Node { at: (1, 1), content: Content::Sequence(Vec::new()) }),
        (Some(document), None) => node(document),
        (_, Some(second)) => Err((place(&second), "a file holds one document".to_owned())),
    }
}

fn place(node: &MarkedYamlOwned) -> Place {
    (node.span.start.line(), node.span.start.col() + 1)
}

fn node(yaml: MarkedYamlOwned) -> Result<Node, (Place, String)> {
    let at = place(&yaml);
    let content = match yaml.data {
        YamlDataOwned::Sequence(nodes) => Content::Sequence(nodes.into_iter().map(node).collect::<Result<_, _>>()?),
        YamlDataOwned::Mapping(pairs) => {
            let mut members = Vec::new();
            for (key, value) in pairs {
                let at = place(&key);
                let Content::Plain(name) = node(key)?.content else { return Err((at, "a name is a text".to_owned())) };
                members.push((text(&name), node(value)?));
            }
            Content::Mapping(members)
        }
        YamlDataOwned::Value(scalar) => Content::Plain(match scalar {
            ScalarOwned::Null => Value::Null,
            ScalarOwned::Boolean(value) => Value::Bool(value),
            ScalarOwned::Integer(value) => Value::Number(value.into()),
            ScalarOwned::FloatingPoint(value) => {
                Number::from_f64(*value).map_or_else(|| Value::String(value.to_string()), Value::Number)
            }
            ScalarOwned::String(value) => Value::String(value),
        }),
        YamlDataOwned::Tagged(..) => return Err((at, "a tag has no meaning here".to_owned())),
        YamlDataOwned::Alias(_) => return Err((at, "an alias has no meaning here".to_owned())),
        YamlDataOwned::Representation(..) | YamlDataOwned::BadValue => return Err((at, "this is no value".to_owned())),
    };
    Ok(Node { at, content })
}

impl Node {
    /// The node as a value.
    pub(super) fn value(self) -> Value {
        match self.content {
            Content::Mapping(members) => {
                Value::Object(members.into_iter().map(|(name, node)| (name, node.value())).collect::<Map<_, _>>())
            }
            Content::Sequence(nodes) => Value::Array(nodes.into_iter().map(Node::value).collect()),
            Content::Plain(value) => value,
        }
    }
}

/// The text of a value, without the quotes of JSON.
pub(super) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

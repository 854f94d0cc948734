//! Why a value does not conform: the value by its JSON pointer, and the rule by its place in the schema.

use serde_json::Value as Json;

/// The longest excerpt of a value in a message, in letters.
const EXCERPT: usize = 40;

/// Why a value does not conform.
#[derive(Debug, Clone)]
pub(super) struct Violation {
    /// The steps to the value from the inside out.
    pub(super) path: Vec<String>,
    /// What is wrong, and the rule.
    pub(super) message: String,
}

impl Violation {
    /// Returns the violation as one of the value around.
    pub(super) fn below(mut self: Box<Violation>, step: impl ToString) -> Box<Violation> {
        self.path.push(step.to_string().replace('~', "~0").replace('/', "~1"));
        self
    }

    /// Returns the JSON pointer of the value.
    pub(super) fn pointer(&self) -> String {
        self.path.iter().rev().map(|step| format!("/{step}")).collect()
    }
}

/// `/items/0/count: -1 is less than 0 (#/properties/items/items/properties/count/minimum)`.
impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pointer = self.pointer();
        let pointer = if pointer.is_empty() { "the body" } else { pointer.as_str() };
        write!(f, "{pointer}: {}", self.message)
    }
}

/// Says why none of several schemas allows a value: the failure that is deepest in it, since that schema is the one that was meant.
pub(super) fn none_of(failed: &[Box<Violation>]) -> String {
    let deepest = failed.iter().rev().max_by_key(|violation| violation.path.len());
    match deepest {
        Some(violation) => format!("none of the {} schemas allows it; {violation}", failed.len()),
        None => "there is no schema that could allow it".into(),
    }
}

/// Returns the beginning of a value's text.
pub(super) fn excerpt(value: &Json) -> String {
    let text = match value {
        Json::Object(_) => return "an object".into(),
        Json::Array(_) => return "an array".into(),
        _ => value.to_string(),
    };
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

//! What is asked about schemas that stand in files of their own. This crate reads no files: who loads a catalog answers.

use std::collections::BTreeMap;

use arrow::datatypes::Field;

/// The columns that a schema has.
#[derive(Debug, Clone, Default)]
pub struct SchemaColumns {
    /// In the order of the schema.
    pub fields: Vec<Field>,
    /// What is not read as one would expect, and why.
    pub notes: Vec<String>,
}

/// Why a schema cannot be used, and what to do.
pub type SchemaRefusal = (String, Option<String>);

/// Answers about the schemas of sources. Options have keys in lower case.
pub struct Schemas<'a> {
    /// The digest of the schema that the options of a source name: views are rebuilt when it differs. None where there is none to read.
    pub digest: &'a dyn Fn(&BTreeMap<String, String>) -> Option<String>,
    /// The columns of the schema that the options of a source name, whose name and word after STORED AS come first. None where its format
    /// has none.
    #[allow(clippy::type_complexity)]
    pub columns: &'a dyn Fn(&str, &str, &BTreeMap<String, String>) -> Result<Option<SchemaColumns>, SchemaRefusal>,
}

impl Schemas<'_> {
    /// For sources that have no schemas of their own.
    pub const NONE: Schemas<'static> = Schemas { digest: &|_| None, columns: &|_, _, _| Ok(None) };
}

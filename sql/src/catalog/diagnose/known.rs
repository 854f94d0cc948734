//! What names in a statement can have meant: functions, columns and members.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Fields};

use crate::type_names::sql_types;

/// The names that a misspelt name can mean.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// Names of functions.
    pub(crate) functions: BTreeSet<String>,
    /// Names of members of structs.
    pub(crate) members: BTreeSet<String>,
    /// Columns by name, with their types as SQL writes them.
    pub(crate) types: BTreeMap<String, String>,
}

impl Known {
    /// Adds the columns of a relation.
    pub(crate) fn add_columns(&mut self, fields: &Fields) {
        self.add_members(fields);
        for field in fields {
            self.types.insert(field.name().clone(), sql_types(&field.data_type().to_string()));
        }
    }

    /// Adds the members of all structs among some columns, at any depth.
    fn add_members(&mut self, fields: &Fields) {
        for field in fields {
            match field.data_type() {
                DataType::Struct(inner) => {
                    self.members.extend(inner.iter().map(|member| member.name().clone()));
                    self.add_members(inner);
                }
                DataType::List(item) | DataType::LargeList(item) => self.add_members(&Fields::from(vec![Arc::clone(item)])),
                _ => {}
            }
        }
    }
}

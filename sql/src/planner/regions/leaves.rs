//! Leaves that stand for the nodes below, and the names of their columns.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DFSchemaRef, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};

use crate::plan::{leaf_name, leaf_scan};

/// Renames the columns of an expression over a node's input to those of the input's leaf.
pub(super) fn over_leaf(expression: &Expr, from: &DFSchema, to: &SchemaRef) -> Result<Expr> {
    let renamed = expression.clone().transform_up(|expression| match expression {
        Expr::Column(column) => {
            let index = from.index_of_column(&column)?;
            Ok(Transformed::yes(Expr::Column(Column::new(Some(leaf_name(0)), to.field(index).name()))))
        }
        other => Ok(Transformed::no(other)),
    });
    Ok(renamed?.data)
}

/// Returns leaf `index`, with its columns renamed to the names that the operators above it use.
pub(super) fn renamed_leaf(index: usize, schema: &SchemaRef, names: &DFSchemaRef) -> Result<LogicalPlan> {
    let scan = leaf_scan(index, schema)?;
    let columns = names.iter().zip(schema.fields()).map(|((qualifier, field), leaf_field)| {
        Expr::Column(Column::new(Some(leaf_name(index)), leaf_field.name())).alias_qualified(qualifier.cloned(), field.name())
    });
    let columns: Vec<Expr> = columns.collect();
    Ok(LogicalPlan::Projection(Projection::try_new_with_schema(columns, Arc::new(scan), Arc::clone(names))?))
}

/// Returns the plain schema of a plan's rows, with the names made unique.
pub(super) fn unique_schema(schema: &DFSchema) -> SchemaRef {
    let mut taken: HashSet<String> = HashSet::new();
    let fields = schema.fields().iter().map(|field| {
        let mut name = field.name().clone();
        let mut count = 1;
        while !taken.insert(name.clone()) {
            count += 1;
            name = format!("{}:{count}", field.name());
        }
        field.as_ref().clone().with_name(name)
    });
    Arc::new(Schema::new(fields.collect::<Vec<Field>>()))
}

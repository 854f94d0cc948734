//! Keeps the types of columns when an aggregate over DISTINCT values is split into two aggregates.
//!
//! DataFusion 55.2 adds up the sums of the inner aggregate, and the sum of a DECIMAL has ten digits more than its argument. So a
//! column gets another type than the query says.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, cast};
use datafusion::optimizer::single_distinct_to_groupby::SingleDistinctToGroupBy;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// [`SingleDistinctToGroupBy`], with sums cast to the type that they had.
#[derive(Debug, Default)]
pub(super) struct DistinctKeepsTypes(SingleDistinctToGroupBy);

impl OptimizerRule for DistinctKeepsTypes {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let schema = Arc::clone(plan.schema());
        let rewritten = self.0.rewrite(plan, config)?;
        rewritten.transform_data(|plan| match plan {
            LogicalPlan::Projection(projection) if projection.schema.fields().len() == schema.fields().len() => {
                let now = Arc::clone(&projection.schema);
                let wanted = schema.iter().zip(now.fields());
                let columns = projection.expr.into_iter().zip(wanted).map(|(column, ((qualifier, wanted), field))| {
                    if wanted.data_type() == field.data_type() {
                        return column;
                    }
                    let value: Expr = cast(column.unalias(), wanted.data_type().clone());
                    value.alias_qualified(qualifier.cloned(), wanted.name())
                });
                let projection = Projection::try_new(columns.collect(), projection.input)?;
                Ok(Transformed::yes(LogicalPlan::Projection(projection)))
            }
            other => Ok(Transformed::no(other)),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::functions_aggregate::expr_fn::{count_distinct, sum};
    use datafusion::logical_expr::{LogicalPlanBuilder, col};
    use datafusion::optimizer::OptimizerContext;

    use super::*;
    use crate::session::SchemaOnly;

    #[test]
    fn columns_keep_their_types() {
        let columns = vec![Field::new("d", DataType::Decimal128(19, 0), true), Field::new("x", DataType::Int64, true)];
        let source = Arc::new(SchemaOnly::new(Arc::new(Schema::new(columns))));
        let none: Vec<Expr> = Vec::new();
        let aggregate = LogicalPlanBuilder::scan("t", source, None).unwrap();
        let aggregate = aggregate.aggregate(none, vec![sum(col("d")), count_distinct(col("x"))]).unwrap().build().unwrap();
        let first_type = |rule: &dyn OptimizerRule| {
            let split = rule.rewrite(aggregate.clone(), &OptimizerContext::new()).unwrap();
            assert!(split.transformed);
            split.data.schema().field(0).data_type().clone()
        };
        assert_eq!(first_type(&DistinctKeepsTypes::default()), DataType::Decimal128(29, 0));
        let theirs = first_type(&SingleDistinctToGroupBy::new());
        assert_ne!(theirs, DataType::Decimal128(29, 0), "DataFusion has fixed it, so our rule can go");
    }
}

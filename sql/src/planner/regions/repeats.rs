//! Events that may come more than once: the window that [`source_table`](crate::planner::source_table) makes of them, known by a column that no
//! user can write.

use datafusion::common::{Column, DataFusionError};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};

use super::cut::Cut;
use super::leaves::unique_schema;
use crate::plan::{KeyedInput, Node, Op};
use crate::planner::source_table::AT;
use crate::planner::{Refusal, equality};

/// The window operator over events, and what it says.
pub(super) struct Repeats<'p> {
    input: &'p LogicalPlan,
    keys: Vec<Expr>,
    at: usize,
    within: Option<i64>,
}

impl Cut<'_> {
    /// The events before with the same key that a plan asks for, over rows that only arrive and by keys that can be told apart.
    pub(super) fn repeats_of<'p>(&self, plan: &'p LogicalPlan) -> Option<Repeats<'p>> {
        let LogicalPlan::Window(window) = plan else { return None };
        let [expression] = window.window_expr.as_slice() else { return None };
        let Expr::WindowFunction(call) = expression.clone().unalias() else { return None };
        let Some(Expr::Column(Column { name, .. })) = call.params.args.first() else { return None };
        let within = name.strip_prefix(AT).filter(|_| call.fun.name() == "lag")?;
        let input = window.input.as_ref();
        let schema = input.schema();
        let exact = |key: &Expr| key.get_type(schema.as_ref()).is_ok_and(|data_type| equality::is_exact(&data_type));
        let keys = call.params.partition_by;
        let fits = !keys.is_empty() && keys.iter().all(exact) && self.reads_relation(input) && !self.retracts(input);
        fits.then_some(())?;
        let at = schema.fields().iter().position(|field| field.name() == name)?;
        Some(Repeats { input, keys, at, within: within.parse().ok() })
    }

    pub(super) fn repeats(&self, plan: &LogicalPlan, repeats: &Repeats<'_>) -> Result<Node, Refusal> {
        let (input, columns, _) = self.arranged(repeats.input.clone(), &repeats.keys, 0)?;
        if input.schema.field(repeats.at).data_type() != &arrow::datatypes::DataType::Int64 {
            return Err(DataFusionError::Internal("the position of an event is no number".to_owned()).into());
        }
        Ok(Node {
            id: 0,
            expiries: Vec::new(),
            reasons: Vec::new(),
            schema: unique_schema(plan.schema()),
            retracts: false,
            key: None,
            op: Op::Repeats { key: KeyedInput { columns, nulls_match: true }, at: repeats.at, within: repeats.within },
            inputs: vec![input],
        })
    }
}

//! Filters that compare a time of a row with the latest time of a relation: `placed_at > watermark() - INTERVAL '1 day'`. The latest time
//! only grows, so a row passes such a bound once. The rows wait in the order of their times, and each is touched when it is passed.
//!
//! [`apart`] gives each such condition a filter of its own, over a column that holds the time. [`Cut::temporal`] recognizes these filters.
//! Conditions of any other shape stay as they are: the latest time is then joined to each row.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Filter, LogicalPlan, Operator, Projection};

use super::cut::Cut;
use super::leaves::unique_schema;
use crate::plan::{Node, Op, RelationKind, RowTime, plain_column};
use crate::planner::subqueries::holds_subquery;
use crate::planner::{Operators, Refusal, Relation, expiry};

/// The beginning of the names of columns that hold computed times.
const TIME: &str = "$time";

/// A condition on the time of a row.
pub(super) struct Temporal {
    /// The time.
    time: Expr,
    /// Whether rows wait for the latest time to reach theirs. If not, they leave once it has passed theirs.
    pub(super) waits: bool,
    /// Subtracted from the latest time before the two are compared, in units of their type.
    slack: i64,
    /// The relation whose latest time counts, and the column of it.
    relation: String,
    column: usize,
}

/// The latest value of a relation's column, plus a constant.
struct Latest {
    relation: String,
    column: usize,
    offset: i64,
}

/// Gives each temporal condition of a plan a filter of its own.
pub(crate) fn apart(plan: LogicalPlan, relations: &BTreeMap<String, Relation>) -> Result<LogicalPlan> {
    let cut = Cut { relations, operators: Operators::NEWEST };
    let replaced = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Filter(filter) => cut.filters_apart(filter),
        LogicalPlan::Projection(projection) => cut.common_apart(projection),
        other => Ok(Transformed::no(other)),
    });
    Ok(replaced?.data)
}

/// Checks whether a filter is a temporal condition on a column, and nothing else.
pub(crate) fn is_temporal(filter: &Filter, relations: &BTreeMap<String, Relation>) -> bool {
    Cut { relations, operators: Operators::NEWEST }.temporal(filter).is_some()
}

impl Cut<'_> {
    fn filters_apart(&self, filter: Filter) -> Result<Transformed<LogicalPlan>> {
        let schema = Arc::clone(filter.input.schema());
        let is_temporal = |condition: &Expr| self.condition(condition, &schema).is_some();
        let conditions = split_conjunction(&filter.predicate).into_iter().cloned().flat_map(bounds);
        let (temporal, others): (Vec<Expr>, Vec<Expr>) = conditions.partition(is_temporal);
        if self.temporal(&filter).is_some() || temporal.is_empty() {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        }
        let mut rows = Arc::unwrap_or_clone(filter.input);
        if let Some(others) = conjunction(others) {
            rows = LogicalPlan::Filter(Filter::try_new(others, Arc::new(rows))?);
        }
        for (number, condition) in temporal.into_iter().enumerate() {
            rows = self.one_apart(rows, condition, number)?;
        }
        let columns = schema.columns().into_iter().map(Expr::Column).collect();
        let narrowed = Projection::try_new_with_schema(columns, Arc::new(rows), schema)?;
        Ok(Transformed::yes(LogicalPlan::Projection(narrowed)))
    }

    /// Puts subqueries that the optimizer has computed once, below a filter that reads them more than once, back into the filter.
    fn common_apart(&self, projection: Projection) -> Result<Transformed<LogicalPlan>> {
        let no = |projection| Ok(Transformed::no(LogicalPlan::Projection(projection)));
        let LogicalPlan::Filter(filter) = projection.input.as_ref() else { return no(projection) };
        let LogicalPlan::Projection(below) = filter.input.as_ref() else { return no(projection) };
        let names = below.schema.columns();
        let (common, others): (Vec<_>, Vec<_>) =
            below.expr.iter().zip(&names).partition(|(expression, _)| holds_subquery(expression));
        let is_common = |column: &&Column| common.iter().any(|(_, name)| name == column);
        if common.is_empty() || projection.expr.iter().any(|expression| expression.column_refs().iter().any(is_common)) {
            return no(projection);
        }
        let predicate = filter.predicate.clone().transform_up(|expression| {
            let found = common.iter().find(|(_, name)| matches!(&expression, Expr::Column(column) if column == *name));
            Ok(found.map_or_else(
                || Transformed::no(expression.clone()),
                |(common, _)| Transformed::yes((*common).clone().unalias_nested().data),
            ))
        });
        let rows = others.into_iter().map(|(expression, _)| expression.clone()).collect();
        let rows = LogicalPlan::Projection(Projection::try_new(rows, Arc::clone(&below.input))?);
        let apart = self.filters_apart(Filter::try_new(predicate?.data, Arc::new(rows))?)?;
        if !apart.transformed {
            return no(projection);
        }
        let Projection { expr, schema, .. } = projection;
        Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new_with_schema(expr, Arc::new(apart.data), schema)?)))
    }

    /// Puts a filter of one temporal condition above rows.
    fn one_apart(&self, rows: LogicalPlan, condition: Expr, number: usize) -> Result<LogicalPlan> {
        let Some(Temporal { time, .. }) = self.condition(&condition, rows.schema()) else {
            return Ok(LogicalPlan::Filter(Filter::try_new(condition, Arc::new(rows))?));
        };
        let (rows, column) = match plain_column(&time) {
            Some(column) => (rows, column.clone()),
            None => {
                let column = Column::new_unqualified(format!("{TIME}{number}"));
                let all = rows.schema().columns().into_iter().map(Expr::Column);
                let all = all.chain([time.clone().alias(column.name())]).collect();
                (LogicalPlan::Projection(Projection::try_new(all, Arc::new(rows))?), column)
            }
        };
        let column = Expr::Column(column);
        let known = LogicalPlan::Filter(Filter::try_new(column.clone().is_not_null(), Arc::new(rows))?);
        let over_column = condition.transform_down(|expression| {
            Ok(if expression == time { Transformed::yes(column.clone()) } else { Transformed::no(expression) })
        });
        Ok(LogicalPlan::Filter(Filter::try_new(over_column?.data, Arc::new(known))?))
    }

    /// Returns the condition of a filter that is temporal, over a column that is never NULL, and nothing else.
    pub(super) fn temporal(&self, filter: &Filter) -> Option<Temporal> {
        let known = |input: &LogicalPlan, time: &Expr| match input {
            LogicalPlan::Filter(below) => matches!(&below.predicate, Expr::IsNotNull(column) if **column == *time),
            _ => false,
        };
        let temporal = self.condition(&filter.predicate, filter.input.schema())?;
        (plain_column(&temporal.time).is_some() && known(&filter.input, &temporal.time)).then_some(temporal)
    }

    fn condition(&self, condition: &Expr, schema: &DFSchema) -> Option<Temporal> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return None };
        let (time, op, latest) = if holds_subquery(right) { (left, *op, right) } else { (right, op.swap()?, left) };
        if holds_subquery(time) || time.column_refs().is_empty() {
            return None;
        }
        let data_type = time.get_type(schema).ok()?;
        if latest.get_type(schema).ok()? != data_type || !matches!(data_type, DataType::Timestamp(_, None)) {
            return None;
        }
        let Latest { relation, column, offset } = self.latest(latest, &data_type)?;
        let (waits, slack) = match op {
            Operator::Gt => (false, offset.checked_neg()?),
            Operator::GtEq => (false, offset.checked_neg()?.checked_add(1)?),
            Operator::LtEq => (true, offset.checked_neg()?),
            Operator::Lt => (true, offset.checked_neg()?.checked_add(1)?),
            _ => return None,
        };
        Some(Temporal { time: time.as_ref().clone(), waits, slack, relation, column })
    }

    /// Reads a subquery of the latest time, with constants added to it.
    fn latest(&self, expression: &Expr, data_type: &DataType) -> Option<Latest> {
        match expression {
            Expr::Alias(alias) => self.latest(&alias.expr, data_type),
            Expr::ScalarSubquery(subquery) if subquery.outer_ref_columns.is_empty() => {
                self.latest_of(&subquery.subquery, data_type)
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                let latest = self.latest(left, data_type)?;
                Some(Latest { offset: moved(latest.offset, *op, right, data_type)?, ..latest })
            }
            _ => None,
        }
    }

    fn latest_of(&self, plan: &LogicalPlan, data_type: &DataType) -> Option<Latest> {
        match plan {
            LogicalPlan::SubqueryAlias(alias) => self.latest_of(&alias.input, data_type),
            LogicalPlan::Projection(projection) => {
                let [expression] = projection.expr.as_slice() else { return None };
                let below = self.latest_of(&projection.input, data_type)?;
                Some(Latest { offset: below.offset.checked_add(offset(expression, data_type)?)?, ..below })
            }
            LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => {
                let [Expr::AggregateFunction(call)] = aggregate.aggr_expr.as_slice() else { return None };
                let is_plain = call.params.filter.is_none() && call.params.order_by.is_empty() && !call.params.distinct;
                let [argument] = call.params.args.as_slice() else { return None };
                let pick = self.pick(&aggregate.input).filter(|_| is_plain && call.func.name() == "max")?;
                let index = aggregate.input.schema().maybe_index_of_column(plain_column(argument)?)?;
                let relation = self.relations.get(pick.relation).filter(|relation| !relation.retracts)?;
                let column = pick.columns[index];
                (relation.schema.field(column).data_type() == data_type).then(|| Latest {
                    relation: pick.relation.to_owned(),
                    column,
                    offset: 0,
                })
            }
            _ => None,
        }
    }

    /// Builds the node of a temporal filter.
    pub(super) fn temporal_filter(&self, filter: &Filter, temporal: Temporal) -> Result<Node, Refusal> {
        let Temporal { time, waits, slack, relation, column } = temporal;
        let mut rows = self.node(&filter.input)?;
        let index =
            plain_column(&time).and_then(|column| filter.input.schema().maybe_index_of_column(column)).unwrap_or_default();
        // A bound below the latest time is a time to retain rows; a bound above it moves the latest time.
        let (delay, retain) = if waits || slack < 0 { (slack, 0) } else { (0, slack) };
        // A time that is computed could fail on rows that the operators below hold.
        let is_computed = plain_column(&time).is_some_and(|column| column.name().starts_with(TIME));
        if !waits && !is_computed {
            let time = Expr::Column(Column::new_unqualified(rows.schema.field(index).name()));
            expiry::mark(&mut rows, &RowTime { time, slack: 0 });
        }
        let latest = self.scan_of(&relation, column);
        Ok(Node {
            id: 0,
            reasons: Vec::new(),
            expiries: Vec::new(),
            schema: unique_schema(filter.input.schema()),
            retracts: rows.retracts || !waits,
            key: rows.key.clone(),
            op: Op::Watermark {
                window_end: index,
                delays: vec![delay],
                emits_final: waits,
                retain: (!waits).then_some(retain),
                by_query: true,
            },
            inputs: vec![rows, latest],
        })
    }

    fn scan_of(&self, relation: &str, column: usize) -> Node {
        let found = self.relations.get(relation);
        let field = found.map_or_else(|| Field::new("time", DataType::Null, true), |found| found.schema.field(column).clone());
        Node {
            id: 0,
            reasons: Vec::new(),
            expiries: Vec::new(),
            schema: Arc::new(Schema::new(vec![field])),
            retracts: false,
            key: None,
            inputs: Vec::new(),
            op: Op::Scan {
                relation: relation.to_owned(),
                kind: found.map_or(RelationKind::Source, |found| found.kind),
                projection: vec![column],
                lateness: None,
            },
        }
    }
}

/// Returns the two conditions of a BETWEEN; of any other condition, itself.
fn bounds(condition: Expr) -> Vec<Expr> {
    match condition {
        Expr::Between(between) if !between.negated => {
            let low = between.expr.as_ref().clone().gt_eq(*between.low);
            vec![low, between.expr.lt_eq(*between.high)]
        }
        other => vec![other],
    }
}

/// Returns the constant that is added to the only column of an expression, in units of a time.
fn offset(expression: &Expr, data_type: &DataType) -> Option<i64> {
    match expression {
        Expr::Alias(alias) => offset(&alias.expr, data_type),
        Expr::Column(_) => Some(0),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => moved(offset(left, data_type)?, *op, right, data_type),
        _ => None,
    }
}

fn moved(offset: i64, op: Operator, by: &Expr, data_type: &DataType) -> Option<i64> {
    let by = expiry::constant(by, data_type)?;
    match op {
        Operator::Plus => offset.checked_add(by),
        Operator::Minus => offset.checked_sub(by),
        _ => None,
    }
}

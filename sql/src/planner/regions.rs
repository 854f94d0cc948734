//! The optimized plan cut into nodes: maximal regions of one class, each over leaves that stand for the nodes below.
//!
//! Two passes: [`Cut::shape`] says in which class an operator falls, given what is below; [`Cut::node`] then cuts. A leaf inside
//! a region is a scan of [`leaf_name`](crate::plan::leaf_name) under a projection that gives its columns the names that the operators
//! above know them by.

mod extremes;
mod keyed;
mod ranks;
mod sessions;
mod top;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DFSchemaRef, DataFusionError, Result};
use datafusion::logical_expr::{Aggregate, Expr, JoinType, LogicalPlan, Projection};

use crate::plan::{Class, Node, Op, leaf_name, leaf_scan};
use crate::planner::{Refusal, Relation, aggregates, keys, split};

/// Cuts a view's optimized plan; nodes are numbered from the root, depth first.
pub(crate) fn cut(plan: LogicalPlan, relations: &BTreeMap<String, Relation>) -> Result<Node, Refusal> {
    let cut = Cut { relations };
    let plan = cut.bounds_above_ranks(top::limits_above_sorts(cut.extremes_as_tops(plan)?)?)?;
    let mut root = cut.node(&plan)?;
    number(&mut root, &mut 0);
    Ok(root)
}

pub(super) fn number(node: &mut Node, next: &mut usize) {
    node.id = *next;
    *next += 1;
    for input in &mut node.inputs {
        number(input, next);
    }
}

/// The class of an operator together with what is below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Columns of a relation.
    Scan,
    Linear,
    Merge,
    Weighted,
    Join,
    Top,
    Ranks,
    Sessions,
    /// An operator that splits by a key, or keeps the first rows, and linear ones above it.
    Keyed,
    Full,
}

const O_CHANGES: &str = "O(changes)";

struct Cut<'a> {
    relations: &'a BTreeMap<String, Relation>,
}

/// Columns of a relation, as an operator or a chain of them picks them.
struct Pick<'a> {
    relation: &'a str,
    columns: Vec<usize>,
}

impl Cut<'_> {
    fn shape(&self, plan: &LogicalPlan) -> Shape {
        if self.pick(plan).is_some() {
            return Shape::Scan;
        }
        if has_subquery_or_outer_column(plan) {
            return Shape::Full;
        }
        match plan {
            LogicalPlan::Filter(_) if self.bounded_ranks(plan).is_some() => Shape::Ranks,
            LogicalPlan::Window(_) if self.sessions_of(plan).is_some() => Shape::Sessions,
            LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Unnest(_) => {
                match plan.inputs().first().map(|input| self.shape(input)) {
                    // Under a recompute already: one node less to keep.
                    None | Some(Shape::Full) => Shape::Full,
                    Some(Shape::Keyed) => Shape::Keyed,
                    Some(_) => Shape::Linear,
                }
            }
            LogicalPlan::Union(_) => Shape::Linear,
            // What reads nothing is computed once.
            _ if !self.reads_relation(plan) => Shape::Full,
            LogicalPlan::Aggregate(aggregate)
                if aggregates::obstacle(aggregate).is_none() && !self.retracts(&aggregate.input) =>
            {
                Shape::Merge
            }
            LogicalPlan::Aggregate(aggregate) if aggregates::takes_out(aggregate) => Shape::Weighted,
            LogicalPlan::Join(join) if join.join_type == JoinType::Inner || split::of_semi(join).is_some() => Shape::Join,
            LogicalPlan::Sort(_) | LogicalPlan::Limit(_) if self.is_top(plan) => Shape::Keyed,
            LogicalPlan::Sort(_) | LogicalPlan::Limit(_) if top::of_changing(plan).is_some() => Shape::Top,
            _ if split::of_operator(plan).is_ok() => Shape::Keyed,
            _ => Shape::Full,
        }
    }

    /// Whether rows that a plan gave can be taken back as events arrive.
    fn retracts(&self, plan: &LogicalPlan) -> bool {
        if let Some(pick) = self.pick(plan) {
            return self.relations.get(pick.relation).is_none_or(|relation| relation.retracts);
        }
        if has_subquery_or_outer_column(plan) {
            return true;
        }
        let grows_with_its_inputs = match plan {
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Unnest(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::Distinct(_)
            // Constant rows, and tables that are no relation.
            | LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Values(_)
            | LogicalPlan::TableScan(_) => true,
            LogicalPlan::Join(join) => {
                matches!(join.join_type, JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi)
            }
            LogicalPlan::Aggregate(aggregate) => {
                aggregate.aggr_expr.is_empty() && aggregates::obstacle(aggregate).is_none()
            }
            _ => false,
        };
        // What reads nothing never changes.
        let reads_something = !plan.inputs().is_empty();
        (reads_something && !grows_with_its_inputs && self.reads_relation(plan))
            || plan.inputs().into_iter().any(|input| self.retracts(input))
    }

    fn reads_relation(&self, plan: &LogicalPlan) -> bool {
        plan.exists(|plan| Ok(self.pick(plan).is_some())).unwrap_or(true)
    }

    /// The relation and its columns, where a plan is nothing but columns of one.
    fn pick<'p>(&self, plan: &'p LogicalPlan) -> Option<Pick<'p>> {
        match plan {
            LogicalPlan::TableScan(scan) if crate::plan::is_schema_only(&scan.source) => {
                let all = scan.source.schema().fields().len();
                let columns = scan.projection.clone().unwrap_or_else(|| (0..all).collect());
                Some(Pick { relation: scan.table_name.table(), columns })
            }
            LogicalPlan::SubqueryAlias(alias) => self.pick(&alias.input),
            LogicalPlan::Projection(projection) => {
                let below = self.pick(&projection.input)?;
                let schema = projection.input.schema();
                let picked = projection
                    .expr
                    .iter()
                    .map(|expression| keys::plain_column(expression).and_then(|column| schema.maybe_index_of_column(column)));
                let picked: Vec<usize> = picked.collect::<Option<_>>()?;
                let once: HashSet<usize> = picked.iter().copied().collect();
                (once.len() == picked.len()).then(|| Pick {
                    relation: below.relation,
                    columns: picked.into_iter().map(|index| below.columns[index]).collect(),
                })
            }
            _ => None,
        }
    }

    fn node(&self, plan: &LogicalPlan) -> Result<Node, Refusal> {
        if let Some(bounded) = self.bounded_ranks(plan) {
            return self.ranks(&bounded);
        }
        if let Some(sessions) = self.sessions_of(plan) {
            return self.sessions(plan, &sessions);
        }
        match (self.shape(plan), plan) {
            (Shape::Scan, _) => self.scan(plan),
            (Shape::Merge, LogicalPlan::Aggregate(aggregate)) => self.aggregate(aggregate, false),
            (Shape::Weighted, LogicalPlan::Aggregate(aggregate)) => self.aggregate(aggregate, true),
            (Shape::Join, LogicalPlan::Join(join)) => self.join(plan, join),
            (Shape::Top, _) => self.top(plan),
            (Shape::Linear, _) => self.region(plan, Class::Linear),
            (Shape::Keyed, _) => self.keyed(plan),
            _ => self.region(plan, Class::FullRecompute),
        }
    }

    fn scan(&self, plan: &LogicalPlan) -> Result<Node, Refusal> {
        let (pick, relation) = self
            .pick(plan)
            .and_then(|pick| self.relations.get(pick.relation).map(|relation| (pick, relation)))
            .ok_or_else(|| bug(format!("a scan of an unknown relation: {}", plan.display())))?;
        let key = relation.key.as_ref().and_then(|key| {
            key.iter().map(|column| pick.columns.iter().position(|picked| picked == column)).collect::<Option<Vec<_>>>()
        });
        Ok(Node {
            id: 0,
            expiries: Vec::new(),
            class: Class::Linear,
            reason: None,
            cost: O_CHANGES.to_owned(),
            state: None,
            schema: unique_schema(plan.schema()),
            retracts: relation.retracts,
            key,
            inputs: Vec::new(),
            op: Op::Scan { relation: pick.relation.to_owned(), kind: relation.kind, projection: pick.columns, lateness: None },
        })
    }

    fn aggregate(&self, aggregate: &Aggregate, weighted: bool) -> Result<Node, Refusal> {
        let input = self.node(&aggregate.input)?;
        let leaf = leaf_scan(0, &input.schema)?;
        let rename = |expressions: &[Expr]| -> Result<Vec<Expr>> {
            expressions.iter().map(|expression| over_leaf(expression, aggregate.input.schema(), &input.schema)).collect()
        };
        let group_expr = rename(&aggregate.group_expr)?;
        let aggr_expr = rename(&aggregate.aggr_expr)?;
        let groups = group_expr.len();
        let retracts = weighted || !aggr_expr.is_empty();
        let plan = Aggregate::try_new_with_schema(Arc::new(leaf), group_expr, aggr_expr, Arc::clone(&aggregate.schema))?;
        let plan = LogicalPlan::Aggregate(plan);
        Ok(Node {
            id: 0,
            expiries: Vec::new(),
            class: Class::Merge,
            reason: None,
            cost: O_CHANGES.to_owned(),
            state: Some(if weighted { "counts and sums of each group" } else { "the state of each group" }.to_owned()),
            schema: unique_schema(&aggregate.schema),
            retracts,
            key: Some((0..groups).collect()),
            inputs: vec![input],
            op: if weighted { Op::Weighted { plan } } else { Op::Merge { plan } },
        })
    }

    fn region(&self, plan: &LogicalPlan, class: Class) -> Result<Node, Refusal> {
        let mut inputs = Vec::new();
        let mut reasons = Vec::new();
        let over_leaves = self.over_leaves(plan.clone(), class, &mut inputs, &mut reasons)?;
        let input_keys: Vec<Option<Vec<usize>>> = inputs.iter().map(|input: &Node| input.key.clone()).collect();
        let schema = unique_schema(plan.schema());
        let key = keys::of_plan(&over_leaves, &input_keys);
        let (retracts, reason, op) = if class == Class::Linear {
            (inputs.iter().any(|input| input.retracts), None, Op::Linear { plan: over_leaves })
        } else {
            let reason = if inputs.is_empty() {
                "rows that do not depend on any event".to_owned()
            } else if reasons.is_empty() {
                "a query of another shape".to_owned()
            } else {
                reasons.join(", ")
            };
            (!inputs.is_empty() && self.retracts(plan), Some(reason), Op::Full { plan: over_leaves })
        };
        let (cost, state) = if class == Class::Linear {
            (O_CHANGES, None)
        } else if inputs.is_empty() {
            ("O(rows), once", Some("its rows"))
        } else {
            ("O(all input)", Some("all input, and the last answer"))
        };
        let (cost, state) = (cost.to_owned(), state.map(str::to_owned));
        Ok(Node { id: 0, class, reason, cost, state, op, schema, retracts, key, inputs, expiries: Vec::new() })
    }

    /// Replaces what does not belong in a region of this class by leaves.
    fn over_leaves(
        &self,
        plan: LogicalPlan,
        class: Class,
        inputs: &mut Vec<Node>,
        reasons: &mut Vec<String>,
    ) -> Result<LogicalPlan, Refusal> {
        if class == Class::FullRecompute
            && let Some(reason) = self.reason(&plan)
            && !reasons.contains(&reason)
        {
            reasons.push(reason);
        }
        let mut refusal = None;
        let mut child = |below: LogicalPlan| -> Result<Transformed<LogicalPlan>> {
            let inside = match class {
                Class::Linear => self.shape(&below) == Shape::Linear,
                _ => self.shape(&below) == Shape::Full,
            };
            let replaced = if inside {
                self.over_leaves(below, class, inputs, reasons)
            } else {
                self.node(&below).and_then(|node| {
                    let leaf = renamed_leaf(inputs.len(), &node.schema, below.schema());
                    inputs.push(node);
                    Ok(leaf?)
                })
            };
            match replaced {
                Ok(replaced) => Ok(Transformed::yes(replaced)),
                Err(error) => {
                    refusal = Some(error);
                    Err(DataFusionError::Internal("refused".to_owned()))
                }
            }
        };
        let replaced = plan.map_children(&mut child).and_then(|plan| plan.data.map_subqueries(&mut child));
        match (replaced, refusal) {
            (Ok(replaced), _) => Ok(replaced.data),
            (Err(_), Some(refusal)) => Err(refusal),
            (Err(error), None) => Err(error.into()),
        }
    }

    /// Why an operator by itself needs a full recompute; none: only because of what is below it.
    fn reason(&self, plan: &LogicalPlan) -> Option<String> {
        Some(match plan {
            LogicalPlan::Join(join) if join.null_aware => "NOT IN with values that may be NULL".to_owned(),
            LogicalPlan::Join(join) => match join.join_type {
                JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => "a join".to_owned(),
                JoinType::LeftMark | JoinType::RightMark => "EXISTS or IN".to_owned(),
                _ => "IN, EXISTS, INTERSECT or EXCEPT".to_owned(),
            },
            LogicalPlan::Window(_) => "a window function".to_owned(),
            LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => "ORDER BY with LIMIT".to_owned(),
            LogicalPlan::Aggregate(aggregate) => match aggregates::obstacle(aggregate) {
                Some(obstacle) => obstacle,
                None => format!("{} over rows that can be taken back", aggregates::title(aggregate)),
            },
            LogicalPlan::Subquery(_) => "a subquery".to_owned(),
            _ if has_subquery_or_outer_column(plan) => "a subquery".to_owned(),
            LogicalPlan::Distinct(_) => "DISTINCT".to_owned(),
            _ => return None,
        })
    }
}

/// Whether an operator's own expressions hold a subquery, or a column of a query around it.
fn has_subquery_or_outer_column(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let walked = plan.apply_expressions(|expression| {
        expression.apply(|expression| {
            found |= matches!(
                expression,
                Expr::ScalarSubquery(_)
                    | Expr::Exists(_)
                    | Expr::InSubquery(_)
                    | Expr::SetComparison(_)
                    | Expr::OuterReferenceColumn(_, _)
            );
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })
    });
    found || walked.is_err() || matches!(plan, LogicalPlan::Subquery(_))
}

/// An expression over a node's input, with its columns named as the input's leaf has them.
fn over_leaf(expression: &Expr, from: &DFSchema, to: &SchemaRef) -> Result<Expr> {
    let renamed = expression.clone().transform_up(|expression| match expression {
        Expr::Column(column) => {
            let index = from.index_of_column(&column)?;
            Ok(Transformed::yes(Expr::Column(Column::new(Some(leaf_name(0)), to.field(index).name()))))
        }
        other => Ok(Transformed::no(other)),
    });
    Ok(renamed?.data)
}

/// Leaf `index` under the names by which the operators above it know its columns.
fn renamed_leaf(index: usize, schema: &SchemaRef, names: &DFSchemaRef) -> Result<LogicalPlan> {
    let scan = leaf_scan(index, schema)?;
    let columns = names.iter().zip(schema.fields()).map(|((qualifier, field), leaf_field)| {
        Expr::Column(Column::new(Some(leaf_name(index)), leaf_field.name())).alias_qualified(qualifier.cloned(), field.name())
    });
    let columns: Vec<Expr> = columns.collect();
    Ok(LogicalPlan::Projection(Projection::try_new_with_schema(columns, Arc::new(scan), Arc::clone(names))?))
}

/// The plain schema of a plan's rows, in which no two columns have one name.
fn unique_schema(schema: &DFSchema) -> SchemaRef {
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

fn bug(message: String) -> Refusal {
    DataFusionError::Internal(message).into()
}

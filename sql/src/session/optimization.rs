//! Optimizes plans with DataFusion's rules. DataFusion 55.2 checks a subquery once for each query around it, and each of these checks goes into the
//! subqueries within: twenty levels take a million checks. Here each subquery is checked once, and the rules run in the same order.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion, TreeNodeRewriter};
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::{Expr, InvariantLevel, LogicalPlan, Subquery, check_subquery_expr, lit};
use datafusion::optimizer::analyzer::AnalyzerRule;
use datafusion::optimizer::analyzer::function_rewrite::ApplyFunctionRewrites;
use datafusion::optimizer::{ApplyOrder, Optimizer, OptimizerConfig, OptimizerRule};

/// As [`SessionState::optimize`], which takes twice as long for each further level of subqueries.
///
/// # Errors
/// What is wrong with the query.
pub fn optimized(state: &SessionState, plan: &LogicalPlan) -> Result<LogicalPlan> {
    if matches!(plan, LogicalPlan::Explain(_) | LogicalPlan::Analyze(_)) || depth_of_subqueries(plan) < 2 {
        return state.optimize(plan);
    }
    plan.check_invariants(InvariantLevel::Always)?;
    let mut plan = analyzed(state, plan.clone())?;
    check_subqueries(&plan)?;
    let mut one_pass = state.clone();
    one_pass.config_mut().options_mut().optimizer.max_passes = 1;
    let mut before = vec![plan.clone()];
    for _ in 0..state.config_options().optimizer.max_passes {
        for rule in &state.optimizer().rules {
            plan = with_rule(plan, rule, &one_pass)?;
        }
        if before.contains(&plan) {
            break;
        }
        before.push(plan.clone());
    }
    Ok(plan)
}

fn analyzed(state: &SessionState, mut plan: LogicalPlan) -> Result<LogicalPlan> {
    let analyzer = state.analyzer();
    let rewrites = analyzer.function_rewrites();
    if !rewrites.is_empty() {
        plan = ApplyFunctionRewrites::new(rewrites.to_vec()).analyze(plan, state.config_options())?;
    }
    for rule in &analyzer.rules {
        plan = rule.analyze(plan, state.config_options()).map_err(|error| error.context(rule.name()))?;
    }
    Ok(plan)
}

fn with_rule(plan: LogicalPlan, rule: &Arc<dyn OptimizerRule + Send + Sync>, one_pass: &SessionState) -> Result<LogicalPlan> {
    if depth_of_subqueries(&plan) < 2 {
        return Optimizer::with_rules(vec![Arc::clone(rule)]).optimize(plan, one_pass, |_, _| {});
    }
    let rewritten = match rule.apply_order() {
        Some(order) => plan.rewrite_with_subqueries(&mut EachNode { order, rule: rule.as_ref(), config: one_pass }),
        None => rule.rewrite(plan, one_pass),
    };
    match rewritten {
        Ok(rewritten) => Ok(rewritten.data),
        Err(error) => Err(error.context(format!("Optimizer rule '{}' failed", rule.name()))),
    }
}

/// Applies a rule to each node, in the rule's order.
struct EachNode<'a> {
    order: ApplyOrder,
    rule: &'a dyn OptimizerRule,
    config: &'a dyn OptimizerConfig,
}

impl TreeNodeRewriter for EachNode<'_> {
    type Node = LogicalPlan;

    fn f_down(&mut self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        match self.order {
            ApplyOrder::TopDown => self.rule.rewrite(node, self.config),
            ApplyOrder::BottomUp => Ok(Transformed::no(node)),
        }
    }

    fn f_up(&mut self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        match self.order {
            ApplyOrder::BottomUp => self.rule.rewrite(node, self.config),
            ApplyOrder::TopDown => Ok(Transformed::no(node)),
        }
    }
}

/// Returns how deep the subqueries of a plan's expressions nest, as far as two.
fn depth_of_subqueries(plan: &LogicalPlan) -> usize {
    let mut depth = 0;
    each_subquery(plan, &mut |subquery| {
        let holds_other = each_subquery(&subquery.subquery, &mut |_| false);
        depth = depth.max(if holds_other { 1 } else { 2 });
        depth < 2
    });
    depth
}

/// Calls `visit` for the subqueries in the expressions of a plan, and not for those within them, until it returns false. Returns whether it went
/// through all.
fn each_subquery(plan: &LogicalPlan, visit: &mut dyn FnMut(&Subquery) -> bool) -> bool {
    let mut goes_on = true;
    let step = |goes_on: bool| if goes_on { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop };
    let walked = plan.apply(|plan| {
        plan.apply_expressions(|expression| {
            expression.apply(|expression| {
                if let Some(subquery) = subquery_of(expression) {
                    goes_on &= visit(subquery);
                }
                Ok(step(goes_on))
            })
        })?;
        Ok(step(goes_on))
    });
    goes_on && walked.is_ok()
}

fn subquery_of(expression: &Expr) -> Option<&Subquery> {
    match expression {
        Expr::Exists(Exists { subquery, .. })
        | Expr::InSubquery(InSubquery { subquery, .. })
        | Expr::SetComparison(SetComparison { subquery, .. })
        | Expr::ScalarSubquery(subquery) => Some(subquery),
        _ => None,
    }
}

/// Checks each subquery of a plan once.
fn check_subqueries(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|plan| {
        plan.apply_expressions(|expression| {
            expression.apply(|expression| {
                if let Some(subquery) = subquery_of(expression) {
                    check_subquery_expr(plan, &without_subqueries(&subquery.subquery)?, expression)?;
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(())
}

/// Returns a plan with a constant in the place of each subquery.
fn without_subqueries(plan: &LogicalPlan) -> Result<LogicalPlan> {
    let constant = |expression: Expr| {
        Ok(match subquery_of(&expression) {
            None => Transformed::no(expression),
            Some(_) if !matches!(expression, Expr::ScalarSubquery(_)) => Transformed::yes(lit(true)),
            Some(subquery) => match subquery.subquery.schema().fields().first() {
                Some(field) => Transformed::yes(lit(ScalarValue::try_from(field.data_type())?)),
                None => Transformed::no(expression),
            },
        })
    };
    let replaced = plan.clone().transform_up(|plan| plan.map_expressions(|expression| expression.transform_down(constant)))?;
    Ok(replaced.data)
}

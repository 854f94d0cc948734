//! The one walk over sqlparser's syntax tree. Each type of visitor makes the compiler write the walk over all of the tree's types anew, so this
//! crate has one such type. What is done at a node stands behind [`Rewrite`].

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{Expr, Query, Select, TableFactor, VisitMut, VisitorMut};

/// Whether a walk goes on. What stopped it is kept by the [`Rewrite`].
pub(crate) type Step = ControlFlow<()>;

/// What is done at the nodes of a tree, in the order of the text.
///
/// # Contract
/// - What a hook puts in the place of a node before the walk goes into it is walked over; what it puts there after it is not. Checked by the
///   tests of functions whose bodies call others.
/// - After [`Step::Break`] no further hook is called. Checked by the tests of functions that name what is no parameter.
pub(crate) trait Rewrite {
    /// Before what a query holds.
    fn before_query(&mut self, _query: &mut Query) -> Step {
        Step::Continue(())
    }

    /// After what a query holds.
    fn after_query(&mut self, _query: &mut Query) -> Step {
        Step::Continue(())
    }

    /// Before what a SELECT holds.
    fn before_select(&mut self, _select: &mut Select) -> Step {
        Step::Continue(())
    }

    /// Before what a relation of FROM holds.
    fn before_relation(&mut self, _relation: &mut TableFactor) -> Step {
        Step::Continue(())
    }

    /// After what an expression holds.
    fn after_expression(&mut self, _expression: &mut Expr) -> Step {
        Step::Continue(())
    }
}

/// Walks over a node and all that it holds.
pub(crate) fn walk(node: &mut impl VisitMut, rewrite: &mut dyn Rewrite) -> Step {
    node.visit(&mut Walk(rewrite))
}

/// Calls `expression` for each expression of a node, after what it holds, but for none in a subquery: names in there may mean other columns.
pub(crate) fn walk_outside_subqueries(node: &mut impl VisitMut, expression: &mut dyn FnMut(&mut Expr)) {
    let _ = walk(node, &mut OutsideSubqueries { depth: 0, expression });
}

struct OutsideSubqueries<'a> {
    depth: usize,
    expression: &'a mut dyn FnMut(&mut Expr),
}

impl Rewrite for OutsideSubqueries<'_> {
    fn before_query(&mut self, _: &mut Query) -> Step {
        self.depth += 1;
        Step::Continue(())
    }

    fn after_query(&mut self, _: &mut Query) -> Step {
        self.depth -= 1;
        Step::Continue(())
    }

    fn after_expression(&mut self, expression: &mut Expr) -> Step {
        if self.depth == 0 {
            (self.expression)(expression);
        }
        Step::Continue(())
    }
}

struct Walk<'a>(&'a mut dyn Rewrite);

impl VisitorMut for Walk<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> Step {
        self.0.before_query(query)
    }

    fn post_visit_query(&mut self, query: &mut Query) -> Step {
        self.0.after_query(query)
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> Step {
        self.0.before_select(select)
    }

    fn pre_visit_table_factor(&mut self, relation: &mut TableFactor) -> Step {
        self.0.before_relation(relation)
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> Step {
        self.0.after_expression(expression)
    }
}

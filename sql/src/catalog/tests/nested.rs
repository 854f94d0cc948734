//! Queries that nest deep, and long chains. What is counted is not time: a rule that is applied once for each query around a subquery is applied
//! millions of times.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::{Column, DFSchema, DFSchemaRef, ExprSchema, Result};
use datafusion::logical_expr::{Expr, ExprSchemable, Extension, LogicalPlan, TableSource, UserDefinedLogicalNodeCore};

use super::*;
use crate::session::{SchemaOnly, optimized, plan_query, session_state};

fn nested(count: usize, open: &str, inner: &str, close: &str) -> String {
    format!("{}{inner}{}", open.repeat(count), close.repeat(count))
}

/// A relation that counts how often something walks over it.
#[derive(Debug, Clone)]
struct Walked {
    times: Arc<AtomicUsize>,
    schema: DFSchemaRef,
}

impl PartialEq for Walked {
    fn eq(&self, other: &Walked) -> bool {
        self.schema == other.schema
    }
}

impl Eq for Walked {}

impl PartialOrd for Walked {
    fn partial_cmp(&self, _: &Walked) -> Option<Ordering> {
        Some(Ordering::Equal)
    }
}

impl Hash for Walked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.schema.hash(state);
    }
}

impl UserDefinedLogicalNodeCore for Walked {
    fn name(&self) -> &str {
        "Walked"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.times.fetch_add(1, Relaxed);
        Vec::new()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Walked")
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, _: Vec<LogicalPlan>) -> Result<Walked> {
        Ok(self.clone())
    }
}

#[derive(Debug)]
struct Relation {
    schema: SchemaRef,
    plan: LogicalPlan,
}

impl TableSource for Relation {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn get_logical_plan(&self) -> Option<std::borrow::Cow<'_, LogicalPlan>> {
        Some(std::borrow::Cow::Borrowed(&self.plan))
    }
}

/// Returns how often planning and optimizing a query walk over the relation `walked`.
fn walks(query: &str) -> usize {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
    let times = Arc::new(AtomicUsize::new(0));
    let walked = Walked { times: Arc::clone(&times), schema: Arc::new(DFSchema::try_from(schema.as_ref().clone()).unwrap()) };
    let plan = LogicalPlan::Extension(Extension { node: Arc::new(walked) });
    let mut tables: BTreeMap<String, Arc<dyn TableSource>> = BTreeMap::new();
    tables.insert("t".to_owned(), Arc::new(SchemaOnly::new(Arc::clone(&schema))));
    tables.insert("walked".to_owned(), Arc::new(Relation { schema, plan }));
    let state = session_state().unwrap();
    let planned = plan_query(&state, crate::dialect::parse(query).unwrap(), tables).unwrap();
    optimized(&state, &planned).unwrap();
    times.load(Relaxed)
}

#[test]
fn each_subquery_is_checked_once() {
    let mut each = Each::default();
    for (open, close) in [
        ("id IN (SELECT id FROM t WHERE ", ")"),
        ("id NOT IN (SELECT id FROM t WHERE ", ")"),
        ("EXISTS (SELECT 1 FROM t WHERE ", ")"),
        ("NOT EXISTS (SELECT 1 FROM t WHERE ", ")"),
        ("id > (SELECT max(id) FROM t WHERE ", ")"),
    ] {
        each.run(|| {
            let of_depth =
                |depth| walks(&format!("SELECT id FROM t WHERE {}", nested(depth, open, "id IN (SELECT id FROM walked)", close)));
            let (few, many) = (of_depth(6), of_depth(12));
            assert!(few > 0 && many < 4 * few, "{open}: {few} walks at a depth of 6, and {many} at one of 12");
        });
    }
}

/// Counts how often the type of a column is asked for.
#[derive(Debug)]
struct Asked<'a> {
    schema: &'a DFSchema,
    times: AtomicUsize,
}

impl ExprSchema for Asked<'_> {
    fn field_from_column(&self, column: &Column) -> Result<&FieldRef> {
        self.times.fetch_add(1, Relaxed);
        self.schema.field_from_column(column)
    }
}

#[test]
fn the_type_of_an_operation_on_json_is_found_once() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("body", DataType::Utf8, true)]));
    let tables = BTreeMap::from([("t".to_owned(), Arc::new(SchemaOnly::new(schema)) as Arc<dyn TableSource>)]);
    let query = format!("SELECT body{} AS x FROM t", " -> 'a'".repeat(12));
    let planned = plan_query(&session_state().unwrap(), crate::dialect::parse(&query).unwrap(), tables).unwrap();
    let LogicalPlan::Projection(projection) = &planned else { panic!("{planned}") };
    let asked = Asked { schema: projection.input.schema(), times: AtomicUsize::new(0) };
    projection.expr[0].to_field(&asked).unwrap();
    assert!(asked.times.load(Relaxed) <= 24, "{asked:?}");
}

/// Each of these takes far less than a second, or would not end.
#[test]
fn what_nests_deep_is_planned() {
    let chained = |first: &str, each: &str, count: usize| format!("{first}{}", each.repeat(count));
    let numbered = |each: &dyn Fn(usize) -> String, count: usize| (0..count).map(each).collect::<String>();
    let in_steps = |depth: usize| {
        let within = |inner: String, level: usize| {
            format!("EXISTS (SELECT 1 FROM customers c{level} WHERE c{level}.id = c{}.id AND {inner})", level + 1)
        };
        format!("SELECT id FROM orders c{depth} WHERE {}", (0..depth).fold("c0.id > 3".to_owned(), within))
    };
    let mut each = Each::default();
    for query in [
        format!("SELECT id FROM orders WHERE {}", nested(30, "id IN (SELECT id FROM customers WHERE ", "id > 1", ")")),
        format!("SELECT id FROM orders WHERE {}", nested(30, "id NOT IN (SELECT id FROM customers WHERE ", "id > 1", ")")),
        in_steps(30),
        format!("SELECT id FROM orders WHERE {}", nested(12, "id > (SELECT max(id) FROM customers WHERE ", "id > 1", ")")),
        format!("SELECT {} AS x FROM orders", nested(30, "(SELECT max(id) + ", "3", " FROM customers)")),
        format!("SELECT {} AS x FROM orders", nested(500, "(1 + ", "id", ")")),
        format!("SELECT {} AS x FROM orders", nested(500, "(id - ", "id", ")")),
        format!("SELECT {} AS x FROM orders", nested(300, "CASE WHEN id > 1 THEN id ELSE ", "0", " END")),
        nested(300, "SELECT * FROM (", "SELECT id FROM orders", ") AS q"),
        chained("SELECT id FROM orders", " UNION ALL SELECT id FROM customers", 200),
        chained("SELECT id FROM orders WHERE id > 0", " AND customer > id", 300),
        format!("SELECT id FROM orders WHERE id > 0{}", numbered(&|n| format!(" OR customer = {n}"), 300)),
        chained("SELECT body", " -> 'a'", 100) + " AS x FROM orders",
    ] {
        each.run(|| drop(view(&query)));
    }
}

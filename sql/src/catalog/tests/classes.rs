//! The class of each shape of query.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;

use super::*;
use crate::describe::{cost, reasons, state, summary};
use crate::plan::Class;

/// Returns a tree in short form: `L(S)` is linear over a scan, `M` merge, `W` weighted, `J` join, `P` outer join, `I` semi join, `T` first rows,
/// `R` ranks, `U` running, `C` without copies, `O` sessions, `B` bounded by a watermark, `K` keyed recompute, `A` a recursion that adds, `F` full recompute. A `-` follows an
/// insert-only node.
pub(super) fn shape(node: &Node) -> String {
    let name = match &node.op {
        Op::Scan { .. } => "S",
        Op::Linear { .. } => "L",
        Op::Merge { .. } => "M",
        Op::Weighted { .. } => "W",
        Op::Join { .. } => "J",
        Op::Outer { .. } => "P",
        Op::Semi { .. } => "I",
        Op::Top { .. } => "T",
        Op::Ranks { .. } => "R",
        Op::Running { .. } => "U",
        Op::Repeats { .. } => "C",
        Op::Sessions { .. } => "O",
        Op::Watermark { .. } => "B",
        Op::Keyed { .. } => "K",
        Op::Recursion { .. } => "A",
        Op::Full { .. } => "F",
    };
    let inputs: Vec<String> = node.inputs.iter().map(shape).collect();
    let inputs = if inputs.is_empty() { String::new() } else { format!("({})", inputs.join(" ")) };
    format!("{name}{}{inputs}", if node.retracts { "" } else { "-" })
}

/// Checks that each node's leaves are its inputs, in order and with their schemas.
fn check_leaves(node: &Node, query: &str) {
    if let Some(plan) = node.op.plan() {
        let mut leaves = Vec::new();
        plan.apply_with_subqueries(|plan| {
            if let LogicalPlan::TableScan(scan) = plan
                && let Some(index) = crate::leaf_index(&scan.table_name)
            {
                leaves.push((index, scan.source.schema()));
            }
            Ok(TreeNodeRecursion::Continue)
        })
        .unwrap();
        leaves.sort_by_key(|(index, _)| *index);
        let inputs: Vec<(usize, SchemaRef)> =
            node.inputs.iter().enumerate().map(|(index, input)| (index, Arc::clone(&input.schema))).collect();
        assert_eq!(leaves, inputs, "{query}");
        let types = |schema: &arrow::datatypes::Schema| -> Vec<arrow::datatypes::DataType> {
            schema.fields().iter().map(|field| field.data_type().clone()).collect()
        };
        assert_eq!(types(plan.schema().as_arrow()), types(&node.schema), "{query}");
    }
    for input in &node.inputs {
        check_leaves(input, query);
    }
}

fn check(query: &str, expected: &str, reason: Option<&str>, key: Option<&[&str]>) {
    let view = view(query);
    let root = &view.plan.root;
    assert_eq!(shape(root), expected, "{query}\n{}", view.plan.batch.display_indent());
    let mut found = Vec::new();
    gather(root, &mut found);
    assert_eq!(found.first().map(String::as_str), reason, "{query}");
    assert_eq!(summary(&view).key, key.map(|key| key.iter().map(|name| (*name).to_owned()).collect()), "key of {query}");
    check_leaves(root, query);
}

fn gather(node: &Node, found: &mut Vec<String>) {
    found.extend(reasons(node));
    node.inputs.iter().for_each(|input| gather(input, found));
}

#[test]
fn linear_queries() {
    let mut each = Each::default();
    for (query, shape) in [
        ("SELECT * FROM orders", "S-"),
        ("SELECT country, id FROM orders", "S-"),
        ("SELECT o.id AS number FROM orders AS o", "S-"),
        ("SELECT id + 1 AS next FROM orders", "L-(S-)"),
        ("SELECT id FROM orders WHERE total > 5 AND country = 'DE'", "L-(S-)"),
        ("SELECT CASE WHEN paid THEN 1 ELSE 0 END AS p, CAST(weight AS BIGINT) AS w FROM orders", "L-(S-)"),
        ("SELECT id, unnest(tags) AS tag FROM orders", "L-(S-)"),
        ("SELECT address['city'] AS city FROM orders", "L-(S-)"),
        ("SELECT body ->> 'name' AS name, body -> 'n' AS n FROM orders WHERE body ? 'name'", "L-(S-)"),
        ("SELECT json_get_int(body, 'a', 'b') AS b FROM orders", "L-(S-)"),
        ("SELECT id FROM orders UNION ALL SELECT id FROM customers", "L-(S- S-)"),
        ("WITH a AS (SELECT id, total FROM orders WHERE paid) SELECT id FROM a WHERE total > 1", "L-(S-)"),
        ("SELECT x FROM (SELECT id * 2 AS x FROM orders) AS t WHERE x > 3", "L-(S-)"),
        ("SELECT id FROM orders ORDER BY id", "S-"),
        ("SELECT id FROM orders WHERE id IN (1, 2, 3)", "L-(S-)"),
        ("SELECT id FROM orders UNION ALL SELECT 1", "L-(S- F-)"),
    ] {
        let checked = || check(query, shape, shape.contains('F').then_some("rows that do not depend on any event"), None);
        each.run(checked);
    }
}

#[test]
fn merging_queries() {
    let mut each = Each::default();
    let by_country: Option<&[&str]> = Some(&["country"]);
    let one_row: Option<&[&str]> = Some(&[]);
    for (query, shape, key) in [
        ("SELECT country, count(*) AS n FROM orders GROUP BY country", "L(M(S-))", by_country),
        (
            "SELECT country, sum(total) AS s, min(id) AS a, max(id) AS b, avg(weight) AS w FROM orders GROUP BY country",
            "L(M(S-))",
            by_country,
        ),
        ("SELECT count(*) AS n FROM orders", "L(M(S-))", one_row),
        ("SELECT country, count(*) FILTER (WHERE paid) AS n FROM orders GROUP BY country", "L(M(S-))", by_country),
        ("SELECT country, sum(total) AS s FROM orders GROUP BY country HAVING count(*) > 2", "L(M(S-))", by_country),
        ("SELECT sum(total) / count(*) AS mean FROM orders WHERE paid", "L(M(L-(S-)))", one_row),
        ("SELECT date_trunc('month', placed_at) AS month, count(*) AS n FROM orders GROUP BY 1", "L(M(S-))", Some(&["month"])),
        ("SELECT DISTINCT country FROM orders", "M-(S-)", by_country),
        ("SELECT country FROM orders UNION SELECT country FROM customers", "M-(L-(S- S-))", by_country),
        ("SELECT country, count(DISTINCT customer) AS n FROM orders GROUP BY country", "L(M(M-(S-)))", by_country),
        (
            "SELECT country, count(DISTINCT customer) AS n, sum(total) AS s FROM orders GROUP BY country",
            "L(W(M(S-)))",
            by_country,
        ),
        ("SELECT country, count(DISTINCT customer) AS n, sum(weight) AS s FROM orders GROUP BY country", "L(M(S-))", by_country),
        (
            "SELECT country, count(DISTINCT customer) AS n, count(DISTINCT id) AS m FROM orders GROUP BY country",
            "L(M(S-))",
            by_country,
        ),
        ("SELECT country, array_agg(id ORDER BY placed_at) AS ids FROM orders GROUP BY country", "L(M(S-))", by_country),
        ("SELECT country, string_agg(body, ',' ORDER BY id) AS b FROM orders GROUP BY country", "L(M(S-))", by_country),
        (
            "SELECT customer, last_value(country ORDER BY placed_at) AS c FROM orders GROUP BY customer",
            "L(M(S-))",
            Some(&["customer"]),
        ),
        ("SELECT country, grouping(country) AS g, count(*) AS n FROM orders GROUP BY ROLLUP (country)", "L(M(S-) M(S-))", None),
        (
            "SELECT country, customer, sum(total) AS s FROM orders WHERE paid GROUP BY GROUPING SETS ((country), (customer), (country))",
            "L(M(L-(S-)) M(L-(S-)) M(L-(S-)))",
            None,
        ),
        ("SELECT median(weight) AS m, stddev(weight) AS s, approx_distinct(id) AS d FROM orders", "L(M(S-))", one_row),
        (
            "SELECT corr(weight, id) AS c, bool_and(paid) AS p, bit_xor(id) AS x, var_pop(weight) AS v FROM orders",
            "L(M(S-))",
            one_row,
        ),
        (
            "SELECT DISTINCT ON (customer) customer, country FROM orders ORDER BY customer, placed_at DESC",
            "L(M(S-))",
            Some(&["customer"]),
        ),
        (
            "SELECT tag, count(*) AS n FROM (SELECT unnest(tags) AS tag FROM orders) AS t GROUP BY tag",
            "L(M(L-(S-)))",
            Some(&["tag"]),
        ),
    ] {
        each.run(|| check(query, shape, None, key));
    }
}

#[test]
fn joins() {
    let mut each = Each::default();
    let no_keys = Some("a join on no equal keys");
    for (query, shape, reason, key) in [
        ("SELECT o.id, c.name FROM orders o JOIN customers c ON o.customer = c.id", "L-(J-(S- S-))", None, None),
        ("SELECT a.id, b.id AS other FROM orders a JOIN orders b ON a.customer = b.customer", "L-(J-(S- S-))", None, None),
        ("SELECT o.id, c.name FROM orders o JOIN customers c ON o.customer = c.id WHERE o.paid", "L-(J-(L-(S-) S-))", None, None),
        (
            "SELECT c.country, count(*) AS n FROM orders o JOIN customers c ON o.customer = c.id GROUP BY c.country",
            "L(M(L-(J-(S- S-))))",
            None,
            Some(&["country"] as &[&str]),
        ),
        (
            "SELECT a.country, a.n, b.m FROM (SELECT country, count(*) AS n FROM orders GROUP BY country) a
             JOIN (SELECT country, count(*) AS m FROM customers GROUP BY country) b ON a.country = b.country",
            "L(J(L(M(S-)) L(M(S-))))",
            None,
            Some(&["country"]),
        ),
        ("SELECT o.id, c.name FROM orders o JOIN customers c ON o.id > c.id", "L-(J-(S- S-))", no_keys, None),
        ("SELECT id FROM orders CROSS JOIN generate_series(1, 3) AS g(n)", "J-(S- F-)", no_keys, None),
        ("SELECT id FROM orders WHERE weight > (SELECT avg(weight) FROM orders)", "L(J(S- L(M(S-))))", no_keys, None),
        ("SELECT id FROM orders WHERE customer IN (SELECT id FROM customers)", "L-(I-(S- S-))", None, None),
        ("SELECT id FROM orders WHERE customer NOT IN (SELECT id FROM customers)", "L(I(S- S-))", None, None),
        ("SELECT id FROM orders o WHERE EXISTS (SELECT 1 FROM customers c WHERE c.id = o.customer)", "L-(I-(S- S-))", None, None),
        ("SELECT id FROM orders EXCEPT SELECT id FROM customers", "I(M-(S-) S-)", None, Some(&["id"])),
        ("SELECT id FROM orders INTERSECT SELECT id FROM customers", "I-(M-(S-) S-)", None, Some(&["id"])),
    ] {
        each.run(|| check(query, shape, reason, key));
    }
}

#[test]
fn aggregates_over_rows_that_can_be_taken_back() {
    let mut each = Each::default();
    let one_row: Option<&[&str]> = Some(&[]);
    let counted = "(SELECT country, count(*) AS n, sum(weight) AS w FROM orders GROUP BY country) AS t";
    for (query, shape, reason, key) in [
        ("SELECT n, count(*) AS m FROM $t GROUP BY n", "L(W(L(M(S-))))", None, Some(&["n"] as &[&str])),
        ("SELECT DISTINCT n FROM $t", "W(L(M(S-)))", None, Some(&["n"])),
        ("SELECT sum(n) AS s, avg(n) AS a FROM $t", "L(W(L(M(S-))))", None, one_row),
        (
            "SELECT country, n, count(*) AS m FROM $t GROUP BY ROLLUP (country, n)",
            "L(W(L(M(S-))) W(L(M(S-))) W(L(M(S-))))",
            None,
            None,
        ),
        (
            "SELECT n, max(country) AS m FROM $t GROUP BY n",
            "K(L(M(S-)))",
            Some("max over rows that can be taken back"),
            Some(&["n"]),
        ),
        ("SELECT n, sum(w) AS s FROM $t GROUP BY n", "K(L(M(S-)))", Some("sum over rows that can be taken back"), Some(&["n"])),
        ("SELECT DISTINCT w FROM $t", "K(L(M(S-)))", Some("DISTINCT over rows that can be taken back"), Some(&["w"])),
        // A row that always exists, with the first value of an order.
        ("SELECT max(n) AS m FROM $t", "L(P(F- T(L(M(S-)))))", Some("rows that do not depend on any event"), one_row),
        ("SELECT max(w) AS m FROM $t", "F(L(M(S-)))", Some("max over rows that can be taken back"), one_row),
        ("SELECT min(n) AS a, max(n) AS b FROM $t", "F(L(M(S-)))", Some("min, max over rows that can be taken back"), one_row),
    ] {
        each.run(|| check(&query.replace("$t", counted), shape, reason, key));
    }
}

#[test]
fn window_functions() {
    let mut each = Each::default();
    for (query, shape, reason, key) in [
        ("SELECT id, row_number() OVER (PARTITION BY country ORDER BY id) AS n FROM orders", "L(U(S-))", None, None),
        (
            "SELECT id, sum(id) OVER (PARTITION BY country ORDER BY id) AS n, lag(id) OVER (PARTITION BY country ORDER BY id) AS m FROM orders",
            "K(S-)",
            Some("a window function"),
            None,
        ),
        (
            "SELECT id, rank() OVER (PARTITION BY country ORDER BY weight) AS n FROM orders",
            "K(S-)",
            Some("a window function"),
            None,
        ),
        (
            "SELECT id, count(*) OVER (PARTITION BY country ORDER BY weight ROWS UNBOUNDED PRECEDING) AS n FROM orders",
            "L(U(S-))",
            None,
            None,
        ),
        (
            "SELECT id, rank() OVER (PARTITION BY country ORDER BY id) AS n, rank() OVER (PARTITION BY country ORDER BY total) AS m FROM orders",
            "L(U(U(S-)))",
            None,
            None,
        ),
        (
            "SELECT id FROM (SELECT id, rank() OVER (PARTITION BY country ORDER BY id) AS n FROM orders) AS t WHERE n <= 3",
            "L(R(S-))",
            None,
            None,
        ),
        (
            "SELECT id, country FROM (SELECT id, country, row_number() OVER (PARTITION BY country ORDER BY total) AS n FROM orders) AS t WHERE n = 1 AND id > 3",
            "L(R(S-))",
            None,
            Some(&["country"] as &[&str]),
        ),
        (
            "SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY country ORDER BY id) AS n FROM (SELECT max(id) AS id, country FROM orders GROUP BY country) AS m) AS t WHERE n = 1",
            "K(L(M(S-)))",
            Some("a window function"),
            None,
        ),
        ("SELECT id, row_number() OVER (ORDER BY id) AS n FROM orders", "L(U(S-))", None, None),
        ("SELECT id, ntile(3) OVER (ORDER BY id) AS n FROM orders", "F(S-)", Some("a window function"), None),
    ] {
        each.run(|| check(query, shape, reason, key));
    }
}

#[test]
fn recomputed_queries() {
    let mut each = Each::default();
    let one_row: Option<&[&str]> = Some(&[]);
    for (query, shape, reason, key) in [
        ("SELECT o.id, c.name FROM orders o LEFT JOIN customers c ON o.customer = c.id", "L(P(S- S-))", None, None),
        ("SELECT o.id FROM orders o LEFT JOIN customers c ON o.customer + 1 = c.id * 2", "L(P(L-(S-) L-(S-)))", None, None),
        (
            "SELECT id FROM orders o WHERE EXISTS (SELECT 1 FROM customers c WHERE c.id = o.customer AND c.id > o.id)",
            "K-(S- S-)",
            Some("IN, EXISTS, INTERSECT or EXCEPT"),
            None,
        ),
        (
            "SELECT id, window_end FROM SESSION(orders, placed_at, INTERVAL '1 hour' PARTITION BY country)",
            "L(O(L-(S-)))",
            Some("sessions, which late rows change"),
            None,
        ),
        ("SELECT id, total FROM orders ORDER BY total DESC LIMIT 10", "K(S-)", None, None),
        (
            "SELECT country, count(*) AS n FROM orders GROUP BY country ORDER BY n DESC, country LIMIT 3",
            "T(L(M(S-)))",
            None,
            Some(&["country"] as &[&str]),
        ),
        (
            "SELECT approx_median(weight) AS m FROM orders",
            "F(S-)",
            Some("approx_median, whose answer depends on how its input is cut"),
            one_row,
        ),
        (
            "SELECT nth_value(id, 2 ORDER BY id) AS m FROM orders",
            "F(S-)",
            Some("nth_value, whose partial answers cannot be put together"),
            one_row,
        ),
        ("SELECT o.id FROM orders o LEFT JOIN customers c ON o.id > c.id", "F(S- S-)", Some("a join"), None),
    ] {
        each.run(|| check(query, shape, reason, key));
    }
}

#[test]
fn every_node_says_what_it_costs_and_stores() {
    fn gather(node: &Node, found: &mut Vec<(&'static str, Option<String>)>) {
        found.push((cost(node), state(node)));
        node.inputs.iter().for_each(|input| gather(input, found));
    }
    let of = |query: &str| {
        let mut found = Vec::new();
        gather(&view(query).plan.root, &mut found);
        found.into_iter().find(|(_, state)| state.is_some()).unwrap()
    };
    for (query, cost, state) in [
        ("SELECT country, count(*) AS n FROM orders GROUP BY country", "O(changes)", "the state of each group"),
        (
            "SELECT o.id FROM orders o JOIN customers c ON o.customer = c.id",
            "O(changes + matches)",
            "rows by customer; rows by id",
        ),
        (
            "SELECT id FROM orders WHERE customer IN (SELECT id FROM customers)",
            "O(changes + matches)",
            "rows by customer; counts of id",
        ),
        (
            "SELECT o.id FROM orders o JOIN customers c ON o.id > c.id",
            "O(changes x rows of the other side)",
            "all rows; all rows",
        ),
        (
            "SELECT o.id, c.name FROM orders o LEFT JOIN customers c ON o.customer = c.id",
            "O(changes + matches)",
            "rows by customer; rows by id",
        ),
        (
            "SELECT o.id, c.name FROM orders o LEFT JOIN customers c ON o.customer = c.id AND o.id > length(c.name)",
            "O(changes + rows with equal keys)",
            "rows by customer; rows by id; counts of matches",
        ),
        ("SELECT id FROM orders ORDER BY total LIMIT 3", "O(changes + first rows of the touched keys)", "the first rows"),
        (
            "SELECT id, row_number() OVER (ORDER BY id) AS n FROM orders",
            "O(changes + rows behind them in the order of their keys)",
            "all rows in their order, with their answers",
        ),
        ("SELECT id, ntile(3) OVER (ORDER BY id) AS n FROM orders", "O(all input)", "all input, and the last answer"),
    ] {
        assert_eq!(of(query), (cost, Some(state.to_owned())), "{query}");
    }
}

#[test]
fn first_rows_are_all_that_is_kept() {
    let keeps = |query: &str| {
        fn found(node: &Node) -> bool {
            matches!(&node.op, Op::Keyed { keep: Some(_), .. } | Op::Ranks { .. }) || node.inputs.iter().any(found)
        }
        found(&view(query).plan.root)
    };
    let ranked = |rank: &str, more: &str, bound: &str| {
        format!(
            "SELECT id FROM (SELECT id, weight, {rank} OVER (PARTITION BY country ORDER BY id) AS n{more} FROM orders) AS t WHERE {bound}"
        )
    };
    assert!(keeps(&ranked("row_number()", "", "n = 1")));
    assert!(keeps(&ranked("rank()", "", "n < 3 AND weight > 2")));
    assert!(keeps("SELECT id FROM orders ORDER BY total LIMIT 3 OFFSET 2"));
    assert!(!keeps(&ranked("row_number()", "", "n > 1")));
    assert!(!keeps(&ranked("row_number()", "", "n = 1 OR weight > 2")));
    assert!(!keeps(&ranked("ntile(2)", "", "n = 1")));
    assert!(!keeps(&ranked("row_number()", ", count(*) OVER (PARTITION BY country) AS m", "n = 1 AND m > 2")));
    assert!(!keeps(&ranked("row_number()", ", sum(weight) OVER (PARTITION BY country ORDER BY id) AS m", "n = 1 AND m > 2")));
    assert!(!keeps("SELECT country, count(*) AS n FROM orders GROUP BY country ORDER BY n LIMIT 3"));
}

#[test]
fn constant_queries() {
    let constant = Some("rows that do not depend on any event");
    check("SELECT 1 AS one", "F-", constant, Some(&[]));
    check("SELECT count(*) AS n FROM orders WHERE false", "F-", constant, Some(&[]));
    check("SELECT id FROM orders WHERE 1 = 2", "F-", constant, Some(&[]));
    assert_eq!(summary(&view("SELECT 1 AS one")).class, Class::Linear);
}

#[test]
fn views_over_views_know_whether_rows_can_be_taken_back() {
    let catalog = load(
        "CREATE MATERIALIZED VIEW paid AS SELECT id, country FROM orders WHERE paid;
         CREATE MATERIALIZED VIEW counts AS SELECT country, count(*) AS n FROM paid GROUP BY country;
         CREATE MATERIALIZED VIEW large AS SELECT n, country FROM counts WHERE n > 3;
         CREATE MATERIALIZED VIEW how_many AS SELECT count(*) AS n FROM large;",
    )
    .unwrap();
    let shapes: Vec<(String, String)> = catalog.views.iter().map(|view| (view.name.clone(), shape(&view.plan.root))).collect();
    let shapes: Vec<(&str, &str)> = shapes.iter().map(|(name, shape)| (name.as_str(), shape.as_str())).collect();
    assert_eq!(shapes, [("paid", "L-(S-)"), ("counts", "L(M(S-))"), ("large", "L(S)"), ("how_many", "L(W(S))")]);
    assert_eq!(catalog.views[2].plan.root.key, Some(vec![1]));
}

#[test]
fn nodes_are_numbered_depth_first() {
    fn ids(node: &Node, found: &mut Vec<usize>) {
        found.push(node.id);
        node.inputs.iter().for_each(|input| ids(input, found));
    }
    let mut found = Vec::new();
    ids(&view("SELECT country, count(*) AS n FROM (SELECT country FROM orders WHERE paid UNION ALL SELECT country FROM customers) t GROUP BY country").plan.root, &mut found);
    assert_eq!(found, (0..found.len()).collect::<Vec<_>>());
}

#[test]
fn recursions_whose_steps_only_add_rows_are_kept() {
    let explained = |first: &str, step: &str| {
        crate::describe::explain(&view(&format!("WITH RECURSIVE r(n) AS (SELECT {first} FROM orders {step}) SELECT n FROM r")))
    };
    let joined = "SELECT o.customer FROM r JOIN orders o ON o.id = r.n";
    let kept = explained("id", &format!("UNION {joined}"));
    assert!(kept.contains("recursion of r") && kept.contains("O(changes + rows derived from them)"), "{kept}");
    assert!(kept.contains("the number of its derivations"), "{kept}");
    let walks = explained("id", &format!("UNION ALL {joined}"));
    assert!(walks.contains("recursion of r") && !walks.contains("derivations"), "{walks}");
    for step in [
        "UNION SELECT o.customer FROM r LEFT JOIN orders o ON o.id = r.n".to_owned(),
        format!("UNION {joined} WHERE NOT EXISTS (SELECT 1 FROM customers c WHERE c.id = r.n)"),
        format!("UNION SELECT DISTINCT customer FROM ({joined}) q"),
    ] {
        let recomputed = explained("id", &step);
        assert!(recomputed.contains("because of a recursive query"), "{recomputed}");
    }
    let floats = explained("weight", "UNION SELECT o.weight FROM r JOIN orders o ON o.id = r.n");
    assert!(floats.contains("because of a recursive query"), "{floats}");
}

//! The views: one of each class, in two variants each, and what DuckDB computes for them.

/// A view that the driver edits.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) name: &'static str,
    /// The text after `CREATE MATERIALIZED VIEW name`, by variant.
    pub(crate) variants: [&'static str; 2],
    /// What DuckDB computes instead of the query, by variant, where its SQL differs.
    pub(crate) oracle: Option<[&'static str; 2]>,
    /// Whether it reads the column `total` of orders, so that it leaves out orders with a bad one.
    pub(crate) reads_total: bool,
    /// The view that it reads.
    pub(crate) over: Option<&'static str>,
    /// The sources that it reads, directly or through other views.
    pub(crate) sources: &'static [&'static str],
    /// Which of its two variants the SQL file holds; none if there is no file.
    pub(crate) variant: Option<usize>,
}

impl View {
    const fn new(name: &'static str, variants: [&'static str; 2]) -> View {
        View { name, variants, oracle: None, reads_total: false, over: None, sources: &["orders"], variant: Some(0) }
    }

    const fn reading_total(mut self) -> View {
        self.reads_total = true;
        self
    }

    const fn of(mut self, sources: &'static [&'static str]) -> View {
        self.sources = sources;
        self
    }

    const fn over(mut self, view: &'static str) -> View {
        self.over = Some(view);
        self
    }

    const fn in_duckdb(mut self, oracle: [&'static str; 2]) -> View {
        self.oracle = Some(oracle);
        self
    }

    /// The text of its SQL file.
    pub(crate) fn file(&self, variant: usize) -> String {
        format!("CREATE MATERIALIZED VIEW {} {};\n", self.name, self.variants[variant])
    }

    /// DuckDB's query for a variant.
    pub(crate) fn query(&self, variant: usize) -> &'static str {
        self.oracle.map_or_else(|| self.variants[variant].trim_start_matches("AS "), |oracle| oracle[variant])
    }
}

pub(crate) const SOURCES: &str = "
CREATE EXTERNAL TABLE orders (order_id BIGINT, customer BIGINT, country VARCHAR, total DECIMAL(12, 2), placed_at TIMESTAMP)
STORED AS NATS LOCATION '$URL/ORDERS' OPTIONS (subject 'orders.placed', watermark 'placed_at - 30 seconds');
CREATE EXTERNAL TABLE refunds (order_id BIGINT, amount DECIMAL(12, 2))
STORED AS NATS LOCATION '$URL/ORDERS' OPTIONS (subject 'orders.refunded', on_no_events 'ignore');
";

/// The view that the driver adds and drops.
pub(crate) const EXTRA: &str = "extra";

/// The views, each after those that it reads.
pub(crate) fn all() -> Vec<View> {
    let mut views: Vec<View> = of_orders().into_iter().chain(of_views()).collect();
    views.extend([
        View::new(
            "seen",
            [
                "AS SELECT DISTINCT country, customer % 50 AS bucket FROM orders",
                "AS SELECT DISTINCT country, customer % 70 AS bucket FROM orders",
            ],
        ),
        // A join of two sources of one stream.
        View::new(
            "refunded",
            [
                "AS SELECT o.order_id, o.customer, r.amount FROM orders o JOIN refunds r ON o.order_id = r.order_id",
                "AS SELECT o.order_id, o.country, r.amount FROM orders o JOIN refunds r ON o.order_id = r.order_id WHERE r.amount > 20",
            ],
        )
        .of(&["orders", "refunds"]),
        View::new(
            "unrefunded",
            [
                "AS SELECT o.order_id, o.country, r.amount FROM orders o LEFT JOIN refunds r ON o.order_id = r.order_id WHERE o.customer < 90",
                "AS SELECT o.order_id, r.amount FROM orders o LEFT JOIN refunds r ON o.order_id = r.order_id AND r.amount > 30 WHERE o.customer < 60",
            ],
        )
        .of(&["orders", "refunds"]),
        // Of few events.
        View::new(
            "refund_totals",
            [
                "AS SELECT count(*) AS n, sum(amount) AS amount FROM refunds",
                "AS SELECT count(*) AS n, sum(amount) AS amount, max(order_id) AS newest FROM refunds",
            ],
        )
        .of(&["refunds"]),
        View::new(
            EXTRA,
            ["AS SELECT count(*) AS n, max(order_id) AS newest FROM orders", "AS SELECT count(*) AS n FROM orders"],
        ),
    ]);
    views.extend(windows());
    if let Some(extra) = views.iter_mut().find(|view| view.name == EXTRA) {
        extra.variant = None;
    }
    views
}

/// Rows and groups of one source.
fn of_orders() -> [View; 3] {
    [
        // Linear.
        View::new(
            "large",
            [
                "AS SELECT order_id, customer, total FROM orders WHERE total > 500",
                "AS SELECT order_id, customer, country, total FROM orders WHERE total > 700",
            ],
        )
        .reading_total(),
        // Merged.
        View::new(
            "by_country",
            [
                "AS SELECT country, count(*) AS n, sum(total) AS revenue FROM orders GROUP BY country",
                "AS SELECT country, count(*) AS n, sum(total) AS revenue, max(order_id) AS newest FROM orders GROUP BY country",
            ],
        )
        .reading_total(),
        View::new(
            "by_customer",
            [
                "AS SELECT customer, count(*) AS n, sum(total) AS revenue FROM orders GROUP BY customer",
                "AS SELECT customer, count(*) AS n, sum(total) AS revenue FROM orders WHERE country <> 'NZ' GROUP BY customer",
            ],
        )
        .reading_total(),
    ]
}

/// What reads these.
fn of_views() -> [View; 3] {
    [
        // First rows of a view.
        View::new(
            "best",
            [
                "AS SELECT customer, revenue FROM by_customer ORDER BY revenue DESC, customer LIMIT 15",
                "AS SELECT customer, revenue, n FROM by_customer ORDER BY revenue DESC, customer LIMIT 25",
            ],
        )
        .over("by_customer"),
        // Windows over a view: recomputed by key.
        View::new(
            "ranked",
            [
                "AS SELECT customer, n, rank() OVER (PARTITION BY n ORDER BY revenue DESC) AS place FROM by_customer",
                "AS SELECT customer, rank() OVER (PARTITION BY n % 7 ORDER BY revenue DESC, customer) AS place FROM by_customer",
            ],
        )
        .over("by_customer"),
        // Recomputed as a whole.
        View::new(
            "places",
            [
                "AS SELECT country, n, rank() OVER (ORDER BY n DESC) AS place FROM by_country",
                "AS SELECT country, rank() OVER (ORDER BY revenue DESC) AS place FROM by_country",
            ],
        )
        .over("by_country"),
    ]
}

/// Windows of time.
fn windows() -> [View; 2] {
    [
        View::new(
            "sessions",
            [
                "AS SELECT customer, window_start, window_end, count(*) AS n \
                 FROM SESSION(orders, placed_at, INTERVAL '5 minutes' PARTITION BY customer) GROUP BY customer, window_start, window_end",
                "AS SELECT customer, window_start, max(order_id) AS newest \
                 FROM SESSION(orders, placed_at, INTERVAL '5 minutes' PARTITION BY customer) GROUP BY customer, window_start, window_end",
            ],
        )
        .in_duckdb([
            "WITH fresh AS (SELECT customer, order_id, placed_at, coalesce(placed_at - lag(placed_at) OVER (PARTITION BY customer \
             ORDER BY placed_at, order_id) > INTERVAL 5 MINUTE, true) AS fresh FROM orders), \
             numbered AS (SELECT *, count(*) FILTER (fresh) OVER (PARTITION BY customer ORDER BY placed_at, order_id) AS session FROM fresh) \
             SELECT customer, min(placed_at) AS window_start, max(placed_at) + INTERVAL 5 MINUTE AS window_end, count(*) AS n \
             FROM numbered GROUP BY customer, session",
            "WITH fresh AS (SELECT customer, order_id, placed_at, coalesce(placed_at - lag(placed_at) OVER (PARTITION BY customer \
             ORDER BY placed_at, order_id) > INTERVAL 5 MINUTE, true) AS fresh FROM orders), \
             numbered AS (SELECT *, count(*) FILTER (fresh) OVER (PARTITION BY customer ORDER BY placed_at, order_id) AS session FROM fresh) \
             SELECT customer, min(placed_at) AS window_start, max(order_id) AS newest FROM numbered GROUP BY customer, session",
        ]),
        View::new(
            "minutes",
            [
                "WITH (emit = 'final') AS SELECT window_end, count(*) AS n, max(order_id) AS newest \
                 FROM TUMBLE(orders, placed_at, INTERVAL '1 minute') GROUP BY window_end",
                "WITH (emit = 'final') AS SELECT window_end, country, count(*) AS n \
                 FROM TUMBLE(orders, placed_at, INTERVAL '1 minute') GROUP BY window_end, country",
            ],
        )
        .in_duckdb([
            "SELECT * FROM (SELECT date_trunc('minute', placed_at) + INTERVAL 1 MINUTE AS window_end, count(*) AS n, max(order_id) AS newest \
             FROM orders GROUP BY 1) AS counted WHERE window_end <= (SELECT max(placed_at) - INTERVAL 30 SECOND FROM orders)",
            "SELECT * FROM (SELECT date_trunc('minute', placed_at) + INTERVAL 1 MINUTE AS window_end, country, count(*) AS n \
             FROM orders GROUP BY 1, 2) AS counted WHERE window_end <= (SELECT max(placed_at) - INTERVAL 30 SECOND FROM orders)",
        ]),
    ]
}

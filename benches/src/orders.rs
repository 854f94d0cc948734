//! The events of the benchmarks: orders of about 170 bytes, as JSON, the same in every run.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use fastrand::Rng;
use miette::{IntoDiagnostic, Result, WrapErr};

/// The columns of a body, with SQL types that both programs know.
pub(crate) const COLUMNS: &[(&str, &str)] = &[
    ("order_id", "BIGINT"),
    ("customer_id", "BIGINT"),
    ("country", "VARCHAR"),
    ("product", "VARCHAR"),
    ("quantity", "INTEGER"),
    ("total", "DECIMAL(12, 2)"),
    ("status", "VARCHAR"),
    ("placed_at", "TIMESTAMP"),
];

/// The three views, with 5, 1,000 and 100,000 groups.
pub(crate) const VIEWS: &[(&str, &str)] = &[
    ("by_country", "SELECT country, count(*) AS orders, sum(total) AS revenue FROM orders GROUP BY country"),
    ("by_product", "SELECT product, count(*) AS orders, sum(quantity) AS pieces FROM orders GROUP BY product"),
    (
        "by_customer",
        "SELECT customer_id, count(*) AS orders, sum(total) AS spent, max(total) AS largest FROM orders GROUP BY customer_id",
    ),
];

/// Makes orders one by one.
pub(crate) struct Orders {
    random: Rng,
    next: u64,
    customers: u64,
}

impl Orders {
    /// Creates a generator of orders of random customers in `0..customers`.
    pub(crate) fn new(customers: u64) -> Orders {
        Orders { random: Rng::with_seed(2013), next: 0, customers }
    }

    /// Returns the body of the next order.
    pub(crate) fn body(&mut self) -> String {
        let customer = self.random.u64(..self.customers);
        self.body_of(customer)
    }

    /// Returns the body of the next order, of a given customer.
    pub(crate) fn body_of(&mut self, customer: u64) -> String {
        let random = &mut self.random;
        self.next += 1;
        let country = ["DE", "FR", "JP", "BR", "NZ"][random.usize(..5)];
        let status = ["placed", "paid", "shipped"][random.usize(..3)];
        format!(
            "{{\"order_id\":{},\"customer_id\":{customer},\"country\":\"{country}\",\"product\":\"keyboard-{:04}\",\"quantity\":{},\
             \"total\":{}.{:02},\"status\":\"{status}\",\"placed_at\":\"2026-01-{:02}T{:02}:{:02}:{:02}.{:03}Z\"}}",
            1_000_000 + self.next,
            random.u32(..1000),
            random.u32(1..10),
            random.u32(..1000),
            random.u32(..100),
            random.u32(1..29),
            random.u32(..24),
            random.u32(..60),
            random.u32(..60),
            random.u32(..1000),
        )
    }

    /// Writes `count` orders as JSON lines into `files` files of a folder. Returns the files.
    ///
    /// # Errors
    /// If the disk fails.
    pub(crate) fn write(&mut self, folder: &Path, count: u64, files: u64) -> Result<Vec<PathBuf>> {
        (0..files)
            .map(|index| {
                let path = folder.join(format!("orders-{index:03}.jsonl"));
                let mut made = || -> std::io::Result<()> {
                    let mut file = BufWriter::with_capacity(1 << 20, std::fs::File::create(&path)?);
                    for _ in count * index / files..count * (index + 1) / files {
                        writeln!(file, "{}", self.body())?;
                    }
                    file.flush()
                };
                made().into_diagnostic().wrap_err_with(|| format!("writing {}", path.display()))?;
                Ok(path)
            })
            .collect()
    }
}

/// Returns the declaration of the source `orders`.
pub(crate) fn source(stored_as: &str, location: &str) -> String {
    let columns: Vec<String> = COLUMNS.iter().map(|(name, sql_type)| format!("{name} {sql_type}")).collect();
    format!("CREATE EXTERNAL TABLE orders ({}) STORED AS {stored_as} LOCATION '{location}';\n", columns.join(", "))
}

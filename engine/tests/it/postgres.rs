//! The Postgres protocol, with Debian's psql.

use std::process::{Command, Output};

use crate::orders::{Orders, VIEWS, wait_until};
use crate::served::Served;

struct Database {
    orders: Orders,
    port: u16,
    _served: Served,
}

/// A free port: the server says which one it takes only in its log.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn database(variables: &[(&str, &str)]) -> Database {
    let mut orders = Orders::new(VIEWS);
    orders.publish(1_000);
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let served = Served::start(&orders, &[variables, &[("ALLUVIUM_SERVE_POSTGRES", address.as_str())]].concat());
    wait_until("the views have every order", || VIEWS.iter().all(|(name, _)| orders.offset(name) == 1_001));
    Database { orders, port, _served: served }
}

impl Database {
    /// Runs psql with one argument for each -c.
    fn psql(&self, password: &str, statements: &[&str]) -> Output {
        let mut command = Command::new("psql");
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "alluvium", "-d", "views"]);
        command.arg("-p").arg(self.port.to_string()).env("PGPASSWORD", password).env("PGCONNECT_TIMEOUT", "60");
        statements.iter().for_each(|statement| {
            command.args(["-c", statement]);
        });
        command.output().unwrap()
    }

    fn rows(&self, statements: &[&str]) -> String {
        let output = self.psql("", statements);
        assert!(output.status.success(), "{statements:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn error(&self, sql: &str) -> String {
        let output = self.psql("", &[sql]);
        assert!(!output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }
}

#[test]
fn psql_reads_views() {
    let database = database(&[]);
    let expected =
        database.orders.succeed(&["query", "--format", "csv", "SELECT country, n, revenue FROM by_country ORDER BY country"]);
    let expected: Vec<String> = expected.lines().skip(1).map(|line| line.replace(',', "|")).collect();
    let rows = database.rows(&["SELECT country, n, revenue FROM by_country ORDER BY country;"]);
    assert_eq!(rows.lines().collect::<Vec<_>>(), expected);
    // Types as PostgreSQL writes them.
    let values = "SELECT true, CAST(NULL AS INT), 1.50::DECIMAL(5, 2), TIMESTAMP '2026-01-02 03:04:05', 'a''b', ARRAY[1, 2], 0.5::DOUBLE, DATE '2026-01-02'";
    assert_eq!(database.rows(&[values]), "t||1.50|2026-01-02 03:04:05|a'b|{1,2}|0.5|2026-01-02\n");
    assert_eq!(database.rows(&["BEGIN", "SELECT count(*) FROM by_country", "COMMIT", "SHOW server_encoding"]), "5\nUTF8\n");
    assert_eq!(database.rows(&["SELECT 1; SELECT 2"]), "1\n2\n");
    assert_eq!(database.rows(&["SELECT count(*) FROM alluvium.views"]), format!("{}\n", VIEWS.len()));
    assert_eq!(database.rows(&["SELECT count(*) FROM generate_series(1, 300000) a"]), "300000\n");
    assert_eq!(database.rows(&["SELECT value FROM generate_series(1, 300000)"]).lines().count(), 300_000);

    let wrong = database.error("SELECT revenu FROM by_country");
    assert!(wrong.contains("revenu") && wrong.contains("did you mean revenue?") && wrong.contains("LINE 1"), "{wrong}");
    let parameter = database.error("SELECT $99999999999");
    assert!(parameter.contains("there is no parameter $99999999999"), "{parameter}");
    assert_eq!(database.rows(&["SELECT 1; -- done"]), "1\n");
    let changes = database.error("DROP TABLE by_country");
    assert!(changes.contains("a query can only read"), "{changes}");
}

/// The extended protocol: parameters, prepared statements, values in the binary format.
#[test]
fn psycopg_binds_parameters() {
    let database = database(&[]);
    let script = r#"
import datetime, decimal, os, psycopg
with psycopg.connect(os.environ["DSN"], autocommit=True) as connection:
    country, n = connection.execute("SELECT country, n FROM by_country WHERE country = %s AND n > %s", ("DE", 0)).fetchone()
    assert country == "DE" and n > 0, (country, n)
    total = connection.execute("SELECT sum(n) FROM by_country WHERE revenue > %s", (decimal.Decimal("0.5"),)).fetchone()[0]
    assert total == 1000, total
    for binary in (False, True):
        row = connection.execute(
            "SELECT CAST(1 AS BIGINT), 'x', 2.5::DOUBLE, 1.50::DECIMAL(5, 2), -0.00012::DECIMAL(9, 5), 123456.7::DECIMAL(9, 1), "
            "DATE '2026-01-02', TIMESTAMP '2026-01-02 03:04:05', true, CAST(NULL AS INT)", binary=binary).fetchone()
        assert row == (1, "x", 2.5, decimal.Decimal("1.50"), decimal.Decimal("-0.00012"), decimal.Decimal("123456.7"),
                       datetime.date(2026, 1, 2), datetime.datetime(2026, 1, 2, 3, 4, 5), True, None), (binary, row)
    for _ in range(8):
        rows = connection.execute("SELECT order_id FROM large_orders WHERE order_id > %s ORDER BY order_id", (500,), prepare=True).fetchall()
        assert rows == sorted(rows) and all(row[0] > 500 for row in rows)
    try:
        connection.execute("SELECT n FROM by_country WHERE n = %s", ("many",))
        raise SystemExit("a text was taken for a number")
    except psycopg.Error as error:
        assert "BIGINT" in str(error), error
    assert connection.execute("SELECT 1").fetchone() == (1,)
with psycopg.connect(os.environ["DSN"]) as connection:
    assert connection.execute("SELECT count(*) FROM by_country").fetchone() == (5,)
    connection.rollback()
print("done")
"#;
    let output = Command::new(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/bin/python"))
        .args(["-c", script])
        .env("DSN", format!("host=127.0.0.1 port={} user=alluvium dbname=views", database.port))
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && output.stdout == b"done\n", "{log}");
}

#[test]
fn a_transaction_reads_one_snapshot() {
    let mut database = database(&[]);
    let script = "BEGIN;\nSELECT n FROM totals;\n\\! while [ ! -e published ]; do sleep 0.05; done\nSELECT n FROM totals;\nSELECT sum(n) FROM by_bucket;\nCOMMIT;\nSELECT n FROM totals;";
    let path = database.orders.dir().join("script.psql");
    std::fs::write(&path, script).unwrap();
    let child = Command::new("psql")
        .args(["-X", "-q", "-A", "-t", "-h", "127.0.0.1", "-U", "alluvium", "-d", "views", "-f", "script.psql", "-p"])
        .arg(database.port.to_string())
        .current_dir(database.orders.dir())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Whether psql has begun before or after this, all within its transaction is of one commit.
    database.orders.publish(500);
    wait_until("the views have every order", || VIEWS.iter().all(|(name, _)| database.orders.offset(name) == 1_501));
    std::fs::write(database.orders.dir().join("published"), "").unwrap();
    let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), 4, "{output}");
    assert!(lines[0] == lines[1] && lines[1] == lines[2] && lines[3] == "1500", "{output}");
}

#[test]
fn a_password_is_asked_for_where_there_is_one() {
    let database = database(&[("ALLUVIUM_SERVE_POSTGRES_PASSWORD", "se cret")]);
    let right = database.psql("se cret", &["SELECT 1"]);
    assert!(right.status.success(), "{}", String::from_utf8_lossy(&right.stderr));
    for wrong in ["secret", ""] {
        let output = database.psql(wrong, &["SELECT 1"]);
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && log.contains("password"), "{log}");
    }
    let mut open = database.orders.alluvium(&["run"]);
    open.env("ALLUVIUM_SERVE_POSTGRES", "0.0.0.0:0").env("ALLUVIUM_DATA", database.orders.dir().join("other"));
    let output = open.output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && log.contains("there is no password"), "{log}");
}

//! What other engines call things, and what to write here: functions, types and statements of PostgreSQL, DuckDB, Snowflake,
//! BigQuery, Spark, ksqlDB, Flink and RisingWave. Only for messages about unknown names.

/// A name elsewhere, and what to write here.
type Pair = (&'static str, &'static str);

/// Returns what to write instead of an unknown function.
pub(crate) fn function(name: &str) -> Option<&'static str> {
    find(&FUNCTIONS, name)
}

/// Returns what to write instead of a type that a column cannot have.
pub(crate) fn data_type(name: &str) -> Option<&'static str> {
    let word = name.split(['(', ' ', '<']).next().unwrap_or(name);
    find(&TYPES, word)
}

/// Returns the suggestions for functions that are SQL, each once.
#[cfg(test)]
pub(crate) fn suggestions() -> std::collections::BTreeSet<&'static str> {
    const PROSE: [&str; 9] = [
        TUMBLED,
        HOPPED,
        IN_SESSIONS,
        SECONDS_BETWEEN,
        TIME_OF_EVENT,
        AN_ID,
        "a dot: data.member",
        UNNESTED_MEMBER,
        "the text itself: -> and ->> read JSON text",
    ];
    FUNCTIONS.iter().map(|(_, ours)| *ours).filter(|ours| !PROSE.contains(ours)).collect()
}

fn find(pairs: &[Pair], name: &str) -> Option<&'static str> {
    pairs.iter().find(|(theirs, _)| theirs.eq_ignore_ascii_case(name)).map(|(_, ours)| *ours)
}

const MEMBER: &str = "body ->> 'member'";
const MEMBER_JSON: &str = "body -> 'member'";
const LATER: &str = "at + INTERVAL '1 day'";
const SECONDS_BETWEEN: &str = "date_part('epoch', b) - date_part('epoch', a) for seconds, or b - a for an INTERVAL";
const FORMATTED: &str = "to_char(at, '%Y-%m-%d')";
const PARSED: &str = "to_timestamp(text, '%Y-%m-%d')";
const ALL_VALUES: &str = "array_agg(x) FILTER (WHERE x IS NOT NULL)";
const EXTRACTED: &str = "regexp_match(text, pattern)[1]";
const AN_ID: &str = "an id of the body, or _sequence";
const UNNESTED_MEMBER: &str = "unnest(list), where the column is declared as a list";
const TUMBLED: &str = "FROM TUMBLE(source, time_column, INTERVAL '1 hour'), which adds window_start and window_end";
const HOPPED: &str =
    "FROM HOP(source, time_column, INTERVAL '5 minutes', INTERVAL '1 hour'), which adds window_start and window_end";
const IN_SESSIONS: &str =
    "FROM SESSION(source, time_column, INTERVAL '30 minutes' PARTITION BY key), which adds window_start and window_end";
const TIME_OF_EVENT: &str = "a time of the events: a column of the body, or _timestamp";

const FUNCTIONS: [Pair; 79] = [
    ("tumble", TUMBLED),
    ("tumble_start", TUMBLED),
    ("tumble_end", TUMBLED),
    ("hop", HOPPED),
    ("hop_start", HOPPED),
    ("hop_end", HOPPED),
    ("session_start", IN_SESSIONS),
    ("session_end", IN_SESSIONS),
    ("time_window", TUMBLED),
    ("window", TUMBLED),
    ("age", "b - a"),
    ("approx_count_distinct", "approx_distinct(x)"),
    ("array_size", "array_length(list)"),
    ("charindex", "strpos(text, part)"),
    ("collect_list", ALL_VALUES),
    ("collect_set", "array_agg(DISTINCT x) FILTER (WHERE x IS NOT NULL)"),
    ("date_add", LATER),
    ("date_diff", SECONDS_BETWEEN),
    ("date_sub", "at - INTERVAL '1 day'"),
    ("dateadd", LATER),
    ("datediff", SECONDS_BETWEEN),
    ("datetrunc", "date_trunc('hour', at)"),
    ("day", "date_part('day', at)"),
    ("dayofmonth", "date_part('day', at)"),
    ("dayofweek", "date_part('dow', at)"),
    ("dayofyear", "date_part('doy', at)"),
    ("div0", "x / nullif(y, 0)"),
    ("endswith", "ends_with(text, part)"),
    ("epoch_ms", "to_timestamp_millis(number)"),
    ("explode", "unnest(list)"),
    ("flatten", "unnest(list)"),
    ("format", "concat(a, b)"),
    ("format_date", FORMATTED),
    ("format_timestamp", FORMATTED),
    ("gen_random_uuid", AN_ID),
    ("get_json_object", MEMBER),
    ("getdate", TIME_OF_EVENT),
    ("hour", "date_part('hour', at)"),
    ("if", "CASE WHEN condition THEN a ELSE b END"),
    ("iff", "CASE WHEN condition THEN a ELSE b END"),
    ("isnull", "x IS NULL"),
    ("json_array_elements", UNNESTED_MEMBER),
    ("json_array_length", "json_length(body)"),
    ("json_build_object", "named_struct('name', value)"),
    ("json_extract", MEMBER_JSON),
    ("json_extract_scalar", MEMBER),
    ("json_extract_string", MEMBER),
    ("json_query", MEMBER_JSON),
    ("json_value", MEMBER),
    ("jsonb_array_elements", UNNESTED_MEMBER),
    ("jsonb_array_length", "json_length(body)"),
    ("jsonb_build_object", "named_struct('name', value)"),
    ("locate", "strpos(text, part)"),
    ("minute", "date_part('minute', at)"),
    ("month", "date_part('month', at)"),
    ("newid", AN_ID),
    ("parse_json", "the text itself: -> and ->> read JSON text"),
    ("parse_timestamp", PARSED),
    ("quantile", "percentile_cont(0.5) WITHIN GROUP (ORDER BY x)"),
    ("quantile_cont", "percentile_cont(0.5) WITHIN GROUP (ORDER BY x)"),
    ("quarter", "date_part('quarter', at)"),
    ("regexp_extract", EXTRACTED),
    ("regexp_matches", "regexp_like(text, pattern)"),
    ("regexp_substr", EXTRACTED),
    ("safe_divide", "x / nullif(y, 0)"),
    ("second", "date_part('second', at)"),
    ("size", "array_length(list)"),
    ("split", "string_to_array(text, ',')"),
    ("strptime", PARSED),
    ("struct_extract", "a dot: data.member"),
    ("sum_if", "sum(x) FILTER (WHERE condition)"),
    ("sumif", "sum(x) FILTER (WHERE condition)"),
    ("sysdate", TIME_OF_EVENT),
    ("time_bucket", "date_bin(INTERVAL '15 minutes', at)"),
    ("timestamp_trunc", "date_trunc('hour', at)"),
    ("to_number", "CAST(text AS DECIMAL(12, 2))"),
    ("unix_timestamp", "date_part('epoch', at)"),
    ("variance", "var_samp(x)"),
    ("year", "date_part('year', at)"),
];

const TYPES: [Pair; 30] = [
    ("BIT", "BOOLEAN"),
    ("BLOB", "BYTEA"),
    ("BYTES", "BYTEA"),
    ("DATETIME", "TIMESTAMP"),
    ("DATETIME2", "TIMESTAMP"),
    ("ENUM", "VARCHAR"),
    ("FLOAT64", "DOUBLE"),
    ("GEOGRAPHY", "VARCHAR"),
    ("HUGEINT", "DECIMAL(38, 0)"),
    ("INET", "VARCHAR"),
    ("INT64", "BIGINT"),
    ("JSON", "VARCHAR, and read it with body ->> 'member', or STRUCT<member VARCHAR>"),
    ("JSONB", "VARCHAR, and read it with body ->> 'member', or STRUCT<member VARCHAR>"),
    ("LONG", "BIGINT"),
    ("MONEY", "DECIMAL(12, 2)"),
    ("NUMBER", "DECIMAL(12, 2), or BIGINT for whole numbers"),
    ("OBJECT", "STRUCT<member VARCHAR>"),
    ("RECORD", "STRUCT<member VARCHAR>"),
    ("ROW", "STRUCT<member VARCHAR>"),
    ("SERIAL", "BIGINT"),
    ("BIGSERIAL", "BIGINT"),
    ("SMALLDATETIME", "TIMESTAMP"),
    ("SMALLMONEY", "DECIMAL(12, 2)"),
    ("TIMESTAMP_LTZ", "TIMESTAMP WITH TIME ZONE"),
    ("TIMESTAMP_NTZ", "TIMESTAMP"),
    ("TIMESTAMP_TZ", "TIMESTAMP WITH TIME ZONE"),
    ("UNIQUEIDENTIFIER", "VARCHAR"),
    ("UUID", "VARCHAR"),
    ("VARBINARY", "BYTEA"),
    ("VARIANT", "VARCHAR, and read it with body ->> 'member', or STRUCT<member VARCHAR>"),
];

/// Returns why a statement of another engine is refused, and what to write, by its first words in capitals.
pub(crate) fn statement(words: &[&str]) -> Option<(&'static str, &'static str)> {
    const SOURCE: &str = "write CREATE EXTERNAL TABLE name (columns) STORED AS NATS LOCATION 'nats://host:port/STREAM'";
    Some(match words {
        ["CREATE", "SOURCE" | "STREAM" | "FOREIGN" | "CONNECTOR", ..] => {
            ("a stream is declared as an external table here", SOURCE)
        }
        ["CREATE", "SINK", ..] => (
            "there are no sinks: a view's rows are in Parquet files, which any reader opens",
            "write CREATE MATERIALIZED VIEW name AS SELECT ..., and read data/views/name/current/*.parquet",
        ),
        ["CREATE", "CONNECTION" | "SECRET" | "USER" | "ROLE", ..] | ["SET" | "GRANT", ..] => (
            "settings and credentials do not stand in these files",
            "write them in alluvium.toml, or in the OPTIONS of CREATE EXTERNAL TABLE",
        ),
        ["CREATE", "DYNAMIC" | "LIVE" | "STREAMING" | "CONTINUOUS" | "INCREMENTAL", ..] => {
            ("every view here is kept up to date", "write CREATE MATERIALIZED VIEW name AS SELECT ...")
        }
        ["CREATE", "INDEX" | "UNIQUE", ..] => ("a view has no indexes: its rows are in Parquet files", "leave the statement out"),
        ["CREATE", "TEMPORARY" | "TEMP" | "RECURSIVE", "VIEW", ..] => {
            ("a view is either kept or a name for a query", "write CREATE MATERIALIZED VIEW name AS SELECT ..., or CREATE VIEW")
        }
        ["CREATE", "MACRO" | "PROCEDURE" | "AGGREGATE", ..] => (
            "functions here are SQL expressions over the values of one row",
            "write CREATE FUNCTION name(a INT, b INT) RETURNS INT RETURN a + b",
        ),
        ["CREATE", "TYPE" | "DOMAIN", ..] => {
            ("types have no names of their own", "write the type where it is used: STRUCT<a INT, b VARCHAR>")
        }
        ["CREATE", "SCHEMA" | "DATABASE" | "CATALOG", ..] | ["USE" | "ATTACH", ..] => {
            ("names have no schema here: a folder is one catalog", "leave the statement out")
        }
        ["CREATE", "TASK" | "PIPE" | "TRIGGER" | "JOB" | "SUBSCRIPTION" | "PUBLICATION", ..] => {
            ("every view here is kept up to date by itself", "write CREATE MATERIALIZED VIEW name AS SELECT ...")
        }
        ["CREATE", "SEQUENCE", ..] => {
            ("events are numbered by their stream", "declare the column _sequence BIGINT UNSIGNED in the source")
        }
        ["REFRESH", ..] => {
            ("every view here is kept up to date", "leave the statement out; `alluvium rebuild VIEW` computes one anew")
        }
        ["ALTER", ..] => {
            ("the files are the whole truth", "change the statement that declares it; a view is rebuilt where it has to be")
        }
        ["SHOW" | "DESCRIBE" | "DESC" | "EXPLAIN", ..] => {
            ("this asks, and these files declare", "run `alluvium check`, `alluvium explain VIEW` or `alluvium status`")
        }
        ["PRAGMA" | "DECLARE" | "VACUUM" | "ANALYZE" | "CALL" | "EXECUTE" | "DO", ..] => {
            ("this statement is not for these files", "leave it out; settings stand in alluvium.toml")
        }
        ["BEGIN" | "COMMIT" | "ROLLBACK" | "START", ..] => {
            ("each commit of Alluvium is one transaction by itself", "leave the statement out")
        }
        _ => return None,
    })
}

"""Compares every view of this folder with its own SELECT, run by DuckDB over the events as JSON lines.

Usage: check.py DATA EVENTS. DATA is the data folder of the engine, EVENTS the folder with a JSON-lines file per source. Prints a
line per view and exits with 1 if any view differs. Rows are compared as multisets: floating-point columns to 1e-9 relative, all
others exactly.
"""

import math
import pathlib
import re
import sys

import duckdb

HERE = pathlib.Path(__file__).parent


def statements(kind: str):
    """Yields name and text of each CREATE statement of a kind in all SQL files."""
    for path in sorted(HERE.glob("*.sql")):
        text = re.sub(r"--[^\n]*", "", path.read_text())
        for statement in text.split(";"):
            found = re.match(rf"\s*CREATE {kind} (\w+)\s*(.*)", statement, re.DOTALL)
            if found:
                yield found.group(1), found.group(2)


def define_sources(connection, events: pathlib.Path) -> None:
    """Creates a view over the JSON lines of each source, with the columns that sources.sql declares."""
    for name, rest in statements("EXTERNAL TABLE"):
        body = rest[rest.index("(") + 1 : rest.index("STORED AS")].rstrip().removesuffix(")")
        columns, depth, start = [], 0, 0
        for position, character in enumerate(body + ","):
            depth += {"<": 1, "(": 1, ">": -1, ")": -1}.get(character, 0)
            if character == "," and depth == 0:
                columns.append(body[start:position].strip())
                start = position + 1
        declared = {}
        for column in columns:
            column_name, column_type = column.replace("NOT NULL", "").strip().split(None, 1)
            declared[column_name] = re.sub(r"<(.*)>", r"(\1)", " ".join(column_type.split()), flags=re.DOTALL)
        listed = ", ".join(f"'{key}': '{value}'" for key, value in declared.items())
        file = events / f"{name}.jsonl"
        connection.execute(
            f"CREATE VIEW {name} AS SELECT * FROM read_json('{file}', format = 'newline_delimited', columns = {{{listed}}})"
        )


def rows(relation) -> list:
    return relation.fetchall()


def key(row):
    return tuple((value is None, round(value, 6) if isinstance(value, float) else str(value)) for value in row)


def equal(one, other) -> bool:
    if isinstance(one, float) or isinstance(other, float):
        return one is not None and other is not None and math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return one == other


def main() -> int:
    data, events = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    define_sources(connection, events)
    views = list(statements("MATERIALIZED VIEW"))
    waiting = dict(views)
    while waiting:
        made = []
        for name, rest in waiting.items():
            query = rest[re.match(r"(WITH\s*\([^)]*\)\s*)?AS", rest).end() :]
            # The only function that has another name in DuckDB.
            query = query.replace("last_value(", "last(")
            try:
                connection.execute(f"CREATE TABLE {name} AS {query}")
                made.append(name)
            except duckdb.CatalogException as error:
                missing = str(error)
        if not made:
            raise SystemExit(missing)
        for name in made:
            del waiting[name]
    failures = 0
    for name, _ in views:
        expected = connection.sql(f"SELECT * FROM {name}")
        found = connection.sql(f"SELECT * FROM read_parquet('{data}/views/{name}/current/*.parquet')")
        if expected.columns != found.columns:
            print(f"{name}: columns differ: expected {expected.columns}, found {found.columns}")
            failures += 1
            continue
        left, right = sorted(rows(expected), key=key), sorted(rows(found), key=key)
        differing = [(a, b) for a, b in zip(left, right) if not all(map(equal, a, b))]
        if len(left) != len(right) or differing:
            print(f"{name}: DIFFERS: expected {len(left)} rows, found {len(right)}; first: {differing[:2]}")
            failures += 1
        else:
            print(f"{name}: {len(left)} rows equal DuckDB's")
    print(f"{len(views) - failures} passed, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

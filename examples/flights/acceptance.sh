#!/usr/bin/env bash
# The views must equal the same SQL run by DuckDB over the same events: every row, every column. Killed on the way, too.
set -euo pipefail
cd "$(dirname "$0")/../.."
source examples/flights/server.sh
"$ALLUVIUM_FLIGHTS_BIN" --output "$WORK/events"
"$ALLUVIUM_FLIGHTS_BIN"
"$ALLUVIUM_BIN" -C examples/flights run --until-caught-up --http off &
victim=$!
sleep 0.7
kill -9 "$victim" 2>/dev/null || true
wait "$victim" 2>/dev/null || true
"$ALLUVIUM_BIN" -C examples/flights run --until-caught-up --http off
.tools/bin/python examples/flights/check.py "$WORK/data" "$WORK/events"

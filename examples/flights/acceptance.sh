#!/usr/bin/env bash
# Checks that the views equal the same SQL run by DuckDB over the same events, in every row and column, after the engine was killed once.
set -euo pipefail
cd "$(dirname "$0")/../.."
source examples/flights/server.sh
"$ALLUVIUM_FLIGHTS_BIN" --output "$WORK/events"
"$ALLUVIUM_FLIGHTS_BIN"
"$ALLUVIUM_BIN" -C examples/flights run --until-caught-up --http off &
victim=$!
manifest=$WORK/data/views/flight_state/manifest.json
# Kills the engine when it has committed some events but not all, so that the second run starts from a checkpoint.
for _ in $(seq 2400); do
  if grep -qsE '"flights":[0-9]{4,}' "$manifest" || ! kill -0 "$victim" 2>/dev/null; then break; fi
  sleep 0.05
done
kill -9 "$victim" 2>/dev/null || true
wait "$victim" 2>/dev/null || true
grep -qsE '"flights":[0-9]{4,}' "$manifest" || { echo "acceptance: the run ended without a commit of events"; exit 1; }
echo "acceptance: killed at $(grep -oE '"offsets":\{[^}]*\}' "$manifest")"
"$ALLUVIUM_BIN" -C examples/flights run --until-caught-up --http off
.tools/bin/python examples/flights/check.py "$WORK/data" "$WORK/events"

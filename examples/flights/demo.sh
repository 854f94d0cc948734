#!/usr/bin/env bash
# Starts a nats-server, publishes the flights to it, runs the views until they have caught up, and queries three of them with DuckDB.
set -euo pipefail
cd "$(dirname "$0")/../.."
source examples/flights/server.sh
echo "demo: started a nats-server at $NATS_URL; all data is in $WORK"
echo "demo: publishing all flights that left New York City in 2013, and the weather"
"$ALLUVIUM_FLIGHTS_BIN"
echo "demo: alluvium -C examples/flights run --until-caught-up"
"$ALLUVIUM_BIN" -C examples/flights run --until-caught-up --http off
"$ALLUVIUM_BIN" -C examples/flights status
for query in \
  "SELECT * FROM read_parquet('$WORK/data/views/carrier_names/current/*.parquet') ORDER BY on_time_percent DESC" \
  "SELECT * FROM read_parquet('$WORK/data/views/delay_against_weather/current/*.parquet') ORDER BY mean_delay_minutes DESC" \
  "SELECT * FROM read_parquet('$WORK/data/views/busiest_routes_by_hour/current/*.parquet') WHERE hour BETWEEN 7 AND 9 ORDER BY hour, place"; do
  echo "demo: duckdb: $query"
  .tools/bin/duckdb -box -c "$query"
done
echo "demo: done; stopping the nats-server"

# To be sourced. Starts a nats-server on a free port and stops it when the script ends. Sets $NATS_URL and the folder $WORK.
WORK=$(mktemp -d "${TMPDIR:-/tmp}/alluvium-flights.XXXXXX")
.tools/bin/nats-server -a 127.0.0.1 -p -1 --ports_file_dir "$WORK" -js -sd "$WORK/jetstream" >"$WORK/nats-server.log" 2>&1 &
SERVER=$!
finish() {
  kill "$SERVER" 2>/dev/null || true
  wait "$SERVER" 2>/dev/null || true
  rm -rf "$WORK"
}
trap finish EXIT
NATS_URL=
for _ in $(seq 100); do
  port=$(sed -nE 's/.*"nats": *\["nats:\/\/127\.0\.0\.1:([0-9]+)".*/\1/p' "$WORK"/*.ports 2>/dev/null || true)
  [ -n "$port" ] || port=$(tr -d '\n ' 2>/dev/null <"$(ls "$WORK"/*.ports 2>/dev/null | head -n 1)" | sed -nE 's/.*"nats":\["nats:\/\/127\.0\.0\.1:([0-9]+)".*/\1/p' || true)
  if [ -n "$port" ]; then NATS_URL="nats://127.0.0.1:$port"; break; fi
  kill -0 "$SERVER" 2>/dev/null || { cat "$WORK/nats-server.log"; exit 1; }
  sleep 0.1
done
[ -n "$NATS_URL" ] || { echo "nats-server did not report its port"; cat "$WORK/nats-server.log"; exit 1; }
export ALLUVIUM_NATS_URL="$NATS_URL" ALLUVIUM_DATA="$WORK/data"

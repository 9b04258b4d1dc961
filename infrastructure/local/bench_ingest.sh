#!/usr/bin/env bash
# make bench NAME=ingest, make bench NAME=latency: the ingest from Pulsar into Iceberg on MinIO, beside Flink, and how long a message takes
# until it is queryable. On a stack of their own in a temporary folder (RVA_STACK: on that one). MESSAGES, TURNS, KINDS, STATE_BACKEND, and for the latency
# SECONDS_EACH, RATE, LOAD_RATE, LOAD_SECONDS change what is measured. PROFILE=dev takes the daily profile (slower).
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh
what=${1:-ingest}
profile=${PROFILE:-release}
folder=$TARGET_DIR/$([ "$profile" = dev ] && echo debug || echo "$profile")
infrastructure/stack/setup.sh
cargo build --locked --profile "$profile" -p rva-ingest --features pulsar
cargo build --locked --profile "$profile" -p rva-bus --features pulsar --example publish_load
if [ -z "${RVA_STACK:-}" ]; then
  RVA_STACK=$(mktemp -d "${TMPDIR:-/tmp}/rva-bench.XXXXXX")
  trap 'python3 infrastructure/stack/stack.py down --purge' EXIT
fi
export RVA_STACK
python3 infrastructure/stack/stack.py up
mkdir -p data/cache
common=(--ingest "$folder/rva-ingest" --publish "$folder/examples/publish_load")
if [ "$what" = latency ]; then
  "$RVA_PYTHON" infrastructure/local/bench_latency.py "${common[@]}" --csv data/cache/bench_latency.csv --rate "${RATE:-200}" \
    --seconds "${SECONDS_EACH:-60}" --load-rate "${LOAD_RATE:-10000}" --load-seconds "${LOAD_SECONDS:-600}"
else
  "$RVA_PYTHON" infrastructure/local/bench_ingest.py "${common[@]}" --csv data/cache/bench_ingest.csv \
    --messages "${MESSAGES:-1000000}" --turns "${TURNS:-5}" --kinds "${KINDS:-rva,flink,flink-plain}" --state-backend "${STATE_BACKEND:-rocksdb}"
fi
echo "bench-$what: raw figures in data/cache/bench_$what.csv" >&2

#!/usr/bin/env bash
# make bench NAME=publish: frames a second of rva-detector with Pulsar on (a broker of the native stack) beside --output
# /dev/null, in turns in one run. MODEL, VIDEO, TURNS, THREADS (of the network; one fewer than the cores).
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh
infrastructure/stack/setup.sh
RVA_STACK=$(mktemp -d "${TMPDIR:-/tmp}/rva-bench.XXXXXX")
export RVA_STACK
trap 'python3 infrastructure/stack/stack.py down --purge' EXIT
cargo build --locked -p rva-detector --features pulsar,camera-motion
cargo build --locked -p rva-ingest --features pulsar
python3 infrastructure/stack/stack.py up
eval "$(python3 infrastructure/stack/stack.py status --env | grep '^export ')"
cores=$(nproc)
export RVA_DETECTOR_THREADS=${THREADS:-$([ "$cores" -gt 1 ] && echo $((cores - 1)) || echo 1)}
mkdir -p data/cache
python3 infrastructure/local/bench_publish.py --detector "$TARGET_DIR/debug/rva-detector" --ingest "$TARGET_DIR/debug/rva-ingest" \
  --video "${VIDEO:-$RVA_VTEST}" --model "${MODEL:-data/models/demo-person-416.onnx}" --turns "${TURNS:-5}" --csv data/cache/bench_publish.csv

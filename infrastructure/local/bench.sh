#!/usr/bin/env bash
# make bench: frames a second of the whole pipeline beside the bare network, in turns in one run; the raw figures are kept.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh
mkdir -p data/cache
cargo run --locked --release -p rva-detector --example bench_detect -- \
  --model data/models/demo-person-416.onnx --video "$RVA_VTEST" --turns "${TURNS:-5}" --csv data/cache/bench_detect.csv

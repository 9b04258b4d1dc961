#!/usr/bin/env bash
# make bench: frames a second of the whole pipeline beside the bare network, in turns in one run; the raw figures are kept.
# PROFILE=release builds that first (a quarter of an hour on 2 cores); what is hot is optimised in the default profile too.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh
profile=${PROFILE:-dev}
folder=$TARGET_DIR/$([ "$profile" = dev ] && echo debug || echo "$profile")
mkdir -p data/cache
cargo build --locked --profile "$profile" -p rva
cargo run --locked --profile "$profile" -p rva-detector --example bench_detect -- \
  --model data/models/demo-person-416.onnx --video "$RVA_VTEST" --rva "$folder/rva" --turns "${TURNS:-5}" --csv data/cache/bench_detect.csv

#!/usr/bin/env bash
# make bench NAME=detect: frames a second and peak memory of the whole pipeline beside bare ONNX Runtime, in turns in one run,
# with one thread fewer than the cores and with all of them; the raw figures are kept. MODEL, VIDEO, FRAMES (of a turn),
# TURNS, THREADS (1,2), KINDS (bare,null,log,run) change what is measured; without `run` the program isn't built.
# PROFILE=release builds that first (a quarter of an hour on 2 cores); what is hot is optimised in the default profile too.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh
profile=${PROFILE:-dev}
folder=$TARGET_DIR/$([ "$profile" = dev ] && echo debug || echo "$profile")
kinds=${KINDS:-bare,null,log,run}
model=${MODEL:-data/models/demo-person-416.onnx}
cores=$(nproc)
threads=${THREADS:-$([ "$cores" -gt 1 ] && echo "$((cores - 1)),$cores" || echo 1)}
mkdir -p data/cache
case ,$kinds, in *,run,*) cargo build --locked --profile "$profile" -p rva ;; esac
cargo build --locked --profile "$profile" -p rva-detector --example bench_detect
csv=data/cache/bench_detect_$(basename "$model" .onnx).csv
"$folder/examples/bench_detect" --model "$model" --video "${VIDEO:-$RVA_VTEST}" --rva "$folder/rva" --threads "$threads" \
  --kinds "$kinds" --turns "${TURNS:-5}" --frames "${FRAMES:-300}" --csv "$csv"
echo "bench-detect: raw figures in $csv" >&2

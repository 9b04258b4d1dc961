#!/usr/bin/env bash
# make bench NAME=footfall: people counted at lines and in zones, ours beside PyPI `supervision` on the tracks of Roboflow's
# `trackers` (MIT and Apache-2.0), which this command alone installs into .venv-bench, on the same public detections and
# lines. The raw figures are kept, in docs/measurements with RECORD=1. MOT names a folder with MOT17/ and MOT15/ in
# MOTChallenge's layout, RVA a program that is built already.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh
mot=${MOT:-${RVA_SHARED:-../shared}/mot}
if [ ! -d "$mot" ]; then
  echo "bench-footfall: skipped: no sequences at $mot (MOT=FOLDER names a folder with MOT17/ and MOT15/)" >&2
  exit 0
fi
# shellcheck source=infrastructure/local/bench_environment.sh
. infrastructure/local/bench_environment.sh
[ -n "${RVA:-}" ] || cargo build -q --locked -p rva
mkdir -p data/cache
csv=data/cache/bench_footfall.csv
[ -z "${RECORD:-}" ] || csv=docs/measurements/bench_footfall.csv
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
.venv-bench/bin/python infrastructure/local/bench_footfall.py --rva "${RVA:-$TARGET_DIR/debug/rva}" \
  --gt "$mot/MOT17" --gt "$mot/MOT15" --csv "$csv" --jobs "${JOBS:-2}"
echo "bench-footfall: raw figures in $csv" >&2

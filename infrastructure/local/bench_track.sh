#!/usr/bin/env bash
# make bench NAME=track: time a frame of our trackers beside those of Roboflow's `trackers` (Apache-2.0), which this command
# alone installs into .venv-bench, on MOT17's public detections and on a made-up crowd, in turns in one run; the raw
# figures are kept, in docs/measurements with RECORD=1. MOT names a folder with MOT17/ in MOTChallenge's layout, TURNS
# how many turns there are. Criterion's figures of ours come first.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh
mot=${MOT:-${RVA_SHARED:-../shared}/mot}

# shellcheck source=infrastructure/local/bench_environment.sh
. infrastructure/local/bench_environment.sh
cargo bench --locked -p rva-track
cargo build -q --locked --release -p rva-track --example bench_track
mkdir -p data/cache
"$TARGET_DIR/release/examples/bench_track" crowd >data/cache/crowd_1000.txt
scenes=(--scene 1000_objects data/cache/crowd_1000.txt)
if compgen -G "$mot/MOT17/*-FRCNN/det/det.txt" >/dev/null; then
  for file in "$mot"/MOT17/*-FRCNN/det/det.txt; do scenes+=(--scene MOT17 "$file"); done
else
  echo "bench-track: skipped: no MOT17 detections in $mot (MOT=FOLDER names a folder with MOT17/)" >&2
fi
csv=data/cache/bench_track.csv
[ -z "${RECORD:-}" ] || csv=docs/measurements/bench_track.csv
# One core each, as ours.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
.venv-bench/bin/python infrastructure/local/bench_track.py --ours "$TARGET_DIR/release/examples/bench_track" \
  --turns "${TURNS:-5}" --csv "$csv" "${scenes[@]}"
echo "bench-track: raw figures in $csv" >&2

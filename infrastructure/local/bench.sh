#!/usr/bin/env bash
# make bench NAME=…: one of the measurements, set up first; without a name their list. Each takes what its line names in
# brackets, like `make bench NAME=ingest TURNS=3`; figures are in docs/measurements.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
# name|setup: what it needs installed|script and arguments|what it measures
# shellcheck disable=SC2016 # backticks around names
benches='
detect|setup|bench_detect.sh|frames a second and memory of the pipeline beside bare ONNX Runtime, in turns, in one run
footfall|setup|bench_footfall.sh|people counted at lines beside PyPI `supervision` on the tracks of Roboflow'"'"'s `trackers` (installs both into .venv-bench)
freshness|setup|bench_freshness.sh|how long each stage keeps a frame, from its capture to gold (CAMERAS=4)
gpu|setup|bench_gpu.sh|streams of 1080p30 that one device carries (DEVICE=cuda:0 MODEL=yolov8n-fp16.onnx)
growth|setup|bench_growth.sh|time of a commit, start, metadata and queries after many commits (COMMITS=10000)
ingest|setup --tests|bench_ingest.sh|a million messages of a Pulsar topic into Iceberg on MinIO, in turns with Flink (MESSAGES=1000000 TURNS=5)
latency|setup --tests|bench_ingest.sh latency|seconds from sending to queryable, and a load that lasts (LOAD_RATE=10000 LOAD_SECONDS=600)
lookup|setup|bench_lookup.sh|from a restart to the first commit, and lookups of known events, in a table of many small files (STORES=2000 CAMERAS=20000)
publish|setup|bench_publish.sh|frames a second of the detector with Pulsar on beside /dev/null
refine|setup --tests|bench_refine.sh|what silver and gold cost: a day of 10 million detections, a running hour, a spool, a year (PART=day)
track||bench_track.sh|time a frame of our trackers beside those of Roboflow'"'"'s `trackers` (Apache-2.0; installs it into .venv-bench)
'
list() {
  while IFS='|' read -r name _ _ what; do
    [ -z "$name" ] || printf '  make bench NAME=%-10s%s\n' "$name" "$what"
  done <<<"$benches"
}
if [ $# -eq 0 ]; then
  list
  exit 0
fi
while IFS='|' read -r name needs script _; do
  [ "$name" = "$1" ] || continue
  read -ra needs <<<"$needs"
  read -ra script <<<"$script"
  if [ ${#needs[@]} -gt 0 ]; then
    "infrastructure/local/${needs[0]}.sh" "${needs[@]:1}"
  fi
  exec "infrastructure/local/${script[0]}" "${script[@]:1}"
done <<<"$benches"
echo "bench: found no measurement ${1@Q}, wanted one of these:" >&2
list >&2
exit 2

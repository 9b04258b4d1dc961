#!/usr/bin/env bash
# make bench NAME=refine: what silver and gold cost. PART=day (default): a generated day of 20 cameras with DETECTIONS
# (10,000,000) from bronze to all tables of gold, beside the defining SQL run once over the same bronze by DuckDB, and
# the ten queries of gold over silver by DataFusion; then a restart on it. PART=live: seconds from a capture to
# gold_people_per_minute, CAMERAS (20) at RATE (10) frames for SECONDS (300) at the end of an hour whose first BEFORE
# (3000) seconds came at once. PART=spool: three hours that come at once. PART=year: REFRESHES (10,000) over a year.
# PROFILE (release, or dev) and FOLDER (data/cache) as elsewhere.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh
profile=${PROFILE:-release}
binaries=${BINARIES:-$TARGET_DIR/$([ "$profile" = dev ] && echo debug || echo "$profile")}
if [ -z "${BINARIES:-}" ]; then
  cargo build --locked --profile "$profile" -p rva -p rva-ingest -p rva-refine -p rva-shop
fi
mkdir -p data/cache
folder=$(mktemp -d "${FOLDER:-$PWD/data/cache}/rva-refine.XXXXXX")
trap 'rm -rf "$folder"' EXIT
"$RVA_PYTHON" infrastructure/local/bench_refine.py --binaries "$binaries" --folder "$folder" --part "${PART:-day}" \
  --cameras "${CAMERAS:-20}" --rate "${RATE:-10}" --detections "${DETECTIONS:-10000000}" --hours "${HOURS:-24}" \
  --seconds "${SECONDS_LIVE:-300}" --before "${BEFORE:-3000}" --refreshes "${REFRESHES:-10000}" |
  tee "data/cache/bench_refine_${PART:-day}.csv"

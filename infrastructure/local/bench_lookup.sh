#!/usr/bin/env bash
# make bench NAME=lookup: from a restart to the first commit on a table of many small files, and what commits of new frames, of
# known ones and of new runs cost. STORES (2,000), CAMERAS (20,000), COMMITS (32, each a file for every store), SHAPES
# (together apart foreign), PROFILE (release; LOOKUP names a program that is built already), FOLDER (memory, where there is
# /dev/shm).
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh
profile=${PROFILE:-release}
parent=${FOLDER:-$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")}
folder=$(mktemp -d "$parent/rva-lookup.XXXXXX")
trap 'rm -rf "$folder"' EXIT
mkdir -p data/cache
csv=data/cache/bench_lookup.csv
lookup=${LOOKUP:-$TARGET_DIR/$([ "$profile" = dev ] && echo debug || echo "$profile")/examples/lookup}
[ -n "${LOOKUP:-}" ] || cargo build --locked --profile "$profile" -p rva-lake --example lookup
{
  echo "shape,what,value,unit"
  for shape in ${SHAPES:-together apart foreign}; do
    world=("$folder/$shape" "${STORES:-2000}" "${CAMERAS:-20000}" "${COMMITS:-32}" "$shape")
    "$lookup" write "${world[@]}" | sed -u "s/^/$shape,/"
    "$lookup" read "${world[@]}" | sed -u "s/^/$shape,/"
    rm -rf "${folder:?}/$shape"
  done
} | tee "$csv"
echo "bench-lookup: $csv"

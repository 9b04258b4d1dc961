#!/usr/bin/env bash
# make bench NAME=growth: what a table costs after many commits, made as fast as they go with maintenance each 600, and a
# process that begins on it, beside the same rows written at once. COMMITS (10,000), PROFILE (release, or dev; GROWTH names a program that is
# built already), FOLDER (memory, where there is /dev/shm: what a disk adds to each commit is the same on the first day and after a year).
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh
commits=${COMMITS:-10000}
profile=${PROFILE:-release}
parent=${FOLDER:-$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")}
folder=$(mktemp -d "$parent/rva-growth.XXXXXX")
trap 'rm -rf "$folder"' EXIT
mkdir -p data/cache
csv=data/cache/bench_growth.csv
growth=${GROWTH:-$TARGET_DIR/$([ "$profile" = dev ] && echo debug || echo "$profile")/examples/growth}
[ -n "${GROWTH:-}" ] || cargo build --locked --profile "$profile" -p rva-lake --features sql --example growth
{
  echo "case,what,commits,value,unit"
  "$growth" write "$folder/many" "$commits" | sed -u 's/^/written bit by bit,/'
  "$growth" write "$folder/once" "$commits" once | sed -u 's/^/written at once,/'
  for turn in 1 2 3; do
    "$growth" read "$folder/many" | sed "s/^/written bit by bit: reader $turn,/"
    "$growth" read "$folder/once" | sed "s/^/written at once: reader $turn,/"
  done
} | tee "$csv"
echo "bench-growth: $csv"

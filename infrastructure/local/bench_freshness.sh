#!/usr/bin/env bash
# make bench NAME=freshness: how long each stage keeps a frame, from its capture to gold, by the traces of `rva run` on CAMERAS (4)
# that play VIDEO (the demo's) at its own speed, a commit and a refresh a second. WARM_UP (10) seconds do not count. PROFILE
# (release, or dev), or BINARIES, a folder with `rva` and `shop`.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh
profile=${PROFILE:-release}
binaries=${BINARIES:-$TARGET_DIR/$([ "$profile" = dev ] && echo debug || echo "$profile")}
[ -n "${BINARIES:-}" ] || cargo build --locked --profile "$profile" -p rva -p rva-shop
mkdir -p data/cache
folder=$(mktemp -d "${TMPDIR:-/tmp}/rva-freshness.XXXXXX")
trap 'rm -rf "$folder"' EXIT
csv=data/cache/bench_freshness.csv
"$binaries/shop" freshness "$folder" "$binaries/rva" "$(realpath "${VIDEO:-$RVA_VTEST}")" \
  "$(realpath "${MODEL:-data/models/demo-person-416.onnx}")" "${CAMERAS:-4}" "${WARM_UP:-10}" | tee "$csv"
echo "bench-freshness: $csv" >&2

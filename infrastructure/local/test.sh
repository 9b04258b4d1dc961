#!/usr/bin/env bash
# make test: every test of the workspace; the skips are compared with the recorded list (tests/allowed-skips.txt).
set -euo pipefail
cd "$(dirname "$0")/../.."

infrastructure/local/setup.sh --tests
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh

log=$TARGET_DIR/test.log
long_log=$TARGET_DIR/test-long.log
mkdir -p "$TARGET_DIR"

# The one long test on a single thread runs beside the others: cargo would run it alone.
LONG=ten_thousand_commits
printf 'test: building (the first time about 10 minutes on 2 cores)\n'
long=$(cargo test --workspace --features rva/camera-motion --locked --no-run --message-format json-render-diagnostics |
  "$RVA_PYTHON" -c '
import json, sys
lines = (json.loads(line) for line in sys.stdin)
print(*(m["executable"] for m in lines if m.get("target", {}).get("name") == sys.argv[1] and m.get("executable")))
' $LONG)
(cd crates/rva-lake && exec "$long" --show-output) >"$long_log" 2>&1 &
long_pid=$!
trap 'kill $long_pid 2>/dev/null || true' EXIT

status=0
# Of each target of tests/fuzz.
export RVA_FUZZ_SECONDS=${RVA_FUZZ_SECONDS:-60}
# Output of tests that passed is shown too: a skip is a line in it.
cargo test --workspace --features rva/camera-motion --locked --no-fail-fast -- --show-output --skip $LONG 2>&1 | tee "$log" |
  infrastructure/local/test_progress.sh || status=$?
printf 'test: waiting for %s\n' $LONG
wait $long_pid || status=$?
infrastructure/local/test_progress.sh <"$long_log"
cat "$long_log" >>"$log"
"$RVA_PYTHON" infrastructure/local/check_skips.py "$log" tests/allowed-skips.txt || status=$?
exit $status

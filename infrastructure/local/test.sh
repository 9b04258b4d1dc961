#!/usr/bin/env bash
# make test: every test of the workspace; the skips are compared with the recorded list (tests/allowed-skips.txt).
set -euo pipefail
cd "$(dirname "$0")/../.."

infrastructure/local/setup.sh --tests
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh

log=$TARGET_DIR/test.log
mkdir -p "$TARGET_DIR"
status=0
# Output of tests that passed is shown too: a skip is a line in it.
cargo test --workspace --locked --no-fail-fast -- --show-output 2>&1 | tee "$log" | infrastructure/local/test_progress.sh || status=$?
"$RVA_PYTHON" infrastructure/local/check_skips.py "$log" tests/allowed-skips.txt || status=$?
exit $status

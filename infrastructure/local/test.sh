#!/usr/bin/env bash
# make test: every test of the workspace; the skips are compared with the recorded list (tests/allowed-skips.txt).
set -euo pipefail
cd "$(dirname "$0")/../.."

infrastructure/local/setup.sh --tests
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh

log=$TARGET_DIR/test.log
mkdir -p "$TARGET_DIR"

printf 'test: building (the first time about 10 minutes on 2 cores)\n'
status=0
# Of each target of tests/fuzz.
export RVA_FUZZ_SECONDS=${RVA_FUZZ_SECONDS:-60}
# Output of tests that passed is shown too: a skip is a line in it.
"$RVA_PYTHON" infrastructure/local/run_tests.py --workspace --features $FEATURES --locked 2>&1 | tee "$log" |
  infrastructure/local/test_progress.sh || status=$?
"$RVA_PYTHON" infrastructure/local/check_skips.py "$log" tests/allowed-skips.txt || status=$?
exit $status

#!/usr/bin/env bash
# make test-stack: brings up a stack in a temporary folder, runs the tests that need it and only those, stops it, prints
# the counts. KEEP=1 leaves the folder with its logs behind. A test that skips itself is a failure here.
set -euo pipefail
cd "$(dirname "$0")/../.."

began=$SECONDS
say() { printf 'test-stack: %s s: %s\n' "$((SECONDS - began))" "$*"; }

infrastructure/stack/setup.sh
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh
RVA_STACK=$(mktemp -d "${TMPDIR:-/tmp}/rva-stack.XXXXXX")
export RVA_STACK
log=$RVA_STACK/test.log
# shellcheck disable=SC2329 # the trap calls it
stop() {
  local status=$?
  python3 infrastructure/stack/stack.py down
  if [ -n "${KEEP:-}" ] || [ "$status" != 0 ]; then say "logs are in $RVA_STACK"; else rm -rf "$RVA_STACK"; fi
}
trap stop EXIT

say "fetching the servers, where they are missing"
python3 infrastructure/stack/stack.py fetch
# Tests of this name in every package, and those of rva-stack itself, built as `make test` builds them.
run_tests() {
  cargo test --locked --no-fail-fast --workspace --features "$FEATURES" --test stack --test pulsar --test refined \
    --test own "$@"
}

# Tests of the holes that transactions leave; what is shipped has none.
mkdir -p "$RVA_STACK/pulsar"
echo PULSAR_PREFIX_transactionCoordinatorEnabled=true >"$RVA_STACK/pulsar/own.env"

say "building"
run_tests --no-run
say "starting the servers"
python3 infrastructure/stack/stack.py up
say "testing"
status=0
[ "${1:-}" = -- ] && shift
run_tests -- --show-output "$@" 2>&1 | tee "$log" | infrastructure/local/test_progress.sh || status=$?
say "tested"
python3 infrastructure/local/check_skips.py "$log" tests/allowed-skips.txt || status=$?
exit $status

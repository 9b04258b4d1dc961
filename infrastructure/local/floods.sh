#!/usr/bin/env bash
# make floods: every flood of messages into an ingest in a memory cgroup of 512 MiB, from the embedded log and from a real
# Pulsar. STACK=0: from the log alone. FLOOD=TEXT: those alone whose names hold it. Needs the right to make cgroups.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh
export RVA_FLOODS=full RVA_FLOOD=${FLOOD:-}
status=0
cargo test --locked -p rva-ingest --test floods -- --nocapture || status=$?
[ "${STACK:-1}" = 0 ] && exit $status
infrastructure/stack/setup.sh
RVA_STACK=$(mktemp -d "${TMPDIR:-/tmp}/rva-floods.XXXXXX")
export RVA_STACK
trap 'python3 infrastructure/stack/stack.py down --purge' EXIT
cargo test --locked -p rva-ingest --features pulsar --test stack --no-run
python3 infrastructure/stack/stack.py up
cargo test --locked -p rva-ingest --features pulsar --test stack floods -- --nocapture || status=$?
exit $status

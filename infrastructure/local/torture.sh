#!/usr/bin/env bash
# make torture: KILLS (default 1000) times kill -9 of the real ingest at random moments and at every step of the commit, by
# SEED. STACK=1: from Pulsar into a REST catalog on MinIO, on a native stack of its own; else in a data folder.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh
export RVA_KILLS=${KILLS:-1000} RVA_KILL_SEED=${SEED:-1}
if [ -z "${STACK:-}" ]; then
  exec cargo test --locked -p rva-ingest --test kill -- --nocapture --test-threads 1
fi
infrastructure/stack/setup.sh
RVA_STACK=$(mktemp -d "${TMPDIR:-/tmp}/rva-torture.XXXXXX")
export RVA_STACK
trap 'python3 infrastructure/stack/stack.py down --purge' EXIT
cargo test --locked -p rva-ingest --features pulsar --test stack --no-run
python3 infrastructure/stack/stack.py up
cargo test --locked -p rva-ingest --features pulsar --test stack a_killed_ingest -- --nocapture --test-threads 1

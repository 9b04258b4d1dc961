#!/usr/bin/env bash
# make torture: KILLS (default 1000) times kill -9 of the real ingest at random moments and at every step of the commit, by
# SEED. STACK=1: from Pulsar into a REST catalog on MinIO, on a native stack of its own; else in a data folder.
# SERVERS=1: on such a stack, of Pulsar, catalog, MinIO, ingest and publisher in random order, KILLS in all or for MINUTES;
# totals by SEED are kept in STATE (data/torture.json), and a seed goes on where it was.
# REFINE=1: kills of rva refine while bronze grows, KILLS times, then rva verify; with SEEDS the simulation of faults at
# every step over so many seeds (from FIRST on).
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh
export RVA_KILLS=${KILLS:-1000} RVA_KILL_SEED=${SEED:-1}
if [ -n "${REFINE:-}" ]; then
  if [ -n "${SEEDS:-}" ]; then
    export RVA_REFINE_SEEDS=$SEEDS RVA_REFINE_FIRST=${FIRST:-0}
    exec cargo test --locked -p rva-refine --features mutants --test simulation gold_equals -- --nocapture
  fi
  export RVA_REFINE_KILLS=${KILLS:-500}
  exec cargo test --locked -p rva --test refine a_refine_that_is_killed -- --nocapture
fi
if [ -z "${STACK:-}${SERVERS:-}" ]; then
  exec cargo test --locked -p rva-ingest --test kill -- --nocapture --test-threads 1
fi
infrastructure/stack/setup.sh
RVA_STACK=$(mktemp -d "${TMPDIR:-/tmp}/rva-torture.XXXXXX")
export RVA_STACK
trap 'python3 infrastructure/stack/stack.py down --purge' EXIT
cargo test --locked -p rva-ingest --features pulsar,mutants --test stack --no-run
python3 infrastructure/stack/stack.py up
if [ -n "${SERVERS:-}" ]; then
  mkdir -p data
  export RVA_TORTURE_SEED=${SEED:-1} RVA_TORTURE_STATE=${STATE:-$PWD/data/torture.json}
  if [ -n "${MINUTES:-}" ]; then export RVA_TORTURE_MINUTES=$MINUTES; fi
  if [ -n "${KILLS:-}" ] || [ -z "${MINUTES:-}" ]; then export RVA_TORTURE_KILLS=${KILLS:-1000}; fi
  cargo test --locked -p rva-ingest --features pulsar,mutants --test stack torture::torture -- --exact --nocapture
  exit
fi
cargo test --locked -p rva-ingest --features pulsar,mutants --test stack a_killed_ingest -- --nocapture --test-threads 1

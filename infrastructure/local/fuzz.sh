#!/usr/bin/env bash
# make fuzz: the targets of tests/fuzz, all at the same time, an hour each. What is found is stored in tests/fuzz/corpus.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh
export RVA_FUZZ_SECONDS=${FUZZ_SECONDS:-3600} RVA_FUZZ_INPUTS=18446744073709551615
export RVA_FUZZ_SEED=${RVA_FUZZ_SEED:-$(od -An -N7 -tu8 /dev/urandom | tr -d ' ')}
cargo test --locked -p rva-fuzz --features pulsar --no-run
# cargo runs one target after the other.
status=0
pids=()
for target in message entry log configuration source redactor; do
  cargo test --locked -q -p rva-fuzz --features pulsar --test "$target" -- --show-output &
  pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || status=1; done
exit $status

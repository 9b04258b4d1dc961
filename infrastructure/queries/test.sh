#!/usr/bin/env bash
# make test-queries: data/queries on a real Trino, a real Spark, DuckDB and rva query, and other engines that write into the
# table. On a stack of its own in a temporary folder (RVA_STACK: on that one). About 2 GB are fetched the first time; Trino wants Java 24.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh
infrastructure/stack/setup.sh
cargo build --locked -p rva
cargo build --locked -p rva-ingest --features pulsar
cargo build --locked -p rva-bus --features pulsar --example publish_load
if [ -z "${RVA_STACK:-}" ]; then
  RVA_STACK=$(mktemp -d "${TMPDIR:-/tmp}/rva-queries.XXXXXX")
  trap 'python3 infrastructure/stack/stack.py down --purge' EXIT
fi
export RVA_STACK
python3 infrastructure/stack/stack.py up
folder=$TARGET_DIR/debug
"$RVA_PYTHON" infrastructure/queries/test.py --ingest "$folder/rva-ingest" --publish "$folder/examples/publish_load" --rva "$folder/rva"

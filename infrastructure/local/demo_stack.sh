#!/usr/bin/env bash
# make demo-stack: the whole path with real servers, as plain processes: footage → detector → Pulsar → ingest → REST catalog on
# MinIO → refine → people per minute, asked of Trino. Uses the stack of `make stack-up` and leaves it up.
set -euo pipefail
cd "$(dirname "$0")/../.."

infrastructure/stack/setup.sh
infrastructure/local/setup.sh
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh
say() { printf 'demo-stack: %s\n' "$*" >&2; }

say "building rva-detector, rva-ingest and rva-refine (the first time about 10 minutes on 2 cores)"
cargo build --locked -p rva-detector --features pulsar
cargo build --locked -p rva-ingest -p rva-refine --features rva-ingest/pulsar
folder=$TARGET_DIR/debug
stack() { python3 infrastructure/stack/stack.py "$@"; }
stack up
stack start trino
eval "$(stack status --env | grep '^export ')"
export RVA_BUS_KIND=pulsar RVA_CATALOG_KIND=rest

say "rva-ingest --init: topic, subscription and tables"
"$folder/rva-ingest" --init
say "rva-detector $RVA_VTEST: its frames to Pulsar"
RVA_DETECTOR_PUBLISH=pulsar "$folder/rva-detector" "$RVA_VTEST" --model data/models/demo-person-416.onnx --data-dir data/demo-stack
say "rva-ingest --drain: from the topic into $ICEBERG_WAREHOUSE"
"$folder/rva-ingest" --drain
say "rva-refine --drain: silver and gold"
"$folder/rva-refine" --drain

printf '\nPeople per minute, from Trino (data/queries/trino/people_per_minute.sql):\n\n'
stack run trino -f data/queries/trino/people_per_minute.sql
printf '\nThe same from gold:\n\n'
stack run trino -e 'SELECT * FROM lakehouse.rva.gold_people_per_minute ORDER BY ts_minute, store_id, camera_id'
cat <<END

The servers are up: make stack-status says where, make stack-down stops them. Another statement:
  python3 infrastructure/stack/stack.py run trino -e 'SELECT count(*) FROM lakehouse.rva.bronze_raw'
END

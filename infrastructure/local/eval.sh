#!/usr/bin/env bash
# make eval: every tracker's scores and counting errors on MOTChallenge sequences, and what is recorded of both. The sequences are for evaluation
# only and not part of the project: MOT names a folder with MOT17/ and MOT15/ in MOTChallenge's layout. RECORD=1 writes
# the floors anew.
set -euo pipefail
cd "$(dirname "$0")/../.."

MOT=${MOT:-${RVA_SHARED:-../shared}/mot}
if [ ! -d "$MOT" ]; then
  echo "eval: skipped: no sequences at $MOT (MOT=FOLDER names a folder with MOT17/ and MOT15/)"
  exit 0
fi
infrastructure/local/setup.sh
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh
cargo build -q --locked -p rva
rva=$TARGET_DIR/debug/rva
"$rva" eval footfall --gt "$MOT/MOT17" --gt "$MOT/MOT15" --detections det_frcnn_sort,det --tracker all \
  --ceilings data/eval/footfall-ceilings.csv ${RECORD:+--record-ceilings} "$@"
exec "$rva" eval tracks --gt "$MOT/MOT17" --gt "$MOT/MOT15" --detections det_frcnn_sort,det --tracker all \
  --floors data/eval/floors.csv ${RECORD:+--record-floors} "$@"

#!/usr/bin/env bash
# make parity: our detections beside Ultralytics' on the same frames, and frames a second of detect-and-track beside it.
# Ultralytics (AGPL-3.0) and PyTorch (3 GB with the CUDA libraries that its wheel links to) are installed into
# .venv-parity by this command alone. MODEL=M.onnx compares a model of yours; CLIPS, FRAMES, TURNS, SPEED_FRAMES and
# THREADS say the rest (see docs/parity.md).
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh
profile=${PROFILE:-dev}
folder=$TARGET_DIR/$([ "$profile" = dev ] && echo debug || echo "$profile")
requirements=infrastructure/local/requirements-parity.txt
shared=${RVA_SHARED:-../shared}

if ! cmp -s $requirements .venv-parity/.installed; then
  echo "parity: installing Ultralytics (AGPL-3.0) and PyTorch into .venv-parity (about 3 GB to fetch)" >&2
  [ -x .venv-parity/bin/pip ] || python3 -m venv .venv-parity
  .venv-parity/bin/pip install -q --disable-pip-version-check --no-deps --require-hashes --only-binary :all: -r $requirements
  cp $requirements .venv-parity/.installed
fi
cargo build --locked --profile "$profile" -p rva-detector --example parity_detect --example bench_detect

models=("${MODEL:-}")
if [ -z "${MODEL:-}" ]; then
  models=(data/models/demo-person-416.onnx)
  if [ -s "$shared/models/yolov8n.onnx" ]; then models+=("$shared/models/yolov8n.onnx")
  else echo "parity: found no $shared/models/yolov8n.onnx, comparing the demo model alone" >&2; fi
fi
if [ -n "${CLIPS:-}" ]; then
  read -ra clips <<<"$CLIPS"
else
  clips=("$RVA_VTEST")
  for clip in "$shared"/video/*.mp4; do [ -e "$clip" ] && clips+=("$clip"); done
fi

# The same file for both: the library inside the wheel that Ultralytics uses.
ORT_DYLIB_PATH=$(echo "$PWD"/.venv-parity/lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.so.1.*)
export ORT_DYLIB_PATH
# No look for updates, no report home, no settings outside the checkout.
mkdir -p data/cache/ultralytics
export YOLO_CONFIG_DIR=$PWD/data/cache/ultralytics YOLO_OFFLINE=true YOLO_AUTOINSTALL=false YOLO_VERBOSE=false
arguments=(--examples "$folder/examples" --out data/cache/parity --turns "${TURNS:-5}" --speed-frames "${SPEED_FRAMES:-200}")
for model in "${models[@]}"; do arguments+=(--model "$model"); done
for clip in "${clips[@]}"; do arguments+=(--clip "$clip"); done
[ -n "${FRAMES:-}" ] && arguments+=(--frames "$FRAMES")
[ -n "${THREADS:-}" ] && arguments+=(--threads "$THREADS")
.venv-parity/bin/python infrastructure/local/parity.py "${arguments[@]}"

#!/usr/bin/env bash
# make model: exports the official YOLOv8n to data/models/yolov8n.onnx (not in git), for people with internet.
# Its weights are AGPL-3.0, which is said, and asked about, before anything is downloaded. --yes answers the question.
set -euo pipefail
cd "$(dirname "$0")/../.."

MODEL=data/models/yolov8n.onnx
WORK=data/cache/yolov8n # a Python environment and the download; can be removed afterwards

say() { printf 'model: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

yes=no
for argument in "$@"; do
  case $argument in
    --yes) yes=yes ;;
    *) fail "found argument $argument, wanted --yes or nothing" ;;
  esac
done

if [ -s "$MODEL" ]; then
  say "$MODEL is there already; remove it to export it anew"
  exit 0
fi

cat >&2 <<'NOTICE'
YOLOv8n and the ultralytics package are by Ultralytics, under AGPL-3.0 (https://ultralytics.com/license): who offers a
service with them, over a network too, must offer the service's source under the same licence, or buy another one.
They are not part of this project, which is Apache-2.0. This command will
  - make a Python environment in data/cache/yolov8n and install ultralytics, PyTorch and onnx from PyPI (several GB),
  - let it download yolov8n.pt from Ultralytics' releases on GitHub (6 MB),
  - export data/models/yolov8n.onnx (12 MB).
NOTICE

if [ $yes = no ]; then
  [ -t 0 ] || fail "found no terminal to ask on, wanted --yes: infrastructure/local/fetch-model.sh --yes"
  read -r -p 'model: go on? [y/N] ' answer
  case $answer in
    y | Y | yes) ;;
    *) fail "nothing was downloaded" ;;
  esac
fi

command -v python3 >/dev/null || fail "found no python3, wanted one with venv: apt-get install python3 python3-venv"
mkdir -p "$WORK"
python3 -m venv "$WORK/venv" || fail "found no working python3 venv, wanted one: apt-get install python3-venv"
say "installing ultralytics and onnx"
"$WORK/venv/bin/pip" install --quiet --disable-pip-version-check ultralytics onnx onnxslim onnxruntime \
  || fail "could not install ultralytics from PyPI: is there a network? (pip's own words are above)"
say "exporting"
(cd "$WORK" && YOLO_AUTOINSTALL=false venv/bin/yolo export model=yolov8n.pt format=onnx imgsz=640 >&2) \
  || fail "could not download or export yolov8n.pt: is github.com reachable? (Ultralytics' own words are above). \
Or export it where it is, with 'yolo export model=yolov8n.pt format=onnx', and copy yolov8n.onnx to $MODEL"
[ -s "$WORK/yolov8n.onnx" ] || fail "found no $WORK/yolov8n.onnx after the export, wanted one"
mv "$WORK/yolov8n.onnx" "$MODEL"
say "$MODEL is there: rva run VIDEO --model $MODEL"

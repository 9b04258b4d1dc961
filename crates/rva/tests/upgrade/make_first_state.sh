#!/usr/bin/env bash
# Makes first_state.tar.gz: a data folder and its configuration as the `rva` of commit 757fa5a writes them.
#
#   make_first_state.sh RVA    # RVA: the program of that commit (git worktree add, cargo build -p rva)
#
# Tables name their files by absolute paths. The folder's path is made as long as PATH_BYTES says, so that a test can
# put another path of that length in its place, in every file.
set -euo pipefail
rva=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
path_bytes=100
root=$(mktemp -d /tmp/first_state_XXXXXX)
trap 'rm -rf "$root"' EXIT
folder=$root/$(printf 'x%.0s' $(seq $((path_bytes - ${#root} - 1))))
mkdir "$folder"
cd "$folder"
cat >rva.yaml <<'Y'
data_dir: data
store_id: store_01
detector:
  model: demo-person-416.onnx
  conf: 0.3
  classes: [person]
  tracker: steady
ingest:
  commit_interval: 2s
  commit_bytes: 32MiB
  job: ingest
telemetry:
  log_level: info
cameras:
  door:
    source: door.mp4
  till:
    source: till.mp4
    store: store_02
Y
"$rva" config show --config rva.yaml >/dev/null
# Frames FIRST to LAST of both cameras, a second apart: somebody walks through the picture. A line that is no record.
records() {
  python3 - "$1" "$2" <<'P'
import json, sys

for frame in range(int(sys.argv[1]), int(sys.argv[2]) + 1):
    for store, camera in (("store_01", "door"), ("store_02", "till")):
        x = 20 + 6 * frame
        person = {"det_id": f"{frame}-0", "class": "person", "class_id": 0, "conf": 0.9, "track_id": 1,
                  "bbox": {"x1": x, "y1": 100, "x2": x + 40, "y2": 300}}
        print(json.dumps({
            "schema_version": "1.0", "pipeline_run_id": f"run-{camera}",
            "source": {"store_id": store, "camera_id": camera, "stream_id": "stream_01"}, "frame_index": frame,
            "capture_ts": f"2026-01-31T08:{frame // 60:02}:{frame % 60:02}.000000+00:00",
            "image_size": {"width": 640, "height": 480}, "detections": [person], "runtime": {}, "source_uri": None}))
print(f"no record, after frame {sys.argv[2]}")
P
}
for last in 20 40 60; do
  records $((last - 19)) $last >"upto-$last.ndjson"
  "$rva" replay "upto-$last.ndjson" --config rva.yaml
  "$rva" ingest --drain --config rva.yaml
done
# These are in the log alone.
records 61 80 >upto-80.ndjson
"$rva" replay upto-80.ndjson --config rva.yaml
rm upto-20.ndjson upto-60.ndjson upto-80.ndjson
pwd >path
tar --sort=name --owner=0 --group=0 --numeric-owner -czf "$here/first_state.tar.gz" .
ls -l "$here/first_state.tar.gz"

#!/usr/bin/env bash
# make bench NAME=gpu: how many streams of 1080p30 one device carries, detected and tracked. For each number of cameras `rva run`
# takes that many copies of a clip as fast as it can; frames a second of all of them, by 30, are the streams. The raw
# figures are kept in data/cache/bench_gpu.csv.
# On a GPU machine, with a YOLOv8n exported as float16 (yolo export model=yolov8n.pt format=onnx half=True device=0):
#   ORT_DYLIB_PATH=…/libonnxruntime.so.1.31.1 (of onnxruntime-gpu) DEVICE=cuda:0 MODEL=yolov8n-fp16.onnx make bench NAME=gpu
#   DEVICE=tensorrt:0 HALF=1 MODEL=yolov8n.onnx make bench NAME=gpu
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=infrastructure/local/environment.sh
. infrastructure/local/environment.sh
device=${DEVICE:-cpu}
model=${MODEL:-data/models/demo-person-416.onnx}
cameras=${CAMERAS:-$([ "$device" = cpu ] && echo "1 2" || echo "1 2 4 8 16")}
seconds=${SECONDS_OF_VIDEO:-$([ "$device" = cpu ] && echo 2 || echo 20)}
profile=${PROFILE:-dev}
rva=${RVA:-$TARGET_DIR/$([ "$profile" = dev ] && echo debug || echo "$profile")/rva}
[ -n "${RVA:-}" ] || cargo build --locked --profile "$profile" -p rva

mkdir -p data/cache
clip=data/cache/bench-1080p30-$seconds.mp4
if [ ! -s "$clip" ]; then
  printf 'bench-gpu: making %s s of 1080p30 out of vtest.avi\n' "$seconds"
  ffmpeg -loglevel error -y -stream_loop -1 -i "$RVA_VTEST" -t "$seconds" -vf scale=1920:1080 -r 30 -c:v libx264 -preset veryfast \
    -pix_fmt yuv420p "$clip.tmp.mp4"
  mv "$clip.tmp.mp4" "$clip"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
csv=data/cache/bench_gpu.csv
echo "device,model,half,cameras,frames,seconds,fps,streams_1080p30" >"$csv"
for n in $cameras; do
  sources=()
  for ((i = 0; i < n; i++)); do sources+=("$clip"); done
  "$rva" run "${sources[@]}" --model "$model" --device "$device" ${HALF:+--half} --tracker "${TRACKER:-bytetrack}" \
    --data-dir "$work/$n" >"$work/$n.log" 2>&1 || { cat "$work/$n.log" >&2; exit 1; }
  # One line a camera: PATH: FRAMES frames in SECONDS s (…). The slowest camera ends the measurement.
  sed -nE 's/.*: ([0-9]+) frames in ([0-9.]+) s .*/\1 \2/p' "$work/$n.log" |
    awk -v d="$device" -v m="$(basename "$model")" -v h="${HALF:+yes}" -v n="$n" '
      { frames += $1; if ($2 > slowest) slowest = $2; lines++ }
      END {
        if (lines != n || slowest == 0) { print "bench-gpu: found " lines " reports, wanted " n > "/dev/stderr"; exit 1 }
        printf "%s,%s,%s,%d,%d,%.2f,%.1f,%.2f\n", d, m, h, n, frames, slowest, frames / slowest, frames / slowest / 30
      }' | tee -a "$csv"
done
printf 'bench-gpu: device,model,half,cameras,frames,seconds,fps,streams_1080p30 in %s\n' "$csv"

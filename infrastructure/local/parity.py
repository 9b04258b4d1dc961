"""Our detections beside those of Ultralytics on the same decoded frames, and frames a second of detect-and-track beside
Ultralytics' `track`: same ONNX file, same ONNX Runtime library, same number of threads, in one run. See docs/parity.md.

Ultralytics is AGPL-3.0; it runs here as a program of its own, and nothing of it is part of the product.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONF, IOU, MAX_DET = 0.25, 0.7, 300
# A box this far above the threshold must be on both sides: at the threshold itself the last bit decides.
MARGIN = 0.01
# Without `rect` it pads to the model's own input, as for every model with a fixed batch; one whose batch alone is symbolic
# it would feed smaller pictures, which the model refuses.
OPTIONS = {"device": "cpu", "verbose": False, "rect": False}
IOU_MIN, CONF_DELTA_MAX, EXCEPTIONS_MAX = 0.99, 0.005, 0.001


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=Path, required=True, help="folder of the built examples")
    parser.add_argument("--model", action="append", type=Path, required=True)
    parser.add_argument("--clip", action="append", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of the network, on both sides")
    parser.add_argument("--frames", type=int, help="frames of each clip to compare; all where not given")
    parser.add_argument("--turns", type=int, default=5, help="turns of the speed comparison; 0 leaves it out")
    parser.add_argument("--speed-frames", type=int, default=200, help="frames of each turn")
    parser.add_argument("--out", type=Path, required=True, help="folder of the raw figures")
    return parser.parse_args()


def ultralytics(threads):
    """The module, its sessions told how many threads they have; it offers no option for that."""
    import onnxruntime
    import torch
    import torchvision  # noqa: F401  # for videos Ultralytics suppresses with torchvision's nms; here it shall too
    import ultralytics

    session = onnxruntime.InferenceSession

    def bounded(path, sess_options=None, **others):
        sess_options = sess_options or onnxruntime.SessionOptions()
        sess_options.intra_op_num_threads = threads
        return session(path, sess_options, **others)

    onnxruntime.InferenceSession = bounded
    torch.set_num_threads(threads)
    return ultralytics


def input_side(model_file):
    """Height and width of the network's input; Ultralytics takes 640 where the metadata doesn't say."""
    import onnxruntime

    shape = onnxruntime.InferenceSession(str(model_file), providers=["CPUExecutionProvider"]).get_inputs()[0].shape
    return [side if isinstance(side, int) else 640 for side in shape[2:]]


def iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def partnerless(boxes, others):
    """Boxes well above the threshold, and of those the ones that have no partner, each with its nearest."""
    checked = [box for box in boxes if box[4] >= CONF + MARGIN]
    missing = []
    for box in checked:
        rivals = [(iou(box, other), other) for other in others if other[5] == box[5]]
        if not any(o >= IOU_MIN and abs(other[4] - box[4]) <= CONF_DELTA_MAX for o, other in rivals):
            missing.append((box, max(rivals, key=lambda rival: rival[0], default=(0.0, None))))
    return len(checked), missing


def why(box, nearest, own):
    """The likely reason of an exception, from the two lists alone."""
    overlap, other = nearest
    if other is None or overlap < IOU:
        crowd = [rival for rival in own if rival is not box and rival[5] == box[5] and iou(rival, box) > IOU - 0.02]
        if crowd:
            return "beside a box whose overlap lies at the suppression threshold"
        return "no box there"
    if abs(other[4] - box[4]) <= 1e-4:
        return "the same candidate, placed differently"
    if abs(other[4] - box[4]) <= CONF_DELTA_MAX:
        return "two candidates of nearly equal score: the other one won the suppression"
    return "another candidate of the same object"


def compare(args, model_file, clip, yolo, exceptions):
    """Feeds one clip, decoded once, to both."""
    import numpy

    with tempfile.NamedTemporaryFile(suffix=".ndjson") as ours_file:
        command = [
            args.examples / "parity_detect",
            "--model",
            model_file,
            "--video",
            clip,
            "--detections",
            ours_file.name,
        ]
        command += ["--threads", args.threads, "--conf", CONF, "--iou", IOU]
        if args.frames:
            command += ["--frames", args.frames]
        child = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE)
        head = json.loads(child.stdout.readline())
        shape = (head["height"], head["width"], 3)
        theirs = []
        while pixels := child.stdout.read(shape[0] * shape[1] * 3):
            frame = numpy.frombuffer(pixels, numpy.uint8).reshape(shape)
            result = yolo.predict(frame, conf=CONF, iou=IOU, max_det=MAX_DET, **OPTIONS)[0]
            theirs.append(result.boxes.data.tolist())
        if child.wait() != 0:
            sys.exit(f"parity: {clip}: our side ended with {child.returncode}")
        with open(ours_file.name) as lines:
            ours = [json.loads(line) for line in lines]
    if len(ours) != len(theirs) or not ours:
        sys.exit(f"parity: {clip}: found {len(ours)} frames of ours and {len(theirs)} of theirs")
    counts = {"frames": len(ours), "ours": 0, "theirs": 0, "exceptions": 0}
    for index, (own, other) in enumerate(zip(ours, theirs), 1):
        for side, boxes, others in (("ours", own, other), ("theirs", other, own)):
            checked, missing = partnerless(boxes, others)
            counts[side] += checked
            counts["exceptions"] += len(missing)
            for box, nearest in missing:
                exceptions.append(
                    [
                        model_file.name,
                        clip.name,
                        index,
                        side,
                        *(round(v, 3) for v in box),
                        round(nearest[0], 4),
                        None if nearest[1] is None else round(nearest[1][4], 4),
                        why(box, nearest, boxes),
                    ]
                )
    return counts


def ours_per_second(args, model_file, clip, frames):
    """The whole pipeline with ByteTrack and records into the embedded log; the model is loaded before the clock starts."""
    command = [args.examples / "bench_detect", "--one", "log", "--model", model_file, "--video", clip]
    command += ["--threads", args.threads, "--frames", frames]
    line = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, check=True, text=True).stdout
    return float(line.split(",")[2])


def theirs_per_second(yolo, clip, frames):
    """`track` over the same file; the model is loaded and warm before the clock starts."""
    started, count = time.perf_counter(), 0
    # Its own default for tracking is 0.1, the lowest that ByteTrack uses on both sides.
    for _ in yolo.track(
        str(clip), stream=True, tracker="bytetrack.yaml", conf=0.1, iou=IOU, max_det=MAX_DET, **OPTIONS
    ):
        count += 1
        if count == frames:
            break
    return count / (time.perf_counter() - started)


def speed(args, model_file, yolo, writer):
    clip = args.clip[0]
    rates = {"rva": [], "ultralytics": []}
    theirs_per_second(yolo, clip, 5)
    for turn in range(1, args.turns + 1):
        order = ["rva", "ultralytics"] if turn % 2 else ["ultralytics", "rva"]
        for side in order:
            if side == "rva":
                rate = ours_per_second(args, model_file, clip, args.speed_frames)
            else:
                rate = theirs_per_second(yolo, clip, args.speed_frames)
            rates[side].append(rate)
            writer.writerow([model_file.name, args.threads, turn, side, args.speed_frames, round(rate, 3)])
    medians = {side: statistics.median(values) for side, values in rates.items()}
    return medians["rva"], medians["ultralytics"]


def main():
    args = arguments()
    module = ultralytics(args.threads)
    import onnxruntime

    print(f"Ultralytics {module.__version__}, ONNX Runtime {onnxruntime.__version__}, {args.threads} threads")
    args.out.mkdir(parents=True, exist_ok=True)
    exceptions, is_missed = [], False
    speeds = []
    with (
        open(args.out / "parity.csv", "w", newline="") as file,
        open(args.out / "parity_speed.csv", "w", newline="") as fps,
    ):
        writer, speed_writer = csv.writer(file, lineterminator="\n"), csv.writer(fps, lineterminator="\n")
        writer.writerow(["model", "clip", "frames", "ours", "theirs", "exceptions"])
        speed_writer.writerow(["model", "threads", "turn", "side", "frames", "fps"])
        for model_file in args.model:
            yolo = module.YOLO(str(model_file), task="detect")
            OPTIONS["imgsz"] = input_side(model_file)
            total = {"frames": 0, "ours": 0, "theirs": 0, "exceptions": 0}
            for clip in args.clip:
                counts = compare(args, model_file, clip, yolo, exceptions)
                row = [counts[key] for key in total]
                writer.writerow([model_file.name, clip.name, *row])
                print(
                    f"{model_file.name} {clip.name}: {row[0]} frames, {row[1]} boxes of ours and {row[2]} of theirs "
                    f"checked, {row[3]} without a partner",
                    flush=True,
                )
                for key in total:
                    total[key] += counts[key]
            checked = total["ours"] + total["theirs"]
            share = total["exceptions"] / max(checked, 1)
            is_missed |= checked == 0 or share >= EXCEPTIONS_MAX
            print(
                f"{model_file.name} overall: {total['frames']} frames, {checked} boxes checked, {total['exceptions']} "
                f"without a partner ({share:.4%}, wanted below {EXCEPTIONS_MAX:.1%})",
                flush=True,
            )
            if args.turns:
                ours, theirs = speed(args, model_file, yolo, speed_writer)
                speeds.append(
                    f"{model_file.name} on {args.clip[0].name}, {args.threads} threads, median of {args.turns} "
                    f"turns: rva {ours:.1f}, Ultralytics {theirs:.1f} frames a second, {ours / theirs:.3f} times"
                )
                print(speeds[-1], flush=True)
    with open(args.out / "parity_exceptions.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(
            [
                "model",
                "clip",
                "frame",
                "side",
                "x1",
                "y1",
                "x2",
                "y2",
                "conf",
                "class",
                "nearest_iou",
                "nearest_conf",
                "why",
            ]
        )
        writer.writerows(exceptions)
    for exception in exceptions:
        print("exception:", *exception)
    if is_missed:
        sys.exit("parity: missed")


if __name__ == "__main__":
    main()

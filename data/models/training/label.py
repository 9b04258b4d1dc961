"""Labels for the demo model: what a teacher, YOLOv8n, sees in the whole frame and in four overlapping tiles.

Writes one OUT/<clip>.npz per clip: `imgs` [f, h, w, 3] uint8 BGR, `n` [f] boxes per frame, `boxes` [sum of n, 5]
float32 (x1, y1, x2, y2 in frame pixels, the teacher's score).

The teacher's weights are AGPL-3.0 and are not in this project.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from boxes import letterbox, non_maximum_suppression

TEACHER_SIZE = 640
PERSON = 0
FRAME_CONF, TILE_CONF = 0.25, 0.35
TILE_SHARE = 0.6
# A box nearer than this to an inner edge of its tile is taken for cut off, in pixels.
EDGE = 4


@dataclass(frozen=True)
class Clip:
    """Footage to label: every `step`-th frame, with tiles where people are small."""

    name: str
    file: str
    step: int
    tiles: bool


CLIPS = (
    Clip("vtest", "vtest.avi", 1, True),
    Clip("onebyone", "one-by-one-person-detection.mp4", 3, False),
    Clip("aisle", "store-aisle.mp4", 1, True),
    Clip("worker", "worker-zone.mp4", 1, True),
    Clip("people", "people.mp4", 1, True),
)


class Teacher:
    """YOLOv8n as ONNX, `images` [1, 3, 640, 640] to `output0` [1, 4 + classes, 8400]."""

    def __init__(self, model: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

    def persons(self, image: np.ndarray, conf: float) -> tuple[np.ndarray, np.ndarray]:
        """Where a person is the likeliest class and its score is above `conf`.

        image: [h, w, 3] uint8 BGR. Returns boxes [n, 4] (xyxy, picture pixels) and scores [n]; not yet suppressed.
        """
        square, scale = letterbox(image, TEACHER_SIZE)
        tensor = square[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255
        output = self.session.run(None, {"images": np.ascontiguousarray(tensor)})[0][0]
        scores = output[4 + PERSON]
        chosen = (scores > conf) & (scores >= output[4:].max(0))
        x, y, width, height = output[:4, chosen]
        boxes = np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], 1) / scale
        return boxes, scores[chosen]


def tile_persons(teacher: Teacher, frame: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What the teacher sees in four tiles of 60 % of each side, without boxes that an inner edge of a tile cuts.

    frame: [h, w, 3]. Returns boxes [n, 4] (frame pixels) and scores [n], one of each per tile.
    """
    height, width = frame.shape[:2]
    tile_width, tile_height = int(width * TILE_SHARE), int(height * TILE_SHARE)
    all_boxes, all_scores = [], []
    for left in (0, width - tile_width):
        for top in (0, height - tile_height):
            right, bottom = left + tile_width, top + tile_height
            boxes, scores = teacher.persons(frame[top:bottom, left:right], TILE_CONF)
            boxes = boxes + np.array([left, top, left, top])
            whole = (
                ((boxes[:, 0] > left + EDGE) | (left == 0))
                & ((boxes[:, 1] > top + EDGE) | (top == 0))
                & ((boxes[:, 2] < right - EDGE) | (right == width))
                & ((boxes[:, 3] < bottom - EDGE) | (bottom == height))
            )
            all_boxes.append(boxes[whole])
            all_scores.append(scores[whole])
    return all_boxes, all_scores


def label_frame(teacher: Teacher, frame: np.ndarray, tiles: bool) -> np.ndarray:
    """Persons of one frame [h, w, 3] as [n, 5] float32: xyxy in frame pixels, clipped, and the score."""
    height, width = frame.shape[:2]
    boxes, scores = teacher.persons(frame, FRAME_CONF)
    if tiles:
        more_boxes, more_scores = tile_persons(teacher, frame)
        boxes, scores = np.concatenate([boxes, *more_boxes]), np.concatenate([scores, *more_scores])
    kept = non_maximum_suppression(boxes, scores, inside_limit=0.8)
    boxes = np.clip(boxes[kept], 0, [width, height, width, height])
    return np.concatenate([boxes, scores[kept, None]], 1).astype(np.float32)


def label_clip(teacher: Teacher, clip: Clip, path: Path, out: Path) -> None:
    """Labels one clip and writes `out`."""
    capture = cv2.VideoCapture(str(path))
    frames, labels, index = [], [], 0
    while True:
        there, frame = capture.read()
        if not there:
            break
        if index % clip.step == 0:
            frames.append(frame)
            labels.append(label_frame(teacher, frame, clip.tiles))
        index += 1
    if not frames:
        raise SystemExit(f"found no frames in {path}, wanted a video")
    counts = np.array([len(rows) for rows in labels])
    np.savez(out, imgs=np.stack(frames), n=counts, boxes=np.concatenate(labels))
    print(f"{clip.name}: {len(frames)} frames, {counts.sum()} boxes", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True, help="yolov8n.onnx, exported at 640")
    parser.add_argument("--vtest", type=Path, required=True, help="vtest.avi of Debian's opencv-doc, unpacked")
    parser.add_argument("--clips", type=Path, required=True, help="folder with Intel's four sample videos")
    parser.add_argument("--out", type=Path, required=True, help="folder for the labels")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    teacher = Teacher(args.teacher, args.threads)
    for clip in CLIPS:
        path = args.vtest if clip.name == "vtest" else args.clips / clip.file
        label_clip(teacher, clip, path, args.out / f"{clip.name}.npz")


if __name__ == "__main__":
    main()

"""Detections by Python's ONNX Runtime, with Ultralytics' letterbox and suppression written out in numpy and cv2.

    python yolo_reference.py MODEL PICTURE OPTIONS

PICTURE is an image, or VIDEO#N for frame N (from 0) of a video. OPTIONS is a JSON list; each entry has `conf`, `iou`
and, if wanted, `classes`, `max_det`, `agnostic`. Prints a JSON list with the detections of each entry, best first:
`[x1, y1, x2, y2, conf, class]` in source pixels.
"""

import json
import sys

import cv2
import numpy as np
import onnxruntime


def read(picture):
    path, _, frame = picture.partition("#")
    if not frame:
        return cv2.imread(path)
    video = cv2.VideoCapture(path)
    for _ in range(int(frame)):
        video.grab()
    return video.read()[1]


def letterbox(image, height, width):
    """LetterBox(auto=False, scaleup=True, center=True); gives the network input, the gain and the left and top border."""
    gain = min(height / image.shape[0], width / image.shape[1])
    scaled = round(image.shape[1] * gain), round(image.shape[0] * gain)
    dx, dy = (width - scaled[0]) / 2, (height - scaled[1]) / 2
    if image.shape[1::-1] != scaled:
        image = cv2.resize(image, scaled, interpolation=cv2.INTER_LINEAR)
    top, bottom, left, right = round(dy - 0.1), round(dy + 0.1), round(dx - 0.1), round(dx + 0.1)
    image = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(114, 114, 114))
    planes = image[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
    return np.ascontiguousarray(planes), np.float32(gain), left, top


def nms(boxes, scores, iou):
    """torchvision.ops.nms: indices that stay, best first."""
    order = np.argsort(-scores, kind="stable")
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[rest, :2])
        high = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        inter = np.prod(np.clip(high - low, 0, None), axis=1)
        order = rest[inter / (areas[best] + areas[rest] - inter) <= iou]
    return np.array(kept, dtype=int)


def suppress(output, conf, iou, classes=None, max_det=300, agnostic=False):
    """non_max_suppression(multi_label=False, max_nms=30000, max_wh=7680) of one picture: [n, 6]."""
    rows = output.T
    centre, half, scores = rows[:, :2], rows[:, 2:4] / 2, rows[:, 4:]
    best = scores.argmax(1)
    x = np.concatenate([centre - half, centre + half, scores.max(1)[:, None], best[:, None].astype(np.float32)], axis=1)
    x = x[x[:, 4] > np.float32(conf)]
    if classes is not None:
        x = x[np.isin(x[:, 5], classes)]
    x = x[np.argsort(-x[:, 4], kind="stable")[:30000]]
    offset = x[:, 5:6] * np.float32(0 if agnostic else 7680)
    return x[nms(x[:, :4] + offset, x[:, 4], iou)[:max_det]]


def main(model, picture, options):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    _, _, height, width = session.get_inputs()[0].shape
    image = read(picture)
    planes, gain, left, top = letterbox(image, height, width)
    output = session.run(None, {session.get_inputs()[0].name: planes})[0][0]
    results = []
    for entry in json.loads(options):
        found = suppress(output, **entry)
        found[:, [0, 2]] = np.clip((found[:, [0, 2]] - left) / gain, 0, image.shape[1])
        found[:, [1, 3]] = np.clip((found[:, [1, 3]] - top) / gain, 0, image.shape[0])
        results.append(found.tolist())
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])

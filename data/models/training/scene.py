"""Training pictures: labelled frames, scaled, moved, mirrored, recoloured, and four at a time as a mosaic.

Boxes are [n, 5] throughout: x1, y1, x2, y2 in picture pixels, the teacher's score.
"""

import random
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from boxes import GREY

# How often a clip is drawn; the demo's own clip makes up about half.
WEIGHTS = {"vtest": 5.0, "onebyone": 2.0, "aisle": 1.0, "worker": 1.0, "people": 0.6}
# Frames of vtest.avi: the first 560 are trained on, every third from 600 on is for validation.
TRAIN_FRAMES = range(560)
VALIDATION_FRAMES = range(600, 795, 3)
# A box that a cut leaves less of is dropped; so is one under this width and height in pixels.
VISIBLE_SHARE = 0.35
WIDTH_MIN, HEIGHT_MIN = 3, 6


@dataclass(frozen=True)
class LabelledClip:
    """frames: [f, h, w, 3] uint8 BGR; boxes: f arrays [n, 5]; chosen: indices of the frames to train on."""

    frames: np.ndarray
    boxes: list[np.ndarray]
    chosen: range
    weight: float


def load_clip(folder: Path, name: str) -> LabelledClip:
    """Reads <folder>/<name>.npz as label.py writes it."""
    with np.load(folder / f"{name}.npz") as file:
        frames, counts, boxes = file["imgs"], file["n"], file["boxes"]
    ends = np.concatenate([[0], np.cumsum(counts)])
    per_frame = [boxes[ends[i] : ends[i + 1]] for i in range(len(frames))]
    chosen = TRAIN_FRAMES if name == "vtest" else range(len(frames))
    return LabelledClip(frames, per_frame, chosen, WEIGHTS[name])


class Scenes:
    """Draws training pictures from the clips of a folder."""

    def __init__(self, folder: Path) -> None:
        self.clips = {name: load_clip(folder, name) for name in WEIGHTS}

    def validation(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Frames that are not trained on, each [h, w, 3], with their boxes."""
        vtest = self.clips["vtest"]
        return [(vtest.frames[i], vtest.boxes[i]) for i in VALIDATION_FRAMES]

    def draw(self, size: int, mosaic_share: float) -> tuple[np.ndarray, np.ndarray]:
        """One training picture [size, size, 3] uint8 BGR and its boxes; with `mosaic_share` a mosaic of four."""
        if random.random() < mosaic_share:
            image, boxes = warped(*self._mosaic(size), size, 0.7, 1.8)
        else:
            image, boxes = warped(*self._frame(), size, 0.6, 1.5)
        return recoloured(image), boxes

    def _frame(self) -> tuple[np.ndarray, np.ndarray]:
        clips = list(self.clips.values())
        clip = random.choices(clips, [clip.weight for clip in clips])[0]
        index = random.choice(clip.chosen)
        return clip.frames[index], clip.boxes[index]

    def _mosaic(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Four frames side by side, [2 size, 2 size, 3]."""
        canvas, parts = np.full((size * 2, size * 2, 3), GREY, np.uint8), []
        for cell in range(4):
            image, boxes = warped(*self._frame(), size, 0.8, 1.6)
            row, column = divmod(cell, 2)
            canvas[row * size : (row + 1) * size, column * size : (column + 1) * size] = image
            parts.append(boxes + np.array([column * size, row * size, column * size, row * size, 0], np.float32))
        return canvas, np.concatenate(parts)


def warped(
    image: np.ndarray, boxes: np.ndarray, size: int, scale_min: float, scale_max: float
) -> tuple[np.ndarray, np.ndarray]:
    """Scales (1 fits the longer side), stretches, moves and half of the time mirrors into [size, size, 3].

    Boxes are clipped; those of which little is left are dropped.
    """
    height, width = image.shape[:2]
    scale = random.uniform(scale_min, scale_max) * size / max(height, width)
    stretch = random.uniform(0.85, 1.18)
    scale_x, scale_y = scale * stretch, scale / stretch
    left = random.uniform(min(0, size - scale_x * width), max(0, size - scale_x * width))
    top = random.uniform(min(0, size - scale_y * height), max(0, size - scale_y * height))
    if random.random() < 0.5:
        left, scale_x = left + scale_x * width, -scale_x
    matrix = np.array([[scale_x, 0, left], [0, scale_y, top]], np.float32)
    out = cv2.warpAffine(image, matrix, (size, size), borderValue=(GREY, GREY, GREY))
    return out, _warped_boxes(boxes, matrix, size)


def _warped_boxes(boxes: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    x = matrix[0, 0] * boxes[:, [0, 2]] + matrix[0, 2]
    y = matrix[1, 1] * boxes[:, [1, 3]] + matrix[1, 2]
    whole = np.stack([x.min(1), y[:, 0], x.max(1), y[:, 1]], 1)
    clipped = np.clip(whole, 0, size)
    width, height = clipped[:, 2] - clipped[:, 0], clipped[:, 3] - clipped[:, 1]
    area = (whole[:, 2] - whole[:, 0]) * (whole[:, 3] - whole[:, 1])
    kept = (width * height > VISIBLE_SHARE * area) & (width > WIDTH_MIN) & (height > HEIGHT_MIN)
    return np.concatenate([clipped[kept], boxes[kept, 4:]], 1).astype(np.float32)


def recoloured(image: np.ndarray) -> np.ndarray:
    """Changes hue, saturation and brightness; now and then greys or blurs. Keeps the shape."""
    gains = np.random.uniform(-1, 1, 3) * [0.02, 0.6, 0.45] + 1
    levels = np.arange(256)
    tables = (
        ((levels * gains[0]) % 180).astype(np.uint8),
        np.clip(levels * gains[1], 0, 255).astype(np.uint8),
        np.clip(levels * gains[2], 0, 255).astype(np.uint8),
    )
    channels = cv2.split(cv2.cvtColor(image, cv2.COLOR_BGR2HSV))
    image = cv2.merge([cv2.LUT(channel, table) for channel, table in zip(channels, tables)])
    image = cv2.cvtColor(image, cv2.COLOR_HSV2BGR)
    if random.random() < 0.1:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    if random.random() < 0.15:
        image = cv2.GaussianBlur(image, (3, 3), 0)
    return image

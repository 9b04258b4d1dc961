"""What labelling and training both do with boxes and pictures."""

import cv2
import numpy as np

GREY = 114


def letterbox(image: np.ndarray, size: int) -> tuple[np.ndarray, float]:
    """Fits a picture into the top left of a grey square.

    image: [h, w, 3] uint8. Returns [size, size, 3] uint8 and the scale (square pixels per picture pixel).
    """
    height, width = image.shape[:2]
    scale = size / max(height, width)
    new_height, new_width = round(height * scale), round(width * scale)
    square = np.full((size, size, 3), GREY, np.uint8)
    square[:new_height, :new_width] = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    return square, scale


def overlaps(box: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How a box [4] and others [n, 4] (all xyxy) overlap: IoU [n], and intersection over the smaller of the two [n]."""
    width = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    height = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    intersection = np.clip(width, 0, None) * np.clip(height, 0, None)
    area = (box[2] - box[0]) * (box[3] - box[1])
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    return intersection / (area + areas - intersection + 1e-9), intersection / (np.minimum(area, areas) + 1e-9)


def non_maximum_suppression(
    boxes: np.ndarray, scores: np.ndarray, iou_limit: float = 0.6, inside_limit: float | None = None
) -> list[int]:
    """Indices of the boxes that stay, best first.

    boxes: [n, 4] xyxy, scores: [n]. A box goes when its IoU with a better one is at least `iou_limit`, or, where
    given, when at least `inside_limit` of the smaller of the two lies in the other: half a person at a tile's edge.
    """
    order, kept = scores.argsort()[::-1], []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(int(best))
        iou, inside = overlaps(boxes[best], boxes[order])
        apart = iou < iou_limit
        if inside_limit is not None:
            apart &= inside < inside_limit
        order = order[apart]
    return kept

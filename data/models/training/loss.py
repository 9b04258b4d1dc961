"""What training makes small: task-aligned assignment of cells to boxes, complete IoU and binary cross-entropy.

Sources: TOOD (Feng et al., ICCV 2021), section 3.2, for the assignment, as YOLOv8 uses it; CIoU (Zheng et al., AAAI
2020), equations 10 to 12.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

# The alignment of a cell with a box is score ** 0.5 * IoU ** 6; the best ten cells of each box are its own.
SCORE_POWER, IOU_POWER, CELLS_PER_BOX = 0.5, 6.0, 10
BOX_GAIN, SCORE_GAIN = 7.5, 0.8
# Where the teacher was less sure, its box weighs less, but not less than this.
TEACHER_MIN = 0.3


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes [..., 4] (xyxy) that broadcast; [...]."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    intersection = (high - low).clamp(0).prod(-1)
    areas = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1)
    return intersection / (areas - intersection + 1e-7)


def complete_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU less penalties for the distance of the centres and the difference of the aspect ratios. Shapes as `iou`."""
    overlap = iou(a, b)
    span = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    diagonal = span.square().sum(-1) + 1e-7
    distance = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]).square().sum(-1) / 4
    size_a, size_b = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
    angle = torch.atan(size_b[..., 0] / (size_b[..., 1] + 1e-7)) - torch.atan(size_a[..., 0] / (size_a[..., 1] + 1e-7))
    shape = 4 / math.pi**2 * angle.square()
    with torch.no_grad():
        weight = shape / (shape - overlap + 1 + 1e-7)
    return overlap - (distance / diagonal + shape * weight)


@torch.no_grad()
def assign(boxes: Tensor, scores: Tensor, centres: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Which cells of one picture answer for which true box.

    boxes: [N, 4] as the network has them, scores: [N] before the sigmoid, centres: [N, 2] of the cells, truth: [G, 4].
    Returns for each cell whether it has a box [N], which one [N], and the score it should have [N] in [0, 1].
    """
    offsets = torch.cat([centres[None] - truth[:, None, :2], truth[:, None, 2:] - centres[None]], -1)
    inside = offsets.amin(-1) > 0
    overlap = iou(truth[:, None], boxes[None])
    alignment = scores.sigmoid()[None].pow(SCORE_POWER) * overlap.pow(IOU_POWER) * inside
    best, cells = alignment.topk(CELLS_PER_BOX, 1)
    chosen = torch.zeros_like(alignment, dtype=torch.bool).scatter_(1, cells, best > 1e-9) & inside
    # A cell that several boxes chose goes to the one it overlaps most.
    contested = chosen.sum(0) > 1
    nearest = (overlap * inside).argmax(0)
    chosen[:, contested] = False
    chosen[nearest[contested], contested.nonzero()[:, 0]] = True
    alignment = alignment * chosen
    top_overlap = (overlap * chosen).amax(1, keepdim=True)
    wanted, owner = (alignment / (alignment.amax(1, keepdim=True) + 1e-9) * top_overlap).max(0)
    return chosen.any(0), owner, wanted


def detection_loss(boxes: Tensor, scores: Tensor, centres: Tensor, truths: list[Tensor]) -> tuple[Tensor, float, float]:
    """Loss of a batch.

    boxes: [b, N, 4], scores: [b, N], centres: [N, 2] (all as `Net.raw` gives them), truths: b tensors [G, 5] of xyxy
    and the teacher's score. Returns the loss to go back from, and its box and score parts to print.
    """
    wanted_scores, weights = torch.zeros_like(scores), torch.ones_like(scores)
    box_sum, box_weight = scores.new_zeros(()), 0.0
    for k, truth in enumerate(truths):
        if not len(truth):
            continue
        positive, owner, wanted = assign(boxes[k], scores[k], centres, truth[:, :4])
        trust = truth[owner, 4].clamp(TEACHER_MIN, 1.0)
        wanted_scores[k] = torch.where(positive, wanted, wanted_scores[k])
        weights[k] = torch.where(positive, trust, weights[k])
        if positive.any():
            weight = (wanted * trust)[positive]
            box_sum = box_sum + ((1 - complete_iou(boxes[k][positive], truth[owner[positive], :4])) * weight).sum()
            box_weight += float(weight.sum())
    box_loss = box_sum / max(box_weight, 1.0)
    score_sum = functional.binary_cross_entropy_with_logits(scores, wanted_scores, weight=weights, reduction="sum")
    score_loss = score_sum / max(float(wanted_scores.sum()), 1.0)
    return BOX_GAIN * box_loss + SCORE_GAIN * score_loss, box_loss.item(), score_loss.item()

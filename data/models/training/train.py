"""Trains the demo model from nothing for a given time, and prints its agreement with the teacher every three minutes.

Writes the moving average of the weights to --out. Two CPU cores take 85 minutes for the published figures.
"""

import argparse
import copy
import math
import queue
import random
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from boxes import letterbox, non_maximum_suppression, overlaps
from loss import detection_loss
from net import Net, parameter_count
from scene import Scenes
from torch import Tensor

SIZE = 416
SEED = 1
LEARNING_RATE, WARM_UP_STEPS = 2e-3, 150
# From here on only whole pictures of the final size.
FINAL_PHASE = 0.85
REPORT_SECONDS = 180
# Validation: teacher's boxes above this score are wanted, the others neither wanted nor held against the pupil.
WANTED_SCORE = 0.4
OPERATING_SCORE = 0.25

Batch = tuple[list[np.ndarray], list[Tensor]]


class Schedule:
    """How far training is, in [0, 1], by the clock."""

    def __init__(self, minutes: float) -> None:
        self.start = time.monotonic()
        self.seconds = minutes * 60

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start

    def done(self) -> float:
        """The share that is over, at most 1."""
        return min(1.0, self.elapsed() / self.seconds)

    def learning_rate(self, step: int) -> float:
        """Warms up over the first steps, then falls along a cosine to 2 %."""
        cosine = 0.5 + 0.5 * math.cos(math.pi * self.done())
        return LEARNING_RATE * min(1.0, (step + 1) / WARM_UP_STEPS) * (0.02 + 0.98 * cosine)


def tensor(images: list[np.ndarray]) -> Tensor:
    """b pictures [h, w, 3] uint8 BGR to [b, 3, h, w] float32 RGB in [0, 1]."""
    stacked = np.stack(images)[..., ::-1].transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(stacked)).float() / 255


def make_batches(scenes: Scenes, schedule: Schedule, batches: "queue.Queue[Batch]") -> None:
    """Fills the queue until the time is over: small pictures first, many of them; large ones later, fewer."""
    while (done := schedule.done()) < 1:
        if done >= FINAL_PHASE:
            size = SIZE
        else:
            size = random.choice([256, 288, 320] if done < 0.5 else [320, 352, 416])
        images, truths = [], []
        for _ in range(int(16 * (320 / size) ** 2 + 0.5)):
            image, boxes = scenes.draw(size, 0.6 if done < FINAL_PHASE else 0.0)
            images.append(image)
            truths.append(torch.from_numpy(boxes))
        batches.put((images, truths))


@torch.no_grad()
def follow(average: Net, net: Net, step: int) -> None:
    """Moves the average a little towards the weights: 0.1 % a step, more at the beginning."""
    decay = 0.999 * (1 - math.exp(-step / 300))
    for kept, new in zip(average.state_dict().values(), net.state_dict().values()):
        if kept.dtype.is_floating_point:
            kept.mul_(decay).add_(new, alpha=1 - decay)
        else:
            kept.copy_(new)


@torch.no_grad()
def predictions(net: Net, images: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each picture [h, w, 3] boxes [n, 4] (picture pixels) and scores [n], suppressed, best first."""
    squares, scales = zip(*(letterbox(image, SIZE) for image in images))
    all_boxes, all_scores, _ = net.raw(tensor(list(squares)))
    found = []
    for boxes, scores, scale in zip(all_boxes.numpy(), all_scores.sigmoid().numpy(), scales):
        likely = scores > 0.05
        boxes, scores = boxes[likely] / scale, scores[likely]
        kept = non_maximum_suppression(boxes, scores)
        found.append((boxes[kept], scores[kept]))
    return found


def judge(boxes: np.ndarray, truth: np.ndarray) -> list[bool | None]:
    """For each box [n, 4], best first: right, wrong, or None where only a weak box of the teacher lies there."""
    wanted, weak = truth[truth[:, 4] > WANTED_SCORE], truth[truth[:, 4] <= WANTED_SCORE]
    taken, verdicts = np.zeros(len(wanted), bool), []
    for box in boxes:
        iou = np.where(taken, 0, overlaps(box, wanted)[0])
        if len(iou) and iou.max() > 0.5:
            taken[iou.argmax()] = True
            verdicts.append(True)
        elif len(weak) and overlaps(box, weak)[0].max() > 0.4:
            verdicts.append(None)
        else:
            verdicts.append(False)
    return verdicts


def evaluate(net: Net, validation: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float, float]:
    """AP50 (101 points) and, at score 0.25, precision and recall: agreement with the teacher, not truth."""
    scored, wanted = [], 0
    for first in range(0, len(validation), 13):
        part = validation[first : first + 13]
        for (boxes, scores), (_, truth) in zip(predictions(net, [image for image, _ in part]), part):
            wanted += int((truth[:, 4] > WANTED_SCORE).sum())
            verdicts = judge(boxes, truth)
            scored.extend((score, right) for score, right in zip(scores, verdicts) if right is not None)
    if not scored or not wanted:
        return 0.0, 0.0, 0.0
    scored.sort(key=lambda pair: -pair[0])
    hits = np.cumsum([right for _, right in scored])
    precision, recall = hits / np.arange(1, len(scored) + 1), hits / wanted
    points = np.linspace(0, 1, 101)
    average = np.mean([precision[recall >= point].max() if (recall >= point).any() else 0 for point in points])
    last = max(sum(score > OPERATING_SCORE for score, _ in scored) - 1, 0)
    return float(average), float(precision[last]), float(recall[last])


def optimizer_for(net: Net) -> torch.optim.Optimizer:
    """AdamW; biases and norms don't decay."""
    decaying = [parameter for parameter in net.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in net.parameters() if parameter.ndim <= 1]
    groups = [{"params": decaying, "weight_decay": 0.02}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.99))


def train(scenes: Scenes, minutes: float, out: Path) -> None:
    """Trains for `minutes`, and saves the averaged weights at every report and at the end."""
    net = Net().to(memory_format=torch.channels_last)
    average = copy.deepcopy(net).eval()
    optimizer, validation = optimizer_for(net), scenes.validation()
    print(f"{parameter_count(net)} parameters", flush=True)
    schedule, batches = Schedule(minutes), queue.Queue(6)
    threading.Thread(target=make_batches, args=(scenes, schedule, batches), daemon=True).start()
    step, losses, reported = 0, [], time.monotonic()
    while schedule.done() < 1:
        images, truths = batches.get()
        for group in optimizer.param_groups:
            group["lr"] = schedule.learning_rate(step)
        boxes, scores, centres = net.raw(tensor(images).contiguous(memory_format=torch.channels_last))
        loss, box_loss, score_loss = detection_loss(boxes, scores, centres, truths)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimizer.step()
        step += 1
        losses.append((box_loss, score_loss))
        follow(average, net, step)
        if time.monotonic() - reported > REPORT_SECONDS:
            report(schedule, step, losses, evaluate(average, validation))
            torch.save(average.state_dict(), out)
            losses, reported = [], time.monotonic()
    report(schedule, step, losses, evaluate(average, validation))
    torch.save(average.state_dict(), out)


def report(
    schedule: Schedule, step: int, losses: list[tuple[float, float]], figures: tuple[float, float, float]
) -> None:
    """One line about where training stands."""
    box_loss, score_loss = np.mean(losses, 0) if losses else (math.nan, math.nan)
    ap50, precision, recall = figures
    print(
        f"{schedule.elapsed() / 60:.1f} min, step {step}, loss {box_loss:.3f} + {score_loss:.3f}, "
        f"AP50 {ap50:.3f}, precision {precision:.3f}, recall {recall:.3f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, required=True, help="folder with label.py's .npz files")
    parser.add_argument("--minutes", type=float, required=True, help="how long to train")
    parser.add_argument("--out", type=Path, required=True, help="the .pt file to write")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)
    train(Scenes(args.labels), args.minutes, args.out)


if __name__ == "__main__":
    main()

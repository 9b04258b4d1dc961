"""People counted at lines and in zones: ours beside PyPI `supervision` (LineZone at several thresholds, PolygonZone) on the
tracks of Roboflow's `trackers`, from the same public detections of MOTChallenge sequences, at the lines of
`rva eval footfall`, against the same true crossings.

The true crossings and ours come from `rva eval footfall --crossings`. Theirs are what LineZone says frame by frame: each
tracker with its own defaults and the sequence's frame rate, each LineZone with its default anchors (a box's four
corners) and with the bottom centre, the anchor of ours. Pairing is one code for all here: a counted crossing is right
where a true one of the same line and direction is within 2 s, each once.
"""

import argparse
import csv
import json
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from configparser import ConfigParser
from pathlib import Path

TOLERANCE = 2.0
THRESHOLDS = (1, 3, 5)
# As in crates/rva-eval/src/counting.rs.
ZONES = {
    "left half": [(0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)],
    "middle": [(0.3, 0.3), (0.7, 0.3), (0.7, 0.9), (0.3, 0.9)],
    "lower right": [(0.5, 0.5), (1.0, 0.5), (1.0, 1.0), (0.5, 1.0)],
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rva", required=True, help="the program")
    parser.add_argument("--gt", type=Path, action="append", required=True, help="a folder of sequences")
    parser.add_argument("--detections", default="det_frcnn_sort,det")
    parser.add_argument("--csv", type=Path, required=True, help="file of the raw figures")
    parser.add_argument("--jobs", type=int, default=1)
    return parser.parse_args()


def makers(rate):
    """Roboflow's trackers by name, each with its own defaults."""
    import trackers

    return {
        "bytetrack": lambda: trackers.ByteTrackTracker(frame_rate=rate),
        "botsort": lambda: trackers.BoTSORTTracker(frame_rate=rate, enable_cmc=False),
        "ocsort": lambda: trackers.OCSORTTracker(frame_rate=rate),
        "cbiou": lambda: trackers.CBIoUTracker(frame_rate=rate),
    }


class Sequence:
    def __init__(self, folder, kinds):
        info = ConfigParser()
        info.read(folder / "seqinfo.ini")
        info = info["Sequence"]
        self.name, self.group = folder.name, folder.parent.name
        self.frames, self.rate = int(info["seqLength"]), float(info["frameRate"])
        self.size = int(info["imWidth"]), int(info["imHeight"])
        self.det = next(path for kind in kinds if (path := folder / kind / "det.txt").is_file())
        self.gt = folder / "gt" / "gt.txt"

    def rows(self, path):
        for line in path.read_text().splitlines():
            yield [float(field) for field in line.split(",")]

    def detections(self):
        """The detections of every frame, as Roboflow's trackers take them."""
        import numpy as np
        import supervision as sv

        frames = defaultdict(list)
        for frame, _, left, top, width, height, conf, *_ in self.rows(self.det):
            frames[int(frame)].append((left, top, left + width, top + height, min(max(conf, 0.0), 1.0)))
        for frame in range(1, self.frames + 1):
            rows = np.array(frames[frame], dtype=np.float32).reshape(-1, 5)
            yield sv.Detections(xyxy=rows[:, :4], confidence=rows[:, 4], class_id=np.zeros(len(rows), dtype=int))

    def truth(self):
        """People in each zone in each frame, by the rows that are scored."""
        rows = list(self.rows(self.gt))
        has_classes = any(len(row) > 7 and row[7] > 0 for row in rows)
        return self.in_zones(row for row in rows if row[6] != 0 and (not has_classes or row[7] == 1))

    def in_zones(self, rows):
        counts = {name: [0] * self.frames for name in ZONES}
        width, height = self.size
        for row in rows:
            x, y = (row[2] + row[4] / 2) / width, (row[3] + row[5]) / height
            for name, corners in ZONES.items():
                if 1 <= row[0] <= self.frames and holds(corners, min(max(x, 0), 1 - 1e-12), min(max(y, 0), 1 - 1e-12)):
                    counts[name][int(row[0]) - 1] += 1
        return counts


def holds(corners, x, y):
    """Whether a rectangle holds a point; the three zones are such."""
    (left, top), _, (right, bottom), _ = corners
    return left <= x <= right and top <= y <= bottom


def paired(truth, found):
    """How many true times have a counted one of their own; both are in order, so the earliest that fits is the best."""
    free, pairs = sorted(found), 0
    for at in sorted(truth):
        fits = next((other for other in free if abs(other - at) <= TOLERANCE), None)
        if fits is not None:
            free.remove(fits)
            pairs += 1
    return pairs


def peer(job):
    """What one of their trackers counts in one sequence: crossings by (anchors, threshold, line, direction), and the sum
    over frames and zones of the absolute error of people in a zone."""
    import numpy as np
    import supervision as sv

    sequence, tracker, lines = job
    width, height = sequence.size
    anchors = {"corners": {}, "bottom": {"triggering_anchors": [sv.Position.BOTTOM_CENTER]}}

    def line_zone(ends, anchor, threshold):
        start, end = (sv.Point(x * width, y * height) for x, y in (ends[:2], ends[2:]))
        return sv.LineZone(start, end, minimum_crossing_threshold=threshold, **anchors[anchor])

    zones = {
        (anchor, threshold, name): line_zone(ends, anchor, threshold)
        for anchor in anchors
        for threshold in THRESHOLDS
        for name, ends in lines.items()
    }
    polygons = {}
    for name, corners in ZONES.items():
        pixels = np.array([(round(x * width), round(y * height)) for x, y in corners])
        polygons[name] = sv.PolygonZone(pixels, triggering_anchors=[sv.Position.BOTTOM_CENTER])
    found, truth, people_error = defaultdict(list), sequence.truth(), 0
    maker = makers(sequence.rate)[tracker]()
    for at, detections in enumerate(sequence.detections()):
        tracked = maker.update(detections)
        if tracked.tracker_id is None:
            tracked.tracker_id = np.full(len(tracked), -1)
        tracked = tracked[tracked.tracker_id >= 0]
        for key, zone in zones.items():
            to_left, to_right = zone.trigger(tracked)
            # LineZone's `in` is to the left hand of somebody who looks from start to end, ours to the right.
            found[(*key, "in")] += [at / sequence.rate] * int(to_right.sum())
            found[(*key, "out")] += [at / sequence.rate] * int(to_left.sum())
        for name, polygon in polygons.items():
            people_error += abs(truth[name][at] - int(polygon.trigger(tracked).sum()))
    return sequence.name, tracker, dict(found), people_error


def ours(options, sequences):
    """The true crossings and ours by (sequence, tracker, line, direction), the lines, and people's error in zones."""
    file = options.csv.with_suffix(".crossings.csv")
    base = [options.rva, "eval", "footfall", "--detections", options.detections, "--tracker", "all", "--format", "json"]
    gt = [argument for path in options.gt for argument in ("--gt", path)]
    done = subprocess.run([*base, *gt, "--crossings", file], check=True, stdout=subprocess.PIPE, text=True)
    people = {}
    frames = {sequence.name: sequence.frames for sequence in sequences}
    for row in (json.loads(line) for line in done.stdout.splitlines()):
        if row["sequence"] in frames:
            people[row["sequence"], row["tracker"]] = row["people_mae"] * frames[row["sequence"]] * len(ZONES)
    crossings, lines = defaultdict(list), {}
    for row in csv.DictReader(file.open()):
        lines[row["line"]] = tuple(float(row[side]) for side in ("x1", "y1", "x2", "y2"))
        crossings[row["sequence"], row["tracker"], row["line"], row["direction"]].append(float(row["seconds"]))
    file.unlink()
    return crossings, lines, people


def main():
    options = arguments()
    kinds = options.detections.split(",")
    folders = sorted(path.parent.parent for gt in options.gt for path in gt.glob("*/gt/gt.txt"))
    sequences = [Sequence(folder, kinds) for folder in folders]
    crossings, lines, people = ours(options, sequences)
    counters = {}
    for (sequence, tracker, line, direction), times in crossings.items():
        if tracker != "truth":
            counters.setdefault(("ours", tracker, "", ""), {})[sequence, line, direction] = times
    people = {(("ours", tracker), sequence): error for (sequence, tracker), error in people.items()}
    jobs = [(sequence, tracker, lines) for tracker in makers(30.0) for sequence in sequences]
    with ProcessPoolExecutor(options.jobs) as pool:
        for sequence, tracker, found, people_error in pool.map(peer, jobs):
            print(f"bench-footfall: {tracker} on {sequence}", file=sys.stderr)
            for (anchor, threshold, line, direction), times in found.items():
                counter = counters.setdefault(("supervision", tracker, anchor, threshold), {})
                counter[sequence, line, direction] = times
            people[("supervision", tracker), sequence] = people_error
    rows = []
    for counter, found in counters.items():
        for sequence in sequences:
            for direction in ("in", "out"):
                sums = defaultdict(int)
                for line in lines:
                    truth = crossings.get((sequence.name, "truth", line, direction), [])
                    counted = found.get((sequence.name, line, direction), [])
                    pairs = paired(truth, counted)
                    sums["true"] += len(truth)
                    sums["counted"] += len(counted)
                    sums["missed"] += len(truth) - pairs
                    sums["extra"] += len(counted) - pairs
                    sums["count_error"] += abs(len(truth) - len(counted))
                rows.append((*counter, sequence.group, sequence.name, direction, *sums.values()))
    with options.csv.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        names = ("whose", "tracker", "anchors", "threshold", "group", "sequence", "direction")
        writer.writerow([*names, "true", "counted", "missed", "extra", "count_error"])
        writer.writerows(rows)
    frames = {sequence.name: (sequence.group, sequence.frames) for sequence in sequences}
    report(rows, people, frames)


def report(rows, people, frames):
    """A table for each group: our trackers, and of each of theirs the best LineZone, chosen by its own total error."""
    for group in dict.fromkeys(row[4] for row in rows):
        inside = {name: count for name, (of_group, count) in frames.items() if of_group == group}
        print(f"\n{group}\n")
        table([row for row in rows if row[4] == group], people, inside)


def table(rows, people, frames):
    totals = defaultdict(lambda: {"in": [0] * 5, "out": [0] * 5})
    for row in rows:
        sums = totals[row[:4]][row[6]]
        for at, value in enumerate(row[7:]):
            sums[at] += value

    def error(counter):
        return sum(totals[counter][direction][2] + totals[counter][direction][3] for direction in ("in", "out"))

    best = {}
    for counter in totals:
        held = best.get(counter[:2])
        if held is None or error(counter) < error(held):
            best[counter[:2]] = counter
    names = ["whose", "tracker", "LineZone", "in: true", "missed", "extra", "out: true", "missed", "extra"]
    names += ["missed and extra", "counts apart", "people in a zone, MAE"]
    print("| " + " | ".join(names) + " |\n" + "|" + " --- |" * len(names))
    for counter in sorted(best.values(), key=error):
        whose, tracker, anchor, threshold = counter
        to_in, to_out = totals[counter]["in"], totals[counter]["out"]
        zone = "" if whose == "ours" else f"{anchor}, {threshold}"
        mae = sum(people[counter[:2], name] for name in frames) / sum(frames.values()) / len(ZONES)
        cells = [whose, tracker, zone, *(to_in[at] for at in (0, 2, 3)), *(to_out[at] for at in (0, 2, 3))]
        cells += [error(counter), to_in[4] + to_out[4], f"{mae:.2f}"]
        print("| " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    main()

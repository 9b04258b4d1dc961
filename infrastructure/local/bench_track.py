"""Time a frame of our trackers beside those of Roboflow's `trackers`: the same detections, each with its own defaults (for
both BoT-SORTs without camera motion), one thread, in turns, in one run. What is measured is the processor's time of that
thread, so that others on the machine weigh less; reading files and making the arrays that a tracker takes isn't in it.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

OURS = ["sort", "bytetrack", "ocsort", "botsort", "deepsort", "steady"]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", type=Path, required=True, help="the built example bench_track")
    parser.add_argument("--scene", nargs=2, action="append", required=True, metavar=("NAME", "DET.txt"))
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--csv", type=Path, required=True, help="file of the raw figures")
    return parser.parse_args()


def theirs():
    """Makers of Roboflow's trackers by the names of ours."""
    import trackers

    return {
        "sort": trackers.SORTTracker,
        "bytetrack": trackers.ByteTrackTracker,
        "ocsort": trackers.OCSORTTracker,
        "botsort": lambda: trackers.BoTSORTTracker(enable_cmc=False),
        "cbiou": trackers.CBIoUTracker,
    }


def read(path):
    """The detections of every frame, as Roboflow's trackers take them."""
    import numpy as np
    import supervision as sv

    frames = {}
    for line in path.read_text().splitlines():
        frame, _, left, top, width, height, conf = (float(field) for field in line.split(",")[:7])
        box = (left, top, left + width, top + height)
        frames.setdefault(int(frame), []).append((box, min(max(conf, 0.0), 1.0)))
    detections = []
    for frame in range(1, max(frames) + 1):
        rows = frames.get(frame, [])
        boxes = np.array([box for box, _ in rows], dtype=np.float32).reshape(-1, 4)
        confs = np.array([conf for _, conf in rows], dtype=np.float32)
        detections.append(sv.Detections(xyxy=boxes, confidence=confs, class_id=np.zeros(len(rows), dtype=int)))
    return detections


def time_theirs(make, scenes):
    for detections in scenes:
        tracker = make()
        began = time.thread_time()
        for frame in detections:
            tracker.update(frame)
        yield len(detections), time.thread_time() - began


def time_ours(program, tracker, files):
    command = [program, tracker, *files]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [(int(frames), float(seconds)) for frames, seconds in (line.split(",") for line in lines)]


def main():
    options = arguments()
    makers = theirs()
    files = {}
    for name, path in options.scene:
        files.setdefault(name, []).append(Path(path))
    scenes = {name: [read(path) for path in paths] for name, paths in files.items()}
    rows = []

    def note(turn, whose, tracker, scene, times):
        frames, seconds = (sum(column) for column in zip(*times))
        load = os.getloadavg()[0]
        rows.append((turn, whose, tracker, scene, frames, f"{seconds * 1e6 / frames:.3f}", f"{load:.1f}"))

    for turn in range(1, options.turns + 1):
        for scene, paths in files.items():
            for tracker in dict.fromkeys([*OURS, *makers]):
                if tracker in OURS:
                    note(turn, "ours", tracker, scene, time_ours(options.ours, tracker, paths))
                if tracker in makers:
                    note(turn, "roboflow", tracker, scene, list(time_theirs(makers[tracker], scenes[scene])))
        print(f"bench-track: turn {turn} of {options.turns}", file=sys.stderr)
    with options.csv.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["turn", "whose", "tracker", "scene", "frames", "us_per_frame", "load_average"])
        writer.writerows(rows)
    report(rows)


def report(rows):
    def median(whose, tracker, scene):
        found = [float(row[5]) for row in rows if row[1:4] == (whose, tracker, scene)]
        return statistics.median(found) if found else None

    def shown(value, digits):
        return "" if value is None else f"{value:,.{digits}f}"

    print("| scene | tracker | ours, µs a frame | Roboflow's | times |\n| --- | --- | --- | --- | --- |")
    for scene, tracker in dict.fromkeys((row[3], row[2]) for row in rows):
        ours, others = median("ours", tracker, scene), median("roboflow", tracker, scene)
        times = others / ours if ours and others else None
        print(f"| {scene} | {tracker} | {shown(ours, 1)} | {shown(others, 0)} | {shown(times, 0)} |")


if __name__ == "__main__":
    main()

"""Runs other implementations of OC-SORT, BoT-SORT and DeepSORT and freezes the ids they give.

    python3 -m venv /tmp/peers
    /tmp/peers/bin/pip install deep-sort-realtime==1.3.2 numpy==2.2.6 scipy==1.15.3 filterpy==1.4.5 lap
    /tmp/peers/bin/pip install trackers==2.6.1
    /tmp/peers/bin/pip install --no-deps ocsort==0.0.2
    /tmp/peers/bin/python crates/rva-track/tests/python/peers.py ../shared/mot crates/rva-track/tests/peers

Written are ids only, a line a frame, in the order in which the detections stand in their file; 0 is none. The made-up
scenes are written too. See tests/peers/README.md.
"""

import math
import random
import sys
import warnings
from pathlib import Path

import numpy as np

SEQUENCES = {
    "MOT17-02": "MOT17/MOT17-02-FRCNN/det/det.txt",
    "MOT17-04": "MOT17/MOT17-04-FRCNN/det/det.txt",
    "ADL-Rundle-6": "MOT15/ADL-Rundle-6/det_frcnn_sort/det.txt",
    "PETS09-S2L1": "MOT15/PETS09-S2L1/det_frcnn_sort/det.txt",
    "TUD-Campus": "MOT15/TUD-Campus/det_frcnn_sort/det.txt",
    "TUD-Stadtmitte": "MOT15/TUD-Stadtmitte/det_frcnn_sort/det.txt",
}
# Sequences up to here, to keep the frozen files small.
FRAMES_MAX = 300


class Frame:
    """Boxes (xyxy), confidences and looks (unit vectors) of detections, and the camera's motion (2x3 or None)."""

    def __init__(self):
        self.boxes, self.confs, self.looks, self.warp = [], [], [], None


def box_look(box):
    """A made-up look that changes as slowly as the box moves, for sequences without pictures."""
    x, y = (box[0] + box[2]) / 2 / 300, (box[1] + box[3]) / 2 / 100
    return [part / math.sqrt(2) for part in (math.cos(x), math.sin(x), math.cos(y), math.sin(y))]


def sequence(path):
    frames = []
    for line in path.read_text().splitlines():
        number, _, x, y, width, height, conf = (float(field) for field in line.split(",")[:7])
        if number > FRAMES_MAX:
            continue
        while len(frames) < number:
            frames.append(Frame())
        # As the Rust side has it: numbers are read as f32 and added as f32.
        x, y, width, height, conf = np.array([x, y, width, height, conf], dtype=np.float32)
        frame = frames[int(number) - 1]
        frame.boxes.append([x, y, x + width, y + height])
        frame.confs.append(conf)
        frame.looks.append(box_look([float(side) for side in frame.boxes[-1]]))
    return frames


def scene_text(seed, camera):
    """Ten people who walk through each other, are hidden by those in front, missed and seen weakly, and false alarms.

    A line a detection: frame, box in quarters of a pixel, confidence in percent, look in whole numbers. Lines that
    begin with "warp" hold the camera's motion from the frame before.
    """
    rng = random.Random(seed)
    people = []
    for _ in range(10):
        height = rng.uniform(90, 220)
        people.append(
            {
                "x": rng.uniform(0, 900),
                "y": rng.uniform(150, 500),
                "height": height,
                "vx": rng.uniform(-7, 7),
                "vy": rng.uniform(-2, 2),
                "grow": rng.uniform(-0.2, 0.2),
                "look": [rng.gauss(0, 1) for _ in range(4)],
            }
        )
    lines, picture = [], np.eye(3)
    for frame in range(1, 201):
        if camera and frame > 1:
            angle, zoom = rng.gauss(0, 0.01), 1 + rng.gauss(0, 0.006)
            a, b = zoom * math.cos(angle), zoom * math.sin(angle)
            across, down = 18 * math.sin(frame / 9) + rng.gauss(0, 4), 15 * math.cos(frame / 7) + rng.gauss(0, 4)
            step = [round(value, 5) for value in (a, -b, across, b, a, down)]
            picture = np.array([step[:3], step[3:], [0, 0, 1]]) @ picture
            lines.append("warp {} {}".format(frame, " ".join(map(str, step))))
        seen = []
        for person in people:
            person["x"] += person["vx"]
            person["y"] += person["vy"]
            person["height"] = min(max(person["height"] + person["grow"], 70), 260)
            if not -100 < person["x"] < 1000 or rng.random() < 0.01:
                person["vx"] = -person["vx"]
            if not 120 < person["y"] < 540:
                person["vy"] = -person["vy"]
            x, y = person["x"], person["y"]
            h, w = person["height"], person["height"] * 0.42
            seen.append((y, [x - w / 2, y - h, x + w / 2, y], person["look"]))
        seen.sort(key=lambda one: -one[0])
        shown = []
        for _, box, look in seen:
            covered = max((cover(box, other) for other in shown), default=0.0)
            shown.append(box)
            if covered > 0.75 or rng.random() < 0.06:
                continue
            conf = 0.95 - 0.9 * covered + rng.gauss(0, 0.08) if rng.random() > 0.1 else rng.uniform(0.1, 0.6)
            look = [part + rng.gauss(0, 0.25) for part in look]
            lines.append(line(frame, through(picture, box, rng), conf, look))
        if rng.random() < 0.3:
            x, y, h = rng.uniform(0, 900), rng.uniform(150, 500), rng.uniform(90, 220)
            box = through(picture, [x, y - h, x + h * 0.42, y], rng)
            lines.append(line(frame, box, rng.uniform(0.1, 0.7), [rng.gauss(0, 1) for _ in range(4)]))
    return "\n".join(lines) + "\n"


def through(picture, box, rng):
    """A box as the camera sees it, with the detector's noise."""
    (x, y, _), scale = picture @ [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, 1], math.sqrt(np.linalg.det(picture))
    width, height = (box[2] - box[0]) * scale, (box[3] - box[1]) * scale
    sides = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return [side + rng.gauss(0, 0.012 * height) for side in sides]


def cover(box, other):
    width = max(0.0, min(box[2], other[2]) - max(box[0], other[0]))
    height = max(0.0, min(box[3], other[3]) - max(box[1], other[1]))
    return width * height / ((box[2] - box[0]) * (box[3] - box[1]))


def line(frame, box, conf, look):
    length = math.sqrt(sum(part * part for part in look))
    # Odd percents: none lies at a threshold, where implementations differ in what belongs to which side.
    numbers = [frame, *(round(side * 4) for side in box), 2 * round(min(max(conf, 0.06), 0.98) * 50) + 1]
    return " ".join(map(str, numbers + [round(100 * part / length) for part in look]))


def scene(text):
    frames = [Frame() for _ in range(200)]
    for text_line in text.splitlines():
        fields = text_line.split()
        if fields[0] == "warp":
            frames[int(fields[1]) - 1].warp = np.array(fields[2:], dtype=float).reshape(2, 3)
            continue
        numbers = [int(field) for field in fields]
        frame, look = frames[numbers[0] - 1], np.array(numbers[6:], dtype=np.float32)
        frame.boxes.append([side / 4 for side in numbers[1:5]])
        frame.confs.append(np.float32(numbers[5]) / np.float32(100))
        frame.looks.append(look / np.sqrt((look * look).sum()))
    return frames


class Tensor(np.ndarray):
    """What the package wants of a PyTorch tensor."""

    def numpy(self):
        return np.asarray(self)


def ocsort(frames, adjusted=False, **params):
    """The authors' code as the package ocsort 0.0.2 has it."""
    from ocsort import association, kalmanfilter
    from ocsort import ocsort as module

    # The threshold is ours, which is an f32.
    thresh = float(np.float32(0.6))
    params |= {"max_age": 30, "min_hits": 3, "iou_threshold": 0.3, "delta_t": 3, "inertia": 0.2}
    tracker = module.OCSort(det_thresh=thresh, **params)
    places = [
        (module, "KalmanBoxTracker"),
        (kalmanfilter, "KalmanFilterNew"),
        (association, "iou_batch"),
        (association, "linear_assignment"),
        (module, "linear_assignment"),
    ]
    kept = [getattr(*place) for place in places]
    if adjusted:
        adjust_ocsort(module, association, kalmanfilter, tracker)
    for frame in frames:
        # The package weighs directions by its last column, which with the authors is the confidence.
        rows = [[*box, conf, conf] for box, conf in zip(frame.boxes, frame.confs)]
        rows = np.array(rows, dtype=float).reshape(-1, 6)
        ids = [0] * len(rows)
        for found in tracker.update(rows.view(Tensor), None):
            # A track's first box goes through its filter, which changes the last digits.
            off = np.abs(rows[:, :4] - found[:4]).sum(axis=1) + 1e9 * (np.array(ids) > 0)
            assert off.min() < 0.01, off.min()
            ids[int(off.argmin())] = int(found[4])
        yield ids
    for place, value in zip(places, kept):
        setattr(*place, value)


def adjust_ocsort(module, association, kalmanfilter, tracker):
    """Takes back what our OC-SORT does in another way by design, see src/ocsort/mod.rs."""
    overlap, solve = association.iou_batch, association.linear_assignment

    class Filter(kalmanfilter.KalmanFilterNew):
        """A re-update takes the box in which a track is found again once."""

        def update(self, z, R=None, H=None):
            if z is None or self.observed:
                super().update(z, R, H)
                return
            self.history_obs.append(z)
            self.unfreeze()
            self.observed = True

    class Track(module.KalmanBoxTracker):
        """The box that starts a track is an observation."""

        def __init__(self, bbox, conf, cls, **params):
            super().__init__(bbox, conf, cls, **params)
            self.last_observation = np.append(bbox, conf)
            self.observations[0] = self.last_observation
            self.kf.history_obs = [module.convert_bbox_to_z(bbox)]
            self.kf.observed = True

    def gated(boxes, others):
        found = overlap(boxes, others)
        return np.where(found < tracker.iou_threshold, -10.0, found)

    def assign(cost):
        """Pairs below the threshold take no part."""
        return solve(np.where(cost > 5, 0.0, cost))

    kalmanfilter.KalmanFilterNew, module.KalmanBoxTracker = Filter, Track
    association.iou_batch, tracker.asso_func = gated, gated
    association.linear_assignment = module.linear_assignment = assign


def roboflow(frames, tracker):
    import supervision as sv

    for number, frame in enumerate(frames):
        rows, boxes = np.arange(len(frame.boxes)), np.array(frame.boxes, dtype=float).reshape(-1, 4)
        detections = sv.Detections(
            xyxy=boxes,
            confidence=np.array(frame.confs, dtype=np.float32),
            data={"row": rows},
        )
        ids = [0] * len(rows)
        strong = (row for row in rows if frame.confs[row] >= 0.25)
        tracker.looks = {tuple(boxes[row]): np.array(frame.looks[row]) for row in strong}
        # Only there so that the camera's motion is asked for.
        picture = np.array([number]) if tracker.enable_cmc else None
        found = tracker.update(detections, picture)
        for row, track in zip(found.data.get("row", []), found.tracker_id):
            ids[row] = int(track) + 1
        yield ids


def botsort(frames, adjusted=False, looks=False):
    """Thresholds are Ultralytics', which are our defaults; the motion is given instead of found."""
    from trackers import BoTSORTTracker

    moves = any(frame.warp is not None for frame in frames)
    kind = adjusted_botsort(looks) if adjusted else BoTSORTTracker
    tracker = kind(track_activation_threshold=0.25, high_conf_det_threshold=0.25, enable_cmc=moves)
    if moves:
        tracker.cmc.estimate = lambda picture, _: frames[picture[0]].warp
    return roboflow(frames, tracker)


def adjusted_botsort(looks):
    """With what BoT-SORT's authors and Ultralytics do and this one leaves out; `looks`: appearance as well."""
    from trackers import BoTSORTTracker
    from trackers.core.botsort import tracker as module
    from trackers.core.botsort.tracklet import BoTSORTTracklet
    from trackers.utils.iou import IoU
    from trackers.utils.predict_timing import FIXED_RATE_TIMING

    class Track(BoTSORTTracklet):
        def __init__(self, initial_bbox, **params):
            super().__init__(initial_bbox, **params)
            self.look = Tracker.current.looks.get(tuple(initial_bbox))

        def update(self, bbox):
            super().update(bbox)
            look = Tracker.current.looks.get(tuple(bbox))
            if look is not None:
                mixed = look if self.look is None else 0.9 * self.look + 0.1 * look
                self.look = mixed / np.linalg.norm(mixed)

        def predict(self, timing=FIXED_RATE_TIMING):
            if self.time_since_update > 0:
                # The size of a lost track stays as it is.
                self.state_estimator.kf.state[6:] = 0.0
            if self.tracker_id == -1:
                # A tentative track waits where it is.
                self._advance_miss_clocks(timing)
                return self.state_estimator.state_to_bbox()
            return super().predict(timing)

    class Tracker(BoTSORTTracker):
        current = None

        def update(self, detections, frame=None, timestamp=None):
            Tracker.current, module.BoTSORTTracklet = self, Track
            found = super().update(detections, frame, timestamp)
            module.BoTSORTTracklet = BoTSORTTracklet
            for track in self.tracks:
                track.first = getattr(track, "first", self.frame_id)
                track.last = self.frame_id if track.time_since_update == 0 else track.last
            self.remove_duplicates(found)
            return found

        def remove_duplicates(self, found):
            """Of a seen track and a lost one at the same place the one seen for longer stays."""
            seen = [track for track in self.tracks if track.time_since_update == 0]
            lost = [track for track in self.tracks if track.time_since_update > 0]
            if not seen or not lost:
                return
            boxes = [np.array([track.get_state_bbox() for track in tracks]) for tracks in (seen, lost)]
            gone = set()
            for i, j in zip(*np.where(1 - IoU().compute(*boxes) < 0.15)):
                older = seen[i].last - seen[i].first > lost[j].last - lost[j].first
                gone.add(id(lost[j] if older else seen[i]))
            for track in self.tracks:
                if id(track) in gone and track.tracker_id != -1:
                    found.tracker_id[found.tracker_id == track.tracker_id] = -1
            self.tracks = [track for track in self.tracks if id(track) not in gone]

        def _get_iou_matrix(self, tracks, boxes, predicted):
            self.compared = tracks, boxes, super()._get_iou_matrix(tracks, boxes, predicted)
            return self.compared[2]

        def by_looks(self):
            """1 less half the cosine distance, where that is near enough and boxes overlap enough; else 0."""
            tracks, boxes, overlap = self.compared
            found = np.zeros(overlap.shape)
            for i, track in enumerate(tracks):
                for j, box in enumerate(boxes):
                    look = self.looks.get(tuple(box))
                    if overlap[i, j] >= 0.5 and track.look is not None and look is not None:
                        likeness = 1 - max(0.0, 1 - track.look @ look) / 2
                        found[i, j] = likeness if likeness >= 0.8 else 0.0
            return found

        def _get_associated_indices(self, similarity, least):
            """Pairs below the threshold take no part."""
            similarity = similarity.astype(float)
            if looks and least != self.minimum_iou_threshold_second_assoc:
                similarity = np.maximum(similarity, self.by_looks())
            return super()._get_associated_indices(np.where(similarity < least, least - 1e-9, similarity), least)

    return Tracker


def deepsort(frames, looks):
    from deep_sort_realtime.deepsort_tracker import DeepSort

    # A limit below 0 joins nothing by looks, as where nobody looked.
    limit = 0.2 if looks else -1.0
    tracker = DeepSort(max_age=70, n_init=3, nn_budget=None, max_cosine_distance=limit, embedder=None)
    for frame in frames:
        ids = [0] * len(frame.boxes)
        rows = [i for i, conf in enumerate(frame.confs) if conf >= np.float32(0.3)]
        boxes = [frame.boxes[i] for i in rows]
        raw = [([x1, y1, x2 - x1, y2 - y1], frame.confs[i], "person") for i, (x1, y1, x2, y2) in zip(rows, boxes)]
        for track in tracker.update_tracks(raw, embeds=[frame.looks[i] for i in rows], others=rows):
            if track.is_confirmed() and track.time_since_update == 0:
                ids[track.get_det_supplementary()] = int(track.track_id)
        yield ids


PEERS = {
    "ocsort": ocsort,
    "ocsort-adjusted": lambda frames: ocsort(frames, adjusted=True),
    "ocsort-byte-adjusted": lambda frames: ocsort(frames, adjusted=True, use_byte=True),
    "botsort": botsort,
    "botsort-adjusted": lambda frames: botsort(frames, adjusted=True),
    "botsort-looks": lambda frames: botsort(frames, adjusted=True, looks=True),
    "deepsort": lambda frames: deepsort(frames, looks=True),
    "deepsort-boxes": lambda frames: deepsort(frames, looks=False),
}


def main():
    mot, out = Path(sys.argv[1]), Path(sys.argv[2])
    warnings.simplefilter("ignore")
    made_up = {"walkers": scene_text(7, camera=False), "moving-camera": scene_text(8, camera=True)}
    inputs = {name: scene(text) for name, text in made_up.items()}
    inputs |= {name: sequence(mot / path) for name, path in SEQUENCES.items()}
    (out / "scenes").mkdir(parents=True, exist_ok=True)
    for name, text in made_up.items():
        (out / "scenes" / f"{name}.txt").write_text(text)
    for peer, run in PEERS.items():
        (out / peer).mkdir(exist_ok=True)
        for name, frames in inputs.items():
            if name == "moving-camera" and not peer.startswith("botsort"):
                continue
            ids = list(run(frames))
            (out / peer / f"{name}.txt").write_text("".join(" ".join(map(str, row)) + "\n" for row in ids))
            print(peer, name, len({id for row in ids for id in row} - {0}), "tracks", flush=True)


if __name__ == "__main__":
    main()

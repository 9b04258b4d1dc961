"""What publishing to Pulsar costs the detector: its frames a second with it and into /dev/null, in turns.

The broker runs on the same machine. The rate is the detector's own: frames by the seconds from its start to its camera's end, which is told before the rest
of the log goes out.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path


def detect(program: Path, video: str, model: str, topic: str | None) -> float:
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"RVA_DETECTOR_PUBLISH": "pulsar" if topic else "log", "PULSAR_TOPIC": topic or ""}
        if not topic:
            del environment["PULSAR_TOPIC"]
        where = ["--data-dir", folder] if topic else ["--output", "/dev/null"]
        command = [program, video, "--model", model, "--log-format", "json", *where]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"bench-publish: the detector ended with {done.returncode}:\n{done.stderr[-2000:]}")
        lines = [json.loads(line) for line in done.stderr.splitlines()]
        end = next(line for line in lines if line["message"] == "the camera has ended")
        return end["frames_decoded"] / end["seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--detector", type=Path, required=True)
    parser.add_argument("--ingest", type=Path, required=True)
    parser.add_argument("--video", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--csv", type=Path, required=True)
    args = parser.parse_args()
    topic = f"persistent://rva-bench/publish/t-{uuid.uuid4().hex}"
    environment = os.environ | {"RVA_BUS_KIND": "pulsar", "PULSAR_TOPIC": topic}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([args.ingest, "--init", "--data-dir", folder], env=environment, check=True)
    rates = {"null": [], "pulsar": []}
    with args.csv.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["turn", "kind", "fps"])
        for turn in range(1, args.turns + 1):
            for kind in sorted(rates, reverse=turn % 2 == 0):
                rate = detect(args.detector, args.video, args.model, topic if kind == "pulsar" else None)
                rates[kind].append(rate)
                rows.writerow([turn, kind, round(rate, 3)])
                print(f"turn {turn}: {kind:6} {rate:6.2f} frames a second", flush=True)
    null, pulsar = (statistics.median(rates[kind]) for kind in ("null", "pulsar"))
    print(f"medians: {null:.2f} into /dev/null, {pulsar:.2f} with Pulsar: {pulsar / null:.3f} of it")


if __name__ == "__main__":
    main()

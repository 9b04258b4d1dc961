"""Docker Compose's services under fire: each event once, as Trino reads it.

A run of the detector is a run of frames 1, 2, … whichever process was killed. Every run in the table must be without a hole
and without a double, and every detector that ended with exit code 0 must be there whole.
"""

import json
import os
import signal
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import guard
from project import ADDRESS, NETWORKS, compose, container, docker, inspect, say, sweep, until

sys.path.insert(0, str(Path(__file__).parents[1] / "stack"))
import trino_sql

FRAMES = 795  # of the sample video
SERVICES = ("pulsar", "minio", "catalog", "ingest", "refine", "trino", "prometheus", "alertmanager")


def is_healthy(service: str) -> bool:
    return inspect(service, "{{.State.Status}} {{.State.Health.Status}}") == "running healthy"


def wait_healthy(*services: str) -> None:
    for service in services:
        until(f"{service} to be healthy", lambda service=service: is_healthy(service))


def detector_has_ended() -> bool:
    return inspect("detector", "{{.State.Status}}") == "exited"


def wait_detector() -> None:
    until("the detector's end", detector_has_ended)
    code = inspect("detector", "{{.State.ExitCode}}")
    assert code == "0", f"the detector ended with {code}:\n{compose('logs', '--tail', '30', 'detector')}"


def kill(service: str) -> None:
    """SIGKILL from outside: `docker kill` counts as wanted, and nothing is restarted after it."""
    restarts = int(inspect(service, "{{.RestartCount}}"))
    os.kill(int(inspect(service, "{{.State.Pid}}")), signal.SIGKILL)
    until(f"{service} to be restarted", lambda: int(inspect(service, "{{.RestartCount}}")) > restarts)


def trino(sql: str) -> list[list]:
    """Rows, by the port that the compose file publishes."""
    return trino_sql.query(f"http://{ADDRESS}:8083", sql)[1]


def rows() -> Counter:
    """(run, camera, frame) → how often, as Trino reads it."""
    found = trino(
        "SELECT pipeline_run_id, camera_id, frame_index, count(*) FROM lakehouse.rva.bronze_raw GROUP BY 1, 2, 3"
    )
    return Counter({(run, camera, frame): n for run, camera, frame, n in found})


def runs(found: Counter) -> dict[str, list[int]]:
    frames = defaultdict(list)
    for run, _, frame in found:
        frames[run].append(frame)
    return {run: sorted(numbers) for run, numbers in frames.items()}


def whole_runs(found: Counter) -> int:
    return sum(frames == list(range(1, FRAMES + 1)) for frames in runs(found).values())


def check(whole: int) -> Counter:
    """Waits until so many whole runs are in the table, then compares everything."""
    found = until(f"{whole} whole runs in the table", lambda: (f := rows()) and whole_runs(f) >= whole and f)
    twice = {key: n for key, n in found.items() if n != 1}
    assert not twice, f"found keys more than once: {list(twice.items())[:5]}"
    for run, frames in runs(found).items():
        assert frames == list(range(1, len(frames) + 1)), f"run {run} has holes within {len(frames)} frames"
    assert whole_runs(found) == whole, f"found {whole_runs(found)} whole runs, wanted {whole}"
    say(f"{len(found)} events in {len(runs(found))} runs, {whole} of them whole; no hole, none twice")
    check_gold(len(found))
    return found


def check_gold(frames: int) -> None:
    """Waits until gold has each frame of bronze, once; tracks are those of silver."""
    minutes = "SELECT coalesce(sum(frames), 0), coalesce(sum(detections), 0) FROM lakehouse.rva.gold_people_per_minute"
    silver = "SELECT count(*), coalesce(sum(people), 0) FROM lakehouse.rva.silver_frames"
    gold = until(f"{frames} frames in gold", lambda: (f := trino(minutes)[0])[0] == frames and f)
    wanted = trino(silver)[0]
    assert gold == wanted, f"found frames and people {gold!r} in gold, wanted {wanted!r} as in silver"
    say(f"gold holds them all: frames and people {gold}")


def ask_prometheus(path: str):
    return json.loads(compose("exec", "-T", "prometheus", "wget", "-qO-", f"http://localhost:9090/api/v1/{path}"))[
        "data"
    ]


def check_watch() -> None:
    """Prometheus gets what the services say, and has whom to tell; the detector's video has ended."""

    def answering() -> bool:
        found = {target["labels"]["job"]: target["health"] for target in ask_prometheus("targets")["activeTargets"]}
        return found == {"rva-detector": "down", "rva-ingest": "up", "rva-refine": "up"}

    until("Prometheus to see ingest and refine", answering)
    until("Prometheus to find Alertmanager", lambda: ask_prometheus("alertmanagers")["activeAlertmanagers"])
    say("Prometheus asks the services, and knows Alertmanager")


def detect(during) -> None:
    """Starts the detector anew, does something while it works, and waits for its end."""
    compose("start", "detector")
    time.sleep(4)
    assert not detector_has_ended(), "the detector was too fast to be disturbed"
    during()
    wait_detector()


def cut_off() -> None:
    networks = [NETWORKS["lake"], NETWORKS["retail-net"]]
    for network in networks:
        docker("network", "disconnect", network, container("ingest"))
    time.sleep(15)
    for network in networks:
        docker("network", "connect", "--alias", "ingest", network, container("ingest"))
    wait_healthy("ingest")


def fire() -> None:
    compose("up", "--detach", "--no-build")
    wait_healthy(*SERVICES)
    say("every service is healthy")
    wait_detector()
    assert inspect("detector", "{{.RestartCount}}") == "0", "a detector that had ended well was started again"
    whole = 1
    check(whole)
    check_watch()
    guard.check_all()

    for services in (("ingest",), ("pulsar",), ("minio", "catalog"), ("trino", "refine")):

        def kill_them(services=services):
            for service in services:
                kill(service)

        detect(kill_them)
        wait_healthy(*SERVICES)
        whole += 1
        say(f"killed {' and '.join(services)}, restarted")
        check(whole)

    # It is begun again, as another run, and what the killed one had put into its log is sent.
    detect(lambda: kill("detector"))
    whole += 1
    say("killed the detector, restarted")
    assert len(runs(check(whole))) == whole + 1, "the killed run isn't in the table"

    detect(cut_off)
    whole += 1
    say("the ingest was without a network for 15 s")
    before = check(whole)

    compose("down")
    say("down; up again")
    compose("up", "--detach", "--no-build")
    wait_healthy(*SERVICES)
    wait_detector()
    whole += 1
    after = check(whole)
    assert set(before) <= set(after), f"{len(set(before) - set(after))} events were lost by down and up"


def main() -> None:
    sweep()
    try:
        fire()
        say("passed")
    finally:
        if not os.environ.get("KEEP"):
            compose("down", "--volumes", "--timeout", "10", check=False)


if __name__ == "__main__":
    main()

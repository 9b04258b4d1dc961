"""Runs `rva run` on eight file cameras and two RTSP cameras, kills one camera's server and stalls the other's on the
way, and compares what went in with what is in the table.

    soak.py --rva target/debug/rva --seconds 1800 [--model FILE] [--out FOLDER]

Files are played at their own speed; the RTSP servers are real (rtsp_server.py). After a third of the time the first
server is killed and comes back after a minute (a tenth of the time, where that is less); after two thirds the second
one is stopped in its tracks for as long. It fails when a record is missing or there twice, when decoded frames aren't
processed + skipped, when a camera that was away didn't come back as another run, or when memory in the last third is a
tenth above that of the second. Writes cameras.csv and memory.csv to OUT.
"""

import argparse
import csv
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FILES, STREAMS = 8, 2
COUNTS = [
    "decoded", "processed", "skipped_stride", "skipped_overload", "skipped_superseded", "decode_errors", "records",
    "records_rejected", "openings", "openings_failed", "latency_p50_ms", "latency_p99_ms",
]  # fmt: skip


def start_server(port: int, name: str) -> subprocess.Popen:
    """A server of its own for each stream, so that one can be hurt alone."""
    video = ROOT / "data/cache/vtest.avi"
    command = [
        "/usr/bin/python3",
        HERE / "rtsp_server.py",
        "--port",
        str(port),
        "--until-stdin-closes",
        f"{name}={video}",
    ]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    line = server.stdout.readline()
    if not line.startswith("ready "):
        sys.exit(f"soak: found {line!r} from the RTSP server, wanted `ready PORT`")
    server.port = int(line.split()[1])
    return server


def resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def query(rva: str, folder: Path, sql: str) -> list[dict]:
    ran = subprocess.run(
        [rva, "query", sql, "--format", "json"], cwd=folder, capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in ran.stdout.splitlines()]


def final_stats(log: Path) -> dict[str, dict]:
    """The last line about each camera."""
    found = {}
    for line in log.read_text(errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        fields = entry.get("fields", entry)
        if fields.get("message") == "stats":
            found[fields["camera_id"]] = fields
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rva", required=True)
    parser.add_argument("--seconds", type=int, default=1800)
    parser.add_argument("--model", default=str(ROOT / "data/models/demo-person-416.onnx"))
    parser.add_argument("--out", type=Path, default=ROOT / "data/demo/soak")
    arguments = parser.parse_args()
    rva, out = str(Path(arguments.rva).resolve()), arguments.out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    away = min(60, arguments.seconds // 10)

    video = out / "long.avi"
    loop = ["ffmpeg", "-v", "error", "-y", "-stream_loop", "-1", "-i", str(ROOT / "data/cache/vtest.avi")]
    subprocess.run([*loop, "-t", str(arguments.seconds), "-c", "copy", str(video)], check=True)
    servers = [start_server(0, f"s{number}") for number in range(STREAMS)]
    ports = [server.port for server in servers]
    text = f"detector: {{model: {arguments.model}, stats_interval: 30s}}\n"
    text += "capture: {realtime: true, read_timeout: 5s, open_timeout: 5s, reconnect_max: 10s}\ncameras:\n"
    text += "".join(f"  file_{number}: {{source: {video}}}\n" for number in range(FILES))
    text += "".join(f"  rtsp_{i}: {{source: 'rtsp://127.0.0.1:{port}/s{i}'}}\n" for i, port in enumerate(ports))
    (out / "rva.yaml").write_text(text)

    log = out / "rva.log"
    began = time.monotonic()
    process = subprocess.Popen(
        [rva, "run", "--log-format", "json"], cwd=out, stdout=subprocess.DEVNULL, stderr=log.open("w")
    )
    passed = lambda: time.monotonic() - began
    third = arguments.seconds / 3
    plan = [
        (third, "killed stream 0", lambda: servers[0].kill()),
        (third + away, "started stream 0 again", lambda: servers.__setitem__(0, start_server(ports[0], "s0"))),
        (2 * third, "stalled stream 1", lambda: os.kill(servers[1].pid, signal.SIGSTOP)),
        (2 * third + away, "stream 1 goes on", lambda: os.kill(servers[1].pid, signal.SIGCONT)),
    ]
    memory = []
    try:
        while passed() < arguments.seconds and process.poll() is None:
            while plan and passed() >= plan[0][0]:
                _, what, act = plan.pop(0)
                act()
                print(f"soak: {passed():.0f} s: {what}", flush=True)
            memory.append((round(passed(), 1), resident_kib(process.pid)))
            time.sleep(min(5, arguments.seconds / 60))
        if process.poll() is not None:
            print(f"soak: rva ended after {passed():.0f} s with {process.returncode}", flush=True)
            return 1
        process.send_signal(signal.SIGTERM)
        code = process.wait(120)
    finally:
        process.kill()
        for server in servers:
            server.kill()

    problems = [] if code in (0, 130) else [f"found exit code {code}, wanted 0 or 130"]
    stats = final_stats(log)
    rows = query(
        rva,
        out,
        "SELECT camera_id, count(*) AS n, count(DISTINCT pipeline_run_id) AS runs FROM bronze_raw GROUP BY camera_id",
    )
    distinct = query(
        rva, out, "SELECT count(*) AS n FROM (SELECT DISTINCT pipeline_run_id, camera_id, frame_index FROM bronze_raw)"
    )
    by_camera = {row["camera_id"]: row for row in rows}
    with (out / "cameras.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["camera", *COUNTS, "rows", "runs"])
        for camera in sorted(stats):
            fields, row = stats[camera], by_camera.get(camera, {"n": 0, "runs": 0})
            writer.writerow([camera, *(fields[name] for name in COUNTS), row["n"], row["runs"]])
            skipped = sum(fields[f"skipped_{reason}"] for reason in ("stride", "overload", "superseded"))
            if fields["decoded"] != fields["processed"] + skipped:
                problems.append(
                    f"{camera}: found {fields['decoded']} decoded, wanted {fields['processed']} + {skipped}"
                )
            if row["n"] != fields["records"] or fields["records"] != fields["processed"]:
                problems.append(
                    f"{camera}: found {row['n']} rows, wanted {fields['records']} records of {fields['processed']} frames"
                )
            if row["runs"] != fields["openings"] or (camera.startswith("rtsp") and row["runs"] < 2):
                problems.append(
                    f"{camera}: found {row['runs']} runs in the table, wanted {fields['openings']}, 2 or more of a stream"
                )
    if len(stats) != FILES + STREAMS:
        problems.append(f"found {len(stats)} cameras, wanted {FILES + STREAMS}")
    if distinct[0]["n"] != sum(row["n"] for row in rows):
        problems.append(f"found {sum(row['n'] for row in rows)} rows, wanted {distinct[0]['n']} distinct ones")
    with (out / "memory.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("seconds", "resident_kib"), *memory])
    size = len(memory) // 3
    early, late = (statistics.median(kib for _, kib in part) for part in (memory[size : 2 * size], memory[2 * size :]))
    if late > early * 1.1:
        problems.append(
            f"memory grew: found {late:.0f} KiB in the last third, wanted at most a tenth above {early:.0f}"
        )
    print((out / "cameras.csv").read_text(), end="")
    print(
        f"soak: {passed():.0f} s, memory {early / 1024:.0f} MiB in the second third, {late / 1024:.0f} MiB in the last, exit code {code}"
    )
    for problem in problems:
        print(f"soak: {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

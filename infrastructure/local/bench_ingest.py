"""make bench NAME=ingest: a backlog in Pulsar into an empty Iceberg table on MinIO, rva-ingest and Flink in turns.

`flink` is the job of flink-jobs/bronze.sql, whose table is as ours: each event once, no payload that isn't JSON; `flink-plain` takes
the messages as they come. A thousandth of the events is sent twice, and a ten-thousandth beside them is broken.

Counted for each turn: seconds from the start (of the process; of the job in a running Flink cluster) to the last commit, CPU
seconds of all processes of the job (rva-ingest; JobManager and TaskManager), their peak of resident memory together, and how many
rows have each key, which must be what was sent: once each, but for flink-plain.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
import uuid
from collections import Counter

from bench_stack import (
    ROOT,
    STACK,
    catalog,
    cpu_seconds,
    drop,
    forget_peak,
    ingest_environment,
    keys,
    memory_mb,
    publish,
    say,
    stack,
    state,
    wait_until,
)  # fmt: skip

CAMERAS = 8
AGAIN_EVERY, BROKEN_EVERY = 1_000, 10_000
BROKEN_RUN = "broken"
# View of bronze.sql, and checkpoints that make files no smaller than ours.
FLINK = {"flink": ("records_once", "4 s"), "flink-plain": ("records", "2 s")}


def table_facts(lakehouse, name: str) -> tuple[float, int, int]:
    """When the last snapshot was made (seconds), and number and bytes of its data files."""
    table = lakehouse.load_table(f"rva.{name}")
    summary = table.current_snapshot().summary
    return (
        table.current_snapshot().timestamp_ms / 1000,
        int(summary["total-data-files"]),
        int(summary["total-files-size"]),
    )


def rows_wanted(kind: str, sent: dict) -> int:
    return sent["messages"] + (sent["again"] + sent["broken"] if kind == "flink-plain" else 0)


def check(kind: str, found: Counter, sent: dict, wanted: set[tuple] | None) -> set[tuple]:
    """The events of a table, which must be `wanted` (where nothing is: all frames of every camera), in as many rows as were sent."""
    broken = {key for key in found if key[0] == BROKEN_RUN}
    events = found.keys() - broken
    if wanted is None:
        cameras = {key[:2] for key in events}
        wanted = {(*camera, frame) for camera in cameras for frame in range(1, sent["messages"] // CAMERAS + 1)}
    rows, broken_wanted = rows_wanted(kind, sent), sent["broken"] if kind == "flink-plain" else 0
    if events != wanted or len(wanted) != sent["messages"] or found.total() != rows or len(broken) != broken_wanted:
        raise SystemExit(
            f"{kind}: found {len(wanted - events)} keys missing, {len(events - wanted)} unknown, {len(broken)} broken and "
            f"{found.total()} rows, wanted {broken_wanted} broken and {rows} rows of {sent['messages']} keys"
        )
    return events


def run_rva(lakehouse, arguments, topic: str, turn: int, sent: dict) -> dict:
    drop(lakehouse, "bronze_raw", "bronze_dead_letters")
    environment = ingest_environment(topic, f"bench-{turn}")
    started = time.time()
    process = subprocess.Popen([arguments.ingest, "--drain"], env=environment, cwd="/")
    ended, status, used = 0, 0, None
    peak = 0.0
    while not ended:
        # Not ru_maxrss: a child inherits its parent's peak over the fork.
        peak = max(peak, memory_mb(process.pid, "VmHWM"))
        time.sleep(0.02)
        ended, status, used = os.wait4(process.pid, os.WNOHANG)
    if status != 0:
        raise SystemExit(f"rva-ingest: found wait status {status}, wanted 0")
    ended, files, size = table_facts(lakehouse, "bronze_raw")
    dead = lakehouse.load_table("rva.bronze_dead_letters").current_snapshot().summary["total-records"]
    if int(dead) != sent["broken"]:
        raise SystemExit(f"rva.bronze_dead_letters: found {dead} rows, wanted {sent['broken']}")
    return {
        "wall_s": ended - started, "cpu_s": used.ru_utime + used.ru_stime, "peak_mb": peak,
        "files": files, "file_bytes": size, "keys": keys(lakehouse, "bronze_raw"),
    }  # fmt: skip


def flink(path: str, method: str = "GET") -> dict:
    url = state()["environment"]["FLINK_REST_URL"] + path
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=20) as answer:
        return json.loads(answer.read() or "{}")


def run_flink(lakehouse, arguments, topic: str, kind: str, sent: dict) -> dict:
    drop(lakehouse, "flink_bronze_raw")
    (view, checkpoints), count = FLINK[kind], rows_wanted(kind, sent)
    servers = [state()["servers"][name]["pid"] for name in ("flink", "flink-taskmanager")]
    name = f"bench-{uuid.uuid4().hex[:8]}"
    environment = os.environ | {
        "PULSAR_TOPIC": topic, "FLINK_JOB_NAME": name, "FLINK_SUBSCRIPTION": name,
        "FLINK_CHECKPOINT_INTERVAL": checkpoints, "FLINK_ROWS": view, "FLINK_STATE_BACKEND": arguments.state_backend,
    }  # fmt: skip
    before = [cpu_seconds(pid) for pid in servers]
    for pid in servers:
        forget_peak(pid)
    command = [sys.executable, STACK, "run", "flink-sql", "-f", ROOT / "flink-jobs/bronze.sql"]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    said = subprocess.run(command, env=environment, text=True, check=False, **output).stdout

    def job():
        return next((job for job in flink("/jobs/overview")["jobs"] if job["name"] == name), None)

    found = wait_until(lambda: job(), 60, f"job {name} in Flink; the SQL client said:\n{said[-3000:]}")

    def all_there() -> bool:
        if (now := job())["state"] != "RUNNING" and now["state"] != "CREATED":
            raise SystemExit(
                f"job {name}: found {now['state']}, wanted RUNNING: {flink('/jobs/' + now['jid'] + '/exceptions')}"
            )
        snapshot = lakehouse.load_table("rva.flink_bronze_raw").current_snapshot()
        return snapshot is not None and int(snapshot.summary["total-records"]) >= count

    wait_until(all_there, 900, f"{count} rows of the job")
    used = sum(cpu_seconds(pid) for pid in servers) - sum(before)
    peak = sum(memory_mb(pid, "VmHWM") for pid in servers)
    flink(f"/jobs/{found['jid']}?mode=cancel", "PATCH")
    wait_until(lambda: job()["state"] == "CANCELED", 60, "end of the job")
    ended, files, size = table_facts(lakehouse, "flink_bronze_raw")
    return {
        "wall_s": ended - found["start-time"] / 1000, "cpu_s": used, "peak_mb": peak, "files": files, "file_bytes": size,
        "keys": keys(lakehouse, "flink_bronze_raw"),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ingest", required=True)
    parser.add_argument("--publish", required=True)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--csv", required=True)
    parser.add_argument("--state-backend", default="rocksdb", help="of Flink: rocksdb or hashmap")
    parser.add_argument("--kinds", default="rva,flink,flink-plain")
    arguments = parser.parse_args()
    kinds = arguments.kinds.split(",")
    if arguments.messages % CAMERAS:
        raise SystemExit(f"--messages: found {arguments.messages}, wanted a multiple of {CAMERAS}")
    if FLINK.keys() & kinds:
        stack("start", "flink")
    lakehouse = catalog()
    topic = f"persistent://rva-bench/ingest-{uuid.uuid4().hex[:8]}/events"
    sent = publish(
        arguments.publish, topic, "--count", arguments.messages, "--cameras", CAMERAS, "--again-every", AGAIN_EVERY,
        "--broken-every", BROKEN_EVERY,
    )  # fmt: skip
    say(
        f"bench-ingest: {sent['messages']} messages, {sent['payload_bytes'] / sent['messages']:.0f} bytes each, sent in {sent['seconds']} s"
    )
    wanted, rows = None, []
    with open(arguments.csv, "w", newline="") as file:
        columns = ["kind", "turn", "messages", "payload_bytes", "wall_s", "cpu_s", "peak_mb", "files", "file_bytes"]
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for turn in range(1, arguments.turns + 1):
            for kind in kinds:
                if kind in FLINK:
                    result = run_flink(lakehouse, arguments, topic, kind, sent)
                else:
                    result = run_rva(lakehouse, arguments, topic, turn, sent)
                wanted = check(kind, result.pop("keys"), sent, wanted)
                row = {"kind": kind, "turn": turn, "messages": sent["messages"], "payload_bytes": sent["payload_bytes"]}
                row |= {name: round(value, 3) for name, value in result.items()}
                rows.append(row)
                writer.writerow(row)
                file.flush()
                say(
                    f"bench-ingest: {kind:11} turn {turn}: {row['wall_s']:.1f} s, {row['cpu_s']:.1f} CPU s, {row['peak_mb']:.0f} MB, {row['files']} files of {row['file_bytes'] / 1e6:.0f} MB"
                )
    medians = {
        kind: {n: statistics.median(r[n] for r in rows if r["kind"] == kind) for n in ("wall_s", "cpu_s", "peak_mb")}
        for kind in kinds
    }
    print("| | seconds | CPU seconds | MB of payload a CPU second | peak MB |\n| --- | --- | --- | --- | --- |")
    for kind, median in medians.items():
        print(
            f"| {kind} | {median['wall_s']:.1f} | {median['cpu_s']:.1f} | {sent['payload_bytes'] / 1e6 / median['cpu_s']:.1f} | {median['peak_mb']:.0f} |"
        )
    for kind in FLINK:
        if medians.keys() >= {kind, "rva"}:
            ratio = {name: medians[kind][name] / medians["rva"][name] for name in ("cpu_s", "wall_s")}
            print(
                f"\n{kind}: its CPU seconds over ours: {ratio['cpu_s']:.2f} (wanted: 3); its wall time over ours: {ratio['wall_s']:.2f} (wanted: 1)"
            )


main()

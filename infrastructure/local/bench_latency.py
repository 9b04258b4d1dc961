"""make bench NAME=latency: from sending a message to the moment when a reader finds its row, and a load that lasts.

A record's `capture_ts` is when the generator made it. A row is queryable when a reader that asks the catalog every 20 ms first
sees the snapshot that brought it. Under the load, lag is messages sent less rows committed.
"""

import argparse
import csv
import json
import re
import subprocess
import threading
import time
import urllib.request
import uuid
from datetime import datetime

import pyarrow.parquet as pq
from bench_stack import catalog, cpu_seconds, drop, ingest_environment, memory_mb, publish, say, state, wait_until
from pyiceberg.io import load_file_io

CAPTURED = re.compile(r'"capture_ts":"([^"]+)"')


class Watch(threading.Thread):
    """Asks the catalog for the table again and again: when each snapshot was first seen, and its total of rows."""

    def __init__(self, process):
        super().__init__(daemon=True)
        self.seen: dict[int, tuple[float, int]] = {}
        self.memory: list[tuple[float, float]] = []
        self.process = process
        self.ended = False
        self.url = state()["environment"]["ICEBERG_CATALOG_URI"] + "/v1/namespaces/rva/tables/bronze_raw"

    @property
    def rows(self) -> int:
        return max((rows for _, rows in self.seen.values()), default=0)

    def run(self) -> None:
        while not self.ended:
            try:
                with urllib.request.urlopen(self.url, timeout=10) as answer:
                    metadata = json.loads(answer.read())["metadata"]
            except OSError:  # not made yet
                metadata = {}
            now = time.time()
            for snapshot in metadata.get("snapshots", []):
                self.seen.setdefault(snapshot["snapshot-id"], (now, int(snapshot["summary"].get("total-records", 0))))
            if not self.memory or now - self.memory[-1][0] >= 1:
                self.memory.append((now, memory_mb(self.process.pid)))
            time.sleep(0.02)


def latencies(lakehouse, watch: Watch) -> list[float]:
    """Seconds from a record's making to its row's being seen, of every row."""
    table = lakehouse.load_table("rva.bronze_raw")
    io, found = load_file_io(table.io.properties, table.location()), []
    for snapshot in table.snapshots():
        seen = watch.seen.get(snapshot.snapshot_id)
        for manifest in snapshot.manifests(io):
            if manifest.added_snapshot_id != snapshot.snapshot_id:
                continue
            for entry in manifest.fetch_manifest_entry(io):
                with io.new_input(entry.data_file.file_path).open() as file:
                    payloads = pq.ParquetFile(file).read(columns=["payload"]).column(0)
                for payload in payloads.to_pylist():
                    found.append(seen[0] - datetime.fromisoformat(CAPTURED.search(payload).group(1)).timestamp())
    return sorted(found)


def at(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))]


def measure(arguments, interval: str, rate: int, seconds: int) -> dict:
    lakehouse = catalog()
    drop(lakehouse, "bronze_raw", "bronze_dead_letters")
    topic = f"persistent://rva-bench/latency-{uuid.uuid4().hex[:8]}/events"
    publish(arguments.publish, topic, "--count", 0)  # sets it up
    environment = ingest_environment(topic, f"latency-{uuid.uuid4().hex[:8]}") | {
        "RVA_INGEST_COMMIT_INTERVAL": interval
    }
    process = subprocess.Popen([arguments.ingest], env=environment, cwd="/")
    watch = Watch(process)
    try:
        wait_until(lambda: lakehouse.table_exists("rva.bronze_raw"), 60, "table rva.bronze_raw")
        watch.start()
        count, started, lags = rate * seconds, time.time(), []
        sender = threading.Thread(target=publish, args=(arguments.publish, topic, "--count", count, "--rate", rate))
        sender.start()
        while sender.is_alive():
            sender.join(1)
            lags.append(min(count, rate * (time.time() - started)) - watch.rows)
        sent_s = time.time() - started
        wait_until(lambda: watch.rows >= count, 120, f"{count} rows (there are {watch.rows})")
        cpu = cpu_seconds(process.pid)
        watch.ended = True
        watch.join()
        found = latencies(lakehouse, watch)
    finally:
        process.terminate()
        code = process.wait(60)
    if code != 0 or len(found) != count:
        raise SystemExit(f"found exit code {code} and {len(found)} rows, wanted 0 and {count}")
    third = len(watch.memory) // 3
    middle, last = ([m for _, m in watch.memory[k * third : (k + 1) * third]] for k in (1, 2))
    half = len(lags) // 2
    return {
        "commit_interval": interval, "rate": rate, "messages": count, "sent_s": round(sent_s, 1), "p50_s": round(at(found, 0.5), 2),
        "p99_s": round(at(found, 0.99), 2), "max_s": round(found[-1], 2), "lag_max_first_half": int(max(lags[:half])),
        "lag_max_second_half": int(max(lags[half:])), "cpu_s": round(cpu, 1),
        "memory_mb_middle_third": round(sorted(middle)[len(middle) // 2]),
        "memory_mb_last_third": round(sorted(last)[len(last) // 2]), "memory_mb_max": round(max(m for _, m in watch.memory)),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ingest", required=True)
    parser.add_argument("--publish", required=True)
    parser.add_argument("--csv", required=True)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--load-rate", type=int, default=10_000)
    parser.add_argument("--load-seconds", type=int, default=600)
    arguments = parser.parse_args()
    plan = [("1s", arguments.rate, arguments.seconds), ("10s", arguments.rate, arguments.seconds)]
    if arguments.load_seconds:
        plan.append(("10s", arguments.load_rate, arguments.load_seconds))
    writer = None
    with open(arguments.csv, "w", newline="") as file:
        for step in plan:
            row = measure(arguments, *step)
            if writer is None:
                writer = csv.DictWriter(file, list(row))
                writer.writeheader()
            writer.writerow(row)
            file.flush()
            print(json.dumps(row), flush=True)
            say(
                f"bench-latency: {row['commit_interval']} commits, {row['rate']} a second: p50 {row['p50_s']} s, p99 {row['p99_s']} s"
            )


main()

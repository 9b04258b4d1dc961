"""What the benchmarks of the ingest share: the stack's addresses, its tables, and what a process used."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow.compute as pc
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.exceptions import NoSuchTableError

ROOT = Path(__file__).resolve().parents[2]
STACK = ROOT / "infrastructure/stack/stack.py"
KEY = ("pipeline_run_id", "camera_id", "frame_index")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def state() -> dict:
    return json.loads((Path(os.environ["RVA_STACK"]) / "state.json").read_text())


def stack(*arguments: str) -> None:
    subprocess.run([sys.executable, STACK, *arguments], check=True, stdout=subprocess.DEVNULL)


def catalog() -> RestCatalog:
    env = state()["environment"]
    return RestCatalog("lakehouse", uri=env["ICEBERG_CATALOG_URI"], warehouse=env["ICEBERG_WAREHOUSE"], **{
        "s3.endpoint": env["S3_ENDPOINT"], "s3.region": env["S3_REGION"], "s3.path-style-access": "true",
        "s3.access-key-id": env["S3_ACCESS_KEY"], "s3.secret-access-key": env["S3_SECRET_KEY"],
    })  # fmt: skip


def drop(lakehouse: RestCatalog, *names: str) -> None:
    """Removes tables and their files."""
    for name in names:
        try:
            lakehouse.purge_table(f"rva.{name}")
        except NoSuchTableError:
            pass


def publish(binary: str, topic: str, *arguments: object) -> dict:
    """Runs the generator to its end; what it says."""
    environment = os.environ | state()["environment"] | {"PULSAR_TOPIC": topic, "RUST_LOG": "error"}
    done = subprocess.run(
        [binary, *map(str, arguments)], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout)


def keys(lakehouse: RestCatalog, table: str) -> Counter[tuple]:
    """The table's keys, and how many rows have each."""
    rows = lakehouse.load_table(f"rva.{table}").scan(selected_fields=KEY).to_arrow()
    return Counter(
        zip(*(pc.cast(rows[name], "string" if rows[name].type != "int64" else "int64").to_pylist() for name in KEY))
    )


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int, field: str = "VmRSS") -> float:
    """Resident memory of a process in 10^6 bytes: now, or its peak (VmHWM)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def forget_peak(pid: int) -> None:
    """The peak of resident memory counts from now on."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def ingest_environment(topic: str, job: str) -> dict[str, str]:
    return os.environ | state()["environment"] | {
        "PULSAR_TOPIC": topic, "RVA_BUS_KIND": "pulsar", "RVA_CATALOG_KIND": "rest", "RVA_INGEST_JOB": job,
        "RVA_TELEMETRY_LOG_LEVEL": "warn",
    }  # fmt: skip


def wait_until(check, seconds: float, what: str):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := check():
            return found
        time.sleep(0.05)
    raise SystemExit(f"found no {what} within {seconds:.0f} s")

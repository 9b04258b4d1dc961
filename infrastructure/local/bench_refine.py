"""What silver and gold cost: see bench_refine.sh. Prints CSV lines `what,value,unit`."""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# A definition that reads another table of gold goes after that.
GOLD = sorted((ROOT / "data/queries/gold").glob("*.sql"), key=lambda file: ("FROM gold_" in file.read_text(), file))
ZONES = """\
zones:
  - { camera: "cam_*", store: "*", name: till, polygon: [[0.1, 0.4], [0.5, 0.4], [0.5, 0.9], [0.1, 0.9]], valid_from: 2020-01-01 }
  - { camera: "cam_*", store: "*", name: shelf, polygon: [[0.6, 0.2], [0.95, 0.3], [0.9, 0.95], [0.7, 0.6]], valid_from: 2020-01-01 }
  - { camera: "cam_*", store: "*", name: door, line: [[0.5, 0.05], [0.5, 0.98]], valid_from: 2020-01-01 }
"""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binaries", type=Path)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--part", choices=["day", "live", "spool", "year", "duckdb"], required=True)
    for name in ("cameras", "rate", "detections", "hours", "seconds", "before", "refreshes"):
        parser.add_argument(f"--{name}", default="0")
    return parser.parse_args()


def say(what, value, unit):
    print(f"{what},{value},{unit}", flush=True)


def measured(what, command):
    """Runs a command to its end; says its time, its processor time and its peak of memory. Its processor seconds."""
    began = time.monotonic()
    child = subprocess.Popen(command, stdout=sys.stderr)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"bench_refine: {what}: found exit code {child.returncode}, wanted 0: {command}")
    seconds = usage.ru_utime + usage.ru_stime
    say(f"{what}: processor", f"{seconds:.1f}", "s")
    say(f"{what}: time", f"{time.monotonic() - began:.1f}", "s")
    say(f"{what}: resident memory at most", usage.ru_maxrss // 1024, "MiB")
    return seconds


def drain(options):
    """The command that brings silver and gold up to bronze and ends."""
    program, config, data = options.binaries / "rva-refine", options.folder / "rva.yaml", options.folder / "data"
    return [program, "--config", config, "--data-dir", data, "--log-level", "warn", "--drain"]


def day(options):
    config = options.folder / "rva.yaml"
    config.write_text(ZONES)
    data = options.folder / "data"
    shop = [options.binaries / "shop", "write", data]
    shop += [options.cameras, options.rate, options.hours, options.detections]
    said = subprocess.run(shop, check=True, stdout=subprocess.PIPE, text=True).stdout
    counts = dict(line.split(",") for line in said.splitlines())
    for name, count in counts.items():
        say(name, count, "rows")
    rva = [options.binaries / "rva", "--config", config]
    refine = measured("rva refine --drain", drain(options))
    say("detections a processor second", f"{int(counts['detections']) / refine:.0f}", "rows")
    # A restart: one more commit of bronze stands behind all that, and is refined by a new process.
    more = [options.binaries / "shop", "more", data, options.cameras, options.rate, options.hours]
    subprocess.run(more, check=True, stdout=sys.stderr)
    measured("restart and first refresh", drain(options))
    duckdb = [sys.executable, __file__, "--part", "duckdb", "--folder", options.folder]
    once = measured("DuckDB: silver and gold once", duckdb)
    say("rva refine over DuckDB", f"{refine / once:.2f}", "times the processor time")
    total = 0.0
    for file in GOLD:
        query = [*rva, "query", "--data-dir", data, f"SELECT count(*) FROM ({file.read_text()})"]
        total += measured(f"DataFusion: {file.stem}", query)
    say("DataFusion: gold over silver: processor", f"{total:.1f}", "s")


def in_duckdb(sql):
    """The defining SQL as DuckDB writes it: moments are no numbers, JSON has other names, and `by` is a word of its own."""
    sql = re.sub(
        r"CAST\(((?:(?:max|min)\()?[a-z_.]*(?:capture_ts|entered_at|left_at)\)?) AS bigint\)", r"epoch_us(\1)", sql
    )
    # Whole numbers are divided by `//`: by the microseconds of a minute, or by the pixels of a picture.
    sql = re.sub(r"/ (?=60000000\b|\(CAST\(img_w AS bigint\))", "// ", sql)
    sql = re.sub(r"arrow_cast\(([^,()]+), '[^']*'\)", r"make_timestamptz(\1)", sql)
    sql = re.sub(r"\bby\b", '"by"', sql)  # keywords are in capitals
    return sql.replace("json_length(", "json_array_length(")


MACROS = """
SET TimeZone = 'UTC';
CREATE MACRO json_get_float(j, a) AS CAST(json_extract(CAST(j AS JSON), '$[' || a || ']') AS DOUBLE),
    (j, a, b) AS CAST(json_extract(CAST(j AS JSON), '$[' || a || '][' || b || ']') AS DOUBLE);
CREATE MACRO json_get_json(j, a) AS json_extract(CAST(j AS JSON), '$[' || a || ']');
"""

SHAPE = """{"capture_ts": "VARCHAR", "image_size": {"width": "INTEGER", "height": "INTEGER"},
"detections": [{"det_id": "VARCHAR", "class": "VARCHAR", "class_id": "INTEGER", "conf": "DOUBLE",
"bbox": {"x1": "DOUBLE", "y1": "DOUBLE", "x2": "DOUBLE", "y2": "DOUBLE"}, "track_id": "BIGINT"}]}"""

SILVER = f"""
CREATE TABLE exploded AS
SELECT store_id, camera_id, pipeline_run_id, frame_index, from_json(payload, '{SHAPE}') AS r
FROM read_parquet('{{bronze}}/**/*.parquet', hive_partitioning = false);
CREATE TABLE silver_frames AS
SELECT store_id, camera_id, pipeline_run_id, frame_index, CAST(r.capture_ts AS timestamptz) AS capture_ts,
    r.image_size.width AS img_w, r.image_size.height AS img_h,
    CAST(len(list_filter(r.detections, lambda d: d.conf >= 0.4 AND d.class = 'person')) AS integer) AS people,
    CAST(len(list_filter(r.detections, lambda d: d.conf >= 0.4)) AS integer) AS detections
FROM exploded;
CREATE TABLE silver_detections AS
SELECT store_id, camera_id, pipeline_run_id, frame_index, capture_ts, img_w, img_h, d.det_id AS det_id,
    d.class AS class_name, d.class_id AS class_id, d.conf AS conf,
    CAST(round(d.bbox.x1) AS integer) AS bbox_x1, CAST(round(d.bbox.y1) AS integer) AS bbox_y1,
    CAST(round(d.bbox.x2) AS integer) AS bbox_x2, CAST(round(d.bbox.y2) AS integer) AS bbox_y2, d.track_id AS track_id
FROM (
    SELECT store_id, camera_id, pipeline_run_id, frame_index, CAST(r.capture_ts AS timestamptz) AS capture_ts,
        r.image_size.width AS img_w, r.image_size.height AS img_h, unnest(r.detections) AS d
    FROM exploded
)
WHERE d.conf >= 0.4;
DROP TABLE exploded;
"""


def duckdb(options):
    """All of silver and gold once, from bronze's files; the rows of each table, beside those of rva."""
    import duckdb

    warehouse = options.folder / "data/warehouse/rva"
    database = duckdb.connect(str(options.folder / "once.duckdb"))
    database.execute(MACROS)
    bronze = [path for path in warehouse.glob("bronze_raw*/data") if any(path.rglob("*.parquet"))]
    database.execute(SILVER.replace("{bronze}", str(bronze[0])))
    # The newest file: each drawing takes the place of the one before.
    zones = max(warehouse.glob("zones*/data/**/*.parquet"), key=os.path.getmtime)
    database.execute(f"CREATE TABLE zones AS SELECT * FROM read_parquet('{zones}')")
    for file in GOLD:
        database.execute(f"CREATE TABLE gold_{file.stem} AS {in_duckdb(file.read_text())}")
        rows = database.execute(f"SELECT count(*) FROM gold_{file.stem}").fetchone()[0]
        print(f"bench_refine: DuckDB: gold_{file.stem}: {rows} rows", file=sys.stderr)


def beside(options, work):
    """Runs an ingest and a refine on the folder, a commit and a look a second, while `work` goes on."""
    config = options.folder / "rva.yaml"
    config.write_text(f"{ZONES}refine: {{interval: 1s}}\ningest: {{commit_interval: 1s}}\n")
    data = options.folder / "data"
    data.mkdir()
    common = ["--config", config, "--data-dir", data, "--log-level", "warn"]
    programs = {name: subprocess.Popen([options.binaries / name, *common]) for name in ("rva-ingest", "rva-refine")}
    try:
        subprocess.run([options.binaries / "shop", *work(data)], check=True)
    finally:
        for name, program in programs.items():
            program.send_signal(signal.SIGTERM)
            _, _, usage = os.wait4(program.pid, 0)
            program.returncode = 0
            say(f"{name}: processor", f"{usage.ru_utime + usage.ru_stime:.1f}", "s")
            say(f"{name}: resident memory at most", usage.ru_maxrss // 1024, "MiB")


def live(options):
    beside(options, lambda data: ["live", data, options.cameras, options.rate, options.seconds, options.before])


def spool(options):
    beside(options, lambda data: ["live", data, options.cameras, options.rate, "10", "10800"])
    # All of it equals its definition.
    data, config = options.folder / "data", options.folder / "rva.yaml"
    measured("rva refine --drain", drain(options))
    measured("rva verify", [options.binaries / "rva", "--config", config, "verify", "--data-dir", data])


def year(options):
    subprocess.run([options.binaries / "shop", "grow", options.folder / "data", options.refreshes], check=True)


if __name__ == "__main__":
    given = arguments()
    {"day": day, "live": live, "spool": spool, "year": year, "duckdb": duckdb}[given.part](given)

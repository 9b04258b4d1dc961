"""make test-queries: the sample queries of data/queries on a real Trino, a real Spark, DuckDB and `rva query`, row by row; gold
behind the REST catalog as each of them reads it; what Grafana's dashboards ask of Trino; and what other engines write into the
table doesn't disturb the ingest.

The answers are worked out once more here, in plain Python, from what pyiceberg reads: every engine must say the same.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import uuid
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "infrastructure" / folder) for folder in ("local", "stack")]

import duckdb  # noqa: E402
import trino_sql  # noqa: E402
from bench_stack import STACK, catalog, drop, ingest_environment, keys, publish, say, stack, state  # noqa: E402

QUERIES = ("rows_per_camera", "people_per_minute", "detections")
ENGINES = ("trino", "spark", "duckdb", "rva query")
GOLD = tuple(sorted(file.stem for file in (ROOT / "data/queries/gold").glob("*.sql")))
TIMES = (
    "capture_ts",
    "minute",
    "ts_minute",
    "ts_hour",
    "first_ts",
    "last_ts",
    "start_time",
    "end_time",
    "entered_at",
    "left_at",
    "crossed_at",
)
# Drawn over every camera of the generator.
ZONES = """zones:
  - { camera: "*", store: "*", name: middle, line: [[0.5, 0.0], [0.5, 1.0]], valid_from: 2001-01-01 }
  - { camera: "*", store: "*", name: floor, polygon: [[0.1, 0.1], [0.9, 0.1], [0.9, 1.0], [0.1, 1.0]], valid_from: 2001-01-01 }
"""


def micros(text: str) -> int:
    """A point in time as an engine writes it, in microseconds; without a zone it is UTC."""
    when = datetime.fromisoformat(text.replace(" UTC", "+00:00").replace(" ", "T", 1))
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return int(when.timestamp()) * 1_000_000 + when.microsecond


def normal(columns: list[str], rows: list) -> list[tuple]:
    """Rows that compare: times in microseconds, numbers as numbers."""

    def value(name: str, found):
        if found is None:
            return None
        if name in TIMES:
            return micros(found if isinstance(found, str) else found.astimezone(UTC).isoformat())
        return found

    return [tuple(value(name, found) for name, found in zip(columns, row)) for row in rows]


def trino(sql: str) -> tuple[list[str], list]:
    return trino_sql.query(state()["environment"]["TRINO_URL"], sql)


def spark(statements: dict[str, str]) -> dict[str, dict]:
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder, "asked.json"), Path(folder, "answered.json")
        asked.write_text(json.dumps(statements))
        script = ROOT / "infrastructure/queries/spark_answers.py"
        subprocess.run([sys.executable, STACK, "run", "spark-submit", script, asked, answered], check=True)
        return json.loads(answered.read_text())


def rva_query(binary: str, folder: str, sql: str, **environment: str) -> tuple[list[str], list]:
    command = [binary, "query", "--data-dir", folder, "--format", "json", sql]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd="/", env=os.environ | environment)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    columns = list(rows[0]) if rows else []
    return columns, [[row.get(name) for name in columns] for row in rows]


def expected(table) -> dict[str, list[tuple]]:
    """The answers, worked out from the records."""
    rows = table.scan().to_arrow().to_pylist()
    frames = [(row, json.loads(row["payload"])) for row in rows]
    cameras, minutes, detections = defaultdict(list), defaultdict(list), []
    for row, record in frames:
        camera, at = (row["store_id"], row["camera_id"]), micros(record["capture_ts"])
        cameras[camera].append(at)
        people = [seen for seen in record["detections"] if seen["class"] == "person"]
        minutes[(*camera, at - at % 60_000_000)].append((row["pipeline_run_id"], people))
        for seen in record["detections"]:
            box = (seen["bbox"][side] for side in ("x1", "y1", "x2", "y2"))
            detections.append((
                *camera, row["pipeline_run_id"], row["frame_index"], at, seen["det_id"], seen["class"], seen["class_id"],
                seen["conf"], *box, seen["track_id"],
            ))  # fmt: skip
    per_minute = []
    for (store, camera, minute), seen in minutes.items():
        tracks = {(run, p["track_id"]) for run, people in seen for p in people if p["track_id"] is not None}
        counts = [len(people) for _, people in seen]
        average = (200 * sum(counts) + len(counts)) // (2 * len(counts)) / 100
        per_minute.append((store, camera, minute, len(seen), len(tracks), max(counts), average))
    return {
        "rows_per_camera": sorted((*camera, len(at), min(at), max(at)) for camera, at in cameras.items()),
        "people_per_minute": sorted(per_minute, key=lambda row: (row[2], *row[:2])),
        "detections": sorted(detections, key=lambda row: (*row[:4], row[5])),
    }


def compare(engine: str, query: str, found: list[tuple], wanted: list[tuple]) -> None:
    if len(found) != len(wanted):
        raise SystemExit(f"{engine}, {query}: found {len(found)} rows, wanted {len(wanted)}")
    for number, (one, other) in enumerate(zip(found, wanted)):
        if one != other:
            raise SystemExit(f"{engine}, {query}, row {number}: found {one}, wanted {other}")
    print(f"ok: {engine}: {query}: {len(found)} rows as pyiceberg's records give them", flush=True)


class World:
    def __init__(self, arguments):
        self.arguments = arguments
        self.lakehouse = catalog()
        self.topic = f"persistent://rva-queries/t{uuid.uuid4().hex[:8]}/events"
        self.job = f"queries-{uuid.uuid4().hex[:8]}"

    def publish(self, count: int, seed: int) -> None:
        publish(self.arguments.publish, self.topic, "--count", count, "--cameras", 4, "--seed", seed)

    def ingest(self, *arguments: str, **more: str) -> None:
        environment = ingest_environment(self.topic, self.job) | more
        subprocess.run([self.arguments.ingest, *arguments], env=environment, check=True, cwd="/")

    def start_anew(self) -> None:
        drop(self.lakehouse, "bronze_raw", "bronze_dead_letters")
        self.job = f"queries-{uuid.uuid4().hex[:8]}"


def queries_give_the_same_answers_everywhere(world: World) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world.start_anew()
        world.publish(8000, 1)  # four cameras, 2,000 frames each: 200 s
        world.ingest("--init", RVA_PULSAR_SUBSCRIPTION="rva-embedded")
        world.ingest("--drain")
        own = {"RVA_CATALOG_KIND": "embedded", "RVA_DATA_DIR": folder, "RVA_PULSAR_SUBSCRIPTION": "rva-embedded"}
        world.ingest("--drain", **own)
        table = world.lakehouse.load_table("rva.bronze_raw")
        wanted = expected(table)
        assert len(wanted["detections"]) > 8000 and len(wanted["people_per_minute"]) == 16, {
            n: len(r) for n, r in wanted.items()
        }
        bronze_raw = table.scan().to_arrow()
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("bronze_raw", bronze_raw)
        sql = {
            d: {n: (ROOT / "data/queries" / d / f"{n}.sql").read_text() for n in QUERIES}
            for d in ("", "trino", "spark", "duckdb")
        }
        from_spark = spark(sql["spark"])
        for name in QUERIES:
            compare("trino", name, normal(*trino(sql["trino"][name])), wanted[name])
            compare("spark", name, normal(from_spark[name]["columns"], from_spark[name]["rows"]), wanted[name])
            answer = connection.execute(sql["duckdb"][name])
            compare("duckdb", name, normal([c[0] for c in answer.description], answer.fetchall()), wanted[name])
            compare("rva query", name, normal(*rva_query(world.arguments.rva, folder, sql[""][name])), wanted[name])
        gold_is_the_same_everywhere(world, folder)


def gold_is_the_same_everywhere(world: World, folder: str) -> None:
    """Gold of one bronze, behind the REST catalog and in a data folder, as each engine reads it."""
    rest = ingest_environment(world.topic, world.job)
    drawn = Path(folder, "zones.yaml")
    drawn.write_text(ZONES)
    drop(world.lakehouse, "zones", *(f"gold_{name}" for name in GOLD))
    drop(world.lakehouse, *(f"silver_{name}" for name in ("frames", "detections", "rejects")))
    for environment in (rest, {}):
        command = [world.arguments.rva, "refine", "--drain", "--config", drawn, "--data-dir", folder]
        subprocess.run(command, check=True, cwd="/", env=os.environ | environment)
        subprocess.run(
            [*command[:1], "verify", "--data-dir", folder], check=True, cwd="/", env=os.environ | environment
        )
    from_spark = spark({name: f"SELECT * FROM lakehouse.rva.gold_{name}" for name in GOLD})
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    rows = 0
    for name in GOLD:
        table = f"gold_{name}"
        arrow = world.lakehouse.load_table(f"rva.{table}").scan().to_arrow()
        connection.register(table, arrow)
        columns = arrow.column_names
        wanted = in_order(columns, [list(row.values()) for row in arrow.to_pylist()])
        answer = connection.execute(f"SELECT * FROM {table}")
        found = {
            "trino": trino(f"SELECT * FROM lakehouse.rva.{table}"),
            "spark": (from_spark[name]["columns"], from_spark[name]["rows"]),
            "duckdb": ([column[0] for column in answer.description], answer.fetchall()),
            "rva query": rva_query(world.arguments.rva, folder, f"SELECT * FROM {table}", **rest),
            "rva query in the data folder": rva_query(world.arguments.rva, folder, f"SELECT * FROM {table}"),
        }
        for engine, (names, answered) in found.items():
            # JSON leaves nulls out, so the columns of its first row needn't be all.
            by_name = [dict(zip(names, row)) for row in answered]
            compare(engine, table, in_order(columns, [[row.get(n) for n in columns] for row in by_name]), wanted)
        rows += len(wanted)
    assert rows > 1000, f"found {rows} rows of gold, which show little"
    dashboards_show_this_and_nothing_else()


def expanded(sql: str, began: datetime, ended: datetime, stores: list[str], cameras: list[str]) -> str:
    """A statement as Grafana's plug-in for Trino sends it: its macros, and variables of several values."""
    began, ended = (f"TIMESTAMP '{time:%Y-%m-%d %H:%M:%S}'" for time in (began, ended))
    quoted = lambda values: ",".join(literal(value) for value in values)
    for pattern, replacement in (
        (r"\$__timeFilter\((\w+)\)", rf"\1 BETWEEN {began} AND {ended}"),
        (r"\$__timeFrom\(\)", began),
        (r"\$__timeTo\(\)", ended),
        (r"\$__timeGroup\((\w+), '\$__interval'\)", r"FROM_UNIXTIME(FLOOR(TO_UNIXTIME(\1)/60)*60)"),
        (r"\$__interval_ms", "60000"),
        (r"\$store", quoted(stores)),
        (r"\$camera", quoted(cameras)),
    ):
        sql = re.sub(pattern, replacement, sql)
    return sql


def dashboards_show_this_and_nothing_else() -> None:
    """Every statement of the dashboards finds something, and nothing at another time or at another camera.

    The store stands beside the camera in each condition: tests/dashboards.rs.
    """
    _, rows = trino("SELECT min(first_ts), max(last_ts) FROM lakehouse.rva.gold_camera_minute")
    began, ended = (datetime.fromtimestamp(micros(text) / 1_000_000, UTC) for text in rows[0])
    began, ended = began.replace(second=0), ended + timedelta(minutes=1)
    later, nowhere = timedelta(days=2), ["O'Neill's"]
    asked = []
    for file in sorted((ROOT / "infrastructure/grafana/dashboards").glob("*.json")):
        board = json.loads(file.read_text())
        chosen: dict[str, list[str]] = {"store": [], "camera": []}
        for variable in board["templating"]["list"]:
            if sql := variable["query"].get("rawSQL"):
                found = trino(expanded(sql, began, ended, chosen["store"], []))[1]
                chosen[variable["name"]] = [value for (value,) in found]
        stores, cameras = chosen.values()
        targets = [(panel["title"], target) for panel in board["panels"] for target in panel.get("targets", [])]
        asked += [
            (f"{board['title']}, {title}, {what}", wanted, expanded(target["rawSQL"], *choice))
            for title, target in targets
            if "rawSQL" in target
            for what, wanted, choice in (
                ("all", True, (began, ended, stores, cameras)),
                ("another time", False, (began + later, ended + later, stores, cameras)),
                ("another camera", False, (began, ended, stores, nowhere)),
            )
        ]

    def check(question: tuple[str, bool, str]) -> str | None:
        name, wanted, sql = question
        _, rows = trino(sql)
        found = any(value not in (None, 0) for row in rows for value in row)
        return None if found == wanted else f"{name}: found {rows[:3]}, wanted {'some' if wanted else 'nothing'}"

    # A panel that stands in a row for its neighbours' sake asks the same again.
    asked = list({sql: (name, wanted, sql) for name, wanted, sql in asked}.values())
    with ThreadPoolExecutor(2) as pool:
        wrong = [error for error in pool.map(check, asked) if error]
    if wrong or len(asked) < 75:
        raise SystemExit(f"dashboards, {len(asked)} statements: {wrong}")
    print(f"ok: trino: {len(asked)} statements of the dashboards find what is chosen and nothing else", flush=True)


def in_order(columns: list[str], rows: list) -> list[tuple]:
    return sorted(normal(columns, rows), key=repr)


def soon() -> str:
    """A time that no snapshot is younger than."""
    return (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%d %H:%M:%S")


def literal(value) -> str:
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"


def insert(rows: list[dict]) -> str:
    """An INSERT of whole rows that both dialects read."""
    names = ("schema_version", "pipeline_run_id", "frame_index", "payload", "camera_id", "store_id")
    values = ", ".join("(" + ", ".join(literal(row[name]) for name in names) + ", current_timestamp)" for row in rows)
    return f"INSERT INTO lakehouse.rva.bronze_raw ({', '.join(names)}, ingest_ts) VALUES {values}"


def other_writers_do_not_disturb_the_ingest(world: World) -> None:
    world.start_anew()
    world.topic = world.topic.replace("/events", "/others")
    world.publish(400, 2)
    world.ingest("--drain")
    rows = world.lakehouse.load_table("rva.bronze_raw").scan().to_arrow().sort_by("frame_index").to_pylist()
    first = keys(world.lakehouse, "bronze_raw")
    assert len(first) == 400, len(first)

    def check(wanted: int, what: str) -> None:
        found = keys(world.lakehouse, "bronze_raw")  # each once, or it fails
        if len(found) != wanted or not first <= found:
            raise SystemExit(
                f"{what}: found {len(found)} keys, {len(first - found)} of the first missing, wanted {wanted}"
            )
        print(f"ok: {what}: {wanted} keys, each once", flush=True)

    # Rows that Trino and Spark wrote are known to the ingest, which reads the same events from the topic.
    world.start_anew()
    world.ingest("--init")
    trino(insert(rows[:20]))
    spark({"insert": insert(rows[20:40])})
    world.ingest("--drain")
    check(400, "rows of Trino and Spark, then the ingest of the same events")
    trino(insert([row | {"pipeline_run_id": "by-trino"} for row in rows[:20]]))
    trino("ALTER TABLE lakehouse.rva.bronze_raw EXECUTE optimize")
    world.publish(400, 2)  # once more
    world.publish(400, 3)
    world.ingest("--drain")
    check(820, "Trino's optimize, then old events and new ones")
    spark(
        {
            "rewrite": "CALL lakehouse.system.rewrite_data_files(table => 'rva.bronze_raw', options => map('rewrite-all', 'true'))"
        }
    )
    for seed in (2, 3, 4):
        world.publish(400, seed)
    world.ingest("--drain")
    check(1220, "Spark's rewrite_data_files, then old events and new ones")
    # The snapshots that carry the ingest's positions go: the table's property has them too.
    spark(
        {
            "expire": f"CALL lakehouse.system.expire_snapshots(table => 'rva.bronze_raw', older_than => TIMESTAMP '{soon()}', retain_last => 1)"
        }
    )
    trino(insert([row | {"pipeline_run_id": "by-trino-again"} for row in rows[:20]]))
    spark(
        {
            "expire": f"CALL lakehouse.system.expire_snapshots(table => 'rva.bronze_raw', older_than => TIMESTAMP '{soon()}', retain_last => 1)"
        }
    )
    left = world.lakehouse.load_table("rva.bronze_raw").snapshots()
    if len(left) != 1 or any(name.startswith("rva.") for name in left[0].summary.additional_properties):
        raise SystemExit(f"expiry: found {len(left)} snapshots, wanted Trino's alone: {left}")
    for seed in (3, 4, 5):
        world.publish(400, seed)
    world.ingest("--drain")
    check(1640, "Spark's expire_snapshots, which leaves one that isn't the ingest's, then old events and new ones")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("--ingest", "--publish", "--rva"):
        parser.add_argument(name, required=True)
    arguments = parser.parse_args()
    stack("start", "trino")
    world = World(arguments)
    other_writers_do_not_disturb_the_ingest(world)
    queries_give_the_same_answers_everywhere(world)
    say("test-queries: all answers are the same")


main()

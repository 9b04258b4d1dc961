"""The sample queries (infrastructure/queries), each engine's own text, on the same rows: the answers must be the same.

Trino runs in the project, Spark too where SPARK=1 asks for it; pyiceberg reads the table through the catalog's and the store's
ports and hands it to DuckDB; `rva query` answers from a data folder into which the same payloads were replayed.
"""

import csv
import io
import os
import subprocess
import tempfile
from pathlib import Path

QUERIES = Path(__file__).resolve().parents[1] / "queries"
NAMES = ("runs", "people_per_minute", "detections")


def text_of(name: str, engine: str) -> str:
    return (QUERIES / f"{name}.{engine}.sql").read_text()


def normal(rows) -> list[tuple]:
    """Numbers as numbers, whichever way an engine writes them; nothing as None."""

    def value(text):
        if text is None or text in ("", "NULL"):
            return None
        try:
            return float(text)
        except ValueError:
            return str(text)

    return [tuple(value(field) for field in row) for row in rows]


def table(host: str, keys: tuple[str, str]):
    from pyiceberg.catalog.rest import RestCatalog

    store = {"s3.endpoint": f"http://{host}:9000", "s3.access-key-id": keys[0], "s3.secret-access-key": keys[1], "s3.region": "us-east-1"}
    catalog = RestCatalog("lakehouse", uri=f"http://{host}:8181", **store)
    bronze = catalog.load_table("rva.bronze_raw")
    # The catalog tells the store's name inside the project's network.
    bronze.io.properties.update(store)
    return bronze.scan().to_arrow()


def duckdb_answers(bronze_raw) -> dict[str, list[tuple]]:
    import duckdb

    with duckdb.connect() as connection:
        connection.register("bronze_raw", bronze_raw)
        return {name: normal(connection.execute(text_of(name, "duckdb")).fetchall()) for name in NAMES}


def rva_answers(rva: str, bronze_raw) -> dict[str, list[tuple]]:
    with tempfile.TemporaryDirectory() as folder:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RVA_")}

        def run(*arguments: str) -> str:
            done = subprocess.run([rva, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"rva {' '.join(arguments)[:60]}: {done.stderr}"
            return done.stdout

        lines = "".join(f"{payload}\n" for payload in bronze_raw["payload"].to_pylist())
        Path(folder, "bronze.ndjson").write_text(lines)
        run("replay", "bronze.ndjson")
        run("ingest", "--drain")
        answers = {}
        for name in NAMES:
            rows = csv.reader(io.StringIO(run("query", text_of(name, "rva"), "--format", "csv")))
            answers[name] = normal(list(rows)[1:])
        return answers


def trino_answers(compose) -> dict[str, list[tuple]]:
    def ask(name: str):
        text = compose("exec", "-T", "trino", "trino", "--output-format", "CSV", "--execute", text_of(name, "trino"))
        return normal(csv.reader(io.StringIO(text)))

    return {name: ask(name) for name in NAMES}


def spark_answers(compose) -> dict[str, list[tuple]]:
    def ask(name: str):
        text = compose("run", "--rm", "-T", "spark", "-e", text_of(name, "spark"))
        return normal(line.split("\t") for line in text.splitlines() if "\t" in line)

    return {name: ask(name) for name in NAMES}


def compare(compose, host: str, keys: tuple[str, str], rva: str, say) -> None:
    bronze_raw = table(host, keys)
    answers = {"DuckDB on pyiceberg": duckdb_answers(bronze_raw), "rva query": rva_answers(rva, bronze_raw), "Trino": trino_answers(compose)}
    if os.environ.get("SPARK"):
        answers["Spark"] = spark_answers(compose)
    wanted = answers["DuckDB on pyiceberg"]
    for name in NAMES:
        assert wanted[name], f"{name}: found no rows"
        for engine, found in answers.items():
            if found[name] != wanted[name]:
                pairs = zip(found[name], wanted[name])
                first = next((pair for pair in pairs if pair[0] != pair[1]), (len(found[name]), len(wanted[name])))
                raise AssertionError(f"{name}: {engine} says {first[0]}, DuckDB {first[1]}")
        say(f"{name}: {len(wanted[name])} rows, the same from {', '.join(answers)}")

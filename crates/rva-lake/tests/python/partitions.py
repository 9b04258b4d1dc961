"""Partitions tables of data folders anew as another engine does, and checks how their rows are partitioned.

usage: partitions.py evolve|check < CASES

CASES is a JSON list of {"folder", "table", "change": [[column, transform, name], …], "remove": [name, …], "rows": [{column: value}, …]}.
Times are microseconds, bytes are hexadecimal.
"""

import datetime
import json
import sys

import duckdb
from pyiceberg import transforms
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.expressions import And, EqualTo, GreaterThanOrEqual, LessThan
from pyiceberg.table import Table

DAY = 86_400_000_000
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def load(case: dict) -> Table:
    folder = case["folder"]
    catalog = SqlCatalog("lakehouse", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/warehouse")
    return catalog.load_table(case["table"])


def evolve(case: dict) -> None:
    with load(case).update_spec() as update:
        for name in case["remove"]:
            update.remove_field(name)
        for column, transform, name in case["change"]:
            update.add_field(column, transforms.parse_transform(transform), name)


def plain(value: object) -> object:
    if isinstance(value, datetime.datetime):
        return (value - EPOCH) // datetime.timedelta(microseconds=1)
    if isinstance(value, datetime.date):
        return (value - EPOCH.date()).days
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    return value


def read(path: str) -> list[dict]:
    """The rows of a file as DuckDB reads them."""
    place = path.removeprefix("file://")
    found = duckdb.connect().execute("SELECT * FROM read_parquet(?, hive_partitioning = false)", [place])
    names = [column[0] for column in found.description]
    return [{name: plain(value) for name, value in zip(names, row)} for row in found.fetchall()]


def of_row(field, kind, row: dict) -> object:
    value = row.get(kind.name)
    if value is not None and str(kind.field_type) == "binary":
        value = bytes.fromhex(value)
    return plain(field.transform.transform(kind.field_type)(value))


def check_files(case: dict, table: Table) -> list[tuple]:
    """Every row lies in a file whose partition is the row's own, under the spec that the file names."""
    rows, specs = [], table.specs()
    for task in table.scan().plan_files():
        spec = specs[task.file.spec_id]
        partition = [plain(value) for value in task.file.partition]
        found = read(task.file.file_path)
        assert found and len(found) == task.file.record_count, task.file.file_path
        for row in found:
            own = [of_row(field, table.schema().find_field(field.source_id), row) for field in spec.fields]
            assert own == partition, f"{case['folder']}: row {row} lies in {partition}, wanted {own}"
        rows += found
    return rows


def key(case: dict, row: dict) -> tuple:
    return tuple(plain(row[name]) for name in case["key"])


def check_filters(case: dict, table: Table) -> int:
    """What pyiceberg finds with a filter on each value is what is there."""
    count = 0
    for column in case["filters"]:
        for value in sorted({row[column] for row in case["rows"]})[:5]:
            expression, wanted = EqualTo(column, value), {key(case, r) for r in case["rows"] if r[column] == value}
            if column == "ingest_ts":
                day = value // DAY * DAY
                low, high = ((EPOCH + datetime.timedelta(microseconds=day + at)).isoformat() for at in (0, DAY))
                expression = And(GreaterThanOrEqual(column, low), LessThan(column, high))
                wanted = {key(case, r) for r in case["rows"] if day <= r[column] < day + DAY}
            found = [key(case, row) for row in table.scan(row_filter=expression).to_arrow().to_pylist()]
            assert len(found) == len(set(found)) and set(found) == wanted, f"{case['folder']}: {expression}"
            count += 1
    return count


def check(case: dict) -> None:
    table = load(case)
    rows = [key(case, row) for row in check_files(case, table)]
    assert len(rows) == len(set(rows)), f"{case['folder']}: a key stands twice"
    assert set(rows) == {key(case, row) for row in case["rows"]}, case["folder"]
    filters = check_filters(case, table)
    print(f"{table.spec()}: {len(rows)} rows, {filters} filters".replace("\n", " "))


def main(action: str) -> None:
    for case in json.load(sys.stdin):
        {"evolve": evolve, "check": check}[action](case)


main(*sys.argv[1:])

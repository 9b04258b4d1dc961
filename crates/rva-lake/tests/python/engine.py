"""Another engine at work on the catalog of a data folder, or on a REST catalog.

usage: engine.py DATA_FOLDER|URI ACTION [ARGUMENTS]

Prints what the action is asked for as JSON.
"""

import json
import os
import sys
from pathlib import Path

import pyarrow
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.schema import Schema
from pyiceberg.types import (
    BinaryType,
    DecimalType,
    FixedType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    StructType,
    TimeType,
    UUIDType,
)


def open_catalog(folder: str) -> SqlCatalog | RestCatalog:
    if folder.startswith("http"):
        store = {
            "endpoint": "ENDPOINT",
            "region": "REGION",
            "access-key-id": "ACCESS_KEY",
            "secret-access-key": "SECRET_KEY",
        }
        settings = {f"s3.{key}": os.environ[f"S3_{name}"] for key, name in store.items()}
        return RestCatalog("lakehouse", uri=folder, warehouse=os.environ["ICEBERG_WAREHOUSE"], **settings)
    return SqlCatalog("lakehouse", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/warehouse")


def rename(catalog: SqlCatalog, old: str, new: str) -> None:
    catalog.create_namespace_if_not_exists(new.rsplit(".", 1)[0])
    catalog.rename_table(old, new)


def register(catalog: SqlCatalog, old: str, new: str) -> None:
    catalog.create_namespace_if_not_exists(new.rsplit(".", 1)[0])
    catalog.register_table(new, catalog.load_table(old).metadata_location)


def register_at(catalog: SqlCatalog, new: str, location: str) -> None:
    catalog.register_table(new, location)


def drop(catalog: SqlCatalog, name: str) -> str:
    location = catalog.load_table(name).metadata_location
    catalog.drop_table(name)
    return location


def make(catalog: SqlCatalog, name: str, location: str) -> None:
    """A table of one column and ten rows."""
    schema = Schema(NestedField(1, "number", LongType(), required=False))
    catalog.create_namespace_if_not_exists(name.rsplit(".", 1)[0])
    table = catalog.create_table(name, schema, location=location)
    table.append(pyarrow.table({"number": pyarrow.array(range(10), pyarrow.int64())}))


def remake(catalog: SqlCatalog, name: str) -> None:
    """The table made anew in the folder of the old one."""
    old = catalog.load_table(name)
    schema, spec, location, properties = old.schema(), old.spec(), old.location(), old.properties
    catalog.drop_table(name)
    kept = {key: value for key, value in properties.items() if not key.startswith("rva.")}
    catalog.create_table(name, schema, location=location, partition_spec=spec, properties=kept)


def delete(catalog: SqlCatalog, name: str, condition: str) -> None:
    catalog.load_table(name).delete(condition)


def overwrite(catalog: SqlCatalog, name: str, condition: str) -> None:
    """The rows of a condition written again, those of odd frames left out."""
    table = catalog.load_table(name)
    rows = table.scan(row_filter=condition).to_arrow()
    odd = pyarrow.compute.equal(pyarrow.compute.bit_wise_and(rows["frame_index"], 1), 0)
    table.overwrite(rows.filter(odd), overwrite_filter=condition)


def append_one(catalog: SqlCatalog, name: str, frame_index: str) -> None:
    """A copy of a row as another frame."""
    table = catalog.load_table(name)
    rows = table.scan(limit=1).to_arrow()
    at = rows.schema.get_field_index("frame_index")
    rows = rows.set_column(at, rows.schema.field(at), pyarrow.array([int(frame_index)], pyarrow.int64()))
    table.append(rows)


def expire(catalog: SqlCatalog, name: str) -> None:
    table = catalog.load_table(name)
    old = [
        snapshot.snapshot_id
        for snapshot in table.snapshots()
        if snapshot.snapshot_id != table.current_snapshot().snapshot_id
    ]
    table.maintenance.expire_snapshots().by_ids(old).commit()


def set_property(catalog: SqlCatalog, name: str, key: str, value: str) -> None:
    catalog.load_table(name).transaction().set_properties({key: value}).commit_transaction()


def add_columns(catalog: SqlCatalog, name: str) -> None:
    text = StringType()
    with catalog.load_table(name).update_schema() as update:
        update.add_column("note", text)
        update.add_column("bytes", BinaryType())
        update.add_column("four", FixedType(4))
        update.add_column("id", UUIDType())
        update.add_column("time", TimeType())
        update.add_column("price", DecimalType(9, 2))
        update.add_column("items", ListType(element_id=900, element=text, element_required=False))
        update.add_column(
            "pairs", MapType(key_id=901, key_type=text, value_id=902, value_type=text, value_required=False)
        )
        update.add_column("parts", StructType(NestedField(903, "a", text, required=False)))


def fill_columns(catalog: SqlCatalog, name: str) -> None:
    """A row that has a value in each column that was added."""
    import datetime
    import decimal

    table = catalog.load_table(name)
    row = table.scan(limit=1).to_arrow().to_pylist()[0]
    row |= {
        "frame_index": 999,
        "note": "by another engine",
        "bytes": b"\x00\xff",
        "four": b"four",
        "id": bytes(range(16)),
        "time": datetime.time(1, 2, 3),
        "price": decimal.Decimal("12.50"),
        "items": ["a", "b"],
        "pairs": [("k", "v")],
        "parts": {"a": "x"},
    }
    table.append(pyarrow.Table.from_pylist([row], schema=table.schema().as_arrow()))


def widen(catalog: SqlCatalog, name: str, column: str) -> None:
    with catalog.load_table(name).update_schema() as update:
        update.update_column(column, field_type=LongType())


def rename_column(catalog: SqlCatalog, name: str, old: str, new: str) -> None:
    with catalog.load_table(name).update_schema() as update:
        update.rename_column(old, new)


def rows(catalog: SqlCatalog, name: str, column: str) -> list:
    return sorted(catalog.load_table(name).scan().to_arrow()[column].to_pylist())


def multiset(catalog: SqlCatalog, name: str) -> list:
    """How many rows there are, and a digest of all their columns, whatever order and files they are in."""
    import hashlib

    table = catalog.load_table(name).scan().to_arrow()
    rows = sorted(repr(sorted(row.items())) for row in table.to_pylist())
    return [len(rows), hashlib.sha256("\n".join(rows).encode()).hexdigest()]


def files(catalog: SqlCatalog, name: str) -> list[str]:
    """Every file that the table needs: of all its snapshots, and its metadata."""
    table = catalog.load_table(name)
    found = {table.metadata_location}
    for snapshot in table.snapshots():
        found.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            found.add(manifest.manifest_path)
            found.update(
                entry.data_file.file_path for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True)
            )
    return sorted(path.removeprefix("file://") for path in found)


def missing(catalog: SqlCatalog, name: str) -> list[str]:
    return [path for path in files(catalog, name) if not Path(path).exists()]


def location(catalog: SqlCatalog, name: str) -> str:
    return catalog.load_table(name).location()


def metadata_location(catalog: SqlCatalog, name: str) -> str:
    return catalog.load_table(name).metadata_location


ACTIONS = [
    rename, register, register_at, drop, make, remake, delete, overwrite, append_one, expire, set_property, add_columns,
    fill_columns, widen, rename_column, rows, multiset, files, missing, location, metadata_location,
]  # fmt: skip

if __name__ == "__main__":
    chosen = {action.__name__.replace("_", "-"): action for action in ACTIONS}[sys.argv[2]]
    print(json.dumps(chosen(open_catalog(sys.argv[1]), *sys.argv[3:]), default=str))

"""Makes a table that isn't ours in the catalog of a data folder, with one row, and reads it back.

usage: foreign_table.py DATA_FOLDER make|read predecessor|no-store|text-index|dead-letters
"""

import datetime
import json
import sys

import pyarrow
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import IntegerType, LongType, MapType, NestedField, StringType, TimestampType, TimestamptzType

NOW = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)


def bronze_columns(kind: str) -> list[tuple[str, object, object]]:
    """Name, type and the row's value."""
    columns = [
        ("schema_version", StringType(), "1.0"),
        ("pipeline_run_id", StringType(), "foreign-run"),
        ("frame_index", LongType(), 1),
        ("payload", StringType(), "{}"),
        ("camera_id", StringType(), "cam_09"),
        ("store_id", StringType(), "store_09"),
        ("ingest_ts", TimestamptzType(), NOW),
    ]
    if kind == "predecessor":
        columns[6] = ("ingest_ts", TimestampType(), NOW.replace(tzinfo=None))
    if kind == "no-store":
        del columns[5]
    if kind == "text-index":
        columns[2] = ("frame_index", StringType(), "1")
    return columns


def dead_letter_columns() -> list[tuple[str, object, object]]:
    text = StringType()
    return [
        ("topic", text, "foreign-run"),
        ("partition", IntegerType(), 0),
        ("message_id", text, "0:1:-1"),
        ("publish_ts", TimestamptzType(), NOW),
        ("reason", text, "empty"),
        ("detail", text, "x"),
        ("raw", text, "text where bytes are wanted"),
        ("properties", MapType(key_id=101, key_type=text, value_id=102, value_type=text), []),
        ("ingest_ts", TimestamptzType(), NOW),
    ]


def main(folder: str, action: str, kind: str) -> None:
    name = "rva.bronze_dead_letters" if kind == "dead-letters" else "rva.bronze_raw"
    columns = dead_letter_columns() if kind == "dead-letters" else bronze_columns(kind)
    catalog = SqlCatalog("lakehouse", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/warehouse")
    if action == "make":
        catalog.create_namespace_if_not_exists("rva")
        fields = [
            NestedField(at + 1, column, of_type, required=False) for at, (column, of_type, _) in enumerate(columns)
        ]
        spec = PartitionSpec(
            *[
                PartitionField(field.field_id, 1000, IdentityTransform(), "store_id")
                for field in fields
                if field.name == "store_id"
            ]
        )
        table = catalog.create_table(name, Schema(*fields), partition_spec=spec)
        row = {column: value for column, _, value in columns}
        table.append(pyarrow.Table.from_pylist([row], schema=table.schema().as_arrow()))
    table = catalog.load_table(name)
    rows = table.scan().to_arrow().to_pylist()
    print(json.dumps([table.metadata_location, table.metadata.current_snapshot_id, rows], default=str))


if __name__ == "__main__":
    main(*sys.argv[1:4])

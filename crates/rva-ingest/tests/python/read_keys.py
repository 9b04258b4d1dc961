"""Prints the keys of rva.bronze_raw in a data folder as JSON lines, read with pyiceberg alone."""

import json
import sys
from pathlib import Path

from pyiceberg.catalog.sql import SqlCatalog

folder = Path(sys.argv[1]).resolve()
catalog = SqlCatalog("lakehouse", uri=f"sqlite:///{folder / 'catalog.db'}", warehouse=f"file://{folder / 'warehouse'}")
columns = ("pipeline_run_id", "camera_id", "frame_index")
for row in catalog.load_table("rva.bronze_raw").scan(selected_fields=columns).to_arrow().to_pylist():
    print(json.dumps([row[column] for column in columns]))

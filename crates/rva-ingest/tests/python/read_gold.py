"""Prints the minutes, detections and frames of rva.gold_people_per_minute at the REST catalog of the environment, read with
pyiceberg alone."""

import os

import pyarrow.compute as pc
from pyiceberg.catalog.rest import RestCatalog

store = {"endpoint": "ENDPOINT", "region": "REGION", "access-key-id": "ACCESS_KEY", "secret-access-key": "SECRET_KEY"}
settings = {f"s3.{key}": os.environ[f"S3_{name}"] for key, name in store.items()}
catalog = RestCatalog(
    "lakehouse", uri=os.environ["ICEBERG_CATALOG_URI"], warehouse=os.environ["ICEBERG_WAREHOUSE"], **settings
)
rows = catalog.load_table("rva.gold_people_per_minute").scan().to_arrow()
print(f"{len(rows)} minutes, {pc.sum(rows['detections'])} detections, {pc.sum(rows['frames'])} frames")

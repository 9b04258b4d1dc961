"""For spark-submit: runs a JSON object of SQL statements by name (a file) and writes columns and rows of each (a file)."""

import json
import sys

from pyspark.sql import SparkSession

asked, answered = sys.argv[1:]
spark = SparkSession.builder.appName("queries").getOrCreate()
answers = {}
with open(asked) as file:
    statements = json.load(file)
for name, sql in statements.items():
    frame = spark.sql(sql)
    # Times as text in UTC, so that nothing of Python's own time zone gets in.
    plain = frame.selectExpr(
        *(
            f"date_format({c}, \"yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX\") AS {c}" if t == "timestamp" else c
            for c, t in frame.dtypes
        )
    )
    answers[name] = {"columns": plain.columns, "rows": [list(row) for row in plain.collect()]}
with open(answered, "w") as file:
    json.dump(answers, file)
spark.stop()

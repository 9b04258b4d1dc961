"""One statement to a Trino, its answer as a table: trino_sql.py URL -f FILE | -e SQL. Or as values: query(url, sql)."""

import json
import sys
import time
import urllib.request
from pathlib import Path

# What a Trino says that answers already and can't run a statement yet: it has only just started, or its own node, kept
# from its work for half a minute, isn't in its list of nodes.
NOT_YET = {"SERVER_STARTING_UP", "NO_NODES_AVAILABLE"}
PATIENCE_S = 60


class TrinoError(Exception):
    """Trino refuses the statement; the text is its own."""

    def __init__(self, error: dict, sql: str):
        super().__init__(f"Trino: {error['message']} in:\n{sql}")
        self.name = error.get("errorName")


def query(url: str, sql: str) -> tuple[list[str], list[list]]:
    """Names of columns, and rows. A Trino that can't run anything yet is waited for."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return query_once(url, sql)
        except TrinoError as error:
            if error.name not in NOT_YET or time.monotonic() > end:
                raise
        time.sleep(1)


def query_once(url: str, sql: str) -> tuple[list[str], list[list]]:
    """The same at once. Trino's client protocol: POST, then follow nextUri."""
    headers = {"X-Trino-User": "rva", "X-Trino-Time-Zone": "UTC"}
    request = urllib.request.Request(f"{url}/v1/statement", sql.encode(), headers)
    columns, rows = [], []
    while request:
        with urllib.request.urlopen(request, timeout=120) as answer:
            page = json.loads(answer.read())
        if "error" in page:
            raise TrinoError(page["error"], sql)
        columns = [column["name"] for column in page.get("columns", [])] or columns
        rows += page.get("data", [])
        request = urllib.request.Request(page["nextUri"], headers=headers) if "nextUri" in page else None
    return columns, rows


def table(columns: list[str], rows: list[list]) -> str:
    cells = [columns, *([("" if value is None else str(value)) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in cells]
    return "\n".join([lines[0], "+" + "+".join("-" * (width + 2) for width in widths) + "+", *lines[1:]])


def main() -> int:
    match sys.argv[1:]:
        case [url, "-f", path]:
            sql = Path(path).read_text()
        case [url, "-e", sql]:
            pass
        case found:
            print(f"trino: found {found[1:]}, wanted -f FILE or -e SQL", file=sys.stderr)
            return 2
    try:
        print(table(*query(url, sql)))
    except (TrinoError, OSError) as error:
        print(f"trino: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""One statement to a Trino, its answer as a table: trino_sql.py URL -f FILE | -e SQL. Or as values: query(url, sql)."""

import json
import sys
import urllib.request
from pathlib import Path


class TrinoError(Exception):
    """Trino refuses the statement; the text is its own."""


def query(url: str, sql: str) -> tuple[list[str], list[list]]:
    """Names of columns, and rows. Trino's client protocol: POST, then follow nextUri."""
    headers = {"X-Trino-User": "rva", "X-Trino-Time-Zone": "UTC"}
    request = urllib.request.Request(f"{url}/v1/statement", sql.encode(), headers)
    columns, rows = [], []
    while request:
        with urllib.request.urlopen(request, timeout=120) as answer:
            page = json.loads(answer.read())
        if "error" in page:
            raise TrinoError(f"Trino: {page['error']['message']} in:\n{sql}")
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

"""Runs in the environment that has apache-flink: SQL scripts from a JSON file to rows in another.

    python run_sql.py scripts.json rows.json

scripts.json maps a name to statements, the last of which is a query; rows.json maps it to `[kind, {column: value}]`,
times in ms, or to the text of the error.
"""

import datetime
import json
import sys

from pyflink.table import EnvironmentSettings, TableEnvironment


def plain(value):
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            value = value.replace(tzinfo=datetime.timezone.utc)  # noqa: UP017
        return round(value.timestamp() * 1000)
    return value


def run(statements):
    tables = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    options = {
        "parallelism.default": "1",
        "table.local-time-zone": "UTC",
        "pipeline.auto-watermark-interval": "0 ms",
    }
    for name, value in options.items():
        tables.get_config().set(name, value)
    for statement in statements[:-1]:
        if not statement.startswith("SET"):
            tables.execute_sql(statement)
    result = tables.execute_sql(statements[-1])
    names = result.get_table_schema().get_field_names()
    kinds = {0: "+I", 1: "-U", 2: "+U", 3: "-D"}
    with result.collect() as rows:
        return [[kinds[row.get_row_kind().value], dict(zip(names, map(plain, row), strict=True))] for row in rows]


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        scripts = json.load(file)
    found = {}
    for name, statements in scripts.items():
        try:
            found[name] = run(statements)
        except Exception as error:
            found[name] = str(error)[:2000]
        with open(sys.argv[2], "w", encoding="utf-8") as file:
            json.dump(found, file, ensure_ascii=False)


if __name__ == "__main__":
    main()

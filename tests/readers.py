"""Engines that are not ours, each with a Delta reader of its own: delta-rs, and DuckDB on delta-kernel-rs."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb
from deltalake import DeltaTable, QueryBuilder

Rows = list[tuple[Any, ...]]


def by_delta_rs(folder: str | Path, query: str) -> Rows:
    """The rows of a query in which the table in `folder` is called `t`."""
    found = QueryBuilder().register("t", DeltaTable(str(folder))).execute(query).read_all()
    return list(zip(*(found.column(name).to_pylist() for name in found.column_names), strict=True))


def by_duckdb(folder: str | Path, query: str) -> Rows:
    """The same, by DuckDB's own reader."""
    # Loaded from its wheel: INSTALL would want a network, and keep it in the user's home.
    package = resources.files("duckdb_extension_delta")
    extension = package / "extensions" / f"v{duckdb.__version__}" / "delta.duckdb_extension"
    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connection:
        connection.execute(f"LOAD '{extension}'")
        connection.execute(f"CREATE VIEW t AS SELECT * FROM delta_scan('{Path(folder).as_uri()}')")
        return connection.execute(query).fetchall()


def readers_that_differ(lake: Any, table: str) -> list[str]:
    """Which of them don't give the rows that Spark gives, and the first row that one of both lacks."""
    frame = lake.read(table)
    fields = [field for field in frame.schema if field.name != "_tidegate"]
    folder = lake.target(table).removeprefix("file://")
    # Moments as numbers: each engine has a type of its own for them.
    wanted = _sorted(
        tuple(row) for row in frame.selectExpr(*_columns(fields, "unix_micros(`{0}`) AS `{0}`", "`{0}`")).collect()
    )
    found = {
        "delta-rs": by_delta_rs(
            folder, f"SELECT {', '.join(_columns(fields, MICROS_OF_DELTA_RS, DOUBLE_QUOTED))} FROM t"
        ),
        "DuckDB": by_duckdb(folder, f"SELECT {', '.join(_columns(fields, MICROS_OF_DUCKDB, DOUBLE_QUOTED))} FROM t"),
    }
    return [
        f"{engine} has {len(rows)} rows of Spark's {len(wanted)}; in one of both alone: "
        f"{sorted(set(map(repr, rows)) ^ set(map(repr, wanted)))[:1]}"
        for engine, rows in found.items()
        if _sorted(rows) != wanted
    ]


DOUBLE_QUOTED = '"{0}"'
MICROS_OF_DELTA_RS = 'CAST("{0}" AS BIGINT) AS "{0}"'
MICROS_OF_DUCKDB = 'epoch_us("{0}") AS "{0}"'


def _columns(fields: Sequence[Any], moment: str, other: str) -> list[str]:
    return [(moment if field.dataType.typeName() == "timestamp" else other).format(field.name) for field in fields]


def _sorted(rows: Any) -> Rows:
    return sorted(rows, key=repr)

"""Parquet: each file's own schema counts, and a cast that would lose something is refused."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb


def parquet(select: str) -> Callable[[Path], None]:
    """A file with the rows of a DuckDB query."""

    def write(path: Path) -> None:
        with duckdb.connect() as connection:
            connection.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")

    return write


def cut(write: Callable[[Path], None], keep: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def write_part(path: Path) -> None:
        write(path)
        path.write_bytes(keep(path.read_bytes()))

    return write_part


def test_files_are_read_by_their_own_schema(lake: Any) -> None:
    # GIVEN files with other orders and types than the contract's, and bad ones
    lake.contract("points", {"id": "int", "x": "double", "day": "date"}, format="parquet")
    day = dt.date(2026, 1, 2)
    good = {
        "same.parquet": parquet("SELECT 1::INTEGER AS id, 1.5::DOUBLE AS x, DATE '2026-01-02' AS day"),
        "wider.parquet": parquet("SELECT DATE '2026-01-02' AS day, 2::BIGINT AS id, 2.5::FLOAT AS x"),
        "text.parquet": parquet("SELECT '3.5' AS x, '3' AS id, '2026-01-02' AS day"),
        "midnight.parquet": parquet("SELECT 4::BIGINT AS id, 4.5 AS x, TIMESTAMP '2026-01-02' AS day"),
        "no_rows.parquet": parquet("SELECT 1::INTEGER AS id, 1.5::DOUBLE AS x, DATE '2026-01-02' AS day LIMIT 0"),
    }
    whole = parquet("SELECT id::INTEGER AS id, random() AS x, DATE '2026-01-02' AS day FROM range(50000) r(id)")
    bad = {
        "missing.parquet": (parquet("SELECT 1 AS id, 1.5 AS x"), "column 'day' missing from the file"),
        "unknown.parquet": (
            parquet("SELECT 1 AS id, 1.5 AS x, DATE '2026-01-02' AS day, 1 AS y"),
            "column 'y' is not in the contract",
        ),
        "too_large.parquet": (
            parquet("SELECT unnest([5, 1099511627776]) AS id, 1.5 AS x, DATE '2026-01-02' AS day"),
            "column id: '1099511",
        ),
        "fraction.parquet": (
            parquet("SELECT 1.5::DOUBLE AS id, 1.5 AS x, DATE '2026-01-02' AS day"),
            "column id: '1.5' is not a valid int",
        ),
        "noon.parquet": (
            parquet("SELECT 1 AS id, 1.5 AS x, TIMESTAMP '2026-01-02 12:00:00' AS day"),
            "column day: '2026-01-02 12:00:00' is not a valid date",
        ),
        "list.parquet": (
            parquet("SELECT 1 AS id, [1.5::DOUBLE] AS x, DATE '2026-01-02' AS day"),
            "column x is array<double>, the contract says",
        ),
        "null_key.parquet": (
            parquet("SELECT NULL::INTEGER AS id, 1.5 AS x, DATE '2026-01-02' AS day"),
            "key column id is null",
        ),
        "cut.parquet": (cut(whole, lambda raw: raw[: len(raw) // 2]), "not a whole Parquet file"),
        "hole.parquet": (
            cut(whole, lambda raw: raw[:4] + b"\x00" * (len(raw) // 2) + raw[4 + len(raw) // 2 :]),
            "can't be read to its end",
        ),
        "csv.parquet": (
            lambda path: path.write_text("id,x,day\n1,1.5,2026-01-02\n"),
            "not a whole Parquet file",
        ),
    }
    files = [lake.land(write, name) for name, write in good.items()]
    files += [lake.land(write, name) for name, (write, _) in bad.items()]
    # WHEN
    code, [receipt] = lake.run(lake.batch("points", 1, files))
    # THEN
    assert code == 0
    rejected = lake.reasons(receipt)
    assert {"missing.parquet", "unknown.parquet", "list.parquet", "cut.parquet", "hole.parquet", "csv.parquet"} == set(
        rejected
    )
    found = lake.quarantine("points")
    reasons = {name: reason for name, [(_, _, reason, _)] in found.items()}
    assert {name: why for name, (_, why) in bad.items() if why not in reasons.get(name, "")} == {}, reasons
    assert set(reasons) == set(bad)
    assert found["too_large.parquet"][0][0] == 2
    assert json.loads(found["too_large.parquet"][0][3]) == {"id": "1099511627776", "x": "1.5", "day": "2026-01-02"}
    # AND the good row of a file with a bad one is merged
    assert lake.rows("points") == [(1, 1.5, day), (2, 2.5, day), (3, 3.5, day), (4, 4.5, day), (5, 1.5, day)]

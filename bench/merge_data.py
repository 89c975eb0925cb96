"""The data of `merge.py`: a table's first rows, and batches of changes, as Parquet files that every system reads."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from arro3.core import Array, DataType, Table
from arro3.io import read_parquet, write_parquet

TARGET_FILES = 8
_WORDS = 1000
_SHARE_OF_RECENT = 0.05
_TPCH_SHARE = 0.001
"""Of the orders, in each refresh: as many as TPC-H's own streams insert and delete."""


@dataclass(frozen=True)
class Work:
    """A kind of work: what is in `folder` is the same for every system."""

    name: str
    folder: Path
    columns: dict[str, str]
    """Spark SQL types by name, keys first."""
    keys: tuple[str, ...]
    sequence: str
    """Grows with each batch, so the newest is the same for all."""
    batches: int

    @property
    def target(self) -> list[Path]:
        return sorted((self.folder / "target").glob("*.parquet"))

    def batch(self, number: int) -> Path:
        return self.folder / f"batch-{number:03d}.parquet"


COLUMNS = {
    "id": "bigint",
    "seq": "bigint",
    "a": "bigint",
    "b": "bigint",
    "word": "string",
    "code": "string",
    "note": "string",
    "at": "timestamp",
}
KEYED = ("random", "recent", "new")


def prepare(name: str, folder: Path, *, rows: int, changes: int, merges: int, scale: float) -> Work:
    """Make the work's files, once for these sizes."""
    asked = {"rows": rows, "changes": changes, "merges": merges, "scale": scale}
    made = folder / "made.json"
    if made.is_file() and (found := json.loads(made.read_text()))["asked"] == asked:
        return _loaded(found["work"], folder)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "target").mkdir(parents=True)
    work = _keyed(name, folder, rows, changes, merges) if name in KEYED else _tpch(name, folder, merges, scale)
    made.write_text(json.dumps({"asked": asked, "work": asdict(work) | {"folder": None}}))
    return work


def _loaded(found: dict[str, object], folder: Path) -> Work:
    return Work(**{**found, "folder": folder, "keys": tuple(found["keys"])})  # type: ignore[arg-type]


def _keyed(name: str, folder: Path, rows: int, changes: int, merges: int) -> Work:
    """Even keys are in the table; half of a batch updates some, half is new (`new`: all of it)."""
    drawn = np.random.default_rng(20260101)
    for part, ids in enumerate(np.array_split(np.arange(rows, dtype=np.int64) * 2, TARGET_FILES)):
        write(folder / "target" / f"part-{part}.parquet", table_of(ids, 0, drawn))
    next_id = rows * 2
    for number in range(1, merges + 1):
        updates = 0 if name == "new" else changes // 2
        if name == "random":
            old = drawn.choice(rows, updates, replace=False).astype(np.int64) * 2
            fresh = np.unique(drawn.integers(0, rows, changes - updates, dtype=np.int64) * 2 + 1)
        else:
            newest = int(rows * _SHARE_OF_RECENT)
            old = (rows - 1 - drawn.choice(newest, min(updates, newest), replace=False).astype(np.int64)) * 2
            fresh = next_id + np.arange(changes - updates, dtype=np.int64) * 2
            next_id = int(fresh[-1]) + 2
        ids = np.concatenate([old, fresh])
        drawn.shuffle(ids)
        write(folder / f"batch-{number:03d}.parquet", table_of(ids, number, drawn))
    return Work(name, folder, COLUMNS, ("id",), "seq", merges)


def table_of(ids: np.ndarray, seq: int, drawn: np.random.Generator) -> Table:
    size = len(ids)

    def texts(prefix: int) -> Array:
        return Array.from_numpy(prefix + drawn.integers(0, _WORDS, size)).cast(DataType.utf8())

    moments = 1_767_225_600_000_000 + drawn.integers(0, 86_400_000_000, size)
    return Table.from_pydict(
        {
            "id": Array.from_numpy(ids),
            "seq": Array.from_numpy(np.full(size, seq, dtype=np.int64)),
            "a": Array.from_numpy(drawn.integers(0, 1 << 40, size)),
            "b": Array.from_numpy(drawn.integers(0, 1 << 20, size)),
            "word": texts(10_000),
            "code": texts(20_000),
            "note": texts(30_000),
            "at": Array.from_numpy(moments).cast(DataType.timestamp("us", tz="UTC")),
        }
    )


_TPCH = {
    "orders": (
        ("o_orderkey",),
        {
            "o_orderkey": "bigint",
            "seq": "bigint",
            "o_custkey": "bigint",
            "o_orderstatus": "string",
            "o_totalprice": "decimal(15,2)",
            "o_orderdate": "date",
            "o_orderpriority": "string",
            "o_clerk": "string",
            "o_shippriority": "int",
            "o_comment": "string",
        },
    ),
    "lineitem": (
        ("l_orderkey", "l_linenumber"),
        {
            "l_orderkey": "bigint",
            "l_linenumber": "int",
            "seq": "bigint",
            "l_partkey": "bigint",
            "l_suppkey": "bigint",
            "l_quantity": "decimal(15,2)",
            "l_extendedprice": "decimal(15,2)",
            "l_discount": "decimal(15,2)",
            "l_tax": "decimal(15,2)",
            "l_returnflag": "string",
            "l_linestatus": "string",
            "l_shipdate": "date",
            "l_commitdate": "date",
            "l_receiptdate": "date",
            "l_shipinstruct": "string",
            "l_shipmode": "string",
            "l_comment": "string",
        },
    ),
}
TPCH = tuple(_TPCH)


def _tpch(name: str, folder: Path, merges: int, scale: float) -> Work:
    """A refresh: orders that were held back come in, and as many old ones come again, changed (`seq`).

    The generator has no refresh streams of its own. Orders are dealt by their key: 0.1 % for each refresh's
    inserts and as many for its updates, so orders and lines stay together.
    """
    generated = folder / "generated"
    command = [str(Path(sys.executable).parent / "tpchgen-cli"), "parquet", "-s", str(scale), f"--tables={name}"]
    subprocess.run([*command, f"--output-dir={generated}"], check=True, stdout=subprocess.DEVNULL)
    whole = read_parquet(generated / f"{name}.parquet").read_all()
    keys, columns = _TPCH[name]
    order = np.asarray(whole.column(keys[0]).to_numpy())
    # Any mixing will do that is the same for orders and lines: keys of TPC-H leave gaps.
    dealt = (order.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(40)) % np.uint64(
        round(1 / _TPCH_SHARE)
    )
    write(folder / "target" / "part-0.parquet", _picked(whole, dealt >= merges, columns, 0))
    for number in range(1, merges + 1):
        inserts = _picked(whole, dealt == number - 1, columns, number)
        updates = _picked(whole, dealt == merges + number - 1, columns, number)
        batch = Table.from_batches([*inserts.to_batches(), *updates.to_batches()], schema=inserts.schema)
        write(folder / f"batch-{number:03d}.parquet", batch)
    shutil.rmtree(generated)
    return Work(name, folder, columns, keys, "seq", merges)


def _picked(whole: Table, mask: np.ndarray, columns: dict[str, str], seq: int) -> Table:
    at = np.flatnonzero(mask)
    picked = {}
    for name, kind in columns.items():
        if name == "seq":
            picked[name] = Array.from_numpy(np.full(len(at), seq, dtype=np.int64))
        else:
            found = whole.column(name).combine_chunks().take(Array.from_numpy(at))
            picked[name] = found.cast(DataType.utf8()) if kind == "string" else found
    return Table.from_pydict(picked)


def write(path: Path, table: Table) -> None:
    write_parquet(table, path, compression="snappy")

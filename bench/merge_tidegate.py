"""Tidegate in `merge.py`: the job itself, from the manifest to the receipt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from merge_systems import BESIDE, DELTA, System

PROPERTIES = {**DELTA, "spark.scheduler.mode": "FAIR"}


def write_order(
    control: Path,
    table: str,
    number: int,
    files: Sequence[Path],
    *,
    target: str,
    columns: Mapping[str, str],
    merge: Mapping[str, Any],
    landed: str | None = None,
) -> dict[str, Any]:
    """Write a batch's manifest, as plan_run would; returns its entry for a work file. Files may be below `landed`."""
    entries = [
        {
            "index": index,
            "bucket": "bench",
            "key": path.name,
            "version_id": None,
            "sequencer": f"{number:x}".rjust(40, "0"),
            "etag": "",
            "size_bytes": path.stat().st_size,
            "event_time": f"2026-01-01T00:{number // 60:02d}:{number % 60:02d}.000Z",
            "captures": {},
        }
        for index, path in enumerate(files)
    ]
    manifest = json.dumps(
        {
            "schema": 1,
            "table": table,
            "batch": number,
            "predecessor": number - 1 or None,
            "app_id": f"tidegate:{table}:1",
            "target": target,
            "contract": {
                "table": table,
                "format": {"type": "parquet", "options": {}},
                "columns": [{"name": name, "type": kind} for name, kind in columns.items()],
                "captures": [],
                "merge": merge,
                "partition_by": [],
                "evolution": "strict",
                "maintenance": {"optimize": "auto", "vacuum_s": None},
            },
            "files": entries,
        }
    ).encode()
    folder = control / table / str(number)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_bytes(manifest)
    return {
        "table": table,
        "batch": number,
        "manifest_uri": (folder / "manifest.json").as_uri(),
        "manifest_sha256": hashlib.sha256(manifest).hexdigest(),
        "fence": 1,
        "locations": {
            str(index): f"{landed}/{path.name}" if landed else path.as_uri() for index, path in enumerate(files)
        },
        "receipt_uri": (folder / "receipt.json").as_uri(),
    }


def run_orders(spark: Any, control: Path, orders: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One application for all of them; their receipts. Raises RuntimeError if one failed."""
    from tidegate_spark.job import run  # noqa: PLC0415 - needs Spark

    work = control / f"work-{orders[0]['table']}-{orders[0]['batch']}.json"
    work.write_text(json.dumps({"schema": 1, "run_id": "bench", "pass": 0, "group": "g0", "batches": orders}))
    run(spark, work.as_uri())
    receipts = [json.loads(Path(order["receipt_uri"].removeprefix("file://")).read_bytes()) for order in orders]
    for receipt in receipts:
        if receipt["outcome"] != "merged":
            raise RuntimeError(receipt["error"])
    return receipts


class Tidegate(System):
    """Reading, checking, the total order, the commit, the receipt, and what maintenance the table needs behind it."""

    properties: Mapping[str, str] = PROPERTIES
    strategy = "upsert"
    periods: Mapping[str, str] = MappingProxyType({})

    def _merge(self, number: int, files: Sequence[Path]) -> dict[str, Any]:
        control = self.folder / "control"
        keyed = {"keys": list(self.work.keys), "sequence_by": self.work.sequence}
        order = write_order(
            control,
            "t",
            number,
            files,
            target=self.uri,
            columns=self.work.columns,
            merge={"strategy": self.strategy, **keyed, **self.periods},
        )
        return run_orders(self.spark, control, [order])[0]

    def load(self) -> None:
        self._merge(1, self.work.target)

    def merge(self, number: int) -> str:
        receipt = self._merge(number + 1, [self.work.batch(number)])
        return f"{receipt['plan']} {receipt['seconds']}"

    def compact(self) -> None:
        """Behind each batch, when it is due: among the seconds of the merge."""

    def frame(self) -> Any:
        return self.spark.read.format("delta").load(self.uri)


class TidegateHistory(Tidegate):
    """The same, keeping every change."""

    strategy = "scd2"


class TidegateTimes(Tidegate):
    """The same in valid and known time; of a row of `merge_data` nearly all have b < a."""

    strategy = "bitemporal"
    periods = MappingProxyType({"valid_from": "b", "valid_to": "a"})


HISTORIES: Mapping[str, type[System]] = {"Tidegate, scd2": TidegateHistory, "Tidegate, bitemporal": TidegateTimes}
"""Their tables have more rows than the others'."""
SYSTEMS: Mapping[str, type[System]] = {"Tidegate": Tidegate, **BESIDE, **HISTORIES}

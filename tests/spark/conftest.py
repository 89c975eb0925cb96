"""One Spark session for all of these tests, and what it takes to make a batch by hand.

Everything is real but S3: files and tables are on `file://`, below the test's own folder.
"""

from __future__ import annotations

import csv
import gc
import gzip
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from sparks import MARKS, java_home, shared_session, spark_properties


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs Spark."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            for mark in MARKS:
                item.add_marker(mark)


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    with shared_session(tmp_path_factory) as session:
        yield session


@pytest.fixture(scope="module", autouse=True)
def _no_socket_left() -> Iterator[None]:
    """What PySpark leaves to the garbage collection is collected here, where its warning is expected."""
    yield
    gc.collect()


@dataclass
class Lake:
    """A landing zone, a control zone and tables in one folder; makes batches as plan_run would."""

    folder: Path
    spark: SparkSession
    contracts: dict[str, dict[str, Any]] = field(default_factory=dict)
    landed: int = 0

    def contract(self, table: str, columns: Mapping[str, str], **more: Any) -> dict[str, Any]:
        """A compiled contract with what the job reads of it; kept, so that `batch` knows it."""
        merge = {"strategy": "upsert", "keys": ["id"], "sequence_by": None, **more.pop("merge", {})}
        made = {
            "table": table,
            "format": {"type": more.pop("format", "csv"), "options": more.pop("options", {})},
            "columns": [{"name": name, "type": type_name} for name, type_name in columns.items()],
            "captures": more.pop("captures", []),
            "merge": merge,
            "partition_by": more.pop("partition_by", []),
            "evolution": "strict",
        }
        made |= more
        self.contracts[table] = made
        return made

    def land(self, content: str | bytes | Callable[[Path], None], name: str = "a.csv", **entry: Any) -> dict[str, Any]:
        """Put a file; its entry for a manifest. Later files are newer unless `event_time` says so."""
        self.landed += 1
        path = self.folder / "landing" / f"{self.landed:06d}" / name
        path.parent.mkdir(parents=True)
        if callable(content):
            content(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return {
            "bucket": "landing",
            "key": name,
            "version_id": None,
            "sequencer": f"{self.landed:x}".rjust(40, "0"),
            "etag": hashlib.md5(path.read_bytes()).hexdigest(),
            "size_bytes": path.stat().st_size,
            "event_time": f"2026-01-01T00:{self.landed // 60:02d}:{self.landed % 60:02d}.000Z",
            "captures": {},
            "location": path.as_uri(),
            **entry,
        }

    def batch(self, table: str, number: int, files: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
        """Write a manifest; returns its entry for a work file."""
        ordered = sorted(files, key=lambda f: (f["event_time"], f["bucket"], f["key"], f["sequencer"]))
        entries = [{"index": index, **file} for index, file in enumerate(ordered)]
        manifest = {
            "schema": 1,
            "table": table,
            "batch": number,
            "predecessor": more.get("predecessor", number - 1 or None),
            "app_id": more.get("app_id", f"tidegate:{table}:1"),
            "target": more.get("target", self.target(table)),
            "contract": self.contracts[table],
            "files": [{k: v for k, v in entry.items() if k != "location"} for entry in entries],
        }
        raw = json.dumps(manifest).encode()
        path = self.folder / "control" / "batches" / table / f"{number:012d}" / f"{hashlib.md5(raw).hexdigest()}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
        return {
            "table": table,
            "batch": number,
            "manifest_uri": path.as_uri(),
            "manifest_sha256": hashlib.sha256(raw).hexdigest(),
            "fence": 1,
            "locations": {str(entry["index"]): entry["location"] for entry in entries},
        }

    def run(self, *batches: Mapping[str, Any], run_id: str = "run-1") -> tuple[int, list[dict[str, Any]]]:
        """Run the job on these batches; its exit code, and a receipt for each."""
        from tidegate_spark.job import run

        work = self.work(*batches, run_id=run_id)
        code = run(self.spark, work.as_uri())
        return code, [json.loads(path.read_bytes()) for path in self.receipts(work)]

    def work(self, *batches: Mapping[str, Any], run_id: str = "run-1") -> Path:
        """A work file."""
        pass_number = len(list((self.folder / "control").glob(f"runs/{run_id}/*")))
        entries = [
            {
                "receipt_uri": (
                    self.folder
                    / "control"
                    / "receipts"
                    / batch["table"]
                    / f"{batch['batch']:012d}"
                    / f"{run_id}-{pass_number}.json"
                ).as_uri(),
                **batch,
            }
            for batch in batches
        ]
        document = {"schema": 1, "run_id": run_id, "pass": pass_number, "group": "g0", "batches": entries}
        path = self.folder / "control" / "runs" / run_id / str(pass_number) / "g0.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(document))
        return path

    @staticmethod
    def receipts(work: Path) -> list[Path]:
        """Where the receipts of a work file are, in the order of its batches."""
        batches = json.loads(work.read_bytes())["batches"]
        return [Path(batch["receipt_uri"].removeprefix("file://")) for batch in batches]

    def changes(self, batch: Mapping[str, Any]) -> Any:
        """What the job reads of a batch, without a table."""
        from tidegate_spark.changes import read_changes
        from tidegate_spark.job import _session_of
        from tidegate_spark.logs import Log
        from tidegate_spark.storage import Storage
        from tidegate_spark.types import with_canonical_types
        from tidegate_spark.work import parse_manifest, parse_work

        work = self.work(batch, run_id=f"look-{batch['table']}-{batch['batch']}")
        [order] = parse_work(work.read_bytes(), "work").orders
        manifest = parse_manifest(Path(order.manifest_uri.removeprefix("file://")).read_bytes(), order)
        manifest = replace(manifest, contract=with_canonical_types(manifest.contract))
        session = _session_of(self.spark, batch["table"])
        return read_changes(session, Storage(session), manifest, Log())

    def target(self, table: str) -> str:
        return (self.folder / "lake" / table).as_uri()

    def read(self, table: str) -> DataFrame:
        return self.spark.read.format("delta").load(self.target(table))

    def quarantine(self, table: str) -> dict[str, list[tuple[Any, ...]]]:
        """What the quarantine table says, by file: row, check, reason and raw text, in the order of rows."""
        frame = self.spark.read.format("delta").load(self.target(table) + "__quarantine").orderBy("source", "row")
        found: dict[str, list[tuple[Any, ...]]] = {}
        for row in frame.collect():
            name = row["source"].removeprefix("landing/")
            found.setdefault(name, []).append((row["row"], row["check"], row["reason"], row["raw"]))
        return found

    def has_quarantine(self, table: str) -> bool:
        return Path(self.target(table).removeprefix("file://") + "__quarantine").exists()

    def rows(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        """The table's rows as sorted tuples; all but `_tidegate` if no columns are named."""
        frame = self.read(table)
        picked = columns or tuple(name for name in frame.columns if name != "_tidegate")
        return sorted((tuple(row) for row in frame.select(*picked).collect()), key=repr)

    def utc(self, column: str) -> Any:
        """A timestamp column as the UTC wall clock, whatever the machine's zone."""
        from pyspark.sql import functions as sf

        zone = self.spark.conf.get("spark.sql.session.timeZone")
        return sf.to_utc_timestamp(column, zone).cast("timestamp_ntz")

    def count_jobs(self, action: Callable[[], Any]) -> int:
        """How many Spark jobs `action` takes."""
        tracker = self.spark.sparkContext._jsc.sc().dagScheduler()
        before = tracker.nextJobId()
        action()
        return int(tracker.nextJobId() - before)

    def versions(self, table: str) -> int:
        """The newest version of the table, by its log's files."""
        log = Path(self.target(table).removeprefix("file://")) / "_delta_log"
        return max(int(path.stem) for path in log.glob("*.json"))

    @staticmethod
    def csv(*rows: Sequence[Any], **options: Any) -> str:
        """Rows as CSV, the first being the header."""
        out = io.StringIO()
        csv.writer(out, lineterminator="\n", **options).writerows(rows)
        return out.getvalue()

    @staticmethod
    def gzipped(text: str) -> bytes:
        return gzip.compress(text.encode(), mtime=0)

    @staticmethod
    def reasons(receipt: Mapping[str, Any]) -> dict[str, str]:
        """Why files were rejected, by key."""
        return {entry["key"]: entry["reason"] for entry in receipt["files"]["rejected"]}


@pytest.fixture
def lake(tmp_path: Path, spark: SparkSession) -> Lake:
    return Lake(tmp_path, spark)


@pytest.fixture
def spark_settings() -> Callable[[Path], tuple[dict[str, str], str]]:
    """For a Spark of one's own below a folder: its properties, and JAVA_HOME."""

    def settings(folder: Path) -> tuple[dict[str, str], str]:
        folder.mkdir(parents=True)
        return spark_properties(folder), java_home()

    return settings

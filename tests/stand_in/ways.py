"""Ways to run a step: the job with Spark and Delta, and what takes its place without them; and batches for both."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

Json = dict[str, Any]
TABLE = "sales"


class Ways(Protocol):
    """How a step is run, and where its files are."""

    control: str
    landing: str
    lake: str
    bad: str
    """A file that fails its batch for its data."""
    broken: str
    """A file that is rejected."""

    def write(self, uri: str, content: bytes) -> None: ...

    def read(self, uri: str) -> bytes | None: ...

    def delete(self, uri: str) -> None: ...

    def step(self, work_uri: str) -> int: ...

    def commits(self, target: str) -> list[Json]:
        """The commits of batches: version, batch, void, manifest_sha256, run_id; the oldest first."""


@dataclass
class StandInWays:
    """Objects in S3, as moto has it, and no Spark."""

    s3: Any
    control: str = "s3://control"
    landing: str = "s3://landing"
    lake: str = "s3://lake"
    bad: str = "POISON"
    broken: str = "REJECT"

    def write(self, uri: str, content: bytes) -> None:
        self.s3.put_object(**_place(uri), Body=content)

    def read(self, uri: str) -> bytes | None:
        try:
            return bytes(self.s3.get_object(**_place(uri))["Body"].read())
        except self.s3.exceptions.NoSuchKey:
            return None

    def delete(self, uri: str) -> None:
        self.s3.delete_object(**_place(uri))

    def step(self, work_uri: str) -> int:
        from tidegate_local import stand_in

        return stand_in.run(work_uri, self.s3)

    def commits(self, target: str) -> list[Json]:
        from tidegate_local import stand_in

        return [
            {name: entry[name] for name in ("version", "batch", "void", "manifest_sha256", "run_id")}
            for entry in stand_in.commits(self.s3, target)
        ]


@dataclass
class SparkWays:
    """Files in a folder, and the real job."""

    session: Any
    folder: Path
    # A folder's name for each value: one that no file system takes.
    bad: str = "id,name\n1," + "x" * 3000 + "\n"
    broken: str = "id\n1\n"
    control: str = field(init=False)
    landing: str = field(init=False)
    lake: str = field(init=False)

    def __post_init__(self) -> None:
        self.control, self.landing, self.lake = (
            (self.folder / name).as_uri() for name in ("control", "landing", "lake")
        )

    def write(self, uri: str, content: bytes) -> None:
        path = _path(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def read(self, uri: str) -> bytes | None:
        return _path(uri).read_bytes() if _path(uri).exists() else None

    def delete(self, uri: str) -> None:
        _path(uri).unlink()

    def step(self, work_uri: str) -> int:
        from tidegate_spark.job import run

        return run(self.session, work_uri)

    def commits(self, target: str) -> list[Json]:
        from tidegate_spark.commit import parse_commit

        log = sorted((_path(target) / "_delta_log").glob("*.json"))
        found = [parse_commit(int(path.stem), path.read_bytes()) for path in log]
        return [
            {
                "version": commit.version,
                "batch": batch,
                "void": commit.told.get("void", False),
                "manifest_sha256": commit.told["manifest_sha256"],
                "run_id": commit.told["run_id"],
            }
            for commit in found
            for batch in commit.batches.values()
        ]


@dataclass
class Steps:
    """Plans batches of one table and runs their steps, as a run does."""

    ways: Ways
    landed: int = 0
    attempts: int = 0

    @property
    def target(self) -> str:
        return f"{self.ways.lake}/{TABLE}"

    def land(self, content: str | None = None) -> Json:
        """A file, staged: its entry for a manifest, and where it is. By default one good row of its own."""
        self.landed += 1
        content = content if content is not None else f"id,name\n{self.landed},ann\n"
        uri = f"{self.ways.landing}/staged/{self.landed:04d}.csv"
        self.ways.write(uri, content.encode())
        return {
            "bucket": "landing",
            "key": f"{self.landed:04d}.csv",
            "version_id": f"v{self.landed}",
            "sequencer": f"{self.landed:x}",
            "etag": hashlib.md5(content.encode()).hexdigest(),
            "size_bytes": len(content),
            "event_time": f"2026-01-01T00:00:{self.landed:02d}Z",
            "captures": {},
            "location": uri,
        }

    def batch(self, number: int, *files: Json, **more: Any) -> Json:
        """A batch as a work file has it; by default of one good file."""
        entries = [{"index": index, **file} for index, file in enumerate(files or [self.land()])]
        manifest = {
            "schema": 1,
            "table": TABLE,
            "batch": number,
            "predecessor": more.pop("predecessor", number - 1 or None),
            "app_id": f"tidegate:{TABLE}:1",
            "target": self.target,
            "contract": {
                "table": TABLE,
                "format": {"type": "csv", "options": {}},
                "columns": [{"name": "id", "type": "int"}, {"name": "name", "type": "string"}],
                "captures": [],
                "merge": {"strategy": "upsert", "keys": ["id"], "sequence_by": None},
                "partition_by": ["name"],
            },
            "files": [{name: value for name, value in entry.items() if name != "location"} for entry in entries],
        }
        raw = json.dumps(manifest).encode()
        uri = f"{self.ways.control}/batches/{TABLE}/{number:012d}/{hashlib.md5(raw).hexdigest()}.json"
        self.ways.write(uri, raw)
        return {
            "table": TABLE,
            "batch": number,
            "manifest_uri": uri,
            "manifest_sha256": hashlib.sha256(raw).hexdigest(),
            "fence": 7,
            "locations": {str(entry["index"]): entry["location"] for entry in entries},
            **more,
        }

    def plan(self, *batches: Json, run_id: str = "run-1") -> tuple[str, list[str]]:
        """A work file, and where its receipts will be."""
        self.attempts += 1
        folder, name = f"{self.ways.control}/receipts/{TABLE}", f"{run_id}-{self.attempts}.json"
        entries = [{**batch, "receipt_uri": f"{folder}/{batch['batch']:012d}/{name}"} for batch in batches]
        uri = f"{self.ways.control}/runs/{run_id}/{self.attempts}/g0.json"
        document = {"schema": 1, "run_id": run_id, "pass": self.attempts, "group": "g0", "batches": entries}
        self.ways.write(uri, json.dumps(document).encode())
        return uri, [entry["receipt_uri"] for entry in entries]

    def run(self, *batches: Json, run_id: str = "run-1") -> tuple[int, list[Json]]:
        """Plan and run; the exit code and the receipts."""
        work_uri, receipt_uris = self.plan(*batches, run_id=run_id)
        code = self.ways.step(work_uri)
        return code, [self.receipt(uri) for uri in receipt_uris]

    def receipt(self, uri: str) -> Json:
        raw = self.ways.read(uri)
        assert raw is not None, f"no receipt at {uri}"
        receipt = json.loads(raw)
        assert isinstance(receipt, dict)
        return receipt

    def committed(self) -> list[tuple[int, str]]:
        """The numbers in the table, each with what became of it."""
        return [(entry["batch"], "voided" if entry["void"] else "merged") for entry in self.ways.commits(self.target)]


def _place(uri: str) -> dict[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": key}


def _path(uri: str) -> Path:
    return Path(uri.removeprefix("file://"))

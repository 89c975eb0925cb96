"""What takes the merge job's place where Spark is too slow: its protocol, without its merges.

For tests and benchmarks alone. It reads the work file, the manifests and the files of a batch as the job does,
and with the job's own code where that needs no Spark: the parsing, the hash, whose turn it is, the story of a
commit, the receipt, the causes. In place of a Delta table it keeps a log,
`<target>/_stand_in_log/<version>.json`, one object a commit, created once: of two drivers that come at the same
time one is refused, as by Delta. What it doesn't show is in `local/README.md`; that job and stand-in answer alike
is held by `tests/stand_in`.

A file that begins with `POISON` fails its batch as bad data does, one that begins with `REJECT` is left out of it.
Rows are the lines of a file, less the header of a CSV.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from tidegate_spark import receipts
from tidegate_spark.commit import Commit
from tidegate_spark.errors import EarlierBatchFailed, JobError, ReadFailed, SourceChanged, TableRefused, cause_of
from tidegate_spark.receipts import Rejection
from tidegate_spark.turn import check_origin, is_committed
from tidegate_spark.work import BatchOrder, Manifest, SourceFile, Work, parse_manifest, parse_work

LOG_FOLDER = "_stand_in_log"
POISON = b"POISON"
REJECT = b"REJECT"
CHECKPOINTS = ("before read", "after read", "before commit", "after commit", "before receipt", "after receipt")
"""Where a step may be killed, in the order in which a batch comes by; a batch that is there already or is to be
voided isn't read."""

_SEARCHED_COMMITS = 1000
_Json = dict[str, Any]


class PoisonFile(JobError):
    """Data that fails its batch, as what no reader expects does."""

    cause = "data"


class CommitRaced(TableRefused):
    """Another driver made a commit at the same time, of another batch."""


@dataclass(frozen=True)
class _Read:
    """What the batch's files have."""

    files: tuple[SourceFile, ...]
    rejected: tuple[Rejection, ...]
    rows_read: int
    bytes: int
    rows_rejected: int = 0
    rows_filtered: int = 0


def _go_on(_checkpoint: str) -> None:
    """Nothing dies here."""


def run(work_uri: str, s3_client: Any, checkpoint: Callable[[str], None] = _go_on) -> int:
    """What a step does with `--work`: 0 if every batch is in its table then, merged or voided; 1 otherwise."""
    return StandIn(s3_client, checkpoint).run(work_uri)


class StandIn:
    """The job without Spark. `checkpoint` is called with each of CHECKPOINTS; what it raises ends the step.

    To die as a killed driver does, let it raise something that is no `Exception`: those go into the receipt.
    """

    def __init__(self, s3_client: Any, checkpoint: Callable[[str], None] = _go_on, *, threads: int = 1):
        self._store = Store(s3_client)
        self._checkpoint = checkpoint
        self._threads = threads
        self._id = f"stand-in-{uuid.uuid4().hex[:12]}"

    def run(self, work_uri: str) -> int:
        """The exit code; the receipts say the rest."""
        try:
            work = parse_work(self._store.read(work_uri), work_uri)
        except Exception as error:  # noqa: BLE001 - without a work file nobody knows where receipts go
            _say("The work file can't be read; nothing was done", error=str(error), work=work_uri)
            return 1
        answers = [self._merge_table(orders, work) for orders in work.by_table().values()]
        return 0 if all(answers) else 1

    def _merge_table(self, orders: Sequence[BatchOrder], work: Work) -> bool:
        failed: int | None = None
        try:
            for order in orders:
                started_at, began = datetime.now(UTC), time.monotonic()
                if failed is not None:
                    part = receipts.failed(order, EarlierBatchFailed.of(order.table, order.batch, failed))
                else:
                    part = self._batch(order, work)
                self._answer(part, order, work, started_at, time.monotonic() - began)
                if part["outcome"] == "failed" and failed is None:
                    failed = order.batch
        except Exception as error:  # noqa: BLE001 - the last resort; no receipt means unknown
            _say("The table's batches could not be answered for", table=orders[0].table, error=str(error))
            return False
        return failed is None

    def _batch(self, order: BatchOrder, work: Work) -> _Json:
        try:
            manifest = parse_manifest(self._store.read(order.manifest_uri), order)
            columns = [{"name": column.name, "type": column.type} for column in manifest.contract.columns]
            return self._merge(order, work, manifest) | {"columns": columns}
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs into the receipt
            part = receipts.failed(order, error)
            _say("The batch failed", table=order.table, batch=order.batch, error=str(error), cause=cause_of(error))
            return part

    def _answer(self, part: _Json, order: BatchOrder, work: Work, started_at: datetime, seconds: float) -> None:
        receipt = receipts.complete(
            part, order=order, work=work, application_id=self._id, started_at=started_at, seconds={"merge": seconds}
        )
        self._checkpoint("before receipt")
        receipts.write(self._store, order.receipt_uri, receipt)
        self._checkpoint("after receipt")

    def _merge(self, order: BatchOrder, work: Work, manifest: Manifest) -> _Json:
        log = _Log(self._store, manifest)
        newest = log.newest()
        last = newest.batches.get(manifest.app_id) if newest is not None else None
        if is_committed(last, manifest, log.uri):
            return receipts.committed(manifest, log.commit_of_batch(), replayed=True)
        if order.action == "void":
            merged = _Read((), (), 0, 0)
            rows_before = _rows(newest)
            story = receipts.told_void(
                manifest, order=order, work=work, plan="Void the batch.", table_rows_before=rows_before
            )
        else:
            self._checkpoint("before read")
            merged = self._read(manifest)
            self._checkpoint("after read")
            story = receipts.told(
                manifest,
                merged,
                order=order,
                work=work,
                plan=f"List {len(merged.files)} files.",
                table_rows_before=_rows(newest),
            )
        self._checkpoint("before commit")
        commit = log.commit(newest, merged, story)
        self._checkpoint("after commit")
        return receipts.committed(manifest, commit, replayed=not receipts.is_signed_by(commit, work))

    def _read(self, manifest: Manifest) -> _Read:
        if self._threads == 1:
            contents = [self._store.source(file) for file in manifest.files]
        else:
            with ThreadPoolExecutor(self._threads) as pool:
                contents = list(pool.map(self._store.source, manifest.files))
        good: list[SourceFile] = []
        rejected: list[Rejection] = []
        rows = 0
        for file, content in zip(manifest.files, contents, strict=True):
            if content.startswith(POISON):
                raise PoisonFile(f"{file.source} can't be merged: it is poison.", file=file.key)
            if content.startswith(REJECT):
                rejected.append(Rejection(file, "it says so itself"))
                continue
            good.append(file)
            rows += _lines(content) - (manifest.contract.format == "csv")
        return _Read(tuple(good), tuple(rejected), rows, sum(file.size_bytes for file in good))


class _Log:
    """The commits of one table."""

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self.uri = manifest.target
        self._store = store
        self._manifest = manifest

    def newest(self) -> Commit | None:
        version = self._newest_version()
        return self._at(version) if version else None

    def commit(self, newest: Commit | None, merged: _Read, story: _Json) -> Commit:
        """Make it, unless another driver was faster; then its commit of the batch's number, if it has that."""
        version = (newest.version if newest is not None else 0) + 1
        entry = {
            "version": version,
            "app_id": self._manifest.app_id,
            "table": self._manifest.table,
            "batch": self._manifest.batch,
            "manifest_sha256": self._manifest.sha256,
            "run_id": story["run_id"],
            "pass": story["pass"],
            "fence": story["fence"],
            "void": story.get("void", False),
            "files": [
                {name: value for name, value in asdict(file).items() if name in _LISTED} for file in merged.files
            ],
            "told": story,
            "metrics": {"numTargetRowsInserted": merged.rows_read},
        }
        if self._store.create(self._uri_of(version), json.dumps(entry).encode()):
            return _commit(entry)
        for later in range(version, self._newest_version() + 1):
            commit = self._at(later)
            if commit.batches.get(self._manifest.app_id) == self._manifest.batch:
                check_origin(commit, self._manifest, self.uri)
                return commit
        raise CommitRaced(f"Another driver wrote version {version} of {self.uri}. Nothing was written.")

    def commit_of_batch(self) -> Commit:
        newest = self._newest_version()
        for version in range(newest, max(0, newest - _SEARCHED_COMMITS), -1):
            commit = self._at(version)
            if commit.batches.get(self._manifest.app_id) == self._manifest.batch:
                check_origin(commit, self._manifest, self.uri)
                return commit
        raise TableRefused(f"{self.uri} has no commit of batch {self._manifest.batch} any more.")

    def _newest_version(self) -> int:
        return max(self._store.versions(f"{self.uri}/{LOG_FOLDER}/"), default=0)

    def _at(self, version: int) -> Commit:
        return _commit(json.loads(self._store.read(self._uri_of(version))))

    def _uri_of(self, version: int) -> str:
        return f"{self.uri}/{LOG_FOLDER}/{version:020d}.json"


_LISTED = frozenset({"bucket", "key", "version_id", "sequencer"})


def commits(s3_client: Any, target: str) -> list[_Json]:
    """The log of a table at `target`, the oldest commit first: for tests to look at."""
    store = Store(s3_client)
    folder = f"{target.rstrip('/')}/{LOG_FOLDER}/"
    return [json.loads(store.read(f"{folder}{version:020d}.json")) for version in sorted(store.versions(folder))]


class Store:
    """Objects by URI, with errors as the job's own storage has them."""

    def __init__(self, s3_client: Any) -> None:
        self._s3 = s3_client

    def read(self, uri: str) -> bytes:
        return self._get(uri)[0]

    def create(self, uri: str, content: bytes) -> bool:
        """False if the object is there already; it is left alone."""
        from botocore.exceptions import ClientError  # noqa: PLC0415 - half a second that a look at this need not wait

        try:
            self._s3.put_object(**_place(uri), Body=content, IfNoneMatch="*")
        except ClientError as refused:
            if refused.response["Error"]["Code"] == "PreconditionFailed":
                return False
            raise OSError(f"{uri}: {refused}") from refused
        return True

    def source(self, file: SourceFile) -> bytes:
        """The pinned bytes of a landed file. Raises SourceChanged, ReadFailed, as the job does."""
        try:
            content, etag = self._get(file.uri)
        except FileNotFoundError as gone:
            if file.in_place:
                raise SourceChanged(f"{file.source} is gone ({gone}).", file=file.key) from gone
            raise ReadFailed(f"The staged copy of {file.source} is gone: {file.uri}", file=file.key) from gone
        if file.in_place and file.etag and etag != file.etag:
            raise SourceChanged(
                f"{file.source} was overwritten after its batch was made: its ETag is {etag}, the manifest pins "
                f"{file.etag}.",
                file=file.key,
            )
        return content

    def versions(self, folder: str) -> Iterable[int]:
        """The numbers that name the objects of a folder."""
        place = _place(folder)
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=place["Bucket"], Prefix=place["Key"])
        for page in pages:
            for entry in page.get("Contents", ()):
                with suppress(ValueError):
                    yield int(entry["Key"].rsplit("/", 1)[1].removesuffix(".json"))

    def _get(self, uri: str) -> tuple[bytes, str]:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

        try:
            found = self._s3.get_object(**_place(uri))
            return bytes(found["Body"].read()), str(found["ETag"]).strip('"')
        except ClientError as failed:
            if failed.response["Error"]["Code"] in {"NoSuchKey", "404"}:
                raise FileNotFoundError(f"{uri}: {failed}") from failed
            raise OSError(f"{uri}: {failed}") from failed
        except BotoCoreError as failed:
            raise OSError(f"{uri}: {failed}") from failed


def _commit(entry: _Json) -> Commit:
    return Commit(entry["version"], {entry["app_id"]: entry["batch"]}, entry["told"], entry["metrics"])


def _rows(newest: Commit | None) -> int | None:
    return 0 if newest is None else newest.table_rows


def _lines(content: bytes) -> int:
    return sum(1 for line in content.splitlines() if line.strip())


def _place(uri: str) -> dict[str, str]:
    bucket, _, key = uri.split("://", 1)[1].partition("/")
    return {"Bucket": bucket, "Key": key}


def _say(message: str, **fields: Any) -> None:
    sys.stdout.write(json.dumps({"service": "stand_in", "message": message, **fields}) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """As a step of the local EMR: `--work` is all that counts; the other arguments are for spark-submit."""
    import boto3  # noqa: PLC0415

    parser = argparse.ArgumentParser(prog="tidegate_local.stand_in", allow_abbrev=False)
    parser.add_argument("--work", required=True)
    known, _ = parser.parse_known_args(arguments)
    return StandIn(boto3.client("s3"), threads=8).run(known.work)


if __name__ == "__main__":
    sys.exit(main())

"""What rebuilds the ledger in memory, and a Delta log for it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from tidegate.arrivals import Arrival
from tidegate.batches import sha256_of
from tidegate.ports import Batch, Head, Table
from tidegate.rebuild import TableLog

from fakes.ledger import FakeLedger
from fakes.objects import FakeObjects


class FakeRepair:
    """Keeps to `tidegate.usecases.rebuild_ledger.LedgerRepair`."""

    def __init__(self, ledger: FakeLedger) -> None:
        self._ledger = ledger

    def arrivals(self) -> Iterator[Arrival]:
        yield from list(self._ledger.arrivals.values())

    def put_arrival(self, arrival: Arrival, now: datetime) -> None:
        self._ledger.arrivals[arrival.bucket, arrival.key, arrival.sequencer] = arrival

    def raise_head(self, arrival: Arrival) -> None:
        head = self._ledger.head(arrival.bucket, arrival.key)
        if head is None or head.sequencer < arrival.sequencer:
            self._ledger.head_items[arrival.bucket, arrival.key] = Head(
                arrival.sequencer, arrival.version_id, arrival.etag, arrival.event_time
            )

    def put_batch(self, batch: Batch, now: datetime) -> None:
        self._ledger.batch_items[batch.table, batch.number] = batch

    def put_table(self, table: Table, fence: int, delta_version: int | None, table_rows: int | None) -> None:
        known = self._ledger.table(table.name)
        self._ledger.table_items[table.name] = replace(
            table,
            paused_reason=known.paused_reason,
            unannounced=known.unannounced,
            unregistered_batch=known.unregistered_batch,
            catalogued=known.catalogued,
        )
        self._ledger.fences[table.name] = max(fence, self._ledger.fences.get(table.name, 0))
        self._ledger.last_attempt.pop(table.name, None)


class FakeLogs:
    """Keeps to `tidegate.usecases.rebuild_ledger.TableLogs`, by what a stand-in for the job has committed."""

    def __init__(self, delta: dict[str, list[tuple[int, str]]], objects: FakeObjects) -> None:
        self._delta, self._objects = delta, objects

    def log(self, table: str, app_id: str) -> TableLog | None:
        commits = self._delta.get(table)
        if not commits:
            return None
        told = {}
        for version, (batch, action) in enumerate(commits, start=1):
            manifest = self._objects.read(f"s3://control/batches/{table}/{batch:012d}/manifest.json") or b""
            told[batch] = (version, {"manifest_sha256": sha256_of(manifest), "void": action == "void"})
        return TableLog(commits[-1][0], len(commits), told)

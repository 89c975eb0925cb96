"""Settle batches by their receipts, which are believed rather than the states of steps."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tidegate.batches import candidates_document, half_lists, units_of
from tidegate.failures import decide_retry
from tidegate.history import MergeSample
from tidegate.ports import Batch, Clusters, Ledger, Objects
from tidegate.prices import PriceSheet
from tidegate.receipts import Merged, NotMerged, Voided, judge_receipts, receipt_uri
from tidegate.run_size import units_of_batch
from tidegate.runs import Run, outcome_of, sentence_for
from tidegate.usecases.publish_tables import Publishing, PublishPorts, publish_tables

Entry = dict[str, Any]

KEPT_IN_SUMMARY = 200
"""Batches that a summary names; the ledger has all."""


@dataclass(frozen=True)
class SettlePorts:
    """What settling needs from outside."""

    ledger: Ledger
    objects: Objects
    clusters: Clusters
    stack: str
    control_bucket: str
    publishing: Publishing
    load_prices: Callable[[], PriceSheet]
    """Raises NoPriceSheet or InvalidPrices."""


@dataclass
class Settled:
    """What became of a run's batches, an entry each."""

    merged: list[Entry] = field(default_factory=list)
    voided: list[Entry] = field(default_factory=list)
    unsettled: list[Entry] = field(default_factory=list)
    receipts: dict[tuple[str, int], Merged] = field(default_factory=dict, compare=False, repr=False)
    """What has just been read, by table and batch."""


def settle_batches_of(
    run: Run, ports: SettlePorts, now: datetime, only: Collection[tuple[str, int]] | None = None
) -> Settled:
    """Settle the run's batches, or `only` these of them, and tell the world. Doing it twice changes nothing.

    Raises Throttled.
    """
    settled = Settled()
    mine = [each for each in run.batches if only is None or each in only]
    batches = [ports.ledger.batch(table, number) for table, number in mine]
    # Of a whole run nobody knows any more which batches shared an application: each counts as alone in its own.
    group_bytes = sum(batch.size_bytes for batch in batches) if only is not None else None
    for planned in batches:
        batch, table, number = planned, planned.table, planned.number
        if not batch.is_settled or ports.ledger.table(table).unsettled_batch == number:
            batch = _settle(batch, run, settled, ports, now, group_bytes=group_bytes)
        if batch.state == "merged":
            settled.merged.append({
                "table": table, "batch": number, "delta_version": batch.delta_version, "rows": dict(batch.rows or {}),
                "rejected_files": batch.rejected_files, "receipt": batch.receipt_uri,
            })  # fmt: skip
        elif batch.state == "voided":
            settled.voided.append({
                "table": table, "batch": number, "delta_version": batch.delta_version, "files": batch.files,
                "failed_files": int(batch.files == 1), "receipt": batch.receipt_uri,
            })  # fmt: skip
    publish_tables(
        {table for table, _ in mine},
        ports=PublishPorts(ports.ledger, ports.objects, ports.publishing),
        now=now,
        known=settled.receipts,
    )
    return settled


def summary_of(run: Run, settled: Settled) -> dict[str, Any]:
    """What a run did. It stays far below the 256 KB of a state's output, whatever the run was."""

    def some(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return [dict(each) for each in entries[:KEPT_IN_SUMMARY]]

    return {
        "run_id": run.run_id,
        "pass": run.attempt,
        "outcome": outcome_of(settled.unsettled),
        "message": sentence_for(settled.merged, settled.unsettled, settled.voided),
        "merged": some(settled.merged),
        "voided": some(settled.voided),
        "unsettled": [each | {"error": each["error"][:500]} for each in some(settled.unsettled)],
    }


def _settle(
    batch: Batch, run: Run, settled: Settled, ports: SettlePorts, now: datetime, *, group_bytes: int | None
) -> Batch:
    """Settle one batch; as it is then. One that could not be merged is noted in `settled`."""
    verdict = _verdict_on(batch, run, ports)
    if isinstance(verdict, Merged):
        settled.receipts[batch.table, batch.number] = verdict
        _settle_merged(batch, run, verdict, ports, now, group_bytes=group_bytes)
    elif isinstance(verdict, Voided):
        _open_up(batch, run, verdict, ports, now)
    else:
        _settle_failed(batch, run, verdict, ports, now)
        settled.unsettled.append({
            "table": batch.table, "batch": batch.number, "error": verdict.message, "cause": verdict.cause
        })  # fmt: skip
        return batch
    return ports.ledger.batch(batch.table, batch.number)


def _verdict_on(batch: Batch, run: Run, ports: SettlePorts) -> Merged | Voided | NotMerged:
    """By this attempt's receipt alone if that says merged: to list all of them costs as much as twelve reads."""
    mine = receipt_uri(ports.control_bucket, batch.table, batch.number, run.run_id, run.attempt)
    written = ports.objects.read(mine)
    if written is not None:
        own = judge_receipts([(mine, json.loads(written))], batch.manifest_sha256, run_id=run.run_id, pass_=run.attempt)
        if isinstance(own, Merged):
            return own
    receipts = _receipts_of(batch, ports)
    return judge_receipts(receipts, batch.manifest_sha256, run_id=run.run_id, pass_=run.attempt)


def _settle_merged(
    batch: Batch, run: Run, verdict: Merged, ports: SettlePorts, now: datetime, *, group_bytes: int | None
) -> None:
    if verdict.rejected:
        files = _files_of(batch, ports)
        for rejected in verdict.rejected:
            ports.ledger.set_aside(batch.table, files[rejected.index], batch.number, "quarantined", rejected.reason)
    if verdict.took_s is not None:
        # Before it is settled: whoever dies here learns it again, by the same name.
        of_group = batch.size_bytes if group_bytes is None else group_bytes
        units = units_of_batch(run.units, batch.size_bytes, of_group, run.round_bytes)
        took = MergeSample(now, str(batch.number), verdict.took_s, batch.size_bytes, batch.files, units)
        ports.ledger.learn_merge(batch.table, took, now)
    ports.ledger.settle_merged(batch, run.run_id, verdict, now)


def _open_up(batch: Batch, run: Run, verdict: Voided, ports: SettlePorts, now: datetime) -> None:
    """Have the files of a voided batch merged in halves; what can't be parted any more has failed for good."""
    reason = ports.ledger.table(batch.table).void_reason or "its batch was voided; why is in the receipts of the batch"
    files = _files_of(batch, ports)
    folder = f"s3://{ports.control_bucket}/batches/{batch.table}/{batch.number:012d}"
    reopened = []
    for number, candidates in enumerate(half_lists(files, batch.table, batch.number), start=1):
        reopened.append(f"{folder}/half-{number}.json")
        ports.objects.create(reopened[-1], candidates_document(candidates))
    if not reopened:
        for file in files:
            ports.ledger.set_aside(batch.table, file, batch.number, "failed", reason)
    # Last: as long as the table points to the batch, a settling that died half-way is done again.
    ports.ledger.settle_voided(batch, run.run_id, verdict, reopened, now)


def _settle_failed(batch: Batch, run: Run, verdict: NotMerged, ports: SettlePorts, now: datetime) -> None:
    table = ports.ledger.table(batch.table)
    if table.lease is None or table.lease.run_id != run.run_id:
        return  # another run is at the batch, or this one has settled it before: there was no attempt to count
    is_half = batch.opened_from is not None
    units = len(units_of(_files_of(batch, ports))) if is_half else batch.files
    retry = decide_retry(verdict, table.attempts, table.failures, now, units=units, is_half=is_half)
    ports.ledger.settle_failed(batch, f"{run.run_id}-{run.attempt}", verdict.message, retry)


def _files_of(batch: Batch, ports: SettlePorts) -> list[Mapping[str, Any]]:
    files: list[Mapping[str, Any]] = json.loads(ports.objects.read(batch.manifest_uri) or b"{}")["files"]
    return files


def _receipts_of(batch: Batch, ports: SettlePorts) -> list[tuple[str, Mapping[str, Any]]]:
    folder = f"s3://{ports.control_bucket}/receipts/{batch.table}/{batch.number:012d}/"
    receipts = []
    for uri in ports.objects.names(folder):
        written = ports.objects.read(uri)
        if written is not None:
            receipts.append((uri, json.loads(written)))
    return sorted(receipts, key=lambda each: str(each[1].get("started_at", "")))

"""One batch: from its order to its receipt."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from tidegate_spark import quarantine, receipts
from tidegate_spark.changes import Changes, read_changes
from tidegate_spark.commit import Commit, numbered_commit
from tidegate_spark.errors import JobError, TableRefused, summary
from tidegate_spark.fitting import carry_columns
from tidegate_spark.logs import Log
from tidegate_spark.schema import columns_of
from tidegate_spark.side_tables import KINDS
from tidegate_spark.storage import Storage
from tidegate_spark.strategies import plan_merge, plan_void
from tidegate_spark.table import Target, check_predecessor, open_target
from tidegate_spark.types import with_canonical_types
from tidegate_spark.work import BatchOrder, Manifest, Work, parse_manifest


class _Stopwatch:
    """Seconds by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began


def merge_batch(session: SparkSession, storage: Storage, *, order: BatchOrder, work: Work, log: Log) -> dict[str, Any]:
    """Merge or void the batch, as ordered, or find that it is done already, and write its receipt.

    Answers with the receipt; whatever goes wrong is in it. Only a receipt that can't be written raises.
    """
    started_at = datetime.now(UTC)
    watch = _Stopwatch()
    part: dict[str, Any]
    try:
        manifest = parse_manifest(storage.read(order.manifest_uri), order)
        manifest = replace(manifest, contract=with_canonical_types(manifest.contract))
        part = _merge(session, storage, order=order, work=work, manifest=manifest, watch=watch, log=log)
    except Exception as error:  # noqa: BLE001 - whatever it is, it belongs into the receipt
        part = receipts.failed(order, error)
        log.failure("The batch failed", error, cause=part["error"]["cause"], type=part["error"]["type"])
    receipt = receipts.complete(
        part,
        order=order,
        work=work,
        application_id=session.sparkContext.applicationId,
        started_at=started_at,
        seconds=watch.seconds,
    )
    if not receipts.write(storage, order.receipt_uri, receipt):
        log.warning("This attempt has a receipt already; it stays", receipt_uri=order.receipt_uri)
    log.info(
        "Wrote the receipt",
        outcome=receipt["outcome"],
        delta_version=receipt["delta_version"],
        rows=receipt["rows"],
        rejected_files=len(receipt["files"]["rejected"]),
        seconds=receipt["seconds"],
        replayed=receipt["replayed"],
    )
    return receipt


def _merge(
    session: SparkSession,
    storage: Storage,
    *,
    order: BatchOrder,
    work: Work,
    manifest: Manifest,
    watch: _Stopwatch,
    log: Log,
) -> dict[str, Any]:
    with watch.phase("open"):
        target = open_target(session, storage, manifest)
        is_done = check_predecessor(target, manifest)
    if is_done:
        commit = _replayed(target, manifest)
        log.info("The batch is in the table already: its receipt is made again", delta_version=commit.version)
    elif order.action == "void":
        with watch.phase("merge"):
            commit = _commit_void(target, order=order, work=work, manifest=manifest, log=log)
    else:
        with watch.phase("read"):
            changes = read_changes(session, storage, manifest, log)
        try:
            _warn_of(changes.rejected, log)
            with watch.phase("merge"):
                commit = _commit(target, changes, order=order, work=work, manifest=manifest, log=log)
        finally:
            changes.release_kept()
    part = receipts.committed(manifest, commit, replayed=is_done or not receipts.is_signed_by(commit, work))
    # For the catalog. Columns that files brought are the table's, too, whatever batch brought them.
    return {**part, "columns": columns_of(manifest.contract, target.extra)}


def _commit(
    target: Target,
    changes: Changes,
    *,
    order: BatchOrder,
    work: Work,
    manifest: Manifest,
    log: Log,
) -> Commit:
    changes, contract = carry_columns(target, changes, manifest.contract)
    plan = plan_merge(target, changes, contract)
    if plan.rejected:
        changes = changes.without(plan.rejected)
        _warn_of(plan.rejected, log)
    log.info("Merging", plan=plan.sentence)
    quarantined = _quarantine(target, changes, plan.refused, manifest=manifest, log=log)
    story = receipts.told(
        manifest,
        changes,
        order=order,
        work=work,
        plan=plan.sentence,
        table_rows_before=target.rows,
        quarantined=quarantined,
    )
    plan.prepare()
    return _commit_once(target, plan.run, story, manifest=manifest, log=log)


def _warn_of(rejected: Iterable[receipts.Rejection], log: Log) -> None:
    for rejection in rejected:
        log.warning("Rejected a file", file=rejection.file.source, reason=rejection.reason)


def _quarantine(
    target: Target, changes: Changes, refused: DataFrame | None, *, manifest: Manifest, log: Log
) -> receipts.Quarantined:
    """Keep the batch's bad rows beside the table, and take out those that were bad and are fine now."""
    too_late = None if refused is None else quarantine.refused_rows(refused)
    refused_count = 0 if too_late is None else too_late.count()
    bad = changes.bad_rows
    if too_late is not None and refused_count:
        bad = too_late if bad is None else bad.unionByName(too_late)
    quarantine.keep(target, changes, manifest.files, bad)
    told = receipts.Quarantined(
        rows=changes.rows_quarantined + refused_count,
        refused=refused_count,
        shown=quarantine.shown(bad),
        unmet=changes.unmet or {},
    )
    if told.rows:
        log.warning("Quarantined rows", rows=told.rows, first=[asdict(each) for each in told.shown[:3]])
    if missed := {name: count for name, count in told.unmet.items() if count}:
        log.warning("Expectations are not met", rows=missed)
    return told


def _commit_void(target: Target, *, order: BatchOrder, work: Work, manifest: Manifest, log: Log) -> Commit:
    """Use the batch's number up. No file is looked at: they are why the batch is voided."""
    plan = plan_void(target)
    log.info("Voiding", plan=plan.sentence, reason=order.reason)
    story = receipts.told_void(manifest, order=order, work=work, plan=plan.sentence, table_rows_before=target.rows)
    for kind in KINDS:
        if kind == "quarantine":
            # Of files that are merged again, an attempt changes what an earlier batch has said of them.
            target.side(kind).take_back(manifest.batch)
        else:
            target.side(kind).forget(manifest.batch)
    return _commit_once(target, plan.run, story, manifest=manifest, log=log)


def _commit_once(
    target: Target, run: Callable[[], None], story: Mapping[str, Any], *, manifest: Manifest, log: Log
) -> Commit:
    """The commit of the batch's number: this one, or that of another driver which came first.

    Delta skips a number that the table has by then, or fails the commit that it raced with. Either way there is
    one commit of the number, and what it says is the answer.
    """
    try:
        with numbered_commit(target.session, manifest.app_id, manifest.batch, story):
            run()
    except Exception as failed:
        commit = _commit_beside(target, manifest)
        if commit is None:
            raise
        log.warning("The commit failed, yet the table has one of its number", error=summary(failed))
        return commit
    commit = target.commit_of(manifest)
    if commit is None:
        raise JobError(
            f"The merge of batch {manifest.batch} into {target.uri} ended without a commit of its number. "
            "The batch is not merged. Please report this with the step's log."
        )
    return commit


def _commit_beside(target: Target, manifest: Manifest) -> Commit | None:
    """The commit of the batch's number, made by another driver or by a call whose answer was lost."""
    try:
        return target.commit_of(manifest)
    except TableRefused:
        raise
    except Exception:  # noqa: BLE001 - what failed first says more
        return None


def _replayed(target: Target, manifest: Manifest) -> Commit:
    commit = target.commit_of(manifest)
    if commit is None:
        raise TableRefused(
            f"{target.uri} says that it has merged batch {manifest.batch}, but its log has no such commit "
            "(any more), so there is nothing to write a receipt from. Settle this batch by hand."
        )
    return commit

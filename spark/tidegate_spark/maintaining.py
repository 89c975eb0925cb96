"""Carries out what `maintenance` decides, after a table's batches, under the same lease and in the same thread.

The receipts are written by then. Whatever happens here is in a record of its own and fails no batch: each action is
one commit of Delta's, or none, and what is left out is decided on again after the next batch.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as sf

from tidegate_spark.altering import Found, count_leaves, set_properties
from tidegate_spark.errors import summary
from tidegate_spark.features import CLUSTERED_BY, DELETION_VECTORS, features_of
from tidegate_spark.logs import Log
from tidegate_spark.maintenance import (
    SMALL_BYTES,
    TARGET_BYTES,
    Action,
    Facts,
    FileStatistics,
    Kind,
    decide_maintenance,
    wants_statistics,
)
from tidegate_spark.side_tables import KINDS
from tidegate_spark.sources.rows import quoted
from tidegate_spark.storage import Storage
from tidegate_spark.strategies import FORGETS
from tidegate_spark.table import Target, target_of
from tidegate_spark.threads import job_limit
from tidegate_spark.types import with_canonical_types
from tidegate_spark.work import SCHEMA, BatchOrder, Contract, Work, parse_manifest

_DONE_AT = "tidegate.maintained"
"""A table's property: when it was last vacuumed and its tombstones looked through, as JSON."""
_BY_SPARK_ALONE = frozenset({"scd2", "bitemporal", "snapshot"})
"""Strategies whose merges no other engine takes (`engines/choice.py`): their tables gain by vectors when smaller."""
_SETTINGS = {
    "spark.databricks.delta.optimize.minFileSize": str(SMALL_BYTES),
    "spark.databricks.delta.optimize.maxFileSize": str(TARGET_BYTES),
}


@dataclass(frozen=True)
class _Place:
    """One of the tables to maintain: the main one, or one that goes with it."""

    part: str
    uri: str
    target: Target
    contract: Contract
    now: datetime

    @property
    def session(self) -> SparkSession:
        return self.target.session

    @property
    def sql_name(self) -> str:
        return f"delta.{quoted(self.uri)}"


def maintain_after(
    session: SparkSession, storage: Storage, *, order: BatchOrder, work: Work, now: datetime, log: Log
) -> None:
    """Do what the table of `order`, which was merged just now, needs. Nothing gets out of here but what is logged."""
    if not order.maintenance:
        log.info("Left the table's maintenance out: its next batch is due")
        return
    try:
        manifest = parse_manifest(storage.read(order.manifest_uri), order)
        contract = with_canonical_types(manifest.contract)
        target = target_of(session, storage, manifest)
        done = maintain(target, contract, now=now, log=log)
        if done:
            _record(storage, order, work, done, now)
    except Exception as error:  # noqa: BLE001 - the batches are in the table, and their receipts say so
        log.failure("The table's maintenance failed; its batches are merged", error)


def maintain(target: Target, contract: Contract, *, now: datetime, log: Log) -> list[dict[str, Any]]:
    """What was done, or tried, for the table and those that go with it; nothing if nothing was due."""
    deadline = time.monotonic() + contract.maintenance.limit_s
    sides = [(kind, target.side(kind)) for kind in KINDS]
    places = [_Place("table", target.uri, target, contract, now)]
    places += [_Place(kind, side.uri, target, contract, now) for kind, side in sides if side.exists]
    done: list[dict[str, Any]] = []
    for place in places:
        try:
            done.extend(_maintain_place(place, deadline, log))
        except Exception as error:  # noqa: BLE001 - best effort: it is in the record, and the others go on
            log.failure("A table's maintenance failed; its batches are merged", error, part=place.part)
            done.append({"part": place.part, "action": "look", "outcome": "failed", "error": summary(error)})
    return done


def facts_of(place: _Place) -> Facts:
    """What the table's newest snapshot says without a job."""
    snapshot = place.target.snapshot_of(place.uri)
    found = Found(snapshot)
    checksum = snapshot.checksumOpt()
    sums = checksum.get() if checksum.isDefined() else None
    checkpoint = int(snapshot.logSegment().checkpointProvider().version())
    done_at = json.loads(found.properties.get(_DONE_AT) or "{}")
    features = features_of(place.contract, count_leaves(found.schema))
    jvm: Any = place.session._jvm
    retention_ms = jvm.org.apache.spark.sql.delta.DeltaLog.tombstoneRetentionMillis(snapshot.metadata())
    return Facts(
        part=place.part,
        version=int(snapshot.version()),
        checkpoint_version=None if checkpoint < 0 else checkpoint,
        files=None if sums is None else int(sums.numFiles()),
        bytes=None if sums is None else int(sums.tableSizeBytes()),
        deleted_rows=_deleted_rows(sums, found),
        rows=_rows(place, int(snapshot.version())),
        made_at=datetime.fromtimestamp((found.created_at_ms or 0) / 1000, UTC),
        retention_s=int(retention_ms) // 1000,
        is_clustered=bool(found.properties.get(CLUSTERED_BY)),
        has_deletion_vectors=found.properties.get(DELETION_VECTORS) == "true",
        may_have_deletion_vectors=features.may_have_deletion_vectors,
        needs_spark=place.contract.strategy in _BY_SPARK_ALONE,
        keeps_tombstones=place.part == "history" and place.contract.strategy in FORGETS,
        vacuumed_at=_moment(done_at.get("vacuum")),
        tombstones_purged_at=_moment(done_at.get("tombstones")),
    )


def statistics_of(place: _Place) -> FileStatistics:
    """One job over the list of the table's files; no data is read."""
    snapshot = place.target.snapshot_of(place.uri)
    files = DataFrame(snapshot.allFiles().toDF(), place.session)
    is_small = sf.col("size") < SMALL_BYTES
    is_unclustered = sf.col("clusteringProvider").isNull()
    partitions = files.groupBy(sf.to_json("partitionValues").alias("partition")).agg(
        sf.count("*").alias("files"),
        sf.sum("size").alias("bytes"),
        sf.count_if(is_small).alias("small"),
        sf.sum(sf.get_json_object("stats", "$.numRecords").cast("bigint")).alias("rows"),
        sf.sum(sf.coalesce("deletionVector.cardinality", sf.lit(0))).alias("deleted"),
        sf.count_if(is_unclustered).alias("unclustered"),
        sf.sum(sf.when(is_unclustered, sf.col("size"))).alias("unclustered_bytes"),
    )
    has_several = sf.col("small") > 1
    [row] = partitions.agg(
        sf.sum("files").alias("files"),
        sf.sum("bytes").alias("bytes"),
        sf.sum(sf.when(has_several, sf.col("small"))).alias("small_files"),
        sf.count_if(has_several).alias("small_partitions"),
        sf.sum("rows").alias("rows"),
        sf.sum("deleted").alias("deleted_rows"),
        sf.sum("unclustered").alias("unclustered_files"),
        sf.sum("unclustered_bytes").alias("unclustered_bytes"),
    ).collect()
    return FileStatistics(**{name: int(value or 0) for name, value in row.asDict().items()})


def _maintain_place(place: _Place, deadline: float, log: Log) -> list[dict[str, Any]]:
    rules = place.contract.maintenance
    facts = facts_of(place)
    statistics = statistics_of(place) if wants_statistics(facts, rules) else None
    entries: list[dict[str, Any]] = []
    for action in decide_maintenance(facts, statistics, rules, place.now):
        entry = _try(place, action, deadline)
        if entry["outcome"] == "done":
            log.info("Maintained the table", **entry)
        else:
            log.warning("A table's maintenance was not finished; its batches are merged", **entry)
        entries.append(entry)
    done = [str(entry["action"]) for entry in entries if entry["outcome"] == "done"]
    dated = [kind for kind in done if kind in ("vacuum", "tombstones")]
    if dated:
        _remember(place, dated)
    return entries


def _try(place: _Place, action: Action, deadline: float) -> dict[str, Any]:
    """Do it, within the time that is left. An entry of the record."""
    entry: dict[str, Any] = {"part": place.part, "action": action.kind, "reason": action.reason}
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        return {**entry, "outcome": "no_time", "seconds": 0.0}
    began = time.monotonic()
    try:
        with job_limit(place.session, left_s), _settings(place.session):
            numbers = _ACTIONS[action.kind](place, action)
    except Exception as error:  # noqa: BLE001 - best effort: it is in the record, and decided on again next time
        outcome = "stopped" if time.monotonic() >= deadline else "failed"
        entry |= {"outcome": outcome, "error": summary(error)}
    else:
        entry |= {"outcome": "done", **({"numbers": dict(numbers)} if numbers else {})}
    return {**entry, "seconds": round(time.monotonic() - began, 3)}


def _forget_tombstones(place: _Place, _: Action) -> Mapping[str, int]:
    gone = FORGETS[place.contract.strategy](place.target, place.contract, place.now)
    return {"tombstones": gone}


def _optimize(place: _Place, _: Action) -> Mapping[str, int]:
    return _files_of(DeltaTable.forPath(place.session, place.uri).optimize().executeCompaction().collect())


def _purge(place: _Place, _: Action) -> Mapping[str, int]:
    return _files_of(place.session.sql(f"REORG TABLE {place.sql_name} APPLY (PURGE)").collect())


def _use_deletion_vectors(place: _Place, _: Action) -> Mapping[str, int]:
    set_properties(place.session, place.uri, {DELETION_VECTORS: "true"})
    return {}


def _checkpoint(place: _Place, _: Action) -> Mapping[str, int]:
    jvm: Any = place.session._jvm
    log = jvm.org.apache.spark.sql.delta.DeltaLog.forTable(place.session._jsparkSession, place.uri)
    log.checkpoint()
    return {}


def _vacuum(place: _Place, action: Action) -> Mapping[str, int]:
    hours = -(-(action.retention_s or 0) // 3600)
    # Delta's own check stays on: less than the table's own retention is refused there, too.
    place.session.sql(f"VACUUM {place.sql_name} RETAIN {hours} HOURS")
    return {}


_ACTIONS: Mapping[Kind, Callable[[_Place, Action], Mapping[str, int]]] = {
    "tombstones": _forget_tombstones,
    "optimize": _optimize,
    "purge": _purge,
    "deletion_vectors": _use_deletion_vectors,
    "checkpoint": _checkpoint,
    "vacuum": _vacuum,
}


@contextmanager
def _settings(session: SparkSession) -> Iterator[None]:
    try:
        for name, value in _SETTINGS.items():
            session.conf.set(name, value)
        yield
    finally:
        for name in _SETTINGS:
            session.conf.unset(name)


def _files_of(answer: Sequence[Row]) -> Mapping[str, int]:
    metrics = [row["metrics"] for row in answer]
    return {
        "files_removed": sum(each["numFilesRemoved"] for each in metrics),
        "files_added": sum(each["numFilesAdded"] for each in metrics),
    }


def _remember(place: _Place, kinds: Sequence[str]) -> None:
    """A commit a day, in the table itself: whoever maintains it next must know."""
    known = json.loads(Found(place.target.snapshot_of(place.uri)).properties.get(_DONE_AT) or "{}")
    told = {**known, **dict.fromkeys(kinds, place.now.isoformat())}
    set_properties(place.session, place.uri, {_DONE_AT: json.dumps(told, sort_keys=True)})


def _record(storage: Storage, order: BatchOrder, work: Work, done: Sequence[Mapping[str, Any]], now: datetime) -> None:
    """Beside the receipts of the table's batches, never among them: nothing is settled by it."""
    folder, batch, name = order.receipt_uri.rsplit("/", 2)
    record = {
        "schema": SCHEMA,
        "table": order.table,
        "after_batch": order.batch,
        "run_id": work.run_id,
        "pass": work.pass_number,
        "began_at": now.isoformat(),
        "actions": done,
    }
    storage.create(f"{folder}/maintenance/{batch}-{name}", json.dumps(record, ensure_ascii=False, indent=1).encode())


def _deleted_rows(sums: Any, found: Found) -> int | None:
    if not found.knows_deletion_vectors:
        return 0
    known = None if sums is None else sums.numDeletedRecordsOpt()
    return int(known.get()) if known is not None and known.isDefined() else None


def _rows(place: _Place, version: int) -> int | None:
    commit = place.target.commit(version) if place.part == "table" else None
    return None if commit is None else commit.table_rows


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)

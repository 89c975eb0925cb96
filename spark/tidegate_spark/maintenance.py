"""What a table needs done while the cluster is warm: a pure decision from what is known of its files.

A merge leaves small files and deletion vectors to whoever reads the table. Cleaning up costs the bytes that are
rewritten, so it is done when there is enough to clean up, and never on a clock of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from tidegate_spark.work import Maintenance

Kind = Literal["tombstones", "optimize", "purge", "deletion_vectors", "checkpoint", "vacuum"]

TARGET_BYTES = 128 * 1024**2
"""Size of a file that OPTIMIZE writes: large enough to be read fast, small enough to be rewritten by a merge."""
SMALL_BYTES = TARGET_BYTES // 2
"""A file below it is small: two of them make one."""
SMALL_FILES = 16
"""So many small files that could be fewer are worth a rewrite."""
DELETED_SHARE = 0.05
"""Of a table's stored rows: reads are two to four times as slow after a merge with deletion vectors, measured."""
DELETION_VECTORS_FROM_BYTES = 128 * 1024**2
"""Measured: delta-rs rewrites 100 MB in the time that marking rows takes whatever the size (`bench/merge.py`)."""
DELETION_VECTORS_OF_SPARK_FROM_BYTES = 16 * 1024**2
"""Of tables that Spark alone merges: 100,000 changes of a history of 1M rows take 12 s marked, 15 rewritten."""
VERSIONS_WITHOUT_CHECKPOINT = 10
"""Delta makes a checkpoint of every tenth version by itself; other writers than Spark don't always."""
EVERY = timedelta(days=1)
"""How often what has to list all files, or to read all tombstones, is done."""
LEAST_RETENTION_S = 3600
"""Whoever reads a version now is through with it by then."""


@dataclass(frozen=True)
class FileStatistics:
    """What one pass over the list of a table's files says. Sizes in bytes."""

    files: int
    bytes: int
    small_files: int
    """Those that OPTIMIZE could make fewer: another small one is in their partition."""
    small_partitions: int
    """The partitions that they are in: at least so many are left."""
    rows: int
    """As stored, those that deletion vectors hide included."""
    deleted_rows: int
    unclustered_files: int = 0
    unclustered_bytes: int = 0


@dataclass(frozen=True)
class Facts:
    """What is known of a table without a job."""

    part: str
    """`table`, or the kind of a side table."""
    version: int
    checkpoint_version: int | None
    files: int | None
    """None: its last commit doesn't say; the same goes for the bytes."""
    bytes: int | None
    deleted_rows: int | None
    rows: int | None
    """Those that a read gives, if the last commit is a batch's that knew."""
    made_at: datetime
    retention_s: int
    """The table's own: how long its files are kept after no version needs them."""
    is_clustered: bool
    has_deletion_vectors: bool
    """They are switched on."""
    may_have_deletion_vectors: bool
    """All readers read them, and the table's merges would use them."""
    keeps_tombstones: bool
    needs_spark: bool = False
    """Its merges are none of delta-rs's."""
    vacuumed_at: datetime | None = None
    tombstones_purged_at: datetime | None = None


@dataclass(frozen=True)
class Action:
    """One thing to do, and why."""

    kind: Kind
    reason: str
    retention_s: int | None = None
    """For `vacuum`: the age in seconds from which files go."""


def wants_statistics(facts: Facts, rules: Maintenance) -> bool:
    """Is the list of the table's files worth a job?"""
    if rules.optimize == "off":
        return False
    if facts.files is None or facts.bytes is None or facts.deleted_rows is None:
        return True
    packed = -(-facts.bytes // TARGET_BYTES)
    if _outgrew(facts, facts.bytes) or facts.files - packed >= SMALL_FILES:
        return True
    if facts.rows is None:
        return facts.deleted_rows > 0
    return _are_many(facts.deleted_rows, facts.rows + facts.deleted_rows)


def decide_maintenance(
    facts: Facts, statistics: FileStatistics | None, rules: Maintenance, now: datetime
) -> tuple[Action, ...]:
    """What to do, in order. `statistics` is None where `wants_statistics` says that they aren't needed."""
    actions: list[Action] = []
    if facts.keeps_tombstones and _is_due(facts.tombstones_purged_at or facts.made_at, EVERY, now):
        actions.append(Action("tombstones", "those that are older than the contract keeps them are forgotten"))
    if statistics is not None and rules.optimize == "auto":
        actions.extend(_rewrites(facts, statistics))
    behind = facts.version - (facts.checkpoint_version if facts.checkpoint_version is not None else -1)
    if rules.checkpoint == "auto" and behind >= VERSIONS_WITHOUT_CHECKPOINT + (facts.checkpoint_version is None):
        actions.append(Action("checkpoint", f"{behind} versions since the last one: every reader reads them all"))
    vacuum = _vacuum(facts, rules, now)
    if vacuum is not None:
        actions.append(vacuum)
    return tuple(actions)


def _rewrites(facts: Facts, found: FileStatistics) -> list[Action]:
    actions: list[Action] = []
    spare = found.small_files - found.small_partitions
    if facts.is_clustered and (
        found.unclustered_files >= SMALL_FILES or found.unclustered_bytes > max(SMALL_BYTES, found.bytes // 10)
    ):
        actions.append(
            Action(
                "optimize",
                f"{found.unclustered_files} of {found.files} files ({_mib(found.unclustered_bytes)}) are not clustered",
            )
        )
    elif spare >= SMALL_FILES:
        actions.append(
            Action(
                "optimize",
                f"{found.small_files} of {found.files} files are below {_mib(SMALL_BYTES)} and have others beside them",
            )
        )
    if _are_many(found.deleted_rows, found.rows):
        share = f"{100 * found.deleted_rows / found.rows:.0f} %"
        actions.append(
            Action("purge", f"deletion vectors hide {share} of the stored rows, which every read goes through")
        )
    if _outgrew(facts, found.bytes):
        actions.append(
            Action(
                "deletion_vectors",
                f"the table has {_mib(found.bytes)}: from now on a merge marks rows instead of rewriting their files",
            )
        )
    return actions


def _vacuum(facts: Facts, rules: Maintenance, now: datetime) -> Action | None:
    if rules.vacuum_s is None:
        return None
    # Never more than the contract says, nor than the table's own setting, nor what somebody may still be reading.
    retention_s = max(rules.vacuum_s, facts.retention_s, LEAST_RETENTION_S)
    every = min(EVERY, timedelta(seconds=retention_s))
    # Nothing that is younger than that can go, whatever was written.
    since = facts.vacuumed_at or facts.made_at + timedelta(seconds=retention_s) - every
    if not _is_due(since, every, now):
        return None
    whose = "the contract's" if retention_s == rules.vacuum_s else "the table's own setting, longer than the contract's"
    return Action(
        "vacuum",
        f"files that no version of the last {_duration(retention_s)} needs ({whose})",
        retention_s=retention_s,
    )


def _are_many(deleted_rows: int, stored_rows: int) -> bool:
    return stored_rows > 0 and deleted_rows / stored_rows >= DELETED_SHARE


def _outgrew(facts: Facts, size_bytes: int) -> bool:
    least = DELETION_VECTORS_OF_SPARK_FROM_BYTES if facts.needs_spark else DELETION_VECTORS_FROM_BYTES
    return (
        facts.part == "table"
        and facts.may_have_deletion_vectors
        and not facts.has_deletion_vectors
        and size_bytes >= least
    )


def _is_due(since: datetime, every: timedelta, now: datetime) -> bool:
    return now - since >= every


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 1024**2:,.1f} MiB"


def _duration(seconds: int) -> str:
    return f"{seconds / 86400:g} d" if seconds >= 86400 else f"{seconds / 3600:g} h"

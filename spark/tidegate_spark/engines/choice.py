"""Which engine does a keyed merge, and how: decided from what is known before it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Literal

from tidegate_spark.features import CHANGE_DATA_FEED, SYMLINK_MANIFEST, TIMESTAMPS

Engine = Literal["spark", "delta-rs"]
How = Literal["append", "merge", "mark"]
"""`mark`: rows that go are marked in deletion vectors, and no file is rewritten."""

MOST_ROWS = 2_000_000
MOST_CHANGE_BYTES = 256 << 20
"""More changes than that don't go through the driver; so many take Spark's executors longer to start than to merge."""
MOST_TOUCHED_BYTES = 1 << 30
"""Above, many executors are ahead of one machine's cores."""
_MEMORY_A_BYTE = 4
"""Bytes of memory for one of a touched file. Measured: 677 MB for 10M rows in 190 MB of files."""
_SHARE_OF_MEMORY = 4
"""As many tables are merged at once (`tidegate_spark.job`)."""


@dataclass(frozen=True)
class Facts:
    """What is known before a merge. Sizes are of files as they are stored, in bytes."""

    table_rows: int | None
    """None: not known."""
    changes: int
    """Rows that were read: at least as many as there are keys."""
    changes_bytes: int
    refusal: str | None
    """Why delta-rs can't or mustn't write the table; None: it may."""
    marking_refusal: str | None
    """Why no row of the table may be marked; None: they may be."""
    files: int | None = None
    """Of the table; None: its log wasn't read."""
    candidates: int | None = None
    """Files that may have a row of a changed key, by their statistics."""
    candidate_bytes: int | None = None
    free_memory_bytes: int = 0
    """Of the machine on which the driver runs."""


@dataclass(frozen=True)
class Plan:
    """What is done, and why so: the reason goes into the receipt."""

    engine: Engine
    how: How
    reason: str


def choose_plan(facts: Facts) -> Plan:
    """Append where no row can match, mark rows where the table has deletion vectors, merge the rest.

    delta-rs does what one machine does at once, Spark all else.
    """
    how, why = _how(facts)
    if how == "merge" and facts.marking_refusal is None:
        return Plan("spark", "mark", f"{why}; Spark marks the rows that go and appends those that come")
    refusal = facts.refusal or too_many_changes(facts.changes, facts.changes_bytes) or _too_much_touched(facts, how)
    if refusal is None:
        return Plan("delta-rs", how, f"{why}; delta-rs, for it is {_sizes(facts, how)}")
    return Plan("spark", how, f"{why}; Spark, since {refusal}")


def too_many_changes(rows: int, size_bytes: int) -> str | None:
    """Why these changes don't go through the driver; None if they may."""
    if rows > MOST_ROWS:
        return f"{rows} changes are more than the {MOST_ROWS} that go through the driver"
    if size_bytes > MOST_CHANGE_BYTES:
        return f"{_megabytes(size_bytes)} of changes are more than the {_megabytes(MOST_CHANGE_BYTES)} for the driver"
    return None


def _how(facts: Facts) -> tuple[How, str]:
    if facts.table_rows == 0:
        return "append", "the table has no rows yet"
    if facts.candidates == 0:
        return "append", f"none of its {facts.files} files can hold a changed key"
    if facts.candidates is None:
        return "merge", "any file may hold a changed key"
    return "merge", f"{facts.candidates} of its {facts.files} files may hold a changed key"


def _too_much_touched(facts: Facts, how: How) -> str | None:
    if how == "append":
        return None
    if facts.candidate_bytes is None:
        return "the sizes of the table's files are not known"
    fits = min(MOST_TOUCHED_BYTES, facts.free_memory_bytes // (_MEMORY_A_BYTE * _SHARE_OF_MEMORY))
    if facts.candidate_bytes > fits:
        return f"{_megabytes(facts.candidate_bytes)} of files are more than the {_megabytes(fits)} for one machine"
    return None


def _sizes(facts: Facts, how: How) -> str:
    changes = f"{facts.changes} changes"
    return changes if how == "append" else f"{changes} and {_megabytes(facts.candidate_bytes or 0)} of files"


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.0f} MB"


_KEY_TYPES = frozenset({"tinyint", "smallint", "int", "bigint", "date", "string", "boolean", "timestamp"})
_ALLOWED_FEATURES = frozenset({"appendOnly", "invariants", "timestampNtz"})
"""Whatever else a table needs of its writers, Spark knows and delta-rs may not."""
_KEPT_BY_SPARK = {CHANGE_DATA_FEED: "a change data feed", SYMLINK_MANIFEST: "symlink manifests"}
_PLAIN_WRITER = 2
_FEATURES_WRITER = 7
CALENDARS: Mapping[str, date] = {"date": date(1582, 10, 15), "timestamp": datetime(1900, 1, 1, tzinfo=UTC)}
"""By type: values before are read by Spark alone from files that Spark wrote: in others they may be Julian."""
ANCIENT = "the rows have dates before 1582 or timestamps before 1900, which Spark reads from its own files alone"


def refusal_of_nested(columns: Mapping[str, str]) -> str | None:
    """Why nobody can know what times are in here: there are no statistics of nested values."""
    for name, type_name in columns.items():
        if "<" in type_name and ("date" in type_name or "timestamp" in type_name):
            return f"column {name} has times in a {type_name.partition('<')[0]}"
    return None


def refusal_of_types(keys: Mapping[str, str], sequence: str | None) -> str | None:
    """Why delta-rs might compare keys or sequence values otherwise than Spark. Types are Spark's short names."""
    for name, type_name in keys.items():
        if type_name not in _KEY_TYPES and not type_name.startswith("decimal("):
            return f"key {name} is a {type_name}"
    if sequence is not None and sequence not in _KEY_TYPES | {"timestamp_ntz"} and not sequence.startswith("decimal("):
        return f"the sequence is a {sequence}"
    return None


def refusal_of_table(
    *,
    writer: int,
    features: frozenset[str],
    properties: Mapping[str, str],
    has_timestamps: bool,
) -> str | None:
    """Why delta-rs must not write this table: what it asks of its writers. None: it may."""
    if writer not in {1, _PLAIN_WRITER, _FEATURES_WRITER}:
        return f"the table asks for writers of version {writer}"
    if unknown := sorted(features - _ALLOWED_FEATURES):
        return f"the table has {', '.join(unknown)}"
    for name, what in _KEPT_BY_SPARK.items():
        if properties.get(name, "").lower() == "true":
            return f"the table keeps {what}"
    if any(name.startswith("delta.constraints.") for name in properties):
        return "the table has constraints"
    if has_timestamps and properties.get(TIMESTAMPS) != "micros":
        return f"its files may have timestamps as INT96 (property {TIMESTAMPS})"
    return None

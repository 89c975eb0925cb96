"""A keyed merge: one change a key goes into the table in one commit, by the best plan.

Newer changes update, or delete; keys that the table doesn't have are inserted; older changes do nothing. What runs
is decided by `choice` from the table's log and the changes, before anything is written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql import Column, DataFrame

from tidegate_spark.changes import Changes, KeyRange
from tidegate_spark.commit import amend_plan, number_of
from tidegate_spark.engines import choice, marking
from tidegate_spark.engines.choice import Facts, choose_plan
from tidegate_spark.engines.keyed_marking import mark_and_append
from tidegate_spark.engines.keys import MOST_SPANS, FileRange, Span, candidates, within
from tidegate_spark.errors import summary
from tidegate_spark.origin import DELETED, ORIGIN, order_of
from tidegate_spark.sources.rows import quoted
from tidegate_spark.strategies.plan import MergePlan, append
from tidegate_spark.table import Target
from tidegate_spark.work import Contract

if TYPE_CHECKING:
    from arro3.core import Table
    from deltalake import DeltaTable

_PLAIN_NAME = re.compile(r"\w+")
_PACKED = 5
"""Bytes of rows for one of a compressed file, at most, as a rule."""
_PACKED_FORMATS = frozenset({"parquet", "orc", "avro"})
_PACKED_NAMES = (".gz", ".bz2", ".zst", ".snappy", ".lz4", ".xz")


@dataclass(frozen=True)
class KeyedChanges:
    """One change a key, and what is known of them without a look."""

    rows: DataFrame
    """The table's columns, `_tidegate`, and `_tidegate_deleted` if `deletes`."""
    read: int
    """At least as many as there are rows."""
    size_bytes: int
    """As rows, roughly."""
    key_ranges: tuple[KeyRange, ...]
    deletes: bool = False

    @classmethod
    def of(cls, rows: DataFrame, changes: Changes, contract: Contract, *, deletes: bool = False) -> KeyedChanges:
        """The changes of a batch, of which `rows` has the newest of each key."""
        return cls(rows, changes.rows_read, _unpacked_bytes(changes, contract), changes.key_ranges, deletes)


def plan_keyed_merge(target: Target, contract: Contract, changes: KeyedChanges, what: str) -> MergePlan:
    """`what` begins the plan's sentence; how it is done and why follows."""
    look = _Look.at(target, contract, changes)
    plan = choose_plan(look.facts)
    literals = look.literals()
    same_key = [f"target.{quoted(key)} <=> change.{quoted(key)}" for key in contract.keys]
    condition = " AND ".join([*literals, *same_key])
    # As numbers: a boolean column that is never null is one that may be, once MERGE has kept its source, and structs
    # of the two are of different types to Spark.
    deleted = f"CASE WHEN change.{DELETED} THEN 1 ELSE 0 END" if changes.deletes else "0"
    is_newer = f"{order_of('change', contract, deleted=deleted)} > {order_of('target', contract, deleted='0')}"

    def by_spark() -> None:
        if plan.how == "append":
            alive = _alive(changes)
            in_order = is_in_order(changes.read, contract) and not changes.deletes
            order = (*contract.partition_by, *contract.keys)
            # The newest of each key were found by a hash of it, and files of all keys could never be skipped.
            append(target, alive if in_order else marking.in_files(alive, changes.read, order))
            return
        if plan.how == "mark" and marking.is_marked(
            target, lambda: mark_and_append(target, contract, changes, literals)
        ):
            return
        _merge_by_spark(target, changes, _columns(contract), condition, is_newer)

    def by_delta_rs() -> None:
        try:
            look.commit_by_delta_rs(target, how=plan.how, literals=literals)
        except Exception as failed:  # noqa: BLE001 - Spark can do whatever it can, and skips what is committed
            amend_plan(target.session, f"delta-rs did not commit ({summary(failed)}), so Spark did.")
            by_spark()

    skipping = f", looking only where {' and '.join(literals)}" if literals and plan.how != "append" else ""
    return MergePlan(
        "append" if plan.how == "append" else "merge",
        f"{what}{skipping}. {'Append' if plan.how == 'append' else 'Merge'}: {plan.reason}.",
        run=by_delta_rs if plan.engine == "delta-rs" else by_spark,
        condition=condition,
        update_if=is_newer,
        deletes=changes.deletes,
    )


def _merge_by_spark(
    target: Target, changes: KeyedChanges, columns: Sequence[str], condition: str, is_newer: str
) -> None:
    values: dict[str, str | Column] = {quoted(name): f"change.{quoted(name)}" for name in columns}
    merger = target.delta.alias("target").merge(changes.rows.alias("change"), condition)
    if changes.deletes:
        merger = merger.whenMatchedDelete(f"{is_newer} AND change.{DELETED}")
        merger = merger.whenMatchedUpdate(f"{is_newer} AND NOT change.{DELETED}", values)
        merger.whenNotMatchedInsert(f"NOT change.{DELETED}", values).execute()
    else:
        merger.whenMatchedUpdate(is_newer, values).whenNotMatchedInsert(values=values).execute()


def _alive(changes: KeyedChanges) -> DataFrame:
    """What is left to append where nothing can match: a delete of what isn't there is none."""
    return changes.rows.where(f"NOT {DELETED}").drop(DELETED) if changes.deletes else changes.rows


def is_in_order(rows: int, contract: Contract) -> bool:
    """Does an upsert of so many rows sort them by key before it looks for the newest of each?"""
    return rows > choice.MOST_ROWS and not contract.partition_by


def _columns(contract: Contract) -> list[str]:
    return [*(column.name for column in contract.columns), ORIGIN]


@dataclass(frozen=True)
class _Look:
    """What the table's log and the changes say, before the merge."""

    contract: Contract
    facts: Facts
    changed: Mapping[str, Sequence[Span]]
    key_ranges: tuple[KeyRange, ...]
    deletes: bool
    table: DeltaTable | None = None
    rows: Table | None = None

    @classmethod
    def at(cls, target: Target, contract: Contract, changes: KeyedChanges) -> _Look:
        """Reads the log with delta-rs; if it may do the merge, the changes come into the driver."""
        types: dict[str, str] = {column.name: column.type for column in contract.columns}
        keys = {name: types[name] for name in contract.keys}
        table, refusal = _open(target, contract)
        refusal = (
            _refusal_of_contract(contract, keys, types)
            or choice.too_many_changes(changes.read, changes.size_bytes)
            or refusal
        )
        rows: Table | None = None
        changed: Mapping[str, Sequence[Span]] = {r.column: r.spans for r in changes.key_ranges if r.spans}
        if refusal is None:
            rows, exact, refusal = _bring(changes.rows, keys, types)
            changed = changed if exact is None else exact
        files = None if table is None else _files_of(table, list(changed), types)
        touched = None if files is None else candidates(files, changed)
        if any(file.may_be_ancient for file in touched or ()):
            refusal = refusal or choice.ANCIENT
        facts = Facts(
            table_rows=target.rows,
            changes=changes.read,
            changes_bytes=changes.size_bytes,
            refusal=refusal,
            marking_refusal=marking.refusal(target, _columns(contract)),
            files=None if files is None else len(files),
            candidates=None if touched is None else len(touched),
            candidate_bytes=None if touched is None else sum(file.size_bytes for file in touched),
            free_memory_bytes=_free_memory_bytes(),
        )
        return cls(contract, facts, changed, changes.key_ranges, changes.deletes, table, rows)

    def literals(self) -> list[str]:
        """Conditions on the table's rows, by which files are skipped: no changed key is outside of them."""
        if self.rows is None:
            return [found.of("target") for found in self.key_ranges]
        from tidegate_spark.engines.changed_keys import literal_spans  # noqa: PLC0415 - as in _open

        # Where no file is left out, one span will do: parts of files may be.
        most = 1 if self.facts.candidates == self.facts.files else MOST_SPANS
        written = []
        for column, spans in self.changed.items():
            try:
                written.append(within(f"target.{quoted(column)}", literal_spans(spans, most=most)))
            except ValueError:  # a text that the engines write in different ways: this column skips nothing
                continue
        return written

    def commit_by_delta_rs(self, target: Target, *, how: str, literals: Sequence[str]) -> None:
        """One commit with the batch's number, unless the table has it."""
        from tidegate_spark.engines import delta_rs  # noqa: PLC0415 - as in _open

        if self.table is None or self.rows is None:
            raise LookupError("the plan names delta-rs, yet there is no table or no rows for it")
        number = number_of(target.session)
        if how == "append" and not self.deletes:
            delta_rs.append(self.table, self.rows, number)
            return
        deleted = DELETED if self.deletes else None
        same_key = [f"(target.`{key}` IS NOT DISTINCT FROM change.`{key}`)" for key in self.contract.keys]
        delta_rs.merge(
            self.table,
            self.rows,
            number,
            condition=" AND ".join([*literals, *same_key]),
            is_newer=delta_rs.is_newer(self.contract.sequence_by, ORIGIN, deleted),
            columns=_columns(self.contract),
            deleted=deleted,
        )


def _open(target: Target, contract: Contract) -> tuple[DeltaTable | None, str | None]:
    """The table as delta-rs has it, and why it mustn't write it."""
    try:
        # A cluster whose bootstrap brought no packages merges all the same.
        from tidegate_spark.engines import delta_rs  # noqa: PLC0415
    except ImportError as absent:
        return None, f"delta-rs is not installed ({absent})"
    try:
        table = delta_rs.open_table(target.storage, target.uri)
        has_timestamps = any("timestamp" in column.type for column in contract.columns)
        return table, delta_rs.refusal(table, has_timestamps=has_timestamps)
    except Exception as failed:  # noqa: BLE001 - of any kind, from Rust; Spark needs none of it
        return None, f"delta-rs can't open the table ({summary(failed)})"


def _files_of(table: DeltaTable, keys: Sequence[str], types: Mapping[str, str]) -> list[FileRange]:
    from tidegate_spark.engines import delta_rs  # noqa: PLC0415 - as in _open

    return delta_rs.files_of(table, keys, types)


def _bring(
    rows: DataFrame, keys: Mapping[str, str], types: Mapping[str, str]
) -> tuple[Table | None, Mapping[str, Sequence[Span]] | None, str | None]:
    """The rows in Arrow and their keys, or why delta-rs won't have them."""
    from tidegate_spark.engines.arrow import to_arrow  # noqa: PLC0415 - as in _open
    from tidegate_spark.engines.changed_keys import changed_keys, has_ancient  # noqa: PLC0415

    try:
        brought = to_arrow(rows)
        if has_ancient(brought, types):
            return None, changed_keys(brought, keys), choice.ANCIENT
        return brought, changed_keys(brought, keys), None
    except Exception as failed:  # noqa: BLE001 - too large for the driver after all, perhaps; Spark merges in place
        return None, None, f"the changes didn't get to the driver ({summary(failed)})"


def _refusal_of_contract(contract: Contract, keys: Mapping[str, str], types: Mapping[str, str]) -> str | None:
    odd = [name for name in types if not _PLAIN_NAME.fullmatch(name)]
    if odd:
        return f"column {odd[0]!r} has a name that not every SQL writes alike"
    sequence = types[contract.sequence_by] if contract.sequence_by else None
    return choice.refusal_of_types(keys, sequence) or choice.refusal_of_nested(types)


def _unpacked_bytes(changes: Changes, contract: Contract) -> int:
    if contract.format in _PACKED_FORMATS:
        return changes.bytes * _PACKED
    return sum(file.size_bytes * (_PACKED if file.key.lower().endswith(_PACKED_NAMES) else 1) for file in changes.files)


def _free_memory_bytes() -> int:
    """Of this machine. Where the system doesn't say, half of what it has."""
    facts = Path("/proc/meminfo")
    if facts.is_file():
        found: Any = re.search(r"^MemAvailable:\s+(\d+) kB", facts.read_text(encoding="ascii"), re.MULTILINE)
        if found:
            return int(found[1]) << 10
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2

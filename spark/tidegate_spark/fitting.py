"""Makes a table that is there fit its contract, before a batch is merged into it, or refuses to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pyspark.sql import functions as sf

from tidegate_spark.altering import (
    Found,
    add_columns,
    apply_adjustment,
    asked_fields,
    count_leaves,
    evolution_of,
    widen_columns,
)
from tidegate_spark.errors import DataRefused, TableRefused
from tidegate_spark.evolution import ELSE, Field
from tidegate_spark.features import adjust, check_merge, features_of
from tidegate_spark.side_tables import KINDS, SideTable
from tidegate_spark.sources.rows import quoted
from tidegate_spark.work import Column, Contract

if TYPE_CHECKING:
    from tidegate_spark.changes import Changes
    from tidegate_spark.table import Target


def fit(target: Target, found: Found, contract: Contract) -> None:
    """Add columns, widen types and set features as the contract has them. Raises :class:`TableRefused`.

    All that is wrong is said at once, and before anything is done. What is done may be done again after a crash:
    the side tables come first, since the main table is what says that there is something to do.
    """
    evolution = evolution_of(contract, found)
    faults = [*evolution.faults, *check_merge(contract, found.properties)]
    if found.partition_by != contract.partition_by:
        faults.append(
            f"it is partitioned by {list(found.partition_by)}, the contract says {list(contract.partition_by)}: "
            f"change the contract back, or {ELSE}"
        )
    if faults:
        raise TableRefused(f"{target.uri} doesn't fit its contract: {'; '.join(faults)}. Nothing was written.")
    if evolution.widen or evolution.add:
        for side in _copies(target):
            widen_columns(target.session, side.uri, Found(target.snapshot_of(side.uri)), evolution.widen)
        if evolution.widen:
            widen_columns(target.session, target.uri, found, evolution.widen)
        _add(target, found, evolution.add, contract)
        found = Found(target.snapshot())
    target.extra = extra_of(found, contract)
    adjustment = adjust(
        features_of(contract, count_leaves(found.schema)),
        found.properties,
        knows_deletion_vectors=found.knows_deletion_vectors,
    )
    apply_adjustment(target.session, target.uri, adjustment)


def extra_of(found: Found, contract: Contract) -> tuple[Column, ...]:
    """The table's columns that files brought and the contract doesn't name."""
    return tuple(Column(field.name, field.type) for field in evolution_of(contract, found).extra)


def carry_columns(target: Target, changes: Changes, contract: Contract) -> tuple[Changes, Contract]:
    """The batch with the columns that files brought and no contract names, now or earlier: texts, all of them.

    Each is added to the table where it is new, and is a column of the contract for this merge, so that every
    strategy carries it; a row whose file doesn't bring it has a null.
    """
    brought: tuple[Column, ...] = changes.new_columns
    there = {column.name: column for column in target.extra}
    new = sorted((column for column in brought if column.name not in there), key=lambda column: column.name)
    if not brought and not there:
        return changes, contract
    if new:
        _check_names(new, (*contract.columns, *target.extra), contract)
        fields = [Field(column.name, "string", is_unknown=True) for column in new]
        _add(target, Found(target.snapshot()), fields, contract)
    extra = (*target.extra, *(Column(column.name, "string") for column in new))
    target.extra = extra
    own = [column.name for column in contract.columns]
    given = {column.name for column in brought}
    carried = [
        (sf.col(quoted(column.name)) if column.name in given else sf.lit(None)).cast(column.type).alias(column.name)
        for column in extra
    ]
    rest = [name for name in changes.rows.columns if name not in {*own, *given}]
    rows = changes.rows.select(
        *(sf.col(quoted(name)) for name in own), *carried, *(sf.col(quoted(name)) for name in rest)
    )
    return replace(changes, rows=rows), replace(contract, columns=(*contract.columns, *extra))


def _add(target: Target, found: Found, fields: Sequence[Field], contract: Contract) -> None:
    """Add columns to the table, and before it to the side tables that keep whole rows."""
    if not fields:
        return
    names = {field.name for field in found.schema}
    data = {column.name for column in (*contract.columns, *target.extra)} & names
    for side in _copies(target):
        there = Found(target.snapshot_of(side.uri))
        if data <= {field.name for field in there.schema}:
            add_columns(target.session, side.uri, there, fields)
    add_columns(target.session, target.uri, found, fields)


def _copies(target: Target) -> Iterable[SideTable]:
    """The side tables with columns of the contract. Quarantine has columns of its own."""
    sides = (target.side(kind) for kind in KINDS if kind != "quarantine")
    return [side for side in sides if side.exists]


def _check_names(new: Sequence[Column], there: Sequence[Column], contract: Contract) -> None:
    taken = {field.name.lower() for field in asked_fields(contract)} | {column.name.lower() for column in there}
    clashes = sorted(column.name for column in new if column.name.lower() in taken)
    if clashes:
        raise DataRefused(
            f"Files bring columns that the table of {contract.table} has for something else, if only by the case of "
            f"their letters: {', '.join(clashes)}. Rename them in the files."
        )

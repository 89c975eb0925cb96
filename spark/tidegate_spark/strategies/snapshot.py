"""snapshot: a table is what the newest snapshot of each scope says.

A snapshot is taken as a whole, and it says something about its own time alone: which is the newest, and which comes
next to which, is decided by the list of all applied ones, in whatever order they came. Rows that are equal are left
alone, so a table's changes are those between the snapshots.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as sf

from tidegate_spark.changes import Changes
from tidegate_spark.engines.marking import MARKED, marking_of
from tidegate_spark.origin import ORIGIN, place_of
from tidegate_spark.sources.rows import quoted
from tidegate_spark.strategies.differences import differences, merge_differences, same_row
from tidegate_spark.strategies.plan import MergePlan, append, nothing_to_do
from tidegate_spark.strategies.snapshot_files import AT, ID, INDEX, SCOPE, list_snapshots, scope_literals, scope_of
from tidegate_spark.strategies.snapshot_gathered import gather_files, gather_folders
from tidegate_spark.strategies.snapshot_list import applied_before, decide, remember, with_next
from tidegate_spark.strategies.snapshot_periods import VALID_FROM, VALID_TO, periods
from tidegate_spark.table import Target
from tidegate_spark.work import Contract

_RANK = "_tidegate_rank"


def plan_snapshot(target: Target, changes: Changes, contract: Contract) -> MergePlan:
    """Merge the differences between the table and what its snapshots say. Raises :class:`NotSupported`."""
    gathered = (
        gather_files(changes) if contract.snapshot.complete == "file" else gather_folders(target, changes, contract)
    )
    listed = list_snapshots(target, gathered.snapshots, gathered.rows, contract)
    applied = applied_before(target, listed.frame, changes.batch)
    decision = decide(listed.frame, applied, of=[SCOPE, AT] if contract.snapshot.keep_history else [SCOPE])
    if decision.chosen:
        chosen = listed.frame.where(sf.col(INDEX).isin(*decision.chosen))
        literals = scope_literals((each for each in gathered.snapshots if each.index in decision.chosen), contract)
        plan = _merge(target, gathered.rows, contract, chosen=chosen, applied=applied, literals=literals)
    else:
        plan = nothing_to_do(target, gathered.why_nothing)

    def prepare() -> None:
        gathered.keep()
        if decision.new:
            remember(target, listed.frame.where(sf.col(INDEX).isin(*decision.new)), changes.batch)

    return replace(plan, prepare=prepare, rejected=gathered.rejected(listed.problems))


def _merge(
    target: Target, rows: DataFrame, contract: Contract, *, chosen: DataFrame, applied: DataFrame, literals: list[str]
) -> MergePlan:
    columns = [*(column.name for column in contract.columns), ORIGIN]
    marking = None if contract.snapshot.keep_history else marking_of(target, columns)
    table = target.frame() if marking is None else marking.frame()
    present = _rows_of_scopes(table, contract, chosen, literals)
    said = _rows_of_snapshots(rows, contract, chosen)
    identity = identity_of(contract)
    compared = [column.name for column in contract.columns if column.name not in identity]
    if contract.snapshot.keep_history:
        present, wanted = periods(present, said, with_next(chosen, applied), contract, identity)
        identity = [*identity, VALID_FROM]
        compared = [*(name for name in compared if name != contract.sequence_by), VALID_TO]
        what = f"periods in which {', '.join(identity[:-1])} had the values"
    else:
        wanted = said.drop(AT)
        what = f"rows by {', '.join(identity)}"
    scope = f"each {', '.join(contract.snapshot.scope)}" if contract.snapshot.scope else "the table"
    order = contract.sequence_by or "arrival"
    if target.rows == 0:
        return MergePlan(
            "append",
            f"Insert the {what} that the snapshots of {scope} say: the table has no rows yet. Order: {order}.",
            run=lambda: append(target, wanted),
        )
    condition = " AND ".join([*literals, same_row(identity)])
    found = differences(present, wanted, identity=identity, compared=compared)
    skipping = f", looking only where {' and '.join(literals)}" if literals else ""
    how = "" if marking is None else f"; rows that go are {MARKED}"
    return MergePlan(
        "merge",
        f"Merge the differences to what the snapshots of {scope} say: {what}. Order: {order}{skipping}{how}.",
        run=lambda: merge_differences(target, found, condition, marking, (*contract.partition_by, *identity)),
        condition=condition,
        deletes=True,
    )


def identity_of(contract: Contract) -> list[str]:
    """What makes two rows one: the scope is part of it, as a snapshot knows nothing of other scopes."""
    return [*contract.keys, *(name for name in contract.snapshot.scope if name not in contract.keys)]


def _rows_of_scopes(table: DataFrame, contract: Contract, chosen: DataFrame, literals: Iterable[str]) -> DataFrame:
    """The table's rows of which the batch's snapshots may say something."""
    rows = table.alias("target")
    for literal in literals:
        rows = rows.where(sf.expr(literal))
    if not contract.snapshot.scope:
        return rows
    scopes = sf.broadcast(chosen.select(sf.col(SCOPE)).distinct())
    return rows.join(scopes, scope_of("target", contract).eqNullSafe(sf.col(SCOPE)), "left_semi")


def _rows_of_snapshots(rows: DataFrame, contract: Contract, chosen: DataFrame) -> DataFrame:
    """One row a key and chosen snapshot, with the snapshot's time. Of several in a snapshot the last counts."""
    columns = [sf.col(quoted(column.name)) for column in contract.columns]
    placed = rows.select(*columns, ORIGIN, ID).join(sf.broadcast(chosen.select(ID, AT)), ID, "inner")
    key: list[Column | str] = [ID, *(sf.col(quoted(name)) for name in identity_of(contract))]
    last_first = Window.partitionBy(*key).orderBy(sf.expr(place_of("said")).desc())
    ranked = placed.alias("said").withColumn(_RANK, sf.row_number().over(last_first))
    return ranked.where(sf.col(_RANK) == 1).select(*columns, ORIGIN, AT)

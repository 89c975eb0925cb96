"""append: a table's rows are those of its files, each file's newest version only.

A version that comes again changes nothing; one that is older than what the table has, neither; a newer one
replaces the rows of the older. What the table has of a file, its rows say: `_tidegate.source`, `.sequencer`. A
version without rows leaves none to say so: it is remembered in the table `<table>__history`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from tidegate_spark.changes import Changes
from tidegate_spark.local_rows import local_rows
from tidegate_spark.origin import DELETED, ORIGIN
from tidegate_spark.sources.rows import quoted, text_literal
from tidegate_spark.strategies.plan import MergePlan, append, nothing_to_do
from tidegate_spark.table import Target
from tidegate_spark.work import Contract, SourceFile

_HISTORY_COLUMNS = f"source string, sequencer string, {ORIGIN} struct<batch:bigint>"
_REPLACED = "_tidegate_replaced"


def plan_append(target: Target, changes: Changes, contract: Contract) -> MergePlan:
    """Append; or, if the table has rows of an older version of these files, replace them in one commit."""
    newest = _newest_versions(changes.files)
    present = _versions_in(target, newest)
    emptied = _emptied_versions(target, newest)
    fresh = [
        file
        for source, file in newest.items()
        # A version without rows is remembered before the commit that takes the older rows away: an attempt that
        # died in between has left it remembered, and the rows there.
        if file.sequencer > present.get(source, "") and file.sequencer >= emptied.get(source, "")
    ]
    replaced = sorted(file.source for file in fresh if file.source in present)
    without_rows = [file for file in fresh if not changes.row_counts[file.index]]

    def prepare() -> None:
        if without_rows:
            _remember(target, without_rows, changes.batch)

    if not replaced and len(without_rows) == len(fresh):
        plan = nothing_to_do(target, "the files have no rows that the table doesn't have, or newer ones")
    elif not replaced:
        rows = _rows_of(changes, fresh)
        plan = MergePlan(
            "append",
            f"Append the rows of {len(fresh)} files; the table has no earlier version of any.",
            run=lambda: append(target, rows),
        )
    else:
        plan = _replace(target, _rows_of(changes, fresh), replaced, contract, len(fresh))
    return replace(plan, prepare=prepare)


def _replace(target: Target, rows: DataFrame, replaced: list[str], contract: Contract, files: int) -> MergePlan:
    # One MERGE, so one commit: a row of `_REPLACED` finds the old rows, all others find none: inserted.
    removals = local_rows(target.session, [(source,) for source in replaced], f"{_REPLACED} string")
    inserts = rows.withColumn(_REPLACED, sf.lit(None).cast("string"))
    source_rows = inserts.unionByName(removals, allowMissingColumns=True)
    literal = ", ".join(text_literal(source) for source in replaced)
    condition = f"target.{ORIGIN}.source = change.{_REPLACED} AND target.{ORIGIN}.source IN ({literal})"
    columns = [*(column.name for column in contract.columns), ORIGIN]
    values: dict[str, str | Column] = {quoted(name): f"change.{quoted(name)}" for name in columns}

    def run() -> None:
        (
            target.delta.alias("target")
            .merge(source_rows.alias("change"), condition)
            .whenMatchedDelete()
            .whenNotMatchedInsert(condition=f"change.{_REPLACED} IS NULL", values=values)
            .execute()
        )

    return MergePlan(
        "merge",
        f"Append the rows of {files} files; delete those of an earlier version of {len(replaced)}.",
        run=run,
        condition=condition,
        deletes=True,
    )


def _newest_versions(files: Iterable[SourceFile]) -> dict[str, SourceFile]:
    newest: dict[str, SourceFile] = {}
    for file in files:
        if file.source not in newest or file.sequencer > newest[file.source].sequencer:
            newest[file.source] = file
    return newest


def _versions_in(target: Target, sources: Iterable[str]) -> dict[str, str]:
    """The sequencer of each of these files that the table has rows of. Reads two columns, where it has to."""
    return {} if target.rows == 0 else _newest_of(target.frame().select(f"{ORIGIN}.*"), sources)


def _emptied_versions(target: Target, sources: Iterable[str]) -> dict[str, str]:
    """The sequencer of each of these files that had a version without rows."""
    history = target.side("history")
    return _newest_of(history.delta.toDF(), sources) if history.exists else {}


def _newest_of(versions: DataFrame, sources: Iterable[str]) -> dict[str, str]:
    found = (
        versions.where(sf.col("source").isin(sorted(sources)))
        .groupBy("source")
        .agg(sf.max("sequencer").alias("sequencer"))
        .collect()
    )
    return {row["source"]: row["sequencer"] for row in found}


def _remember(target: Target, files: Iterable[SourceFile], batch: int) -> None:
    """Keep the newest version of each file that had no rows."""
    emptied = local_rows(target.session, [(file.source, file.sequencer, (batch,)) for file in files], _HISTORY_COLUMNS)
    target.side("history").append(emptied, batch)


def _rows_of(changes: Changes, files: list[SourceFile]) -> DataFrame:
    rows = changes.rows.drop(DELETED)
    if len(files) == len(changes.files):
        return rows
    is_of: list[Column] = [
        (sf.col(f"{ORIGIN}.source") == file.source) & (sf.col(f"{ORIGIN}.sequencer") == file.sequencer)
        for file in files
    ]
    return rows.where(reduce(lambda left, right: left | right, is_of))

"""append: a table's rows are those of its files, each file's newest version only.

A version that comes again changes nothing; one that is older than what the table has, neither; a newer one
replaces the rows of the older. What the table has of a file, its rows say: `_tidegate.source`, `.sequencer`.
"""

from __future__ import annotations

from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as sf

from tidegate_spark.changes import ORIGIN, Changes
from tidegate_spark.sources.rows import quoted
from tidegate_spark.strategies.plan import MergePlan, append, nothing_to_do
from tidegate_spark.table import Target
from tidegate_spark.work import Contract, SourceFile

_REPLACED = "_tidegate_replaced"


def plan_append(target: Target, changes: Changes, contract: Contract) -> MergePlan:
    """Append; or, if the table has rows of an older version of these files, replace them in one commit."""
    newest = _newest_versions(changes.files)
    present = _versions_in(target, sorted(newest))
    fresh = [file for source, file in newest.items() if file.sequencer > present.get(source, "")]
    replaced = sorted(file.source for file in fresh if file.source in present)
    if not fresh or (not changes.rows_read and not replaced):
        return nothing_to_do(target, changes, "the table has these versions of the files, or newer ones")
    rows = changes.rows
    if len(fresh) < len(changes.files):
        rows = rows.where(_is_of(fresh))
    if not replaced:
        return MergePlan(
            "append",
            f"Append the rows of {len(fresh)} files; the table has no earlier version of any.",
            run=lambda: append(target, rows),
        )
    return _replace(target, rows, replaced, contract, fresh)


def _replace(
    target: Target, rows: DataFrame, replaced: list[str], contract: Contract, fresh: list[SourceFile]
) -> MergePlan:
    # One MERGE, so one commit: a row of `_REPLACED` finds the old rows, all others find none: inserted.
    gone = [(source,) for source in replaced]
    removals = target.session.createDataFrame(gone, f"{_REPLACED} string", verifySchema=False)
    inserts = rows.withColumn(_REPLACED, sf.lit(None).cast("string"))
    source_rows = inserts.unionByName(removals, allowMissingColumns=True)
    literal = ", ".join(_literal(source) for source in replaced)
    condition = f"target.{ORIGIN}.source = change.{_REPLACED} AND target.{ORIGIN}.source IN ({literal})"
    values: dict[str, str | Column] = {
        quoted(name): f"change.{quoted(name)}" for name in [*(c.name for c in contract.columns), ORIGIN]
    }

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
        f"Append the rows of {len(fresh)} files; delete those of an earlier version of {len(replaced)}.",
        run=run,
        condition=condition,
        deletes=True,
    )


def _newest_versions(files: tuple[SourceFile, ...]) -> dict[str, SourceFile]:
    newest: dict[str, SourceFile] = {}
    for file in files:
        if file.source not in newest or file.sequencer > newest[file.source].sequencer:
            newest[file.source] = file
    return newest


def _versions_in(target: Target, sources: list[str]) -> dict[str, str]:
    """The sequencer of each of these files that the table has rows of. Reads one column, where it has to."""
    if not sources or int(target.snapshot().numOfFiles()) == 0:
        return {}
    source = sf.col(f"{ORIGIN}.source")
    found = (
        target.frame()
        .where(source.isin(sources))
        .groupBy(source.alias("source"))
        .agg(sf.max(f"{ORIGIN}.sequencer").alias("sequencer"))
        .collect()
    )
    return {row["source"]: row["sequencer"] for row in found}


def _is_of(files: list[SourceFile]) -> Column:
    conditions = [
        (sf.col(f"{ORIGIN}.source") == file.source) & (sf.col(f"{ORIGIN}.sequencer") == file.sequencer)
        for file in files
    ]
    return reduce(lambda left, right: left | right, conditions)


def _literal(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"

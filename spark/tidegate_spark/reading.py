"""Let Spark read many files at once, and find the few that it can't read.

In the good path files of one layout are one Spark read and all of them one job, be it a thousand files. Only if
that fails, the culprits are looked for: Spark seldom says which file it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING
from urllib.parse import unquote

from py4j.protocol import Py4JError, Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from tidegate_spark.errors import BrokenFile, ReadFailed, SourceChanged, is_broken_content, is_gone, summary
from tidegate_spark.logs import Log
from tidegate_spark.sources import rows
from tidegate_spark.storage import Storage
from tidegate_spark.work import Contract, SourceFile

if TYPE_CHECKING:
    from tidegate_spark.sources import Format

Release = Callable[[], None]

_NAMED = re.compile(r"(?:while reading file|Could not read (?:footer )?for file:?)\s+(\S+?)\.?(?:\s|$)")
_NAMED_ROUNDS = 2
"""So often a file that Spark names is left out and the read begun again, before all are searched."""
_SEARCH_FAN_OUT = 4


@dataclass(frozen=True)
class Kept:
    """Rows that were read once and are kept by the executors; if they are lost, the attempt fails."""

    frame: DataFrame
    parts: list[Row]
    files: tuple[SourceFile, ...]
    broken: tuple[tuple[SourceFile, str], ...]
    release: Release


def keep_readable(
    session: SparkSession,
    storage: Storage,
    source_format: Format,
    contract: Contract,
    files: Sequence[SourceFile],
    aggregates: Sequence[Column],
    log: Log,
) -> Kept:
    """Read what can be read, aggregated by part of a file. Raises SourceChanged, ReadFailed."""
    broken: list[tuple[SourceFile, str]] = []
    layouts = _layouts(session, storage, source_format, contract, files, broken)
    rounds = 0
    while True:
        readable = [file for _, members in layouts for file in members]
        scan = _scan(session, source_format, contract, layouts)
        try:
            # Not a cache: what is lost is never read again, when the file may be another. The attempt fails.
            frame = scan.localCheckpoint(eager=False)
            parts = frame.groupBy(rows.FILE, rows.BLOCK).agg(*aggregates).collect()
        except (Py4JJavaError, PySparkException) as failed:
            rounds += 1
            culprits = _culprits(session, source_format, contract, layouts, failed, log, rounds)
            broken += culprits
            guilty = {file.index for file, _ in culprits}
            layouts = [
                (layout, remaining)
                for layout, members in layouts
                if (remaining := [file for file in members if file.index not in guilty])
            ]
            continue
        _check_complete(scan, readable)
        return Kept(frame, parts, tuple(readable), tuple(broken), lambda: _release(frame))


def normal(uri: str) -> str:
    """A URI in the form in which two of them can be compared: Spark and Hadoop write `file:` differently."""
    return unquote(re.sub(r"^file:/+", "file:/", uri))


def normal_column(uri: Column) -> Column:
    """:func:`normal`, on a column: names of files read here are plain, by the plan's own doing."""
    return F.regexp_replace(uri, "^file:/+", "file:/")


_Layouts = list[tuple[Hashable, list[SourceFile]]]


def _layouts(
    session: SparkSession,
    storage: Storage,
    source_format: Format,
    contract: Contract,
    files: Sequence[SourceFile],
    broken: list[tuple[SourceFile, str]],
) -> _Layouts:
    def look_at(file: SourceFile) -> Hashable | BrokenFile:
        try:
            return source_format.layout_of(file, contract, storage)
        except BrokenFile as reason:
            return reason
        except FileNotFoundError as gone:
            raise _gone(file, str(gone)) from gone
        except OSError as failed:
            if is_broken_content(str(failed)):
                return BrokenFile(str(failed))
            raise ReadFailed(f"{file.source} could not be read: {failed}", file=file.key) from failed

    grouped: dict[Hashable, list[SourceFile]] = {}
    for file, layout in zip(files, storage.in_threads(look_at, files), strict=True):
        if isinstance(layout, BrokenFile):
            broken.append((file, str(layout)))
        else:
            grouped.setdefault(layout, []).append(file)
    usable: _Layouts = []
    for layout, members in grouped.items():
        try:
            source_format.read(session, [members[0].uri], layout, contract)
            usable.append((layout, members))
        except BrokenFile as reason:
            broken += [(file, str(reason)) for file in members]
    return usable


def _scan(session: SparkSession, source_format: Format, contract: Contract, layouts: _Layouts) -> DataFrame:
    if not layouts:
        return _no_rows(session, contract)
    reads = [
        source_format.read(session, [file.uri for file in members], layout, contract)
        for layout, members in layouts
    ]
    return reduce(DataFrame.union, reads)


def _no_rows(session: SparkSession, contract: Contract) -> DataFrame:
    return session.range(0).select(
        *(F.lit(None).cast(column.type).alias(column.name) for column in contract.file_columns),
        F.lit("").alias(rows.FILE),
        F.lit(0).cast("bigint").alias(rows.BLOCK),
        F.col("id").alias(rows.ROW_ID),
        F.lit(None).cast("string").alias(rows.PROBLEM),
        F.lit(False).alias(rows.BLANK),
    )


def _culprits(
    session: SparkSession,
    source_format: Format,
    contract: Contract,
    layouts: _Layouts,
    failed: Exception,
    log: Log,
    rounds: int,
) -> list[tuple[SourceFile, str]]:
    """The files that are to blame for `failed`, with why; never none. Raises if it isn't a file's content."""
    text = str(failed)
    named = {normal(uri) for uri in _NAMED.findall(text)}
    suspects = [file for _, members in layouts for file in members if normal(file.uri) in named]
    log.warning("Some file can't be read", named=sorted(named), error=summary(failed), round=rounds)
    _raise_unless_content(text, suspects[0] if len(suspects) == 1 else None, failed)
    if suspects and len(suspects) == 1 and rounds <= _NAMED_ROUNDS:
        return [(suspects[0], _reason(text))]

    def is_read(layout: Hashable, members: Sequence[SourceFile]) -> str | None:
        try:
            read = source_format.read(session, [file.uri for file in members], layout, contract)
            read.write.format("noop").mode("overwrite").save()
        except (Py4JJavaError, PySparkException) as again:
            _raise_unless_content(str(again), members[0] if len(members) == 1 else None, again)
            return str(again)
        return None

    found: list[tuple[SourceFile, str]] = []
    todo = list(layouts)
    while todo:
        layout, members = todo.pop()
        error = is_read(layout, members)
        if error is None:
            continue
        if len(members) == 1:
            found.append((members[0], _reason(error)))
            continue
        step = -(-len(members) // _SEARCH_FAN_OUT)
        todo += [(layout, members[start : start + step]) for start in range(0, len(members), step)]
    if not found:
        raise ReadFailed(
            f"The batch's files failed to be read together, but not one by one: {summary(failed)}. "
            "The next attempt may do better."
        ) from failed
    return found


def _raise_unless_content(text: str, file: SourceFile | None, failed: Exception) -> None:
    if is_broken_content(text):
        return
    if is_gone(text):
        if file is not None:
            raise _gone(file, summary(failed)) from failed
        raise SourceChanged(
            f"A landed file was overwritten or deleted while it was read: {summary(failed)}. "
            "Nothing to do: the next attempt reads a copy of the pinned version."
        ) from failed
    where = file.source if file is not None else "The batch's files"
    raise ReadFailed(
        f"{where} could not be read: {summary(failed)}", file=file.key if file else None
    ) from failed


def _reason(text: str) -> str:
    said = [line.strip() for line in text.splitlines() if is_broken_content(line)]
    return f"it can't be read to its end ({said[-1].removeprefix('Caused by: ')[:200]}); send the whole file again"


def _gone(file: SourceFile, why: str) -> SourceChanged | ReadFailed:
    if file.in_place:
        return SourceChanged(
            f"{file.source} is gone ({why}). Nothing to do: the next attempt reads a copy of the pinned version.",
            file=file.key,
        )
    return ReadFailed(f"The staged copy of {file.source} is gone: {file.uri} ({why})", file=file.key)


def _check_complete(scan: DataFrame, readable: Sequence[SourceFile]) -> None:
    """Spark leaves out names such as `_x` without a word."""
    read = {normal(uri) for uri in scan.inputFiles()}
    skipped = [file for file in readable if normal(file.uri) not in read]
    if skipped:
        raise ReadFailed(
            f"Spark left out {len(skipped)} of {len(readable)} files without a word, among them {skipped[0].uri}: "
            "names of this kind must be staged under a plain one.",
            file=skipped[0].key,
        )


def _release(frame: DataFrame) -> None:
    """Give the executors' memory back now, not when Java's garbage collector finds out."""
    with suppress(Py4JError):
        frame._jdf.queryExecution().logical().rdd().unpersist(False)

"""Let Spark read many files at once, and find the few that it can't read.

In the good path files of one layout are one Spark read and all of them one job, be it a thousand files. Only
if that fails, the culprits are looked for: Spark seldom says which file it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial, reduce
from typing import TYPE_CHECKING
from urllib.parse import unquote

from py4j.protocol import Py4JError, Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as sf

from tidegate_spark.errors import (
    BrokenFile,
    DataRefused,
    ReadFailed,
    SourceChanged,
    cause_of,
    is_broken_content,
    is_gone,
    is_infrastructure,
    summary,
)
from tidegate_spark.logs import Log
from tidegate_spark.sources import rows
from tidegate_spark.storage import Storage
from tidegate_spark.work import Contract, SourceFile

if TYPE_CHECKING:
    from tidegate_spark.sources import Format

Release = Callable[[], None]
_Group = tuple[Hashable, list[SourceFile]]
"""Files of one layout."""
_Broken = tuple[SourceFile, str]
"""A file, and why it can't be read."""

_NAMED = re.compile(r"(?:while reading file|Could not read (?:footer )?for file:?)\s+(\S+?)\.?(?:\s|$)")
_NAMED_ROUNDS = 2
"""So often a file that Spark names is left out and the read begun again, before all are searched."""
_SEARCH_FAN_OUT = 4
_FEW_FILES = 4
_FEW_BYTES = 4 << 20
READ_AGAIN = "Nothing to do: the next attempt reads a copy of the pinned version."


@dataclass(frozen=True)
class Kept:
    """Rows that were read once and are kept by the executors; if they are lost, the attempt fails."""

    frame: DataFrame
    parts: list[Row]
    files: tuple[SourceFile, ...]
    broken: tuple[_Broken, ...]
    release: Release


def normal(uri: str) -> str:
    """A URI in the form in which two can be compared: Spark and Hadoop write `file:` differently."""
    return unquote(re.sub(r"^file:/+", "file:/", uri))


def normal_column(uri: Column) -> Column:
    """:func:`normal`, on a column: names of files read here are plain, by the plan's own doing."""
    return sf.regexp_replace(uri, "^file:/+", "file:/")


@dataclass(frozen=True)
class Reader:
    """Reads the files of one batch."""

    session: SparkSession
    storage: Storage
    source_format: Format
    contract: Contract
    log: Log

    def keep_readable(
        self, files: Sequence[SourceFile], shape: Callable[[DataFrame], DataFrame], aggregates: Sequence[Column]
    ) -> Kept:
        """Read what can be read, in the form that `shape` gives it, and `aggregates` of that by part of a file.

        Raises SourceChanged, ReadFailed.
        """
        groups, broken = self._look_at(files)
        for attempt in range(len(files) + 1):  # each attempt leaves out one file at least
            scan = self._scan(groups)
            try:
                # Not a cache: what is lost isn't read again, when the file may be another. The attempt fails.
                shaped = shape(scan)
                frame = (shaped.coalesce(1) if _are_few(groups) else shaped).localCheckpoint(eager=False)
                parts = frame.groupBy(rows.FILE, rows.BLOCK).agg(*aggregates).collect()
            except (Py4JJavaError, PySparkException) as failed:
                culprits = self._culprits(groups, failed, may_trust_name=attempt < _NAMED_ROUNDS)
                broken += culprits
                groups = _without(groups, culprits)
                continue
            readable = [file for _, members in groups for file in members]
            _check_complete(scan, readable)
            return Kept(frame, parts, tuple(readable), tuple(broken), partial(release, frame))
        raise ReadFailed("Reading failed more often than there are files. Please report this.")

    def _look_at(self, files: Sequence[SourceFile]) -> tuple[list[_Group], list[_Broken]]:
        """Sort the files by layout; what shows that early to be broken comes second."""
        broken: list[_Broken] = []
        grouped: dict[Hashable, list[SourceFile]] = {}
        layouts = self.storage.in_threads(self._layout_of, files)
        for file, layout in zip(files, layouts, strict=True):
            if isinstance(layout, BrokenFile):
                broken.append((file, str(layout)))
            else:
                grouped.setdefault(layout, []).append(file)
        usable: list[_Group] = []
        for layout, members in grouped.items():
            try:
                self._read(layout, members[:1])
                usable.append((layout, members))
            except BrokenFile as reason:
                broken += [(file, str(reason)) for file in members]
        return usable, broken

    def _layout_of(self, file: SourceFile) -> Hashable | BrokenFile:
        try:
            return self.source_format.layout_of(file, self.contract, self.storage)
        except BrokenFile as reason:
            return reason
        except FileNotFoundError as gone:
            raise _gone(file, str(gone)) from gone
        except OSError as failed:
            if is_broken_content(str(failed)):
                return BrokenFile(str(failed))
            raise ReadFailed(f"{file.source} could not be read: {failed}", file=file.key) from failed

    def _read(self, layout: Hashable, files: Sequence[SourceFile]) -> DataFrame:
        return self.source_format.read(self.session, [file.uri for file in files], layout, self.contract)

    def _scan(self, groups: Sequence[_Group]) -> DataFrame:
        if groups:
            return reduce(DataFrame.union, (self._read(layout, members) for layout, members in groups))
        return rows.nothing(self.session, self.contract, self.source_format.raw_type)

    def _culprits(self, groups: Sequence[_Group], failed: Exception, *, may_trust_name: bool) -> list[_Broken]:
        """The files whose content is to blame, with why; never none. Raises if content isn't to blame."""
        text = str(failed)
        named = {normal(uri) for uri in _NAMED.findall(text)}
        suspects = [file for _, members in groups for file in members if normal(file.uri) in named]
        self.log.warning("Some file can't be read", named=sorted(named), error=summary(failed))
        _raise_unless_content(failed, suspects)
        # With a node or a connection in it, too, the text may name a file that is fine.
        if len(suspects) == 1 and may_trust_name and not is_infrastructure(text):
            return [(suspects[0], _reason(text))]
        found = list(self._search(groups))
        if not found:
            raise ReadFailed(
                f"The batch's files can't be read together, yet each can be alone: {summary(failed)}. "
                "The next attempt may do better."
            ) from failed
        return found

    def _search(self, groups: Sequence[_Group]) -> list[_Broken]:
        """Divide what can't be read until single files are left."""
        found: list[_Broken] = []
        todo = list(groups)
        while todo:
            layout, members = todo.pop()
            error = self._error_of(layout, members)
            if error is not None and len(members) == 1:
                found.append((members[0], _reason(error)))
            elif error is not None:
                step = -(-len(members) // _SEARCH_FAN_OUT)
                todo += [(layout, members[start : start + step]) for start in range(0, len(members), step)]
        return found

    def _error_of(self, layout: Hashable, files: Sequence[SourceFile]) -> str | None:
        try:
            self._read(layout, files).write.format("noop").mode("overwrite").save()
        except (Py4JJavaError, PySparkException) as failed:
            _raise_unless_content(failed, files)
            return str(failed)
        return None


def _are_few(groups: Sequence[_Group]) -> bool:
    """Is it so little that one task reads it as fast as several? Then nothing has to be shuffled to count it."""
    files = [file for _, members in groups for file in members]
    return len(files) <= _FEW_FILES and sum(file.size_bytes for file in files) <= _FEW_BYTES


def _without(groups: Sequence[_Group], culprits: Sequence[_Broken]) -> list[_Group]:
    guilty = {file.index for file, _ in culprits}
    left = [(layout, [file for file in members if file.index not in guilty]) for layout, members in groups]
    return [(layout, members) for layout, members in left if members]


def _raise_unless_content(failed: Exception, suspects: Sequence[SourceFile]) -> None:
    if is_broken_content(str(failed)):
        return
    suspect = suspects[0] if len(suspects) == 1 else None
    if is_gone(str(failed)) and suspect is not None:
        raise _gone(suspect, summary(failed)) from failed
    if is_gone(str(failed)):
        raise SourceChanged(
            f"A landed file was overwritten or deleted while it was read: {summary(failed)}. {READ_AGAIN}"
        ) from failed
    where = suspect.source if suspect is not None else "The batch's files"
    words, file = f"{where} could not be read: {summary(failed)}", suspect.key if suspect else None
    cause = cause_of(failed)
    if cause == "data":
        raise DataRefused(words, file=file) from failed
    if cause == "infrastructure":
        raise ReadFailed(words, file=file) from failed
    raise failed


def _reason(text: str) -> str:
    said = [line.strip() for line in text.splitlines() if is_broken_content(line)]
    root = said[-1].removeprefix("Caused by: ")[:200]
    return f"it can't be read to its end ({root}); send the whole file again"


def _gone(file: SourceFile, why: str) -> SourceChanged | ReadFailed:
    if file.in_place:
        return SourceChanged(f"{file.source} is gone ({why}). {READ_AGAIN}", file=file.key)
    return ReadFailed(f"The staged copy of {file.source} is gone: {file.uri} ({why})", file=file.key)


def _check_complete(scan: DataFrame, readable: Sequence[SourceFile]) -> None:
    """Spark leaves out names such as `_x` without a word."""
    read = {normal(uri) for uri in scan.inputFiles()}
    skipped = [file for file in readable if normal(file.uri) not in read]
    if skipped:
        raise ReadFailed(
            f"Spark left out {len(skipped)} of {len(readable)} files without a word, among them "
            f"{skipped[0].uri}: names of this kind must be staged under a plain one.",
            file=skipped[0].key,
        )


def release(frame: DataFrame) -> None:
    """Give the executors' memory back now, not when Java's garbage collector finds out."""
    with suppress(Py4JError):
        frame._jdf.queryExecution().logical().rdd().unpersist(False)

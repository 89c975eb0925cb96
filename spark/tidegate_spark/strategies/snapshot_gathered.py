"""The snapshots that a batch brings or completes, and their rows.

A file is a snapshot by itself. The files of a folder wait for its marker: which there are, `<table>__pieces`
remembers, and their rows wait in `<table>__parts`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as sf

from tidegate_spark.changes import Changes
from tidegate_spark.local_rows import local_rows
from tidegate_spark.origin import ORIGIN
from tidegate_spark.receipts import Rejection
from tidegate_spark.sources.rows import quoted
from tidegate_spark.strategies.snapshot_files import ID, Snapshot
from tidegate_spark.strategies.snapshot_folders import Folder, Piece, complete_folders
from tidegate_spark.table import Target
from tidegate_spark.work import Contract, SourceFile

_PIECES = (
    "source string, sequencer string, event_time string, is_marker boolean, names array<string>, problem string, "
    f"rows bigint, captures map<string,string>, {ORIGIN} struct<batch:bigint>"
)
_IS_NEW = "_tidegate_is_new"
_MEMBER = "_tidegate_member"
_MEMBERS = (
    f"{_MEMBER} struct<source:string,sequencer:string,is_new:boolean>, {ID} struct<source:string,sequencer:string>"
)


@dataclass(frozen=True)
class Gathered:
    """What a batch has of snapshots."""

    snapshots: Sequence[Snapshot]
    rows: DataFrame
    """With a column `ID`; those of all snapshots, and perhaps others."""
    keep: Callable[[], None]
    """Remembers what later batches need. Doing it again changes nothing."""
    rejected: Callable[[Mapping[int, str]], tuple[Rejection, ...]]
    """The batch's files that can't be taken, given why snapshots, by index, can't."""
    why_nothing: str
    """What it means if none of the snapshots is to be merged."""


def gather_files(changes: Changes) -> Gathered:
    """Each file is a snapshot."""
    files = {file.index: file for file in changes.files}

    def rejected(problems: Mapping[int, str]) -> tuple[Rejection, ...]:
        return tuple(
            Rejection(files[index], problem, changes.row_counts.get(index, 0)) for index, problem in problems.items()
        )

    own = sf.struct(sf.col(f"{ORIGIN}.source").alias("source"), sf.col(f"{ORIGIN}.sequencer").alias("sequencer"))
    return Gathered(
        snapshots=[
            Snapshot(
                file.index,
                file.source,
                file.sequencer,
                file.event_time,
                changes.row_counts.get(file.index, 0),
                file.captures,
            )
            for file in changes.files
        ],
        rows=changes.rows.withColumn(ID, own),
        keep=lambda: None,
        rejected=rejected,
        why_nothing="the table has these snapshots or newer ones, or the batch has none",
    )


def gather_folders(target: Target, changes: Changes, contract: Contract) -> Gathered:
    """Folders that are complete now, be it by files of earlier batches."""
    placed_by = [*contract.snapshot.scope, *([contract.sequence_by] if contract.sequence_by else [])]
    arrived = _arrived(changes, [name for name in placed_by if name in contract.captures])
    known = _known(target, {piece.folder for piece in arrived}, changes.batch)
    is_kept = {piece.version for piece in known if piece.problem is None}
    # What was rejected may come again, and be good by another contract.
    new = [piece for piece in arrived if piece.version not in is_kept]
    folders = complete_folders([*known, *new], by_list=contract.snapshot.complete == "manifest")
    by_index = dict(enumerate(folders))

    def rejected(problems: Mapping[int, str]) -> tuple[Rejection, ...]:
        markers = [
            Rejection(marker.file, piece.problem)
            for marker in changes.markers
            for piece in arrived
            if piece.version == (marker.file.source, marker.file.sequencer) and piece.problem is not None
        ]
        bad_folders = {by_index[index].marker.folder: problem for index, problem in problems.items()}
        return (
            *markers,
            *(
                Rejection(file, f"its snapshot {problem}", changes.row_counts.get(file.index, 0))
                for file in changes.files
                for problem in [bad_folders.get(file.source.rpartition("/")[0])]
                if problem is not None
            ),
        )

    def keep() -> None:
        if new:
            _keep(target, changes, new, contract)

    return Gathered(
        snapshots=[
            Snapshot(
                index,
                folder.marker.source,
                folder.marker.sequencer,
                folder.marker.event_time,
                sum(member.rows for member in folder.members),
                folder.marker.captures,
                folder.content,
            )
            for index, folder in by_index.items()
        ],
        rows=_rows_of(target, changes, folders, contract),
        keep=keep,
        rejected=rejected,
        why_nothing="no snapshot is complete with these files, or the table has these or newer ones",
    )


def _arrived(changes: Changes, placed_by: Sequence[str]) -> list[Piece]:
    """What the batch brings, bad files included: without them nobody would know that a folder isn't whole."""

    def piece(file: SourceFile, problem: str | None = None, names: tuple[str, ...] = ()) -> Piece:
        rows = changes.row_counts.get(file.index, 0)
        return Piece(
            file.source, file.sequencer, file.event_time, file.marker, names, problem, rows, file.captures, is_new=True
        )

    def problem_of(file: SourceFile) -> str | None:
        missing = [name for name in placed_by if name not in file.captures]
        return (
            f"its folder's name doesn't give {', '.join(missing)}; move it up in the landing path" if missing else None
        )

    return [
        *(piece(file) for file in changes.files),
        *(piece(rejection.file, rejection.reason) for rejection in changes.rejected),
        *(piece(each.file, each.problem or problem_of(each.file), each.names) for each in changes.markers),
    ]


def _known(target: Target, folders: set[str], batch: int) -> list[Piece]:
    """The pieces of these folders that came with earlier batches: a row a file."""
    pieces = target.side("pieces")
    if not folders or not pieces.exists:
        return []
    folder = sf.regexp_replace("source", "/[^/]*$", "")
    found = (
        pieces.delta.toDF().where(folder.isin(sorted(folders)) & (sf.col(f"{ORIGIN}.batch") != batch)).drop(ORIGIN)
    ).collect()
    return [
        Piece(
            row["source"],
            row["sequencer"],
            row["event_time"],
            row["is_marker"],
            tuple(row["names"]),
            row["problem"],
            row["rows"],
            row["captures"],
        )
        for row in found
    ]


def _keep(target: Target, changes: Changes, new: Sequence[Piece], contract: Contract) -> None:
    kept = [
        (p.source, p.sequencer, p.event_time, p.is_marker, list(p.names), p.problem, p.rows, dict(p.captures))
        for p in new
    ]
    # The rows first: what the list names is there.
    columns = [sf.col(quoted(column.name)) for column in contract.columns]
    of_new = local_rows(
        target.session,
        [piece.version for piece in new if piece.problem is None and not piece.is_marker],
        "source string, sequencer string",
    )
    is_of = (sf.col(f"{ORIGIN}.source") == of_new["source"]) & (sf.col(f"{ORIGIN}.sequencer") == of_new["sequencer"])
    rows = changes.rows.join(sf.broadcast(of_new), is_of, "left_semi").select(*columns, ORIGIN)
    target.side("parts").append(rows, changes.batch)
    pieces = local_rows(target.session, [(*values, (changes.batch,)) for values in kept], _PIECES)
    target.side("pieces").append(pieces, changes.batch)


def _rows_of(target: Target, changes: Changes, folders: Sequence[Folder], contract: Contract) -> DataFrame:
    """The rows of the members of complete folders, each with the snapshot that it is a row of."""
    columns = [sf.col(quoted(column.name)) for column in contract.columns]
    rows = changes.rows.select(*columns, ORIGIN, sf.lit(True).alias(_IS_NEW))
    parts = target.side("parts")
    if parts.exists:
        earlier = parts.delta.toDF().where(sf.col(f"{ORIGIN}.batch") != changes.batch)
        rows = rows.unionByName(earlier.select(*columns, ORIGIN, sf.lit(False).alias(_IS_NEW)))
    members = local_rows(
        target.session,
        [((*member.version, member.is_new), folder.marker.version) for folder in folders for member in folder.members],
        _MEMBERS,
    )
    is_of = (
        (sf.col(f"{ORIGIN}.source") == sf.col(f"{_MEMBER}.source"))
        & (sf.col(f"{ORIGIN}.sequencer") == sf.col(f"{_MEMBER}.sequencer"))
        & (sf.col(_IS_NEW) == sf.col(f"{_MEMBER}.is_new"))
    )
    return rows.join(sf.broadcast(members), is_of, "inner").select(*columns, ORIGIN, ID)

"""How what lands is merged: the strategies and their fields. `strategies` says which belongs to which."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from tidegate_cli.contracts.part import Part

Strategy = Literal["append", "upsert", "cdc", "scd2", "snapshot", "bitemporal"]


def _marker(name: str) -> str:
    if not name or name in (".", "..") or re.search(r"[/*?{}\[\]\\]", name):
        raise ValueError(f"{name!r} must be the name of one file, without '/', '*' or braces, such as _SUCCESS")
    return name


class Snapshot(Part):
    """Which files make up a snapshot, and what becomes of rows that are missing from it."""

    scope: list[str] = Field(default_factory=list)
    """Columns: a snapshot speaks only of rows with its own values of these, which the path gives or all rows of a
    file share. They tell rows apart as keys do. Without them it speaks of the whole table."""
    complete: Literal["file", "marker", "manifest"] = "file"
    """`file`: each file is a snapshot. `marker`: the files of a folder are one, complete as soon as the marker lies
    beside them. `manifest`: complete as soon as all files are there that the marker names, one a line."""
    marker: Annotated[str, AfterValidator(_marker)] = "_SUCCESS"
    """The marker's file name."""
    keep_history: bool = False
    """Rows that are missing are closed, not deleted: the table has `valid_from`, `valid_to` and `is_current`, as
    with `scd2`."""


class Merge(Part):
    """How what lands is merged into the table."""

    strategy: Strategy
    """`append`: every row of every file is kept, and an overwritten file's rows are replaced by those of its newest
    version. `upsert`: a row for each key, which holds the key's newest change. `cdc`: upsert with deletes, and
    changes that bring some columns only. `scd2`: every version of a key, with the time in which it was valid.
    `snapshot`: files that hold everything; what is missing goes. `bitemporal`: when something was valid, and when
    that was known."""
    keys: list[str] = Field(default_factory=list)
    """The columns that tell rows apart; for all but `append`. A row with a null among them is not merged."""
    sequence_by: str | None = None
    """The column that tells which of two changes of a key is newer. Nulls are oldest; equal values are ordered by
    the time at which their files landed. Without it, that time alone decides. For `snapshot` it may be a column of
    `reads`, and has one value in all rows of a snapshot."""
    delete_when: str | None = None
    """For `cdc`, `scd2` and `bitemporal`: a SQL condition on what arrives; a change for which it holds deletes its
    key (`bitemporal`: for the period of the change)."""
    partial_updates: bool = False
    """For `cdc`: a change may lack columns; what it doesn't bring stays as it is."""
    ignore_null_updates: bool = False
    """With `partial_updates`: a null is no value either, so what is there stays."""
    track_columns: list[str] | None = None
    """For `scd2`: a new version begins when one of these changes. Without it, when any column does but the keys and
    `sequence_by`."""
    valid_from: str | None = None
    """For `bitemporal`: the column with the begin of the period that a change speaks of; null is an open begin."""
    valid_to: str | None = None
    """For `bitemporal`: the column with its end, which is not in the period any more; null is an open end."""
    snapshot: Snapshot | None = None
    """For `snapshot`: see below. Without it, each file is a snapshot of the whole table."""

"""What a strategy means to do, as data that a test can read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pyspark.sql import DataFrame

from tidegate_spark.origin import REASON
from tidegate_spark.receipts import Rejection
from tidegate_spark.table import Target

__all__ = ["REASON", "MergePlan", "append", "nothing_to_do", "plan_void"]

Operation = Literal["merge", "append", "nothing"]


@dataclass(frozen=True)
class MergePlan:
    """One commit. `condition` and `update_if` name the table's row `target` and the change `change`."""

    operation: Operation
    sentence: str
    """For people: what is done, to what, and why so."""
    run: Callable[[], None]
    """Commits to the table, once."""
    prepare: Callable[[], None] = lambda: None
    """What has to be kept beside the table, written before it. Doing it again changes nothing."""
    condition: str | None = None
    update_if: str | None = None
    deletes: bool = False
    refused: DataFrame | None = None
    """Changes that the strategy can't take, with a column `_tidegate_reason`: they go to quarantine."""
    rejected: tuple[Rejection, ...] = ()
    """Files that the strategy can't take, though each of their rows can be read."""


def nothing_to_do(target: Target, why: str) -> MergePlan:
    """Still one commit: it carries the batch's number, without which the next batch would be refused."""
    nothing = target.frame().where("false")
    return MergePlan("nothing", f"Commit the batch's number and no rows: {why}.", run=lambda: append(target, nothing))


def plan_void(target: Target) -> MergePlan:
    """One commit without rows, for a batch whose files can't be merged as they are: the next finds its predecessor.

    A table that isn't there yet was made empty when it was opened, so a first batch can be voided, too.
    """
    nothing = target.frame().where("false")
    return MergePlan("nothing", "Commit the batch's number and none of its files.", run=lambda: append(target, nothing))


def append(target: Target, rows: DataFrame) -> None:
    """Write rows as they are."""
    rows.write.format("delta").mode("append").save(target.uri)

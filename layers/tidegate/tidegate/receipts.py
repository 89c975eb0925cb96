"""Receipts: what the job says of its attempts at a batch. They are believed, not the states of steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

Cause = Literal["data", "source_changed", "table", "infrastructure", "code"]

CONDEMNING_CAUSES = frozenset({"data", "table", "code"})
"""Trying again without a change won't help. Anything else (lost nodes, no capacity, throttling) condemns nothing."""


@dataclass(frozen=True)
class RejectedFile:
    index: int
    key: str
    reason: str


@dataclass(frozen=True)
class Merged:
    """The batch is in the table."""

    uri: str
    delta_version: int
    table_rows: int | None
    rows: Mapping[str, int]
    rejected: tuple[RejectedFile, ...]
    seconds: Mapping[str, float]
    columns: tuple[Mapping[str, str], ...] = ()
    """The table's columns, name and Spark's type each, for the catalog. Receipts of older releases have none."""
    step_began_at: datetime | None = None
    """When the step began in whose application it was merged; None if the receipt doesn't say."""
    took_s: float | None = None
    """Seconds from an application's start to the batch's receipt, were it the first one; None: it was merged before."""

    @property
    def merge_s(self) -> float | None:
        """Seconds of the batch alone, without its application's start."""
        return self.seconds.get("total")


@dataclass(frozen=True)
class Voided:
    """The batch's number is in the table with an empty commit: none of its files is merged, nor ever will be by it."""

    uri: str
    delta_version: int


@dataclass(frozen=True)
class NotMerged:
    """The batch is not in the table, as far as anybody knows."""

    message: str
    cause: Cause

    @property
    def counts_as_attempt(self) -> bool:
        return self.cause in CONDEMNING_CAUSES


def receipt_uri(control_bucket: str, table: str, batch: int, run_id: str, attempt: int) -> str:
    """Where an attempt at a batch leaves its receipt."""
    return f"s3://{control_bucket}/receipts/{table}/{batch:012d}/{run_id}-{attempt}.json"


def judge_receipts(
    receipts: Sequence[tuple[str, Mapping[str, Any]]], manifest_sha256: str, *, run_id: str, pass_: int
) -> Merged | Voided | NotMerged:
    """Judge a batch after this attempt by its receipts, given as (URI, content) with the oldest attempt first.

    A table has one commit of a number, so "merged" or "voided" wins, whatever other attempts say; a failure counts
    for its own attempt alone. Without a receipt nothing is known, and the batch is tried again: if it was merged
    after all, the job finds its number in the table and rebuilds the receipt.
    """
    for uri, receipt in receipts:
        if receipt["manifest_sha256"] != manifest_sha256:
            continue
        if receipt["outcome"] == "merged":
            return merged_of(uri, receipt)
        if receipt["outcome"] == "voided":
            return Voided(uri, receipt["delta_version"])
    failures = [
        receipt
        for _, receipt in receipts
        if receipt["outcome"] == "failed" and (receipt["run_id"], receipt["pass"]) == (run_id, pass_)
    ]
    if failures:
        error = failures[-1]["error"]
        return NotMerged(f"{error['type']}: {error['message']}", error["cause"])
    return NotMerged("the job left no receipt: its step did not start, or it was ended from outside", "infrastructure")


def merged_of(uri: str, receipt: Mapping[str, Any]) -> Merged:
    """What a receipt whose outcome is `merged` says."""
    return Merged(
        uri=uri,
        delta_version=receipt["delta_version"],
        table_rows=receipt.get("table_rows"),
        rows=receipt["rows"],
        rejected=tuple(
            RejectedFile(each["index"], each["key"], each["reason"]) for each in receipt["files"]["rejected"]
        ),
        seconds=receipt.get("seconds", {}),
        columns=tuple(receipt.get("columns") or ()),
        **_measured(receipt),
    )


def _measured(receipt: Mapping[str, Any]) -> dict[str, Any]:
    seconds = receipt.get("seconds", {})
    start_s, total_s = seconds.get("application_start"), seconds.get("total")
    if receipt.get("replayed") or start_s is None or total_s is None:
        return {}
    began_at = datetime.fromisoformat(receipt["started_at"]) - timedelta(seconds=start_s)
    return {"step_began_at": began_at, "took_s": start_s + total_s}

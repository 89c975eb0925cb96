"""History: the newest start-ups and merges that went well, few enough to stand on an item of the ledger."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

START_UPS_KEPT = 64
"""Of a stack. About 2 KB as JSON."""

MERGES_KEPT = 32
"""Of a table. About 1.5 KB as JSON."""

LONGEST_SAMPLE_S = 12 * 3600
"""Whatever claims to have taken longer than a run may last was not measured."""


@dataclass(frozen=True, order=True)
class StartUpSample:
    """Seconds from asking for a cluster to its first step. `name` is the cluster's, so that nothing counts twice."""

    at: datetime
    name: str
    seconds: float


@dataclass(frozen=True, order=True)
class MergeSample:
    """Seconds of one batch's merge, on `units` units of 4 vCPU. `name` is the batch's number."""

    at: datetime
    name: str
    seconds: float
    size_bytes: int
    files: int
    units: float = 1.0


Sample = TypeVar("Sample", StartUpSample, MergeSample)


def learn(
    known: Sequence[Sample], sample: Sample, now: datetime, *, succeeded: bool, limit: int = MERGES_KEPT
) -> tuple[Sample, ...]:
    """Add what has been measured.

    What failed says nothing of how long it takes to succeed: a history full of failures is an empty one. Nor does what
    can't be: no seconds, negative sizes. One whose clock is ahead counts as of now; it would never be forgotten
    otherwise.
    """
    if not (succeeded and _is_possible(sample)):
        return tuple(known)
    return merge_histories(known, (_not_after(sample, now),), limit=limit)


def merge_histories(one: Sequence[Sample], other: Sequence[Sample], *, limit: int = MERGES_KEPT) -> tuple[Sample, ...]:
    """The newest samples of both, each name once, the newest first.

    In any order and with any repetition it comes to the same: two functions that learn at once are the normal case.
    """
    newest: dict[str, Sample] = {}
    for part in (one, other):
        for sample in part:
            before = newest.get(sample.name)
            newest[sample.name] = sample if before is None else max(before, sample)
    return tuple(sorted(newest.values(), reverse=True)[:limit])


def encode_history(samples: Sequence[StartUpSample | MergeSample]) -> str:
    """As JSON: lists of numbers and texts, the time in whole seconds since 1970."""
    rows = [[int(sample.at.timestamp()), *astuple(sample)[1:]] for sample in samples]
    return json.dumps(rows, separators=(",", ":"))


def decode_start_ups(text: str) -> tuple[StartUpSample, ...]:
    """What `encode_history` made. A row that can't be read is left out: a rate is no reason to stop anything."""
    read = [_read(row, StartUpSample, (str, float)) for row in _rows(text)]
    return merge_histories([sample for sample in read if sample is not None], (), limit=START_UPS_KEPT)


def decode_merges(text: str) -> tuple[MergeSample, ...]:
    """What `encode_history` made, without the rows that can't be read."""
    read = [_read(row, MergeSample, (str, float, int, int, float)) for row in _rows(text)]
    return merge_histories([sample for sample in read if sample is not None], (), limit=MERGES_KEPT)


def _rows(text: str) -> Iterable[Sequence[Any]]:
    try:
        rows = json.loads(text)
    except ValueError:
        return []
    return rows if isinstance(rows, list) else []


def _read(row: Sequence[Any], kind: type[Sample], types: Sequence[type]) -> Sample | None:
    try:
        at = datetime.fromtimestamp(int(row[0]), UTC)
        sample: Sample = kind(at, *(type_(value) for type_, value in zip(types, row[1:], strict=True)))
    except (TypeError, ValueError, LookupError, OverflowError, OSError):
        return None
    return sample if _is_possible(sample) else None


def _is_possible(sample: StartUpSample | MergeSample) -> bool:
    if not 0 < sample.seconds <= LONGEST_SAMPLE_S:
        return False
    if isinstance(sample, StartUpSample):
        return True
    return sample.size_bytes >= 0 and sample.files >= 0 and math.isfinite(sample.units) and sample.units > 0


def _not_after(sample: Sample, now: datetime) -> Sample:
    if sample.at <= now:
        return sample
    moved: Sample = type(sample)(now, *astuple(sample)[1:])
    return moved

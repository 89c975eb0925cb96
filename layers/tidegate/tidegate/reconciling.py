"""Reconciling: which versions in the landing bucket the ledger knows nothing of, and where they stand in their order.

A listing tells what is there, not what happened: it has no sequencers and no event times. Both are made up here, so
that versions of one key keep the order in which the bucket lists them (docs/decisions/0014).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from tidegate.arrivals import FOUND, RECONCILE_AFTER, RETENTION, Arrival, judge_arrival, pad_sequencer
from tidegate.batches import SUPERSEDING_STRATEGIES
from tidegate.contracts import Contracts

RECONCILE_PARTS_AFTER = timedelta(days=1)
"""The same for an upload of many parts: the bucket dates it from its beginning, and its event comes with its end."""

ROUND_EVERY = timedelta(hours=23)
"""From the start of one round to that of the next: a day, less the hour in which the schedule may strike."""

MOST_VERSIONS = 10_000
"""Of one key that are looked at, the newest: all of them are in memory at once."""

UNVERSIONED = "null"
"""The version id of what landed while its bucket kept no versions."""


class Known(Protocol):
    """What the ledger has of one version: an arrival, or the head of its key."""

    @property
    def sequencer(self) -> str: ...
    @property
    def version_id(self) -> str | None: ...
    @property
    def etag(self) -> str: ...
    @property
    def event_time(self) -> datetime: ...


@dataclass(frozen=True)
class Version:
    """One version of an object as the bucket lists it. `etag` without quotes; `last_modified` to the second."""

    key: str
    version_id: str
    etag: str
    size_bytes: int
    last_modified: datetime


@dataclass(frozen=True)
class Marker:
    """Where a listing goes on: after this version of the key, or after all of the key."""

    key: str
    version_id: str | None = None


@dataclass(frozen=True)
class VersionsPage:
    """A part of a listing: by key, of one key the newest first. `next` is None with the last part."""

    versions: tuple[Version, ...]
    next: Marker | None


@dataclass(frozen=True)
class Counts:
    """Versions that a comparison has met."""

    seen: int = 0
    known: int = 0
    recorded: int = 0
    ignored: int = 0
    """Recorded too, with the reason why they are not merged."""
    young: int = 0
    """Their events may still be on their way: left for the next round."""

    def plus(self, other: "Counts") -> "Counts":
        return Counts(
            self.seen + other.seen,
            self.known + other.known,
            self.recorded + other.recorded,
            self.ignored + other.ignored,
            self.young + other.young,
        )


@dataclass(frozen=True)
class Round:
    """One comparison of the whole bucket with the ledger, which may take many calls. `step` counts its writes."""

    started_at: datetime
    counts: Counts = Counts()
    after: Marker | None = None
    """Where the listing goes on."""
    is_done: bool = False
    step: int = 0

    def next_step(self, counts: Counts, after: Marker | None) -> "Round":
        return replace(self, counts=self.counts.plus(counts), after=after, is_done=after is None, step=self.step + 1)


def is_round_due(latest: Round | None, now: datetime) -> bool:
    """Whether a new round begins. One that is not through goes on instead."""
    return latest is None or (latest.is_done and now - latest.started_at >= ROUND_EVERY)


def says_all(head: Known | None, versions: Sequence[Version], contracts: Contracts) -> bool:
    """Whether the head of a key alone says that the ledger knows all its `versions`, of which the newest comes first.

    It does for most objects of a bucket: they have one version, and that is merged.
    """
    if head is None or not is_same(versions[0], head):
        return False
    return len(versions) == 1 or _supersedes(versions[0].key, contracts)


def missing_arrivals(
    bucket: str,
    versions: Sequence[Version],
    known: Sequence[Known],
    head: Known | None,
    *,
    contracts: Contracts,
    now: datetime,
) -> tuple[list[Arrival], Counts]:
    """The arrivals of one key that were never recorded, oldest first, and what became of its other versions.

    `versions` are all that the bucket has of the key, the newest first; `known` is what the ledger has of it. Of a
    table for which a newer version replaces an older one, only the newest counts.
    """
    oldest_first = list(reversed(versions))
    by_ledger = [*known, *([head] if head is not None else [])]
    twins = [next((each for each in by_ledger if is_same(version, each)), None) for version in oldest_first]
    sequencers = _places(oldest_first, twins)
    at_head = next((place for place, version in enumerate(oldest_first) if head and is_same(version, head)), None)
    only_newest = _supersedes(versions[0].key, contracts)
    is_versioned = len(versions) > 1 or versions[0].version_id != UNVERSIONED
    missing, counts = [], Counts(seen=len(versions))
    event_time = datetime.min.replace(tzinfo=UTC)
    for place, (version, twin, sequencer) in enumerate(zip(oldest_first, twins, sequencers, strict=True)):
        # Of two versions the one that was stored later is the later change, whenever its upload began.
        event_time = max(event_time, version.last_modified if twin is None else twin.event_time)
        is_replaced = only_newest and place < len(versions) - 1
        if twin is not None or is_replaced or _is_forgotten(version, place, at_head, head, now):
            counts = counts.plus(Counts(known=1))
        elif _is_young(version, now):
            counts = counts.plus(Counts(young=1))
        else:
            found = _found(bucket, version, sequencer, event_time, is_versioned=is_versioned)
            missing.append(judge_arrival(found, contracts))
    return missing, counts


def is_same(version: Version, known: Known) -> bool:
    """Whether the ledger means this version. Where none are kept, the content says so."""
    if version.version_id == UNVERSIONED:
        return known.version_id in {None, UNVERSIONED} and known.etag == version.etag
    return known.version_id == version.version_id


def _places(oldest_first: Sequence[Version], twins: Sequence[Known | None]) -> list[int]:
    """A sequencer for each version: its own if the ledger has it, else one that keeps the listing's order.

    Those of S3 begin with the second of the write, which nobody promises. So the second is only the first guess: what
    the ledger has of older and newer versions bounds it.
    """
    given = [None if twin is None else int(twin.sequencer, 16) for twin in twins]
    ceilings: list[float] = []
    ceiling = math.inf
    for sequencer in reversed(given):
        ceiling = min(ceiling, sequencer) if sequencer is not None else ceiling - 1
        ceilings.insert(0, ceiling)
    places: list[int] = []
    floor = -1
    for version, sequencer, highest in zip(oldest_first, given, ceilings, strict=True):
        guess = int(version.last_modified.timestamp()) << 32
        wanted = guess if math.isinf(highest) else min(guess, int(highest))
        places.append(sequencer if sequencer is not None else max(floor + 1, wanted))
        floor = max(floor, places[-1])
    return places


def _is_forgotten(version: Version, place: int, at_head: int | None, head: Known | None, now: datetime) -> bool:
    """Whether its arrival may have expired: older than arrivals are kept, and at or below the head of its key."""
    if head is None or now - version.last_modified <= RETENTION:
        return False
    return version.last_modified <= head.event_time if at_head is None else place <= at_head


def _is_young(version: Version, now: datetime) -> bool:
    is_of_parts = "-" in version.etag
    return now - version.last_modified < (RECONCILE_PARTS_AFTER if is_of_parts else RECONCILE_AFTER)


def _found(bucket: str, version: Version, sequencer: int, event_time: datetime, *, is_versioned: bool) -> Arrival:
    return Arrival(
        bucket=bucket,
        key=version.key,
        sequencer=pad_sequencer(f"{sequencer:x}"),
        event_name=FOUND,
        event_time=event_time,
        size_bytes=version.size_bytes,
        etag=version.etag,
        version_id=version.version_id if is_versioned else None,
    )


def _supersedes(key: str, contracts: Contracts) -> bool:
    found = contracts.of_key(key)
    return found is not None and found[0].strategy in SUPERSEDING_STRATEGIES

"""Arrivals: what an S3 event says about one version of one object, and which table it is for."""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from tidegate.contracts import Contracts
from tidegate.errors import NotAnArrival

SEQUENCER_DIGITS = 40
"""Wide enough for any sequencer seen; S3 documents no maximum."""

PENDING_SHARDS = 8
"""Partitions of the index of pending arrivals: 8,000 writes a second before DynamoDB throttles."""

State = Literal["pending", "claimed", "superseded", "ignored", "quarantined", "failed"]
"""What became of a claimed one follows from its batch."""

KEPT_STATES: frozenset[State] = frozenset({"ignored", "quarantined", "failed"})
"""What a replay may take up again without looking for it."""

RETENTION = timedelta(days=90)
"""How long the ledger keeps an arrival after its claim. Its key's head stays."""

LATE_AFTER = timedelta(minutes=15)
"""An older event comes late: reconciling may have found its object meanwhile, under a sequencer of its own making."""

RECONCILE_AFTER = timedelta(hours=1)
"""How old an object is before its event counts as lost. Longer than LATE_AFTER by far more than a function's time."""

CREATED = "Object Created"
FOUND = "Object Found"
"""What an arrival that no event told of is called: the bucket's listing has it."""

REPEATED_AFTER = timedelta(days=45)
"""An older event may repeat one whose arrival is forgotten; the key's head tells. Queues keep events for 14 days."""


@dataclass(frozen=True)
class Arrival:
    """One version of one object. `sequencer` is padded; times are aware and in UTC."""

    bucket: str
    key: str
    sequencer: str
    event_name: str
    event_time: datetime
    size_bytes: int = 0
    etag: str = ""
    version_id: str | None = None
    table: str | None = None
    captures: Mapping[str, str] = field(default_factory=dict, hash=False)  # an arrival goes into sets
    state: State = "pending"
    reason: str | None = None
    batch: int | None = None
    """The batch that it belongs, or last belonged, to."""

    @property
    def object_name(self) -> str:
        return f"{self.bucket}/{self.key}"


def pad_sequencer(sequencer: str) -> str:
    """Make sequencers of one key comparable as text: left-padded with zeros, in lower case.

    Source: Amazon S3 User Guide, "Event message structure": pad the shorter one, then compare as text.
    """
    return sequencer.lower().rjust(SEQUENCER_DIGITS, "0")


def shard_of(object_name: str) -> int:
    """The shard of the pending index that holds an object's arrivals. The same in every process."""
    return zlib.crc32(object_name.encode()) % PENDING_SHARDS


def read_event(event: Any, contracts: Contracts, landing_bucket: str) -> Arrival | None:
    """Turn one event into the arrival that it tells of; None for S3's own test message.

    Keys are taken as they are: EventBridge does not URL-encode them.

    Raises NotAnArrival for anything that is not an object event of the landing bucket.
    """
    if isinstance(event, Mapping) and event.get("Event") == "s3:TestEvent":
        return None
    try:
        name = event["detail-type"]
        detail = event["detail"]
        bucket = detail["bucket"]["name"]
        thing = detail["object"]
        if not isinstance(thing["key"], str):
            raise TypeError("the key is no text")  # noqa: TRY301 - one message for whatever is wrong
        if not isinstance(thing.get("version-id"), str | None):
            raise TypeError("the version id is no text")  # noqa: TRY301
        int(thing["sequencer"], 16)  # what is no number could not be put in order
        arrival = Arrival(
            bucket=bucket,
            key=thing["key"],
            sequencer=pad_sequencer(thing["sequencer"]),
            event_name=name,
            event_time=_utc(event["time"]),
            size_bytes=int(thing.get("size", 0)),
            etag=str(thing.get("etag", "")).strip('"'),
            version_id=thing.get("version-id"),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotAnArrival(
            f"the message is no S3 event of EventBridge ({type(error).__name__}: {error}). "
            "Only the rule of this stack should send to the queue: look who else does."
        ) from error
    if bucket != landing_bucket:
        raise NotAnArrival(f"the event is about bucket {bucket}, but this stack's landing bucket is {landing_bucket}")
    return judge_arrival(arrival, contracts)


def judge_arrival(arrival: Arrival, contracts: Contracts) -> Arrival:
    """A pending arrival with its table, or with the reason why it is ignored."""
    if arrival.event_name not in {CREATED, FOUND}:
        return _ignored(arrival, f"{arrival.event_name}: what was merged from the object stays in its table")
    if arrival.key.endswith("/"):
        return _ignored(arrival, "a folder marker, not a file")
    found = contracts.of_key(arrival.key)
    if found is None:
        return _ignored(arrival, "no contract's landing pattern matches the key: add one in tables/")
    contract, captures = found
    if arrival.size_bytes == 0 and not contract.is_marker(arrival.key):
        return _ignored(replace(arrival, table=contract.table), "the file is empty")
    return replace(arrival, table=contract.table, captures=captures)


def is_known_version(arrival: Arrival, versions: Iterable[Arrival]) -> bool:
    """Whether one of these arrivals of its key is the very same version, whatever its sequencer.

    Without versions nobody can tell, and what is merged twice is merged as once.
    """
    return arrival.version_id not in {None, "null"} and any(
        each.version_id == arrival.version_id and each.event_name in {CREATED, FOUND} for each in versions
    )


def _ignored(arrival: Arrival, reason: str) -> Arrival:
    return replace(arrival, state="ignored", reason=reason)


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)

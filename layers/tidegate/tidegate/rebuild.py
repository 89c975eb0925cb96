"""Rebuilding the ledger of a table from what outlives it: the table's own log, manifests and receipts.

The table says which batch is its last. Each manifest names its predecessor, so the manifests lead from there back to
the first one: these batches are in the table, whatever any ledger says. What follows the last one is not merged yet.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from tidegate.arrivals import RETENTION, Arrival
from tidegate.batches import arrival_of_entry, candidates_document, half_lists, halves_of
from tidegate.ports import Batch, Table

Identity = tuple[str, str, str]
"""(bucket, key, sequencer): one version of one object."""

REMEMBERED = RETENTION + timedelta(days=1)
"""Younger arrivals have an item of their own: their key's head need not tell of them. A day more than it takes."""

NOT_IN_TABLE = "the table went on without this batch: its files are merged by others"
NO_REASON = "it could not be merged; why was in a ledger that was lost"


@dataclass(frozen=True)
class TableLog:
    """What a Delta table says of its batches. `told` is the userMetadata of the commits that its log still has."""

    last_batch: int | None
    version: int
    told: Mapping[int, tuple[int, Mapping[str, Any]]] = field(default_factory=dict)
    """(version, userMetadata) by batch."""


@dataclass(frozen=True)
class SeenBatch:
    """What the control bucket has of a batch."""

    number: int
    uri: str
    sha256: str
    manifest: Mapping[str, Any]
    receipts: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    """(URI, content), those of its failures too."""
    superseded: tuple[Arrival, ...] = ()
    """Arrivals that its lists of candidates leave out, since a newer version is in the batch."""

    @property
    def predecessor(self) -> int | None:
        found: int | None = self.manifest["predecessor"]
        return found

    @property
    def files(self) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = self.manifest["files"]
        return found


@dataclass(frozen=True)
class Ending:
    """How a batch ended: in the table, or not."""

    outcome: Literal["merged", "voided", "sealed", "left out"]
    version: int | None = None
    receipt_uri: str | None = None
    rows: Mapping[str, int] | None = None
    table_rows: int | None = None
    rejected: Mapping[int, str] = field(default_factory=dict)
    """Reasons by the file's index."""
    reason: str = NO_REASON


@dataclass(frozen=True)
class Rebuilt:
    """What the ledger has to say of a table. `table` has no lease, no claim and no failures."""

    table: Table
    fence: int
    """No fence up to this one was ever handed out."""
    delta_version: int | None
    table_rows: int | None
    batches: tuple[Batch, ...]
    arrivals: Mapping[Identity, Arrival]
    """Every version that a manifest names, as it is now."""
    heads: Mapping[tuple[str, str], Arrival]
    """The newest version of each key that is in a batch."""
    lists: Mapping[str, bytes]
    """Lists of candidates that are queued again, by their URIs."""
    notes: tuple[str, ...]
    """What a person must know: what could not be found out."""
    listed: Mapping[int, frozenset[Identity]] = field(default_factory=dict)
    """What each batch that is in the table, or next, lists."""


def rebuild_table(
    name: str, log: TableLog | None, seen: Iterable[SeenBatch], known: Table, *, fence: int, control_bucket: str
) -> Rebuilt:
    """Decide what the ledger has to say of a table.

    `known` is what it says now: its pause stays, and so do the replays that wait in it. `fence` is the highest that
    was found anywhere.
    """
    by_number = {batch.number: batch for batch in seen}
    last = log.last_batch if log is not None else None
    chain, notes = _chain(name, last, by_number)
    following = [number for number, each in by_number.items() if each.predecessor == last and number > (last or 0)]
    unsettled = max(following, default=None)
    endings: dict[int, Ending] = {}
    for number, batch in sorted(by_number.items()):
        if number in chain:
            endings[number] = _ending(batch, log, notes)
        elif number == unsettled:
            endings[number] = Ending("sealed")
        else:
            endings[number] = Ending("left out")
    live = {number: by_number[number] for number, each in endings.items() if each.outcome != "left out"}
    lost = sum(each.outcome == "left out" for each in endings.values())
    if lost:
        notes.append(f"{lost} batches of {name} are not in its table: their files become pending, unless merged since")
    arrivals = _arrivals(name, by_number, live, endings)
    lists = _halves(name, live, endings, arrivals, control_bucket)
    newest = endings[last] if last is not None and last in endings else None
    replays = {uri for uri in known.reopened if "/replays/" in uri}
    return Rebuilt(
        table=Table(
            name,
            next_batch=max([last or 0, *by_number]) + 1,
            last_merged_batch=last,
            unsettled_batch=unsettled,
            reopened=frozenset(lists) | replays,
            paused_reason=known.paused_reason,
        ),
        fence=fence,
        delta_version=newest.version if newest is not None else None,
        table_rows=newest.table_rows if newest is not None else None,
        batches=tuple(_batch(name, by_number[number], ending) for number, ending in sorted(endings.items())),
        arrivals=arrivals,
        heads=_heads(live, name),
        lists=lists,
        notes=tuple(notes),
        listed={number: frozenset(_identity(entry) for entry in each.files) for number, each in live.items()},
    )


def correct_known(arrival: Arrival, rebuilt: Rebuilt) -> Arrival | None:
    """What an arrival that the ledger has must be changed to; None if it is right, or nobody can know better."""
    right = rebuilt.arrivals.get((arrival.bucket, arrival.key, arrival.sequencer))
    if right is not None:
        return None if (right.state, right.batch) == (arrival.state, arrival.batch) else right
    if arrival.state not in {"claimed", "superseded"} or arrival.batch is None:
        return None
    listed = rebuilt.listed.get(arrival.batch)
    if listed is None and arrival.batch <= (rebuilt.table.last_merged_batch or 0):
        return None  # its manifest is gone
    is_newer_there = any(
        (bucket, key) == (arrival.bucket, arrival.key) and sequencer > arrival.sequencer
        for bucket, key, sequencer in listed or ()
    )
    if arrival.state == "superseded" and is_newer_there:
        return None
    return replace(arrival, state="pending", batch=None, reason=None)


def is_remembered(arrival: Arrival, now: datetime) -> bool:
    """Whether the ledger has to have an item of it: a merged one that is old is told by its key's head."""
    return arrival.state in {"pending", "quarantined", "failed"} or now - arrival.event_time < REMEMBERED


def _chain(name: str, last: int | None, by_number: Mapping[int, SeenBatch]) -> tuple[set[int], list[str]]:
    """The batches that are in the table, from the last back to the first, and what is missing of them."""
    chain: set[int] = set()
    at = last
    while at is not None and at in by_number:
        chain.add(at)
        at = by_number[at].predecessor
    if at is None:
        return chain, []
    older = {number for number in by_number if number < at}
    return chain | older, [
        f"the manifest of batch {at} of {name} is gone: the ledger can't know which files were in it. What of them is "
        "still in the landing bucket will be merged once more, which changes nothing in the table"
    ]


def _ending(batch: SeenBatch, log: TableLog | None, notes: list[str]) -> Ending:
    """How a batch ended that is in the table, by its receipt or else by its commit."""
    failures = [
        str(receipt["error"]["message"])
        for _, receipt in sorted(batch.receipts, key=lambda each: str(each[1].get("ended_at", "")))
        if receipt["outcome"] == "failed" and receipt.get("error")
    ]
    reason = failures[-1] if failures else NO_REASON
    for uri, receipt in batch.receipts:
        if receipt["outcome"] in {"merged", "voided"} and receipt["manifest_sha256"] == batch.sha256:
            return Ending(
                receipt["outcome"],
                receipt["delta_version"],
                uri,
                receipt["rows"],
                receipt.get("table_rows"),
                {each["index"]: each["reason"] for each in receipt["files"]["rejected"]},
                reason,
            )
    version, told = log.told.get(batch.number, (None, {})) if log is not None else (None, {})
    if version is None:
        notes.append(
            f"nothing is left to tell how batch {batch.number} of {batch.manifest['table']} ended: it is in the "
            "table, and counts as merged"
        )
    elif told.get("manifest_sha256") != batch.sha256:
        notes.append(
            f"version {version} of {batch.manifest['table']} was made of another manifest of batch {batch.number} "
            f"than {batch.uri}. Find out who wrote to either before you go on"
        )
    reasons = {each["index"]: each["reason"] for each in told.get("rejected", ())}
    rejected = {index: reasons.get(index, NO_REASON) for index in told.get("rejected_indexes", ())}
    return Ending("voided" if told.get("void") else "merged", version, rejected=rejected, reason=reason)


def _arrivals(
    name: str, by_number: Mapping[int, SeenBatch], live: Mapping[int, SeenBatch], endings: Mapping[int, Ending]
) -> dict[Identity, Arrival]:
    """Every version that a manifest names: the newest batch that is in the table, or next, says what became of it."""
    found: dict[Identity, Arrival] = {}
    for _, batch in sorted(by_number.items()):
        if batch.number not in live:
            for entry in batch.files:
                found.setdefault(_identity(entry), arrival_of_entry(entry, name, "pending", None))
    for number, batch in sorted(live.items()):
        newest = {_identity(entry)[:2]: "" for entry in batch.files}
        is_given_up = endings[number].outcome == "voided" and not halves_of(batch.files)
        for entry in batch.files:
            found[_identity(entry)] = _arrival(name, batch, entry, endings[number], is_given_up=is_given_up)
            key = _identity(entry)[:2]
            newest[key] = max(newest[key], entry["sequencer"])
        for older in batch.superseded:
            if older.sequencer < newest.get((older.bucket, older.key), ""):
                identity = (older.bucket, older.key, older.sequencer)
                found[identity] = replace(older, state="superseded", batch=number, reason=None)
    return found


def _arrival(name: str, batch: SeenBatch, entry: Mapping[str, Any], ending: Ending, *, is_given_up: bool) -> Arrival:
    arrival = arrival_of_entry(entry, name, "claimed", batch.number)
    if is_given_up:
        return replace(arrival, state="failed", reason=ending.reason)
    if entry["index"] in ending.rejected:
        return replace(arrival, state="quarantined", reason=ending.rejected[entry["index"]])
    return arrival


def _halves(
    name: str,
    live: Mapping[int, SeenBatch],
    endings: Mapping[int, Ending],
    arrivals: Mapping[Identity, Arrival],
    control_bucket: str,
) -> dict[str, bytes]:
    """The halves of voided batches of which files have been in no batch since."""
    lists = {}
    for number in (each for each in live if endings[each].outcome == "voided"):
        for half, candidates in enumerate(half_lists(live[number].files, name, number), start=1):
            if any(arrivals[each.bucket, each.key, each.sequencer].batch == number for each in candidates.files):
                uri = f"s3://{control_bucket}/batches/{name}/{number:012d}/half-{half}.json"
                lists[uri] = candidates_document(candidates)
    return lists


def _heads(live: Mapping[int, SeenBatch], name: str) -> dict[tuple[str, str], Arrival]:
    heads: dict[tuple[str, str], Arrival] = {}
    for number, batch in live.items():
        for entry in batch.files:
            head = heads.get((entry["bucket"], entry["key"]))
            if head is None or head.sequencer < entry["sequencer"]:
                heads[entry["bucket"], entry["key"]] = arrival_of_entry(entry, name, "claimed", number)
    return heads


def _batch(name: str, seen: SeenBatch, ending: Ending) -> Batch:
    times = [datetime.fromisoformat(entry["event_time"]) for entry in seen.files]
    return Batch(
        table=name,
        number=seen.number,
        predecessor=seen.predecessor,
        manifest_uri=seen.uri,
        manifest_sha256=seen.sha256,
        files=len(seen.files),
        size_bytes=sum(entry["size_bytes"] for entry in seen.files),
        oldest_event_time=min(times),
        newest_event_time=max(times),
        state="voided" if ending.outcome == "left out" else ending.outcome,
        delta_version=ending.version,
        rows=ending.rows,
        rejected_files=len(ending.rejected),
        receipt_uri=ending.receipt_uri,
        error=NOT_IN_TABLE if ending.outcome == "left out" else None,
    )


def _identity(entry: Mapping[str, Any]) -> Identity:
    return entry["bucket"], entry["key"], entry["sequencer"]

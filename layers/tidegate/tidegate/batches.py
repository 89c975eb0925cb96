"""Batches: which arrivals of a table are merged together, and the manifest that fixes their list for ever."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tidegate.arrivals import Arrival, State
from tidegate.contracts import Contract

MANIFEST_SCHEMA = 1
EPOCH = 1
"""Of the ledger: one that counts its batches anew does so under another epoch. A rebuilt one goes on counting."""

TABLES_A_STEP = 50
"""Small tables that share one Spark application: few enough for the first to be settled soon."""

GROUPS_A_ROUND = 32
"""Step groups that one round plans: within an inline Map's 40 iterations at once, and far from EMR's 256 steps."""

FIRST_GROUP = "g0"
"""Of a round: its step is the first one."""

LARGE_BATCH_BYTES = 1024**3
"""A batch of this size gets a step of its own; smaller ones share one Spark application."""

SUPERSEDING_STRATEGIES = frozenset({"append"})
"""For these a newer version of a key replaces the rows of an older one, which then need not be merged at all."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9/._=-]+")


@dataclass(frozen=True)
class Candidates:
    """What a claim is about. `superseded` arrivals belong to the batch too, but their rows don't."""

    files: tuple[Arrival, ...]
    superseded: tuple[Arrival, ...]
    opened_from: int | None = None
    """The voided batch of which these are a half."""

    @property
    def size_bytes(self) -> int:
        return sum(arrival.size_bytes for arrival in self.files)


@dataclass(frozen=True)
class Location:
    """Where an attempt reads a file."""

    in_place: bool
    reason: str


@dataclass(frozen=True)
class StepGroup:
    """Tables whose batches share one step, which is one Spark application."""

    name: str
    tables: tuple[str, ...]
    size_bytes: int


def order_of(arrival: Arrival) -> tuple[object, ...]:
    """The order in which arrivals are taken and listed. It doesn't depend on when they were recorded."""
    return (arrival.event_time, arrival.bucket, arrival.key, arrival.sequencer)


def choose_candidates(pending: Iterable[Arrival], contract: Contract) -> Candidates:
    """Take the first pending arrivals that fit into one batch; at least one, however large it is.

    They come the oldest first. A backlog may be far larger than a batch: the rest of it is not even read.
    """
    taken: list[Arrival] = []
    size_bytes = 0
    for arrival in pending:
        if taken and size_bytes + arrival.size_bytes > contract.max_bytes:
            break
        taken.append(arrival)
        size_bytes += arrival.size_bytes
        if len(taken) == contract.max_files:
            break
    return _apart(sorted(taken, key=order_of), contract)


def cut_to_batches(arrivals: Iterable[Arrival], contract: Contract) -> list[Candidates]:
    """All of these arrivals, in as many batches as the contract's limits make of them."""
    parts: list[list[Arrival]] = []
    size_bytes = 0
    for arrival in sorted(arrivals, key=order_of):
        is_full = bool(parts) and (
            len(parts[-1]) >= contract.max_files or size_bytes + arrival.size_bytes > contract.max_bytes
        )
        if not parts or is_full:
            parts.append([])
            size_bytes = 0
        parts[-1].append(arrival)
        size_bytes += arrival.size_bytes
    return [_apart(part, contract) for part in parts]


def _apart(taken: Sequence[Arrival], contract: Contract) -> Candidates:
    """Tell the files from those that a newer version in the same batch supersedes."""
    newest = _newest_sequencers(taken) if contract.strategy in SUPERSEDING_STRATEGIES else {}

    def is_superseded(arrival: Arrival) -> bool:
        return arrival.sequencer < newest.get(arrival.object_name, "")

    return Candidates(
        files=tuple(arrival for arrival in taken if not is_superseded(arrival)),
        superseded=tuple(arrival for arrival in taken if is_superseded(arrival)),
    )


def _newest_sequencers(taken: Sequence[Arrival]) -> dict[str, str]:
    newest: dict[str, str] = {}
    for arrival in taken:
        newest[arrival.object_name] = max(arrival.sequencer, newest.get(arrival.object_name, ""))
    return newest


def app_id_of(table: str) -> str:
    """Delta's `txnAppId` of a table's batches."""
    return f"tidegate:{table}:{EPOCH}"


def manifest_of(
    contract: Contract, batch: int, predecessor: int | None, files: Sequence[Arrival], lake_bucket: str
) -> bytes:
    """The manifest of a batch: the same bytes for the same batch, whoever writes it and how often.

    Its SHA-256 is in the table's commit. Paths and sizes are those of the pinned versions; where an attempt reads
    them stands in the work file of the attempt.
    """
    return canonical_json({
        "schema": MANIFEST_SCHEMA,
        "table": contract.table,
        "batch": batch,
        "predecessor": predecessor,
        "app_id": app_id_of(contract.table),
        "target": f"s3://{lake_bucket}/{contract.table}",
        "contract": contract.compiled,
        "files": [
            {"index": index, **file_entry(arrival), **_part_of_snapshot(contract, arrival)}
            for index, arrival in enumerate(sorted(files, key=order_of))
        ],
    })  # fmt: skip


def _part_of_snapshot(contract: Contract, arrival: Arrival) -> dict[str, Any]:
    """Of a table whose snapshots are folders: which folder, and whether the file is the one that completes it."""
    if contract.marker_regex is None:
        return {}
    folder = arrival.object_name.rpartition("/")[0]
    return {"snapshot": folder, "marker": contract.is_marker(arrival.key)}


def file_entry(arrival: Arrival) -> dict[str, Any]:
    """An arrival as a manifest and a list of candidates write it."""
    return {
        "bucket": arrival.bucket,
        "key": arrival.key,
        "version_id": arrival.version_id,
        "sequencer": arrival.sequencer,
        "etag": arrival.etag,
        "size_bytes": arrival.size_bytes,
        "event_time": arrival.event_time.isoformat().replace("+00:00", "Z"),
        "captures": dict(arrival.captures),
    }


def arrival_of_entry(entry: Mapping[str, Any], table: str, state: State, batch: int | None) -> Arrival:
    """The arrival that an entry of a manifest is about, in the state and the batch in which it is now."""
    return Arrival(
        bucket=entry["bucket"],
        key=entry["key"],
        sequencer=entry["sequencer"],
        event_name="Object Created",
        event_time=datetime.fromisoformat(entry["event_time"]),
        size_bytes=entry["size_bytes"],
        etag=entry["etag"],
        version_id=entry["version_id"],
        table=table,
        captures=entry["captures"],
        state=state,
        batch=batch,
    )


def candidates_document(candidates: Candidates) -> bytes:
    """A list of candidates as it is kept in S3."""
    return canonical_json({
        "schema": 1,
        "files": [_candidate(arrival) for arrival in candidates.files],
        "superseded": [_candidate(arrival) for arrival in candidates.superseded],
        "opened_from": candidates.opened_from,
    })  # fmt: skip


def _candidate(arrival: Arrival) -> dict[str, Any]:
    """As a manifest has it, and what the mark needs: the state and the batch in which the arrival is taken."""
    about = {"event_name": arrival.event_name, "table": arrival.table, "state": arrival.state, "batch": arrival.batch}
    return file_entry(arrival) | about


def read_candidates(document_json: bytes) -> Candidates:
    """What `candidates_document` made. Raises ValueError, KeyError or TypeError for anything else."""
    document = json.loads(document_json)

    def arrivals(name: str) -> tuple[Arrival, ...]:
        return tuple(
            Arrival(**entry | {"event_time": datetime.fromisoformat(entry["event_time"])}) for entry in document[name]
        )

    return Candidates(arrivals("files"), arrivals("superseded"), opened_from=document.get("opened_from"))


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no spaces, in UTF-8: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def is_plain_key(key: str) -> bool:
    """Whether Spark reads the key as it is.

    It expands globs, hides names that begin with `_` or `.`, and normalises `//`, `.` and `..`. Whatever is not
    surely safe counts as not plain: a staged copy costs one request.
    """
    segments = key.split("/")
    return bool(_PLAIN_KEY.fullmatch(key)) and not any(
        segment == "" or segment.startswith((".", "_")) for segment in segments
    )


def location_of(entry: Mapping[str, Any], current_version: str | None, current_etag: str | None) -> Location:
    """Decide whether a file of a manifest can be read in place.

    `current_version` and `current_etag` are those of the object as it is now; None for both if it is gone.
    """
    if not is_plain_key(entry["key"]):
        return Location(in_place=False, reason="Spark would not read the key as it is")
    if entry["version_id"] is not None and entry["version_id"] != current_version:
        return Location(in_place=False, reason="its version is no longer the current one")
    if entry["etag"] and entry["etag"] != current_etag:
        return Location(in_place=False, reason="its content is no longer what was recorded")
    return Location(in_place=True, reason="the pinned version is the current one")


def staged_name(index: int, key: str) -> str:
    """A safe name for a staged copy. It keeps the endings of the file's name, by which Spark picks the codec."""
    name = key.rsplit("/", 1)[-1].lstrip(".")
    endings = re.search(r"(\.[A-Za-z0-9]{1,8}){1,2}$", name)
    return f"{index:06d}{endings[0].lower() if endings else ''}"


def units_of(files: Iterable[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Files of a manifest that are never divided: those of one snapshot belong together, any other is alone.

    Without one of its files a snapshot would say that all of the file's keys are gone.
    """
    units: dict[object, list[Mapping[str, Any]]] = {}
    for number, entry in enumerate(files):
        units.setdefault(entry.get("snapshot", number), []).append(entry)
    return list(units.values())


def halves_of(files: Sequence[Mapping[str, Any]]) -> list[Sequence[Mapping[str, Any]]]:
    """The files of a voided batch, in two parts that are merged again each on its own; none if they can't be parted."""
    units = units_of(files)
    if len(units) < 2:
        return []
    middle = len(units) // 2
    return [[entry for unit in half for entry in unit] for half in (units[:middle], units[middle:])]


def half_lists(files: Sequence[Mapping[str, Any]], table: str, batch: int) -> list[Candidates]:
    """The halves of a voided batch as lists of candidates; none if its files can't be parted."""
    return [
        Candidates(tuple(arrival_of_entry(entry, table, "claimed", batch) for entry in half), (), opened_from=batch)
        for half in halves_of(files)
    ]


def group_steps(sizes: Mapping[str, int]) -> list[StepGroup]:
    """Share steps among tables: each large one gets its own, small ones share."""
    small = sorted(table for table, size_bytes in sizes.items() if size_bytes < LARGE_BATCH_BYTES)
    large = sorted(table for table, size_bytes in sizes.items() if size_bytes >= LARGE_BATCH_BYTES)
    groups = [tuple(small[start : start + TABLES_A_STEP]) for start in range(0, len(small), TABLES_A_STEP)]
    groups += [(table,) for table in large]
    return [
        StepGroup(f"g{number}", tables, sum(sizes[table] for table in tables)) for number, tables in enumerate(groups)
    ]

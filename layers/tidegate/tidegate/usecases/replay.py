"""Replay: have arrivals merged again, as batches of their own.

What was merged is found through its batches' manifests, which outlive the arrivals; what failed, was quarantined or
ignored through the ledger's index. Lists of candidates are written to S3 and queued on the tables; from there on they
are claimed as the halves of a voided batch are. Merging a file again changes nothing that a newer one has changed.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from tidegate.arrivals import Arrival, judge_arrival
from tidegate.batches import Candidates, arrival_of_entry, candidates_document, cut_to_batches
from tidegate.contracts import Contracts
from tidegate.errors import InvalidRunInput
from tidegate.ports import Batch, Ledger, Objects
from tidegate.replays import MAXIMUM_LISTS, Replay
from tidegate.runs import Run, RunRequest
from tidegate.usecases.plan_batches import PlanPorts

SET_ASIDE: tuple[Literal["failed", "quarantined"], ...] = ("failed", "quarantined")


def queue_replay(request: RunRequest, known: Run | None, *, ports: PlanPorts, contracts: Contracts) -> tuple[str, ...]:
    """Queue what the request asks for; the tables that have something to merge again.

    A run that is known has queued it before: it goes on with its tables.

    Raises InvalidRunInput when the replay is too large for one run, Throttled.
    """
    if known is not None and known.tables:
        return known.tables
    if request.replay is None:
        return ()
    chosen: dict[str, dict[tuple[str, str], Arrival]] = defaultdict(dict)
    for arrival in _wanted(request.replay, ports.ledger, ports.objects, contracts):
        # What is set aside now comes first, then its newest batch: the mark wants the state in which it is.
        chosen[arrival.table or ""].setdefault((arrival.object_name, arrival.sequencer), arrival)
    lists = {table: cut_to_batches(list(found.values()), contracts.by_table[table]) for table, found in chosen.items()}
    for table, parts in lists.items():
        if len(parts) > MAXIMUM_LISTS:
            raise InvalidRunInput(
                f"the replay of {table} would be {len(parts)} batches, more than {MAXIMUM_LISTS}: "
                "narrow it by prefix, from and to, and replay one part after another"
            )
    for table, parts in sorted(lists.items()):
        ports.ledger.queue_reopened(table, _write(request.run_id, table, parts, ports))
    return tuple(sorted(lists))


def _write(run_id: str, table: str, parts: Sequence[Candidates], ports: PlanPorts) -> list[str]:
    folder = f"s3://{ports.control_bucket}/batches/{table}/replays/{run_id}"
    uris = [f"{folder}-{number:06d}.json" for number in range(len(parts))]
    for uri, part in zip(uris, parts, strict=True):
        ports.objects.create(uri, candidates_document(part))
    return uris


def _wanted(replay: Replay, ledger: Ledger, objects: Objects, contracts: Contracts) -> Iterator[Arrival]:
    for state in SET_ASIDE:
        if replay.wants_state(state):
            for arrival in ledger.kept(state, replay.table):
                if arrival.table in contracts.by_table and replay.wants(arrival.key, arrival.event_time):
                    yield arrival
    if replay.wants_state("ignored"):
        for arrival in ledger.kept("ignored"):
            if replay.wants(arrival.key, arrival.event_time):
                yield from _no_longer_ignored(arrival, replay, contracts)
    if replay.wants_state("merged"):
        for table in [replay.table] if replay.table else sorted(contracts.by_table):
            for batch in ledger.batches(table):
                if batch.state == "merged" and _overlaps(replay, batch):
                    yield from _merged_files(replay, batch, objects)


def _no_longer_ignored(arrival: Arrival, replay: Replay, contracts: Contracts) -> Iterator[Arrival]:
    """The arrival with its table, if there is a contract for it by now."""
    judged = judge_arrival(replace(arrival, state="pending", reason=None), contracts)
    if judged.state == "pending" and replay.table in (None, judged.table):
        yield replace(judged, state="ignored")


def _overlaps(replay: Replay, batch: Batch) -> bool:
    return (replay.since is None or batch.newest_event_time >= replay.since) and (
        replay.until is None or batch.oldest_event_time < replay.until
    )


def _merged_files(replay: Replay, batch: Batch, objects: Objects) -> Iterator[Arrival]:
    manifest = json.loads(objects.read(batch.manifest_uri) or b'{"files": []}')
    for entry in manifest["files"]:
        arrival = arrival_of_entry(entry, batch.table, "claimed", batch.number)
        if replay.wants(arrival.key, arrival.event_time):
            yield arrival

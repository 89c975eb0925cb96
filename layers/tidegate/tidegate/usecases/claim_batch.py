"""Claim a table's pending arrivals into its next batch, so that a crash between any two lines loses nothing.

Open the claim on the table; write the candidates to S3; mark each arrival; write the manifest; seal the batch. Every
step is conditional or writes what it would write again. Whoever finds an open claim finishes it from its candidates,
so a batch's list is decided once.

What was reopened (the halves of a voided batch, replays) has its list of candidates already and comes before anything
pending; its arrivals are marked from the state and batch that the list gives them.

The one who opened it may still be alive, asleep between two lines. So candidates are create-only, under a name of their
own: whoever gives up a claim that has none writes "none" in their place, and the sleeper wakes to find that it lost.
"""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from tidegate.arrivals import Arrival, State
from tidegate.batches import (
    Candidates,
    candidates_document,
    choose_candidates,
    manifest_of,
    read_candidates,
    sha256_of,
)
from tidegate.contracts import Contract
from tidegate.errors import ClaimMoved, LedgerBehind
from tidegate.ports import Batch, Ledger, Objects, OpenClaim, Table

THREADS = 16


def claim_batch(
    table: Table,
    contract: Contract,
    *,
    run_id: str,
    claim_id: str,
    ledger: Ledger,
    objects: Objects,
    lake_bucket: str,
    control_bucket: str,
    now: datetime,
) -> Batch | None:
    """The table's next batch, sealed; None if nothing is pending. The run must hold the table's lease.

    `claim_id` is never used twice for a table.

    Raises ClaimMoved if another run got between, LedgerBehind if the number was used before, Throttled.
    """
    number = table.next_batch
    folder = f"s3://{control_bucket}/batches/{table.name}/{number:012d}"
    manifest_uri = f"{folder}/manifest.json"
    claim = table.open_claim
    candidates = _candidates_of(claim, table.name, ledger, objects) if claim is not None else None
    if claim is None or candidates is None:
        if table.reopened:
            claim = OpenClaim(number, min(table.reopened))
            _open(claim, table.name, run_id, manifest_uri=manifest_uri, ledger=ledger, objects=objects)
            candidates = _read(claim, objects)
        else:
            candidates = choose_candidates(ledger.pending(table.name), contract)
            if not candidates.files:
                return None
            claim = OpenClaim(number, f"{folder}/candidates-{claim_id}.json")
            _open(claim, table.name, run_id, manifest_uri=manifest_uri, ledger=ledger, objects=objects)
            if not objects.create(claim.candidates_uri, candidates_document(candidates)):
                raise ClaimMoved(f"batch {number} of {table.name} was given up for {run_id} while it chose its files")

    mine = _mark(candidates, number, ledger, now)
    if not mine:
        # Other batches have them all: the index was behind, or a replay too late. The number stays free.
        ledger.drop_claim(table.name, claim)
        return None
    manifest = manifest_of(contract, number, table.last_merged_batch, mine, lake_bucket)
    # Create-only: should two finish the same claim, the first list stands.
    objects.create(manifest_uri, manifest)
    manifest = objects.read(manifest_uri) or manifest
    if not _lists_just(manifest, mine):
        if ledger.table(table.name).open_claim != claim:
            raise ClaimMoved(f"batch {number} of {table.name} was sealed while {run_id} marked its files")
        raise _behind(table.name, number, manifest_uri)
    batch = Batch(
        table=table.name,
        number=number,
        predecessor=table.last_merged_batch,
        manifest_uri=manifest_uri,
        manifest_sha256=sha256_of(manifest),
        files=len(mine),
        size_bytes=sum(arrival.size_bytes for arrival in mine),
        oldest_event_time=min(arrival.event_time for arrival in mine),
        newest_event_time=max(arrival.event_time for arrival in mine),
        run_id=run_id,
        opened_from=candidates.opened_from,
    )
    ledger.seal(batch, run_id, claim)
    return batch


def _open(claim: OpenClaim, table: str, run_id: str, *, manifest_uri: str, ledger: Ledger, objects: Objects) -> None:
    """Open a claim on a number that nobody has used. Raises ClaimMoved, LedgerBehind.

    Were it sealed with the list that is there, files of another list would count as merged and never be.
    """
    # Looked at first, believed last: if somebody sealed the number meanwhile, the claim can't be opened.
    was_used = objects.read(manifest_uri) is not None
    ledger.open_claim(table, run_id, claim)
    if was_used:
        raise _behind(table, claim.batch, manifest_uri)


def _lists_just(manifest: bytes, mine: Sequence[Arrival]) -> bool:
    """Whether a manifest lists these arrivals and no others: it need not be the one that was just made of them.

    Whoever finishes a claim marks the same arrivals as long as it is open. Another list is another claim's.
    """
    listed = {(each["bucket"], each["key"], each["sequencer"]) for each in json.loads(manifest)["files"]}
    return listed == {(each.bucket, each.key, each.sequencer) for each in mine}


def _behind(table: str, number: int, manifest_uri: str) -> LedgerBehind:
    return LedgerBehind(
        f"batch {number} of {table} has another list of files already, in {manifest_uri}: the ledger was restored to "
        "an earlier moment, or lost. Nothing was merged. `tidegate ledger rebuild` brings it up to date; "
        "docs/operations.md says how"
    )


def _candidates_of(claim: OpenClaim, table: str, ledger: Ledger, objects: Objects) -> Candidates | None:
    """What a claim that somebody left open is about; None if it was given up because nothing was marked for it."""
    nothing = Candidates((), ())
    # Candidates are written before the first arrival is marked: without any there is nothing to finish.
    objects.create(claim.candidates_uri, candidates_document(nothing))
    candidates = _read(claim, objects)
    if candidates != nothing:
        return candidates
    ledger.drop_claim(table, claim)
    return None


def _read(claim: OpenClaim, objects: Objects) -> Candidates:
    return read_candidates(objects.read(claim.candidates_uri) or b"")


def _mark(candidates: Candidates, number: int, ledger: Ledger, now: datetime) -> list[Arrival]:
    """Mark the candidates as of this batch and return those files that really are."""

    def mark(arrival: Arrival, state: State) -> bool:
        return ledger.mark_claimed(arrival, number, state, now)

    with ThreadPoolExecutor(THREADS) as pool:
        are_mine = list(pool.map(lambda arrival: mark(arrival, "claimed"), candidates.files))
        list(pool.map(lambda arrival: mark(arrival, "superseded"), candidates.superseded))
    return [arrival for arrival, is_mine in zip(candidates.files, are_mine, strict=True) if is_mine]

"""A backlog that is far larger than a batch, or than a function's memory."""

import weakref
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from fakes.contracts import contract
from fakes.control_plane import NOW, ControlPlane
from tidegate.arrivals import Arrival, pad_sequencer
from tidegate.batches import choose_candidates
from tidegate.ports import Waiting
from tidegate.usecases.take_snapshots import take_snapshots

BACKLOG = 5_000
FIRST = Arrival("landing", "flights/2013-01/a.csv", pad_sequencer("1"), "Object Created", NOW, 3, table="flights")


class Backlog:
    """Arrivals that come out of the ledger one by one, the oldest first; `most` of them were kept at once."""

    def __init__(self) -> None:
        self.most = self.read = 0
        self._kept: weakref.WeakSet[Arrival] = weakref.WeakSet()

    def __iter__(self) -> Iterator[Arrival]:
        for number in range(BACKLOG):
            arrival = replace(FIRST, key=f"flights/2013-01/{number:06d}.csv", event_time=NOW + timedelta(0, number))
            self.read += 1
            self._kept.add(arrival)
            self.most = max(self.most, len(self._kept))
            yield arrival


def test_a_claim_takes_the_oldest_and_reads_no_more_than_a_batch() -> None:
    backlog = Backlog()
    chosen = choose_candidates(backlog, contract(max_files=10))
    assert [each.event_time - NOW for each in chosen.files] == [timedelta(0, number) for number in range(10)]
    assert backlog.read == 10


def test_a_claim_that_is_full_by_its_bytes_looks_at_one_more() -> None:
    backlog = Backlog()
    chosen = choose_candidates(backlog, contract(max_bytes=3 * 7))
    assert len(chosen.files) == 7
    assert backlog.read == 8


def test_dispatch_adds_up_and_keeps_nothing() -> None:
    backlog, plane = Backlog(), ControlPlane()
    plane.ledger.waiting = lambda: (Waiting("flights", each.event_time, each.size_bytes) for each in backlog)
    flights = next(
        each
        for each in take_snapshots(plane.ledger, plane.machine, plane.contracts)
        if each.contract.table == "flights"
    )
    assert (flights.pending_files, flights.pending_bytes) == (BACKLOG, 3 * BACKLOG)
    assert flights.oldest_event_time == NOW
    assert backlog.most <= 3

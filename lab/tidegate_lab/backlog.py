"""What is pending at a moment: arrivals come into the ledger a few seconds after they have landed."""

import random
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import itemgetter

from tidegate.contracts import Contract

from tidegate_lab.rates import Rates
from tidegate_lab.traces import Arrival, Trace


@dataclass
class Pending:
    """A table's, the oldest first, with its bytes added up."""

    arrivals: deque[Arrival]
    size_bytes: int = 0

    def take(self, max_files: int, max_bytes: int) -> list[Arrival]:
        """The first that fit into one batch, at least one: what `tidegate.batches.choose_candidates` would take."""
        taken: list[Arrival] = []
        taken_bytes = 0
        while self.arrivals and len(taken) < max_files:
            arrival = self.arrivals[0]
            if taken and taken_bytes + arrival.size_bytes > max_bytes:
                break
            taken.append(self.arrivals.popleft())
            taken_bytes += arrival.size_bytes
        self.size_bytes -= taken_bytes
        return taken


class Backlog:
    """The ledger of a simulation."""

    def __init__(self, trace: Trace, tables: Sequence[str], rates: Rates, stream: random.Random) -> None:
        recorded = [(arrival.at_s + stream.uniform(*rates.record_s), arrival) for arrival in trace.arrivals]
        self._coming = sorted(recorded, key=itemgetter(0))
        self._next = 0
        self._bytes = list(accumulate((arrival.size_bytes for _, arrival in self._coming), initial=0))
        self.pending = {table: Pending(deque()) for table in tables}

    def advance(self, now_s: float) -> None:
        """Record what has come by now."""
        while self._next < len(self._coming) and self._coming[self._next][0] <= now_s:
            arrival = self._coming[self._next][1]
            self._next += 1
            pending = self.pending[arrival.table]
            place = len(pending.arrivals)
            while place and pending.arrivals[place - 1].at_s > arrival.at_s:  # a few seconds out of order at most
                place -= 1
            pending.arrivals.insert(place, arrival)
            pending.size_bytes += arrival.size_bytes

    @property
    def is_all_recorded(self) -> bool:
        return self._next == len(self._coming)

    @property
    def next_recorded_s(self) -> float | None:
        """When the next arrival is recorded; None if none is to come."""
        return None if self.is_all_recorded else self._coming[self._next][0]

    def coming_by(self, until_s: float) -> tuple[int, int]:
        """Files and bytes that are not recorded yet and will be by then: what only a simulation knows."""
        until = bisect_right(self._coming, until_s, key=itemgetter(0))
        return until - self._next, self._bytes[until] - self._bytes[self._next]

    @property
    def has_pending(self) -> bool:
        return any(pending.arrivals for pending in self.pending.values())

    def take(self, contract: Contract) -> list[Arrival]:
        """A batch of the table of this contract."""
        return self.pending[contract.table].take(contract.max_files, contract.max_bytes)

    def take_all(self) -> list[Arrival]:
        """All that is pending, of every table."""
        taken = [arrival for pending in self.pending.values() for arrival in pending.arrivals]
        for pending in self.pending.values():
            pending.arrivals.clear()
            pending.size_bytes = 0
        return taken

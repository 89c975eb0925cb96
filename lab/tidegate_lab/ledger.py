"""What the product keeps in its ledger, as far as decisions read it: leases, live runs, and what was learned."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tidegate.dispatch import TableSnapshot
from tidegate.history import MERGES_KEPT, START_UPS_KEPT, MergeSample, StartUpSample, merge_histories
from tidegate.rates import ASSUMED, Rates, estimate_rates
from tidegate.stack_limits import LiveCluster, Stack, StackLimits, read_limits

from tidegate_lab.backlog import Backlog
from tidegate_lab.policies.situation import Situation
from tidegate_lab.traces import Arrival

LIMITS: StackLimits = read_limits("4", "")
"""Those of a deployment with the template's own parameters."""

ESTIMATED_AGAIN = 1.15
"""Rates are estimated anew when there is so much more history, or after `ESTIMATED_S` if there is any more. The product
does it at each look; one sample among many moves them by next to nothing."""
ESTIMATED_S = 6 * 3600.0

Batches = dict[str, list[Arrival]]


@dataclass
class LiveRun:
    """A run that has not ended: `round_ends_at` as it was estimated when the round was planned."""

    run_id: str
    round_ends_at: datetime | None = None
    takes_more: bool = True


@dataclass
class Ledger:
    """One stack's. Its clock is the simulation's: `now_s` is given to whoever asks."""

    situation: Situation
    backlog: Backlog
    learns: bool = True
    holders: dict[str, str] = field(default_factory=dict)
    runs: dict[str, LiveRun] = field(default_factory=dict)
    start_ups: tuple[StartUpSample, ...] = ()
    merges: dict[str, tuple[MergeSample, ...]] = field(default_factory=dict)
    begun: int = 0
    batches: int = 0
    _new_start_ups: list[StartUpSample] = field(default_factory=list)
    _new_merges: dict[str, list[MergeSample]] = field(default_factory=dict)
    _rates: Rates = ASSUMED
    _samples: int = 0
    _estimated_of: int = 0
    _estimated_s: float = 0.0

    def snapshots(self, now_s: float, by_run: str | None = None) -> list[TableSnapshot]:
        """As tidegate.usecases.take_snapshots makes them."""
        self.backlog.advance(now_s)
        moment = self.situation.trace.moment
        taken = []
        for table, contract in self.situation.contracts.by_table.items():
            pending, holder = self.backlog.pending[table], self.holders.get(table)
            oldest = moment(pending.arrivals[0].at_s) if pending.arrivals else None
            held_by = holder if holder != by_run else None
            taken.append(TableSnapshot(contract, len(pending.arrivals), pending.size_bytes, oldest, held_by))
        return taken

    def stack(self) -> Stack:
        """As tidegate.usecases.dispatch_runs makes it of the runs that have not ended."""
        return Stack(tuple(LiveCluster(run.run_id, run.takes_more, run.round_ends_at) for run in self.runs.values()))

    def claim(self, tables: Sequence[str], run_id: str) -> Batches:
        """The next batch of each table, its lease taken."""
        claimed: Batches = {}
        for table in tables:
            batch = self.backlog.take(self.situation.contracts.by_table[table])
            if batch:
                claimed[table] = batch
                self.holders[table] = run_id
        return claimed

    def free(self, run_id: str) -> None:
        """The run has ended, and its cluster is TERMINATED."""
        self.runs.pop(run_id, None)
        for table in [table for table, holder in self.holders.items() if holder == run_id]:
            del self.holders[table]

    def learn_start_up(self, name: str, began_s: float, seconds: float) -> None:
        """What settling the first group of a run's first round writes down."""
        self._samples += 1
        self._new_start_ups.append(StartUpSample(self.situation.trace.moment(began_s), name, seconds))

    def learn_merge(self, table: str, batch: Sequence[Arrival], seconds: float, units: float, now_s: float) -> None:
        """What settling a batch writes down."""
        self._samples += 1
        self.batches += 1
        at, size_bytes = self.situation.trace.moment(now_s), sum(arrival.size_bytes for arrival in batch)
        sample = MergeSample(at, str(self.batches), seconds, size_bytes, len(batch), units)
        self._new_merges.setdefault(table, []).append(sample)

    def rates(self, now_s: float) -> Rates:
        """As tidegate.usecases.take_rates estimates them, of all tables."""
        if not self.learns:
            return ASSUMED
        has_more = self._samples >= self._estimated_of * ESTIMATED_AGAIN and self._samples > self._estimated_of
        is_old = now_s - self._estimated_s >= ESTIMATED_S and self._samples > self._estimated_of
        if has_more or is_old:
            self._take_in()
            self._rates = estimate_rates(self.start_ups, self.merges, self.situation.trace.moment(now_s))
            self._estimated_of, self._estimated_s = self._samples, now_s
        return self._rates

    def _take_in(self) -> None:
        """Histories as the product keeps them: the newest samples. In any order and portions they come to the same."""
        self.start_ups = merge_histories(self.start_ups, self._new_start_ups, limit=START_UPS_KEPT)
        for table, samples in self._new_merges.items():
            self.merges[table] = merge_histories(self.merges.get(table, ()), samples, limit=MERGES_KEPT)
        self._new_start_ups, self._new_merges = [], {}

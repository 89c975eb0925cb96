"""What a policy is given, the same for each: the trace, the contracts, the times that are drawn, the prices."""

import math
import random
from dataclasses import dataclass
from functools import cached_property

import simpy
from tidegate.contracts import Contracts
from tidegate.run_size import BYTES_PER_UNIT
from tidegate.sizing import size_cluster

from tidegate_lab.backlog import Backlog
from tidegate_lab.bills import Bills
from tidegate_lab.clusters import Cluster, Machines, machines_of
from tidegate_lab.rates import Rates
from tidegate_lab.traces import Trace

TICK_S = 60.0
"""Of the product's schedule: rate(1 minute)."""


@dataclass(frozen=True)
class Situation:
    """`seed` is that of all that is left to chance but the trace."""

    trace: Trace
    contracts: Contracts
    rates: Rates
    bills: Bills
    seed: int

    def stream(self, of: str) -> random.Random:
        """Random numbers of one policy. Seeded by words: neighbouring seeds have nothing in common."""
        return random.Random(f"{of}-{self.seed}")  # noqa: S311 - nothing is kept secret by it

    def backlog(self, stream: random.Random) -> Backlog:
        return Backlog(self.trace, sorted(self.contracts.by_table), self.rates, stream)

    def cluster(self, env: simpy.Environment, stream: random.Random, size_bytes: int) -> Cluster:
        """A cluster as the product would size it for so many bytes: policies differ in when, not in what."""
        return Cluster(env, self.rates, stream, self._machines(math.ceil(size_bytes / BYTES_PER_UNIT)))

    @cached_property
    def _known(self) -> dict[int, Machines]:
        return {}

    def _machines(self, units: int) -> Machines:
        """As sized for the bytes of so many units: a size is looked up once, for clusters by the hundred thousand."""
        if units not in self._known:
            plan = size_cluster("lab", "run", 1, units * BYTES_PER_UNIT, 1)
            self._known[units] = machines_of(plan, self.bills)
        return self._known[units]

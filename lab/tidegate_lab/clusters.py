"""Simulated EMR clusters: the shape is the product's `size_cluster`, the times are drawn from `Rates`."""

import math
import random
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import simpy
from tidegate.costs import Market
from tidegate.sizing import SPOT_TIMEOUT_MINUTES, ClusterPlan

from tidegate_lab.bills import Bills, Usage
from tidegate_lab.outcome import Life, Record
from tidegate_lab.rates import Rates
from tidegate_lab.traces import Arrival

Process = Generator[simpy.Event, Any, None]


@dataclass(frozen=True)
class Machines:
    """What a plan's fleets come to: the cheapest type a unit, and so many units."""

    base: tuple[str, ...]
    """Types of the primary and the core node, On-Demand."""
    task_type: str
    task_units: int
    task_market: Market


def machines_of(plan: ClusterPlan, bills: Bills) -> Machines:
    """The machines of a plan, if EC2 gives the cheapest a unit of each fleet's types."""
    base: list[str] = []
    task_type, task_units, market = "", 0, "spot"
    for fleet in plan.fleets:
        on_demand, spot = fleet["TargetOnDemandCapacity"], fleet["TargetSpotCapacity"]
        cheapest = _cheapest(fleet["InstanceTypeConfigs"], bills)
        if fleet["InstanceFleetType"] == "TASK":
            task_type, task_units, market = cheapest, on_demand + spot, "spot" if spot else "on_demand"
        else:
            base += [cheapest] * on_demand
    return Machines(tuple(base), task_type or base[-1], task_units, market)  # type: ignore[arg-type]


def _cheapest(configs: Sequence[Mapping[str, Any]], bills: Bills) -> str:
    """Of the types of one unit, so that a unit of a cluster is a machine of the lab."""
    ones = [str(config["InstanceType"]) for config in configs if config["WeightedCapacity"] == 1]
    return min(ones, key=lambda name: bills.usd_a_s(name, "on_demand"))


@dataclass
class Cluster:
    """From RunJobFlow to TerminateJobFlows. Paid from the request on, as EMR is; its end is not paid."""

    env: simpy.Environment
    rates: Rates
    stream: random.Random
    machines: Machines
    requested_s: float = field(init=False)
    busy_unit_s: float = 0.0
    _market: Market = field(init=False)

    def __post_init__(self) -> None:
        self.requested_s = self.env.now
        self._market = self.machines.task_market

    @property
    def units(self) -> int:
        """Machines that run executors: the core node and the task nodes."""
        return 1 + self.machines.task_units

    def start(self) -> Process:
        start_up_s = self.rates.start_up_s.draw(self.stream)
        uses_spot = self.machines.task_units > 0 and self._market == "spot"
        if uses_spot and self.stream.random() < self.rates.spot_short:
            start_up_s += SPOT_TIMEOUT_MINUTES * 60
            self._market = "on_demand"
        yield self.env.timeout(start_up_s)

    def merge(self, steps: Sequence[Sequence[Arrival]], concurrency: int, record: Record) -> Process:
        """Run steps, `concurrency` at a time; those at the same time share the units. All of a step is queryable when
        its group of steps is through."""
        for first in range(0, len(steps), concurrency):
            group = steps[first : first + concurrency]
            rate = self.rates.merge_bytes_per_s.draw(self.stream)
            arrivals = [arrival for step in group for arrival in step]
            work_s = self.rates.work_s(len(arrivals), sum(arrival.size_bytes for arrival in arrivals), rate)
            shared_s = self.with_losses_s(work_s / self.units)
            took_s = self.rates.step_overhead_s.draw(self.stream) + shared_s
            yield self.env.timeout(took_s)
            self.busy_unit_s += shared_s * self.units + (took_s - shared_s)
            record.merged += [(arrival, self.env.now) for arrival in arrivals]

    def serve(self, arrival: Arrival, record: Record) -> Process:
        """A whole life for one file."""
        yield from self.start()
        yield from self.merge([[arrival]], 1, record)
        self.end(record)

    def with_losses_s(self, work_s: float) -> float:
        """Work that loses Spot machines on its way: what such a one had done is done again by the others, and EMR
        brings another."""
        if self._market != "spot" or not self.machines.task_units or not self.rates.spot_losses_an_hour:
            return work_s
        expected = self.rates.spot_losses_an_hour * self.machines.task_units * work_s / 3600
        lost = 0
        while self.stream.random() < -math.expm1(-expected) and lost < self.machines.task_units:
            lost += 1
        return work_s + sum(work_s * self.stream.random() / self.units for _ in range(lost))

    def end(self, record: Record) -> None:
        """What it cost until now."""
        wall_s = self.env.now - self.requested_s
        usage = [Usage(name, "on_demand", wall_s) for name in self.machines.base]
        if self.machines.task_units:
            usage.append(Usage(self.machines.task_type, self._market, wall_s, self.machines.task_units))
        record.lives.append(Life(tuple(usage), wall_s, wall_s * self.units, self.busy_unit_s))

    def terminating_s(self) -> float:
        """How long until TERMINATED."""
        return self.stream.uniform(*self.rates.termination_s)

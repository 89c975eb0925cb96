"""What a scheduler would pay that knows all arrivals beforehand: no policy on clusters of these prices can pay less.

A merge point is a moment at which a merge starts. Every arrival needs one between its landing and the last moment at
which a merge can start and still be in time. Between two merge points the cluster either goes and comes again, which
costs a start-up, or stays and is paid for while it waits. The cheapest set of points is found on a grid of time, point
by point: the best predecessor is the least over a sliding window, so a month takes a second.

It is a bound and no plan: a merge takes all tables along, each batch costs one step's overhead, bytes are merged at the
price of the largest cluster, and moments are rounded in its favour.

A cluster that stays is paid for the longer of two times: what its merges take, with its waits between them, and what
lies between its first merge and its last. Each of the two gives a bound, and the higher one counts.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

from tidegate.run_size import MAXIMUM_UNITS
from tidegate.sizing import size_cluster

from tidegate_lab.bills import Bills
from tidegate_lab.clusters import machines_of
from tidegate_lab.outcome import DAYS_A_MONTH
from tidegate_lab.rates import Rates
from tidegate_lab.traces import Arrival, Trace

GRID_S = 30.0


@dataclass(frozen=True)
class Bound:
    """`cost_usd` is that of 30 days; `merges` is how many merge points the trace gets."""

    cost_usd: float
    merges: int


@dataclass(frozen=True)
class _Model:
    """What a start-up costs, a step, and a second of the smallest cluster."""

    start_usd: float
    step_usd: float
    second_usd: float


def clairvoyant(trace: Trace, due_s: Sequence[float], rates: Rates, bills: Bills) -> Bound:
    """The bound for a trace whose arrivals, in their order, must be queryable at `due_s`.

    Mean times are taken for what is left to chance, so a single lucky repeat may fall below it, and their average not.
    """
    if not trace.arrivals:
        return Bound(0.0, 0)
    base = machines_of(size_cluster("lab", "bound", 1, 0, 1), bills).base
    base_usd = sum(bills.usd_a_s(name, "on_demand") for name in base)
    overhead_s = rates.step_overhead_s.mean
    slot_of, last_of, slots = _grid(trace.arrivals, due_s, overhead_s)
    busy_s = _busy_s(trace.arrivals, slot_of, last_of, slots, rates)
    latest = _latest(slot_of, last_of, slots)
    work_s = rates.work_s(len(trace.arrivals), trace.size_bytes, _mean_rate(rates))
    start_usd, step_usd = max(0.0, rates.start_up_s.mean - GRID_S) * base_usd, overhead_s * base_usd
    usd, merges = _cheapest_points(latest, busy_s, _Model(start_usd, step_usd, base_usd))
    by_work = usd + work_s * _work_usd(bills, base_usd), merges
    # From the first merge to the last, which takes a step at least; merges in between cost nothing more.
    by_span = _cheapest_points(latest, [0.0] * slots, _Model(start_usd + step_usd, 0.0, base_usd))
    usd, merges = max(by_work, by_span)
    return Bound(usd * DAYS_A_MONTH / trace.days, merges)


def _mean_rate(rates: Rates) -> float:
    """The rate at which work takes its mean time: of a log-normal rate the mean of 1/rate is exp(sigma²/2)/median."""
    rate = rates.merge_bytes_per_s
    return rate.median / math.exp(rate.sigma**2 / 2)


def _work_usd(bills: Bills, base_usd: float) -> float:
    """The least that a unit-second of work can cost, over all sizes of a cluster."""
    machines = machines_of(size_cluster("lab", "bound", 1, 2**60, 1), bills)
    task_usd = bills.usd_a_s(machines.task_type, "spot")
    return min((base_usd + task * task_usd) / (1 + task) for task in range(MAXIMUM_UNITS))


def _grid(arrivals: Sequence[Arrival], due_s: Sequence[float], overhead_s: float) -> tuple[list[int], list[int], int]:
    """Each arrival's first and last slot, rounded outwards, and how many slots there are.

    One that can't be in time has its landing as its last moment.
    """
    slot_of = [int(arrival.at_s // GRID_S) for arrival in arrivals]
    last_of = [max(slot, math.ceil((due - overhead_s) / GRID_S)) for slot, due in zip(slot_of, due_s, strict=True)]
    return slot_of, last_of, max(last_of) + 1


def _latest(slot_of: Sequence[int], last_of: Sequence[int], slots: int) -> list[int]:
    """For each slot: the latest slot of the next merge point after one here, so that nobody misses both.

    Index -1 (the last element) is for no merge point yet.
    """
    latest = [slots] * (slots + 1)
    for slot, last in zip(slot_of, last_of, strict=True):
        latest[slot - 1] = min(latest[slot - 1], last)  # slot 0 is index -1: before all
    least = slots
    for slot in range(slots - 1, -1, -1):
        least = latest[slot] = min(latest[slot], least)
    latest[slots] = min(latest[slots], least)
    return latest


def _busy_s(
    arrivals: Sequence[Arrival], slot_of: Sequence[int], last_of: Sequence[int], slots: int, rates: Rates
) -> list[float]:
    """For each slot the longest that a merge from there can be at work: on one unit, with all that may be pending."""
    change = [0.0] * (slots + 1)
    for arrival, slot, last in zip(arrivals, slot_of, last_of, strict=True):
        work_s = rates.work_s(1, arrival.size_bytes)
        change[slot] += work_s
        change[last + 1] -= work_s
    busy, total = [], 0.0
    for slot in range(slots):
        total += change[slot]
        busy.append(total + rates.step_overhead_s.mean + GRID_S)
    return busy


def _cheapest_points(latest: Sequence[int], busy_s: Sequence[float], model: _Model) -> tuple[float, int]:
    """The least cost of merge points that serve every arrival, without the cost of bytes, and how many they are.

    A slot's value is the least cost of all points up to one there. From a point `u` the next one, `t`, costs a step's
    overhead and either a start-up, or what the cluster waits: nothing while it is still at work, then each second.
    """
    slots = len(busy_s)
    cold: list[tuple[float, int, int]] = []  # value, last slot that may follow, points so far
    working: list[tuple[int, float, int, int]] = []  # slot from which it waits, value, last slot, points
    waiting: list[tuple[float, int, int]] = []  # value less the seconds until its wait, last slot, points
    heapq.heappush(cold, (0.0, latest[slots], 0))
    best, merges, idle_from = math.inf, 0, 0
    for slot in range(slots):
        while working and working[0][0] <= slot:
            waits_from, value, last, points = heapq.heappop(working)
            heapq.heappush(waiting, (value - waits_from * GRID_S * model.second_usd, last, points))
        options = [(value + model.start_usd, points) for value, points in _least(cold, slot)]
        options += [(value + slot * GRID_S * model.second_usd, points) for value, points in _least(waiting, slot)]
        options += [(value, points) for _, value, last, points in working if last >= slot]
        if not options:
            raise AssertionError("an arrival has no merge point")
        value, points = min(options)
        value, points = value + model.step_usd, points + 1
        last = latest[slot]
        if last >= slots and value < best:
            best, merges = value, points
        heapq.heappush(cold, (value, last, points))
        # The longest of all so far: another cluster may still be at what was begun before.
        idle_from = max(idle_from, slot + math.ceil(busy_s[slot] / GRID_S))
        heapq.heappush(working, (idle_from, value, last, points))
    return best, merges


def _least(heap: list[tuple[float, int, int]], slot: int) -> list[tuple[float, int]]:
    """The least value that may still be followed by a point in this slot; what may not any more is dropped."""
    while heap and heap[0][1] < slot:
        heapq.heappop(heap)
    return [(heap[0][0], heap[0][2])] if heap else []

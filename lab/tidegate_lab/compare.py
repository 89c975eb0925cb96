"""Policies side by side: seeded repeats of each, their means, and how sure those are."""

import os
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from statistics import fmean

from tidegate.contracts import Contract, Contracts, Freshness

from tidegate_lab.bills import bills_of
from tidegate_lab.bound import clairvoyant
from tidegate_lab.generate import GENERATORS, GIB, TABLES, generate
from tidegate_lab.outcome import Outcome, Record, due_s, measure
from tidegate_lab.policies.situation import Situation
from tidegate_lab.rates import RATES, Rates
from tidegate_lab.registry import POLICIES, WHAT_IF
from tidegate_lab.traces import Trace, read_trace

DAYS = 7.0
REPEATS = 5
RESAMPLES = 1000
MAXIMUM_FILES, MAXIMUM_BYTES = 5000, 50 * GIB
"""A batch's limits unless a contract says otherwise: those of the contract's model."""


@dataclass(frozen=True)
class Case:
    """One simulation. `trace` is a generator's name or the path of a recorded trace; `contracts` are by table."""

    trace: str
    policy: str
    freshness_s: int
    seed: int
    days: float = DAYS
    tables: tuple[str, ...] = TABLES
    contracts: tuple[Contract, ...] = ()
    rates: Rates = RATES
    with_bound: bool = True
    """Whether the clairvoyant bound is reckoned for Tidegate, which takes a third of the time."""


@dataclass(frozen=True)
class Result:
    """`bound_usd` is what a clairvoyant scheduler would have paid at the same misses, 30 days' worth."""

    case: Case
    outcome: Outcome
    bound_usd: float


@dataclass(frozen=True)
class Estimate:
    """The mean of repeats, with its 95 % interval by bootstrap: of RESAMPLES means, the middle 95 %."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """A policy on a trace at a freshness; `of` has an estimate for each figure of an outcome, and `bound_usd`."""

    trace: str
    policy: str
    freshness_s: int
    of: Mapping[str, Estimate]


@lru_cache(maxsize=4)
def load_trace(name: str, days: float, seed: int, tables: tuple[str, ...]) -> Trace:
    """A generated trace, or a recorded one, which is the same in each repeat. Raises ValueError."""
    if name not in GENERATORS and Path(name).is_file():
        return read_trace(Path(name))
    return generate(name, days=days, seed=seed, tables=tables)


def contracts_for(trace: Trace, freshness_s: int, known: Iterable[Contract] = ()) -> Contracts:
    """The contracts of a trace's tables, all with this freshness; a table without one has a plain upsert's."""
    by_table = {contract.table: contract for contract in known}
    freshness = Freshness("within", seconds=freshness_s)
    made = {}
    for table in trace.tables:
        given = by_table.get(table)
        batch = (given.max_files, given.max_bytes) if given else (MAXIMUM_FILES, MAXIMUM_BYTES)
        strategy = given.strategy if given else "upsert"
        made[table] = Contract(table, f"{table}/", f"^{table}/.*$", strategy, freshness, *batch, compiled={})
    return Contracts(made)


def simulate(case: Case) -> Result:
    """Run one simulation."""
    trace = load_trace(case.trace, case.days, case.seed, case.tables)
    contracts = contracts_for(trace, case.freshness_s, case.contracts)
    bills = bills_of()
    record = {**POLICIES, **WHAT_IF}[case.policy](Situation(trace, contracts, case.rates, bills, case.seed))
    bound_usd = 0.0
    if case.policy == "tidegate" and case.with_bound:
        due = realised_due_s(trace, contracts, record)
        bound_usd = clairvoyant(trace, due, case.rates, bills).cost_usd
    return Result(case, measure(trace, contracts, record, bills), bound_usd)


def realised_due_s(trace: Trace, contracts: Contracts, record: Record) -> list[float]:
    """Deadlines that forgive what the policy missed, so that a bound has the same misses."""
    merged_s = {id(arrival): at_s for arrival, at_s in record.merged}
    return [max(due_s(trace, contracts, arrival), merged_s[id(arrival)]) for arrival in trace.arrivals]


def simulate_all(
    cases: Sequence[Case], *, processes: int | None = None, progress: Callable[[], None] = lambda: None
) -> list[Result]:
    """Run simulations side by side, as many as there are cores; results in the order of the cases."""
    processes = processes or min(len(cases), len(os.sched_getaffinity(0)))
    results = []
    if processes <= 1:
        for case in cases:
            results.append(simulate(case))
            progress()
        return results
    with ProcessPoolExecutor(processes) as pool:
        for result in pool.map(simulate, cases):
            results.append(result)
            progress()
    return results


def rows_of(results: Iterable[Result]) -> list[Row]:
    """Repeats put together, in the order in which they come first."""
    groups: dict[tuple[str, str, int], list[Result]] = {}
    for result in results:
        case = result.case
        groups.setdefault((case.trace, case.policy, case.freshness_s), []).append(result)
    rows = []
    for (trace, policy, freshness_s), group in groups.items():
        figures = {
            field.name: estimate([getattr(result.outcome, field.name) for result in group]) for field in fields(Outcome)
        }
        figures["bound_usd"] = estimate([result.bound_usd for result in group])
        rows.append(Row(trace, policy, freshness_s, figures))
    return rows


def estimate(values: Sequence[float]) -> Estimate:
    """The mean and its interval; of one value, that value."""
    stream = random.Random(len(values))  # noqa: S311 - resampling
    means = sorted(fmean(stream.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return Estimate(fmean(values), means[int(0.025 * RESAMPLES)], means[int(0.975 * RESAMPLES) - 1])

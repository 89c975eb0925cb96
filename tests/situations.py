"""Situations for the lab's tests: small traces, one freshness for all tables."""

from collections.abc import Sequence

from tidegate_lab.bills import bills_of
from tidegate_lab.compare import contracts_for
from tidegate_lab.policies.situation import Situation
from tidegate_lab.rates import RATES, Rates
from tidegate_lab.traces import Arrival, Trace, trace_of

MIB = 1024**2


def trace(*arrivals: tuple[float, str, int], days: float = 1.0) -> Trace:
    return trace_of("made", [Arrival(*arrival) for arrival in arrivals], days)


def situation(of: Trace, freshness_s: int = 3600, *, seed: int = 1, rates: Rates = RATES) -> Situation:
    return Situation(of, contracts_for(of, freshness_s), rates, bills_of(), seed)


def times_of(merged: Sequence[tuple[Arrival, float]]) -> list[float]:
    return sorted(at_s for _, at_s in merged)

"""Account for every run whose account is open, and hold the month against its budget."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from tidegate.costs import BudgetDecision, decide_budget
from tidegate.run_costs import RunCost, spending_of
from tidegate.usecases.account_run import CostPorts, account_run

RUNS_A_LOOK = 20
"""So that EMR's limits on calls are kept; the rest is due at the next look."""


@dataclass(frozen=True)
class Accounted:
    """The accounts that a look has tried."""

    costs: tuple[RunCost, ...]

    @property
    def unknown(self) -> tuple[RunCost, ...]:
        """Those that could not be made."""
        return tuple(each for each in self.costs if each.unknown is not None)


def account_open_runs(*, ports: CostPorts, now: datetime, has_time: Callable[[], bool]) -> Accounted:
    """Account for runs whose accounts are open: those that live, to now; those that have ended, for good.

    While `has_time`: an EMR that throttles makes each of them wait. Raises Throttled.
    """
    made: list[RunCost] = []
    for seen in ports.ledger.open_costs(now):
        if len(made) == RUNS_A_LOOK or not has_time():
            break
        # The index may be behind: the account may be final by now.
        cost = ports.ledger.cost_of(seen.run_id, seen.began_at)
        if cost is not None and not cost.is_final:
            made.append(account_run(cost, ports.ledger.run(cost.run_id), ports=ports, now=now))
    return Accounted(tuple(made))


def watch_budget(budget_usd: float, *, ports: CostPorts, now: datetime) -> BudgetDecision | None:
    """Where the month stands; None without a budget. Raises Throttled."""
    if budget_usd <= 0:
        return None
    today = now.astimezone(UTC).date()
    return decide_budget(spending_of(ports.ledger.costs_of_month(today), now).usd, budget_usd, today)

"""What runs have cost, as `tidegate cost` shows it. Pure."""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from tidegate.costs import BudgetDecision, TableCost, decide_budget
from tidegate.run_costs import RunCost, Spending, cost_by_table, spending_of, words_for_cost
from tidegate.stack_limits import Stack, StackLimits, why_no_new_cluster


@dataclass(frozen=True)
class TableRow:
    """A table's share of the runs that are accounted. `usd_per_arrival` is None without arrivals."""

    table: str
    usd: float
    share: float
    """Of what all tables' shares come to."""
    arrivals: int
    usd_per_arrival: float | None


@dataclass(frozen=True)
class RunRow:
    """A run, and what is known of its cost."""

    run_id: str
    began_at: datetime
    usd: float
    """What it counts for."""
    estimated_usd: float | None
    accounted_usd: float | None
    instance_s: int
    is_final: bool
    words: str


@dataclass(frozen=True)
class Sum:
    """What some runs come to."""

    usd: float
    runs: int
    not_final: int
    """Runs that count with an estimate, or until now."""
    unknown: Mapping[str, str]
    """Why the last try at an account failed, by run."""


@dataclass(frozen=True)
class CostReport:
    """Everything that `tidegate cost` shows. A day and a month are those in which runs began, in UTC."""

    at: datetime
    month: str
    of_month: Sum
    day: str | None
    """None for a month that is over."""
    of_day: Sum | None
    tables: tuple[TableRow, ...]
    runs: tuple[RunRow, ...]
    """The newest first."""
    daily_budget_usd: float
    monthly_budget_usd: float
    ceiling: str | None
    """Why no run starts any more today, if none does."""
    budget: str | None
    """Where the month stands against its budget, if it has one: within, at_risk or over."""
    budget_reason: str | None


def cost_report(
    now: datetime,
    month: date,
    *,
    costs: Iterable[RunCost],
    shares: Iterable[Mapping[str, TableCost]],
    today_alone: bool = False,
    run_limit: int = 0,
    daily_budget_usd: float = 0.0,
    monthly_budget_usd: float = 0.0,
) -> CostReport:
    """Put together what was read of the month of `month`; with `today_alone`, runs and shares are today's."""
    of_month = sorted(costs, key=lambda cost: (cost.began_at, cost.run_id), reverse=True)
    today = now.astimezone(UTC).date()
    is_now = (today.year, today.month) == (month.year, month.month)
    of_day = [cost for cost in of_month if cost.day == today] if is_now else []
    spent, spent_today = spending_of(of_month, now), spending_of(of_day, now)
    listed = of_day if today_alone else of_month
    budget = _budget(spent, monthly_budget_usd, today if is_now else _last_day(month))
    return CostReport(
        at=now,
        month=f"{month:%Y-%m}",
        of_month=_sum(spent),
        day=today.isoformat() if is_now else None,
        of_day=_sum(spent_today) if is_now else None,
        tables=_tables(cost_by_table(shares)),
        runs=tuple(_run(cost, now) for cost in listed[:run_limit]),
        daily_budget_usd=daily_budget_usd,
        monthly_budget_usd=monthly_budget_usd,
        ceiling=why_held(spent_today, daily_budget_usd) if is_now else None,
        budget=budget.state if budget else None,
        budget_reason=budget.reason if budget else None,
    )


def why_held(today: Spending, daily_budget_usd: float) -> str | None:
    """Why no run starts any more today, in the words of dispatch; None if one may."""
    limits = StackLimits(daily_budget_usd=daily_budget_usd or None)
    stack = Stack(spent_usd=float(today.usd), run_usd=float(today.usd_a_run))
    return why_no_new_cluster(limits, stack)


def _budget(spent: Spending, budget_usd: float, day: date) -> BudgetDecision | None:
    return decide_budget(spent.usd, budget_usd, day) if budget_usd > 0 else None


def _last_day(month: date) -> date:
    return month.replace(day=calendar.monthrange(month.year, month.month)[1])


def _sum(spending: Spending) -> Sum:
    return Sum(float(spending.usd), spending.runs, spending.not_final, dict(spending.unknown))


def _tables(by_table: Mapping[str, TableCost]) -> tuple[TableRow, ...]:
    total = sum((each.usd for each in by_table.values()), Decimal(0))
    return tuple(
        TableRow(
            table,
            float(cost.usd),
            float(cost.usd / total) if total else 0.0,
            cost.arrivals,
            None if cost.usd_per_arrival is None else float(cost.usd_per_arrival),
        )
        for table, cost in by_table.items()
    )


def _run(cost: RunCost, now: datetime) -> RunRow:
    return RunRow(
        run_id=cost.run_id,
        began_at=cost.began_at,
        usd=float(cost.usd(now)),
        estimated_usd=None if cost.estimate is None else float(cost.estimate.expected_usd),
        accounted_usd=None if cost.accounted_usd is None else float(cost.accounted_usd),
        instance_s=cost.instance_s,
        is_final=cost.is_final,
        words=words_for_cost(cost, now),
    )

"""`tidegate cost`: what runs have cost, today and this month, by table and by arrival."""

# ruff: noqa: PLC0415 - boto3 is imported by the verb that needs it, so that --help stays fast

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tidegate_cli import wording
from tidegate_cli.connection import Connection, find
from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.output import CliError, out, print_json
from tidegate_cli.spending import CostReport, Sum, cost_report
from tidegate_cli.verbs.options import JsonOption, ProfileOption, RegionOption, StackOption

_BUDGET_COLORS = {"within": "green", "at_risk": "yellow", "over": "red"}


def cost(
    *,
    month: Annotated[
        str | None, typer.Option("--month", metavar="YYYY-MM", help="Another month than this one (UTC).")
    ] = None,
    today: Annotated[bool, typer.Option("--today", help="Tables and runs of today alone.")] = False,
    runs: Annotated[int, typer.Option("--runs", min=0, max=1000, help="How many of the newest runs to show.")] = 5,
    as_json: JsonOption = False,
    stack: StackOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
) -> None:
    """Show what runs have cost: today, this month, by table and by arrival, and against the budgets."""
    now = datetime.now(UTC)
    wanted = _month(month, now)
    if today and (wanted.year, wanted.month) != (now.year, now.month):
        raise CliError("--today is of this month: leave --month out.", ExitCode.USAGE)
    found = read(find(stack, region, profile), now, wanted, today_alone=today, run_limit=runs)
    if as_json:
        print_json(asdict(found))
    else:
        show(found, out())


def read(
    connection: Connection, now: datetime, month: date, *, today_alone: bool = False, run_limit: int = 5
) -> CostReport:
    """Read what the runs of a month have cost."""
    from tidegate_cli.adapters.dynamodb import Ledger

    ledger = Ledger(connection)
    return cost_report(
        now,
        month,
        costs=ledger.costs_of_month(month),
        shares=ledger.shares_of_day(now.date()) if today_alone else ledger.shares_of_month(month),
        today_alone=today_alone,
        run_limit=run_limit,
        daily_budget_usd=connection.daily_budget_usd,
        monthly_budget_usd=connection.monthly_budget_usd,
    )


def show(found: CostReport, console: Console) -> None:
    """Print a report."""
    if found.of_day is not None:
        ceiling = f", of ${found.daily_budget_usd:,.2f}" if found.daily_budget_usd else ""
        console.print(Text(f"Today       {_words(found.of_day)}{ceiling}"))
    console.print(Text(f"{found.month}     {_words(found.of_month)}"))
    if found.budget is not None:
        words = f"{found.budget.replace('_', ' ')}: {found.budget_reason}"
        console.print(Text(f"Budget      {words}", style=_BUDGET_COLORS[found.budget]))
    if found.ceiling is not None:
        console.print(Text(f"No run starts any more today: {found.ceiling}", style="yellow"))
    for run_id, why in list(found.of_month.unknown.items())[:3]:
        console.print(Text(f"{run_id} counts with its estimate: {why}", style="yellow"))
    if found.tables:
        console.print()
        console.print(_tables_table(found))
    if found.runs:
        console.print()
        console.print(_runs_table(found))


def _month(text: str | None, now: datetime) -> date:
    if text is None:
        return now.date()
    try:
        return date.fromisoformat(f"{text}-01")
    except ValueError:
        raise CliError(f"--month {text!r} is no month such as {now:%Y-%m}.", ExitCode.USAGE) from None


def _words(of: Sum) -> str:
    not_final = f", {of.not_final} not accounted for good" if of.not_final else ""
    return f"${of.usd:,.2f}, {wording.count(of.runs, 'run')}{not_final}"


def _tables_table(found: CostReport) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("table", "cost", "share", "arrivals", "a million arrivals"):
        table.add_column(name, justify="left" if name == "table" else "right")
    for row in found.tables:
        a_million = "-" if row.usd_per_arrival is None else f"${row.usd_per_arrival * 1_000_000:,.2f}"
        table.add_row(row.table, f"${row.usd:,.4f}", f"{row.share:.0%}", wording.number(row.arrivals), a_million)
    return table


def _runs_table(found: CostReport) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("run", "began", "cost", ""):
        table.add_column(name, justify="right" if name == "cost" else "left")
    for run in found.runs:
        style = "" if run.is_final else "yellow"
        table.add_row(run.run_id, wording.ago(run.began_at, found.at), f"${run.usd:,.4f}", Text(run.words, style=style))
    return table

"""`tidegate status`: how things stand."""

# ruff: noqa: PLC0415 - boto3 is imported by the verb that needs it, so that --help stays fast

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tidegate.run_costs import spending_of
from tidegate.scaling_record import ScalingLook

from tidegate_cli import wording
from tidegate_cli.connection import Connection, find
from tidegate_cli.output import out, print_json
from tidegate_cli.overview import Overview, overview
from tidegate_cli.spending import why_held
from tidegate_cli.verbs.options import JsonOption, ProfileOption, RegionOption, StackOption

_COLORS = {
    "up to date": "green", "late": "red", "blocked": "red", "retrying": "yellow", "paused": "yellow", "merging": "cyan",
}  # fmt: skip
_RUN_COLORS = {"succeeded": "green", "failed": "red", "running": "cyan"}


def status(
    *,
    runs: Annotated[int, typer.Option("--runs", min=0, max=100, help="How many of the last runs to show.")] = 5,
    as_json: JsonOption = False,
    stack: StackOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
) -> None:
    """Show each table against its promise, what waits, what was set aside, and the last runs."""
    found = read(find(stack, region, profile), run_limit=runs)
    if as_json:
        print_json(asdict(found))
    else:
        show(found, out())


def read(connection: Connection, *, run_limit: int = 5) -> Overview:
    """Read how things stand, now."""
    from tidegate_cli.adapters.dynamodb import Ledger
    from tidegate_cli.adapters.s3 import ObjectStore

    ledger, store = Ledger(connection), ObjectStore(connection)
    promises = deployed_promises(connection)
    names = {*promises, *store.folders(connection.lake_bucket)}
    pending = ledger.pending()
    names |= {arrival.table for arrival in pending if arrival.table}
    states = {name: state for name in sorted(names) if (state := ledger.table(name))}
    runs = ledger.runs(run_limit) if run_limit else []
    running = [run.run_id for run in runs if run.state == "running"]
    now = datetime.now(UTC)
    costs = {
        run.run_id: cost for run in runs if run.started_at and (cost := ledger.cost_of(run.run_id, run.started_at))
    }
    budget = connection.daily_budget_usd
    return overview(
        now,
        tables=names,
        states=states,
        promises=promises,
        pending=pending,
        set_aside=ledger.set_aside(),
        runs=runs,
        paused_reason=ledger.paused_stack(),
        costs_usd={run_id: float(cost.usd(now)) for run_id, cost in costs.items()},
        # Asked only where there is a ceiling, as dispatch does.
        ceiling=why_held(spending_of(ledger.costs_of_day(now.date()), now), budget) if budget else None,
        looks={run_id: look for run_id in running if (look := ledger.newest_look(run_id))},
    )


def deployed_promises(connection: Connection) -> dict[str, Any]:
    """The freshness of each table in the contracts that are deployed."""
    from tidegate_cli.adapters.s3 import ObjectStore
    from tidegate_cli.adapters.stepfunctions import StateMachine

    prefix = StateMachine(connection).deployed_artifacts()
    contracts = ObjectStore(connection).json(connection.control_bucket, f"{prefix}contracts.json") if prefix else None
    return {table["table"]: table["freshness"] for table in (contracts or {}).get("tables", [])}


def show(found: Overview, console: Console) -> None:
    """Print an overview."""
    if found.paused_reason:
        console.print(Text(f"All tables are paused: {found.paused_reason}. `tidegate resume --all` ends it.\n"))
    if found.ceiling:
        held = f": {', '.join(found.held)} wait" if found.held else ""
        console.print(Text(f"No run starts any more today{held}; {found.ceiling}\n", style="yellow"))
    console.print(tables_table(found))
    waiting = sum(row.pending_files for row in found.tables)
    total = sum(row.pending_bytes for row in found.tables)
    pending = f"{wording.count(waiting, 'file')} pending, {wording.size(total)}"
    console.print(f"\n{pending}" if waiting else "\nNothing is pending.")
    for kind in found.set_aside:
        files = f"{wording.count(kind.files, 'file')} {kind.state}" + (f" for {kind.table}" if kind.table else "")
        console.print(Text(f"{files}: {kind.reason} (such as {kind.example})"))
    if not found.set_aside_is_all:
        console.print("These are not all that was set aside: the ledger is large, and only a part was read.")
    if found.runs:
        console.print()
        console.print(runs_table(found))


def tables_table(found: Overview) -> Table:
    """A line for each table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("table", "version", "rows", "last merge", "freshness", "pending", "oldest", ""):
        table.add_column(name, justify="right" if name in ("version", "rows", "pending") else "left")
    for row in found.tables:
        table.add_row(
            row.table,
            wording.number(row.version),
            wording.number(row.rows),
            wording.ago(row.merged_at, found.at),
            row.promise,
            wording.number(row.pending_files),
            wording.ago(row.oldest_pending, found.at),
            Text(f"{row.standing} {row.note}".strip(), style=_COLORS.get(row.standing, "")),
        )
    return table


def runs_table(found: Overview) -> Table:
    """A line for each run; of one that is running, what was last seen of its cluster."""
    now = found.at
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("run", "state", "started", "took", "cost", "batches", ""):
        table.add_column(name, justify="right" if name in ("took", "cost") else "left")
    for run in found.runs:
        look = found.looks.get(run.run_id)
        running = (now - run.started_at).total_seconds() if run.started_at and run.state == "running" else None
        seconds = run.seconds if run.seconds is not None else running
        table.add_row(
            run.run_id,
            Text(run.state, style=_RUN_COLORS.get(run.state, "")),
            wording.ago(run.started_at, now),
            "-" if seconds is None else wording.duration(seconds),
            f"${found.costs_usd[run.run_id]:,.4f}" if run.run_id in found.costs_usd else "-",
            ", ".join(f"{name} {batch}" for name, batch in run.batches) or "-",
            Text(run.error, style="red") if run.error else Text(_seen(look) if look is not None else ""),
        )
    return table


def _seen(look: ScalingLook) -> str:
    """How large a cluster may be, and why."""
    return f"up to {wording.count(look.maximum_units, 'unit')}: {look.reason}"

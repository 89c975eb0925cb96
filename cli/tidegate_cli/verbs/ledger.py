"""`tidegate ledger rebuild`: bring a ledger that is lost, or was restored, up to date with the tables."""

# ruff: noqa: PLC0415 - boto3 and delta-rs are imported by the verb that needs them, so that --help stays fast

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from tidegate_cli import wording
from tidegate_cli.connection import Connection, find
from tidegate_cli.output import CliError, out, print_json, say
from tidegate_cli.verbs.options import JsonOption, ProfileOption, RegionOption, StackOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidegate.usecases.rebuild_ledger import Plan, RebuildPorts

app = typer.Typer(no_args_is_help=True, help="Mend the ledger.")


@app.callback()
def _group() -> None:
    """Mend the ledger."""


@app.command()
def rebuild(
    *,
    yes: Annotated[
        bool, typer.Option("--yes", help="Write it. Without this, it only says what it would write.")
    ] = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
) -> None:
    """Make the ledger say what the tables, manifests and receipts say.

    For a ledger that is lost, or was restored to an earlier moment. Pause the stack first, and reconcile before you
    resume it: docs/operations.md has the whole procedure. Doing it twice changes nothing.
    """
    from tidegate.usecases.rebuild_ledger import plan_rebuild, write_rebuild

    from tidegate_cli.adapters.aws import translated
    from tidegate_cli.verbs.status import deployed_promises

    connection, now = find(stack, region, profile), datetime.now(UTC)
    if yes:
        check_that_nothing_runs(connection)
    with translated():
        ports = _ports(connection)
        plans = plan_rebuild(sorted(deployed_promises(connection)), ports=ports, now=now)
        if yes:
            for plan in plans:
                write_rebuild(plan, ports=ports, now=now)
    if as_json:
        print_json({"written": yes, "tables": [_facts(plan) for plan in plans]})
        return
    _show(plans)
    say(
        "\nThe ledger is rebuilt. Reconcile it with the landing bucket now, then `tidegate resume --all`."
        if yes
        else "\nNothing was written. `tidegate ledger rebuild --yes` writes it."
    )


def check_that_nothing_runs(connection: Connection) -> None:
    """Raises :class:`CliError` unless the stack is paused, and no execution and no cluster of it lives."""
    from tidegate_cli.adapters.dynamodb import Ledger
    from tidegate_cli.adapters.emr import Clusters
    from tidegate_cli.adapters.stepfunctions import StateMachine

    if Ledger(connection).paused_stack() is None:
        raise CliError('The stack is not paused. Do that first: tidegate pause --all --reason "rebuilding the ledger".')
    running = StateMachine(connection).running()
    if running:
        raise CliError(f"A run is under way: {', '.join(running[:3])}. Wait until it has ended, or stop it.")
    alive = Clusters(connection).alive(connection.stack_name)
    if alive:
        raise CliError(f"Cluster {', '.join(alive[:3])} still lives and may be writing. Wait until it is terminated.")


def _ports(connection: Connection) -> RebuildPorts:
    from tidegate.usecases.rebuild_ledger import RebuildPorts

    from tidegate_cli.adapters.dynamodb import ledger_of, repair_of
    from tidegate_cli.adapters.lake import Lake
    from tidegate_cli.adapters.s3 import objects_of

    return RebuildPorts(
        ledger=ledger_of(connection),
        repair=repair_of(connection),
        objects=objects_of(connection),
        logs=Lake.of(connection),
        control_bucket=connection.control_bucket,
    )


def _facts(plan: Plan) -> dict[str, Any]:
    rebuilt = plan.rebuilt
    return {
        "table": rebuilt.table.name,
        "last_merged_batch": rebuilt.table.last_merged_batch,
        "unsettled_batch": rebuilt.table.unsettled_batch,
        "next_batch": rebuilt.table.next_batch,
        "delta_version": rebuilt.delta_version,
        "batches": len(rebuilt.batches),
        "keys": len(rebuilt.heads),
        "arrivals": dict(plan.arrivals_by_state),
        "lists_queued": sorted(rebuilt.table.reopened),
        "notes": list(rebuilt.notes),
    }


def _show(plans: Sequence[Plan]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("table", "last batch", "version", "to be done again", "next", "batches", "keys", "arrivals to write"):
        table.add_column(name, justify="left" if name in {"table", "arrivals to write"} else "right")
    for plan in plans:
        rebuilt = plan.rebuilt
        states = ", ".join(f"{count:,} {state}" for state, count in sorted(plan.arrivals_by_state.items()))
        table.add_row(
            rebuilt.table.name,
            wording.number(rebuilt.table.last_merged_batch),
            wording.number(rebuilt.delta_version),
            wording.number(rebuilt.table.unsettled_batch),
            wording.number(rebuilt.table.next_batch),
            wording.number(len(rebuilt.batches)),
            wording.number(len(rebuilt.heads)),
            states or "none",
        )
    out().print(table)
    for note in (note for plan in plans for note in plan.rebuilt.notes):
        say(f"! {note}")

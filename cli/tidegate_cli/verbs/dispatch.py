"""`tidegate dispatch now`: start a run for what is pending, without waiting for the schedule."""

# ruff: noqa: PLC0415 - boto3 is imported by the verb that needs it, so that --help stays fast

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidegate_cli import wording
from tidegate_cli.connection import Connection, find
from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.output import CliError, out, print_json, say
from tidegate_cli.verbs.options import JsonOption, ProfileOption, RegionOption, StackOption

if TYPE_CHECKING:
    from tidegate_cli.adapters.stepfunctions import Execution
    from tidegate_cli.follow import Line

app = typer.Typer(no_args_is_help=True, help="Decide what is due, and start a run for it.")


NOTHING_PENDING = "nothing is pending"
"""What dispatch_runs says of a table that needs no run."""


@dataclass(frozen=True)
class Dispatched:
    """What dispatch_runs did."""

    run_id: str | None
    execution_arn: str | None
    reason: str
    tables: tuple[str, ...]
    decisions: Mapping[str, str] = field(default_factory=dict)
    """Why each table is or isn't in the run."""


@app.callback()
def _group() -> None:
    """Decide what is due, and start a run for it."""


@app.command()
def now(
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run until it has ended.")] = False,
    timeout_s: Annotated[int, typer.Option("--timeout", min=1, help="The most seconds to wait.")] = 3600,
    as_json: JsonOption = False,
    stack: StackOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
) -> None:
    """Start a run for everything that is pending, now."""
    connection = find(stack, region, profile)
    started = dispatch(connection)
    if not as_json:
        _say_what_started(started)
    execution = None
    if wait and started.run_id and started.execution_arn:
        execution = watch(connection, started, timeout_s, quiet=as_json)
    if as_json:
        print_json({
            "run_id": started.run_id,
            "execution_arn": started.execution_arn,
            "reason": started.reason,
            "tables": list(started.tables),
            "decisions": started.decisions,
            "status": execution.status if execution else None,
        })  # fmt: skip
    if execution is not None:
        conclude(started, execution, quiet=as_json)


def _say_what_started(started: Dispatched) -> None:
    if started.run_id:
        say(f"Run {started.run_id} is started: {started.reason}")
        return
    waiting = {table: why for table, why in started.decisions.items() if why != NOTHING_PENDING}
    say(f"No run is started: {started.reason if waiting else NOTHING_PENDING}.")
    for table, why in waiting.items():
        say(f"  {table}: {why}")


def dispatch(connection: Connection) -> Dispatched:
    """Ask dispatch_runs to start a run for all that is pending."""
    from tidegate_cli.adapters.lambda_functions import invoke

    return parse_answer(
        invoke(connection, connection.dispatch_function, {"dispatch": "now"}), connection.state_machine_arn
    )


def parse_answer(answer: Any, state_machine_arn: str) -> Dispatched:
    """What dispatch_runs answered. The execution of a run that it starts is named `<run>-1`."""
    started = answer if isinstance(answer, dict) else {}
    run_id = started.get("run_id")
    executions = state_machine_arn.replace(":stateMachine:", ":execution:")
    return Dispatched(
        run_id=run_id,
        execution_arn=started.get("execution_arn") or (f"{executions}:{run_id}-1" if run_id else None),
        reason=str(started.get("reason") or NOTHING_PENDING),
        tables=tuple(started.get("tables") or ()),
        decisions=dict(started.get("decisions") or {}),
    )


def watch(
    connection: Connection,
    started: Dispatched,
    timeout_s: float,
    *,
    quiet: bool = False,
    tell: Callable[[Line], None] | None = None,
) -> Execution:
    """Follow a run to its end, telling each piece of news as it comes. Raises :class:`CliError`."""
    from tidegate_cli.follow import follow

    if started.run_id is None or started.execution_arn is None:
        raise CliError("There is no run to follow.")
    tell = tell or _print_line
    deadline = time.monotonic() + timeout_s
    for look in follow(connection, started.run_id, started.execution_arn):
        if not quiet:
            for line in look.lines:
                tell(line)
        if look.has_ended:
            return look.execution
        if time.monotonic() > deadline:
            raise CliError(
                f"Run {started.run_id} has not ended within {wording.duration(timeout_s)}; it goes on."
                f" `tidegate timings {started.run_id}` shows how far it is.",
                ExitCode.TIMED_OUT,
            )
    raise CliError(f"Step Functions knows no execution {started.execution_arn}.")


def _print_line(line: Line) -> None:
    out().print(f"{line.at:%H:%M:%S}  {line.text}", markup=False)


def conclude(started: Dispatched, execution: Execution, *, quiet: bool = False) -> None:
    """Say how a run ended. Raises :class:`CliError` unless it succeeded."""
    took = (execution.ended_at - execution.started_at).total_seconds() if execution.ended_at else 0.0
    if execution.status == "SUCCEEDED":
        if not quiet:
            say(f"Run {started.run_id} has succeeded in {wording.duration(took)}.")
        return
    raise CliError(f"Run {started.run_id} has ended as {execution.status}: {execution.cause or 'no cause is recorded'}")

"""The `tidegate` command: puts the verbs together, and turns whatever goes wrong into one clear line.

Nothing heavy is imported here: boto3 and delta-rs cost seconds, and `--help` needs none of them.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from typing import Annotated

import typer

from tidegate_cli.exit_codes import ExitCode, listed
from tidegate_cli.output import CliError, complain, say
from tidegate_cli.verbs import (
    cost,
    dispatch,
    ledger,
    local,
    pause,
    prices,
    query,
    reconcile,
    simulate,
    status,
    tables,
    timings,
    trace,
)

app = typer.Typer(
    name="tidegate",
    help="Files land in S3; Tidegate merges them into Delta tables.",
    epilog=f"Exit codes: {listed()}.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Say which release this is.")] = False,
) -> None:
    """Files land in S3; Tidegate merges them into Delta tables."""
    if version:
        say(f"tidegate {importlib.metadata.version('tidegate')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        say(context.get_help())
        raise typer.Exit(ExitCode.USAGE)


app.command()(status.status)
app.command()(cost.cost)
app.command()(query.query)
app.command()(timings.timings)
app.command()(pause.pause)
app.command()(pause.resume)
app.command()(reconcile.reconcile)
app.command()(simulate.simulate)
app.add_typer(dispatch.app, name="dispatch")
app.add_typer(ledger.app, name="ledger")
app.add_typer(local.app, name="local")
app.add_typer(prices.app, name="prices")
app.add_typer(tables.app, name="tables")
app.add_typer(trace.app, name="trace")


def main() -> None:
    """Run the command line; the exit code is one of :class:`ExitCode`."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    try:
        app(arguments, prog_name="tidegate")
    except SystemExit as ending:  # how typer returns, also after a usage error, which it has shown by then
        return ending.code if isinstance(ending.code, int) else ExitCode.OK
    except CliError as error:
        complain(f"Error: {error}")
        return error.code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as error:  # the last line of defence: one line, and how to see more
        if os.environ.get("TIDEGATE_DEBUG"):
            raise
        complain(
            f"Error: {type(error).__name__}: {error}\n"
            "This is a fault of tidegate itself: please report it with what TIDEGATE_DEBUG=1 shows."
        )
        return ExitCode.FAILED
    return ExitCode.OK

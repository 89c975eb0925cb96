"""`tidegate local`: start and stop the local cloud."""

# ruff: noqa: PLC0415 - the local cloud is imported when it is used, so that --help stays fast

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Annotated

import typer

from tidegate_cli.output import CliError, say

app = typer.Typer(no_args_is_help=True, help="Start and stop the local cloud: AWS on this machine.")


@app.command()
def up(
    *,
    detach: Annotated[bool, typer.Option("--detach", help="Return once it is up, and leave it running.")] = False,
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="The port of its endpoint, on loopback.")
    ] = None,
    yarn: Annotated[
        bool, typer.Option("--yarn", help="A real YARN for each cluster, which managed scaling scales. Linux alone.")
    ] = False,
) -> None:
    """Start the local cloud and deploy the stack to it."""
    _launch(lambda launcher: launcher.up(detach=detach, port=port, yarn=yarn))


@app.command()
def down() -> None:
    """Stop the local cloud and remove what it left."""
    _launch(lambda launcher: launcher.down())


@app.command()
def status() -> None:
    """Say whether the local cloud runs, and where."""
    _launch(lambda launcher: launcher.status())


@app.command()
def fault(
    planned: Annotated[
        list[str] | None,
        typer.Argument(help='Faults as JSON, such as \'{"fault": "no_capacity"}\'; local/README.md has them all.'),
    ] = None,
    *,
    clear: Annotated[bool, typer.Option("--clear", help="Forget what was planned before.")] = False,
) -> None:
    """Plan that something goes wrong in the local cloud, and say what is planned and has struck."""
    _launch(lambda launcher: launcher.fault(planned or [], clear=clear))


@app.command()
def events() -> None:
    """Print the events that came to the local EventBridge so far, such as "Table Updated": a line of JSON each."""
    _launch(lambda launcher: launcher.events())


def _launch(action: Callable[[ModuleType], str]) -> None:
    from tidegate_local import launcher, settings

    try:
        told = action(launcher)
    except (launcher.LocalCloudError, settings.InvalidSetting) as error:
        raise CliError(str(error)) from None
    if told:
        say(told)

"""`tidegate pause` and `tidegate resume`: leave a table, or all of them, alone for a while."""

# ruff: noqa: PLC0415 - boto3 is imported by the verb that needs it, so that --help stays fast

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from tidegate_cli.connection import Connection, find
from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.output import CliError, print_json, say
from tidegate_cli.verbs.options import JsonOption, ProfileOption, RegionOption, StackOption

if TYPE_CHECKING:
    from tidegate_cli.adapters.dynamodb import Ledger

TableArgument = Annotated[str | None, typer.Argument(metavar="[TABLE]", help="The table.", show_default=False)]
AllOption = Annotated[bool, typer.Option("--all", help="All tables of the stack instead of one.")]


def pause(
    table: TableArgument = None,
    *,
    all_tables: AllOption = False,
    reason: Annotated[str, typer.Option("--reason", help="Why, for whoever finds it paused.", show_default=False)],
    as_json: JsonOption = False,
    stack: StackOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
) -> None:
    """Start no merge of a table, or of any, until it is resumed. What lands meanwhile is recorded.

    A run that is at the table ends what it has begun, and takes no more of it on.
    """
    if not reason.strip():
        raise CliError("--reason is empty: say why, for whoever finds the table paused.", ExitCode.USAGE)
    _set(table, all_tables, reason.strip(), find(stack, region, profile), as_json=as_json)


def resume(
    table: TableArgument = None,
    *,
    all_tables: AllOption = False,
    as_json: JsonOption = False,
    stack: StackOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
) -> None:
    """End a pause: what has landed meanwhile is merged with the next runs.

    `--all` ends the pause of the stack; a table that was paused by its name stays so.
    """
    _set(table, all_tables, None, find(stack, region, profile), as_json=as_json)


def _set(table: str | None, all_tables: bool, reason: str | None, connection: Connection, *, as_json: bool) -> None:
    """Pause with a reason, or resume without one."""
    from tidegate_cli.adapters.aws import translated
    from tidegate_cli.adapters.dynamodb import Ledger, ledger_of

    if (table is None) != all_tables:
        raise CliError("Name a table, or say --all for the whole stack.", ExitCode.USAGE)
    if table is not None:
        _check_table(connection, table)
    known = Ledger(connection)
    before = _paused(known, table)
    with translated():
        domain = ledger_of(connection)
        if reason is None:
            domain.resume(table)
        else:
            domain.pause(table, reason, datetime.now(UTC))
    of_stack = known.paused_stack()
    if as_json:
        print_json({"table": table, "paused": reason, "paused_before": before, "paused_stack": of_stack})
        return
    what = f"Table {table}" if table is not None else "The stack"
    say(_in_words(what, before, reason))
    if table is not None and of_stack is not None:
        say(f"All tables are paused besides: {of_stack}. `tidegate resume --all` ends it.")


def _paused(known: Ledger, table: str | None) -> str | None:
    if table is None:
        return known.paused_stack()
    state = known.table(table)
    return state.paused_reason if state is not None else None


def _in_words(what: str, before: str | None, reason: str | None) -> str:
    if reason is None:
        return f"{what} goes on." if before is not None else f"{what} was not paused."
    again = f" (it was paused before: {before})" if before is not None else ""
    return f"{what} is paused: {reason}{again}. What lands is recorded, and merged once it is resumed."


def _check_table(connection: Connection, table: str) -> None:
    """Raises :class:`CliError` for a table that neither a deployed contract nor the lake has."""
    from tidegate_cli.adapters.s3 import ObjectStore
    from tidegate_cli.contracts.findings import did_you_mean
    from tidegate_cli.verbs.status import deployed_promises

    tables = {*deployed_promises(connection), *ObjectStore(connection).folders(connection.lake_bucket)}
    if table not in tables:
        names = sorted(tables)
        hint = did_you_mean(table, names) or f"; there are {', '.join(names) or 'none'}."
        raise CliError(f"No contract has table {table!r}{hint}", ExitCode.USAGE)

"""`tidegate query`: SQL over the lake's tables."""

# ruff: noqa: PLC0415 - delta-rs and boto3 are imported by the verb that needs them, so that --help stays fast

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from tidegate_cli import wording
from tidegate_cli.connection import Connection, find
from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.output import CliError, out, print_json, say
from tidegate_cli.verbs.options import ProfileOption, RegionOption, StackOption

if TYPE_CHECKING:
    from tidegate_cli.adapters.lake import Result


class Format(StrEnum):
    """How the rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def query(
    sql: Annotated[str, typer.Argument(help='Such as "select count(*) from flights".')],
    *,
    format_: Annotated[Format, typer.Option("--format", help="How to print the rows.")] = Format.TABLE,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    stack: StackOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
) -> None:
    """Query the lake's tables.

    The SQL is DataFusion's. Of a table merged by scd2 or bitemporal, `as_of(table, valid, known)` is what was so at
    `valid`, as was believed at `known`, and `<table>__now` what is so now.

    `_tidegate`, which tells where a row came from, is there when the query names it.
    """
    connection = find(stack, region, profile)
    show(run(connection, sql), Format.JSON if as_json else format_)


def run(connection: Connection, sql: str) -> Result:
    """Run a query against the connection's lake. Raises :class:`CliError`."""
    from tidegate_cli.adapters.lake import InvalidQuery, Lake, UnknownTable

    try:
        return Lake.of(connection).query(sql)
    except UnknownTable as error:
        raise CliError(_no_table(connection, error.table), ExitCode.USAGE) from None
    except InvalidQuery as error:
        raise CliError(f"The query can't be run: {error}", ExitCode.USAGE) from None


def _no_table(connection: Connection, table: str) -> str:
    from tidegate_cli.adapters.s3 import ObjectStore
    from tidegate_cli.contracts.findings import did_you_mean

    tables = sorted(ObjectStore(connection).folders(connection.lake_bucket))
    if not tables:
        return f"There is no table {table!r}: the lake is empty. A table appears with its first merge."
    hint = did_you_mean(table, tables) or f" (tables: {', '.join(tables)})."
    return f"There is no table {table!r} in the lake{hint} A table appears with its first merge."


def show(result: Result, format_: Format) -> None:
    """Print a result."""
    if format_ is Format.JSON:
        names = _told_apart(result.columns)
        print_json([dict(zip(names, row, strict=True)) for row in result.rows])
    elif format_ is Format.CSV:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(result.columns)
        writer.writerows(["" if value is None else _text(value) for value in row] for row in result.rows)
    else:
        _show_table(result)


def _show_table(result: Result) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for position, column in enumerate(result.columns):
        numbers = any(isinstance(row[position], int | float) for row in result.rows)
        table.add_column(Text(column), justify="right" if numbers else "left", overflow="fold")
    for row in result.rows:
        table.add_row(*(Text("null", style="dim") if value is None else Text(_text(value)) for value in row))
    out().print(table)
    say(wording.count(len(result.rows), "row"))


def _told_apart(columns: Sequence[str]) -> list[str]:
    """`id, id` becomes `id, id_2`: a JSON object has each name once."""
    return [
        f"{column}_{columns[: at + 1].count(column)}" if column in columns[:at] else column
        for at, column in enumerate(columns)
    ]


def _text(value: Any) -> str:
    return value.isoformat() if hasattr(value, "isoformat") else str(value)

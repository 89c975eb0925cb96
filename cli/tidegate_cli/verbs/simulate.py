"""`tidegate simulate`: what a freshness costs, before anything is deployed."""

# ruff: noqa: PLC0415 - the lab and its charts are imported by the verb that needs them, so that --help stays fast

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress
from rich.table import Table

from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.output import CliError, complain, err, out, print_json, say
from tidegate_cli.verbs.options import JsonOption

if TYPE_CHECKING:
    from tidegate.contracts import Contract
    from tidegate_lab.compare import Row

LONGEST_DAYS = 400.0


def simulate(
    trace: Annotated[
        str,
        typer.Option(
            "--trace",
            help="steady, diurnal, bursty, small_files, backfill, heavy, or a file with a recorded trace.",
        ),
    ] = "diurnal",
    tables: Annotated[
        Path | None,
        typer.Option("--tables", help="A folder with contracts: their tables and the limits of their batches."),
    ] = None,
    freshness: Annotated[
        str, typer.Option("--freshness", metavar="LIST", help="What is compared, such as 5m,15m,1h.")
    ] = "15m,30m,1h",
    *,
    policy: Annotated[
        list[str] | None, typer.Option("--policy", help="One of the policies; several times. Without it, all.")
    ] = None,
    days: Annotated[float, typer.Option("--days", min=1, max=LONGEST_DAYS, help="Of a generated trace.")] = 7,
    repeats: Annotated[int, typer.Option("--repeats", min=1, max=10_000, help="Seeds; intervals come of them.")] = 5,
    folder: Annotated[
        Path, typer.Option("--out", help="Where cost_against_freshness.html and .png are written.")
    ] = Path(".tidegate/lab"),
    as_json: JsonOption = False,
) -> None:
    """Replay arrivals through Tidegate's own decisions and through the alternatives: cost against freshness."""
    from tidegate_lab import compare, words
    from tidegate_lab.draw import draw

    freshnesses = _freshnesses(freshness)
    contracts, names = _contracts(tables), _policies(policy)
    _check_trace(trace, days, contracts)
    cases = [
        compare.Case(trace, name, freshness_s, seed, days, _tables(contracts), tuple(contracts))
        for name in names
        for freshness_s in (freshnesses if words.keeps_freshness(name) else freshnesses[-1:])
        for seed in range(repeats)
    ]
    with Progress(console=err(), transient=True, disable=as_json) as bar:
        task = bar.add_task("simulating", total=len(cases))
        rows = compare.rows_of(compare.simulate_all(cases, progress=lambda: bar.advance(task)))
    if as_json:
        print_json([{**asdict(row), "trace": row.trace} for row in rows])
        return
    out().print(_table(rows))
    for line in words.prices_of_freshness(rows):
        say(line)
    for line in words.warnings(freshnesses):
        complain(line)
    for path in draw(rows, folder):
        say(str(path))


def _freshnesses(text: str) -> list[int]:
    from tidegate_cli.contracts import durations

    try:
        return sorted({durations.parse(part.strip(), least="1m", most="31d") for part in text.split(",")})
    except ValueError as error:
        raise CliError(f"--freshness: {error}", ExitCode.USAGE) from error


def _contracts(folder: Path | None) -> list[Contract]:
    if folder is None:
        return []
    from tidegate.contracts import parse_contracts

    from tidegate_cli.contracts.check import check_folder
    from tidegate_cli.contracts.compile import compile_contracts

    try:
        checked = check_folder(folder)
    except FileNotFoundError:
        raise CliError(f"There is no folder {folder}: name another with --tables.", ExitCode.USAGE) from None
    if checked.errors:
        raise CliError(f"The contracts in {folder} have errors, the first is {checked.errors[0]}", ExitCode.USAGE)
    return list(parse_contracts(compile_contracts(checked.contracts).decode()).by_table.values())


def _policies(wanted: list[str] | None) -> list[str]:
    from tidegate_lab.registry import POLICIES, WHAT_IF

    known = (*POLICIES, *WHAT_IF)
    for name in wanted or []:
        if name not in known:
            raise CliError(f"There is no policy {name!r}: {', '.join(known)}.", ExitCode.USAGE)
    return wanted or list(POLICIES)


def _check_trace(trace: str, days: float, contracts: list[Contract]) -> None:
    from tidegate_lab.compare import load_trace

    try:
        load_trace(trace, days, 0, _tables(contracts))
    except ValueError as error:
        raise CliError(f"--trace: {error}", ExitCode.USAGE) from error


def _tables(contracts: list[Contract]) -> tuple[str, ...]:
    """Whose arrivals are made up."""
    from tidegate_lab.generate import TABLES

    return tuple(contract.table for contract in contracts) or TABLES


def _table(rows: list[Row]) -> Table:
    from tidegate_lab import words

    table = Table(box=None, pad_edge=False, header_style="bold")
    for position, name in enumerate(words.HEADER[1:]):
        table.add_column(name, justify="left" if position == 0 else "right", no_wrap=True)
    for row in rows:
        is_mine = row.policy == "tidegate"
        table.add_row(*words.cells(row)[1:], style="bold" if is_mine else "")
        if is_mine:
            table.add_row(*words.bound_cells(row)[1:], style="dim")
    return table

"""`tidegate tables`: check the contracts, compile them, and describe what may stand in them."""

# ruff: noqa: PLC0415 - what only one verb needs is imported by that verb, so that --help stays fast

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.output import CliError, complain, print_json, say

if TYPE_CHECKING:
    from tidegate_cli.contracts.check import Checked

app = typer.Typer(no_args_is_help=True, help="Check the contracts in tables/, and compile them.")

TablesOption = Annotated[Path, typer.Option("--tables", help="The folder with the contracts.", show_default=True)]
OutOption = Annotated[Path | None, typer.Option("--out", help="The file to write; without it, stdout.")]
DEFAULT_TABLES = Path("tables")


@app.command()
def check(
    tables: TablesOption = DEFAULT_TABLES,
    as_json: Annotated[bool, typer.Option("--json", help="Findings as JSON.")] = False,
) -> None:
    """Check every contract, and the contracts against each other."""
    checked = _checked(tables)
    if as_json:
        print_json([asdict(finding) for finding in checked.findings])
    else:
        for finding in checked.findings:
            say(str(finding))
    errors, warnings = len(checked.errors), len(checked.findings) - len(checked.errors)
    if errors:
        raise CliError(f"{_count(errors, 'error')}, {_count(warnings, 'warning')}: nothing was compiled or deployed.")
    if not as_json:
        names = ", ".join(contract.table for contract in checked.contracts)
        say(f"{_count(len(checked.contracts), 'contract')} checked, {_count(warnings, 'warning')}: {names}")


@app.command(name="compile")
def compile_command(tables: TablesOption = DEFAULT_TABLES, out: OutOption = None) -> None:
    """Compile the contracts to the JSON that functions and jobs carry. A wrong one fails the build."""
    from tidegate_cli.contracts.compile import compile_contracts

    checked = _checked(tables)
    for finding in checked.findings:
        complain(str(finding))
    if checked.errors:
        raise CliError(f"{_count(len(checked.errors), 'error')}: nothing was written.")
    _write(compile_contracts(checked.contracts).decode(), out)


@app.command()
def schema(out: OutOption = None) -> None:
    """Print the JSON Schema of a contract, for editors that complete and check YAML by one."""
    from tidegate_cli.contracts.reference import json_schema

    _write(json.dumps(json_schema(), indent=2) + "\n", out)


@app.command()
def reference(out: OutOption = None) -> None:
    """Print the reference page of the contract (docs/contract-reference.md)."""
    from tidegate_cli.contracts.reference import markdown

    _write(markdown(), out)


def _checked(folder: Path) -> Checked:
    from tidegate_cli.contracts.check import check_folder

    try:
        return check_folder(folder)
    except FileNotFoundError:
        raise CliError(
            f"There is no folder {folder}. Run this in the checkout, or name the folder: --tables FOLDER.",
            ExitCode.USAGE,
        ) from None


def _write(text: str, out: Path | None) -> None:
    if out is None:
        say(text.removesuffix("\n"))
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CliError(f"{out} cannot be written: {error.strerror}.", ExitCode.USAGE) from None


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"

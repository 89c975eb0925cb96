"""`tidegate tables`: check the contracts, compile them, and describe what may stand in them."""

# ruff: noqa: PLC0415 - what only one verb needs is imported by that verb, so that --help stays fast

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidegate_cli.connection import Connection, find
from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.output import CliError, complain, print_json, say
from tidegate_cli.verbs.options import ProfileOption, RegionOption, StackOption

if TYPE_CHECKING:
    from tidegate_cli.contracts.change import Change
    from tidegate_cli.contracts.check import Checked

app = typer.Typer(no_args_is_help=True, help="Check the contracts in tables/, and compile them.")

TablesOption = Annotated[Path, typer.Option("--tables", help="The folder with the contracts.", show_default=True)]
OutOption = Annotated[Path | None, typer.Option("--out", help="The file to write; without it, stdout.")]
DEFAULT_TABLES = Path("tables")
_NO_CONTRACTS = "{} holds no compiled contracts; `tidegate tables compile --out FILE` writes such a file."


AgainstOption = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="WHAT",
        help="Also say what each change does to its table: since the contracts of a folder, of a file that `tables"
        " compile` wrote, or `deployed`. Exit code 1 if a change is refused.",
    ),
]


@app.command()
def check(
    tables: TablesOption = DEFAULT_TABLES,
    *,
    against: AgainstOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Findings and changes as JSON.")] = False,
    stack: StackOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
) -> None:
    """Check every contract, and the contracts against each other."""
    checked = _checked(tables)
    found: list[Change] = []
    if against is not None and not checked.errors:
        found = _changes(checked, against, lambda: find(stack, region, profile))
    if as_json:
        findings = [asdict(finding) for finding in checked.findings]
        changes = [asdict(change) for change in found]
        print_json(findings if against is None else {"findings": findings, "changes": changes})
    else:
        for line in (*checked.findings, *found):
            say(str(line))
    errors, warnings = len(checked.errors), len(checked.findings) - len(checked.errors)
    if errors:
        raise CliError(f"{_count(errors, 'error')}, {_count(warnings, 'warning')}: nothing was compiled or deployed.")
    if refused := [change for change in found if change.verdict == "refused"]:
        raise CliError(f"{len(refused)} of {_count(len(found), 'change')} refused: don't deploy this.")
    if not as_json:
        names = ", ".join(contract.table for contract in checked.contracts)
        say(f"{_count(len(checked.contracts), 'contract')} checked, {_count(warnings, 'warning')}: {names}")
        if against is not None:
            say(f"{_count(len(found), 'change')} against {against}, none refused.")


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


def _changes(checked: Checked, against: str, connect: Callable[[], Connection]) -> list[Change]:
    from tidegate_cli.contracts.change import changes
    from tidegate_cli.contracts.compile import compile_contract

    old = _deployed(connect()) if against == "deployed" else _compiled_at(Path(against))
    return changes(old, [compile_contract(contract) for contract in checked.contracts])


def _deployed(connection: Connection) -> list[dict[str, Any]]:
    """The contracts of the code that the stack's runs are made of."""
    from tidegate_cli.adapters.s3 import ObjectStore
    from tidegate_cli.adapters.stepfunctions import StateMachine

    prefix = StateMachine(connection).deployed_artifacts()
    where = f"s3://{connection.control_bucket}/{prefix}contracts.json"
    document = ObjectStore(connection).json(connection.control_bucket, f"{prefix}contracts.json") if prefix else None
    if document is None:
        raise CliError(
            f"The stack has no contracts{f' at {where}' if prefix else ''}: is its last deploy complete? Name a folder"
            " or a file instead: --against FOLDER.",
            ExitCode.NOT_REACHABLE,
        )
    return _tables_of(document, where)


def _compiled_at(path: Path) -> list[dict[str, Any]]:
    from tidegate_cli.contracts.compile import compile_contract

    if path.is_dir():
        checked = _checked(path)
        if checked.errors:
            first = f"{_count(len(checked.errors), 'error')}, the first is {checked.errors[0]}"
            raise CliError(f"The contracts in {path} can't be compared with: {first}", ExitCode.USAGE)
        return [compile_contract(contract) for contract in checked.contracts]
    try:
        return _tables_of(json.loads(path.read_text(encoding="utf-8")), str(path))
    except OSError as error:
        raise CliError(
            f"{path} cannot be read: {error.strerror}. Name a folder of contracts, a file that `tidegate tables"
            " compile` wrote, or `deployed`.",
            ExitCode.USAGE,
        ) from None
    except ValueError:
        raise CliError(_NO_CONTRACTS.format(path), ExitCode.USAGE) from None


def _tables_of(document: Any, where: str) -> list[dict[str, Any]]:
    from tidegate_cli.contracts.compile import SCHEMA

    if not isinstance(document, dict) or not isinstance(document.get("tables"), list):
        raise CliError(_NO_CONTRACTS.format(where), ExitCode.USAGE)
    if document.get("schema") != SCHEMA:
        raise CliError(
            f"{where} is of schema {document.get('schema')!r}, and this release compares with {SCHEMA}.", ExitCode.USAGE
        )
    tables: list[dict[str, Any]] = document["tables"]
    return tables


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

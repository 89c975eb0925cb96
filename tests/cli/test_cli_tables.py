"""`tidegate tables`: exit codes, files and words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.main import run

GOOD = """\
table: orders
landing: orders/*.csv
format: {type: csv}
columns: {id: bigint}
merge: {strategy: append}
freshness: asap
"""


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "orders.yaml").write_text(GOOD)
    return folder


def test_good_contracts_are_counted(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tables", "check", "--tables", str(tables)]) == ExitCode.OK
    assert capsys.readouterr().out == "1 contract checked, 0 warnings: orders\n"


def test_a_wrong_contract_fails_with_its_lines(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tables / "orders.yaml").write_text(GOOD.replace("bigint", "bigin"))
    assert run(["tables", "check", "--tables", str(tables)]) == ExitCode.FAILED
    told = capsys.readouterr()
    file = tables / "orders.yaml"
    assert told.out == f"{file}:4: columns.id: 'bigin' is not a Spark SQL type; did you mean 'bigint'?\n"
    assert told.err == "Error: 1 error, 0 warnings: nothing was compiled or deployed.\n"


def test_findings_as_json(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tables / "orders.yaml").write_text(GOOD.replace("bigint", "bigin"))
    run(["tables", "check", "--tables", str(tables), "--json"])
    (finding,) = json.loads(capsys.readouterr().out)
    assert (finding["line"], finding["field"], finding["severity"]) == (4, "columns.id", "error")


def test_a_wrong_contract_writes_nothing(tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tables / "orders.yaml").write_text("table: [\n")
    target = tmp_path / "contracts.json"
    assert run(["tables", "compile", "--tables", str(tables), "--out", str(target)]) == ExitCode.FAILED
    assert not target.exists()
    assert "is not YAML" in capsys.readouterr().err


def test_compile_writes_what_the_functions_read(tables: Path, tmp_path: Path) -> None:
    from tidegate.contracts import parse_contracts

    target = tmp_path / "contracts.json"
    assert run(["tables", "compile", "--tables", str(tables), "--out", str(target)]) == ExitCode.OK
    contracts = parse_contracts(target.read_text())
    found = contracts.of_key("orders/1.csv")
    assert found is not None
    assert found[0].table == "orders"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ["tables", "check", "--tables", "no such folder"],
            ExitCode.USAGE,
            "There is no folder no such folder.",
        ),
        (["tables", "chek"], ExitCode.USAGE, "No such command 'chek'"),
        (["tables", "check", "--nope"], ExitCode.USAGE, "No such option"),
        (["tables", "compile", "--out", "/no/such/folder/x"], ExitCode.USAGE, "cannot be written"),
    ],
)
def test_a_mistake_is_a_message_and_not_a_traceback(
    words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == code
    told = capsys.readouterr()
    assert said in told.err
    assert "Traceback" not in told.err


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "holds no contract; write one as <table>.yaml"),
        ({"a.yml": GOOD}, "is not read; name it a.yaml"),
    ],
)
def test_a_folder_without_contracts_says_so(
    files: dict[str, str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert run(["tables", "check", "--tables", str(tmp_path)]) == ExitCode.FAILED
    assert said in capsys.readouterr().out


def test_schema_and_reference_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tables", "schema"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["title"] == "Tidegate contract"
    assert run(["tables", "reference"]) == ExitCode.OK
    assert capsys.readouterr().out.startswith("# The contract\n")


def test_an_interrupt_ends_quietly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tidegate_cli.contracts.check.check_folder", interrupted)
    assert run(["tables", "check"]) == ExitCode.INTERRUPTED
    assert "Traceback" not in capsys.readouterr().err


def test_a_fault_of_ours_is_one_line_and_says_how_to_see_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("oops")

    monkeypatch.delenv("TIDEGATE_DEBUG", raising=False)
    monkeypatch.setattr("tidegate_cli.contracts.check.check_folder", broken)
    assert run(["tables", "check"]) == ExitCode.FAILED
    told = capsys.readouterr().err
    assert "TIDEGATE_DEBUG=1" in told
    assert "Traceback" not in told

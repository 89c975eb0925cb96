"""`tidegate tables`: exit codes, files and words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from tidegate_cli.connection import Connection
from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.main import run
from tidegate_cli.verbs import tables as verb

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


class TestAgainst:
    """`--against`: what a deploy would do to the tables that are there."""

    @pytest.fixture
    def old(self, tables: Path, tmp_path: Path) -> Path:
        target = tmp_path / "old.json"
        assert run(["tables", "compile", "--tables", str(tables), "--out", str(target)]) == ExitCode.OK
        return target

    def test_a_change_that_goes(self, tables: Path, old: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tables / "orders.yaml").write_text(GOOD.replace("asap", "1h"))
        assert run(["tables", "check", "--tables", str(tables), "--against", str(old)]) == ExitCode.OK
        assert capsys.readouterr().out == (
            "orders: freshness: holds from the deploy on\n"
            "1 contract checked, 0 warnings: orders\n"
            f"1 change against {old}, none refused.\n"
        )

    def test_a_change_that_is_refused(self, tables: Path, old: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tables / "orders.yaml").write_text(GOOD.replace("{id: bigint}", "{id: bigint, n: int}").replace("asap", "1h"))
        assert run(["tables", "check", "--tables", str(tables), "--against", str(old)]) == ExitCode.FAILED
        told = capsys.readouterr()
        assert told.out.startswith(
            "orders: refused: columns.n: int is new; write evolution: add_columns, and it is added\n"
        )
        assert told.err == "Error: 1 of 2 changes refused: don't deploy this.\n"

    def test_a_folder_and_json(self, tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        folder = tmp_path / "released"
        folder.mkdir()
        (folder / "orders.yaml").write_text(GOOD.replace("bigint", "int"))
        assert run(["tables", "check", "--tables", str(tables), "--against", str(folder), "--json"]) == ExitCode.FAILED
        told = json.loads(capsys.readouterr().out)
        assert told["findings"] == []
        (change,) = told["changes"]
        assert (change["table"], change["field"], change["verdict"]) == ("orders", "columns.id", "refused")

    def test_a_wrong_contract_is_compared_with_nothing(
        self, tables: Path, old: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tables / "orders.yaml").write_text(GOOD.replace("bigint", "bigin"))
        assert run(["tables", "check", "--tables", str(tables), "--against", str(old)]) == ExitCode.FAILED
        assert "1 error, 0 warnings" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (None, "cannot be read: No such file or directory. Name a folder of contracts"),
            ("{", "holds no compiled contracts; `tidegate tables compile --out FILE` writes such a file."),
            ("[]", "holds no compiled contracts"),
            ('{"schema": 9, "tables": []}', "is of schema 9, and this release compares with 1."),
        ],
    )
    def test_what_cannot_be_compared_with(
        self, tables: Path, tmp_path: Path, content: str | None, said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        other = tmp_path / "other.json"
        if content is not None:
            other.write_text(content)
        assert run(["tables", "check", "--tables", str(tables), "--against", str(other)]) == ExitCode.USAGE
        assert f"{other} {said}" in " ".join(capsys.readouterr().err.split())

    def test_a_folder_with_a_wrong_contract(
        self, tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = tmp_path / "released"
        folder.mkdir()
        (folder / "orders.yaml").write_text("table: [")
        assert run(["tables", "check", "--tables", str(tables), "--against", str(folder)]) == ExitCode.USAGE
        assert "can't be compared with: 1 error, the first is" in capsys.readouterr().err

    @pytest.fixture
    def stack(self, aws: Any, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(verb, "find", lambda *_: connection)
        definition = {
            "StartAt": "A",
            "States": {"A": {"Type": "Pass", "Comment": "s3://c/artifacts/abc/main.py", "End": True}},
        }
        boto3.client("stepfunctions", "us-east-1").create_state_machine(
            name="tidegate-run", roleArn="arn:aws:iam::123456789012:role/x", definition=json.dumps(definition)
        )

    @pytest.mark.usefixtures("stack")
    def test_what_is_deployed(self, tables: Path, old: Path, capsys: pytest.CaptureFixture[str]) -> None:
        # GIVEN a stack whose machine runs the artifacts `abc`
        s3 = boto3.client("s3", "us-east-1")
        s3.put_object(Bucket="control", Key="artifacts/abc/contracts.json", Body=old.read_bytes())
        s3.put_object(Bucket="control", Key="artifacts/older/contracts.json", Body=b"{}")
        # WHEN a contract has changed since THEN it is compared with those
        (tables / "orders.yaml").write_text(GOOD.replace("asap", "1h"))
        assert run(["tables", "check", "--tables", str(tables), "--against", "deployed"]) == ExitCode.OK
        assert "1 change against deployed, none refused." in capsys.readouterr().out

    @pytest.mark.usefixtures("stack")
    def test_a_stack_without_contracts(self, tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(["tables", "check", "--tables", str(tables), "--against", "deployed"]) == ExitCode.NOT_REACHABLE
        assert "The stack has no contracts at s3://control/artifacts/abc/contracts.json" in capsys.readouterr().err


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

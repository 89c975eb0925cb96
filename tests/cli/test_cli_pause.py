"""`tidegate pause` and `resume`: what they write, say and refuse, and how `status` shows it."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from tidegate.adapters.ledger import DynamoLedger
from tidegate_cli.connection import Connection
from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.main import run
from tidegate_cli.verbs import pause as verb
from tidegate_cli.verbs import status

from tests.cli.conftest import LEDGER

PROMISES = {"flights": {"kind": "asap"}, "weather": {"kind": "asap"}}


@pytest.fixture(autouse=True)
def at(aws: Any, connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (verb, status):
        monkeypatch.setattr(module, "find", lambda *_: connection)
    monkeypatch.setattr(status, "deployed_promises", lambda _: PROMISES)


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> DynamoLedger:
    """The ledger as the functions read it."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return DynamoLedger(LEDGER)


def test_a_table_is_paused_and_resumed_for_the_functions(
    ledger: DynamoLedger, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["pause", "flights", "--reason", "moving house"]) == ExitCode.OK
    assert ledger.table("flights").paused_reason == "moving house"
    assert ledger.paused_stack() is None
    # AND once more, with another reason
    assert run(["pause", "flights", "--reason", "still moving"]) == ExitCode.OK
    assert run(["resume", "flights"]) == ExitCode.OK
    assert run(["resume", "flights"]) == ExitCode.OK
    assert ledger.table("flights").paused_reason is None
    assert capsys.readouterr().out.splitlines() == [
        "Table flights is paused: moving house. What lands is recorded, and merged once it is resumed.",
        "Table flights is paused: still moving (it was paused before: moving house). "
        "What lands is recorded, and merged once it is resumed.",
        "Table flights goes on.",
        "Table flights was not paused.",
    ]


def test_the_stack_is_paused_and_a_resumed_table_says_so(
    ledger: DynamoLedger, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["pause", "--all", "--reason", "month's end"]) == ExitCode.OK
    assert ledger.paused_stack() == "month's end"
    run(["resume", "flights"])
    assert "All tables are paused besides: month's end. `tidegate resume --all` ends it." in capsys.readouterr().out
    assert run(["resume", "--all"]) == ExitCode.OK
    assert ledger.paused_stack() is None


def test_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    run(["pause", "flights", "--reason", "moving house", "--json"])
    found = {"table": "flights", "paused": "moving house", "paused_before": None, "paused_stack": None}
    assert json.loads(capsys.readouterr().out) == found


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pause", "flight", "--reason", "x"], "No contract has table 'flight'; did you mean 'flights'?"),
        (["resume", "zzz"], "No contract has table 'zzz'; there are flights, weather."),
        (["pause", "--reason", "x"], "Name a table, or say --all"),
        (["resume"], "Name a table, or say --all"),
        (["pause", "flights", "--all", "--reason", "x"], "Name a table, or say --all"),
        (["pause", "flights"], "--reason"),
        (["pause", "flights", "--reason", " "], "--reason is empty"),
    ],
)
def test_what_is_wrong_is_said_and_changes_nothing(
    arguments: list[str], said: str, aws: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == ExitCode.USAGE
    assert said in capsys.readouterr().err
    assert aws.scan(TableName=LEDGER)["Items"] == []


def test_status_shows_what_is_paused_and_which_run_is_still_at_it(
    ledger: DynamoLedger, capsys: pytest.CaptureFixture[str]
) -> None:
    boto3.client("s3", "us-east-1")
    ledger.take_lease("flights", "run-9", None)
    run(["pause", "flights", "--reason", "moving house"])
    capsys.readouterr()
    run(["status"])
    lines = capsys.readouterr().out.splitlines()
    flights = next(line for line in lines if line.startswith("flights"))
    assert flights.endswith("paused moving house; run run-9 ends what it has begun")
    # AND the whole stack
    run(["pause", "--all", "--reason", "month's end"])
    capsys.readouterr()
    run(["status", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["paused_reason"] == "month's end"
    assert {row["standing"] for row in found["tables"]} == {"paused"}
    run(["status"])
    assert "All tables are paused: month's end. `tidegate resume --all` ends it." in capsys.readouterr().out

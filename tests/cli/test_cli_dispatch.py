"""`tidegate dispatch now`: what is started, followed and said."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from tidegate_cli.adapters.stepfunctions import Execution, StateVisit
from tidegate_cli.connection import Connection
from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.follow import Line, Look
from tidegate_cli.main import run
from tidegate_cli.output import CliError
from tidegate_cli.verbs import dispatch as verb

MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:tidegate-run"
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
END = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)


def execution(status: str, cause: str | None = None) -> Execution:
    ended = None if status == "RUNNING" else END
    return Execution("arn", status, START, ended, cause, (StateVisit("Plan run", START, ended),))


def test_an_execution_is_known_by_its_run() -> None:
    found = verb.parse_answer({"run_id": "run-1", "reason": "flights is due", "tables": ["flights"]}, MACHINE)
    assert found.execution_arn == "arn:aws:states:us-east-1:000000000000:execution:tidegate-run:run-1-1"


@pytest.mark.parametrize("answer", [None, {}, {"run_id": None, "reason": "no table is due"}, []])
def test_nothing_to_do_is_no_run(answer: Any) -> None:
    assert verb.parse_answer(answer, MACHINE).run_id is None


@pytest.fixture
def looks(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> list[Look]:
    """What following the run will show."""
    shown: list[Look] = []
    monkeypatch.setattr(verb, "find", lambda *_: connection)
    monkeypatch.setattr(verb, "dispatch", lambda _: verb.Dispatched("run-1", "arn", "flights is due", ("flights",)))
    monkeypatch.setattr("tidegate_cli.follow.follow", lambda *_, **__: iter(shown))
    return shown


@pytest.mark.parametrize(
    ("decisions", "said"),
    [
        ({"flights": "nothing is pending"}, "No run is started: nothing is pending.\n"),
        (
            {"flights": "run run-1 is at it", "planes": "nothing is pending"},
            "No run is started: no table is due.\n  flights: run run-1 is at it\n",
        ),
    ],
)
def test_no_run_says_what_is_in_the_way(
    decisions: dict[str, str],
    said: str,
    looks: list[Look],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer = {"run_id": None, "reason": "no table is due", "tables": [], "decisions": decisions}
    monkeypatch.setattr(verb, "dispatch", lambda _: verb.parse_answer(answer, MACHINE))
    assert run(["dispatch", "now", "--wait"]) == ExitCode.OK
    assert capsys.readouterr().out == said


def test_without_wait_it_says_what_it_started(looks: list[Look], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dispatch", "now"]) == ExitCode.OK
    assert capsys.readouterr().out == "Run run-1 is started: flights is due\n"


def test_with_wait_it_tells_the_news_and_the_end(looks: list[Look], capsys: pytest.CaptureFixture[str]) -> None:
    looks += [Look(execution("RUNNING"), (Line(START, "Plan run"),)), Look(execution("SUCCEEDED"), ())]
    assert run(["dispatch", "now", "--wait"]) == ExitCode.OK
    assert capsys.readouterr().out.splitlines() == [
        "Run run-1 is started: flights is due",
        "12:00:00  Plan run",
        "Run run-1 has succeeded in 30 s.",
    ]


def test_a_failed_run_fails_the_command_with_its_cause(looks: list[Look], capsys: pytest.CaptureFixture[str]) -> None:
    looks.append(Look(execution("FAILED", "flights was not merged: ..."), ()))
    assert run(["dispatch", "now", "--wait"]) == ExitCode.FAILED
    assert "Run run-1 has ended as FAILED: flights was not merged: ..." in capsys.readouterr().err


def test_as_json_nothing_else_is_printed(looks: list[Look], capsys: pytest.CaptureFixture[str]) -> None:
    looks.append(Look(execution("SUCCEEDED"), (Line(START, "Plan run"),)))
    assert run(["dispatch", "now", "--wait", "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["status"] == "SUCCEEDED"


def test_who_waits_long_enough_gives_up_and_the_run_goes_on(connection: Connection, looks: list[Look]) -> None:
    looks.append(Look(execution("RUNNING"), ()))
    with pytest.raises(CliError, match="it goes on") as caught:
        verb.watch(connection, verb.Dispatched("run-1", "arn", "", ()), timeout_s=-1, quiet=True)
    assert caught.value.code == ExitCode.TIMED_OUT

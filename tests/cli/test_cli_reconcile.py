"""`tidegate reconcile`: asked until all is looked at, and told in numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tidegate_cli.connection import Connection
from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.main import run
from tidegate_cli.verbs import reconcile as verb

MARKER = {"key": "flights/2013-01/a.csv", "version_id": "v1"}


def answer(seen: int, recorded: int, after: Any = None, **more: int) -> dict[str, Any]:
    counts = {"seen": seen, "known": seen - recorded, "recorded": recorded, "ignored": 0, "young": 0}
    return counts | more | {"after": after, "is_done": after is None}


@pytest.fixture
def asked(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the function is asked; it answers in two parts."""
    questions: list[dict[str, Any]] = []
    answers = [answer(1000, 2, MARKER), answer(500, 1, young=4)]

    def invoke(_connection: Connection, function: str, question: dict[str, Any]) -> Any:
        assert function == "reconcile"
        questions.append(question)
        return answers[len(questions) - 1]

    monkeypatch.setattr(verb, "find", lambda *_: connection)
    monkeypatch.setattr("tidegate_cli.adapters.lambda_functions.invoke", invoke)
    return questions


def test_it_asks_on_from_where_the_last_answer_ended(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["reconcile", "--prefix", "flights/"]) == ExitCode.OK
    assert [(each["prefix"], each["after"]) for each in asked] == [("flights/", None), ("flights/", MARKER)]
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "1,500 versions of objects are in the landing bucket below flights/.",
        "  1,497 were known, or are replaced by newer ones that are",
        "  3 are recorded now, and merged when their tables are due",
        "  0 are recorded as ignored, with the reason",
        "  4 landed just now: their events may be on their way",
    ]
    assert "1,000 versions looked at, up to flights/2013-01/a.csv" in said.err


def test_as_json_nothing_else_is_printed(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["reconcile", "--json"]) == ExitCode.OK
    said = capsys.readouterr()
    assert json.loads(said.out) == {"seen": 1500, "known": 1497, "recorded": 3, "ignored": 0, "young": 4}
    assert said.err == ""


def test_a_local_cloud_of_an_earlier_release_is_told_apart(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verb, "find", lambda *_: replace(connection, reconcile_function=""))
    assert run(["reconcile"]) == ExitCode.FAILED
    assert "earlier release" in capsys.readouterr().err

"""Carrying the demo out: it waits for every version of every file, and merges until nothing is pending."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import boto3
import pandas as pd
import pytest
from rich.console import Console
from tidegate_cli.adapters.stepfunctions import Execution
from tidegate_cli.connection import Connection
from tidegate_cli.demo import carry_out
from tidegate_cli.demo.plan import Check, Delivery
from tidegate_cli.demo.verdict import Verdict
from tidegate_cli.follow import Line
from tidegate_cli.output import CliError
from tidegate_cli.verbs.dispatch import Dispatched

from tests.cli.conftest import arrival, put
from tests.cli.test_cli_ledger import BATCH, RUN

ENDED = Execution("arn", "SUCCEEDED", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC), None, ())
ROWS = pd.DataFrame({"carrier": ["UA"], "name": ["United"]})


@pytest.fixture
def shown() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def demo(aws: Any, connection: Connection, shown: io.StringIO) -> carry_out.Demo:
    return carry_out.Demo(connection, Console(file=shown, width=200))


def test_it_waits_until_both_versions_of_a_key_are_recorded(
    aws: Any, demo: carry_out.Demo, shown: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN a ledger that learns of one more version at each look
    sequencers = iter(["a", "b"])
    recorded = demo._recorded
    looks: list[int] = []

    def record_one_more(key: str) -> int:
        sequencer = next(sequencers, None)
        if sequencer:
            put(aws, **arrival(key, sk=sequencer))
        looks.append(recorded(key))
        return looks[-1]

    monkeypatch.setattr(demo, "_recorded", record_one_more)
    monkeypatch.setattr(carry_out.time, "sleep", lambda _: None)
    # WHEN the same key lands twice
    one = Delivery("airlines/a.csv", "airlines", ROWS)
    other = Delivery("airlines/a.csv", "airlines", ROWS, "the same once more")
    demo.land([one, other])
    # THEN it has looked until there were two, and has told what landed
    assert looks == [1, 2]
    assert "landed  airlines: 1 file, 1 row" in shown.getvalue()
    assert "landed  airlines/a.csv: the same once more" in shown.getvalue()
    body = boto3.client("s3", "us-east-1").get_object(Bucket="landing", Key="airlines/a.csv")["Body"].read()
    assert body == b"carrier,name\nUA,United\n"


def test_a_file_that_never_arrives_is_named(demo: carry_out.Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carry_out, "RECORDED_WITHIN_S", -1)
    with pytest.raises(CliError, match=r"such as airlines/a\.csv"):
        demo.land([Delivery("airlines/a.csv", "airlines", ROWS)])


@pytest.mark.parametrize(
    ("dispatched", "running"),
    [
        ([Dispatched("run-1", "arn", "due", ()), Dispatched(None, None, "nothing", ())], []),
        ([Dispatched(None, None, "held", ()), Dispatched(None, None, "nothing", ())], ["run-1"]),
    ],
    ids=["its own run", "the schedule's run"],
)
def test_it_follows_whichever_run_merges(
    dispatched: list[Dispatched],
    running: list[str],
    aws: Any,
    demo: carry_out.Demo,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put(aws, **{**RUN, "state": "running" if running else "succeeded"})
    put(aws, **BATCH)
    answers = iter(dispatched)
    monkeypatch.setattr(carry_out.dispatch, "dispatch", lambda _: next(answers))

    def end(*_: Any, **__: Any) -> Execution:
        put(aws, **RUN)
        return ENDED

    monkeypatch.setattr(carry_out.dispatch, "watch", end)
    monkeypatch.setattr(carry_out.timings, "read", lambda *_: carry_out.timings.Recorded(None, None, [], {}))
    demo.merge()
    assert demo.runs == ["run-1"]


def test_files_that_stay_pending_fail_the_demo(aws: Any, demo: carry_out.Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    put(aws, **arrival("flights/a.csv"))
    monkeypatch.setattr(carry_out.dispatch, "dispatch", lambda _: Dispatched(None, None, "blocked", ()))
    with pytest.raises(CliError, match=r"Still pending .*: 1 file"):
        demo.merge()


def test_a_difference_is_shown(demo: carry_out.Demo, shown: io.StringIO) -> None:
    check = Check("planes", "rows", "select 1", lambda _: [])
    demo.show_verdicts([Verdict(check, 1, ()), Verdict(check, 1, ("the table has 1, pandas has 2",))])
    assert "agrees   planes: rows (1 line)" in shown.getvalue()
    assert "DIFFERS  planes: rows (1 line)" in shown.getvalue()
    assert "the table has 1, pandas has 2" in shown.getvalue()


def test_a_run_is_stopped_while_spark_is_at_work_redriven_and_followed_to_its_end(
    aws: Any, demo: carry_out.Demo, shown: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(aws, **RUN)
    put(aws, **BATCH)
    pressed: list[str] = []
    monkeypatch.setattr(carry_out.StateMachine, "stop", lambda _self, arn, _why: pressed.append(f"stop {arn}"))
    monkeypatch.setattr(carry_out.StateMachine, "redrive", lambda _self, arn: pressed.append(f"redrive {arn}"))
    answers = iter([Dispatched("run-1", "arn", "due", ()), Dispatched(None, None, "nothing", ())])
    monkeypatch.setattr(carry_out.dispatch, "dispatch", lambda _: next(answers))
    executions = iter([replace(ENDED, status="ABORTED"), ENDED])

    def watch(*_: Any, tell: Any, **__: Any) -> Execution:
        # Each look tells all that has happened since the execution began.
        for text in ("Create cluster", "  spark-submit has started: flights", "Merge group"):
            tell(Line(datetime(2026, 1, 1, tzinfo=UTC), text))
        return next(executions)

    monkeypatch.setattr(carry_out.dispatch, "watch", watch)
    monkeypatch.setattr(carry_out.timings, "read", lambda *_: carry_out.timings.Recorded(None, None, [], {}))
    demo.merge(is_stopped=True)
    # THEN both were pressed once, and what had happened before the redrive is not told again
    assert pressed == ["stop arn", "redrive arn"]
    assert shown.getvalue().count("spark-submit has started") == 1


def test_a_run_that_could_not_be_stopped_fails_the_demo(demo: carry_out.Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carry_out.dispatch, "dispatch", lambda _: Dispatched("run-1", "arn", "due", ()))
    monkeypatch.setattr(carry_out.dispatch, "watch", lambda *_, **__: ENDED)
    with pytest.raises(CliError, match="has ended as SUCCEEDED"):
        demo.merge(is_stopped=True)

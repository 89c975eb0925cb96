"""Where the seconds went, and what is news while a run goes on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tidegate_cli import ledger
from tidegate_cli.adapters.emr import Cluster, Step
from tidegate_cli.adapters.stepfunctions import Execution, StateVisit
from tidegate_cli.follow import News
from tidegate_cli.timings import Recorded, in_states, of_file, of_run
from tidegate_cli.verbs.timings import remarks

from tests.cli.conftest import arrival
from tests.cli.test_cli_ledger import BATCH

ZERO = datetime(2026, 3, 1, 11, 30, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return ZERO + timedelta(seconds=seconds)


def visit(name: str, entered: float, left: float | None) -> StateVisit:
    return StateVisit(name, at(entered), None if left is None else at(left))


EXECUTION = Execution(
    arn="arn",
    status="SUCCEEDED",
    started_at=at(10),
    ended_at=at(60),
    cause=None,
    visits=(
        visit("Plan run", 10, 12),
        visit("Is there work?", 12, 12),
        visit("Create cluster", 12, 13),
        visit("Merge batches", 13, 50),
        visit("Settle batches", 50, 52),
        visit("Terminate cluster", 52, 58),
    ),
)
CLUSTER = Cluster(
    "j-1",
    "tidegate-run-1-0-0",
    "TERMINATED",
    at(13),
    at(20),
    at(58),
    (Step("s", "COMPLETED", at(13), at(21), at(50)),),
)
RECEIPT = {"outcome": "merged", "started_at": at(33).isoformat(), "ended_at": at(45).isoformat()}


def recorded(**more: Any) -> Recorded:
    known = {
        "execution": EXECUTION,
        "cluster": CLUSTER,
        "batches": [ledger.parse_batch({**BATCH, "newest_event_time": at(0).isoformat()})],
        "receipts": {("flights", 7): RECEIPT},
    }
    return Recorded(**{**known, **more})


def test_a_files_way_from_upload_to_rows() -> None:
    landed = ledger.parse_arrival(
        arrival(
            "flights/a.csv",
            state="claimed",
            batch=7,
            event_time=at(0).isoformat(),
            recorded_at=at(2).isoformat(),
        )
    )
    moments = of_file(landed, recorded())
    assert [(moment.what, moment.seconds, moment.total_seconds) for moment in moments] == [
        ("the file has landed", 0, 0),
        ("recorded in the ledger", 2, 2),
        ("the run has started", 8, 10),
        ("its batches are planned", 2, 12),
        ("the cluster is requested", 1, 13),
        ("the cluster is ready", 7, 20),
        ("spark-submit has started", 1, 21),
        ("Spark is up; the merge of its batch begins", 12, 33),
        ("its batch is merged and queryable", 12, 45),
        ("spark-submit has ended", 5, 50),
        ("the batches are settled", 2, 52),
        ("the cluster is gone", 6, 58),
        ("the run has ended", 2, 60),
    ]


def test_a_file_that_still_waits_has_a_short_story() -> None:
    landed = ledger.parse_arrival(arrival("flights/a.csv"))
    assert [moment.what for moment in of_file(landed, None)] == [
        "the file has landed",
        "recorded in the ledger",
    ]


def test_a_run_begins_with_the_last_of_its_files() -> None:
    moments = of_run(recorded())
    assert moments[0].what == "the last of its files has landed"
    assert "flights, batch 7 is merged and queryable" in [moment.what for moment in moments]


def test_what_is_not_known_is_left_out() -> None:
    moments = of_run(recorded(execution=None, cluster=None, receipts={}))
    assert [moment.what for moment in moments] == ["the last of its files has landed"]


def test_states_without_duration_are_no_news() -> None:
    assert in_states(EXECUTION) == [
        "Plan run 2.0 s",
        "Create cluster 1.0 s",
        "Merge batches 37 s",
        "Settle batches 2.0 s",
        "Terminate cluster 6.0 s",
    ]


def test_news_are_told_once() -> None:
    # GIVEN a run at which somebody looks three times
    news = News()
    early = Execution("arn", "RUNNING", at(10), None, None, EXECUTION.visits[:2])
    first = [line.text for line in news.of(early, None)]
    second = [line.text for line in news.of(EXECUTION, CLUSTER)]
    third = list(news.of(EXECUTION, CLUSTER))
    # THEN each piece of news comes once, and choices are none
    assert first == ["Plan run"]
    assert second == [
        "Create cluster",
        "Merge batches",
        "  cluster j-1 is starting",
        "  cluster j-1 is ready",
        "  spark-submit has started: s",
        "Settle batches",
        "  spark-submit has ended (completed): s",
        "Terminate cluster",
    ]
    assert third == []


def test_what_was_left_out_is_told_with_its_reason() -> None:
    # GIVEN a receipt of a batch with a bad row, an expectation that is not met, and one that is
    receipt = {
        "table": "sales",
        "batch": 2,
        "files": {"rejected": [{"key": "a.csv", "reason": "no header"}]},
        "quarantined": [{"source": "landing/b.csv", "row": 3, "check": "parse", "reason": "'x' is no number"}],
        "expectations": {"sane": 4, "noted": 0},
    }
    # WHEN / THEN
    assert remarks([receipt]) == [
        "sales 2: rejected a.csv: no header",
        "sales 2: quarantined landing/b.csv row 3: 'x' is no number",
        "sales 2: 4 rows not as sane expects",
    ]

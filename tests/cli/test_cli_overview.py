"""How a table stands against its promise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tidegate_cli import ledger, wording
from tidegate_cli.overview import count_set_aside, due_at, promise_in_words, table_row

from tests.cli.conftest import NOW, arrival

WITHIN = {"kind": "within", "seconds": 900}
DAILY = {"kind": "daily", "at": "06:00", "zone": "Europe/Berlin"}
ASAP = {"kind": "asap"}


def pending(age: timedelta) -> ledger.Arrival:
    return ledger.parse_arrival(arrival("flights/a.csv", event_time=(NOW - age).isoformat()))


def state(**more: Any) -> ledger.TableState:
    return ledger.parse_table({"pk": "table#flights", "sk": "table", **more})


@pytest.mark.parametrize(
    ("given", "promise", "age", "standing", "note"),
    [
        (None, ASAP, None, "no rows yet", ""),
        (state(), ASAP, None, "no rows yet", ""),
        (state(delta_version=3), WITHIN, None, "up to date", ""),
        (state(), ASAP, timedelta(hours=9), "waiting", "for the next dispatch"),
        (state(), WITHIN, timedelta(minutes=5), "waiting", "due in 10 min"),
        (state(), WITHIN, timedelta(minutes=25), "late", "by 10 min"),
        (state(), None, timedelta(minutes=25), "waiting", "for the next dispatch"),
        (
            state(lease={"run_id": "run-9", "fence": 2}),
            WITHIN,
            timedelta(minutes=25),
            "merging",
            "in run run-9",
        ),
        (state(unsettled_batch=4, failures=2), WITHIN, None, "retrying", "batch 4 failed 2 times"),
        (state(blocked_reason="it was dropped"), WITHIN, timedelta(0), "blocked", "it was dropped"),
    ],
)
def test_what_matters_most_is_said(
    given: ledger.TableState | None, promise: Any, age: timedelta | None, standing: str, note: str
) -> None:
    row = table_row(NOW, "flights", given, promise, [] if age is None else [pending(age)])
    assert (row.standing, row.note) == (standing, note)


@pytest.mark.parametrize(
    ("landed", "due"),
    [
        # In Berlin it is one hour later in winter, two in summer; clocks change on 29 March 2026.
        ("2026-03-01T04:59:00+00:00", "2026-03-01T05:00:00+00:00"),
        ("2026-03-01T05:01:00+00:00", "2026-03-02T05:00:00+00:00"),
        ("2026-03-28T12:00:00+00:00", "2026-03-29T04:00:00+00:00"),
    ],
)
def test_a_daily_promise_follows_the_clocks_of_its_zone(landed: str, due: str) -> None:
    assert due_at(DAILY, datetime.fromisoformat(landed)) == datetime.fromisoformat(due)


def test_promises_in_words() -> None:
    assert [promise_in_words(each) for each in (ASAP, WITHIN, DAILY)] == [
        "asap",
        "within 15 min",
        "by 06:00 Europe/Berlin",
    ]


def test_what_was_set_aside_is_grouped_by_reason() -> None:
    arrivals = [
        ledger.parse_arrival(arrival(f"hotels/{number}.csv", state="ignored", reason="no contract", table=None))
        for number in range(3)
    ]
    (kind,) = count_set_aside(arrivals)
    assert (kind.files, kind.reason, kind.table, kind.example) == (3, "no contract", None, "hotels/0.csv")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.42, "0.4 s"),
        (12.4, "12 s"),
        (250, "4 min 10 s"),
        (3600, "1 h"),
        (11_100, "3 h 5 min"),
        (187_200, "2 d 4 h"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert wording.duration(seconds) == words


def test_sizes_numbers_and_counts() -> None:
    assert [wording.size(size) for size in (0, 999, 1000, 1_400_000)] == [
        "0 bytes",
        "999 bytes",
        "1.0 KB",
        "1.4 MB",
    ]
    assert wording.number(336776) == "336,776"
    assert wording.count(1, "file") == "1 file"
    assert wording.ago(None, datetime.now(UTC)) == "-"

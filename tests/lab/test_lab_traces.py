"""Traces: the same seed makes the same one, and what is written is read again."""

from pathlib import Path

import pytest
from tidegate_lab.generate import GENERATORS, generate, share_of_day
from tidegate_lab.traces import DAY_S, Arrival, read_trace, trace_of, write_trace


@pytest.mark.parametrize("name", GENERATORS)
def test_a_seed_makes_one_trace(name: str) -> None:
    trace = generate(name, days=1, seed=7)
    assert trace == generate(name, days=1, seed=7)
    assert trace != generate(name, days=1, seed=8)
    times = [arrival.at_s for arrival in trace.arrivals]
    assert times == sorted(times)
    assert min(arrival.size_bytes for arrival in trace.arrivals) > 0


def test_generated_tables_are_those_that_were_asked_for() -> None:
    assert generate("steady", days=1, seed=1, tables=("b", "a")).tables == ("a", "b")


def test_small_files_are_thousands_and_small() -> None:
    trace = generate("small_files", days=1, seed=1)
    assert len(trace.arrivals) > 5_000
    assert trace.size_bytes / len(trace.arrivals) < 100 * 1024


def test_days_are_busier_than_nights_and_weekends() -> None:
    trace = generate("diurnal", days=7, seed=1)
    noon = sum(1 for arrival in trace.arrivals if 10 <= arrival.at_s % DAY_S / 3600 < 16)
    night = sum(1 for arrival in trace.arrivals if arrival.at_s % DAY_S / 3600 < 6)
    assert noon > 20 * night
    assert share_of_day(5 * DAY_S + 13 * 3600) < share_of_day(13 * 3600) / 5


def test_a_recorded_trace_is_read_as_it_was_written(tmp_path: Path) -> None:
    # GIVEN arrivals with times to the millisecond
    path = tmp_path / "mine.jsonl"
    written = trace_of("mine", [Arrival(61.5, "b", 3), Arrival(2.25, "a", 0)], 1.0)
    # WHEN they are written and read THEN they are the same, by time
    write_trace(written, path)
    assert read_trace(path) == written


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2"),
        ('{"table": "t", "bytes": 1}', "line 2"),
        ('{"at": "2026-03-02T06:00:05", "table": "t", "bytes": 1}', "time zone"),
        ('{"at": "2026-03-02T06:00:05Z", "table": "t", "bytes": -1}', "from 0"),
        ("[]", "line 2"),
    ],
)
def test_a_line_that_is_no_arrival_is_named(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(f'{{"at": "2026-03-02T06:00:05Z", "table": "t", "bytes": 1}}\n{line}\n')
    with pytest.raises(ValueError, match=says):
        read_trace(path)


def test_an_empty_recording_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text("\n")
    with pytest.raises(ValueError, match="no arrival"):
        read_trace(tmp_path / "mine.jsonl")


def test_an_unknown_trace_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="steady, diurnal"):
        generate("weekly", days=1, seed=1)

"""Replays: what is merged again, and that nothing else is."""

from datetime import timedelta
from typing import Any

import pytest
from fakes.control_plane import NOW, ControlPlane, execution
from tidegate.errors import InvalidRunInput, UnknownTable
from tidegate.usecases.record_arrivals import record_event

START = NOW - timedelta(hours=1)


def merged(*keys: str, **changes: Any) -> ControlPlane:
    """Files that landed a second apart from START on, merged."""
    plane = ControlPlane(**changes)
    for key in keys:
        plane.land(key)
    plane.whole_run({}, execution("first"))
    return plane


def replay(plane: ControlPlane, name: str = "again", **fields: str) -> list[str]:
    """The keys that a replay merges again, by all tables."""
    before = {table: len(plane.merged_keys(table)) for table in plane.contracts.by_table}
    plane.whole_run({"replay": fields}, execution(name))
    return [key for table in sorted(before) for key in plane.merged_keys(table)[before[table] :]]


FLIGHTS = [f"flights/2013-0{month}/a.csv" for month in (1, 2, 3)]


@pytest.mark.parametrize(
    ("fields", "keys"),
    [
        ({"table": "flights"}, FLIGHTS),
        ({"table": "airlines"}, ["airlines/a.csv"]),
        ({"prefix": "flights/2013-02/"}, FLIGHTS[1:2]),
        ({"prefix": "flights/2014"}, []),
        ({"state": "merged"}, ["airlines/a.csv", *FLIGHTS]),
        ({"state": "failed"}, []),
        ({"from": (START + timedelta(seconds=3)).isoformat()}, ["airlines/a.csv", *FLIGHTS[2:]]),
        ({"to": (START + timedelta(seconds=2)).isoformat()}, FLIGHTS[:1]),
        ({"table": "flights", "from": "2026-03-01T11:00:02", "to": "2026-03-01T11:00:03"}, FLIGHTS[1:2]),
    ],
)
def test_by_table_prefix_time_and_state(fields: dict[str, str], keys: list[str]) -> None:
    plane = merged(*FLIGHTS, "airlines/a.csv")
    assert replay(plane, **fields) == keys


def test_the_files_of_a_replay_are_batches_of_their_own_within_the_limits() -> None:
    plane = merged(*(f"flights/2013-01/{number}.csv" for number in range(5)), max_files=2)
    replay(plane, table="flights")
    replayed = [each for each in plane.manifests() if each["batch"] > 3]
    assert [len(each["files"]) for each in replayed] == [2, 2, 1]
    assert plane.ledger.table("flights").reopened == frozenset()


def test_a_replay_started_twice_queues_once() -> None:
    plane = merged(*FLIGHTS)
    wanted = {"run": "again", "replay": {"table": "flights"}}
    plane.plan(wanted, execution("again-1"))
    plane.whole_run(wanted, execution("again-2"))
    assert len(plane.merged_keys("flights")) == 6
    # AND once it has succeeded it is a no-op
    assert plane.whole_run(wanted, execution("again-3"))["work"] == "none"
    assert len(plane.merged_keys("flights")) == 6


def test_a_second_replay_takes_the_files_from_the_batch_in_which_they_are_now() -> None:
    plane = merged(*FLIGHTS)
    assert replay(plane, "again", table="flights") == FLIGHTS
    assert replay(plane, "and-again", table="flights") == FLIGHTS


def test_files_that_the_ledger_has_forgotten_are_found_by_their_manifest() -> None:
    # GIVEN arrivals whose time to live is over
    plane = merged(*FLIGHTS)
    plane.ledger.arrivals.clear()
    assert replay(plane, table="flights") == FLIGHTS


@pytest.mark.parametrize("state", ["failed", "quarantined"])
def test_what_was_set_aside_is_merged_once_it_is_mended(state: str) -> None:
    plane = ControlPlane()
    for key in FLIGHTS[:2]:
        plane.land(key)
    if state == "quarantined":
        plane.whole_run({}, execution("r"), rejected=(1,))
    else:
        for number in range(4):
            plane.whole_run({"tables": ["flights"]}, execution(f"r{number}"), failing={FLIGHTS[1]: "data"})
    assert [each.key for each in plane.ledger.kept(state)] == [FLIGHTS[1]]  # type: ignore[arg-type]
    assert replay(plane, state=state) == [FLIGHTS[1]]
    assert list(plane.ledger.kept(state)) == []  # type: ignore[arg-type]


def test_what_was_ignored_is_merged_once_there_is_a_contract() -> None:
    # Design: "An object without a contract [...] is recorded as ignored, with why; it can be replayed after a
    # contract is added."
    plane, without = ControlPlane(), ControlPlane()
    plane.objects, plane.ledger = without.objects, without.ledger
    by_table = dict(without.contracts.by_table)
    del by_table["airlines"]
    without.contracts = type(without.contracts)(by_table)
    for key in ("airlines/a.csv", "nothing/of/ours.txt", FLIGHTS[0]):
        without.land(key)
    assert {each.key for each in plane.ledger.kept("ignored")} == {"airlines/a.csv", "nothing/of/ours.txt"}
    plane.whole_run({}, execution("first"))
    assert replay(plane, state="ignored") == ["airlines/a.csv"]
    assert [each.key for each in plane.ledger.kept("ignored")] == ["nothing/of/ours.txt"]


def test_a_batch_that_is_under_way_is_not_taken_from_its_run() -> None:
    plane = merged(*FLIGHTS)
    plane.land("flights/2013-04/a.csv")
    plane.plan({"run": "live", "tables": ["flights"]}, execution("live"))
    assert replay(plane, prefix="flights/2013-04/") == []


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({}, InvalidRunInput, "at least one of from, prefix, state, table, to"),
        ("all", InvalidRunInput, "replay is a text, but must be an object"),
        ({"tabel": "flights"}, InvalidRunInput, "unknown field 'tabel' in replay"),
        ({"table": "nope"}, UnknownTable, "no contract has table 'nope'"),
        ({"table": 7}, InvalidRunInput, "table in replay must be a text"),
        ({"state": "pending"}, InvalidRunInput, "is none of merged, failed, quarantined, ignored"),
        ({"from": "yesterday"}, InvalidRunInput, "no ISO 8601 time"),
    ],
)
def test_a_wrong_replay_is_refused_with_what_to_write(wrong: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ControlPlane().plan({"replay": wrong}, execution("r"))


def test_tables_and_replay_do_not_go_together() -> None:
    with pytest.raises(InvalidRunInput, match="name the table inside replay"):
        ControlPlane().plan({"tables": ["flights"], "replay": {"table": "flights"}}, execution("r"))


def test_an_event_that_comes_after_its_arrival_was_forgotten_changes_nothing() -> None:
    # Design: "The highest applied sequencer of a key outlives the TTL of its arrivals."
    plane = merged(FLIGHTS[0])
    (arrival,) = plane.ledger.arrivals.values()
    plane.ledger.arrivals.clear()
    event = {
        "detail-type": "Object Created",
        "time": arrival.event_time.isoformat(),
        "detail": {"bucket": {"name": arrival.bucket}, "object": {"key": arrival.key, "sequencer": arrival.sequencer}},
    }
    later = NOW + timedelta(days=100)
    _, is_new = record_event(
        event, ledger=plane.ledger, contracts=plane.contracts, landing_bucket=arrival.bucket, now=later
    )
    assert not is_new
    assert list(plane.ledger.pending()) == []

"""Telling the world of merged tables: at least once whatever dies, at most one event a table and settling."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.control_plane import NOW, ControlPlane, execution
from fakes.crashes import Crashed, CrashPoint
from tidegate.contracts import Contracts
from tidegate.errors import NotAnnounced, NotRegistered
from tidegate.ports import Table
from tidegate.receipts import Voided
from tidegate.usecases.publish_tables import MOST_BATCHES, MOST_FAILURES, PublishPorts, publish_tables

BY = execution("r")
GOLDEN = Path(__file__).resolve().parents[2] / "events" / "table_updated.json"


def merged(*keys: str, **changes: Any) -> tuple[ControlPlane, dict[str, Any]]:
    """A run whose batches are merged and not settled."""
    plane = ControlPlane(**changes)
    for key in keys or ("flights/2013-01/a.csv", "airlines/a.csv"):
        plane.land(key)
    plan = plane.plan({}, BY)
    plane.merge(plan)
    return plane, plan


def owed(plane: ControlPlane) -> list[str]:
    return [name for name, table in plane.ledger.table_items.items() if table.is_unpublished]


def publish(plane: ControlPlane, *tables: str) -> None:
    publish_tables(tables, ports=PublishPorts(plane.ledger, plane.objects, plane.publishing()), now=NOW)


def ids(plane: ControlPlane) -> list[str]:
    return [each["id"] for each in plane.bus.sent]


class TestAnnouncing:
    def test_each_settled_table_is_told_of_in_one_call(self) -> None:
        plane, _ = merged()
        plane.settle_batches({}, BY)
        assert (ids(plane), plane.bus.calls, owed(plane)) == (["airlines:1", "flights:1"], 1, [])
        (flights,) = [each for each in plane.bus.sent if each["table"] == "flights"]
        assert flights == {
            "id": "flights:1",
            "stack": "tidegate",
            "table": "flights",
            "run_id": "r",
            "batches": [1],
            "versions": {"from": 1, "to": 1},
            "rows": {"inserted": 7, "updated": 0, "deleted": 0, "quarantined": 0},
            "table_rows": 7,
            "location": "s3://lake/flights",
            "database": "tidegate",
        }
        golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
        assert set(flights) == set(golden["detail"])

    def test_settling_again_says_nothing_again(self) -> None:
        plane, _ = merged()
        plane.settle_batches({}, BY)
        plane.settle_batches({}, BY)
        plane.settle("settle_run", {}, BY)
        assert ids(plane) == ["airlines:1", "flights:1"]

    def test_batches_that_settle_together_are_one_event(self) -> None:
        # GIVEN three batches of one table, of which nobody could be told
        plane, plan = merged("flights/2013-01/a.csv")
        plane.bus.fails = {"flights": "InternalFailure"}
        plane.settle_batches({}, BY)
        for name in ("b", "c"):
            plane.land(f"flights/2013-01/{name}.csv")
            plan = plane.more({}, BY, plan)
            plane.merge(plan)
            plane.settle_batches({}, BY)
        assert owed(plane) == ["flights"]
        # WHEN the run ends and the bus is well again
        plane.bus.fails = {}
        plane.settle("settle_run", {}, BY)
        # THEN they are told of in one event, with the range of their versions
        (event,) = plane.bus.sent
        assert (event["id"], event["batches"], event["versions"]) == ("flights:3", [1, 2, 3], {"from": 1, "to": 3})
        assert event["rows"]["inserted"] == 21
        assert owed(plane) == []

    def test_a_voided_batch_is_no_news(self) -> None:
        plane, _ = merged("flights/2013-01/a.csv")
        voided = Voided("s3://control/receipts/1.json", 1)
        plane.ledger.settle_voided(plane.ledger.batch("flights", 1), "r", voided, [], NOW)
        publish(plane, "flights")
        assert (plane.bus.sent, owed(plane)) == ([], [])

    def test_one_table_that_fails_leaves_the_others_told(self) -> None:
        plane, _ = merged()
        plane.bus.fails = {"flights": "ThrottlingException"}
        settled = plane.settle_batches({}, BY)
        assert [each["table"] for each in settled.merged] == ["airlines", "flights"]
        assert (ids(plane), owed(plane)) == (["airlines:1"], ["flights"])
        (trouble,) = plane.reported
        assert isinstance(trouble, NotAnnounced)
        assert "flights is merged, but batches [1] are not announced: ThrottlingException" in str(trouble)

    def test_news_that_was_held_up_for_long_is_told_in_shares(self) -> None:
        plane, _ = merged("flights/2013-01/a.csv")
        plane.settle_batches({}, BY)
        batch, table = plane.ledger.batch("flights", 1), plane.ledger.table("flights")
        numbers = range(1, MOST_BATCHES + 2)
        plane.ledger.batch_items |= {("flights", number): replace(batch, number=number) for number in numbers}
        plane.ledger.table_items["flights"] = replace(table, unannounced=frozenset(numbers))
        publish(plane, "flights")
        publish(plane, "flights")
        assert [len(each["batches"]) for each in plane.bus.sent] == [1, MOST_BATCHES, 1]
        assert owed(plane) == []

    def test_a_batch_that_the_ledger_has_forgotten_is_reported_once(self) -> None:
        plane, _ = merged("flights/2013-01/a.csv")
        plane.bus.fails = {"flights": "InternalFailure"}
        plane.settle_batches({}, BY)
        del plane.ledger.batch_items["flights", 1]
        publish(plane, "flights")
        publish(plane, "flights")
        assert [str(each) for each in plane.reported[1:]] == [
            "batch 1 of flights is never announced: batch 1 of flights is not in the ledger"
        ]
        assert owed(plane) == []


class TestRegistering:
    def test_is_done_once_and_remembered(self) -> None:
        plane, plan = merged("flights/2013-01/a.csv")
        plane.settle_batches({}, BY)
        assert plane.catalog.calls == [("entry", "flights"), ("create", "flights")]
        plane.land("flights/2013-01/b.csv")
        more = plane.more({}, BY, plan)
        plane.merge(more)
        plane.settle_batches({}, BY)
        assert len(plane.catalog.calls) == 2
        assert ids(plane) == ["flights:1", "flights:2"]

    def test_follows_the_schema(self) -> None:
        plane, plan = merged("flights/2013-01/a.csv")
        plane.settle_batches({}, BY)
        plane.columns = [*plane.columns, {"name": "late", "type": "int"}]
        plane.land("flights/2013-01/b.csv")
        plane.merge(plane.more({}, BY, plan))
        plane.settle_batches({}, BY)
        assert plane.catalog.calls[2:] == [("entry", "flights"), ("update", "flights")]
        (entry, _) = plane.catalog.entries["flights"]
        assert [each["Name"] for each in entry["StorageDescriptor"]["Columns"]] == ["id", "_tidegate", "late"]

    def test_a_failure_costs_no_merge_and_no_event_and_is_mended_by_the_end_of_the_run(self) -> None:
        plane, _ = merged("flights/2013-01/a.csv")
        plane.catalog.fails = "AccessDeniedException"
        settled = plane.settle_batches({}, BY)
        assert ([each["table"] for each in settled.merged], ids(plane)) == (["flights"], ["flights:1"])
        (trouble,) = plane.reported
        assert isinstance(trouble, NotRegistered)
        assert (plane.ledger.table("flights").unregistered_batch, owed(plane)) == (1, ["flights"])
        # WHEN the run ends, and the catalog is well again
        plane.catalog.fails = None
        summary = plane.settle("settle_run", {}, BY)
        assert (summary["outcome"], list(plane.catalog.entries), owed(plane)) == ("succeeded", ["flights"], [])
        assert ids(plane) == ["flights:1"]

    def test_a_catalog_that_does_not_answer_is_not_asked_for_every_table(self) -> None:
        # GIVEN a table more than may fail, and a catalog that does not answer
        tables = [f"t{number}" for number in range(MOST_FAILURES + 1)]
        plane, _ = merged("flights/2013-01/a.csv")
        plane.settle_batches({}, BY)
        batch, contract = plane.ledger.batch("flights", 1), plane.contracts.by_table["flights"]
        plane.contracts = Contracts(dict.fromkeys(tables, contract))
        for name in tables:
            plane.ledger.batch_items[name, 1] = replace(batch, table=name)
            plane.ledger.table_items[name] = Table(name, unannounced=frozenset({1}))
        plane.catalog.fails = "ReadTimeout"
        plane.catalog.calls.clear()
        publish(plane, *tables)
        # THEN it is asked for some, all are announced, and all are owed
        assert len(plane.catalog.calls) == MOST_FAILURES
        assert len(plane.bus.sent) == 1 + len(tables)
        assert [plane.ledger.table(name).unregistered_batch for name in tables] == [1] * len(tables)
        assert str(plane.reported[-1]).startswith("1 more tables are left for later")
        # AND later all are registered, with nothing announced again
        plane.catalog.fails = None
        publish(plane, *tables)
        assert (set(tables) <= set(plane.catalog.entries), owed(plane)) == (True, [])
        assert len(plane.bus.sent) == 1 + len(tables)

    def test_an_owed_entry_whose_batch_is_forgotten_is_given_up(self) -> None:
        plane, _ = merged("flights/2013-01/a.csv")
        plane.catalog.fails = "AccessDeniedException"
        plane.settle_batches({}, BY)
        del plane.ledger.batch_items["flights", 1]
        publish(plane, "flights")
        assert owed(plane) == []

    def test_an_entry_that_somebody_makes_at_this_moment_is_met(self) -> None:
        plane, _ = merged("flights/2013-01/a.csv")
        create = plane.catalog.create

        def too_late(table_input: Any) -> bool:
            create(table_input)
            return create(table_input)

        plane.catalog.create = too_late  # type: ignore[method-assign]
        plane.settle_batches({}, BY)
        assert (plane.reported, list(plane.catalog.entries)) == ([], ["flights"])

    def test_somebody_elses_entry_is_reported_by_name(self) -> None:
        plane, _ = merged("flights/2013-01/a.csv")
        theirs = {"Name": "flights", "StorageDescriptor": {"Location": "s3://theirs"}, "Parameters": {}}
        plane.catalog.entries["flights"] = (theirs, 1)
        plane.settle_batches({}, BY)
        assert plane.catalog.entries["flights"] == (theirs, 1)
        assert "the catalog has a table flights at s3://theirs that is not Tidegate's" in str(plane.reported[0])

    def test_a_receipt_of_an_older_release_registers_nothing(self) -> None:
        plane = ControlPlane()
        plane.columns = []
        plane.land("flights/2013-01/a.csv")
        plane.merge(plane.plan({}, BY))
        plane.settle_batches({}, BY)
        assert (plane.catalog.calls, ids(plane), plane.reported) == ([], ["flights:1"], [])


@pytest.mark.parametrize("after", [False, True])
def test_whoever_dies_at_any_call_the_world_hears_of_every_batch(after: bool) -> None:
    # Design: "Events: 'Table Updated' on EventBridge with the Delta version, for whoever is downstream"
    for at in range(60):
        plane, _ = merged()
        crash = CrashPoint(at, after)
        try:
            plane.settle_batches({}, BY, crash=crash)
        except Crashed:
            pass
        else:
            break  # no call of that number any more
        plane.settle("settle_run", {}, BY)
        assert set(ids(plane)) == {"airlines:1", "flights:1"}, crash.name
        assert set(plane.catalog.entries) == {"airlines", "flights"}, crash.name
        assert owed(plane) == [], crash.name
    else:
        raise AssertionError("it never came through")
    assert at > 10

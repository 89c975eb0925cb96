"""Dispatching: what the ledger says becomes snapshots, and one run a name is started for what is due."""

from typing import Any

import pytest
from fakes.control_plane import NOW, ControlPlane, execution
from fakes.crashes import Crashed, CrashPoint
from tidegate.dispatch import TableSnapshot
from tidegate.usecases.dispatch_runs import Started, dispatch_due_runs
from tidegate.usecases.take_snapshots import take_snapshots


def dispatch(plane: ControlPlane, run_id: str = "run-1", *, at_once: bool = False) -> Started:
    return dispatch_due_runs(
        ledger=plane.ledger,
        machine=plane.machine,
        contracts=plane.contracts,
        now=NOW,
        run_id=run_id,
        at_once=at_once,
    )


def snapshot(plane: ControlPlane, table: str = "flights") -> TableSnapshot:
    found = {each.contract.table: each for each in take_snapshots(plane.ledger, plane.machine, plane.contracts)}
    assert set(found) == set(plane.contracts.by_table)
    return found[table]


def landed(*keys: str, **contract_changes: Any) -> ControlPlane:
    plane = ControlPlane(**contract_changes)
    for key in keys or ("flights/2013-01/a.csv",):
        plane.land(key)
    return plane


class TestSnapshots:
    def test_count_what_is_pending_by_table_and_know_the_oldest(self) -> None:
        plane = ControlPlane()
        first = plane.land("flights/2013-01/a.csv", b"12345")
        plane.land("flights/2013-01/b.csv", b"123")
        plane.land("airlines/a.csv", b"1")
        flights = snapshot(plane)
        assert (flights.pending_files, flights.pending_bytes) == (2, 8)
        assert flights.oldest_event_time == first.event_time
        assert not snapshot(plane, "clicks").has_work

    def test_what_is_ignored_is_nothing_to_do(self) -> None:
        assert not snapshot(landed("flights/2013-01/a.txt", "flights/2013-01/")).has_work

    def test_pending_files_of_a_contract_that_is_gone_stop_no_other_table(self) -> None:
        # GIVEN a file was recorded for a table, whose contract was then deleted
        plane = landed("flights/2013-01/a.csv", "airlines/a.csv")
        contracts = {name: each for name, each in plane.contracts.by_table.items() if name != "flights"}
        plane.contracts = type(plane.contracts)(contracts)
        assert dispatch(plane).dispatch.tables == ("airlines",)
        # AND a run for all that is pending leaves it where it is
        plan = plane.plan({}, execution("r"))
        assert [table for group in plan["groups"] for table in group["tables"]] == ["airlines"]
        assert [each.table for each in plane.ledger.pending()] == ["flights"]

    def test_a_live_runs_lease_holds_a_table(self) -> None:
        plane = landed()
        plane.plan({"run": "r"}, execution("r-1"))
        plane.land("flights/2013-01/b.csv")
        plane.machine.running.add(execution("r-1").arn)
        assert snapshot(plane).held_by == "r"
        assert dispatch(plane, at_once=True).run_id is None

    def test_a_dead_runs_lease_holds_nobody_back(self) -> None:
        # GIVEN a run whose execution was aborted before anything could free its lease
        plane = landed()
        plane.plan({"run": "r"}, execution("r-1"))
        assert plane.ledger.table("flights").lease is not None
        assert (snapshot(plane).held_by, snapshot(plane).unsettled_batch) == (None, 1)
        assert dispatch(plane).dispatch.tables == ("flights",)

    def test_a_claim_that_a_crash_left_open_is_due_without_any_pending_file(self) -> None:
        # GIVEN a plan that died when all of its files were marked and its batch was not sealed
        counted = CrashPoint()
        landed().plan({}, execution("r"), crash=counted)
        for at in range(counted.calls):
            plane = landed()
            with pytest.raises(Crashed):
                plane.plan({}, execution("r"), crash=CrashPoint(at))
            table = plane.ledger.table("flights")
            if table.open_claim is not None and not list(plane.ledger.pending()):
                break
        else:
            pytest.fail("no crash left such a claim")
        # THEN the next tick starts a run that finishes it
        assert snapshot(plane).unsettled_batch == 1
        started = dispatch(plane, "run-2")
        assert plane.whole_run(plane.machine.started["run-2-1"], execution("run-2-1"))["outcome"] == "succeeded"
        assert started.dispatch.tables == ("flights",)


class TestStarting:
    def test_nothing_due_starts_nothing(self) -> None:
        plane = ControlPlane()
        assert dispatch(plane, at_once=True).run_id is None
        assert plane.machine.started == {}

    def test_an_execution_is_named_after_its_run_and_told_its_tables(self) -> None:
        plane = landed("flights/2013-01/a.csv", "airlines/a.csv")
        started = dispatch(plane)
        assert (started.run_id, started.is_new) == ("run-1", True)
        assert plane.machine.started == {
            "run-1-1": {"run": "run-1", "tables": ["airlines", "flights"], "reason": started.dispatch.reason}
        }

    def test_the_same_minute_twice_starts_one_run(self) -> None:
        plane = landed()
        assert [dispatch(plane).is_new, dispatch(plane).is_new] == [True, False]
        assert len(plane.machine.started) == 1

    def test_the_next_minute_starts_no_second_run_beside_the_first(self) -> None:
        # GIVEN the first run has planned and its execution goes on
        plane = landed()
        first = dispatch(plane)
        plane.plan(plane.machine.started["run-1-1"], execution("run-1-1"))
        plane.machine.running.add(execution("run-1-1").arn)
        second = dispatch(plane, "run-2")
        assert (first.run_id, second.run_id) == ("run-1", None)

    def test_a_failed_batch_waits_for_its_pause_and_then_goes_out_as_itself(self) -> None:
        plane = landed()
        plane.whole_run({}, execution("r"), failing={"flights": "infrastructure"})
        paused = dispatch(plane, "run-2")
        assert paused.run_id is None
        assert "batch 1 is tried again at 12:01:00 UTC" in paused.dispatch.decisions[2].reason
        assert dispatch(plane, "run-3", at_once=True).dispatch.tables == ("flights",)
        plane.whole_run(plane.machine.started["run-3-1"], execution("run-3-1"))
        assert [each["batch"] for each in plane.manifests()] == [1]
        assert plane.ledger.table("flights").last_merged_batch == 1

    def test_a_long_run_id_keeps_to_the_limit_of_step_functions(self) -> None:
        plane = landed()
        dispatch(plane, "r" * 80)
        assert [len(name) for name in plane.machine.started] == [80]

"""scale_clusters: which clusters are looked at, what is carried out, and what is kept."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fakes.aws import FakeReadings
from fakes.control_plane import NOW, ControlPlane, execution
from tidegate.clusters import EndReason
from tidegate.errors import ClusterLost, ScalingRefused, Throttled
from tidegate.readings import Metrics
from tidegate.scaling import ScalingLimits
from tidegate.usecases.scale_clusters import Scaled, ScalePorts, clusters_named, scale_clusters

BY = execution("r")
GIB = 1024**3


class Situation:
    """A run with a cluster that is up."""

    def __init__(self, **contract_changes: Any) -> None:
        self.plane = ControlPlane(**contract_changes)
        self.plane.land("flights/2013-01/a.csv", b"x" * 100)
        self.plan = self.plane.plan({}, BY)
        self.name = self.plan["cluster"]["name"]
        self.plane.clusters.names["j-1"] = self.name
        self.plane.clusters.states["j-1"] = "RUNNING"
        self.readings = FakeReadings()

    def weigh(self, size_bytes: int, due_in_s: float | None) -> None:
        """Have the run's work weigh so much, and be due then; None: nothing is promised."""
        deadline = (NOW + timedelta(seconds=due_in_s)).isoformat() if due_in_s is not None else None
        for group in self.plan["groups"]:
            document = json.loads(self.plane.objects.by_uri[group["work_uri"]])
            for batch in document["batches"]:
                batch |= {"size_bytes": size_bytes, "deadline": deadline}
            self.plane.objects.write(group["work_uri"], json.dumps(document).encode())

    def measured(self, at: Any = NOW, **fields: Any) -> None:
        given = {"memory_available_percent": 40.0, "pending_ratio": 0.0, "apps_pending": 0.0, "units_running": 1.0}
        self.readings.metrics["j-1"] = Metrics("j-1", at, **(given | fields))

    def tell(self, **fields: Any) -> None:
        work = json.loads(self.plane.objects.by_uri[self.plan["groups"][0]["work_uri"]])
        given = {"at": NOW.isoformat(), "done": [], "cores": 4, "busy_cores": 2, "core_s": 60.0, "input_bytes": 0,
                 "shuffles": False, "group": work["group"]}  # fmt: skip
        self.plane.objects.write(work["progress_uri"], json.dumps(given | fields).encode())

    def look(self, only: frozenset[str] | None = None, now: Any = NOW) -> Scaled:
        ports = ScalePorts(
            self.plane.ledger, self.plane.objects, self.plane.clusters, self.readings, "tidegate", "control"
        )
        return scale_clusters(only, ports=ports, now=now)

    @property
    def limits(self) -> list[int]:
        return [each.maximum_units for each in self.plane.clusters.limits.get("j-1", [])]


@pytest.fixture
def situation() -> Situation:
    return Situation()


def test_a_run_that_is_late_gets_more_units_and_the_reason_is_on_its_record(situation: Situation) -> None:
    # GIVEN 1,000 GiB that are due in half an hour, on a cluster of one unit
    situation.weigh(1000 * GIB, due_in_s=1800)
    situation.measured()
    situation.tell()
    # WHEN it is looked at
    scaled = situation.look()
    # THEN its limit is raised, at once and as far as the caps allow
    assert situation.limits == [17]
    assert scaled.changes == 1
    assert scaled.late_by_s > 3600
    [look] = situation.plane.ledger.scaling_looks("r")
    assert (look.action, look.maximum_units, look.units_running) == ("raise", 17, 1.0)
    assert "the deadline is at risk" in look.reason
    # AND the next minute goes on from there, and changes nothing
    situation.measured(at=NOW + timedelta(minutes=1))
    later = situation.look(now=NOW + timedelta(minutes=1))
    assert (later.changes, situation.limits) == (0, [17])
    assert len(list(situation.plane.ledger.scaling_looks("r"))) == 2


def test_one_that_is_in_time_is_left_alone(situation: Situation) -> None:
    situation.weigh(1024, due_in_s=3600)
    situation.measured()
    situation.tell()
    scaled = situation.look()
    assert (scaled.changes, situation.limits, scaled.late_by_s) == (0, [], 0.0)


def test_one_that_is_idle_and_shuffles_nothing_is_lowered_in_the_end(situation: Situation) -> None:
    situation.weigh(1024, due_in_s=36_000)
    for minute in range(20):
        now = NOW + timedelta(minutes=minute)
        situation.measured(at=now, memory_available_percent=95.0)
        situation.tell(at=now.isoformat(), busy_cores=0)
        situation.look(now=now)
    assert situation.limits == [1]


def test_a_cluster_that_is_ending_is_not_looked_at(situation: Situation) -> None:
    situation.plane.clusters.states["j-1"] = "TERMINATING"
    assert situation.look().looks == {}


def starting(situation: Situation, for_s: float, state: str = "STARTING") -> None:
    situation.plane.clusters.states["j-1"] = state
    situation.plane.clusters.created["j-1"] = NOW - timedelta(seconds=for_s)


@pytest.mark.parametrize(("for_s", "state"), [(60, "STARTING"), (900, "STARTING"), (3000, "BOOTSTRAPPING")])
def test_a_cluster_that_may_still_come_is_waited_for(situation: Situation, for_s: float, state: str) -> None:
    situation.weigh(1024, due_in_s=36_000)
    starting(situation, for_s, state)
    look = situation.look().looks["r"]
    assert (look.action, situation.plane.clusters.ended) == ("hold", [])
    assert look.reason.startswith("Graviton, Spot: ")


def test_one_that_has_no_instances_in_time_is_ended_and_the_next_option_follows(situation: Situation) -> None:
    # GIVEN a cluster that nobody waits for any longer
    starting(situation, 3000)
    scaled = situation.look()
    assert (scaled.looks["r"].action, situation.plane.clusters.ended) == ("relaunch", ["j-1"])
    # WHEN the machine finds it ended, as by hand, under unmerged batches
    plane = situation.plane
    plane.clusters.reasons["j-1"] = EndReason("USER_REQUEST", "Terminated by user request", "TERMINATED")
    with pytest.raises(ClusterLost) as lost:
        plane.more({}, BY, situation.plan)
    error = {"Error": "ClusterLost", "Cause": str(lost.value)}
    answer = plane.settle("assess_failure", {}, BY, error=error, failed_in="Claim more", cluster_id="j-1")
    # THEN it is planned again, of the next option
    assert answer["go_on"]
    assert "its instances came late, so it was ended; it is tried next: x86, Spot" in answer["error"]["Cause"]
    plane.clusters.names.clear()
    again = plane.plan({}, BY)
    assert "(x86, Spot)" in again["cluster"]["reason"]
    # AND that one, ended by hand, is not tried again
    plane.clusters.names["j-2"] = again["cluster"]["name"]
    plane.clusters.reasons["j-2"] = EndReason("USER_REQUEST", "Terminated by user request", "TERMINATED")
    answer = plane.settle("assess_failure", {}, BY, error=error, failed_in="Claim more", cluster_id="j-2")
    assert not answer["go_on"]


MIB = 1024**2


def lose_a_unit(situation: Situation, now: Any = NOW) -> Scaled:
    """A cluster of two units loses one, with 700 s of work on one unit left that are due in ten minutes."""
    situation.weigh(700 * 20 * MIB, due_in_s=600)
    situation.tell(core_s=0.0)
    situation.measured(at=now, units_running=2.0, units_requested=2.0)
    assert situation.look(now=now).changes == 0
    situation.measured(at=now + timedelta(minutes=1), units_running=1.0, units_requested=2.0)
    return situation.look(now=now + timedelta(minutes=1))


def test_a_lost_spot_unit_may_be_on_demand_when_the_rest_is_too_slow(situation: Situation) -> None:
    scaled = lose_a_unit(situation)
    # THEN one call raises the limit by one unit, and its reason is on the run's record
    assert situation.plane.clusters.limits["j-1"] == [ScalingLimits(1, 2, 2)]
    assert scaled.changes == 1
    newest = list(situation.plane.ledger.scaling_looks("r"))[-1]
    assert (newest.action, newest.maximum_units, newest.maximum_on_demand_units) == ("raise", 2, 2)
    assert "Graviton, Spot: 1 of 2 units are left since 0 s, too few for the deadline" in newest.reason
    assert "1 more may be On-Demand" in newest.reason


def test_one_that_is_missed_is_remembered_from_look_to_look(situation: Situation) -> None:
    # GIVEN a loss that EMR did not take an answer to
    situation.plane.clusters.refuses = Throttled("too many calls")
    assert set(lose_a_unit(situation).failed) == {"r"}
    # THEN the next look gives it
    situation.plane.clusters.refuses = None
    later = NOW + timedelta(minutes=2)
    situation.measured(at=later, units_running=1.0, units_requested=2.0)
    assert situation.look(now=later).changes == 1


def test_a_cluster_of_on_demand_units_waits_for_others(situation: Situation) -> None:
    run = situation.plane.ledger.run("r")
    situation.plane.ledger.running_runs = lambda: iter([replace(run, launch=2)])
    scaled = lose_a_unit(situation)
    assert (scaled.changes, situation.limits) == (0, [])
    assert "they are On-Demand already" in scaled.looks["r"].reason


def test_a_run_that_has_moved_on_keeps_its_cluster(situation: Situation) -> None:
    starting(situation, 3000)
    ledger = situation.plane.ledger
    seen = ledger.run("r")
    ledger.next_attempt(seen, 1, 1)
    ledger.running_runs = lambda: iter([seen])
    assert (situation.look().looks["r"].action, situation.plane.clusters.ended) == ("hold", [])


def _of_another_stack(situation: Situation) -> None:
    situation.plane.clusters.tags["j-1"] = "tidegate-dev"


def _of_an_earlier_attempt(situation: Situation) -> None:
    situation.plane.clusters.names["j-1"] = "tidegate-r-7-1"


def _of_a_fenced_run(situation: Situation) -> None:
    situation.plane.ledger.fence_run(situation.plane.ledger.run("r"), "its execution has ended", NOW)


@pytest.mark.parametrize("is_not_ours", [_of_another_stack, _of_an_earlier_attempt, _of_a_fenced_run])
def test_clusters_that_are_no_live_runs_are_ignored(
    situation: Situation, is_not_ours: Callable[[Situation], None]
) -> None:
    situation.weigh(1000 * GIB, due_in_s=1800)
    situation.measured()
    is_not_ours(situation)
    assert (situation.look().looks, situation.limits) == ({}, [])


def test_an_alarm_about_anothers_cluster_changes_nothing(situation: Situation) -> None:
    situation.weigh(1000 * GIB, due_in_s=1800)
    situation.measured()
    assert situation.look(frozenset({"j-THEIRS"})).looks == {}
    assert set(situation.look(frozenset({"j-1", "j-THEIRS"})).looks) == {"r"}


def test_without_metrics_nothing_is_changed_and_lateness_is_seen_all_the_same(situation: Situation) -> None:
    situation.weigh(1000 * GIB, due_in_s=1800)
    scaled = situation.look()
    assert (scaled.looks["r"].action, situation.limits) == ("hold", [])
    assert "there are no metrics" in scaled.looks["r"].reason
    assert scaled.late_by_s > 0


def test_ten_minutes_without_metrics_change_nothing_and_are_no_trend(situation: Situation) -> None:
    # GIVEN a cluster that is short of memory, of which CloudWatch then has nothing new for ten minutes
    situation.weigh(1024, due_in_s=None)
    busy: dict[str, Any] = {"memory_available_percent": 2.0, "pending_ratio": 3.0}
    situation.measured(**busy)
    actions = []
    for minute in range(11):
        looked = situation.look(now=NOW + timedelta(minutes=minute))
        actions += [(looked.looks["r"].action, "s old" in looked.looks["r"].reason)]
    assert actions == [("hold", False)] * 6 + [("hold", True)] * 5
    # WHEN they come again, THEN it has to be short of memory for a while, as if nothing had been before
    for minute in range(11, 14):
        now = NOW + timedelta(minutes=minute)
        situation.measured(at=now, **busy)
        assert situation.look(now=now).changes == (minute == 13)


def test_an_alarm_that_is_over_or_is_told_twice_changes_no_more_than_the_metrics_say(situation: Situation) -> None:
    # GIVEN an alarm that containers wait, by the time of which they don't any more
    situation.weigh(1024, due_in_s=36_000)
    situation.measured(memory_available_percent=95.0)
    for _ in range(3):
        assert situation.look(frozenset({"j-1"})).changes == 0
    # AND one that comes again and again, of a run that is later each time
    changes = []
    for number in range(1, 4):
        situation.weigh(number * 100 * GIB, due_in_s=1800)
        changes.append(situation.look(frozenset({"j-1"}), now=NOW + timedelta(seconds=20 * number)).changes)
    assert changes == [1, 0, 0]


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(hours=-1)])
def test_progress_by_a_wrong_clock_takes_nothing_away(situation: Situation, ahead: timedelta) -> None:
    situation.weigh(1024, due_in_s=36_000)
    for minute in range(20):
        now = NOW + timedelta(minutes=minute)
        situation.measured(at=now, memory_available_percent=95.0)
        situation.tell(at=(now + ahead).isoformat(), busy_cores=0)
        situation.look(now=now)
    assert situation.limits == []


def test_metrics_by_a_wrong_clock_are_not_believed(situation: Situation) -> None:
    situation.weigh(1000 * GIB, due_in_s=1800)
    situation.measured(at=NOW + timedelta(minutes=10))
    look = situation.look().looks["r"]
    assert (look.action, "a clock is wrong" in look.reason) == ("hold", True)


@pytest.mark.parametrize("trouble", [ScalingRefused("the cluster is terminating"), Throttled("too many calls")])
def test_limits_that_emr_does_not_take_are_set_again_by_the_next_look(
    situation: Situation, trouble: ScalingRefused | Throttled
) -> None:
    situation.weigh(1000 * GIB, due_in_s=1800)
    situation.measured()
    situation.plane.clusters.refuses = trouble
    scaled = situation.look()
    assert (scaled.failed, scaled.looks) == ({"r": str(trouble)}, {})
    situation.plane.clusters.refuses = None
    assert situation.look().changes == 1


def test_another_cluster_of_the_run_begins_with_its_own_limits(situation: Situation) -> None:
    situation.weigh(1000 * GIB, due_in_s=1800)
    situation.measured()
    situation.look()
    # GIVEN the cluster was lost, and the run is on another one that has all that it needs
    situation.plane.clusters.names = {"j-2": situation.name}
    situation.weigh(1024, due_in_s=3600)
    situation.readings.metrics["j-2"] = replace(situation.readings.metrics["j-1"], cluster_id="j-2")
    situation.plane.clusters.states["j-2"] = "RUNNING"
    look = situation.look().looks["r"]
    assert (look.cluster_id, look.maximum_units, look.action) == ("j-2", 2, "hold")


def test_of_two_looks_at_once_both_set_the_same_limits_and_one_is_kept(situation: Situation) -> None:
    situation.weigh(1000 * GIB, due_in_s=1800)
    situation.measured()
    ledger = situation.plane.ledger
    once = ledger.scaling_state("r")
    situation.look()
    # WHEN a second one had read before the first had written
    original, ledger.scaling_state = ledger.scaling_state, lambda _run_id: once
    situation.look()
    ledger.scaling_state = original
    assert situation.limits == [17, 17]
    assert len(list(ledger.scaling_looks("r"))) == 1


def test_nobody_is_asked_while_nothing_runs() -> None:
    plane = ControlPlane()
    ports = ScalePorts(plane.ledger, plane.objects, None, None, "tidegate", "control")  # type: ignore[arg-type]
    assert scale_clusters(None, ports=ports, now=NOW) == Scaled({}, {}, 0.0)


CONTRIBUTOR = {"detail": {"alarmContributor": {"id": "x", "attributes": {"JobFlowId": "j-1"}}}}
BY_DIMENSION = {
    "detail": {"configuration": {"metrics": [
        {"id": "a", "metricStat": {"metric": {"dimensions": {"JobFlowId": "j-2"}}}},
        {"id": "b", "expression": "SELECT 1"},
    ]}}
}  # fmt: skip


@pytest.mark.parametrize(
    ("event", "named"),
    [
        (CONTRIBUTOR, {"j-1"}),
        (BY_DIMENSION, {"j-2"}),
        ({"scale": "scheduled"}, None),
        ({"detail": {"alarmContributor": {"attributes": {"Other": "x"}}}}, None),
        ({"detail": {"alarmContributor": None, "configuration": {"metrics": "none"}}}, None),
        ({"detail": "what"}, None),
        ([], None),
    ],
)
def test_an_event_says_which_clusters_it_is_about(event: Any, named: set[str] | None) -> None:
    assert clusters_named(event) == named

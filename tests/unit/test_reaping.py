"""The reaper: nothing is left running, nothing of somebody else's is touched, nothing that lives is hurt."""

from datetime import timedelta
from typing import Any

import pytest
from fakes.control_plane import NOW, ControlPlane, execution
from fakes.crashes import Crashed, CrashPoint
from tidegate.clusters import Cluster
from tidegate.errors import RunFailed, StalePass
from tidegate.reaping import OLDEST_CLUSTER, OTHER_ATTEMPT_GRACE, UNKNOWN_RUN_GRACE, RunSeen, decide_reaping
from tidegate.runs import Run
from tidegate.usecases.reap_clusters import ReapPorts, is_about_another, reap_clusters

RUN = {"run": "r"}
BY = execution("r-1")


def cluster(name: str = "tidegate-r-0-1", *, age: timedelta = timedelta(minutes=5), **fields: Any) -> Cluster:
    made: dict[str, Any] = {"cluster_id": "j-1", "state": "WAITING", "is_ours": True}
    return Cluster(**made | fields, name=name, created_at=NOW - age)


def seen(state: Any = "running", *, runs: bool = True, on: str = "tidegate-r-0-1") -> dict[str, RunSeen]:
    return {"r": RunSeen(Run("r", state, 0, BY.arn, "", NOW, cluster_name=on), execution_runs=runs)}


def ended(clusters: list[Cluster], runs: dict[str, RunSeen]) -> list[str]:
    return [reason for _, reason in decide_reaping(clusters, runs, NOW, "tidegate").end]


class TestClusters:
    def test_of_a_live_run_is_kept(self) -> None:
        assert ended([cluster()], seen()) == []

    def test_of_a_dead_run_is_ended_and_the_run_fenced_first(self) -> None:
        reaping = decide_reaping([cluster()], seen(runs=False), NOW, "tidegate")
        assert [run.run_id for run, _ in reaping.fence] == ["r"]
        assert reaping.end == (("j-1", "the execution of run r has ended"),)
        # AND the run is finished only when the cluster is gone
        assert reaping.finish == ()
        assert [run.run_id for run in decide_reaping([], seen("fenced", runs=False), NOW, "tidegate").finish] == ["r"]

    @pytest.mark.parametrize("state", ["succeeded", "failed", "nothing_to_do"])
    def test_of_a_run_that_has_ended_is_ended(self, state: str) -> None:
        assert ended([cluster()], seen(state)) == [f"run r has ended: {state}"]

    @pytest.mark.parametrize("foreign", [{"is_ours": False}, {"is_ours": False, "name": "tidegate-dev-r-0-1"}])
    def test_of_another_is_never_touched_however_old(self, foreign: dict[str, Any]) -> None:
        # Issue: "Clusters that aren't ours are never touched."
        given = cluster(foreign.pop("name", "tidegate-r-0-1"), age=timedelta(days=9), **foreign)
        reaping = decide_reaping([given], seen(runs=False), NOW, "tidegate")
        assert (reaping.end, reaping.oldest_age_s) == ((), 0)

    def test_that_nobody_knows_is_ended_after_a_while(self) -> None:
        assert ended([cluster(age=UNKNOWN_RUN_GRACE)], {}) == []
        assert ended([cluster(age=UNKNOWN_RUN_GRACE * 2)], {}) == ["the ledger knows no run of it"]

    def test_of_an_earlier_attempt_is_the_machines_first(self) -> None:
        runs = seen(on="tidegate-r-1-1")
        assert ended([cluster(age=OTHER_ATTEMPT_GRACE)], runs) == []
        assert ended([cluster(age=OTHER_ATTEMPT_GRACE * 2)], runs) == ["run r is on tidegate-r-1-1 by now"]

    def test_older_than_any_run_may_take_is_ended_although_its_run_lives(self) -> None:
        assert len(ended([cluster(age=OLDEST_CLUSTER * 2)], seen())) == 1

    def test_that_is_ending_is_left_to_end(self) -> None:
        assert ended([cluster(state="TERMINATING")], seen(runs=False)) == []
        assert decide_reaping([cluster(state="TERMINATING")], seen("fenced", runs=False), NOW, "tidegate").finish == ()


class System(ControlPlane):
    def reap(self, crash: CrashPoint | None = None, **ports: Any) -> dict[str, Any]:
        point = crash or CrashPoint()
        made = ReapPorts(
            point.wrap(self.ledger), point.wrap(self.objects), point.wrap(self.machine), point.wrap(self.clusters),
            "tidegate", "control", self.publishing(point), self.load_prices,
        )  # fmt: skip
        return reap_clusters(ports=made, contracts=self.contracts, now=NOW + timedelta(minutes=1))

    def lose(self) -> dict[str, Any]:
        """A run whose execution was stopped by hand, with its cluster up."""
        self.land("flights/2013-01/a.csv")
        plan = self.plan(RUN, BY)
        self.clusters.names["j-1"] = plan["cluster"]["name"]
        self.clusters.created["j-1"] = NOW
        return plan

    def gone(self) -> None:
        """TERMINATED."""
        for cluster_id in self.clusters.ended:
            self.clusters.names.pop(cluster_id, None)


def test_a_stopped_executions_cluster_is_ended_its_run_closed_and_its_lease_freed() -> None:
    system = System()
    system.lose()
    first = system.reap()
    assert (first["fenced"], [each["cluster_id"] for each in first["ended"]], first["finished"]) == (["r"], ["j-1"], [])
    assert system.ledger.table("flights").lease is not None
    system.gone()
    assert system.reap()["finished"] == [{"run_id": "r", "outcome": "failed"}]
    run = system.ledger.runs["r"]
    assert (run.state, "its execution has ended" in (run.error or "")) == ("failed", True)
    assert system.ledger.table("flights").lease is None
    # AND its batch is done again as itself by the next run
    system.whole_run({}, execution("next"))
    assert system.delta["flights"] == [(1, "merge")]


def test_what_a_dead_run_merged_is_settled() -> None:
    system = System()
    system.merge(system.lose())
    system.reap()
    system.gone()
    assert system.reap()["finished"] == [{"run_id": "r", "outcome": "succeeded"}]
    assert system.ledger.table("flights").last_merged_batch == 1


def test_a_late_call_of_a_fenced_run_is_refused_and_a_redrive_goes_on() -> None:
    # GIVEN a fenced run THEN whatever its execution still calls is stale
    system = System()
    plan = system.lose()
    system.reap()
    with pytest.raises(StalePass):
        system.plan(RUN, BY)
    with pytest.raises(StalePass):
        system.more(RUN, BY, plan)
    with pytest.raises(RunFailed):
        system.settle("fail_run", RUN, BY)
    assert system.ledger.runs["r"].state == "fenced"
    # WHEN somebody redrives it, before or after the reaper is through
    system.gone()
    assert system.settle("fail_run", RUN, execution("r-1", 1))["redriven"] is True
    assert system.whole_run(RUN, execution("r-1", 1))["outcome"] == "succeeded"


def test_a_run_that_is_redriven_between_look_and_act_is_left_alone() -> None:
    # GIVEN the reaper saw a dead run, and somebody redrives it before it is fenced
    system = System()
    system.lose()
    fence = system.ledger.fence_run

    def redriven_first(*args: Any) -> bool:
        system.clusters.names.clear()
        system.plan(RUN, execution("r-1", 1))
        return fence(*args)

    system.ledger.fence_run = redriven_first
    assert (system.reap()["fenced"], system.clusters.ended) == ([], [])
    assert system.ledger.runs["r"].state == "running"


def test_a_live_run_is_not_touched() -> None:
    system = System()
    system.lose()
    system.machine.running.add(BY.arn)
    reaped = system.reap()
    assert (reaped["fenced"], reaped["ended"], reaped["finished"], reaped["freed"]) == ([], [], [], [])


def test_a_lease_that_an_ended_run_holds_is_freed() -> None:
    # GIVEN a function of a closed run that woke late and took a lease
    system = System()
    system.land("flights/2013-01/a.csv")
    system.whole_run(RUN, BY)
    system.ledger.take_lease("airlines", "r", None)
    assert system.reap()["freed"] == ["airlines"]
    assert system.ledger.table("airlines").lease is None


def calls_of_a_sweep() -> int:
    point = CrashPoint()
    system = System()
    system.merge(system.lose())
    system.reap(point)
    return point.calls


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(calls_of_a_sweep()))
def test_a_sweep_survives_a_crash_at_each_call(at: int, after: bool) -> None:
    system = System()
    system.merge(system.lose())
    with pytest.raises(Crashed):
        system.reap(CrashPoint(at, after))
    for _ in range(3):
        system.reap()
        system.gone()
    assert system.ledger.runs["r"].state == "succeeded"
    assert {table.lease for table in system.ledger.table_items.values()} == {None}


@pytest.mark.parametrize(
    ("event", "is_another"),
    [
        ({"source": "aws.emr", "detail": {"name": "tidegate-r-0-1"}}, False),
        ({"source": "aws.emr", "detail": {"name": "somebody's notebook"}}, True),
        ({"source": "aws.emr", "detail": {"name": "tidegate-nightly"}}, True),
        ({"source": "aws.states", "detail": {"name": "r-1"}}, False),
        ({"reap": "scheduled"}, False),
        ([], False),
    ],
)
def test_an_event_of_a_foreign_cluster_is_told_by_its_name(event: Any, is_another: bool) -> None:
    assert is_about_another(event, "tidegate") is is_another

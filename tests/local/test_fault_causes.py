"""EMR's words for a cluster that died by a planned fault are told apart as that fault's cause."""

from typing import Any

import pytest
from tidegate.launches import cause_of_end
from tidegate_local.emr import lifecycle
from tidegate_local.emr.lifecycle import Waits
from tidegate_local.emr.model import Cluster, Fleet
from tidegate_local.faults.kinds import KINDS, check
from tidegate_local.faults.plan import Faults

CAUSES = {
    "no_capacity": "no_capacity",
    "quota": "quota",
    "bad_configuration": "bad_configuration",
    "bootstrap_failure": "bootstrap",
    "lost_nodes": "lost_nodes",
    "internal_error": "internal",
    "ended_by_hand": "ended_by_hand",
}
WAITS = Waits(starting_s=1, bootstrapping_s=1, terminating_s=1, resizing_s=1, scale=1.0, idle_floor_s=0)
FLEET: dict[str, Any] = {
    "InstanceFleetType": "MASTER",
    "TargetOnDemandCapacity": 1,
    "InstanceTypeConfigs": [{"InstanceType": "m7g.xlarge"}],
}


def end_of(faults: Faults, **changes: Any) -> Cluster:
    request = {"Name": "c", "Instances": {"KeepJobFlowAliveWhenNoSteps": True, "InstanceFleets": [FLEET]}}
    cluster = Cluster("j-1", "arn", request, 0, 0, [Fleet("if-1", FLEET, 0)], **changes)
    for at_s in (1, 2, 3, 4, 100, 101):
        lifecycle.advance(cluster, at_s, WAITS, faults, busy=False)
    assert cluster.ended_s is not None
    return cluster


def test_every_death_of_a_cluster_has_a_cause() -> None:
    of_clusters = {name for name, kind in KINDS.items() if "cluster" in kind.patterns and "step" not in kind.patterns}
    # A cluster outlives these two.
    assert of_clusters - {"stuck", "lost_spot"} == CAUSES.keys()


@pytest.mark.parametrize(("fault", "cause"), CAUSES.items())
def test_a_planned_death_is_told_by_its_words(fault: str, cause: str) -> None:
    cluster = end_of(Faults(planned=[check({"fault": fault})]))
    reason = cluster.reason
    assert cause_of_end(reason.code, reason.message, was_ready=cluster.ready_s is not None) == cause


@pytest.mark.parametrize("state", ["STARTING", "BOOTSTRAPPING", "WAITING"])
@pytest.mark.parametrize("fault", ["lost_nodes", "internal_error", "ended_by_hand"])
def test_it_is_told_in_each_state(fault: str, state: str) -> None:
    cluster = end_of(Faults(planned=[check({"fault": fault, "state": state})]))
    reason = cluster.reason
    assert cause_of_end(reason.code, reason.message, was_ready=cluster.ready_s is not None) == CAUSES[fault]


def test_a_cluster_that_ends_as_idle_is_told_as_idle() -> None:
    cluster = end_of(Faults(), auto_termination={"IdleTimeout": 60})
    assert cause_of_end(cluster.reason.code, cluster.reason.message, was_ready=True) == "idle"

"""The local EMR's managed scaling: from what YARN says to instances that come and go."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tidegate_local.emr import instances, managed_scaling
from tidegate_local.emr.managed_scaling import SCALE_IN_AFTER_S, Limits, Target
from tidegate_local.emr.model import Cluster, Fleet, InstanceState
from tidegate_local.yarn import site
from tidegate_local.yarn.figures import Figures, NodeFigures, emr_metrics, of

LIMITS = Limits(minimum=1, maximum=4, maximum_on_demand=1, maximum_core=1)
COUNTS = st.integers(0, 40)


def a_cluster(*, has_nodes: bool, core: int = 1, spot: int = 0) -> Cluster:
    def fleet(kind: str, on_demand: int, spot: int = 0) -> Fleet:
        config: dict[str, Any] = {
            "InstanceFleetType": kind,
            "TargetOnDemandCapacity": on_demand,
            "TargetSpotCapacity": spot,
            "InstanceTypeConfigs": [{"InstanceType": "m7g.xlarge", "WeightedCapacity": 1}],
        }
        return Fleet(f"if-{kind}", config, 0)

    fleets = [fleet("MASTER", 1), fleet("CORE", core), fleet("TASK", 0, spot)]
    return Cluster("j-1", "arn", {"Name": "a", "Instances": {}}, 0, 0, fleets, has_nodes=has_nodes)


def test_a_policy_says_what_it_leaves_out() -> None:
    limits = {"UnitType": "InstanceFleetUnits", "MinimumCapacityUnits": 1, "MaximumCapacityUnits": 5}
    assert Limits.of({"ComputeLimits": limits}) == Limits(1, 5, 5, 5)


def test_what_waits_needs_room_and_so_does_a_master_for_each_application_that_waits() -> None:
    nodes = {"a": NodeFigures("RUNNING", 2), "b": NodeFigures("RUNNING", 1), "c": NodeFigures("RUNNING", 0)}
    # Two are at work, and what is free on them is no room for one executor more.
    assert managed_scaling.needed_units(Figures(nodes=nodes, pending_mb=site.EXECUTOR_MB)) == 3
    assert managed_scaling.needed_units(Figures(nodes=nodes, apps_pending=3)) == 4
    assert managed_scaling.needed_units(Figures(nodes=nodes)) == 2
    # One that is to leave is not counted, whatever still runs on it.
    assert managed_scaling.needed_units(Figures(nodes={**nodes, "b": NodeFigures("DECOMMISSIONING", 1)})) == 1
    assert managed_scaling.needed_units(Figures()) == 0


def test_it_scales_out_at_once_and_in_only_after_a_while() -> None:
    assert managed_scaling.decide_units(LIMITS, units=1, needed=3, enough_for_s=0) == 3
    assert managed_scaling.decide_units(LIMITS, units=3, needed=1, enough_for_s=0) == 3
    assert managed_scaling.decide_units(LIMITS, units=3, needed=1, enough_for_s=SCALE_IN_AFTER_S) == 1


def test_a_limit_that_was_lowered_holds_at_once() -> None:
    assert managed_scaling.decide_units(LIMITS, units=6, needed=6, enough_for_s=0) == 4


@given(units=COUNTS, needed=COUNTS, enough_for_s=st.floats(0, 100))
def test_it_never_leaves_its_limits(units: int, needed: int, enough_for_s: float) -> None:
    wanted = managed_scaling.decide_units(LIMITS, units, needed, enough_for_s)
    assert LIMITS.minimum <= wanted <= LIMITS.maximum
    target = managed_scaling.task_target(LIMITS, wanted, core_units=1, core_on_demand=1)
    assert target == Target(0, wanted - 1)


def test_task_units_are_on_demand_as_far_as_the_limit_goes() -> None:
    limits = Limits(1, 6, maximum_on_demand=3, maximum_core=1)
    assert managed_scaling.task_target(limits, 6, core_units=1, core_on_demand=1) == Target(2, 3)


def test_instances_without_yarn_are_there_and_gone_at_once() -> None:
    cluster = a_cluster(has_nodes=False, spot=2)
    instances.provide(cluster, 10)
    task = cluster.fleets[2]
    assert (task.running("SPOT"), instances.has_core(cluster)) == (2, True)
    # WHEN the fleet shrinks THEN one is over, and keeps its times
    task.config["TargetSpotCapacity"] = 1
    instances.provide(cluster, 50)
    (gone,) = (each for each in task.instances if each.state is InstanceState.TERMINATED)
    assert (gone.created_s, gone.ready_s, gone.ended_s) == (10, 10, 50)
    assert task.running() == 1


def test_an_instance_that_is_a_node_comes_and_goes_with_it() -> None:
    cluster = a_cluster(has_nodes=True, spot=2)
    instances.provide(cluster, 10)
    core, task = cluster.fleets[1:]
    assert not instances.has_core(cluster)
    # WHEN YARN tells of the core's node, and of one of the task's
    instances.settle(core, {core.instances[0].id}, 15)
    instances.settle(task, {task.instances[0].id}, 15)
    assert instances.has_core(cluster)
    assert task.running() == 1
    # WHEN one is to go THEN it is the one without containers, and only when its node is gone
    cluster.used = {task.instances[0].id: 2}
    task.config["TargetSpotCapacity"] = 1
    instances.provide(cluster, 50)
    assert [each.state for each in task.instances] == [InstanceState.RUNNING, InstanceState.LEAVING]
    instances.settle(task, {each.id for each in task.instances}, 60)
    assert task.instances[1].state is InstanceState.LEAVING
    instances.settle(task, {task.instances[0].id}, 70)
    assert (task.instances[1].state, task.instances[1].ended_s) == (InstanceState.TERMINATED, 70)


def test_emr_metrics_are_made_of_the_resource_managers_own_figures() -> None:
    answer = {
        "appsPending": 3, "appsRunning": 1, "containersAllocated": 2, "containersPending": 3, "containersReserved": 1,
        "allocatedMB": 2304, "availableMB": 256, "pendingMB": 4224, "totalMB": 2560,
    }  # fmt: skip
    nodes = [
        {"nodeHostName": "127.1.1.2", "state": "RUNNING", "numContainers": 2},
        {"nodeHostName": "127.1.1.3", "state": "LOST"},
        {"nodeHostName": "127.1.1.4", "state": "DECOMMISSIONING", "numContainers": 1},
    ]
    figures = of(answer, nodes)
    assert figures.nodes["127.1.1.2"] == NodeFigures("RUNNING", 2)
    assert figures.working == {"127.1.1.2", "127.1.1.4"}
    metrics = emr_metrics(figures, requested_units=4, running_units=2)
    assert metrics["ContainerPendingRatio"] == pytest.approx(1.5)
    assert metrics["YARNMemoryAvailablePercentage"] == pytest.approx(10)
    assert (metrics["AppsPending"], metrics["MRLostNodes"], metrics["TotalUnitsRequested"]) == (3, 1, 4)


def test_a_cluster_without_memory_has_no_share_of_it() -> None:
    metrics = emr_metrics(Figures(containers_pending=2), 1, 0)
    assert metrics["ContainerPendingRatio"] == 2  # by EMR's own rule, where nothing is allocated
    assert "YARNMemoryAvailablePercentage" not in metrics

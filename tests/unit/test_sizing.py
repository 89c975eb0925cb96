"""Sizing: one architecture, drivers on On-Demand, Spot where a loss costs little."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tidegate.launches import LAUNCH_OPTIONS
from tidegate.sizing import ClusterPlan, cluster_name, is_cluster_of, size_cluster

GIB = 1024**3


def plan(size_bytes: int = 0, steps: int = 1, launch: int = 0) -> ClusterPlan:
    return size_cluster("tidegate", "r", 0, size_bytes, steps, launch=launch)


def fleets(size_bytes: int) -> dict[str, dict[str, Any]]:
    return {fleet["InstanceFleetType"]: fleet for fleet in plan(size_bytes).fleets}


@given(st.integers(0, 10**15), st.integers(1, 300))
def test_every_size_makes_a_cluster_that_emr_takes(size_bytes: int, steps: int) -> None:
    made = plan(size_bytes, steps)
    kinds = [fleet["InstanceFleetType"] for fleet in made.fleets]
    assert kinds[:2] == ["MASTER", "CORE"]
    assert len({fleet["Name"] for fleet in made.fleets}) == len(kinds)
    assert 1 <= made.step_concurrency <= 4
    assert made.minimum_units <= made.maximum_units
    for fleet in made.fleets:
        assert 1 <= len(fleet["InstanceTypeConfigs"]) <= 30
        if fleet["InstanceFleetType"] == "MASTER":
            assert fleet["TargetOnDemandCapacity"] == 1
            assert {each["WeightedCapacity"] for each in fleet["InstanceTypeConfigs"]} == {1}


@given(st.integers(0, 10**15), st.integers(0, len(LAUNCH_OPTIONS) - 1))
def test_a_cluster_has_one_architecture(size_bytes: int, launch: int) -> None:
    # Design: "one CPU architecture a cluster"
    made = plan(size_bytes, launch=launch)
    types = [each["InstanceType"] for fleet in made.fleets for each in fleet["InstanceTypeConfigs"]]
    assert len(types) >= 4
    is_graviton = "Graviton" in LAUNCH_OPTIONS[launch].name
    assert all(bool(re.match(r"[a-z][678]gd?\.", name)) is is_graviton for name in types)


def test_what_spot_could_not_give_is_on_demand() -> None:
    made = plan(80 * GIB, launch=2)
    task = {fleet["InstanceFleetType"]: fleet for fleet in made.fleets}["TASK"]
    assert (task["TargetOnDemandCapacity"], task["TargetSpotCapacity"]) == (9, 0)
    assert made.maximum_on_demand_units == made.maximum_units
    assert made.name == "tidegate-r-0-3"


@given(st.integers(0, 10**14), st.integers(0, 10**14))
def test_more_bytes_never_make_a_smaller_cluster(one: int, other: int) -> None:
    small, large = sorted((one, other))
    assert plan(small).maximum_units <= plan(large).maximum_units


def test_where_drivers_and_masters_live_is_on_demand_and_the_rest_is_spot() -> None:
    made = fleets(80 * GIB)
    assert (made["MASTER"]["TargetOnDemandCapacity"], made["CORE"]["TargetOnDemandCapacity"]) == (1, 1)
    assert made["TASK"]["TargetOnDemandCapacity"] == 0
    assert made["TASK"]["TargetSpotCapacity"] == 9
    spot = made["TASK"]["LaunchSpecifications"]["SpotSpecification"]
    assert (spot["AllocationStrategy"], spot["TimeoutAction"]) == ("price-capacity-optimized", "SWITCH_TO_ON_DEMAND")


def test_a_small_run_pays_for_no_task_nodes() -> None:
    assert "TASK" not in fleets(1)


def test_the_plan_says_why() -> None:
    assert (
        plan(80 * GIB, 2).as_payload()["reason"]
        == "85,899,345,920 bytes in 2 steps: one core and 9 task units (Graviton, Spot)"
    )


@pytest.mark.parametrize(
    ("stack", "run_id", "is_mine"),
    [
        ("tidegate", "r", True),
        ("tidegate", "r-1", False),
        ("tidegate", "r-1-0", False),
        ("tide", "r", False),
        ("tidegate", "", False),
    ],
)
def test_a_cluster_is_its_runs_by_its_whole_name(stack: str, run_id: str, is_mine: bool) -> None:
    assert is_cluster_of(cluster_name("tidegate", "r", 1, 2), stack, run_id) is is_mine


@pytest.mark.parametrize("name", ["0-1", "0-1-tidegate-r-", "x-tidegate-r-0-1", "tidegate-r-0-1\n", "tidegate-r--1"])
def test_a_cluster_of_another_make_is_nobodys(name: str) -> None:
    assert not is_cluster_of(name, "tidegate", "r")


run_ids = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,20}\Z")


@given(run_ids, run_ids, st.integers(0, 30), st.integers(1, 9))
def test_no_two_runs_share_a_cluster_name(one: str, other: str, number: int, launch: int) -> None:
    assert is_cluster_of(cluster_name("tidegate", one, number, launch), "tidegate", other) is (one == other)

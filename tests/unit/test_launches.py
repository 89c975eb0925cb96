"""Launches: causes are told apart by EMR's own words, and each is answered by what can help."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tidegate.failures import assess_failure
from tidegate.launches import (
    LAUNCH_OPTIONS,
    MAXIMUM_LAUNCHES,
    LaunchCause,
    cause_of_end,
    cause_of_refusal,
    decide_next_launch,
)

SPOT_GRAVITON, SPOT_X86, ON_DEMAND_GRAVITON, ON_DEMAND_X86 = range(4)


@pytest.mark.parametrize(
    ("code", "message", "was_ready", "cause"),
    [
        ("INTERNAL_ERROR", "Amazon EC2 has insufficient capacity for the instance types", False, "no_capacity"),
        ("VALIDATION_ERROR", "InsufficientInstanceCapacity: We currently do not have sufficient m7g.xlarge capacity",
         False, "no_capacity"),
        ("INSTANCE_FAILURE", "UnfulfillableCapacity: Unable to fulfill capacity", False, "no_capacity"),
        ("INSTANCE_FLEET_TIMEOUT", "The cluster could not be provisioned in 10 minutes", False, "no_capacity"),
        ("VALIDATION_ERROR", "Instance type 'm7i.xlarge' is not supported in the Availability Zone us-east-1e", False,
         "no_capacity"),
        ("VALIDATION_ERROR", "VcpuLimitExceeded: You have requested more vCPU capacity than your current vCPU limit",
         False, "quota"),
        ("INSTANCE_FAILURE", "MaxSpotInstanceCountExceeded: Max spot instance count exceeded", False, "quota"),
        ("VALIDATION_ERROR", "EC2 QUOTA EXCEEDED: the number of vCPUs for instance type m7g.xlarge exceeds the EC2 "
         "service quota", False, "quota"),
        ("VALIDATION_ERROR", "Service role arn:aws:iam::1:role/x has insufficient EC2 permissions", False,
         "bad_configuration"),
        ("VALIDATION_ERROR", "The subnet does not have enough free addresses", False, "bad_configuration"),
        ("BOOTSTRAP_FAILURE", "On the master instance, bootstrap action 1 returned a non-zero return code", False,
         "bootstrap"),
        ("INTERNAL_ERROR", "An internal error occurred", False, "internal"),
        ("INSTANCE_FAILURE", "The master failed: Instance i-0 was terminated", True, "lost_nodes"),
        ("INTERNAL_ERROR", "a node had insufficient capacity", True, "internal"),
        ("USER_REQUEST", "Terminated by user request", False, "ended_by_hand"),
        ("USER_REQUEST", "Auto-terminated after it was idle", True, "idle"),
        ("STEP_FAILURE", "Shut down as step failed", True, "step"),
        ("", "", False, "unknown"),
    ],
)  # fmt: skip
def test_a_clusters_end_has_one_cause(code: str, message: str, was_ready: bool, cause: str) -> None:
    assert cause_of_end(code, message, was_ready=was_ready) == cause


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("ThrottlingException: Rate exceeded", "internal"),
        ("InternalServerError: try again", "internal"),
        ("ValidationException: The requested instance type m7g.xlarge is not supported in the requested Availability "
         "Zone", "no_capacity"),
        ("ValidationException: The number of active clusters exceeds the quota", "quota"),
        ("ValidationException: Invalid InstanceProfile", "bad_configuration"),
        ("AccessDeniedException: no iam:PassRole", "bad_configuration"),
    ],
)  # fmt: skip
def test_a_refusals_cause_is_in_its_words(words: str, cause: str) -> None:
    assert cause_of_refusal("EMR.AmazonElasticMapReduceException", words) == cause


CAUSES: list[LaunchCause] = [
    "no_capacity", "quota", "bad_configuration", "bootstrap", "internal", "lost_nodes", "ended_by_hand", "idle",
    "step", "unknown",
]  # fmt: skip


@given(st.sampled_from(CAUSES), st.integers(0, 3), st.integers(0, 10))
def test_the_option_is_always_one_that_there_is_and_launches_end(
    cause: LaunchCause, launch: int, launches: int
) -> None:
    following = decide_next_launch(cause, launch, launches)
    assert 0 <= following.launch < len(LAUNCH_OPTIONS)
    assert following.launch >= launch
    assert following.reason
    if launches >= MAXIMUM_LAUNCHES:
        assert not following.go_on


def test_missing_capacity_goes_down_the_ladder_and_ends_below() -> None:
    # Design: "Graviton Spot → x86 Spot → On-Demand"
    tried, launch, launches = [0], 0, 0
    while (following := decide_next_launch("no_capacity", launch, launches)).go_on:
        launch, launches = following.launch, launches + 1
        tried.append(launch)
    assert tried == [SPOT_GRAVITON, SPOT_X86, ON_DEMAND_GRAVITON, ON_DEMAND_X86]
    assert "try later" in following.reason


def test_a_spot_quota_is_answered_by_on_demand_and_that_ones_by_a_person() -> None:
    assert decide_next_launch("quota", SPOT_GRAVITON, 0).launch == ON_DEMAND_GRAVITON
    last = decide_next_launch("quota", ON_DEMAND_GRAVITON, 1)
    assert (last.go_on, "Service Quotas" in last.reason) == (False, True)


@pytest.mark.parametrize("cause", ["bad_configuration", "ended_by_hand"])
def test_what_a_person_did_or_has_to_mend_is_not_tried_again(cause: LaunchCause) -> None:
    assert not decide_next_launch(cause, 0, 0).go_on


@pytest.mark.parametrize("cause", ["internal", "lost_nodes", "idle", "step", "unknown"])
def test_an_accident_is_answered_by_the_same_option(cause: LaunchCause) -> None:
    following = decide_next_launch(cause, SPOT_X86, 1)
    assert (following.go_on, following.launch) == (True, SPOT_X86)


def test_a_bootstrap_action_that_fails_twice_is_not_tried_a_third_time() -> None:
    assert decide_next_launch("bootstrap", 0, 0).go_on
    assert not decide_next_launch("bootstrap", 0, 1).go_on


def test_an_unclear_answer_to_create_cluster_asks_for_another_after_the_first_is_ended() -> None:
    unclear = assess_failure({"Error": "States.Timeout"}, "Create cluster", None, launch=0, launches=0)
    assert (unclear.go_on, unclear.cause) == (True, "unknown")
    refused = assess_failure(
        {"Error": "EMR.AmazonElasticMapReduceException", "Cause": "Invalid InstanceProfile"},
        "Create cluster", None, launch=0, launches=0,
    )  # fmt: skip
    assert (refused.go_on, refused.cause) == (False, "bad_configuration")

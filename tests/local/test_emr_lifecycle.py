"""Clusters and steps go from state to state as on EMR, on a clock that the test holds."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tidegate_local.emr import lifecycle
from tidegate_local.emr.events import cluster_event, step_event
from tidegate_local.emr.lifecycle import ClusterChanged, KillStep, StartStep, StepChanged, Waits
from tidegate_local.emr.model import Cluster, ClusterState, Fleet, Reason, Step, StepState
from tidegate_local.faults.kinds import check
from tidegate_local.faults.plan import Faults

WAITS = Waits(starting_s=240, bootstrapping_s=60, terminating_s=60, resizing_s=180, scale=1.0, idle_floor_s=20)
NAME = "tidegate-run-1-0-0"
UP_AT = 300.0
"""When a cluster created at 0 is ready."""


def a_step(number: int, *, action: str = "CONTINUE") -> Step:
    return Step(f"s-{number}", f"step {number}", "command-runner.jar", ["true"], action, created_s=0)


def a_cluster(*steps: Step, keep_alive: bool = True, concurrency: int = 1, **changes: Any) -> Cluster:
    fleet = {
        "InstanceFleetType": "MASTER",
        "TargetOnDemandCapacity": 1,
        "InstanceTypeConfigs": [{"InstanceType": "m7g.xlarge"}],
    }
    request = {
        "Name": NAME,
        "ReleaseLabel": "emr-7.14.0",
        "ServiceRole": "role",
        "LogUri": "s3://control/logs/emr/",
        "Instances": {"KeepJobFlowAliveWhenNoSteps": keep_alive, "InstanceFleets": [fleet]},
    }
    cluster = Cluster("j-1", "arn", request, 0, 0, [Fleet("if-1", fleet, 0)], list(steps), concurrency=concurrency)
    for name, value in changes.items():
        setattr(cluster, name, value)
    return cluster


def pass_time(
    cluster: Cluster, now_s: float, faults: Faults | None = None, *, busy: bool = False
) -> list[lifecycle.Effect]:
    return lifecycle.advance(cluster, now_s, WAITS, faults or Faults(), busy=busy)


def test_a_cluster_starts_bootstraps_and_waits() -> None:
    cluster = a_cluster()
    # GIVEN / WHEN nothing is due THEN nothing changes
    assert pass_time(cluster, 239) == []
    # WHEN capacity is there
    assert pass_time(cluster, 240) == [
        ClusterChanged(ClusterState.BOOTSTRAPPING, Reason(message="Running bootstrap actions"))
    ]
    assert cluster.fleets[0].running("ON_DEMAND") == 1
    # WHEN it has bootstrapped
    pass_time(cluster, UP_AT)
    # THEN it waits for steps
    assert cluster.state is ClusterState.WAITING
    assert cluster.ready_s == UP_AT


def test_one_look_after_a_long_time_goes_through_every_state() -> None:
    cluster = a_cluster()
    effects = pass_time(cluster, 1000)
    states = [effect.state for effect in effects if isinstance(effect, ClusterChanged)]
    assert states == [ClusterState.BOOTSTRAPPING, ClusterState.WAITING]


def test_steps_queue_behind_the_start_up_and_run_side_by_side_up_to_the_concurrency() -> None:
    cluster = a_cluster(a_step(1), a_step(2), a_step(3), concurrency=2)
    # WHEN the cluster comes up
    effects = pass_time(cluster, UP_AT)
    # THEN two steps run, the third waits
    assert [effect.step_id for effect in effects if isinstance(effect, StartStep)] == ["s-1", "s-2"]
    assert [step.state for step in cluster.steps] == [StepState.RUNNING, StepState.RUNNING, StepState.PENDING]
    assert cluster.state is ClusterState.RUNNING
    # WHEN one ends
    lifecycle.step_ended(cluster, cluster.steps[0], 0, UP_AT + 10)
    effects = pass_time(cluster, UP_AT + 10)
    # THEN the third runs
    assert StartStep("s-3") in effects
    assert cluster.steps[0].state is StepState.COMPLETED


def test_a_failed_step_says_how_and_where_its_log_is() -> None:
    cluster = a_cluster(a_step(1))
    pass_time(cluster, UP_AT)
    lifecycle.step_ended(cluster, cluster.steps[0], 3, UP_AT + 1)
    failure = cluster.steps[0].as_json()["Status"]["FailureDetails"]
    assert failure["Message"] == "Command exited with return code 3"
    assert failure["LogFile"] == "s3://control/logs/emr/j-1/steps/s-1/stderr.gz"
    # THEN the cluster goes on
    pass_time(cluster, UP_AT + 1)
    assert cluster.state is ClusterState.WAITING


@pytest.mark.parametrize("action", ["TERMINATE_CLUSTER", "TERMINATE_JOB_FLOW"])
def test_a_failed_step_may_end_its_cluster(action: str) -> None:
    cluster = a_cluster(a_step(1, action=action), a_step(2))
    pass_time(cluster, UP_AT)
    lifecycle.step_ended(cluster, cluster.steps[0], 1, UP_AT + 1)
    pass_time(cluster, UP_AT + 100)
    assert cluster.state is ClusterState.TERMINATED_WITH_ERRORS
    assert cluster.reason.code == "STEP_FAILURE"
    assert cluster.steps[1].state is StepState.CANCELLED


def test_a_failed_step_may_cancel_those_that_wait() -> None:
    cluster = a_cluster(a_step(1, action="CANCEL_AND_WAIT"), a_step(2))
    pass_time(cluster, UP_AT)
    lifecycle.step_ended(cluster, cluster.steps[0], 1, UP_AT + 1)
    pass_time(cluster, UP_AT + 1)
    assert cluster.steps[1].state is StepState.CANCELLED
    assert cluster.state is ClusterState.WAITING


def test_terminating_cancels_what_waits_and_kills_what_runs() -> None:
    cluster = a_cluster(a_step(1), a_step(2))
    pass_time(cluster, UP_AT)
    # WHEN the user ends the cluster
    effects = lifecycle.terminate(cluster, UP_AT + 5, Reason("USER_REQUEST", "Terminated by user request"))
    # THEN the running step is killed, the waiting one cancelled
    assert KillStep("s-1") in effects
    assert StepChanged("s-2", StepState.CANCELLED) in effects
    # WHEN its process has ended THEN it counts as interrupted
    lifecycle.step_ended(cluster, cluster.steps[0], -15, UP_AT + 6)
    assert cluster.steps[0].state is StepState.INTERRUPTED


def test_terminated_is_never_said_while_a_process_of_the_cluster_runs() -> None:
    cluster = a_cluster(a_step(1))
    pass_time(cluster, UP_AT)
    lifecycle.terminate(cluster, UP_AT, Reason("USER_REQUEST"))
    # GIVEN the time is up, but the driver still lives
    pass_time(cluster, UP_AT + 1000, busy=True)
    assert cluster.state is ClusterState.TERMINATING
    assert lifecycle.next_wake_s(cluster, WAITS, busy=True) is None
    # WHEN it has ended
    pass_time(cluster, UP_AT + 1000, busy=False)
    # THEN the cluster is terminated
    assert cluster.state is ClusterState.TERMINATED


def test_ending_a_cluster_twice_changes_nothing() -> None:
    cluster = a_cluster()
    lifecycle.terminate(cluster, 1, Reason("USER_REQUEST"))
    assert lifecycle.terminate(cluster, 2, Reason("STEP_FAILURE"), with_errors=True) == []
    pass_time(cluster, 100)
    assert cluster.state is ClusterState.TERMINATED


def test_a_cluster_that_needn_t_stay_ends_after_its_steps() -> None:
    cluster = a_cluster(a_step(1), keep_alive=False)
    pass_time(cluster, UP_AT)
    lifecycle.step_ended(cluster, cluster.steps[0], 0, UP_AT + 1)
    pass_time(cluster, UP_AT + 1)
    assert cluster.state is ClusterState.TERMINATING
    assert cluster.reason.code == "ALL_STEPS_COMPLETED"


def test_an_idle_cluster_ends_itself_after_its_policy() -> None:
    cluster = a_cluster(auto_termination={"IdleTimeout": 600})
    pass_time(cluster, UP_AT)
    assert lifecycle.next_wake_s(cluster, WAITS, busy=False) == UP_AT + 600
    pass_time(cluster, UP_AT + 599)
    assert cluster.state is ClusterState.WAITING
    pass_time(cluster, UP_AT + 600)
    assert cluster.state is ClusterState.TERMINATING


def test_idleness_counts_from_the_last_step() -> None:
    cluster = a_cluster(auto_termination={"IdleTimeout": 600})
    pass_time(cluster, UP_AT)
    cluster.steps.append(a_step(1))
    pass_time(cluster, UP_AT + 500)
    lifecycle.step_ended(cluster, cluster.steps[0], 0, UP_AT + 700)
    pass_time(cluster, UP_AT + 700)
    pass_time(cluster, UP_AT + 1299)
    assert cluster.state is ClusterState.WAITING


def test_a_small_scale_leaves_an_idle_cluster_its_floor() -> None:
    assert replace(WAITS, scale=0.005).idle_s(600) == 20


def test_termination_protection_holds_against_idleness() -> None:
    cluster = a_cluster(auto_termination={"IdleTimeout": 60}, termination_protected=True)
    pass_time(cluster, UP_AT + 10_000)
    assert cluster.state is ClusterState.WAITING
    assert lifecycle.next_wake_s(cluster, WAITS, busy=False) is None


@pytest.mark.parametrize(
    ("state", "status", "after"),
    [
        (StepState.PENDING, "SUBMITTED", StepState.CANCELLED),
        (StepState.RUNNING, "SUBMITTED", StepState.CANCEL_PENDING),
        (StepState.CANCEL_PENDING, "SUBMITTED", StepState.CANCEL_PENDING),
        (StepState.COMPLETED, "FAILED", StepState.COMPLETED),
    ],
)
def test_cancelling_a_step(state: StepState, status: str, after: StepState) -> None:
    step = a_step(1)
    step.state = state
    answered, _reason, effects = lifecycle.cancel_step(step, 10)
    assert (answered, step.state) == (status, after)
    assert (KillStep("s-1") in effects) == (state is StepState.RUNNING)


def test_a_cancelled_step_ends_as_cancelled_whatever_its_process_says() -> None:
    cluster = a_cluster(a_step(1))
    pass_time(cluster, UP_AT)
    lifecycle.cancel_step(cluster.steps[0], UP_AT + 1)
    lifecycle.step_ended(cluster, cluster.steps[0], 0, UP_AT + 2)
    assert cluster.steps[0].state is StepState.CANCELLED


def test_a_resize_takes_its_time() -> None:
    cluster = a_cluster()
    cluster.fleets.append(
        Fleet("if-2", {"InstanceFleetType": "CORE", "TargetSpotCapacity": 2, "InstanceTypeConfigs": []}, 0)
    )
    pass_time(cluster, UP_AT)
    core = cluster.fleets[1]
    lifecycle.resize(cluster, core, None, 8, UP_AT + 180)
    assert (core.spot, core.running("SPOT"), core.state) == (8, 2, "RESIZING")
    pass_time(cluster, UP_AT + 180)
    assert (core.running("SPOT"), core.state) == (8, "RUNNING")


# Faults on demand


def planned(*faults: dict[str, Any]) -> Faults:
    return Faults(planned=[check(fault) for fault in faults])


def test_no_capacity_cancels_the_steps_of_a_cluster_that_never_was() -> None:
    cluster = a_cluster(a_step(1))
    pass_time(cluster, 240, planned({"fault": "no_capacity"}))
    pass_time(cluster, 300)
    assert cluster.state is ClusterState.TERMINATED_WITH_ERRORS
    assert cluster.steps[0].state is StepState.CANCELLED
    status = cluster.as_json()["Status"]
    assert "insufficient capacity" in status["StateChangeReason"]["Message"]
    assert "INSUFFICIENT_CAPACITY" in status["ErrorDetails"][0]["ErrorCode"]
    assert "ReadyDateTime" not in status["Timeline"]


def test_a_bootstrap_failure() -> None:
    cluster = a_cluster()
    faults = planned({"fault": "bootstrap_failure"})
    pass_time(cluster, UP_AT, faults)
    pass_time(cluster, UP_AT + 60, faults)
    assert cluster.state is ClusterState.TERMINATED_WITH_ERRORS
    assert cluster.reason.code == "BOOTSTRAP_FAILURE"


def test_lost_nodes_end_an_up_cluster_with_errors() -> None:
    cluster = a_cluster(a_step(1))
    pass_time(cluster, UP_AT)
    effects = pass_time(cluster, UP_AT + 1, planned({"fault": "lost_nodes"}))
    assert KillStep("s-1") in effects
    assert cluster.reason.code == "INSTANCE_FAILURE"


@pytest.mark.parametrize(("state", "at_s"), [("STARTING", 1), ("BOOTSTRAPPING", 241), ("WAITING", UP_AT + 1)])
@pytest.mark.parametrize(
    ("fault", "code", "end"),
    [
        ("lost_nodes", "INSTANCE_FAILURE", ClusterState.TERMINATED_WITH_ERRORS),
        ("internal_error", "INTERNAL_ERROR", ClusterState.TERMINATED_WITH_ERRORS),
        ("ended_by_hand", "USER_REQUEST", ClusterState.TERMINATED),
    ],
)
def test_a_cluster_dies_in_each_state(fault: str, code: str, end: ClusterState, state: str, at_s: float) -> None:
    cluster = a_cluster(a_step(1)) if state != "WAITING" else a_cluster()
    faults = planned({"fault": fault, "state": state})
    pass_time(cluster, at_s, faults)
    assert cluster.state is ClusterState.TERMINATING
    pass_time(cluster, at_s + 60, faults)
    assert (cluster.state, cluster.reason.code) == (end, code)
    assert all(step.state is StepState.CANCELLED for step in cluster.steps)


def test_a_cluster_that_dies_of_its_own_accord_dies_when_it_is_up_and_after_its_time() -> None:
    cluster = a_cluster()
    faults = planned({"fault": "internal_error", "after_s": 10})
    for at_s in (1, 241, UP_AT, UP_AT + 9):
        pass_time(cluster, at_s, faults)
    assert cluster.state is ClusterState.WAITING
    pass_time(cluster, UP_AT + 10, faults)
    assert cluster.state is ClusterState.TERMINATING


@pytest.mark.parametrize("fault", ["quota", "bad_configuration"])
def test_a_cluster_that_is_refused_while_it_starts(fault: str) -> None:
    cluster = a_cluster(a_step(1))
    pass_time(cluster, 240, planned({"fault": fault}))
    pass_time(cluster, 300)
    assert (cluster.state, cluster.reason.code) == (ClusterState.TERMINATED_WITH_ERRORS, "VALIDATION_ERROR")


def test_a_cluster_is_stuck_in_a_state_for_a_while_and_once() -> None:
    cluster = a_cluster()
    faults = planned({"fault": "stuck", "state": "TERMINATING", "seconds": 100, "times": 2})
    pass_time(cluster, UP_AT, faults)
    lifecycle.terminate(cluster, UP_AT, Reason("USER_REQUEST"))
    pass_time(cluster, UP_AT + 60, faults)
    assert cluster.state is ClusterState.TERMINATING
    assert lifecycle.next_wake_s(cluster, WAITS, busy=False) == UP_AT + 160
    pass_time(cluster, UP_AT + 160, faults)
    assert cluster.state is ClusterState.TERMINATED


def test_a_step_that_waits_is_cancelled() -> None:
    cluster = a_cluster(a_step(1), a_step(2))
    pass_time(cluster, 1, planned({"fault": "step_cancelled", "step": "step 2"}))
    assert [step.state for step in cluster.steps] == [StepState.PENDING, StepState.CANCELLED]
    pass_time(cluster, UP_AT)
    assert cluster.state is ClusterState.RUNNING


def test_a_step_that_hangs_is_told_for_how_long() -> None:
    cluster = a_cluster(a_step(1))
    effects = pass_time(cluster, UP_AT, planned({"fault": "step_hangs", "after_s": 2, "seconds": 9}))
    assert StartStep("s-1", hangs=(2, 9)) in effects


def test_a_step_s_death_is_planned_by_name_and_strikes_once() -> None:
    cluster = a_cluster(a_step(1), a_step(2), concurrency=2)
    effects = pass_time(cluster, UP_AT, planned({"fault": "step_death", "step": "step 2", "after_s": 5}))
    assert [effect for effect in effects if isinstance(effect, StartStep)] == [
        StartStep("s-1"),
        StartStep("s-2", dies_after_s=5),
    ]


# Events


def test_events_are_worded_as_emr_words_them() -> None:
    cluster = a_cluster(a_step(1))
    failed = step_event(cluster, cluster.steps[0], StepState.FAILED, 1481921580)
    assert failed is not None
    assert (failed["Source"], failed["DetailType"]) == ("aws.emr", "EMR Step Status Change")
    assert json.loads(failed["Detail"]) == {
        "severity": "ERROR",
        "actionOnFailure": "CONTINUE",
        "stepId": "s-1",
        "name": "step 1",
        "clusterId": "j-1",
        "state": "FAILED",
        "message": f"Step s-1 (step 1) in Amazon EMR cluster j-1 ({NAME}) failed at 2016-12-16 20:53 UTC.",
    }
    ended = cluster_event(
        cluster, ClusterState.TERMINATED, Reason("USER_REQUEST", "Terminated by user request"), 1481922000
    )
    assert ended is not None
    detail = json.loads(ended["Detail"])
    assert ended["DetailType"] == "EMR Cluster State Change"
    assert json.loads(detail["stateChangeReason"]) == {
        "code": "USER_REQUEST",
        "message": "Terminated by user request",
    }
    assert detail["state"] == "TERMINATED"


def test_a_cluster_that_ends_with_errors_is_critical() -> None:
    ended = cluster_event(a_cluster(), ClusterState.TERMINATED_WITH_ERRORS, Reason("STEP_FAILURE"), 0)
    assert ended is not None
    assert json.loads(ended["Detail"])["severity"] == "CRITICAL"


def test_only_the_documented_states_have_an_event() -> None:
    cluster = a_cluster(a_step(1))
    silent = {state for state in StepState if step_event(cluster, cluster.steps[0], state, 0) is None}
    assert silent == {StepState.INTERRUPTED}
    silent_too = {state for state in ClusterState if cluster_event(cluster, state, Reason(), 0) is None}
    assert silent_too == {ClusterState.BOOTSTRAPPING, ClusterState.TERMINATING}

"""EMR's EventBridge events, for the states and in the words of its Management Guide
(`emr-manage-cloudwatch-events`). Pure but for :func:`publish`.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

from tidegate_local.emr.model import Cluster, ClusterState, Json, Reason, Step, StepState

_STEP_WORDS = {
    StepState.PENDING: ("Step {step} was added to Amazon EMR cluster {cluster} at {at} and is pending execution."),
    StepState.RUNNING: "Step {step} in Amazon EMR cluster {cluster} started running at {at}.",
    StepState.COMPLETED: (
        "Step {step} in Amazon EMR cluster {cluster} completed execution at {at}. "
        "The step started running at {start} and took {minutes} minutes to complete."
    ),
    StepState.CANCEL_PENDING: (
        "Step {step} in Amazon EMR cluster {cluster} was cancelled at {at} and is pending cancellation."
    ),
    StepState.CANCELLED: (
        "Cancellation request has succeeded for cluster step {step} in Amazon EMR cluster {cluster} at {at}, "
        "and the step is now cancelled."
    ),
    StepState.FAILED: "Step {step} in Amazon EMR cluster {cluster} failed at {at}.",
}
_STEP_SEVERITY = {
    StepState.CANCEL_PENDING: "WARN",
    StepState.CANCELLED: "WARN",
    StepState.FAILED: "ERROR",
}
_CLUSTER_WORDS = {
    ClusterState.STARTING: "Amazon EMR cluster {cluster} was requested at {at} and is being created.",
    ClusterState.RUNNING: "Amazon EMR cluster {cluster} began running steps at {at}.",
    ClusterState.WAITING: "Amazon EMR cluster {cluster} was created at {at} and is ready for use.",
    ClusterState.TERMINATED: ("Amazon EMR Cluster {cluster} has terminated at {at} with a reason of {code}."),
    ClusterState.TERMINATED_WITH_ERRORS: (
        "Amazon EMR Cluster {cluster} has terminated with errors at {at} with a reason of {code}."
    ),
}


def cluster_event(cluster: Cluster, state: ClusterState, reason: Reason, now_s: float) -> Json | None:
    """An entry for PutEvents, `EMR Cluster State Change`; None for a state that EMR sends none for."""
    if state not in _CLUSTER_WORDS:
        return None
    words = _CLUSTER_WORDS[state]
    if state is ClusterState.WAITING and any(step.ended_s is not None for step in cluster.steps):
        words = "Amazon EMR cluster {cluster} finished running all pending steps at {at}."
    severity = "CRITICAL" if state is ClusterState.TERMINATED_WITH_ERRORS else "INFO"
    return _entry(
        "EMR Cluster State Change",
        {
            "severity": severity,
            # A JSON text inside JSON, as EMR sends it.
            "stateChangeReason": json.dumps(
                {"code": reason.code, **({"message": reason.message} if reason.message else {})},
                separators=(",", ":"),
            ),
            "name": cluster.name,
            "clusterId": cluster.id,
            "state": state.value,
            "message": words.format(cluster=f"{cluster.id} ({cluster.name})", at=_minute(now_s), code=reason.code),
        },
    )


def step_event(cluster: Cluster, step: Step, state: StepState, now_s: float) -> Json | None:
    """An entry for PutEvents, `EMR Step Status Change`; None for a state that EMR sends none for."""
    if state not in _STEP_WORDS:
        return None
    started_s = step.started_s or now_s
    return _entry(
        "EMR Step Status Change",
        {
            "severity": _STEP_SEVERITY.get(state, "INFO"),
            "actionOnFailure": step.action_on_failure,
            "stepId": step.id,
            "name": step.name,
            "clusterId": cluster.id,
            "state": state.value,
            "message": _STEP_WORDS[state].format(
                step=f"{step.id} ({step.name})",
                cluster=f"{cluster.id} ({cluster.name})",
                at=_minute(now_s),
                start=_minute(started_s),
                minutes=int((now_s - started_s) // 60),
            ),
        },
    )


def publish(entry: Json) -> None:
    """Hand one entry to ministack's EventBridge; must run in the request's context."""
    from ministack.services import eventbridge  # noqa: PLC0415 - ministack starts services late

    eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)


def _entry(detail_type: str, detail: Json) -> Json:
    return {"Source": "aws.emr", "DetailType": detail_type, "Detail": json.dumps(detail), "Resources": []}


def _minute(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M UTC")

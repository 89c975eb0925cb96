"""EMR's EventBridge events, worded as in its Management Guide. Pure but for :func:`publish`."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from tidegate_local.emr.model import Cluster, ClusterState, Json, Reason, Step, StepState

_STEP_WORDS = {
    StepState.PENDING: "was added to Amazon EMR cluster {cluster} at {at} and is pending execution.",
    StepState.RUNNING: "in Amazon EMR cluster {cluster} started running at {at}.",
    StepState.COMPLETED: (
        "in Amazon EMR cluster {cluster} completed execution at {at}. The step started running at {start} "
        "and took {minutes} minutes to complete."
    ),
    StepState.CANCEL_PENDING: "in Amazon EMR cluster {cluster} was requested to be cancelled at {at}.",
    StepState.CANCELLED: "in Amazon EMR cluster {cluster} was cancelled at {at}.",
    StepState.FAILED: "in Amazon EMR cluster {cluster} failed at {at}.",
    StepState.INTERRUPTED: "in Amazon EMR cluster {cluster} was interrupted at {at}.",
}
_CLUSTER_WORDS = {
    ClusterState.STARTING: "was requested at {at} and is being created.",
    ClusterState.BOOTSTRAPPING: "is running bootstrap actions at {at}.",
    ClusterState.RUNNING: "began running steps at {at}.",
    ClusterState.WAITING: "was created at {at} and is ready for use.",
    ClusterState.TERMINATING: "began terminating at {at} with a reason of {code}.",
    ClusterState.TERMINATED: "has terminated at {at} with a reason of {code}.",
    ClusterState.TERMINATED_WITH_ERRORS: "has terminated with errors at {at} with a reason of {code}.",
}
_STEP_SEVERITY = {
    StepState.FAILED: "ERROR",
    StepState.CANCELLED: "WARN",
    StepState.INTERRUPTED: "WARN",
}


def cluster_event(cluster: Cluster, state: ClusterState, reason: Reason, now_s: float) -> Json:
    """An entry for PutEvents: `EMR Cluster State Change`."""
    words = _CLUSTER_WORDS[state].format(at=_minute(now_s), code=reason.code)
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
            "message": f"Amazon EMR cluster {cluster.id} ({cluster.name}) {words}",
        },
    )


def step_event(cluster: Cluster, step: Step, state: StepState, now_s: float) -> Json:
    """An entry for PutEvents: `EMR Step Status Change`."""
    started_s = step.started_s or now_s
    words = _STEP_WORDS[state].format(
        cluster=f"{cluster.id} ({cluster.name})",
        at=_minute(now_s),
        start=_minute(started_s),
        minutes=int((now_s - started_s) // 60),
    )
    return _entry(
        "EMR Step Status Change",
        {
            "severity": _STEP_SEVERITY.get(state, "INFO"),
            "actionOnFailure": step.action_on_failure,
            "stepId": step.id,
            "name": step.name,
            "clusterId": cluster.id,
            "state": state.value,
            "message": f"Step {step.id} ({step.name}) {words}",
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

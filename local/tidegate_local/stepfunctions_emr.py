"""Gap: ministack's Step Functions has no `elasticmapreduce:*` integrations and no `aws-sdk:emr`.

They go to the local EMR (`tidegate_local.emr`). `.sync` waits as Step Functions does, only with shorter polls; a
step is cancelled when its execution is stopped, but not when its Task is out of time: AWS promises the first alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ministack.services import emr, stepfunctions

from tidegate_local import stepfunctions_scope
from tidegate_local.faults.answers import Refusal
from tidegate_local.faults.calls import strike_inside
from tidegate_local.faults.requests import Call, resources_of
from tidegate_local.stepfunctions_scope import ScopeOver

PREFIX = "arn:aws:states:::elasticmapreduce:"
REFUSED = "EMR.AmazonElasticMapReduceException"
"""The error's name for whatever the Java SDK has no class for: validation and throttling, for two. AWS documents no
list; this name is from what users of the integration report."""

_POLL_S = 0.05
_HAVE_A_CLASS = {"InvalidRequestException", "InternalServerException", "InternalServerErrorException"}
_STEP_FAILED = {"FAILED", "CANCELLED", "INTERRUPTED"}


def install() -> None:
    """Register the integrations."""
    stepfunctions._SERVICE_DISPATCH.update({
        f"{PREFIX}createCluster": create_cluster,
        f"{PREFIX}addStep": add_step,
        f"{PREFIX}terminateCluster": terminate_cluster,
        f"{PREFIX}cancelStep": cancel_step,
        f"{PREFIX}setClusterTerminationProtection": set_termination_protection,
        f"{PREFIX}modifyInstanceFleetByName": modify_instance_fleet_by_name,
    })  # fmt: skip
    stepfunctions._AWS_SDK_SERVICE_MAP["emr"] = {
        "target_prefix": "ElasticMapReduce",
        "protocol": "json",
        "service_key": "elasticmapreduce",
    }
    # What the SDK has no class for is EmrException there.
    unnamed = ("ValidationException", "ThrottlingException")
    stepfunctions._AWS_SDK_ERROR_CODE_OVERRIDES["emr"] = dict.fromkeys(unnamed, "EmrException")


def create_cluster(resource: str, data: dict[str, Any]) -> dict[str, Any]:
    """RunJobFlow's request, which must keep the cluster alive and may have no steps."""
    if "Steps" in data:
        raise _error("States.Runtime", "The field 'Steps' is not supported by createCluster")
    if data.get("Instances", {}).get("KeepJobFlowAliveWhenNoSteps") is not True:
        raise _error("States.Runtime", "Instances.KeepJobFlowAliveWhenNoSteps must be true for createCluster")
    made = _call("RunJobFlow", data)
    cluster_id = made["JobFlowId"]
    if _is_sync(resource):
        _wait_for_cluster(cluster_id, {"WAITING"})
    return {"ClusterId": cluster_id}


def add_step(resource: str, data: dict[str, Any]) -> dict[str, Any]:
    """Add one step; `.sync` waits for its end and fails with its record if it did not complete."""
    cluster_id = data["ClusterId"]
    step_id = _call("AddJobFlowSteps", {"JobFlowId": cluster_id, "Steps": [data["Step"]]})["StepIds"][0]
    if not _is_sync(resource):
        return {"StepId": step_id}

    def ended() -> dict[str, Any] | None:
        step = _call("DescribeStep", {"ClusterId": cluster_id, "StepId": step_id})["Step"]
        return step if step["Status"]["State"] in _STEP_FAILED | {"COMPLETED"} else None

    try:
        step = _wait(ended)
    except ScopeOver:
        if stepfunctions_scope.current().is_aborted:
            with suppress(stepfunctions._ExecutionError):
                _call("CancelSteps", {"ClusterId": cluster_id, "StepIds": [step_id]})
        raise
    if step["Status"]["State"] in _STEP_FAILED:
        raise _error("States.TaskFailed", json.dumps(step, default=str))
    return {"Step": step}


def terminate_cluster(resource: str, data: dict[str, Any]) -> dict[str, Any]:
    """End a cluster; `.sync` waits until it is TERMINATED."""
    _call("TerminateJobFlows", {"JobFlowIds": [data["ClusterId"]]})
    if not _is_sync(resource):
        return {}
    return {"Cluster": _wait_for_cluster(data["ClusterId"], {"TERMINATED", "TERMINATED_WITH_ERRORS"})}


def cancel_step(_resource: str, data: dict[str, Any]) -> dict[str, Any]:
    """Cancel one step."""
    answer = _call("CancelSteps", {"ClusterId": data["ClusterId"], "StepIds": [data["StepId"]]})
    return {"CancelStepsInfo": answer["CancelStepsInfoList"][0]}


def set_termination_protection(_resource: str, data: dict[str, Any]) -> dict[str, Any]:
    """Switch a cluster's termination protection."""
    protected = data["TerminationProtected"]
    return _call("SetTerminationProtection", {"JobFlowIds": [data["ClusterId"]], "TerminationProtected": protected})


def modify_instance_fleet_by_name(_resource: str, data: dict[str, Any]) -> dict[str, Any]:
    """Change a fleet's target capacity; the fleet is named instead of given by id."""
    cluster_id, name = data["ClusterId"], data["InstanceFleetName"]
    fleets = _call("ListInstanceFleets", {"ClusterId": cluster_id})["InstanceFleets"]
    ids = [fleet["Id"] for fleet in fleets if fleet["Name"] == name]
    if len(ids) != 1:
        raise _error(REFUSED, f"{len(ids)} instance fleets of {cluster_id} are named {name}")
    return _call(
        "ModifyInstanceFleet",
        {"ClusterId": cluster_id, "InstanceFleet": {**data["InstanceFleet"], "InstanceFleetId": ids[0]}},
    )


def _is_sync(resource: str) -> bool:
    return resource.endswith(".sync")


def _wait_for_cluster(cluster_id: str, states: set[str]) -> dict[str, Any]:
    over = states | {"TERMINATED", "TERMINATED_WITH_ERRORS"}

    def reached() -> dict[str, Any] | None:
        cluster: dict[str, Any] = _call("DescribeCluster", {"ClusterId": cluster_id})["Cluster"]
        return cluster if cluster["Status"]["State"] in over else None

    cluster = _wait(reached)
    if cluster["Status"]["State"] not in states:
        raise _error("States.TaskFailed", json.dumps(cluster["Status"], default=str))
    return cluster


def _wait(look: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
    """Look until there is something. Raises ScopeOver when nobody waits for it any more."""
    while (found := look()) is None:
        stepfunctions_scope.current().wait(_POLL_S)
    return found


def _call(operation: str, data: dict[str, Any]) -> dict[str, Any]:
    """Call the local EMR as a client would; a refusal becomes the integration's error. Planned faults strike here."""

    def call() -> dict[str, Any]:
        status, _, body = emr._HANDLERS[operation](data)
        answer: dict[str, Any] = json.loads(body) if body else {}
        if status >= 400:
            raise _refused(Refusal(status, answer.get("__type", "unknown"), answer.get("message", "")))
        return answer

    named = Call((f"elasticmapreduce:{operation}",), resources_of(data))
    answer: dict[str, Any] = strike_inside(named, call, _refused)
    return answer


def _refused(refusal: Refusal) -> Exception:
    # The Java SDK ends the name of every class of errors in Exception.
    class_name = refusal.code if refusal.code.endswith("Exception") else f"{refusal.code}Exception"
    return _error(
        f"EMR.{class_name}" if class_name in _HAVE_A_CLASS else REFUSED,
        f"{refusal.message} (Service: AmazonElasticMapReduce; Status Code: {refusal.status}; "
        f"Error Code: {refusal.code})",
    )


def _error(name: str, cause: str) -> Exception:
    error: Exception = stepfunctions._ExecutionError(name, cause)
    return error

"""The EMR API: one method an operation, each from a parsed request to an answer that boto3 parses."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from tidegate_local.emr import lifecycle
from tidegate_local.emr.engine import Engine
from tidegate_local.emr.lifecycle import ClusterChanged, StepChanged
from tidegate_local.emr.model import OVER, UP, Cluster, Fleet, Json, Reason, Step, new_id
from tidegate_local.emr.roles import Iam, find_flaw
from tidegate_local.emr.validation import (
    EmrError,
    check_add_steps,
    check_auto_termination,
    check_concurrency,
    check_managed_scaling,
    check_run_job_flow,
    check_tags,
    invalid_request,
)

PAGE = 50


class Handlers:
    """The operations, over one engine. `table()` maps their names to functions."""

    def __init__(self, engine: Engine, arn_of: Callable[[str], str], iam: Callable[[], Iam]) -> None:
        self._engine = engine
        self._iam = iam
        self._arn_of = arn_of

    def table(self) -> dict[str, Callable[[Json], Json]]:
        """Operation name to function of the parsed request."""
        return {
            "RunJobFlow": self.run_job_flow,
            "DescribeCluster": self.describe_cluster,
            "ListClusters": self.list_clusters,
            "TerminateJobFlows": self.terminate_job_flows,
            "ModifyCluster": self.modify_cluster,
            "SetTerminationProtection": self.set_termination_protection,
            "SetVisibleToAllUsers": self.set_visible_to_all_users,
            "AddJobFlowSteps": self.add_job_flow_steps,
            "DescribeStep": self.describe_step,
            "ListSteps": self.list_steps,
            "CancelSteps": self.cancel_steps,
            "ListInstanceFleets": self.list_instance_fleets,
            "ModifyInstanceFleet": self.modify_instance_fleet,
            "ListInstances": self.list_instances,
            "ListBootstrapActions": self.list_bootstrap_actions,
            "PutManagedScalingPolicy": self.put_managed_scaling_policy,
            "GetManagedScalingPolicy": self.get_managed_scaling_policy,
            "RemoveManagedScalingPolicy": self.remove_managed_scaling_policy,
            "PutAutoTerminationPolicy": self.put_auto_termination_policy,
            "GetAutoTerminationPolicy": self.get_auto_termination_policy,
            "RemoveAutoTerminationPolicy": self.remove_auto_termination_policy,
            "AddTags": self.add_tags,
            "RemoveTags": self.remove_tags,
        }

    def run_job_flow(self, request: Json) -> Json:
        check_run_job_flow(request)
        flaw = find_flaw(request, self._iam())
        cluster_id = new_id("j")
        with self._engine.editing() as now_s:
            fleets = [Fleet(new_id("if"), dict(config), now_s) for config in request["Instances"]["InstanceFleets"]]
            cluster = Cluster(
                id=cluster_id,
                arn=self._arn_of(cluster_id),
                request=request,
                created_s=now_s,
                state_since_s=now_s,
                reason=Reason(message="Provisioning Amazon EC2 capacity"),
                fleets=fleets,
                steps=[_step(config, now_s) for config in request.get("Steps") or []],
                termination_protected=bool(request["Instances"].get("TerminationProtected")),
                concurrency=request.get("StepConcurrencyLevel", 1),
                tags={tag["Key"]: tag.get("Value", "") for tag in request.get("Tags") or []},
                managed_scaling=request.get("ManagedScalingPolicy"),
                auto_termination=request.get("AutoTerminationPolicy"),
                visible_to_all=request.get("VisibleToAllUsers", True),
                flaw=flaw,
                has_nodes=self._engine.settings.master == "yarn",
            )
            self._engine.add(cluster)
            self._engine.post(cluster, [ClusterChanged(cluster.state, Reason())])
            self._engine.post(cluster, [StepChanged(step.id, step.state) for step in cluster.steps])
        return {"JobFlowId": cluster.id, "ClusterArn": cluster.arn}

    def describe_cluster(self, request: Json) -> Json:
        with self._engine.reading():
            return {"Cluster": self._cluster(request).as_json()}

    def list_clusters(self, request: Json) -> Json:
        states = request.get("ClusterStates") or []
        after, before = request.get("CreatedAfter"), request.get("CreatedBefore")
        with self._engine.reading():
            found = [
                cluster.summary_as_json()
                for cluster in reversed(self._engine.clusters.values())
                if (not states or cluster.state.value in states)
                and (after is None or cluster.created_s > float(after))
                and (before is None or cluster.created_s < float(before))
            ]
        return _page("Clusters", found, request)

    def terminate_job_flows(self, request: Json) -> Json:
        with self._engine.editing() as now_s:
            clusters = [self._engine.clusters.get(name) for name in request.get("JobFlowIds") or []]
            if not clusters or None in clusters:
                raise EmrError("Specified job flow ID does not exist.")
            named = [cluster for cluster in clusters if cluster is not None]
            if any(cluster.termination_protected and cluster.state not in OVER for cluster in named):
                raise EmrError("Could not shut down one or more job flows since they are termination protected.")
            for cluster in named:
                reason = Reason("USER_REQUEST", "Terminated by user request")
                self._engine.post(cluster, lifecycle.terminate(cluster, now_s, reason))
        return {}

    def modify_cluster(self, request: Json) -> Json:
        with self._engine.editing():
            cluster = self._modifiable(request)
            if "StepConcurrencyLevel" in request:
                check_concurrency(request["StepConcurrencyLevel"])
                cluster.concurrency = request["StepConcurrencyLevel"]
            return {"StepConcurrencyLevel": cluster.concurrency}

    def set_termination_protection(self, request: Json) -> Json:
        with self._engine.editing():
            for cluster in self._named(request):
                cluster.termination_protected = bool(request.get("TerminationProtected"))
        return {}

    def set_visible_to_all_users(self, request: Json) -> Json:
        with self._engine.editing():
            for cluster in self._named(request):
                cluster.visible_to_all = bool(request.get("VisibleToAllUsers"))
        return {}

    def add_job_flow_steps(self, request: Json) -> Json:
        with self._engine.editing() as now_s:
            cluster = self._engine.clusters.get(request.get("JobFlowId", ""))
            if cluster is None:
                raise EmrError("Specified job flow ID does not exist.")
            check_add_steps(cluster, request.get("Steps") or [])
            steps = [_step(config, now_s) for config in request["Steps"]]
            cluster.steps += steps
            self._engine.post(cluster, [StepChanged(step.id, step.state) for step in steps])
        return {"StepIds": [step.id for step in steps]}

    def describe_step(self, request: Json) -> Json:
        with self._engine.reading():
            step = self._cluster(request).step(request.get("StepId", ""))
            if step is None:
                raise invalid_request(f"Step id '{request.get('StepId')}' is not valid.")
            return {"Step": step.as_json()}

    def list_steps(self, request: Json) -> Json:
        states, ids = request.get("StepStates") or [], request.get("StepIds") or []
        if len(ids) > 10:
            raise invalid_request("At most 10 step ids can be given.")
        with self._engine.reading():
            found = [
                step.as_json()
                for step in reversed(self._cluster(request).steps)
                if (not states or step.state.value in states) and (not ids or step.id in ids)
            ]
        return _page("Steps", found, request)

    def cancel_steps(self, request: Json) -> Json:
        answers = []
        with self._engine.editing() as now_s:
            cluster = self._cluster(request)
            for step_id in request.get("StepIds") or []:
                step = cluster.step(step_id)
                if step is None:
                    raise invalid_request(f"Step id '{step_id}' is not valid.")
                status, reason, effects = lifecycle.cancel_step(step, now_s)
                self._engine.post(cluster, effects)
                answers.append({"StepId": step_id, "Status": status, **({"Reason": reason} if reason else {})})
        return {"CancelStepsInfoList": answers}

    def list_instance_fleets(self, request: Json) -> Json:
        with self._engine.reading():
            return {"InstanceFleets": [fleet.as_json() for fleet in self._cluster(request).fleets]}

    def modify_instance_fleet(self, request: Json) -> Json:
        change = request.get("InstanceFleet") or {}
        with self._engine.editing() as now_s:
            cluster = self._cluster(request)
            if cluster.state not in UP:
                raise invalid_request("An instance fleet may only be modified when the cluster is running or waiting.")
            fleet = next((each for each in cluster.fleets if each.id == change.get("InstanceFleetId")), None)
            if fleet is None:
                raise invalid_request(f"Instance fleet id '{change.get('InstanceFleetId')}' is not valid.")
            if fleet.type == "MASTER":
                raise invalid_request("The MASTER instance fleet can not be resized.")
            lifecycle.resize(
                cluster,
                fleet,
                change.get("TargetOnDemandCapacity"),
                change.get("TargetSpotCapacity"),
                now_s + self._engine.waits.resizing_s,
            )
        return {}

    def list_instances(self, request: Json) -> Json:
        wanted = request.get("InstanceFleetId"), request.get("InstanceFleetType")
        states = request.get("InstanceStates") or []
        with self._engine.reading():
            found = [
                each.as_json(fleet.id)
                for fleet in self._cluster(request).fleets
                if wanted[0] in (None, fleet.id) and wanted[1] in (None, fleet.type)
                for each in fleet.instances
            ]
        return _page("Instances", [each for each in found if not states or each["Status"]["State"] in states], request)

    def list_bootstrap_actions(self, request: Json) -> Json:
        with self._engine.reading():
            actions = self._cluster(request).request.get("BootstrapActions") or []
        return {
            "BootstrapActions": [
                {
                    "Name": action.get("Name", ""),
                    "ScriptPath": (action.get("ScriptBootstrapAction") or {}).get("Path", ""),
                    "Args": (action.get("ScriptBootstrapAction") or {}).get("Args") or [],
                }
                for action in actions
            ]
        }

    def put_managed_scaling_policy(self, request: Json) -> Json:
        check_managed_scaling(request.get("ManagedScalingPolicy") or {})
        with self._engine.editing():
            self._modifiable(request).managed_scaling = request["ManagedScalingPolicy"]
        return {}

    def get_managed_scaling_policy(self, request: Json) -> Json:
        with self._engine.reading():
            policy = self._cluster(request).managed_scaling
        return {"ManagedScalingPolicy": policy} if policy else {}

    def remove_managed_scaling_policy(self, request: Json) -> Json:
        with self._engine.editing():
            self._cluster(request).managed_scaling = None
        return {}

    def put_auto_termination_policy(self, request: Json) -> Json:
        policy = request.get("AutoTerminationPolicy") or {}
        check_auto_termination(policy)
        with self._engine.editing():
            self._modifiable(request).auto_termination = policy
        return {}

    def get_auto_termination_policy(self, request: Json) -> Json:
        with self._engine.reading():
            policy = self._cluster(request).auto_termination
        return {"AutoTerminationPolicy": policy} if policy else {}

    def remove_auto_termination_policy(self, request: Json) -> Json:
        with self._engine.editing():
            self._cluster(request).auto_termination = None
        return {}

    def add_tags(self, request: Json) -> Json:
        with self._engine.editing():
            cluster = self._cluster({"ClusterId": request.get("ResourceId")})
            tags = {**cluster.tags, **{tag["Key"]: tag.get("Value", "") for tag in request.get("Tags") or []}}
            check_tags([{"Key": key, "Value": value} for key, value in tags.items()])
            cluster.tags = tags
        return {}

    def remove_tags(self, request: Json) -> Json:
        with self._engine.editing():
            cluster = self._cluster({"ClusterId": request.get("ResourceId")})
            for key in request.get("TagKeys") or []:
                cluster.tags.pop(key, None)
        return {}

    def _cluster(self, request: Json) -> Cluster:
        cluster_id = request.get("ClusterId")
        cluster = self._engine.clusters.get(cluster_id or "")
        if cluster is None:
            raise invalid_request(f"Cluster id '{cluster_id}' is not valid.")
        return cluster

    def _modifiable(self, request: Json) -> Cluster:
        cluster = self._cluster(request)
        if cluster.state in OVER or cluster.state.value == "TERMINATING":
            raise invalid_request(f"Cluster {cluster.id} is in state {cluster.state.value} and cannot be modified.")
        return cluster

    def _named(self, request: Json) -> list[Cluster]:
        return [self._cluster({"ClusterId": name}) for name in request.get("JobFlowIds") or []]


def _step(config: Json, now_s: float) -> Step:
    jar_step = config["HadoopJarStep"]
    return Step(
        id=new_id("s"),
        name=config["Name"],
        jar=jar_step["Jar"],
        main_class=jar_step.get("MainClass") or "",
        args=list(jar_step.get("Args") or []),
        properties={pair["Key"]: pair.get("Value", "") for pair in jar_step.get("Properties") or []},
        action_on_failure=config.get("ActionOnFailure", "TERMINATE_JOB_FLOW"),
        created_s=now_s,
    )


def _page(key: str, items: list[Json], request: Json) -> Json:
    """Fifty a page; the marker is where the next one begins."""
    try:
        start = int(request.get("Marker") or 0)
    except ValueError:
        raise invalid_request(f"Marker '{request.get('Marker')}' is not valid.") from None
    page: Json = {key: items[start : start + PAGE]}
    if start + PAGE < len(items):
        page["Marker"] = str(start + PAGE)
    return page


def as_http(operation: Callable[[Json], Json]) -> Callable[[Json], tuple[int, dict[str, str], bytes]]:
    """An operation as ministack's handlers are: from the request to status, headers and body."""

    def handle(request: Json) -> tuple[int, dict[str, str], bytes]:
        headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": f"{time.time_ns():x}"}
        try:
            return 200, headers, json.dumps(operation(request)).encode()
        except EmrError as refusal:
            body = {"__type": refusal.code, "message": str(refusal), "Message": str(refusal)}
            return 400, {**headers, "x-amzn-ErrorType": refusal.code}, json.dumps(body).encode()

    return handle

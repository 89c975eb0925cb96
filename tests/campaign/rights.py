"""Which rights the stack needs: every call of a scenario, as IAM would be asked about it.

Who calls (a function, the machine, or the cluster's step), which action, on which resource, with which condition keys.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from botocore.client import BaseClient
from botocore.exceptions import ClientError
from campaign.fault_points import Watch
from campaign.one_process_cloud import ACCOUNT, OneProcessCloud, Task, _life
from fakes import policies, template

_NOT_THERE = {"404", "NoSuchKey", "NoSuchVersion"}
_CLUSTERS = f"arn:aws:elasticmapreduce:us-east-1:{template.ACCOUNT}:cluster"
_EVENTS_RULE = f"arn:aws:events:us-east-1:{template.ACCOUNT}:rule/StepFunctionsGetEventForEMR"


@dataclass(frozen=True)
class Right:
    """One question to IAM."""

    caller: str
    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def read_right(document: Mapping[str, Any]) -> Right:
    """What `as_json` wrote."""
    context = tuple((key, value) for key, value in document["context"])
    return Right(document["caller"], document["action"], document["resource"], context)


class RightsWatch(Watch):
    """Notes rights beside points while a scenario is played; strikes at nothing."""

    def __init__(self, cloud: OneProcessCloud, scenario: str) -> None:
        super().__init__(scenario)
        self._cloud = cloud
        self._noting = threading.Lock()
        self.rights: set[Right] = set()

    def __enter__(self) -> RightsWatch:
        self._make = BaseClient._make_api_call
        make, watch = self._make, self

        def make_and_note(client: Any, operation: str, request: Any) -> Any:
            life = _life.get()
            if life is None:
                return make(client, operation, request)
            caller = life.name.partition(".")[0]
            service = client.meta.service_model.service_id.hyphenize()
            watch._note_call(caller, service, operation, request)
            try:
                return make(client, operation, request)
            except ClientError as error:
                if service == "s3" and error.response["Error"]["Code"] in _NOT_THERE:
                    # Without it, S3 says Forbidden of a key that isn't there.
                    watch._note_call(caller, service, "ListObjectsV2", request)
                raise

        BaseClient._make_api_call = make_and_note  # type: ignore[method-assign]
        return self

    def __exit__(self, *_error: object) -> None:
        BaseClient._make_api_call = self._make  # type: ignore[method-assign]

    def intercept_task(self, task: Task) -> Any:
        """The machine's own calls."""
        answer = super().intercept_task(task)
        for action, resource, context in _RIGHTS_OF_TASKS[task.resource.rpartition(":")[2].removesuffix(".sync")](
            self, task
        ):
            self._note("machine", action, resource, context)
        if task.resource.endswith(".sync"):
            name = {"addStep": "AddJobFlowSteps", "terminateCluster": "TerminateJobFlows"}[
                task.resource.rpartition(":")[2].removesuffix(".sync")
            ]
            for action in ("PutTargets", "PutRule", "DescribeRule"):
                self._note("machine", f"events:{action}", f"{_EVENTS_RULE}{name}Rule", {})
        return answer

    def _note_call(self, caller: str, service: str, operation: str, request: Mapping[str, Any]) -> None:
        for action, resource in policies.rights_for(service, operation, request):
            if resource.startswith(f"{_CLUSTERS}/"):
                self._note(caller, action, resource, self.tags_of(resource))
                continue
            for context in policies.context_of(service, request):
                self._note(caller, action, resource, context)

    def _note(self, caller: str, action: str, resource: str, context: Mapping[str, str]) -> None:
        named = resource.replace(f":{ACCOUNT}:", f":{template.ACCOUNT}:")
        with self._noting:
            self.rights.add(Right(caller, action, named, tuple(sorted(context.items()))))

    def tags_of(self, cluster_arn: str) -> dict[str, str]:
        """The condition keys of a cluster that exists."""
        cluster_id = cluster_arn.rpartition("/")[2]
        with self._cloud.engine.reading():
            cluster = self._cloud.engine.clusters.get(cluster_id)
            return policies.cluster_context(cluster.request.get("Tags") or []) if cluster is not None else {}


Wanted = list[tuple[str, str, Mapping[str, str]]]


def _invoke(_watch: RightsWatch, task: Task) -> Wanted:
    function, _, version = task.arguments.partition(":")
    name = f"{function.title().replace('_', '')}Function"
    return [("lambda:InvokeFunction", f"arn:aws:lambda:us-east-1:{template.ACCOUNT}:function:{name}:{version}", {})]


def _create(_watch: RightsWatch, task: Task) -> Wanted:
    """A launch with tags, managed scaling and auto-termination is checked for each of them."""
    given = task.arguments
    tags = {f"aws:RequestTag/{each['Key']}": each["Value"] for each in given["Tags"]}
    parts = {"Tags": "AddTags", "ManagedScalingPolicy": "PutManagedScalingPolicy",
             "AutoTerminationPolicy": "PutAutoTerminationPolicy"}  # fmt: skip
    actions = ["RunJobFlow", *(action for part, action in parts.items() if part in given)]
    role = f"arn:aws:iam::{template.ACCOUNT}:role"
    cleanup = f"{role}/aws-service-role/elasticmapreduce.amazonaws.com/AWSServiceRoleForEMRCleanup"
    return [
        *((f"elasticmapreduce:{action}", f"{_CLUSTERS}/*", tags) for action in actions),
        ("iam:PassRole", f"{role}/ClusterServiceRole", {"iam:PassedToService": "elasticmapreduce.amazonaws.com"}),
        ("iam:PassRole", f"{role}/ClusterInstanceRole", {"iam:PassedToService": "ec2.amazonaws.com"}),
        # The first cluster of an account makes the role with which EMR ends what a cluster leaves.
        ("iam:CreateServiceLinkedRole", cleanup, {"iam:AWSServiceName": "elasticmapreduce.amazonaws.com"}),
    ]


def _about_cluster(*actions: str) -> Callable[[RightsWatch, Task], Wanted]:
    def wanted(watch: RightsWatch, task: Task) -> Wanted:
        arn = f"{_CLUSTERS}/{task.arguments['ClusterId']}"
        return [(f"elasticmapreduce:{action}", arn, watch.tags_of(arn)) for action in actions]

    return wanted


_RIGHTS_OF_TASKS: dict[str, Callable[[RightsWatch, Task], Wanted]] = {
    "lambda": _invoke,
    "createCluster": _create,
    # It looks at what it waits for, and cancels a step whose execution is stopped.
    "addStep": _about_cluster("AddJobFlowSteps", "DescribeStep", "CancelSteps"),
    "terminateCluster": _about_cluster("TerminateJobFlows", "DescribeCluster"),
}
"""Source: AWS Step Functions Developer Guide, "IAM policies for integrated services: Amazon EMR"."""


@cache
def granted() -> dict[str, list[policies.Grant]]:
    """What each caller of a scenario is granted, by its name in the rights."""
    return policies.grants() | {
        "machine": policies.statements_of("RunStateMachine"),
        "step": policies.statements_of("ClusterInstanceRole"),
    }

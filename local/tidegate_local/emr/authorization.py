"""What IAM is asked about a call to EMR, where IAM is enforced: the cluster that it is about, and that cluster's tags.

ministack's own check knows neither the ids of TerminateJobFlows nor `elasticmapreduce:ResourceTag`, and would refuse
what a policy with such a condition allows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

Tags = Callable[[str], Mapping[str, str]]
"""The tags of a cluster by its id; none of one that isn't there."""

_EMR = "elasticmapreduce"


def install(tags_of: Tags) -> None:
    """Tell ministack's IAM of clusters."""
    from ministack.core import iam_actions, iam_evaluator  # noqa: PLC0415 - read their environment

    resource_of, enforce = iam_actions.extract_resource_arn, iam_evaluator.enforce

    def resource_with_clusters(service: str, method: str, path: str, headers: Any, body: bytes, *more: Any) -> Any:
        found = resource_of(service, method, path, headers, body, *more)
        if service not in {_EMR, "emr"}:
            return found
        _query, region, account = more
        return cluster_arn(body, region, account) or found

    def enforce_with_tags(key: str, action: str, service: str, region: str, **more: Any) -> Any:
        if action.startswith(f"{_EMR}:"):
            cluster_id = str(more.get("resource_arn", "")).rpartition("/")[2]
            more["service_context"] = {**(more.get("service_context") or {}), **context_of(tags_of(cluster_id))}
        return enforce(key, action, service, region, **more)

    iam_actions.extract_resource_arn = resource_with_clusters
    iam_evaluator.enforce = enforce_with_tags


def cluster_arn(body: bytes, region: str, account: str) -> str | None:
    """The one cluster that a request names in a list, or the pattern of all clusters that a launch is checked for."""
    try:
        request = json.loads(body or b"{}")
    except ValueError:
        return None
    prefix = f"arn:aws:{_EMR}:{region}:{account}:cluster/"
    listed = request.get("JobFlowIds") or []
    if len(listed) == 1:
        return f"{prefix}{listed[0]}"
    return f"{prefix}*" if "Instances" in request else None


def context_of(tags: Mapping[str, str]) -> dict[str, str]:
    """The condition keys that tags give."""
    return {f"{_EMR}:ResourceTag/{name}": value for name, value in tags.items()}

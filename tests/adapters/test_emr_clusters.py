"""Clusters by name on moto, whose EMR knows no fleets but does know names and states."""

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from tidegate.adapters.clusters import EmrClusters
from tidegate.errors import ScalingRefused, Throttled
from tidegate.scaling import ScalingLimits


def start(name: str, **fields: Any) -> str:
    made: str = boto3.client("emr").run_job_flow(
        Name=name,
        ReleaseLabel="emr-7.14.0",
        Instances={"KeepJobFlowAliveWhenNoSteps": True, "InstanceCount": 1, "MasterInstanceType": "m7g.xlarge"},
        JobFlowRole="r",
        ServiceRole="r",
        **fields,
    )["JobFlowId"]
    return made


def test_a_runs_clusters_are_found_by_their_whole_name(aws: None) -> None:
    mine = {start("tidegate-r-0-1"), start("tidegate-r-1-1")}
    for other in ("tidegate-r-1-0-1", "tidegate-rr-0-1", "tidegate-r-0", "other-r-0-1", "tidegate-r-0-1-x"):
        start(other)
    assert set(EmrClusters().alive("tidegate", "r")) == mine


def test_an_ended_cluster_is_not_alive_and_says_why(aws: None) -> None:
    clusters, cluster = EmrClusters(), start("tidegate-r-0-1")
    assert clusters.why_ended(cluster) is None
    boto3.client("emr").terminate_job_flows(JobFlowIds=[cluster])
    assert clusters.alive("tidegate", "r") == []
    assert clusters.why_ended(cluster) is not None


def test_throttling_has_one_name(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    clusters = EmrClusters()

    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "DescribeCluster")

    monkeypatch.setattr(clusters._client, "describe_cluster", refuse)
    with pytest.raises(Throttled):
        clusters.why_ended("j-1")


def test_a_cluster_that_emr_has_forgotten_says_nothing(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    clusters = EmrClusters()

    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "InvalidRequestException", "Message": ""}}, "DescribeCluster")

    monkeypatch.setattr(clusters._client, "describe_cluster", refuse)
    assert clusters.why_ended("j-1") is None


def test_a_stacks_clusters_are_told_by_their_name_and_tag(aws: None) -> None:
    # GIVEN two stacks of which one is called as the other begins, and others
    mine = start("tidegate-r-0-1", Tags=[{"Key": "tidegate:stack", "Value": "tidegate"}])
    theirs = start("tidegate-dev-r-0-1", Tags=[{"Key": "tidegate:stack", "Value": "tidegate-dev"}])
    start("notebook", Tags=[{"Key": "tidegate:stack", "Value": "tidegate"}])
    found = {each.cluster_id: each for each in EmrClusters().of_stack("tidegate")}
    assert {cluster_id: each.is_ours for cluster_id, each in found.items()} == {mine: True, theirs: False}
    assert found[mine].created_at.tzinfo is not None


def test_a_cluster_is_ended_twice_without_harm(aws: None) -> None:
    clusters, cluster = EmrClusters(), start("tidegate-r-0-1", Tags=[{"Key": "tidegate:stack", "Value": "tidegate"}])
    for _ in range(2):
        clusters.end(cluster)
    assert clusters.of_stack("tidegate") == []


def test_limits_are_set_in_units_and_what_emr_refuses_has_a_name(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    clusters, asked = EmrClusters(), list[Any]()
    codes = ["", "ValidationException", "ThrottlingException"]

    def answer(**request: Any) -> None:
        asked.append(request)
        code = codes[len(asked) - 1]
        if code:
            raise ClientError({"Error": {"Code": code, "Message": "it is terminating"}}, "PutManagedScalingPolicy")

    monkeypatch.setattr(clusters._client, "put_managed_scaling_policy", answer)
    clusters.scale("j-1", ScalingLimits(1, 6, 2, 1))
    assert asked == [{
        "ClusterId": "j-1",
        "ManagedScalingPolicy": {"ComputeLimits": {
            "UnitType": "InstanceFleetUnits", "MinimumCapacityUnits": 1, "MaximumCapacityUnits": 6,
            "MaximumOnDemandCapacityUnits": 2, "MaximumCoreCapacityUnits": 1,
        }},
    }]  # fmt: skip
    for named in (ScalingRefused, Throttled):
        with pytest.raises(named):
            clusters.scale("j-1", ScalingLimits(1, 6, 2, 1))

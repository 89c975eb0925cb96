"""Clusters by name on moto, whose EMR knows no fleets but does know names and states."""

from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from tidegate.adapters.clusters import EmrClusters
from tidegate.errors import CostUnknown, ScalingRefused, Throttled
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


def test_all_clusters_of_a_run_are_found_also_those_that_have_ended(aws: None) -> None:
    began_at = datetime.now(UTC)
    alive, ended = start("tidegate-r-1-1"), start("tidegate-r-0-1")
    start("tidegate-rr-0-1")
    boto3.client("emr").terminate_job_flows(JobFlowIds=[ended])
    found = {each.cluster_id: each for each in EmrClusters().of_run("tidegate", "r", began_at)}
    assert set(found) == {alive, ended}
    assert (found[alive].has_ended, found[ended].has_ended) == (False, True)
    assert found[ended].ended_at is not None
    # AND one that is older than the run is not looked for
    assert EmrClusters().of_run("tidegate", "r", began_at + timedelta(hours=3)) == []


def test_instances_come_from_all_pages_and_each_once(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN more instances than a page has, of which one moves to the next page while they are read
    pages = [
        {"Instances": [{"Id": f"ci-{number}"} for number in range(50)], "Marker": "2"},
        {"Instances": [{"Id": f"ci-{number}"} for number in range(49, 60)]},
    ]
    asked: list[Any] = []

    def list_instances(_client: Any, operation: str, request: Any) -> Any:
        asked.append((operation, request))
        return pages[len(asked) - 1]

    monkeypatch.setattr(BaseClient, "_make_api_call", list_instances)
    assert len(EmrClusters().instances("j-1")) == 60
    assert asked == [("ListInstances", {"ClusterId": "j-1"}), ("ListInstances", {"ClusterId": "j-1", "Marker": "2"})]


@pytest.mark.parametrize(
    ("code", "outcome"), [("AccessDeniedException", CostUnknown), ("ThrottlingException", Throttled)]
)
def test_what_emr_does_not_say_has_a_name(
    aws: None, monkeypatch: pytest.MonkeyPatch, code: str, outcome: type[Exception]
) -> None:
    def refuse(_client: Any, operation: str, _request: Any) -> Any:
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, operation)

    monkeypatch.setattr(BaseClient, "_make_api_call", refuse)
    with pytest.raises(outcome, match="ListInstances"):
        EmrClusters().instances("j-1")
    with pytest.raises(outcome, match="ListClusters"):
        EmrClusters().of_run("tidegate", "r", datetime.now(UTC))

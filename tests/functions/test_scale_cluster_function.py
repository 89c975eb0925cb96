"""scale_cluster on golden events."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
import scale_cluster
from fakes.emr import start_cluster
from tidegate.adapters.clusters import EmrClusters

Call = Callable[..., Any]


@pytest.mark.parametrize("name", ["scheduled", "contributor", "run_late"])
def test_each_trigger_looks_and_finds_nothing_to_do(run: Call, account: Any, golden: Call, name: str) -> None:
    assert run(scale_cluster, golden(f"scale_cluster.{name}")) == {"looks": {}, "failed": {}}


@pytest.fixture
def late_run(account: Any) -> str:
    """A run whose cluster has one unit for 1,000 GiB that are due in an hour; the cluster's id."""
    now = datetime.now(UTC)
    account.ledger.put_item(
        Item={
            "pk": "run", "sk": "r", "kind": "run", "state": "running", "pass": 0, "attempt": 0, "units": 1,
            "execution_arn": "arn:aws:states:us-east-1:123456789012:execution:tidegate-run:r", "tables": ["flights"],
            "started_at": "2026-11-23T14:35:00.000Z", "pending_pk": "running", "pending_sk": "r",
            "cluster_name": "tidegate-r-0-1",
        }
    )  # fmt: skip
    due = (now + timedelta(hours=1)).isoformat()
    batch = {"table": "flights", "batch": 1, "action": "merge", "size_bytes": 10**12, "files": 9, "deadline": due}
    account.write("s3://tidegate-control/runs/r/0/g0.json", {"group": "g0", "batches": [batch]})
    told = {"group": "g0", "at": now.isoformat(), "done": [], "cores": 4, "busy_cores": 4, "core_s": 60.0,
            "input_bytes": 10**9, "shuffles": False}  # fmt: skip
    account.write("s3://tidegate-control/progress/r/0/g0.json", told)
    cluster_id: str = start_cluster("tidegate-r-0-1", [{"Key": "tidegate:stack", "Value": "tidegate"}])
    for name, value in {"YARNMemoryAvailablePercentage": 3.0, "ContainerPendingRatio": 2.0, "AppsPending": 0.0}.items():
        boto3.client("cloudwatch").put_metric_data(
            Namespace="AWS/ElasticMapReduce",
            MetricData=[{
                "MetricName": name, "Value": value, "Timestamp": now - timedelta(minutes=1),
                "Dimensions": [{"Name": "JobFlowId", "Value": cluster_id}],
            }],
        )  # fmt: skip
    return cluster_id


def test_a_run_that_is_late_has_its_limits_raised(
    run: Call, account: Any, golden: Call, late_run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # moto's EMR knows no managed scaling of fleets.
    limits: list[Any] = []
    monkeypatch.setattr(EmrClusters, "scale", lambda _self, _cluster, wanted: limits.append(wanted))
    answer = run(scale_cluster, golden("scale_cluster.scheduled"))
    assert "raise: the deadline is at risk" in answer["looks"]["r"]
    assert [each.maximum_units > 10 for each in limits] == [True]
    assert [item["action"] for item in account.items("look")] == ["raise"]


def test_an_alarm_about_anothers_cluster_costs_no_look(run: Call, account: Any, golden: Call, late_run: str) -> None:
    assert run(scale_cluster, golden("scale_cluster.contributor"))["looks"] == {}

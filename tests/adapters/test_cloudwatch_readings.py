"""EMR's metrics on moto's CloudWatch."""

from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from tidegate.adapters.readings import CloudWatchReadings
from tidegate.errors import Throttled

NOW = datetime.now(UTC).replace(second=0, microsecond=0)
NAMES = {"memory": "YARNMemoryAvailablePercentage", "pending": "ContainerPendingRatio", "apps": "AppsPending",
         "running": "TotalUnitsRunning", "requested": "TotalUnitsRequested"}  # fmt: skip


def measure(cluster_id: str, minutes_ago: int, **values: float) -> None:
    boto3.client("cloudwatch").put_metric_data(
        Namespace="AWS/ElasticMapReduce",
        MetricData=[
            {
                "MetricName": NAMES[name],
                "Dimensions": [{"Name": "JobFlowId", "Value": cluster_id}],
                "Timestamp": NOW - timedelta(minutes=minutes_ago),
                "Value": value,
            }
            for name, value in values.items()
        ],
    )


def test_the_newest_complete_minute_of_each_cluster_is_read(aws: None) -> None:
    for minutes_ago in (3, 2):
        measure("j-1", minutes_ago, memory=10.0 * minutes_ago, pending=0.5, apps=0, running=2, requested=3)
    # GIVEN a minute that has not come as a whole yet, and another cluster
    measure("j-1", 1, memory=1.0)
    measure("j-2", 1, memory=77.0, pending=0, apps=1)
    found = CloudWatchReadings().of(["j-1", "j-2", "j-3"], NOW)
    assert set(found) == {"j-1", "j-2"}
    one, two = found["j-1"], found["j-2"]
    assert (one.cluster_id, one.at, one.memory_available_percent) == ("j-1", NOW - timedelta(minutes=2), 20.0)
    assert (one.units_running, one.units_requested) == (2.0, 3.0)
    assert (two.apps_pending, two.units_running, two.hdfs_percent) == (1.0, None, None)


def test_what_never_comes_whole_is_given_as_it_is(aws: None) -> None:
    measure("j-1", 4, memory=10.0)
    found = CloudWatchReadings().of(["j-1"], NOW)["j-1"]
    assert (found.memory_available_percent, found.pending_ratio, found.at) == (10.0, None, NOW - timedelta(minutes=4))


def test_many_clusters_are_asked_for_in_several_calls(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    readings, asked = CloudWatchReadings(), list[int]()
    paginate = readings._client.get_paginator("get_metric_data").paginate

    class Counting:
        def paginate(self, **request: Any) -> Any:
            asked.append(len(request["MetricDataQueries"]))
            return paginate(**request)

    monkeypatch.setattr(readings._client, "get_paginator", lambda _name: Counting())
    measure("j-199", 1, memory=5.0, pending=0, apps=0)
    assert set(readings.of([f"j-{number}" for number in range(200)], NOW)) == {"j-199"}
    assert max(asked) <= 500
    assert sum(asked) == 200 * 6


def test_throttling_has_one_name(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = CloudWatchReadings()

    class Refusing:
        def paginate(self, **_request: Any) -> Any:
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "GetMetricData")

    monkeypatch.setattr(readings._client, "get_paginator", lambda _name: Refusing())
    with pytest.raises(Throttled):
        readings.of(["j-1"], NOW)

"""EMR's metrics of running clusters, from CloudWatch."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

import boto3

from tidegate.adapters.clients import CONFIG, throttling_named
from tidegate.readings import Metrics

_METRICS = {
    "memory_available_percent": "YARNMemoryAvailablePercentage",
    "pending_ratio": "ContainerPendingRatio",
    "apps_pending": "AppsPending",
    "hdfs_percent": "HDFSUtilization",
    "units_requested": "TotalUnitsRequested",
    "units_running": "TotalUnitsRunning",
}
"""Of namespace AWS/ElasticMapReduce, a value a minute while managed scaling is on. Source: Amazon EMR Management Guide,
"Monitoring Amazon EMR metrics with CloudWatch"."""

_NEEDED = ("memory_available_percent", "pending_ratio", "apps_pending")
_BACK = timedelta(minutes=10)
_CLUSTERS_A_CALL = 500 // len(_METRICS)
"""GetMetricData takes 500 queries."""


class CloudWatchReadings:
    """Keeps to `tidegate.ports.Readings`."""

    def __init__(self) -> None:
        self._client: Any = boto3.client("cloudwatch", config=CONFIG)

    def of(self, cluster_ids: Collection[str], now: datetime) -> dict[str, Metrics]:
        found: dict[str, Metrics] = {}
        ids = sorted(cluster_ids)
        for start in range(0, len(ids), _CLUSTERS_A_CALL):
            some = ids[start : start + _CLUSTERS_A_CALL]
            series = self._series(some, now)
            for number, cluster_id in enumerate(some):
                metrics = _newest(cluster_id, {name: series.get(f"c{number}_{name}", {}) for name in _METRICS})
                if metrics is not None:
                    found[cluster_id] = metrics
        return found

    def _series(self, cluster_ids: list[str], now: datetime) -> dict[str, dict[datetime, float]]:
        """The values of each query by their time."""
        queries = [
            {
                "Id": f"c{number}_{name}",
                "MetricStat": {
                    "Metric": {
                        "Namespace": "AWS/ElasticMapReduce",
                        "MetricName": metric,
                        "Dimensions": [{"Name": "JobFlowId", "Value": cluster_id}],
                    },
                    "Period": 60,
                    "Stat": "Average",
                },
            }
            for number, cluster_id in enumerate(cluster_ids)
            for name, metric in _METRICS.items()
        ]
        series: dict[str, dict[datetime, float]] = {}
        with throttling_named("cloudwatch:GetMetricData"):
            pages = self._client.get_paginator("get_metric_data").paginate(
                MetricDataQueries=queries, StartTime=now - _BACK, EndTime=now + timedelta(minutes=1)
            )
            for page in pages:
                for result in page["MetricDataResults"]:
                    series.setdefault(result["Id"], {}).update(zip(result["Timestamps"], result["Values"], strict=True))
        return series


def _newest(cluster_id: str, series: dict[str, dict[datetime, float]]) -> Metrics | None:
    """Of the newest minute that has all that is needed, or else of the newest that has anything."""
    complete = set.intersection(*(set(series[name]) for name in _NEEDED))
    some = {at for values in series.values() for at in values}
    if not some:
        return None
    at = max(complete or some)
    return Metrics(cluster_id, at, **{name: values[at] for name, values in series.items() if at in values})

"""EMR's CloudWatch metrics of a cluster. Must run in the request's context."""

from __future__ import annotations

from collections.abc import Mapping

NAMESPACE = "AWS/ElasticMapReduce"


def publish(cluster_id: str, values: Mapping[str, float]) -> None:
    """Hand one moment's values, by metric, to ministack's CloudWatch."""
    from ministack.services import cloudwatch  # noqa: PLC0415 - ministack starts services late

    for name, value in values.items():
        cloudwatch.record_metric(NAMESPACE, name, value, dimensions={"JobFlowId": cluster_id})

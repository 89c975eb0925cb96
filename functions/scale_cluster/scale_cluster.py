"""Moves the limits of managed scaling, and ends a cluster whose instances come too late for another one to be in time.

Triggered each minute by EventBridge Scheduler, and by CloudWatch alarms.
"""

from datetime import UTC, datetime
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from tidegate.adapters.clusters import EmrClusters
from tidegate.adapters.ledger import DynamoLedger
from tidegate.adapters.objects import S3Objects
from tidegate.adapters.readings import CloudWatchReadings
from tidegate.composition import setting
from tidegate.usecases.scale_clusters import ScalePorts, clusters_named, scale_clusters

logger = Logger()
metrics = Metrics()


@cache
def ports() -> ScalePorts:
    return ScalePorts(
        ledger=DynamoLedger(setting("LEDGER_TABLE")),
        objects=S3Objects(),
        clusters=EmrClusters(),
        readings=CloudWatchReadings(),
        stack=setting("STACK_NAME"),
        control_bucket=setting("CONTROL_BUCKET"),
    )


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    only = clusters_named(event)
    scaled = scale_clusters(only, ports=ports(), now=datetime.now(UTC))
    for run_id, look in scaled.looks.items():
        extra = {"run_id": run_id, "cluster_id": look.cluster_id, "units": look.maximum_units, "action": look.action}
        logger.info(look.reason, extra=extra)
    for run_id, why in scaled.failed.items():
        logger.error(why, extra={"run_id": run_id})
    metrics.add_metric(name="ClustersScaled", unit=MetricUnit.Count, value=scaled.changes)
    metrics.add_metric(name="ScalingFailed", unit=MetricUnit.Count, value=len(scaled.failed))
    if only is None:  # of all runs: what one alarm is about says nothing of the others
        metrics.add_metric(name="RunLateness", unit=MetricUnit.Seconds, value=scaled.late_by_s)
    return {
        "looks": {run_id: f"{look.action}: {look.reason}" for run_id, look in scaled.looks.items()},
        "failed": dict(scaled.failed),
    }

"""Ends clusters that nobody needs, finishes dead runs. Triggered as executions and clusters end, and by a schedule."""

from datetime import UTC, datetime
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext
from tidegate.adapters.bus import EventBus
from tidegate.adapters.catalog import GlueCatalog
from tidegate.adapters.clusters import EmrClusters
from tidegate.adapters.ledger import DynamoLedger
from tidegate.adapters.machine import StepFunctionsMachine
from tidegate.adapters.objects import S3Objects
from tidegate.composition import contracts, reporter, setting
from tidegate.usecases.publish_tables import Publishing
from tidegate.usecases.reap_clusters import ReapPorts, is_about_another, reap_clusters

logger = Logger()
metrics = Metrics()


@cache
def ports() -> ReapPorts:
    stack = setting("STACK_NAME")
    return ReapPorts(
        ledger=DynamoLedger(setting("LEDGER_TABLE")),
        objects=S3Objects(),
        machine=StepFunctionsMachine(setting("STATE_MACHINE_ARN")),
        clusters=EmrClusters(),
        stack=stack,
        control_bucket=setting("CONTROL_BUCKET"),
        publishing=Publishing(
            catalog=GlueCatalog(setting("CATALOG_DATABASE")),
            bus=EventBus(),
            contracts=contracts(),
            stack=stack,
            lake_bucket=setting("LAKE_BUCKET"),
            database=setting("CATALOG_DATABASE"),
            report=reporter(logger, metrics),
        ),
    )


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    if is_about_another(event, setting("STACK_NAME")):
        return {"ignored": "the cluster is not one of this stack's"}
    reaped = reap_clusters(ports=ports(), contracts=contracts(), now=datetime.now(UTC))
    logger.info("reaped", extra=reaped)
    metrics.add_metric(name="OldestClusterAge", unit="Seconds", value=reaped["oldest_age_s"])
    metrics.add_metric(name="ClustersReaped", unit="Count", value=len(reaped["ended"]))
    metrics.add_metric(name="RunsFinished", unit="Count", value=len(reaped["finished"]))
    return reaped

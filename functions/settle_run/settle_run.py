"""Settles a run: its batches, its failures, itself. Called by the state machine, which names the action."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext
from tidegate.adapters.bus import EventBus
from tidegate.adapters.catalog import GlueCatalog
from tidegate.adapters.clusters import EmrClusters
from tidegate.adapters.ledger import DynamoLedger
from tidegate.adapters.objects import S3Objects
from tidegate.composition import contracts, prices, reporter, setting
from tidegate.errors import RunFailed
from tidegate.runs import Execution
from tidegate.usecases import settle_run as settle
from tidegate.usecases.publish_tables import Publishing
from tidegate.usecases.settle_batches import SettlePorts
from tidegate.usecases.settle_run import SettleRequest

logger = Logger()
metrics = Metrics()

ACTIONS: dict[str, Callable[..., dict[str, Any]]] = {
    "settle_group": settle.settle_group,
    "assess_failure": settle.assess_failure,
    "settle_run": settle.settle_run,
    "fail_run": settle.fail_run,
}


@cache
def ports() -> SettlePorts:
    stack = setting("STACK_NAME")
    return SettlePorts(
        ledger=DynamoLedger(setting("LEDGER_TABLE")),
        objects=S3Objects(),
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
        load_prices=prices,
    )


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    execution = Execution(**event["execution"])
    request = SettleRequest(
        execution,
        event["input"],
        cluster_id=event.get("cluster_id"),
        error=event.get("error"),
        failed_in=event.get("failed_in"),
        attempt=event.get("pass"),
        work_uri=event.get("work_uri"),
    )
    action = event["action"]
    logger.append_keys(run_id=request.run_id, **{"pass": execution.redrive_count, "action": action})
    try:
        answer = ACTIONS[action](request, ports=ports(), now=datetime.now(UTC))
    except RunFailed as failed:
        metrics.add_metric(name="RunsFailed", unit="Count", value=1)
        logger.error(str(failed))  # noqa: TRY400 - the words are for operators, a stack trace says nothing more
        raise
    logger.info("settled", extra={"answer": answer})
    if action == "settle_group":
        metrics.add_metric(name="BatchesMerged", unit="Count", value=answer["merged"])
        metrics.add_metric(name="BatchesVoided", unit="Count", value=answer["voided"])
        metrics.add_metric(name="BatchesFailed", unit="Count", value=answer["unsettled"])
        metrics.add_metric(name="FilesQuarantined", unit="Count", value=answer["rejected_files"])
        metrics.add_metric(name="RowsQuarantined", unit="Count", value=answer["quarantined_rows"])
        metrics.add_metric(name="FilesFailed", unit="Count", value=answer["failed_files"])
    return answer

"""Starts a run when a table is due. Triggered each minute by EventBridge Scheduler, and by `tidegate dispatch now`."""

from datetime import UTC, datetime
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from tidegate.adapters.ledger import DynamoLedger
from tidegate.adapters.machine import StepFunctionsMachine
from tidegate.composition import contracts, limits, setting
from tidegate.runs import dispatched_run_id
from tidegate.usecases.dispatch_runs import dispatch_due_runs

logger = Logger()
metrics = Metrics()


@cache
def ports() -> tuple[DynamoLedger, StepFunctionsMachine]:
    return DynamoLedger(setting("LEDGER_TABLE")), StepFunctionsMachine(setting("STATE_MACHINE_ARN"))


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    ledger, machine = ports()
    now = datetime.now(UTC)
    at_once = event.get("dispatch") == "now"
    run_id = dispatched_run_id(now, None if at_once else event.get("scheduled_time"))
    started = dispatch_due_runs(
        ledger=ledger,
        machine=machine,
        contracts=contracts(),
        now=now,
        run_id=run_id,
        at_once=at_once,
        limits=limits(),
    )
    decisions = {decision.table: decision.reason for decision in started.dispatch.decisions}
    logger.append_keys(run_id=started.run_id)
    logger.info(started.dispatch.reason, extra={"tables": started.dispatch.tables, "decisions": decisions})
    metrics.add_metric(name="TablesDue", unit=MetricUnit.Count, value=len(started.dispatch.tables))
    metrics.add_metric(name="PendingLateness", unit=MetricUnit.Seconds, value=started.dispatch.lateness_s)
    metrics.add_metric(name="TablesWaiting", unit=MetricUnit.Count, value=len(started.dispatch.waiting))
    metrics.add_metric(name="TablesHeld", unit=MetricUnit.Count, value=len(started.dispatch.held))
    metrics.add_metric(name="TablesBlocked", unit=MetricUnit.Count, value=len(started.dispatch.stopped))
    if started.is_new:
        metrics.add_metric(name="RunsStarted", unit=MetricUnit.Count, value=1)
    tables = list(started.dispatch.tables)
    return {
        "run_id": started.run_id,
        "tables": tables,
        "reason": started.dispatch.reason,
        "decisions": decisions,
    }

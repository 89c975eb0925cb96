"""Ends clusters that nobody needs, finishes dead runs, and accounts for what runs have cost.

Triggered as executions and clusters end, and by a schedule.
"""

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
from tidegate.adapters.machine import StepFunctionsMachine
from tidegate.adapters.objects import S3Objects
from tidegate.composition import contracts, prices, reporter, setting
from tidegate.deadline import while_time
from tidegate.stack_limits import read_budget
from tidegate.usecases.account_open_runs import account_open_runs, watch_budget
from tidegate.usecases.account_run import CostPorts
from tidegate.usecases.publish_tables import Publishing
from tidegate.usecases.reap_clusters import ReapPorts, is_about_another, reap_clusters

logger = Logger()
metrics = Metrics()
BUDGET_STATES = {"within": 0, "at_risk": 1, "over": 2}
"""As the metric has them, for an alarm on each."""


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
        load_prices=prices,
    )


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    if is_about_another(event, setting("STACK_NAME")):
        return {"ignored": "the cluster is not one of this stack's"}
    now = datetime.now(UTC)
    reaped = reap_clusters(ports=ports(), contracts=contracts(), now=now)
    logger.info("reaped", extra=reaped)
    metrics.add_metric(name="OldestClusterAge", unit="Seconds", value=reaped["oldest_age_s"])
    metrics.add_metric(name="ClustersReaped", unit="Count", value=len(reaped["ended"]))
    metrics.add_metric(name="RunsFinished", unit="Count", value=len(reaped["finished"]))
    return reaped | account(now, while_time(context.get_remaining_time_in_millis))


def account(now: datetime, has_time: Callable[[], bool]) -> dict[str, Any]:
    """After the reaping, whose runs have ended by then. What goes wrong here is tried again at the next look."""
    cost_ports = CostPorts(ports().ledger, ports().clusters, ports().stack, ports().load_prices)
    accounted = account_open_runs(ports=cost_ports, now=now, has_time=has_time)
    for cost in accounted.unknown:
        logger.warning(f"the cost of run {cost.run_id} is unknown: {cost.unknown}", extra={"run_id": cost.run_id})
    metrics.add_metric(name="CostsUnknown", unit="Count", value=len(accounted.unknown))
    answer: dict[str, Any] = {"accounted": [cost.run_id for cost in accounted.costs]}
    budget = watch_budget(read_budget(setting("MONTHLY_BUDGET")), ports=cost_ports, now=now)
    if budget is not None:
        (logger.info if budget.state == "within" else logger.warning)(budget.reason, extra={"budget": budget.state})
        metrics.add_metric(name="BudgetState", unit="Count", value=BUDGET_STATES[budget.state])
        metrics.add_metric(name="MonthProjected", unit="Count", value=float(budget.projected_usd))
        answer["budget"] = f"{budget.state}: {budget.reason}"
    return answer

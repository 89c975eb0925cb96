"""Plans a run. Called by the state machine, first and after each redrive."""

from datetime import UTC, datetime
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext
from tidegate.adapters.clusters import EmrClusters
from tidegate.adapters.ledger import DynamoLedger
from tidegate.adapters.machine import StepFunctionsMachine
from tidegate.adapters.objects import S3Objects
from tidegate.composition import contracts, setting
from tidegate.runs import Execution, run_id_of
from tidegate.usecases.plan_run import PlanPorts, plan_run

logger = Logger()
metrics = Metrics()


@cache
def ports() -> PlanPorts:
    return PlanPorts(
        ledger=DynamoLedger(setting("LEDGER_TABLE")),
        objects=S3Objects(),
        machine=StepFunctionsMachine(setting("STATE_MACHINE_ARN")),
        clusters=EmrClusters(),
        stack=setting("STACK_NAME"),
        lake_bucket=setting("LAKE_BUCKET"),
        control_bucket=setting("CONTROL_BUCKET"),
    )


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    execution = Execution(**event["execution"])
    logger.append_keys(run_id=run_id_of(event["input"], execution.name), **{"pass": execution.redrive_count})
    plan = plan_run(event["input"], execution, ports=ports(), contracts=contracts(), now=datetime.now(UTC))
    logger.info(plan["reason"], extra={"work": plan["work"], "groups": plan["groups"], "held": plan["held"]})
    metrics.add_metric(name="GroupsPlanned", unit="Count", value=len(plan["groups"]))
    return plan

"""Plans a run, and claims more while its cluster is warm. Called by the state machine, which names the action."""

from datetime import UTC, datetime
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext
from tidegate.adapters.clusters import EmrClusters
from tidegate.adapters.ledger import DynamoLedger
from tidegate.adapters.machine import StepFunctionsMachine
from tidegate.adapters.objects import S3Objects
from tidegate.composition import contracts, limits, prices, setting
from tidegate.runs import Execution, run_id_of
from tidegate.usecases.claim_more import MoreRequest, claim_more
from tidegate.usecases.plan_batches import PlanPorts
from tidegate.usecases.plan_run import plan_run

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
        load_prices=prices,
        limits=limits(),
    )


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    execution = Execution(**event["execution"])
    run_id = run_id_of(event["input"], execution.name)
    logger.append_keys(run_id=run_id, action=event["action"], **{"pass": execution.redrive_count})
    now = datetime.now(UTC)
    if event["action"] == "claim_more":
        unclear, unsettled = (tuple(each["group"] for each in event[name]) for name in ("unclear", "unsettled"))
        request = MoreRequest(execution, event["input"], event["pass"], event["cluster_id"], unclear, unsettled)
        plan = claim_more(request, ports=ports(), contracts=contracts(), now=now)
    else:
        plan = plan_run(event["input"], execution, ports=ports(), contracts=contracts(), now=now)
    extra: dict[str, Any] = {name: plan[name] for name in ("work", "groups", "held", "cost") if name in plan}
    logger.info(plan["reason"], extra=extra)
    metrics.add_metric(name="GroupsPlanned", unit="Count", value=len(plan["groups"]))
    return plan

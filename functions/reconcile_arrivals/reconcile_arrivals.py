"""Makes arrivals of objects that no event told of. Triggered each hour by a schedule, and by `tidegate reconcile`."""

from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities.typing import LambdaContext
from tidegate.adapters.ledger import DynamoLedger
from tidegate.adapters.objects import S3Objects
from tidegate.composition import contracts, setting
from tidegate.deadline import while_time
from tidegate.reconciling import Marker
from tidegate.usecases.reconcile_arrivals import ReconcilePorts, go_on_with_round, look_below

logger = Logger()
metrics = Metrics()
BY_HAND_S = 45
"""Somebody waits for the answer, and asks again until all is done."""


@cache
def ports() -> ReconcilePorts:
    return ReconcilePorts(DynamoLedger(setting("LEDGER_TABLE")), S3Objects(), setting("LANDING_BUCKET"))


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    now = datetime.now(UTC)
    by_hand = event.get("reconcile") == "now"
    has_time = while_time(context.get_remaining_time_in_millis, at_most_s=BY_HAND_S if by_hand else None)
    if by_hand:
        begin = Marker(**event["after"]) if event.get("after") else None
        counts, after = look_below(
            str(event.get("prefix") or ""), begin, ports=ports(), contracts=contracts(), now=now, has_time=has_time
        )
        answer = asdict(counts) | {"after": asdict(after) if after else None, "is_done": after is None}
    else:
        counts, latest = go_on_with_round(ports=ports(), contracts=contracts(), now=now, has_time=has_time)
        answer = asdict(counts) | {"is_done": latest is not None and latest.is_done}
    logger.info("reconciled", extra=answer)
    metrics.add_metric(name="ArrivalsReconciled", unit="Count", value=counts.recorded)
    return answer

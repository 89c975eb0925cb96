"""Records each arrival in the ledger. Triggered by SQS with events of the landing bucket, a hundred at a time."""

import json
from datetime import UTC, datetime
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext
from tidegate.adapters.ledger import DynamoLedger
from tidegate.composition import contracts, setting
from tidegate.usecases.record_arrivals import record_event

logger = Logger()
metrics = Metrics()
# One poisonous message must not send its batch to the dead-letter queue: it fails alone, also when all of them do.
processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)


@cache
def ledger() -> DynamoLedger:
    return DynamoLedger(setting("LEDGER_TABLE"))


def record(record: SQSRecord) -> None:
    """Record one message. What it raises puts the message back, and after five times into the dead-letter queue."""
    arrival, is_new = record_event(
        json.loads(record.body),
        ledger=ledger(),
        contracts=contracts(),
        landing_bucket=setting("LANDING_BUCKET"),
        now=datetime.now(UTC),
    )
    if arrival is None:
        return
    seen = {
        "arrival": f"{arrival.object_name}#{arrival.sequencer}",
        "table": arrival.table,
        "state": arrival.state,
    }
    # A line for each of millions would cost as much as keeping them; how many there were is among the metrics.
    say = logger.debug if is_new and arrival.state == "pending" else logger.info
    say("arrival recorded" if is_new else "arrival was known", extra=seen | {"reason": arrival.reason})
    name = "ArrivalsIgnored" if arrival.state == "ignored" else "ArrivalsRecorded"
    metrics.add_metric(name=name if is_new else "ArrivalsRepeated", unit=MetricUnit.Count, value=1)


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> Any:
    return process_partial_response(event=event, record_handler=record, processor=processor, context=context)

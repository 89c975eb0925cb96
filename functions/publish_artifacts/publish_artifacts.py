"""Publishes the artifacts layer to S3, and refuses a deployment that can't work.

A custom resource: CloudFormation calls on create, update and delete.
"""

import json
import urllib.request
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from tidegate.adapters.objects import S3Objects
from tidegate.composition import artifacts, prices, setting
from tidegate.deadline import within
from tidegate.stack_limits import read_budget, read_limits
from tidegate.usecases.publish_artifacts import publish_artifacts

logger = Logger()
PHYSICAL_ID = "tidegate-artifacts"  # never another: a new one would make CloudFormation delete the old resource


@cache
def objects() -> S3Objects:
    return S3Objects()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    answer: dict[str, Any] = {"Status": "SUCCESS", "Data": {}}
    try:
        # On delete everything stays, like the buckets: a stack that is made again finds it.
        if event["RequestType"] != "Delete":
            properties = event["ResourceProperties"]
            # Now the stack is rolled back; later, dispatch would stand still for it.
            read_limits(properties["MaximumClusters"], properties["QuietHours"], properties["DailyBudget"])
            if max(read_budget(properties[name]) for name in ("DailyBudget", "MonthlyBudget")):
                prices()  # without any, all runs would seem to cost nothing
            with within(0.9 * context.get_remaining_time_in_millis() / 1000):  # the rest is for the answer
                answer["Data"] = publish_artifacts(
                    artifacts(), objects=objects(), control_bucket=setting("CONTROL_BUCKET")
                )
    except Exception as error:  # whatever it is, CloudFormation must hear of it, or it waits for its timeout
        logger.exception("artifacts are not published")
        # CloudFormation refuses answers above 4 KB.
        answer = {"Status": "FAILED", "Reason": f"{type(error).__name__}: {error}"[:1000] + " (log: publish_artifacts)"}
    respond(event, answer)


def respond(event: dict[str, Any], answer: dict[str, Any]) -> None:
    """Put the answer where CloudFormation waits for it."""
    ids = {name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")}
    body = json.dumps({"PhysicalResourceId": PHYSICAL_ID, **ids, **answer}).encode()
    # The signature of the URL covers an empty content type.
    request = urllib.request.Request(event["ResponseURL"], data=body, method="PUT", headers={"content-type": ""})
    with urllib.request.urlopen(request, timeout=30) as response:
        logger.info("answered CloudFormation", extra={"status": answer["Status"], "http_status": response.status})

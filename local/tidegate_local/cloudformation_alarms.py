"""Gap: ministack's CloudFormation refuses an alarm over a query (Metrics Insights), as over any metric math.

Here such an alarm is kept beside ministack's own, and `cloudwatch_queries.py` evaluates it.
"""

import contextvars
from collections.abc import Callable
from typing import Any

from ministack.core.responses import get_account_id, get_region
from ministack.services.cloudformation import provisioners

from tidegate_local.cloudwatch_queries import QueryAlarm, watch

TYPE = "AWS::CloudWatch::Alarm"
_alarms: dict[str, QueryAlarm] = {}


def install() -> None:
    """Take alarms with `Metrics` out of the hands of ministack; the others stay there."""
    theirs = provisioners._RESOURCE_HANDLERS[TYPE]

    def create(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
        if "Metrics" not in props:
            return theirs["create"](logical_id, props, stack_name)
        return _keep(props.get("AlarmName") or provisioners._physical_name(stack_name, logical_id, max_len=255), props)

    def update(physical_id: str, old: dict[str, Any], new: dict[str, Any], stack_name: str, **more: Any) -> Any:
        if "Metrics" in new and "Metrics" in old:
            return _keep(physical_id, new)
        return theirs["update"](physical_id, old, new, stack_name, **more)

    provisioners._RESOURCE_HANDLERS[TYPE] = {**theirs, "create": create, "update": update, "delete": _delete(theirs)}
    watch(_alarms)


def _keep(name: str, props: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """Raises UnknownQuery, which fails the deployment, for what would never be evaluated."""
    arn = f"arn:aws:cloudwatch:{get_region()}:{get_account_id()}:alarm:{name}"
    alarm = QueryAlarm(name, arn, props, contextvars.copy_context())
    alarm.query()
    _alarms[name] = alarm
    return name, {"Arn": arn}


def _delete(theirs: dict[str, Any]) -> Callable[[str, dict[str, Any]], None]:
    def delete(physical_id: str, props: dict[str, Any]) -> None:
        if _alarms.pop(physical_id, None) is None:
            theirs["delete"](physical_id, props)

    return delete

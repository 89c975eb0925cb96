"""Gap: ministack evaluates no alarm over a query. Here those of one form are: one metric, grouped by one dimension.

Each value of the dimension is a contributor, in ALARM or OK by itself; it leaves with its metrics. Source: Amazon
CloudWatch User Guide, "Create an alarm on a Metrics Insights query" and "Alarm events and EventBridge". What is to be
done about a state is pure; :func:`watch` is the thread that does it.
"""

from __future__ import annotations

import contextvars
import json
import logging
import math
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

logger = logging.getLogger("tidegate.local.alarms")

LOOK_S = 5.0

_QUERY = re.compile(
    r"SELECT (?P<statistic>MIN|MAX|AVG|SUM)\((?P<metric>\w+)\) "
    r'FROM SCHEMA\("(?P<namespace>[^"]+)", (?P<dimension>\w+)\) '
    r"GROUP BY (?P=dimension) ORDER BY (?P=statistic)\(\) (ASC|DESC)"
)
_STATISTICS: Mapping[str, Callable[[list[float]], float]] = {
    "MIN": min,
    "MAX": max,
    "SUM": sum,
    "AVG": lambda values: sum(values) / len(values),
}
_BREACHES = {
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}

Json = dict[str, Any]
Points = Iterable[tuple[float, float]]
"""Times in epoch seconds, and values."""


class UnknownQuery(ValueError):
    """A query of another form than the local cloud evaluates; the message says of which."""


@dataclass
class QueryAlarm:
    """An alarm over a query, and which of its contributors are in ALARM."""

    name: str
    arn: str
    props: Json
    context: contextvars.Context
    alarmed: set[str] = field(default_factory=set)

    def query(self) -> Mapping[str, str]:
        """The parts of its query by name. Raises UnknownQuery."""
        expression = str(self.props["Metrics"][0].get("Expression", ""))
        found = _QUERY.fullmatch(expression)
        if found is None:
            raise UnknownQuery(f"alarm {self.name}: the local cloud evaluates SELECT .. GROUP BY .., not {expression}")
        return found.groupdict()


def is_breaching(props: Json, statistic: str, points: Points, now_s: float) -> bool:
    """Whether enough of the newest complete periods breach. A period without a value doesn't."""
    period_s = int(props["Metrics"][0].get("Period", 60))
    periods = int(props.get("EvaluationPeriods", 1))
    this_period = math.floor(now_s / period_s)
    values: dict[int, list[float]] = {}
    for at_s, value in points:
        values.setdefault(math.floor(at_s / period_s), []).append(value)
    breaches = sum(
        _BREACHES[props["ComparisonOperator"]](_STATISTICS[statistic](values[number]), float(props["Threshold"]))
        for number in range(this_period - periods, this_period)
        if number in values
    )
    return bool(breaches >= int(props.get("DatapointsToAlarm", periods)))


def events_of(alarm: QueryAlarm, alarmed: set[str]) -> list[Json]:
    """PutEvents' entries for what has changed since the last look: one a contributor, one of the alarm as a whole."""
    dimension = alarm.query()["dimension"]
    entries = [
        _entry(
            alarm,
            "CloudWatch Alarm Contributor State Change",
            "ALARM" if each in alarmed else "OK",
            {"alarmContributor": {"id": each, "attributes": {dimension: each}}},
        )
        for each in sorted(alarmed ^ alarm.alarmed)
    ]
    if bool(alarmed) != bool(alarm.alarmed):
        entries.append(_entry(alarm, "CloudWatch Alarm State Change", "ALARM" if alarmed else "OK", {}))
    return entries


def watch(alarms: Mapping[str, QueryAlarm]) -> None:
    """Start the thread that evaluates `alarms`, those to come too, every few seconds."""

    def look_for_ever() -> None:
        while True:
            time.sleep(LOOK_S)
            for alarm in list(alarms.values()):
                try:
                    alarm.context.copy().run(_look, alarm)
                except Exception:
                    logger.exception("Alarm %s was not evaluated", alarm.name)

    threading.Thread(target=look_for_ever, name="query-alarms", daemon=True).start()


def _look(alarm: QueryAlarm) -> None:
    """Evaluate an alarm and send its events; must run in the context that it was made in."""
    from ministack.services import cloudwatch, eventbridge  # noqa: PLC0415 - ministack starts services late

    query = alarm.query()
    series: dict[str, list[tuple[float, float]]] = {}
    for (namespace, metric, _), points in list(cloudwatch._metrics.items()):
        if (namespace, metric) == (query["namespace"], query["metric"]):
            for point in list(points):
                if list(point["Dimensions"]) == [query["dimension"]]:
                    value_of = series.setdefault(point["Dimensions"][query["dimension"]], [])
                    value_of.append((point["Timestamp"], point["Value"]))
    now_s = time.time()
    alarmed = {each for each, points in series.items() if is_breaching(alarm.props, query["statistic"], points, now_s)}
    entries = events_of(alarm, alarmed)
    if bool(alarmed) != bool(alarm.alarmed):
        states = ("ALARM", "OK") if alarm.alarmed else ("OK", "ALARM")
        cloudwatch._record_history(alarm.name, *states, f"{', '.join(sorted(alarmed)) or 'no contributor'} in ALARM")
    alarm.alarmed = alarmed
    if entries:
        eventbridge._put_events({"Entries": entries}, allow_aws_source=True)


def _entry(alarm: QueryAlarm, detail_type: str, state: str, more: Json) -> Json:
    metrics: Sequence[Json] = [
        {"id": each["Id"], "expression": each["Expression"], "returnData": each.get("ReturnData", True)}
        for each in alarm.props["Metrics"]
    ]
    detail = {
        "alarmName": alarm.name,
        "configuration": {"description": alarm.props.get("AlarmDescription", ""), "metrics": metrics},
        "state": {"value": state, "reason": f"{alarm.props['ComparisonOperator']} {alarm.props['Threshold']}"},
        **more,
    }
    return {
        "Source": "aws.cloudwatch",
        "DetailType": detail_type,
        "Detail": json.dumps(detail),
        "Resources": [alarm.arn],
    }

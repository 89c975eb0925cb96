"""Alarms over a query: each value of its dimension by itself, and events as CloudWatch sends them."""

from __future__ import annotations

import contextvars
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from clouds import ROOT
from tidegate_local.cloudwatch_queries import QueryAlarm, UnknownQuery, events_of, is_breaching

NOW_S = 1_000_000 * 60.0
PENDING = (
    'SELECT MAX(ContainerPendingRatio) FROM SCHEMA("AWS/ElasticMapReduce", JobFlowId) '
    "GROUP BY JobFlowId ORDER BY MAX() DESC"
)


def an_alarm(expression: str = PENDING, **changes: Any) -> QueryAlarm:
    props = {
        "Metrics": [{"Id": "clusters", "Expression": expression, "Period": 60, "ReturnData": True}],
        "EvaluationPeriods": 2,
        "DatapointsToAlarm": 2,
        "Threshold": 0.5,
        "ComparisonOperator": "GreaterThanThreshold",
        **changes,
    }
    return QueryAlarm("tidegate-clusters-queue-containers", "arn", props, contextvars.copy_context())


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([(-110, 2.0), (-50, 0.7)], True),
        ([(-110, 2.0), (-50, 0.5)], False),
        ([(-50, 2.0)], False),
        ([], False),
        # The minute that has just begun doesn't count, nor does what is too old.
        ([(-50, 2.0), (0, 2.0)], False),
        ([(-170, 2.0), (-50, 2.0)], False),
        # Of a minute the largest value counts, for MAX.
        ([(-110, 0.1), (-80, 2.0), (-50, 2.0)], True),
    ],
)
def test_enough_complete_periods_have_to_breach(points: list[tuple[float, float]], *, expected: bool) -> None:
    alarm = an_alarm()
    found = is_breaching(alarm.props, alarm.query()["statistic"], [(NOW_S + at, value) for at, value in points], NOW_S)
    assert found is expected


def test_a_contributor_has_an_event_of_its_own_and_the_alarm_one_for_all() -> None:
    alarm = an_alarm()
    # WHEN two clusters breach
    entries = events_of(alarm, {"j-1", "j-2"})
    assert [each["DetailType"] for each in entries] == [
        "CloudWatch Alarm Contributor State Change",
        "CloudWatch Alarm Contributor State Change",
        "CloudWatch Alarm State Change",
    ]
    detail = json.loads(entries[0]["Detail"])
    assert detail["alarmContributor"]["attributes"] == {"JobFlowId": "j-1"}
    assert detail["state"]["value"] == "ALARM"
    # WHEN one of them no longer does THEN the alarm as a whole is as it was
    alarm.alarmed = {"j-1", "j-2"}
    (entry,) = events_of(alarm, {"j-2"})
    assert json.loads(entry["Detail"])["state"]["value"] == "OK"
    # WHEN nothing has changed
    assert events_of(alarm, {"j-1", "j-2"}) == []


def test_the_event_is_as_the_golden_one_is() -> None:
    golden = json.loads(Path(ROOT / "events" / "scale_cluster.contributor.json").read_text(encoding="utf-8"))
    entry = events_of(an_alarm(), {"j-1"})[0]
    detail = json.loads(entry["Detail"])
    assert (entry["DetailType"], entry["Source"]) == (golden["detail-type"], golden["source"])
    assert set(detail) <= set(golden["detail"])
    assert set(detail["alarmContributor"]) == set(golden["detail"]["alarmContributor"])


def test_what_can_not_be_evaluated_is_refused() -> None:
    with pytest.raises(UnknownQuery, match=r"SUM\(a\) / SUM\(b\)"):
        an_alarm("SUM(a) / SUM(b)").query()


def test_every_query_of_the_template_can_be_evaluated() -> None:
    class Loader(yaml.SafeLoader):
        """CloudFormation's tags are of no interest here."""

    Loader.add_multi_constructor("!", lambda loader, suffix, node: suffix)
    template = yaml.load((ROOT / "template.yaml").read_text(encoding="utf-8"), Loader)
    over_queries = [
        each["Properties"]
        for each in template["Resources"].values()
        if each["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in each["Properties"]
    ]
    assert len(over_queries) >= 4
    for props in over_queries:
        assert QueryAlarm("a", "arn", props, contextvars.copy_context()).query()["dimension"] == "JobFlowId"

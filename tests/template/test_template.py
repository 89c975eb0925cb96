"""The template as data: what holds for every resource of a kind."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

OPERATIONS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
Resources = dict[str, dict[str, Any]]


def of_type(resources: Resources, kind: str) -> Resources:
    found = {name: resource["Properties"] for name, resource in resources.items() if resource["Type"] == kind}
    assert found, kind
    return found


def statements(resources: Resources) -> list[tuple[str, dict[str, Any]]]:
    """Every policy statement of the template that allows something to a role, with its resource's name."""
    found: list[tuple[str, dict[str, Any]]] = []
    for name, resource in resources.items():
        for policy in resource.get("Properties", {}).get("Policies", []):
            given = policy["Fn::If"][1] if "Fn::If" in policy else policy
            document = given.get("PolicyDocument", given)
            found += [(name, statement) for statement in document["Statement"]]
    return found


def test_what_holds_data_outlives_the_stack(resources: Resources) -> None:
    for name in ("LandingBucket", "LakeBucket", "ControlBucket", "Ledger"):
        assert resources[name]["DeletionPolicy"] == "Retain"
        assert resources[name]["UpdateReplacePolicy"] == "Retain"


def test_the_landing_bucket_is_versioned_and_tells_eventbridge(resources: Resources) -> None:
    bucket = resources["LandingBucket"]["Properties"]
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["NotificationConfiguration"]["EventBridgeConfiguration"] == {"EventBridgeEnabled": True}


def test_every_queue_is_tls_only_and_ends_where_things_are_kept(resources: Resources) -> None:
    queues = of_type(resources, "AWS::SQS::Queue")
    tls_only = resources["QueuePolicy"]["Properties"]["PolicyDocument"]["Statement"][-1]
    guarded = {resource["Fn::GetAtt"].split(".")[0] for resource in tls_only["Resource"]}
    assert guarded == set(queues)
    ends = {
        queue["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"]
        for queue in queues.values()
        if "RedrivePolicy" in queue
    }
    for name, queue in queues.items():
        assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600, name
    watched = json.dumps(of_type(resources, "AWS::CloudWatch::Alarm"))
    for end in [*ends, *(each["Arn"]["Fn::GetAtt"] for each in rule_dead_letters(resources).values())]:
        assert f"{end.removesuffix('.Arn')}.QueueName" in watched, f"nobody would see what ends in {end}"


def rule_dead_letters(resources: Resources) -> dict[str, Any]:
    """Where each target of each event rule, written or made by SAM, leaves what it can't deliver."""
    found = {
        name: target["DeadLetterConfig"]
        for name, rule in of_type(resources, "AWS::Events::Rule").items()
        for target in rule["Targets"]
    }
    for name, function in of_type(resources, "AWS::Serverless::Function").items():
        for event, trigger in function.get("Events", {}).items():
            if trigger["Type"] == "EventBridgeRule":
                found[f"{name}{event}"] = trigger["Properties"]["DeadLetterConfig"]
    return found


def test_every_event_rule_has_a_queue_for_what_it_cant_deliver_and_may_write_to_it(resources: Resources) -> None:
    allowed = [
        (resource, rule)
        for statement in resources["QueuePolicy"]["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
        for resource in many(statement["Resource"])
        for rule in many(statement["Condition"]["ArnEquals"]["aws:SourceArn"])
    ]
    ends = rule_dead_letters(resources)
    assert len(ends) == 4
    for rule, end in ends.items():
        assert (end["Arn"], {"Fn::GetAtt": f"{rule}.Arn"}) in allowed, rule


def test_every_schedule_is_missed_by_an_alarm_when_it_stops(resources: Resources) -> None:
    # Issue: "the dispatch tick is not retried; its absence is alarmed"
    missed = {
        alarm["Dimensions"][0]["Value"]["Ref"]
        for alarm in of_type(resources, "AWS::CloudWatch::Alarm").values()
        if alarm.get("MetricName") == "Invocations" and alarm["TreatMissingData"] == "breaching"
    }
    scheduled = {
        name
        for name, function in of_type(resources, "AWS::Serverless::Function").items()
        for trigger in function.get("Events", {}).values()
        if trigger["Type"] == "ScheduleV2"
    }
    assert scheduled == missed


def test_events_can_be_moved_back_from_their_dead_letter_queue(resources: Resources) -> None:
    # StartMessageMoveTask: "limited to supporting message redrive from queues that are configured as dead-letter queues
    # of other Amazon SQS queues only". So what EventBridge can't deliver goes to such a one.
    end = resources["ArrivalsQueue"]["Properties"]["RedrivePolicy"]["deadLetterTargetArn"]
    assert rule_dead_letters(resources)["ArrivalsRule"]["Arn"] == end
    # AND no queue refuses to be one
    assert not [name for name, queue in of_type(resources, "AWS::SQS::Queue").items() if "RedriveAllowPolicy" in queue]


def many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_every_alarm_has_its_page(resources: Resources) -> None:
    pages = re.findall(r"^## (\w+Alarm)$", OPERATIONS.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(pages) == sorted(of_type(resources, "AWS::CloudWatch::Alarm"))


def test_the_queue_waits_six_times_its_readers_timeout(resources: Resources, template: dict[str, Any]) -> None:
    timeout_s = template["Globals"]["Function"]["Timeout"]
    assert resources["ArrivalsQueue"]["Properties"]["VisibilityTimeout"] == 6 * timeout_s


def test_every_function_is_named_after_what_it_does_and_keeps_its_logs_for_a_while(
    resources: Resources,
) -> None:
    log_groups = of_type(resources, "AWS::Logs::LogGroup")
    assert all("RetentionInDays" in group for group in log_groups.values())
    for name, function in of_type(resources, "AWS::Serverless::Function").items():
        module = function["Handler"].removesuffix(".handler")
        assert function["CodeUri"] == f"functions/{module}/"
        assert name == "".join(word.title() for word in module.split("_")) + "Function"
        assert function["LoggingConfig"]["LogGroup"]["Ref"] in log_groups
        assert function["AutoPublishAliasAllProperties"] is True, "a new layer must make a new version"
        assert len(function["Description"]) > 30


def test_a_new_layer_makes_new_versions_of_its_functions(resources: Resources) -> None:
    for name, layer in of_type(resources, "AWS::Serverless::LayerVersion").items():
        assert layer["PublishLambdaVersion"] is True, name
        assert layer["RetentionPolicy"] == "Retain", f"{name}: a version of a function still needs the old one"


def test_the_machine_calls_versions_of_functions(resources: Resources) -> None:
    given = resources["RunStateMachine"]["Properties"]["DefinitionSubstitutions"]
    assert {name: value["Ref"] for name, value in given.items() if name.endswith("Function")} == {
        "PlanRunFunction": "PlanRunFunction.Version",
        "SettleRunFunction": "SettleRunFunction.Version",
    }


def test_functions_run_on_graviton(template: dict[str, Any]) -> None:
    assert template["Globals"]["Function"]["Architectures"] == ["arm64"]


def test_every_statement_says_in_its_name_what_it_is_for(resources: Resources) -> None:
    for name, statement in statements(resources):
        if name != "ClusterServiceRole":
            assert re.fullmatch(r"[A-Z][A-Za-z]{3,}", statement["Sid"]), (name, statement)
        for action in statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]:
            assert "*" not in action, f"{name} allows {action}"


def test_a_star_resource_is_explained_where_it_stands(template_text: str) -> None:
    lines = template_text.splitlines()
    stars = [number for number, line in enumerate(lines) if re.search(r'Resource: "\*"', line)]
    assert stars
    for number in stars:
        start = max(back for back in range(number) if "- Sid:" in lines[back])
        statement = "\n".join(lines[start:number])
        assert "no resource-level permissions" in statement, f"line {number + 1}: {statement}"


def test_every_parameter_explains_itself_and_has_a_default(template: dict[str, Any]) -> None:
    for name, parameter in template["Parameters"].items():
        assert len(parameter["Description"]) > 30, name
        assert "Default" in parameter, name
        constraints = {"AllowedPattern", "AllowedValues", "MinValue"}
        assert constraints & set(parameter), f"{name}: anything goes"


def test_every_alarm_says_what_to_do_and_reaches_somebody(resources: Resources) -> None:
    for name, alarm in of_type(resources, "AWS::CloudWatch::Alarm").items():
        assert len(alarm["AlarmDescription"]) > 40, name
        # An alarm that sees all clusters of the account calls no person: scale_cluster hears of it.
        is_for_scaling = "Metrics" in alarm
        assert ("AlarmActions" in alarm) != is_for_scaling, name
        assert is_for_scaling or alarm["AlarmActions"] == [{"Ref": "AlarmTopic"}], name
        assert "TreatMissingData" in alarm, name


def test_the_stack_says_where_its_parts_are(template: dict[str, Any]) -> None:
    assert {"LandingBucket", "LakeBucket", "ControlBucket", "LedgerTable", "StateMachineArn"} <= set(
        template["Outputs"]
    )


@pytest.mark.parametrize("attribute", ["pk", "sk", "pending_pk", "pending_sk"])
def test_the_ledger_is_recoverable_and_has_a_sparse_index(attribute: str, resources: Resources) -> None:
    ledger = resources["Ledger"]["Properties"]
    assert ledger["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert ledger["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    keys = [*ledger["KeySchema"], *ledger["GlobalSecondaryIndexes"][0]["KeySchema"]]
    assert attribute in {key["AttributeName"] for key in keys}

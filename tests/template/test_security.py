"""What keeps data to those whom it concerns, for every resource, with AWS's keys and with a key of one's own."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fakes import policies, template
from tidegate.sizing import parse_cluster_name, size_cluster

KEY = "arn:aws:kms:us-east-1:123456789012:key/0a1b2c3d"
OURS = "123456789012"

Resources = dict[str, dict[str, Any]]


@pytest.fixture(params=["", KEY], ids=["AWS's keys", "a key of one's own"])
def key(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stack(key: str) -> Resources:
    """The template's resources as the parameters make them."""
    return template.resolved(KmsKeyArn=key)


def of_type(stack: Resources, kind: str) -> Resources:
    found = {name: each.get("Properties", {}) for name, each in stack.items() if each["Type"] == kind}
    assert found, kind
    return found


def statements(stack: Resources) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every statement of every policy document, wherever it is, with the name of its resource."""

    def inside(value: Any) -> Iterator[dict[str, Any]]:
        if isinstance(value, dict):
            if "Effect" in value:
                yield value
            for each in value.values():
                yield from inside(each)
        elif isinstance(value, list):
            for each in value:
                yield from inside(each)

    for name, resource in stack.items():
        yield from ((name, statement) for statement in inside(resource.get("Properties", {})))


# ---- At rest


def test_every_bucket_is_encrypted(stack: Resources, key: str) -> None:
    for name, bucket in of_type(stack, "AWS::S3::Bucket").items():
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        wanted = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key} if key else {"SSEAlgorithm": "AES256"}
        assert rule["ServerSideEncryptionByDefault"] == wanted, name
        assert rule.get("BucketKeyEnabled", False) is bool(key), name


def test_every_queue_is_encrypted(stack: Resources, key: str) -> None:
    for name, queue in of_type(stack, "AWS::SQS::Queue").items():
        # SQS takes one of the two, never both.
        assert queue["SqsManagedSseEnabled"] is not bool(key), name
        assert queue.get("KmsMasterKeyId", "") == key, name


@pytest.mark.parametrize(
    ("kind", "attribute"), [("AWS::SNS::Topic", "KmsMasterKeyId"), ("AWS::Logs::LogGroup", "KmsKeyId")]
)
def test_every_topic_and_log_group_takes_the_key(stack: Resources, key: str, kind: str, attribute: str) -> None:
    for name, each in of_type(stack, kind).items():
        assert each.get(attribute, "") == key, name


def test_every_table_is_encrypted(stack: Resources, key: str) -> None:
    for name, table in of_type(stack, "AWS::DynamoDB::Table").items():
        more = {"SSEType": "KMS", "KMSMasterKeyId": key} if key else {}
        assert table["SSESpecification"] == {"SSEEnabled": True, **more}, name


def test_clusters_encrypt_what_they_write_and_guard_their_credentials(stack: Resources, key: str) -> None:
    (found,) = of_type(stack, "AWS::EMR::SecurityConfiguration").values()
    at_rest = found["SecurityConfiguration"]["EncryptionConfiguration"]["AtRestEncryptionConfiguration"]
    if key:
        assert at_rest["S3EncryptionConfiguration"] == {"EncryptionMode": "SSE-KMS", "AwsKmsKey": key}
        disks = {"EncryptionKeyProviderType": "AwsKms", "AwsKmsKey": key, "EnableEbsEncryption": True}
        assert at_rest["LocalDiskEncryptionConfiguration"] == disks
    else:
        assert at_rest == {"S3EncryptionConfiguration": {"EncryptionMode": "SSE-S3"}}
    metadata = found["SecurityConfiguration"]["InstanceMetadataServiceConfiguration"]
    assert metadata == {"MinimumInstanceMetadataServiceVersion": 2, "HttpPutResponseHopLimit": 1}


def test_a_key_changes_nothing_but_encryption_and_the_right_to_use_it(key: str) -> None:
    # GIVEN the stack with and without a key
    plain, keyed = template.resolved(), template.resolved(KmsKeyArn=KEY)
    assert plain.keys() == keyed.keys()
    for name in plain:
        if "Policies" in plain[name].get("Properties", {}):
            more = set(policies.statements_of(name, KmsKeyArn=KEY)) - set(policies.statements_of(name))
            # THEN nothing but the key itself is granted for it
            assert {resource for grant in more for resource in grant.resources} <= {KEY}, name


# What a service asks of the key for its caller: DynamoDB and SQS open what is closed, S3 makes data keys, too, for
# what is written.
SERVICES = {"dynamodb": {"kms:Decrypt"}, "sqs": {"kms:Decrypt"}, "s3": {"kms:Decrypt", "kms:GenerateDataKey"}}


@pytest.mark.parametrize("function", sorted(policies.grants()))
def test_a_function_may_use_the_key_through_the_services_that_it_calls(function: str) -> None:
    granted = policies.grants(KmsKeyArn=KEY)[function]
    # A bucket's listing is not encrypted with the key of its objects.
    actions = {action for grant in policies.grants()[function] for action in grant.actions}
    called = {action.partition(":")[0] for action in actions if not action.startswith("s3:List")}
    wanted = called & set(SERVICES) | ({"sqs"} if reads_a_queue(function) else set())
    (grant,) = [grant for grant in granted if KEY in grant.resources]
    needed = set().union(*(SERVICES[service] for service in wanted))
    assert set(grant.actions) == needed - ({"kms:GenerateDataKey"} if "s3:PutObject" not in actions else set())
    through = tuple(f"{name}.us-east-1.amazonaws.com" for name in sorted(wanted))
    assert grant.conditions == (("StringEquals", "kms:ViaService", through),)


def reads_a_queue(function: str) -> bool:
    for resource in template.resolved().values():
        properties = resource.get("Properties", {})
        if properties.get("CodeUri") == f"functions/{function}/":
            return any(event["Type"] == "SQS" for event in properties.get("Events", {}).values())
    raise AssertionError(function)


# ---- On the way


@pytest.mark.parametrize(
    ("kind", "policy", "names"),
    [
        ("AWS::S3::Bucket", "AWS::S3::BucketPolicy", "Bucket"),
        ("AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "Queues"),
        ("AWS::SNS::Topic", "AWS::SNS::TopicPolicy", "Topics"),
    ],
)
def test_nothing_is_reached_without_tls(stack: Resources, kind: str, policy: str, names: str) -> None:
    guarded: set[str] = set()
    for each in of_type(stack, policy).values():
        for statement in each["PolicyDocument"]["Statement"]:
            if statement["Effect"] == "Deny":
                assert statement["Principal"] == "*"
                assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
                about = each[names] if isinstance(each[names], list) else [each[names]]
                named = str(statement["Resource"])
                guarded |= {name for name in about if name.rpartition(":")[2] in named}
    made = of_type(stack, kind)
    assert {name.rpartition(":")[2] for name in guarded} == {template.NAMES.get(name, name) for name in made}


def test_a_bucket_is_denied_whole(stack: Resources) -> None:
    for each in of_type(stack, "AWS::S3::BucketPolicy").values():
        (statement,) = [one for one in each["PolicyDocument"]["Statement"] if one["Effect"] == "Deny"]
        bucket = f"arn:aws:s3:::{each['Bucket']}"
        assert (statement["Action"], statement["Resource"]) == ("s3:*", [bucket, f"{bucket}/*"])


def test_nothing_is_public(stack: Resources) -> None:
    for name, bucket in of_type(stack, "AWS::S3::Bucket").items():
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}, name
        assert len(bucket["PublicAccessBlockConfiguration"]) == 4, name
        assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}], name


# ---- Who may do what


def test_everybody_is_only_ever_denied_something(stack: Resources) -> None:
    for name, statement in statements(stack):
        if "Principal" not in statement:
            continue
        if statement["Effect"] == "Deny":
            continue
        assert "*" not in str(statement["Principal"]), name
        assert set(statement["Principal"]) == {"Service"}, f"{name} trusts more than services of AWS"


def test_a_service_acts_for_this_account_alone(stack: Resources) -> None:
    # A service of AWS that is talked into acting by another account must not get at ours ("confused deputy").
    for name, statement in statements(stack):
        if "Principal" in statement and statement["Effect"] == "Allow":
            if statement["Principal"]["Service"] == "ec2.amazonaws.com":
                continue  # EC2 gives a role to instances of its own account alone, and knows no such condition
            conditions = str(statement.get("Condition", {}))
            assert "aws:SourceAccount" in conditions or "aws:SourceArn" in conditions, name


def test_only_what_knows_no_resources_is_granted_on_all(stack: Resources) -> None:
    # Source: Service Authorization Reference, actions without resource types.
    without = {"elasticmapreduce:ListClusters", "cloudwatch:GetMetricData", "xray:", "logs:"}
    for name, statement in statements(stack):
        if statement["Effect"] == "Allow" and "Principal" not in statement:
            actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
            resources = [statement["Resource"]] if isinstance(statement["Resource"], str) else statement["Resource"]
            for resource in resources:
                if resource == "*":
                    assert all(any(action.startswith(each) for each in without) for action in actions), (name, actions)
                else:
                    assert ":" in resource, (name, resource)
                    assert not re.search(r"^arn:aws:[a-z0-9]+:[^:]*:[^:]*:\*$", resource), (name, resource)


def test_roles_are_handed_to_emr_and_its_instances_alone(stack: Resources) -> None:
    handed = [(name, one) for name, one in statements(stack) if "iam:PassRole" in one["Action"]]
    assert {name for name, _ in handed} == {"RunStateMachine", "ClusterServiceRole"}
    for name, statement in handed:
        assert statement["Resource"] != "*", name
        (condition,) = statement["Condition"].values()
        assert set(condition) == {"iam:PassedToService"}, name


# ---- EMR's own roles


def test_emr_works_on_tagged_resources_alone(stack: Resources) -> None:
    # The managed policy v2 acts only on what carries its tag: hence also the cluster's own tags.
    role = stack["ClusterServiceRole"]["Properties"]
    assert role["ManagedPolicyArns"] == ["arn:aws:iam::aws:policy/service-role/AmazonEMRServicePolicy_v2"]
    plan = size_cluster("tidegate", "run-1", 0, 1, 1)
    tags = {each["Key"]: each["Value"] for each in plan.tags}
    assert tags["for-use-with-amazon-emr-managed-policies"] == "true"
    assert tags["tidegate:stack"] == "tidegate"


def test_instances_have_a_role_of_their_own_with_nothing_of_aws_in_it(stack: Resources) -> None:
    role = stack["ClusterInstanceRole"]["Properties"]
    assert "ManagedPolicyArns" not in role
    assert stack["ClusterInstanceProfile"]["Properties"]["Roles"] == ["ClusterInstanceRole"]
    granted = {action for grant in policies.statements_of("ClusterInstanceRole") for action in grant.actions}
    assert {action.partition(":")[0] for action in granted} == {"s3"}


# ---- The reaper


def test_the_reaper_hears_of_clusters_by_the_stacks_own_name(stack: Resources) -> None:
    events = stack["ReapClustersFunction"]["Properties"]["Events"]
    (pattern,) = [each["Properties"]["Pattern"] for each in events.values() if "aws.emr" in str(each)]
    (prefix,) = (each["prefix"] for each in pattern["detail"]["name"])
    assert prefix == "tidegate-"
    # A name with the prefix may still be that of stack `tidegate-dev`: then the tag decides, in code and in IAM.
    assert parse_cluster_name(f"{prefix}run-1-0-0", "tidegate") is not None
    (of_executions,) = [each["Properties"]["Pattern"] for each in events.values() if "aws.states" in str(each)]
    assert of_executions["detail"]["stateMachineArn"] == [f"arn:aws:states:us-east-1:{OURS}:stateMachine:tidegate-run"]

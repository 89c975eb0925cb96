"""The deployed system on a local cloud, as an operator and a source of files see it."""

import json
import time
from collections.abc import Callable
from typing import Any

from boto3.dynamodb.types import TypeDeserializer
from clouds import Cloud
from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import TableNotFoundError


def wait_for(what: str, look: Callable[[], Any], limit_s: float = 90) -> Any:
    limit = time.monotonic() + limit_s
    while not (found := look()):
        assert time.monotonic() < limit, f"{what}: not within {limit_s} s"
        time.sleep(0.2)
    return found


class System:
    """The deployed system as an operator and a source of files see it."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.s3, self.steps = cloud.client("s3"), cloud.client("stepfunctions")
        self.emr, self.lambdas = cloud.client("emr"), cloud.client("lambda")
        self.ledger = cloud.client("dynamodb")

    def land(self, key: str, *lines: str) -> None:
        body = "".join(f"{line}\n" for line in lines).encode()
        self.s3.put_object(Bucket=self.cloud.fields.landing_bucket, Key=key, Body=body)

    def arrivals(self, key: str) -> list[dict[str, str]]:
        """What the ledger has of a key, oldest version first."""
        found = self.ledger.query(
            TableName=self.cloud.fields.ledger_table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": f"arrival#{self.cloud.fields.landing_bucket}/{key}"}},
        )
        items = [{name: next(iter(value.values())) for name, value in item.items()} for item in found["Items"]]
        return [item for item in items if item["kind"] == "arrival"]

    def wait_recorded(self, key: str, versions: int = 1) -> None:
        wait_for(f"{key} is recorded", lambda: len(self.arrivals(key)) == versions)

    def dispatch(self) -> str:
        """Dispatch now; the ARN of the execution that it started."""
        answer = self.lambdas.invoke(
            FunctionName=self.cloud.fields.dispatch_function, Payload=json.dumps({"dispatch": "now"})
        )
        said = json.loads(answer["Payload"].read())
        assert said.get("run_id"), said
        return self.execution_of(said["run_id"])

    def execution_of(self, run_id: str) -> str:
        """The ARN of the first execution of a run that dispatch has started."""
        return f"{self.cloud.fields.state_machine_arn.replace(':stateMachine:', ':execution:')}:{run_id}-1"

    def end_of(self, execution_arn: str) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            execution: dict[str, Any] = self.steps.describe_execution(executionArn=execution_arn)
            return execution if execution["status"] != "RUNNING" else None

        execution: dict[str, Any] = wait_for("the run has ended", ended, 180)
        return execution

    def table(self, name: str) -> DeltaTable:
        fields = self.cloud.fields
        options = {
            "AWS_ENDPOINT_URL": fields.endpoint_url,
            "AWS_REGION": fields.region,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_ALLOW_HTTP": "true",
        }
        return DeltaTable(f"s3://{fields.lake_bucket}/{name}", storage_options=options)

    def rows(self, name: str, *columns: str) -> list[tuple[Any, ...]]:
        """A table's rows, read by delta-rs: an engine that is not the one that wrote them."""
        reader = QueryBuilder().register(name, self.table(name))
        found = reader.execute(f"SELECT {', '.join(columns)} FROM {name}").read_all()
        return sorted(zip(*(found[column].to_pylist() for column in columns), strict=True))

    def batches_of(self, name: str) -> list[int]:
        """The batches that are committed to a table, oldest first; none if there is no table yet."""
        try:
            history = self.table(name).history()
        except TableNotFoundError:
            return []
        commits = [json.loads(each.get("userMetadata", "{}")) for each in reversed(history)]
        return [each["tidegate"]["batch"] for each in commits if each]

    def table_item(self, name: str) -> dict[str, Any]:
        """What the ledger has of a table."""
        key = {"pk": {"S": f"table#{name}"}, "sk": {"S": "table"}}
        item = self.ledger.get_item(TableName=self.cloud.fields.ledger_table, Key=key).get("Item", {})
        return {name: TypeDeserializer().deserialize(value) for name, value in item.items()}

    def running_steps(self) -> list[str]:
        """Steps of which a driver is at work."""
        return [
            step["Name"]
            for cluster in self.emr.list_clusters(ClusterStates=["RUNNING"])["Clusters"]
            for step in self.emr.list_steps(ClusterId=cluster["Id"], StepStates=["RUNNING"])["Steps"]
        ]

    def live_clusters(self) -> list[str]:
        states = ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING", "TERMINATING"]
        return [each["Name"] for each in self.emr.list_clusters(ClusterStates=states)["Clusters"]]

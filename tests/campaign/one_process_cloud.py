"""A stack in one process: the real handlers and the real machine definition, on the local cloud without a server.

boto3's requests go straight into ministack's services, Lambda is a call of the handler, SQS a list, and each step runs
in a thread. So a whole run takes a fraction of a second, and each call that a handler makes can be seen, failed, or be
the last one that its process makes. For worker processes of their own: what is patched here stays patched.
"""

from __future__ import annotations

import contextvars
import importlib
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from types import FrameType, ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[2]
STACK = "tidegate"
REGION, ACCOUNT = "us-east-1", "000000000000"
LEDGER, LANDING, LAKE, CONTROL = "ledger", "tidegate-landing", "tidegate-lake", "tidegate-control"
DATABASE = "tidegate"
MACHINE_ARN = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{STACK}-run"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    # Never connected to. A loopback address keeps S3's requests in path style, as the local cloud has them.
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "STACK_NAME": STACK,
    "LEDGER_TABLE": LEDGER,
    "MAXIMUM_CLUSTERS": "4",
    "QUIET_HOURS": "",
    "DAILY_BUDGET": "1000",
    "MONTHLY_BUDGET": "1000",
    "STATE_MACHINE_ARN": MACHINE_ARN,
    "LANDING_BUCKET": LANDING,
    "LAKE_BUCKET": LAKE,
    "CONTROL_BUCKET": CONTROL,
    "CATALOG_DATABASE": DATABASE,
    "POWERTOOLS_SERVICE_NAME": "tidegate",
    "POWERTOOLS_METRICS_NAMESPACE": "Tidegate",
    "POWERTOOLS_LOG_LEVEL": "CRITICAL",
    "SFN_WAIT_SCALE": "0",
    "LOG_LEVEL": "CRITICAL",
    # ministack's copies of its own state, and its containers.
    "PERSIST_STATE": "0",
    "S3_PERSIST": "0",
    "LAMBDA_EXECUTOR": "local",
}
MAXIMUM_RECEIVES = 5
"""As the template has it: after that a message goes to the dead-letter queue."""

Json = dict[str, Any]


class Killed(BaseException):
    """The process is gone. Not an Exception: nothing may catch it and live on."""


class FunctionFailed(Exception):
    """What Lambda says of an invocation that did not return."""

    def __init__(self, error_type: str, message: str) -> None:
        super().__init__(f"{error_type}: {message}")
        self.error_type, self.message = error_type, message


@dataclass
class Life:
    """One life of a process that makes calls: an invocation, or a step. Its name is that of the function and action."""

    name: str
    is_over: bool = False

    def end(self) -> None:
        self.is_over = True

    def check(self) -> None:
        """Raise Killed if it is over."""
        if self.is_over:
            raise Killed


@dataclass(frozen=True)
class Task:
    """A Task state's call: of which execution, in which state, of what resource."""

    execution_arn: str
    state: str
    resource: str
    make: Callable[[str], Any]
    arguments: Any = None
    """What is called with; for a function, its name and version."""

    def call(self, resource: str | None = None) -> Any:
        return self.make(self.resource if resource is None else resource)

    def begin(self) -> Any:
        """Make the call, but don't wait for what it began."""
        return self.make(self.resource.removesuffix(".sync"))


Send = Callable[[], Any]
Interceptor = Callable[[Life, str, Send], Any]
"""Decides what becomes of a call: (who makes it, `service.Operation`, how to make it)."""

_life: contextvars.ContextVar[Life | None] = contextvars.ContextVar("campaign_life", default=None)


def this_life() -> Life:
    """Whose call this is."""
    life = _life.get()
    assert life is not None
    return life


@contextmanager
def living(life: Life | None) -> Iterator[None]:
    """Whatever is called in here, in threads too, is called by this life. None is the world, which nothing strikes."""
    token = _life.set(life)
    try:
        yield
    finally:
        _life.reset(token)


def life_of_call() -> str:
    """Who makes the call that is under way; "" if it is the world."""
    life = _life.get()
    return life.name if life is not None else ""


_task: contextvars.ContextVar[tuple[str, str]] = contextvars.ContextVar("campaign_task")
_loses_answer: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("campaign_loses_answer", default=None)


def execution_error(name: str, cause: str) -> Exception:
    """What fails a Task with that error."""
    from ministack.services import stepfunctions

    error: Exception = stepfunctions._ExecutionError(name, cause)
    return error


@contextmanager
def lost_answer() -> Iterator[None]:
    """The next request takes effect, and its answer is lost: the SDK sends it again."""
    token = _loses_answer.set(["once"])
    try:
        yield
    finally:
        _loses_answer.reset(token)


class OneProcessCloud:
    """The stack. One a process; `reset` empties it for the next scenario."""

    def __init__(self, folder: Path, contracts_document: str) -> None:
        _set_up_process(folder, contracts_document)
        self._layer = folder / "layers"
        from tidegate_local import settings
        from tidegate_local.emr import engine as emr_engine

        here = replace(settings.current(), state_dir=folder, wait_scale=0.0, idle_floor_s=3600.0)
        emr_engine.StepProcess = self._step_process  # type: ignore[misc, assignment]
        self.engine = _install_gaps(here)
        self.engine._publish = self._keep_event
        self.faults_file: Path = here.faults_file
        self.faults_file.parent.mkdir(parents=True, exist_ok=True)
        self.functions = Functions()
        self.intercept: Interceptor = lambda _life, _name, send: send()
        self.intercept_task: Callable[[Task], Any] = Task.call
        self.step: Callable[[list[str]], int] = lambda _arguments: 0
        self._route_calls()
        self._route_lambda()
        self._route_tasks()
        self.s3, self.sqs, self.dynamodb, self.steps, self.emr, self.glue = (_client(name) for name in (
            "s3", "sqs", "dynamodb", "stepfunctions", "emr", "glue"))  # fmt: skip
        self.queue: list[Message] = []
        self.dead_letters: list[Message] = []
        self.landed: list[Landed] = []
        self.events: list[Json] = []
        self.lives: list[Life] = []
        self.called_tasks: list[Task] = []
        """A function's Task from before its call until its answer; the execution may be over meanwhile."""
        self.failures: list[str] = []

    # ---- The stack

    def reset(self, contracts_document: str | None = None) -> None:
        """A new stack, with nothing in it. Whatever still lives of the old one dies."""
        from ministack.services import cloudwatch, dynamodb, eventbridge, glue, s3, stepfunctions

        self.intercept, self.intercept_task = (lambda _life, _name, send: send()), Task.call

        for life in self.lives:
            life.end()
        for execution in list(stepfunctions._executions.values()):
            if execution["status"] == "RUNNING":
                stepfunctions._stop_execution({"executionArn": execution["executionArn"]})
        self.engine.reset()
        for service in (dynamodb, s3, stepfunctions, eventbridge, glue, cloudwatch):
            service.reset()
        for kept in (self.queue, self.dead_letters, self.landed, self.events, self.lives, self.failures):
            kept.clear()
        self.faults_file.unlink(missing_ok=True)
        if contracts_document is not None:
            self._layer.joinpath("tidegate_contracts", "contracts.json").write_text(contracts_document)
            import tidegate.composition

            tidegate.composition.contracts.cache_clear()
            for name in self.functions.names:  # a deployment's contracts come with new containers
                self.functions.make_cold(self.functions.module(name))
        self.functions.deploy()
        self.dynamodb.create_table(TableName=LEDGER, **_ledger_schema())
        for bucket in (LANDING, LAKE, CONTROL):
            self.s3.create_bucket(Bucket=bucket)
        self.s3.put_bucket_versioning(Bucket=LANDING, VersioningConfiguration={"Status": "Enabled"})
        self.glue.create_database(DatabaseInput={"Name": DATABASE})
        self.steps.create_state_machine(
            name=f"{STACK}-run", definition=self._definition(), roleArn=f"arn:aws:iam::{ACCOUNT}:role/machine"
        )

    def deploy_again(self, change: Callable[[str], str] = lambda text: text) -> int:
        """A new version of the functions and of the machine's definition, which `change` may edit; its number."""
        version = self.functions.deploy()
        self.steps.update_state_machine(stateMachineArn=MACHINE_ARN, definition=change(self._definition()))
        return version

    def _definition(self) -> str:
        return definition_with(self.functions.substitutions())

    # ---- What happens by itself

    def land(
        self, key: str, body: bytes = b"id\n1\n", *, told: int = 1, ago: timedelta = timedelta(minutes=10)
    ) -> Landed:
        """A file has landed that long ago; its event is told so often. What `tell` says comes later."""
        answer = self.s3.put_object(Bucket=LANDING, Key=key, Body=body)
        landed = Landed(key, f"{len(self.landed) + 1:x}", answer["VersionId"], body)
        self.landed.append(landed)
        when = datetime.now(UTC) - ago + timedelta(seconds=len(self.landed))
        self._date_back(landed, when)
        event = {
            "version": "0",
            "source": "aws.s3",
            "detail-type": "Object Created",
            "account": ACCOUNT,
            "region": REGION,
            "time": when.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "detail": {
                "bucket": {"name": LANDING},
                "object": {
                    "key": key, "size": len(body), "sequencer": landed.sequencer,
                    "etag": answer["ETag"].strip('"'), "version-id": landed.version_id,
                },
                "reason": "PutObject",
            },
        }  # fmt: skip
        landed.event = json.dumps(event)
        for _ in range(told):
            self.tell(landed)
        return landed

    def tell(self, landed: Landed) -> None:
        """EventBridge tells of a file, again or at last."""
        landed.told += 1
        self.queue.append(Message(f"{self.landed.index(landed) + 1}-{landed.told}", landed.event))

    @staticmethod
    def _date_back(landed: Landed, when: datetime) -> None:
        """Have the bucket say that this version landed then."""
        from ministack.services import s3

        stored_at = when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for version in s3._object_versions[LANDING, landed.key]:
            if version["version_id"] == landed.version_id:
                version["last_modified"] = stored_at

    def deliver(self) -> None:
        """SQS gives record_arrivals what is in the queue; what it does not take comes back, at last as dead letter."""
        batch, self.queue = self.queue[:100], self.queue[100:]
        if not batch:
            return
        records = [message.as_record() for message in batch]
        try:
            answer = self.invoke("record_arrivals", {"Records": records})
            failed = {each["itemIdentifier"] for each in answer["batchItemFailures"]}
        except FunctionFailed:
            failed = {message.id for message in batch}
        for message in batch:
            if message.id in failed:
                message.receives += 1
                (self.queue if message.receives < MAXIMUM_RECEIVES else self.dead_letters).append(message)

    def dispatch(self) -> str | None:
        """The operator's `tidegate dispatch now`, which stands for the schedule: pauses need no real time."""
        try:
            return str(self.invoke("dispatch_runs", {"dispatch": "now"})["run_id"])
        except FunctionFailed as failed:
            self.failures.append(f"dispatch_runs: {failed}")
            return None

    def tick(self) -> None:
        """A minute passes: events are told to whom the template's rules name, and its schedules strike."""
        from ministack.services import eventbridge

        told, self.events[:] = list(self.events), []
        for trigger in triggers():
            for event in told if trigger.pattern else ():
                if eventbridge._matches_pattern(trigger.pattern, _as_ministack_has_it(event)):
                    self.invoke_asynchronously(trigger.function, event, trigger.tries)
        for trigger in triggers():
            if trigger.schedule is not None and trigger.function != "dispatch_runs":
                now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
                scheduled = trigger.schedule.replace("<aws.scheduler.scheduled-time>", now)
                self.invoke_asynchronously(trigger.function, json.loads(scheduled), trigger.tries)

    def invoke_asynchronously(self, function: str, event: Any, tries: int = 3) -> None:
        """Lambda tries that often; what then still fails is in the log.

        What it has begun is over before anything else happens, so that each play of a scenario makes the same calls.
        """
        for _ in range(tries):
            try:
                self.invoke(function, event)
            except FunctionFailed as failed:
                self.failures.append(f"{function}: {failed}")
            else:
                break
        self.wait_clusters_to_end()

    def weigh_work(self, size_bytes: int, due_in: timedelta = timedelta(hours=1)) -> None:
        """Have each batch that is at work weigh so much and be due then, as far as scaling knows."""
        for found in self.s3.list_objects_v2(Bucket=CONTROL, Prefix="runs/").get("Contents", []):
            document = json.loads(self.s3.get_object(Bucket=CONTROL, Key=found["Key"])["Body"].read())
            for batch in document["batches"]:
                batch |= {"size_bytes": size_bytes, "deadline": (datetime.now(UTC) + due_in).isoformat()}
            self.s3.put_object(Bucket=CONTROL, Key=found["Key"], Body=json.dumps(document).encode())
            told = {"group": document["group"], "at": datetime.now(UTC).isoformat(), "done": [], "cores": 4,
                    "busy_cores": 4, "core_s": 10.0, "input_bytes": 0, "shuffles": False}  # fmt: skip
            key = document["progress_uri"].removeprefix(f"s3://{CONTROL}/")
            self.s3.put_object(Bucket=CONTROL, Key=key, Body=json.dumps(told).encode())

    def measure_clusters(self, *, units: int | None = None, of: int | None = None, ago_min: int = 0) -> None:
        """EMR's metrics of the clusters that live: all at work, with so many units of those that are asked for."""
        values = {"YARNMemoryAvailablePercentage": 2.0, "ContainerPendingRatio": 3.0, "AppsPending": 0.0}
        if units is not None and of is not None:
            values |= {"TotalUnitsRunning": units, "TotalUnitsRequested": of}
        at = datetime.now(UTC) - timedelta(minutes=ago_min)
        with self.engine.reading():
            alive = [each.id for each in self.engine.clusters.values() if each.ended_s is None]
        data = [
            {
                "MetricName": name,
                "Value": value,
                "Timestamp": at,
                "Dimensions": [{"Name": "JobFlowId", "Value": cluster_id}],
            }
            for cluster_id in alive
            for name, value in values.items()
        ]
        _client("cloudwatch").put_metric_data(Namespace="AWS/ElasticMapReduce", MetricData=data)

    def age_clusters(self, seconds: float, limit_s: float = 5) -> None:
        """Have the cluster that is to come be so much older, as soon as there is one."""
        until = time.monotonic() + limit_s
        while time.monotonic() < until and not self.live_clusters():
            time.sleep(0.002)
        with self.engine.reading():
            for cluster in self.engine.clusters.values():
                cluster.created_s -= seconds

    def free_clusters(self) -> None:
        """Whatever is stuck goes on."""
        with self.engine.editing():
            for cluster in self.engine.clusters.values():
                cluster.stuck_until_s = 0

    def look_at_clusters(self) -> None:
        """The minute of scale_cluster."""
        try:
            self.invoke("scale_cluster", {"scale": "scheduled"})
        except FunctionFailed as failed:
            self.failures.append(f"scale_cluster: {failed}")

    def wait_executions(self, limit_s: float = 90) -> None:
        """Until no execution runs."""
        until = time.monotonic() + limit_s
        while running := [each for each in self.executions() if each["status"] == "RUNNING"]:
            if time.monotonic() > until:
                raise TimeoutError(f"{running[0]['name']} does not end: {self.entered(running[0]['executionArn'])}")
            time.sleep(0.002)

    def wait_late_calls(self, limit_s: float = 5) -> None:
        """Until no function runs any more and none is about to be called, heeded or not."""
        until = time.monotonic() + limit_s
        while time.monotonic() < until and (self.called_tasks or self._functions_run()):
            time.sleep(0.002)

    def _functions_run(self) -> bool:
        return any(not life.is_over for life in self.lives if life.name != "step")

    def executions(self) -> list[Json]:
        """All of them, the oldest first."""
        from ministack.services import stepfunctions

        return [dict(each) for each in list(stepfunctions._executions.values())]

    def execution(self, arn: str) -> Json:
        return next(each for each in self.executions() if each["executionArn"] == arn)

    def entered(self, arn: str) -> list[str]:
        """The states that an execution has entered."""
        return [
            event["stateEnteredEventDetails"]["name"]
            for event in self.execution(arn)["events"]
            if event["type"].endswith("StateEntered")
        ]

    def live_clusters(self) -> list[str]:
        with self.engine.reading():
            return [f"{each.name} {each.state}" for each in self.engine.clusters.values() if each.ended_s is None]

    def wait_clusters_to_end(self, limit_s: float = 5) -> None:
        """TERMINATING takes no time here, but a thread's turn."""
        until = time.monotonic() + limit_s
        while time.monotonic() < until and any("TERMINATING" in each for each in self.live_clusters()):
            time.sleep(0.002)

    def lose_clusters(self) -> None:
        """Spot takes the nodes of every cluster."""
        from tidegate_local.emr import lifecycle
        from tidegate_local.emr.model import Reason

        reason = Reason("INSTANCE_FAILURE", "All slaves in the job flow were terminated due to Spot interruptions")
        with self.engine.editing() as now_s:
            for cluster in self.engine.clusters.values():
                self.engine.post(cluster, lifecycle.terminate(cluster, now_s, reason, with_errors=True))

    def time_out(self, execution_arn: str) -> None:
        """The machine's TimeoutSeconds are over."""
        from ministack.services import stepfunctions
        from tidegate_local import stepfunctions_execution as executions

        execution, scope = stepfunctions._executions[execution_arn], executions._scopes[execution_arn]
        executions._end(execution, scope, "TIMED_OUT", error="States.Timeout")

    def plan_faults(self, *faults: Json) -> None:
        """Faults of the local EMR, as `faults.json` plans them."""
        # Each has a note of its own: the engine remembers which have struck, over all scenarios.
        noted = [fault | {"note": f"version {self.functions.version}, {number}"} for number, fault in enumerate(faults)]
        self.faults_file.write_text(json.dumps(noted))

    def announced(self) -> list[Json]:
        """The details of all "Table Updated" events, the oldest first."""
        from ministack.services import eventbridge

        log = eventbridge._events_log_list()
        return [json.loads(each["Detail"]) for each in log if each["DetailType"] == "Table Updated"]

    def registered(self) -> list[str]:
        """The names of the catalog's entries."""
        return [each["Name"] for each in self.glue.get_tables(DatabaseName=DATABASE)["TableList"]]

    # ---- Lambda

    def invoke(self, function: str, event: Any, version: int | None = None) -> Any:
        """Invoke a function. Raises FunctionFailed with the error's name as AWS gives it."""
        action = event.get("action") if isinstance(event, Mapping) else None
        life = Life(f"{function}.{action}" if action else function)
        self.lives.append(life)
        module = self.functions.module(function)
        with living(life):
            try:
                answer = self.functions.handler(function, version)(json.loads(json.dumps(event)), Context(function))
                life.check()
                return json.loads(json.dumps(answer))
            except Killed:
                self.functions.make_cold(module)
                message = "RequestId: 5bf2b1e2 Error: Runtime exited with error: signal: killed"
                raise FunctionFailed("Runtime.ExitError", message) from None
            except Exception as error:
                raise FunctionFailed(type(error).__name__, str(error)) from error
            finally:
                life.end()

    def _route_lambda(self) -> None:
        from ministack.services import stepfunctions

        def call(reference: str, event: Any) -> Any:
            function, _, version = reference.partition(":")
            try:
                return self.invoke(function, event, int(version))
            except FunctionFailed as failed:
                cause = {"errorType": failed.error_type, "errorMessage": failed.message, "trace": []}
                raise execution_error(failed.error_type, json.dumps(cause)) from None

        stepfunctions._call_lambda = call
        stepfunctions._resolve_lambda_function_ref = lambda value, optimized: value

        def emit_and_keep(execution: Json) -> None:
            from tidegate_local.stepfunctions_events import DETAIL_TYPE, detail_of

            self.events.append({
                "version": "0", "source": "aws.states", "detail-type": DETAIL_TYPE, "account": ACCOUNT,
                "region": REGION, "resources": [execution["executionArn"]], "detail": detail_of(execution),
            })  # fmt: skip

        stepfunctions._emit_execution_status_event = emit_and_keep

    def _route_tasks(self) -> None:
        """Every call of a Task goes by `intercept_task`, which knows its execution and state."""
        from ministack.services import stepfunctions
        from tidegate_local.stepfunctions_emr import PREFIX

        execute, call_lambda = stepfunctions._execute_task, stepfunctions._call_lambda

        def execute_known(state: Json, given: Any, execution: Json, context: Json) -> Any:
            token = _task.set((execution["executionArn"], context["State"]["Name"]))
            try:
                return execute(state, given, execution, context)
            finally:
                _task.reset(token)

        def call_function(reference: str, event: Any) -> Any:
            task = Task(*_task.get(), "lambda", lambda _resource: call_lambda(reference, event), reference)
            self.called_tasks.append(task)
            try:
                return self.intercept_task(task)
            finally:
                self.called_tasks.remove(task)

        def call_service(handle: Any) -> Any:
            def call(resource: str, data: Any) -> Any:
                return self.intercept_task(Task(*_task.get(), resource, lambda asked: handle(asked, data), data))

            return call

        stepfunctions._execute_task = execute_known
        stepfunctions._call_lambda = call_function
        for prefix, handle in list(stepfunctions._SERVICE_DISPATCH.items()):
            if prefix.startswith(PREFIX):
                stepfunctions._SERVICE_DISPATCH[prefix] = call_service(handle)

    def _keep_event(self, entry: Json) -> None:
        """EMR tells of a cluster or a step."""
        self.events.append({
            "version": "0", "source": entry["Source"], "detail-type": entry["DetailType"], "account": ACCOUNT,
            "region": REGION, "resources": entry["Resources"], "detail": json.loads(entry["Detail"]),
        })  # fmt: skip

    # ---- Calls

    def _route_calls(self) -> None:
        from botocore.client import BaseClient

        make = BaseClient._make_api_call

        def make_if_alive(client: Any, operation: str, request: Any) -> Any:
            life = _life.get()
            if life is None:
                return make(client, operation, request)
            life.check()
            name = f"{client.meta.service_model.service_id.hyphenize()}.{operation}"
            return self.intercept(life, name, lambda: make(client, operation, request))

        BaseClient._make_api_call = make_if_alive  # type: ignore[method-assign]

    # ---- Steps

    def _step_process(self, order: Any, _settings: Any, on_end: Any, on_over: Any) -> StepInThread:
        return StepInThread(self, order, on_end, on_over)


def _as_ministack_has_it(event: Json) -> Json:
    """An event as ministack's matcher reads it."""
    return {
        "Source": event["source"], "DetailType": event["detail-type"], "Detail": json.dumps(event["detail"]),
        "Account": ACCOUNT, "Region": REGION, "Resources": event["resources"], "Time": "2026-01-01T00:00:00Z",
    }  # fmt: skip


class StepInThread:
    """Runs a step in a thread instead of a process. What is killed makes no further call."""

    def __init__(self, cloud: OneProcessCloud, order: Any, on_end: Any, on_over: Any) -> None:
        self._cloud, self._order, self._on_end, self._on_over = cloud, order, on_end, on_over
        self.life = Life("step")
        cloud.lives.append(self.life)

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def kill(self, *, grace_s: float = 0) -> None:
        self.life.end()

    kill_now = kill

    def _run(self) -> None:
        exit_code = 137
        dies_at_once = self._order.dies_after_s is not None
        try:
            with living(self.life):
                if not dies_at_once:
                    exit_code = self._cloud.step(list(self._order.args))
        except Killed:
            exit_code = 137
        except Exception:  # noqa: BLE001 - a driver that dies of an exception
            exit_code = 1
        finally:
            if self.life.is_over:
                exit_code = 137
            self.life.end()
            self._on_end(self._order, exit_code)
            self._on_over(self._order)


@dataclass
class Landed:
    """A version of an object, as its source knows it."""

    key: str
    sequencer: str
    version_id: str
    body: bytes
    event: str = ""
    """What EventBridge tells of it."""
    told: int = 0


@dataclass
class Message:
    """A message on the queue."""

    id: str
    body: str
    receives: int = 0

    def as_record(self) -> Json:
        return {
            "messageId": self.id,
            "receiptHandle": self.id,
            "body": self.body,
            "attributes": {"ApproximateReceiveCount": str(self.receives + 1)},
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:arrivals",
            "awsRegion": REGION,
        }


@dataclass
class Context:
    """What Lambda hands to a handler."""

    function_name: str
    memory_limit_in_mb: int = 256
    aws_request_id: str = "5bf2b1e2"

    @property
    def invoked_function_arn(self) -> str:
        return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.function_name}"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


class Functions:
    """The functions of `functions/`: found, not listed. Each deploy makes a new version of all of them."""

    def __init__(self) -> None:
        self.names = sorted(path.parent.name for path in ROOT.glob("functions/*/*.py") if path.stem == path.parent.name)
        self.version = 0
        self.wrappers: dict[int, Callable[[str, Callable[..., Any]], Callable[..., Any]]] = {}
        """What a version does differently, for tests of a deploy in between."""
        self.called: list[tuple[str, int]] = []

    def deploy(self) -> int:
        self.version += 1
        self.called.clear()
        return self.version

    def substitutions(self) -> dict[str, str]:
        """`PlanRunFunction` and so on, as the definition calls this version's functions."""
        return {f"{name.title().replace('_', '')}Function": f"{name}:{self.version}" for name in self.names}

    def module(self, name: str) -> ModuleType:
        path = str(ROOT / "functions" / name)
        if path not in sys.path:
            sys.path.insert(0, path)
        return importlib.import_module(name)

    def handler(self, name: str, version: int | None = None) -> Callable[..., Any]:
        handler: Callable[..., Any] = self.module(name).handler
        self.called.append((name, version or self.version))
        wrap = self.wrappers.get(version or self.version)
        return wrap(name, handler) if wrap else handler

    @staticmethod
    def make_cold(module: ModuleType) -> None:
        """The next call finds a new process."""
        for value in list(vars(module).values()):
            if hasattr(value, "cache_clear") and getattr(value, "__module__", "") == module.__name__:
                value.cache_clear()


def definition_with(substitutions: Mapping[str, str]) -> str:
    """The machine's definition as JSON, its substitutions filled in; names that nobody knows stand for themselves."""
    known = {"Partition": "aws", "ControlBucket": CONTROL, "LakeBucket": LAKE, "LandingBucket": LANDING,
             "EmrReleaseLabel": "emr-7.14.0", "EmrServiceRole": "tidegate-cluster-service",
             "EmrInstanceProfile": "tidegate-cluster-instance", "SubnetIds": "", "SecurityGroupIds": "",
             "StepTimeoutSeconds": "14400",
             **substitutions}  # fmt: skip

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        return known.get(name, f"s3://{CONTROL}/artifacts/{name}" if name.endswith("Uri") else name)

    return re.sub(r"\$\{(\w+)\}", fill, _definition_document())


@cache
def _definition_document() -> str:
    import yaml

    return json.dumps(yaml.safe_load((ROOT / "statemachine" / "run.asl.yaml").read_text(encoding="utf-8")))


@cache
def _resources() -> dict[str, Json]:
    """The template's resources."""
    import yaml

    class Loader(yaml.SafeLoader):
        """What CloudFormation's functions give is of no interest here."""

    Loader.add_multi_constructor("!", lambda _loader, _suffix, _node: None)  # type: ignore[no-untyped-call]
    resources: dict[str, Json] = yaml.load((ROOT / "template.yaml").read_text(encoding="utf-8"), Loader)["Resources"]
    return resources


@cache
def _ledger_schema() -> Json:
    """The ledger's table as the template has it."""
    properties = _resources()["Ledger"]["Properties"]
    wanted = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    return {name: properties[name] for name in wanted}


@dataclass(frozen=True)
class Trigger:
    """What calls a function by itself: a schedule with its input, or a rule with its pattern."""

    function: str
    tries: int
    schedule: str | None = None
    pattern: str | None = None


@cache
def triggers() -> list[Trigger]:
    """The template's schedules and rules, by the functions that they call."""
    found: list[Trigger] = []
    for name, resource in _resources().items():
        if resource["Type"] != "AWS::Serverless::Function":
            continue
        function = re.sub(r"(?<!^)(?=[A-Z])", "_", name.removesuffix("Function")).lower()
        properties = resource["Properties"]
        tries = 1 + (properties.get("EventInvokeConfig") or {}).get("MaximumRetryAttempts", 2)
        for event in (properties.get("Events") or {}).values():
            if event["Type"] in {"ScheduleV2", "Schedule"}:
                found.append(Trigger(function, tries, schedule=event["Properties"].get("Input") or "{}"))
            elif event["Type"] in {"EventBridgeRule", "CloudWatchEvent"}:
                found.append(Trigger(function, tries, pattern=json.dumps(_resolved(event["Properties"]["Pattern"]))))
    return found


def _resolved(pattern: Any) -> Any:
    """The pattern without what only CloudFormation knows: there is but one machine here, and one stack."""
    if isinstance(pattern, dict):
        return {name: inner for name, value in pattern.items() if (inner := _resolved(value)) not in (None, [], {})}
    if isinstance(pattern, list):
        return [inner for value in pattern if (inner := _resolved(value)) not in (None, {})]
    return pattern


def _client(service: str) -> Any:
    import boto3

    return boto3.client(service)


def _set_up_process(folder: Path, contracts_document: str) -> None:
    """Environment, layers, and one reading of AWS's service models for all clients."""
    for name in [each for each in os.environ if each.startswith(("AWS_", "MINISTACK_", "LOCALSTACK_"))]:
        del os.environ[name]
    os.environ.update(ENVIRONMENT)
    for layer, files in {
        "tidegate_contracts": {"contracts.json": contracts_document},
        "tidegate_artifacts": {"main.py": "print()", "contracts.json": contracts_document},
    }.items():
        (folder / "layers" / layer).mkdir(parents=True, exist_ok=True)
        for name, text in ({"__init__.py": ""} | files).items():
            (folder / "layers" / layer / name).write_text(text)
    sys.path.insert(0, str(folder / "layers"))
    from fakes import models

    models.share()
    _let_threads_inherit()


def _let_threads_inherit() -> None:
    """A thread belongs to the life of whoever starts it."""
    start = threading.Thread.start

    def start_in_context(thread: threading.Thread) -> None:
        if _life.get() is not None:
            context = contextvars.copy_context()
            context.run(_path_before.set, path_of_call())
            thread.run = partial(context.run, thread.run)  # type: ignore[method-assign]
        start(thread)

    threading.Thread.start = start_in_context  # type: ignore[method-assign]


_OURS = (str(ROOT / "layers" / "tidegate"), str(ROOT / "functions"))
_path_before: contextvars.ContextVar[str] = contextvars.ContextVar("campaign_path_before", default="")


def path_of_call() -> str:
    """The functions of the project that lead to this call, from the handler inwards, over threads too."""
    names: list[str] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith(_OURS) and not code.co_name.startswith("<"):
            names.append(code.co_name)
        frame = frame.f_back
    return ">".join(filter(None, [_path_before.get(), *reversed(names)]))


def _install_gaps(here: Any) -> Any:
    """ministack in this process, with the gaps that a run meets filled; gives the EMR's engine."""
    from botocore import endpoint
    from botocore.httpsession import URLLib3Session
    from ministack import app  # noqa: F401 - its services expect to be imported after it
    from ministack.services import cloudwatch, dynamodb, emr, eventbridge, glue, s3, sqs, stepfunctions
    from tidegate_local import emr as local_emr
    from tidegate_local import server, stepfunctions_emr

    for gap in server.GAPS:
        if ".stepfunctions_" in gap and not gap.endswith("_yaml"):
            importlib.import_module(gap).install()
    stepfunctions._SFN_WAIT_SCALE = 0.0
    stepfunctions_emr._POLL_S = 0.002
    engine = local_emr.install(here)
    _give_emr_its_roles()
    glue.handle_request = _at_once(glue._handle_request_sync)
    services = {"s3": s3, "dynamodb": dynamodb, "states": stepfunctions, "elasticmapreduce": emr, "sqs": sqs,
                "events": eventbridge, "glue": glue, "monitoring": cloudwatch}  # fmt: skip

    def send(_session: Any, request: Any) -> Any:
        return _send(services, request)

    URLLib3Session.send = send  # type: ignore[method-assign]
    # The SDK's own retries need no real time.
    endpoint.time = SimpleNamespace(sleep=lambda _seconds: None)  # type: ignore[assignment]
    return engine


def _give_emr_its_roles() -> None:
    """The roles that the machine names, as the template makes them."""
    from ministack.services import iam

    service, instance = "tidegate-cluster-service", "tidegate-cluster-instance"
    for name in (service, instance):
        iam._roles[name] = {"RoleName": name, "Arn": f"arn:aws:iam::{ACCOUNT}:role/{name}"}
    iam._instance_profiles[instance] = {
        "InstanceProfileName": instance,
        "Arn": f"arn:aws:iam::{ACCOUNT}:instance-profile/{instance}",
        "Roles": [instance],
    }


_SERVICE = re.compile(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/aws4_request")


def _send(services: Mapping[str, Any], request: Any) -> Any:
    """Answer a prepared request as the server would, without one."""
    from botocore.awsrequest import AWSResponse
    from botocore.exceptions import ConnectionClosedError

    headers = {name.lower(): _text(value) for name, value in request.headers.items()}
    found = _SERVICE.search(headers["authorization"])
    assert found, headers
    url = urlsplit(request.url)
    query: dict[str, list[str]] = {}
    for pair in url.query.split("&") if url.query else []:
        name, _, value = pair.partition("=")
        query.setdefault(unquote(name), []).append(unquote(value.replace("+", " ")))
    body = request.body or b""
    body = body.read() if hasattr(body, "read") else body
    body = body.encode() if isinstance(body, str) else bytes(body)
    call = services[found[1]].handle_request(request.method, unquote(url.path), headers, body, query)
    status, answer_headers, answer = _drive(call)
    if _loses_answer.get():
        _loses_answer.get().clear()  # type: ignore[union-attr]
        raise ConnectionClosedError(endpoint_url=request.url)
    raw = _Raw(answer if isinstance(answer, bytes) else str(answer or "").encode())
    return AWSResponse(request.url, status, _Headers(answer_headers), raw)


def _at_once(handle: Callable[..., Any]) -> Callable[..., Any]:
    """A service that answers in a thread of its own, for calls to Docker that are never made here."""

    async def answer(*arguments: Any) -> Any:
        return handle(*arguments)

    return answer


def _drive(call: Any) -> Any:
    """The result of a coroutine; those of ministack hardly ever wait."""
    try:
        call.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("the service waits for something: drive it on a loop instead")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


class _Headers(dict[str, str]):
    """Found in any case, as HTTP's are."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__({name.lower(): str(value) for name, value in given.items()})

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(str(name).lower())

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())


class _Raw:
    """A body as urllib3 hands it over."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def read(self, amount: int | None = None, **_options: Any) -> bytes:
        end = len(self._data) if amount is None else self._at + amount
        part, self._at = self._data[self._at : end], min(end, len(self._data))
        return part

    def stream(self, *_arguments: Any, **_options: Any) -> Iterator[bytes]:
        yield self.read()

    def close(self) -> None:
        pass

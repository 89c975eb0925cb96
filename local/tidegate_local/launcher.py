"""Start, stop and look at the local cloud: what `tidegate local` and the tests call."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from tidegate_local import event_log, jars, java, processes, settings
from tidegate_local.deploy import CHECKOUT, STACK, client_of, deploy, environment_of
from tidegate_local.faults.kinds import InvalidFault
from tidegate_local.faults.plan import add_faults, plan_faults, told
from tidegate_local.preflight import LocalCloudError, check_port, check_room, check_yarn, find_sam
from tidegate_local.settings import Settings
from tidegate_local.yarn import packages

__all__ = ["LocalCloud", "LocalCloudError", "down", "events", "fault", "read", "status", "up"]

_START_LIMIT_S = 60
_HEALTH = "/_ministack/health"
_LIVE = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING", "TERMINATING")

_servers: dict[int, subprocess.Popen[bytes]] = {}
"""Servers that this very process has started: it is who has to ask for their end."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class LocalCloud:
    """A running local cloud: the fields of local.json."""

    endpoint_url: str
    region: str
    landing_bucket: str
    lake_bucket: str
    control_bucket: str
    ledger_table: str
    state_machine_arn: str
    pid: int
    stack_name: str
    dispatch_function: str
    reconcile_function: str = ""
    catalog_database: str = ""
    daily_budget_usd: float = 0.0
    monthly_budget_usd: float = 0.0


def say_to_stderr(line: str) -> None:
    """The default way of telling progress."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def up(
    *,
    detach: bool = False,
    port: int | None = None,
    yarn: bool = False,
    say: Say = say_to_stderr,
    here: Settings | None = None,
) -> str:
    """Start the local cloud, deploy the stack to it and write local.json; returns how to use it.

    With `yarn` each cluster is a real YARN.

    Without `detach` it stays until it is interrupted, and then takes everything down again.

    Raises LocalCloudError; whatever it had started is down again then.
    """
    here = _settings(here, port)
    here = replace(here, master="yarn") if yarn else here
    _let_signals_interrupt()
    cloud = start(here, say)
    if detach:
        return how_to_use(cloud)
    try:
        say(how_to_use(cloud))
        say("Stop it with ^C.")
        while processes.running(here.pids_dir):
            time.sleep(1)
        raise LocalCloudError(f"the local cloud has ended by itself. Its last words:\n{_last_words(here)}")
    except KeyboardInterrupt:
        return ""
    finally:
        down(here=here)


def start(here: Settings, say: Say = say_to_stderr) -> LocalCloud:
    """Start the server and deploy; leaves both running. Raises LocalCloudError."""
    running = read(here)
    if running is not None:
        raise LocalCloudError(f"a local cloud runs already at {running.endpoint_url}: `tidegate local down` stops it")
    _clean(here)  # what a cloud that was killed has left
    check_room(here.state_dir)
    check_port(here.port)
    find_sam(CHECKOUT, os.environ.get("TIDEGATE_SAM"))
    try:
        java.find_java_home(os.environ)
        jars.fetch(here.jars_dir, here.cache_dir, say)
        if here.master == "yarn":
            check_yarn()
            packages.fetch(here, say)
    except (java.JavaNotFound, jars.JarsUnavailable) as error:
        raise LocalCloudError(str(error)) from error
    try:
        say("Starting the local cloud")
        pid = _start_server(here)
        say("Deploying the stack: sam build, sam deploy")
        found = deploy(here)
    except BaseException:
        _clean(here)
        raise
    cloud = LocalCloud(
        endpoint_url=here.endpoint_url,
        region=here.region,
        landing_bucket=found["LandingBucket"],
        lake_bucket=found["LakeBucket"],
        control_bucket=found["ControlBucket"],
        ledger_table=found["LedgerTable"],
        state_machine_arn=found["StateMachineArn"],
        pid=pid,
        stack_name=STACK,
        dispatch_function=found["DispatchFunction"],
        reconcile_function=found.get("ReconcileFunction", ""),
        catalog_database=found.get("CatalogDatabase", ""),
        daily_budget_usd=float(found.get("DailyBudget") or 0),
        monthly_budget_usd=float(found.get("MonthlyBudget") or 0),
    )
    _write(here, cloud)
    return cloud


def down(*, here: Settings | None = None) -> str:
    """Stop the local cloud and remove all that it left; jars and caches stay. Says what it did."""
    here = here or settings.current()
    ended = _clean(here)
    return f"The local cloud is down ({ended} processes ended)." if ended else "No local cloud was running."


def status(*, here: Settings | None = None) -> str:
    """Say whether the local cloud runs, where, and what is under way in it."""
    here = here or settings.current()
    cloud = read(here)
    if cloud is None:
        return "No local cloud is running. `tidegate local up` starts one."
    steps = sum(1 for each in processes.running(here.pids_dir) if each.pid != cloud.pid)
    head = f"The local cloud runs at {cloud.endpoint_url}, process {cloud.pid}, with {steps} steps running."
    try:
        under_way = _under_way(replace(here, port=urlsplit(cloud.endpoint_url).port or here.port), cloud)
    except (BotoCoreError, ClientError) as error:
        under_way = [f"It does not say what is under way: {error}"]
    return "\n".join([head, *under_way])


def fault(texts: Sequence[str] = (), *, clear: bool = False, here: Settings | None = None) -> str:
    """Plan faults, each a JSON object, beside those that are planned, or with `clear` in their place. Says what is
    planned then. Raises LocalCloudError."""
    here = here or settings.current()
    if read(here) is None:
        raise LocalCloudError(
            "no local cloud is running, and a plan ends with its cloud: `tidegate local up` starts one"
        )
    try:
        (plan_faults if clear else add_faults)(here.faults_file, [_parsed(text) for text in texts])
    except InvalidFault as error:
        raise LocalCloudError(f"{error}. local/README.md has all faults") from error
    return told(here.faults_file)


def events(*, here: Settings | None = None) -> str:
    """The events that were sent to EventBridge so far, but for AWS's own, a line of JSON each; the oldest first."""
    here = here or settings.current()
    return "\n".join(json.dumps(each, ensure_ascii=False) for each in event_log.read_events(here.events_file))


def _parsed(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InvalidFault(f"{text} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidFault(f"{text} is not a JSON object")
    return found


def _under_way(here: Settings, cloud: LocalCloud) -> list[str]:
    machine = client_of(here, "stepfunctions")
    runs = machine.list_executions(stateMachineArn=cloud.state_machine_arn, statusFilter="RUNNING")["executions"]
    clusters = client_of(here, "emr").list_clusters(ClusterStates=list(_LIVE))["Clusters"]
    return [
        *(f"Execution {each['name']} is running." for each in runs),
        *(f"Cluster {each['Id']} ({each['Name']}) is {each['Status']['State'].lower()}." for each in clusters),
    ]


def read(here: Settings) -> LocalCloud | None:
    """The local cloud that runs with these settings, or None."""
    try:
        cloud = LocalCloud(**json.loads(_local_json(here).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    is_there = any(each.pid == cloud.pid for each in processes.running(here.pids_dir))
    return cloud if is_there else None


def how_to_use(cloud: LocalCloud) -> str:
    """What to do with a local cloud that runs."""
    return (
        f"The local cloud runs at {cloud.endpoint_url} (any access key, region {cloud.region}).\n"  # noqa: S608
        f"Put a file:  aws --endpoint-url {cloud.endpoint_url} s3 cp my.csv s3://{cloud.landing_bucket}/airlines/\n"
        "Watch it:    tidegate status        Merge now: tidegate dispatch now --wait\n"
        'Query it:    tidegate query "select * from airlines"'
    )


def _let_signals_interrupt() -> None:
    """A closed terminal or a `kill` takes down what was started, just as ^C does."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, interrupt)


def _settings(here: Settings | None, port: int | None) -> Settings:
    here = here or settings.current()
    return replace(here, port=port) if port is not None else here


def _start_server(here: Settings) -> int:
    for folder in (here.logs_dir, here.tmp_dir, here.pids_dir):
        folder.mkdir(parents=True, exist_ok=True)
    environment = environment_of(here) | {
        "TIDEGATE_HOME": str(here.state_dir),
        "TIDEGATE_CACHE_HOME": str(here.keep_dir),
        "TIDEGATE_LOCAL_PORT": str(here.port),
        "TIDEGATE_LOCAL_WAIT_SCALE": str(here.wait_scale),
        "TIDEGATE_LOCAL_IDLE_FLOOR_S": str(here.idle_floor_s),
        "TIDEGATE_LOCAL_CORES": str(here.spark_cores),
        "TIDEGATE_LOCAL_DRIVER_MEMORY": here.spark_driver_memory,
        "TIDEGATE_LOCAL_STEPS": here.steps,
        "TIDEGATE_LOCAL_IAM": here.iam,
        "TIDEGATE_LOCAL_MASTER": here.master,
    }
    with _server_log(here).open("wb") as log:
        server = processes.start(
            here.pids_dir,
            "server",
            [sys.executable, "-m", "tidegate_local.server"],
            cwd=here.run_dir,
            environment=environment,
            stdout=log,
            stderr=log,
        )
    _servers[server.pid] = server
    limit = time.monotonic() + _START_LIMIT_S
    while not _is_healthy(here):
        if server.poll() is not None:
            raise LocalCloudError(f"the server of the local cloud did not start. Its last words:\n{_last_words(here)}")
        if time.monotonic() > limit:
            raise LocalCloudError(f"the server did not answer within {_START_LIMIT_S} s:\n{_last_words(here)}")
        time.sleep(0.1)
    return server.pid


def _is_healthy(here: Settings) -> bool:
    try:
        with urllib.request.urlopen(f"{here.endpoint_url}{_HEALTH}", timeout=2) as answer:  # noqa: S310 - loopback
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _clean(here: Settings) -> int:
    """End every process of a local cloud, dead or alive, and remove its files. Returns how many were ended."""
    ended = processes.stop_all(here.pids_dir)
    for pid in list(_servers):
        if _servers[pid].poll() is not None:
            del _servers[pid]
    _local_json(here).unlink(missing_ok=True)
    shutil.rmtree(here.run_dir, ignore_errors=True)
    return len(ended)


def _write(here: Settings, cloud: LocalCloud) -> None:
    draft = _local_json(here).with_suffix(".draft")
    draft.write_text(json.dumps(cloud.__dict__, indent=2) + "\n", encoding="utf-8")
    draft.replace(_local_json(here))


def _local_json(here: Settings) -> Path:
    return here.state_dir / "local.json"


def _server_log(here: Settings) -> Path:
    return here.logs_dir / "server.log"


def _last_words(here: Settings, lines: int = 12) -> str:
    try:
        return "\n".join(_server_log(here).read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    except OSError:
        return "(it left no log)"

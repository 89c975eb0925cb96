"""The local cloud starts, says clearly why it can't, and leaves nothing: not even when it was killed."""

import io
import os
import signal
import socket
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from clouds import Cloud, assert_nothing_is_left, own_settings
from tidegate_local import deploy, launcher, preflight, server
from tidegate_local.launcher import LocalCloudError

OUTPUTS = dict.fromkeys(
    ["LandingBucket", "LakeBucket", "ControlBucket", "LedgerTable", "StateMachineArn", "DispatchFunction"], "x"
)
"""Of a stack that is not deployed, for tests of the server alone."""


def test_a_port_in_use_is_named_with_what_to_do(tmp_path: Path) -> None:
    here = own_settings(tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", here.port))
        other.listen()
        with pytest.raises(LocalCloudError, match=rf"port {here.port} is in use.*--port"):
            launcher.start(here)
    assert_nothing_is_left(here)


def test_yarn_where_it_has_no_addresses_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    here = replace(own_settings(tmp_path), master="yarn")
    with pytest.raises(LocalCloudError, match=r"--yarn needs Linux.*leave it out"):
        launcher.start(here)
    assert_nothing_is_left(here)


def test_a_full_disk_is_named_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "ROOM_BYTES", 2**60)
    with pytest.raises(LocalCloudError, match=r"GiB are free.*make room"):
        launcher.start(own_settings(tmp_path))


def test_a_missing_sam_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEGATE_SAM", str(tmp_path / "sam"))
    with pytest.raises(LocalCloudError, match="make setup"):
        launcher.start(own_settings(tmp_path))


def test_no_fault_is_planned_where_no_cloud_is(tmp_path: Path) -> None:
    with pytest.raises(LocalCloudError, match="no local cloud is running"):
        launcher.fault(['{"fault": "lost_nodes"}'], here=own_settings(tmp_path))


def test_down_without_a_cloud_says_so_and_is_fine(tmp_path: Path) -> None:
    assert launcher.down(here=own_settings(tmp_path)) == "No local cloud was running."


@pytest.mark.local_cloud
def test_a_deployment_that_fails_takes_the_server_down_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN a checkout whose template is broken
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "template.yaml").write_text("Resources: {Thing: {Type: AWS::No::Such}}\n")
    (checkout / "samconfig.toml").write_text("version = 0.1\n")
    monkeypatch.setenv("TIDEGATE_SAM", str(deploy.CHECKOUT / ".venv-sam" / "bin" / "sam"))

    def deploy_broken(here: Any) -> dict[str, str]:
        return deploy.deploy(here, checkout=checkout)

    monkeypatch.setattr(launcher, "deploy", deploy_broken)
    here = own_settings(tmp_path / "state")
    # WHEN it is started THEN the words of sam are the error, and nothing is left
    with pytest.raises(LocalCloudError, match=r"(?s)`sam (build|deploy)` failed.*last words:.*AWS::No::Such"):
        launcher.start(here)
    assert_nothing_is_left(here)


@pytest.mark.local_cloud
def test_a_cloud_that_was_killed_is_cleaned_up_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN a cloud whose server was killed the hard way; the deployment is none of this test's business
    monkeypatch.setattr(launcher, "deploy", lambda _here: OUTPUTS)
    here = own_settings(tmp_path)
    first = launcher.start(here)
    with pytest.raises(LocalCloudError, match="runs already"):
        launcher.start(here)
    # AND a function whose process outlives the server
    (worker,) = invoke_a_function(Cloud(first, here))
    os.kill(first.pid, signal.SIGKILL)
    psutil.Process(first.pid).wait(5)
    assert launcher.read(here) is None
    assert is_alive(worker)
    # WHEN it is started again, even on another port
    again = replace(here, port=own_settings(tmp_path).port)
    second = launcher.start(again)
    # THEN it runs, and one down is enough
    assert second.pid != first.pid
    assert not is_alive(worker)
    assert "runs at" in launcher.status(here=again)
    launcher.down(here=again)
    assert_nothing_is_left(here)
    assert_nothing_is_left(again)


def is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def invoke_a_function(cloud: Cloud) -> list[psutil.Process]:
    """Have a function run; the processes of its workers."""
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("f.py", "def handler(event, context):\n    return event\n")
    functions = cloud.client("lambda")
    functions.create_function(
        FunctionName="f",
        Runtime="python3.13",
        Handler="f.handler",
        Role="arn:aws:iam::000000000000:role/f",
        Code={"ZipFile": code.getvalue()},
    )
    assert functions.invoke(FunctionName="f", Payload=b'"hello"')["Payload"].read() == b'"hello"'
    children = psutil.Process(cloud.fields.pid).children(recursive=True)
    return [each for each in children if "_worker.py" in " ".join(each.cmdline())]


@pytest.mark.local_cloud
def test_the_status_says_what_is_under_way(local_cloud: Cloud) -> None:
    # GIVEN an execution
    steps = local_cloud.client("stepfunctions")
    machine = local_cloud.fields.state_machine_arn
    before = launcher.status(here=local_cloud.here)
    assert f"runs at {local_cloud.fields.endpoint_url}" in before
    started = steps.start_execution(stateMachineArn=machine, name="under-way", input='{"tables": ["no"]}')
    said = launcher.status(here=local_cloud.here)
    # THEN it is named while it lasts
    assert "Execution under-way is running." in said
    steps.stop_execution(executionArn=started["executionArn"])
    assert "under-way" not in launcher.status(here=local_cloud.here)


def test_every_folder_of_the_server_is_below_the_run_folder(tmp_path: Path) -> None:
    here = own_settings(tmp_path)
    set_for_it = server.environment_of_ministack(here)
    folders = [value for value in set_for_it.values() if value.startswith("/")]
    assert folders
    assert all(Path(each).is_relative_to(here.run_dir) for each in folders)


@pytest.mark.local_cloud
def test_nothing_of_the_users_own_ministack_reaches_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN a user who has set up another one, to keep its state, check permissions and serve one service
    elsewhere = tmp_path / "elsewhere"
    theirs = {
        "PERSIST_STATE": "1", "STATE_DIR": str(elsewhere), "S3_PERSIST": "1", "S3_DATA_DIR": str(elsewhere),
        "AUTH": "true", "SERVICES": "sqs", "USE_SSL": "1", "BIND_HOST": "0.0.0.0", "MINISTACK_ACCOUNT_ID": "1" * 12,
    }  # fmt: skip
    for name, value in theirs.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(launcher, "deploy", lambda _here: OUTPUTS)
    here = own_settings(tmp_path / "state")
    # WHEN the local cloud starts
    cloud = Cloud(launcher.start(here), here)
    try:
        # THEN it serves what it always serves, as it always does
        cloud.client("s3").create_bucket(Bucket="bucket")
        assert cloud.client("sts").get_caller_identity()["Account"] == "000000000000"
    finally:
        launcher.down(here=here)
    assert not elsewhere.exists()
    assert_nothing_is_left(here)


@pytest.mark.local_cloud
@pytest.mark.parametrize("when", ["while it is deployed", "once it is up"])
def test_whoever_is_ended_takes_the_local_cloud_down(tmp_path: Path, when: str) -> None:
    # GIVEN a local cloud in the foreground, of whose deployment some process is part
    here = own_settings(tmp_path)
    script = FOREGROUND if when == "once it is up" else FOREGROUND.replace("is_deployed = True", "is_deployed = False")
    settings_of_it = {"TIDEGATE_HOME": str(tmp_path), "TIDEGATE_LOCAL_PORT": str(here.port)}
    caches = {"TIDEGATE_CACHE_HOME": str(here.keep_dir)}
    command = [sys.executable, "-c", script]
    foreground = subprocess.Popen(command, env={**os.environ, **settings_of_it, **caches}, stdout=subprocess.PIPE)
    assert foreground.stdout
    assert foreground.stdout.readline() == b"ready\n"
    # WHEN it is ended, as by a closed terminal
    foreground.send_signal(signal.SIGHUP)
    foreground.wait(30)
    foreground.stdout.close()
    # THEN
    assert_nothing_is_left(here)


FOREGROUND = """
import subprocess, sys, time
from tidegate_local import deploy, launcher

is_deployed = True
names = ["LandingBucket", "LakeBucket", "ControlBucket", "LedgerTable", "StateMachineArn", "DispatchFunction"]

def deploy_nothing(here):
    if not is_deployed:
        print("ready", flush=True)
        deploy._run(here, ["sh", "-c", "sleep 60"], here.state_dir)
    return dict.fromkeys(names, "x")

def say(line):
    if "Stop it with" in line:
        print("ready", flush=True)

launcher.deploy = deploy_nothing
try:
    launcher.up(say=say)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.local_cloud
def test_everything_listens_on_loopback_alone(local_cloud: Cloud) -> None:
    server = psutil.Process(local_cloud.fields.pid)
    sockets = [
        each for process in [server, *server.children(recursive=True)] for each in process.net_connections("inet")
    ]
    listening = {each.laddr.ip for each in sockets if each.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}

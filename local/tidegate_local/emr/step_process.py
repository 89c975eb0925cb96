"""One step as a real process: `spark-submit` of the venv's Spark, its logs, its end.

As on EMR, `command-runner.jar` runs whatever program its arguments name; what is not on the PATH fails
as it does there. Other jars are not run. The process is the head of its own group, works in a folder of
its own and writes nothing outside the state folder. Bootstrap actions are recorded by the API and never
run: the venv already holds what they install (delta, numpy).
"""

from __future__ import annotations

import gzip
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tidegate_local import class_archive, jars, java, processes, spark_conf, spark_home
from tidegate_local.faults import callers
from tidegate_local.faults.callers import Caller
from tidegate_local.settings import Settings
from tidegate_local.yarn import site

logger = logging.getLogger("tidegate.local.emr")

NOT_STARTED = 127
"""Exit code of a step whose program could not be started, as a shell has it."""


class StepNotRunnable(RuntimeError):
    """The local cloud cannot run such a step; the message, which goes to the step's stderr, says why."""


@dataclass(frozen=True)
class StepOrder:
    """What is needed to run a step; taken from the model under its lock."""

    cluster_id: str
    step_id: str
    name: str
    jar: str
    args: tuple[str, ...]
    configurations: tuple[dict[str, Any], ...]
    log_uri: str | None
    dies_after_s: float | None = None
    hangs: tuple[float, float] | None = None
    """Stopped so many seconds into its run, for so many seconds."""


class StepProcess:
    """Runs one step in a thread; `on_end(order, exit_code)` comes once, `on_over(order)` after the logs."""

    def __init__(
        self,
        order: StepOrder,
        settings: Settings,
        on_end: Callable[[StepOrder, int], None],
        on_over: Callable[[StepOrder], None],
    ) -> None:
        self._order = order
        self._settings = settings
        self._on_end = on_end
        self._on_over = on_over
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False
        self._token = callers.register(Caller("step", ("step", order.name, order.step_id), self.kill_now))
        self.folder = settings.steps_dir / order.cluster_id / order.step_id
        self.logs = settings.logs_dir / order.cluster_id / order.step_id
        self._thread = threading.Thread(target=self._run, name=f"step-{order.step_id}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def kill(self, *, grace_s: float = 3.0) -> None:
        """End the process group without waiting for it. Before the process is up, it never starts."""
        with self._lock:
            self._killed = True
            process = self._process
        if process is not None and process.poll() is None:
            threading.Thread(
                target=processes.stop_group, args=(process.pid,), kwargs={"grace_s": grace_s}, daemon=True
            ).start()

    def kill_now(self) -> None:
        """End the process group at once, as a power cut would."""
        with self._lock:
            self._killed = True
            process = self._process
        if process is not None and process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def _run(self) -> None:
        exit_code = NOT_STARTED
        try:
            exit_code = self._execute()
        except Exception:
            logger.exception("Step %s could not be run", self._order.step_id)
        finally:
            self._on_end(self._order, exit_code)
            try:
                upload_logs(self.logs, self._order, self._settings)
            finally:
                callers.forget(self._token)
                shutil.rmtree(self.folder, ignore_errors=True)
                self._on_over(self._order)

    def _execute(self) -> int:
        for folder in (self.folder, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
        with (
            (self.logs / "stdout").open("wb") as stdout,
            (self.logs / "stderr").open("wb") as stderr,
            (self.logs / "controller").open("w") as controller,
        ):
            try:
                command = command_of(self._order, self._settings.steps, self._settings.master)
                environment = prepare(self._order, self._settings, self.folder, self._token)
            except (StepNotRunnable, java.JavaNotFound, spark_home.SparkNotFound) as trouble:
                stderr.write(f"{trouble}\n".encode())
                controller.write(f"{_now()} ERROR {trouble}\n")
                return NOT_STARTED
            controller.write(f"{_now()} INFO startExec {command}\n{_now()} INFO in {self.folder}\n")
            controller.flush()
            with self._lock:
                if self._killed:
                    controller.write(f"{_now()} INFO cancelled before its start\n")
                    return -signal.SIGTERM
                try:
                    process = processes.start(
                        self._settings.pids_dir,
                        f"step-{self._order.step_id}",
                        command,
                        cwd=self.folder,
                        environment=environment,
                        stdout=stdout,
                        stderr=stderr,
                    )
                except OSError as trouble:
                    # The words of EMR's own runner.
                    stderr.write(f'Cannot run program "{command[0]}": {trouble.strerror}\n'.encode())
                    return NOT_STARTED
                self._process = process
            exit_code = self._wait(process)
            # A driver that died may leave its Python behind.
            processes.stop_group(process.pid, grace_s=1)
            processes.forget(self._settings.pids_dir, process.pid)
            controller.write(f"{_now()} INFO waitProcessCompletion ended with exit code {exit_code}\n")
        return exit_code

    def _wait(self, process: subprocess.Popen[bytes]) -> int:
        if self._order.hangs is not None:
            self._hang(process, *self._order.hangs)
        if self._order.dies_after_s is not None:
            try:
                return process.wait(timeout=self._order.dies_after_s)
            except subprocess.TimeoutExpired:
                self.kill_now()
        return process.wait()

    def _hang(self, process: subprocess.Popen[bytes], after_s: float, seconds: float) -> None:
        """Stop the process group for a while, as a node that swaps or a network that is gone would."""
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=after_s)
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGSTOP)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=seconds)
            os.killpg(process.pid, signal.SIGCONT)


def command_of(order: StepOrder, steps: str = "spark", master: str = "local") -> list[str]:
    """The command line of a step; `steps` and `master` are settings. Raises :class:`StepNotRunnable`."""
    if order.jar.rsplit("/", 1)[-1] != "command-runner.jar":
        raise StepNotRunnable(f"The local cloud runs command-runner.jar alone, not {order.jar}: there is no Hadoop.")
    if not order.args:
        raise StepNotRunnable("command-runner.jar was given no arguments: there is nothing to run.")
    program, *arguments = order.args
    if program == "spark-submit" and steps == "stand-in":
        return [sys.executable, "-m", "tidegate_local.stand_in", *arguments]
    if program == "spark-submit":
        return [
            str(spark_home.spark_home() / "bin" / "spark-submit"),
            *spark_conf.submit_arguments(arguments, master),
        ]
    return [program, *arguments]


def prepare(order: StepOrder, settings: Settings, folder: Path, token: str = "") -> dict[str, str]:
    """Write the step's Spark configuration, if it needs one, and return its environment, made from scratch.

    `token` tells the step's calls from others' (`faults/callers.py`). Nothing of the user's environment gets in: no
    AWS profile, no other Spark, no Python path.
    """
    (settings.tmp_dir / "home").mkdir(parents=True, exist_ok=True)
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "HOME": str(settings.tmp_dir / "home"),
        "TMPDIR": str(settings.tmp_dir),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONPYCACHEPREFIX": str(settings.cache_dir / "pycache"),
        "AWS_ENDPOINT_URL": settings.endpoint_url,
        "AWS_REGION": settings.region,
        "AWS_DEFAULT_REGION": settings.region,
        "AWS_ACCESS_KEY_ID": settings.access_key,
        "AWS_SECRET_ACCESS_KEY": settings.secret_key,
        "AWS_EC2_METADATA_DISABLED": "true",
        "EMR_CLUSTER_ID": order.cluster_id,
        "EMR_STEP_ID": order.step_id,
        callers.VARIABLE: token,
    }
    if settings.steps == "stand-in":
        return environment
    if order.args[0] == "spark-submit":
        absent = jars.absent(settings.jars_dir)
        if absent:
            raise StepNotRunnable(
                f"Jars are missing in {settings.jars_dir}: {', '.join(jar.file_name for jar in absent)}. "
                "Run `python -m tidegate_local.jars` (`make setup` does)."
            )
    return environment | _spark_environment(order, settings, folder / "conf", token)


def _spark_environment(order: StepOrder, settings: Settings, conf_dir: Path, token: str) -> dict[str, str]:
    for needed in (conf_dir, settings.logs_dir / "spark-events"):
        needed.mkdir(parents=True, exist_ok=True)
    properties = spark_conf.spark_defaults(order.configurations, settings, class_archive=class_archive.find(settings))
    if token:
        properties["spark.hadoop.fs.s3a.user.agent.prefix"] = f"app/{token}"
    (conf_dir / "spark-defaults.conf").write_text(spark_conf.as_properties_file(properties))
    hadoop = {"HADOOP_CONF_DIR": str(site.client_dir(settings, order.cluster_id))} if settings.master == "yarn" else {}
    return {
        **hadoop,
        "JAVA_HOME": str(java.find_java_home(os.environ)),
        "SPARK_HOME": str(spark_home.spark_home()),
        "SPARK_CONF_DIR": str(conf_dir),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LAUNCHER_OPTS": "-XX:-UsePerfData -XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
        "PYSPARK_PYTHON": sys.executable,
    }


def upload_logs(logs: Path, order: StepOrder, settings: Settings) -> None:
    """Put a step's logs where EMR puts them: `<LogUri>/<cluster>/steps/<step>/{stdout,...}.gz`."""
    if not order.log_uri:
        return
    import boto3  # noqa: PLC0415 - half a second that the start of the cloud need not wait for
    from botocore.config import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    bucket, _, prefix = order.log_uri.split("://", 1)[1].partition("/")
    try:
        client = boto3.client(
            "s3",
            endpoint_url=settings.endpoint_url,
            region_name=settings.region,
            aws_access_key_id=settings.access_key,
            aws_secret_access_key=settings.secret_key,
            config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 2}),
        )
        for name in ("controller", "stdout", "stderr"):
            path = logs / name
            if path.is_file():
                key = "/".join(
                    part for part in (prefix.strip("/"), order.cluster_id, "steps", order.step_id, f"{name}.gz") if part
                )
                client.put_object(Bucket=bucket, Key=key, Body=gzip.compress(path.read_bytes()))
    except (BotoCoreError, ClientError, OSError) as trouble:
        # As on EMR: a log that can't be written fails no step.
        logger.warning("Logs of step %s were not written to %s: %s", order.step_id, order.log_uri, trouble)


def _now() -> str:
    return datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

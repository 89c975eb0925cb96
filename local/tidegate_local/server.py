"""The server process of the local cloud: ministack with its gaps filled. `python -m tidegate_local.server`.

Everything binds to loopback. The settings come from the environment (settings.py); the launcher sets it.
"""

from __future__ import annotations

import importlib
import os
import tempfile

from tidegate_local import settings
from tidegate_local.settings import Settings

GAPS = (
    "tidegate_local.cloudformation_alarms",
    "tidegate_local.cloudformation_emr",
    "tidegate_local.emr",
    "tidegate_local.event_log",
    "tidegate_local.faults",
    "tidegate_local.lambda_errors",
    "tidegate_local.s3_events",
    "tidegate_local.scheduler_attributes",
    "tidegate_local.sqs_batching",
    "tidegate_local.stepfunctions_calls",
    "tidegate_local.stepfunctions_emr",
    "tidegate_local.stepfunctions_events",
    "tidegate_local.stepfunctions_execution",
    "tidegate_local.stepfunctions_jsonata",
    "tidegate_local.stepfunctions_retry",
    "tidegate_local.stepfunctions_start",
    "tidegate_local.stepfunctions_walk",
    "tidegate_local.stepfunctions_yaml",
)
"""A module a gap of ministack; each has `install()` and says in its docstring what it fills."""


def environment_of_ministack(here: Settings) -> dict[str, str]:
    """Loopback alone, nothing kept, and every folder below the run folder."""
    return {
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(here.port),
        "USE_SSL": "0",
        # Listens on all interfaces, and nothing here speaks MQTT.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "AUTH": "true" if here.iam == "enforced" else "false",
        "SERVICES": "",
        "LAMBDA_EXECUTOR": "local",
        # It would remove the containers of another ministack.
        "DOCKER_HOST": f"unix://{here.run_dir}/no-docker.sock",
        "PERSIST_STATE": "0",
        "S3_PERSIST": "0",
        "STATE_DIR": str(here.run_dir / "state"),
        "S3_DATA_DIR": str(here.run_dir / "s3"),
        "SFN_WAIT_SCALE": str(here.wait_scale),
        "SFN_MOCK_CONFIG": "",
        "TMPDIR": str(here.tmp_dir),
    }


def main() -> None:
    """Serve until the process is ended."""
    here = settings.current()
    here.tmp_dir.mkdir(parents=True, exist_ok=True)
    # ministack reads its environment when it is imported. What the user has set for one of theirs is not for this one.
    for name in [each for each in os.environ if each.startswith(("MINISTACK_", "LOCALSTACK_"))]:
        del os.environ[name]
    os.environ.update(environment_of_ministack(here))
    tempfile.tempdir = str(here.tmp_dir)

    from ministack import app  # noqa: PLC0415 - after its environment is set

    for gap in GAPS:
        importlib.import_module(gap).install()
    app.main()


if __name__ == "__main__":
    main()

"""The real `sam build` and `sam deploy`, against the local cloud."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import boto3
from botocore.config import Config

from tidegate_local import processes
from tidegate_local.preflight import LocalCloudError, find_sam
from tidegate_local.settings import Settings

CHECKOUT = Path(__file__).resolve().parents[2]
STACK = "tidegate"
ClientName = Literal["cloudformation", "emr", "stepfunctions"]
_LAST_LINES = 15


def deploy(here: Settings, parameters: Mapping[str, str] | None = None, checkout: Path = CHECKOUT) -> dict[str, str]:
    """Build the checkout's template and deploy it; returns the stack's Outputs.

    `parameters` override the template's. Raises LocalCloudError with the last words of what failed.
    """
    sam = find_sam(checkout, os.environ.get("TIDEGATE_SAM"))
    _quieten_sam(here)
    build_dir = here.run_dir / "build"
    _run(here, [str(sam), "build", "--build-dir", str(build_dir)], checkout)
    overrides = [f"{name}={value}" for name, value in (parameters or {}).items()]
    _run(
        here,
        [
            str(sam), "deploy", "--template-file", str(build_dir / "template.yaml"),
            "--config-file", str(checkout / "samconfig.toml"), "--stack-name", STACK, "--no-confirm-changeset",
            *(["--parameter-overrides", *overrides] if overrides else []),
        ],
        checkout,
    )  # fmt: skip
    return outputs(here)


def outputs(here: Settings) -> dict[str, str]:
    """The Outputs of the deployed stack."""
    client = client_of(here, "cloudformation")
    stack = client.describe_stacks(StackName=STACK)["Stacks"][0]
    return {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", [])}


def client_of(here: Settings, service: ClientName) -> Any:
    """A boto3 client of the local cloud. The user's AWS set-up plays no part in it."""
    return boto3.client(
        service,
        endpoint_url=here.endpoint_url,
        region_name=here.region,
        aws_access_key_id=here.access_key,
        aws_secret_access_key=here.secret_key,
        config=Config(connect_timeout=5, read_timeout=30),
    )


def environment_of(here: Settings) -> dict[str, str]:
    """For tools that talk to the local cloud: nothing of the user's AWS set-up is read, nothing is written to it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SAM_"))}
    # Where TLS goes through a proxy of the machine, what these name is still needed to fetch packages.
    kept |= {name: os.environ[name] for name in ("AWS_CA_BUNDLE",) if name in os.environ}
    return kept | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "AWS_ENDPOINT_URL": here.endpoint_url,
        "AWS_ACCESS_KEY_ID": here.access_key,
        "AWS_SECRET_ACCESS_KEY": here.secret_key,
        "AWS_DEFAULT_REGION": here.region,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "SAM_CLI_TELEMETRY": "0",
        "__SAM_CLI_APP_DIR": str(_sam_dir(here)),
        "TMPDIR": str(here.tmp_dir),
    }


def _quieten_sam(here: Settings) -> None:
    """The SAM CLI asks PyPI once a week whether it is the newest, and has no switch for that."""
    folder = _sam_dir(here)
    folder.mkdir(parents=True, exist_ok=True)
    told = {"lastVersionCheck": time.time(), "telemetryEnabled": False}
    (folder / "metadata.json").write_text(json.dumps(told), encoding="utf-8")


def _sam_dir(here: Settings) -> Path:
    return here.run_dir / "sam"


def _run(here: Settings, command: list[str], checkout: Path) -> None:
    done = subprocess.run(
        command,
        cwd=checkout,
        # What it leaves when it is interrupted is found by this mark.
        env=environment_of(here) | processes.marker(here.pids_dir),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    said = f"{done.stdout}\n{done.stderr}"
    here.logs_dir.mkdir(parents=True, exist_ok=True)
    log = here.logs_dir / f"sam-{command[1]}.log"
    log.write_text(said, encoding="utf-8")
    if done.returncode:
        last = "\n".join([line for line in said.splitlines() if line.strip()][-_LAST_LINES:])
        raise LocalCloudError(f"`sam {command[1]}` failed. Its last words:\n{last}")

"""Which Tidegate the command talks to: the local cloud that runs, or a stack in an AWS account."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.output import CliError

DEFAULT_STACK = "tidegate"
OUTPUTS = {
    "landing_bucket": "LandingBucket",
    "lake_bucket": "LakeBucket",
    "control_bucket": "ControlBucket",
    "ledger_table": "LedgerTable",
    "state_machine_arn": "StateMachineArn",
    "dispatch_function": "DispatchFunction",
    "reconcile_function": "ReconcileFunction",
}
"""Our names, and those of the stack's outputs."""


@dataclass(frozen=True)
class Connection:
    """Everything that reading a stack's state needs."""

    region: str
    landing_bucket: str
    lake_bucket: str
    control_bucket: str
    ledger_table: str
    state_machine_arn: str
    dispatch_function: str
    reconcile_function: str = ""
    daily_budget_usd: float = 0.0
    """US dollars; 0 for none."""
    monthly_budget_usd: float = 0.0
    stack_name: str = DEFAULT_STACK
    endpoint_url: str | None = None
    """The local cloud's; None in AWS."""
    profile: str | None = None

    @property
    def is_local(self) -> bool:
        return self.endpoint_url is not None


def state_file(environment: Mapping[str, str] = os.environ) -> Path:
    """`.tidegate/local.json`, where a local cloud that runs says what it is."""
    from tidegate_local import settings  # noqa: PLC0415 - only commands that connect need it

    try:
        return settings.read(environment).state_dir / "local.json"
    except settings.InvalidSetting as error:
        raise CliError(str(error), ExitCode.USAGE) from None


def find(stack: str | None, region: str | None, profile: str | None, *, file: Path | None = None) -> Connection:
    """The stack that is named; without a name, the local cloud that runs. Raises :class:`CliError`."""
    if stack or region or profile:
        return _of_stack(stack or DEFAULT_STACK, region, profile)
    local = read_local(file or state_file())
    if local is None:
        raise CliError(
            "No local cloud runs. Start one with `tidegate local up --detach`, or name a deployed stack:"
            " --stack tidegate --region eu-central-1.",
            ExitCode.NOT_REACHABLE,
        )
    return local


def read_local(file: Path) -> Connection | None:
    """The local cloud of this file, or None if none runs. Raises :class:`CliError` if it can't be read."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CliError(
            f"{file} cannot be read ({error}). Run `tidegate local down`, then `tidegate local up --detach`.",
            ExitCode.NOT_REACHABLE,
        ) from None
    if not _is_alive(content.get("pid")):
        raise CliError(
            f"The local cloud has stopped by itself: its process {content.get('pid')} is gone. Start it again"
            " with `tidegate local up --detach`, which cleans up first.",
            ExitCode.NOT_REACHABLE,
        )
    known = {field.name for field in fields(Connection)}
    return Connection(**{name: value for name, value in content.items() if name in known})


def _is_alive(pid: Any) -> bool:
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _of_stack(stack: str, region: str | None, profile: str | None) -> Connection:
    from tidegate_cli.adapters import cloudformation  # noqa: PLC0415 - boto3 is slow to import

    outputs, region = cloudformation.outputs(stack, region, profile)
    missing = sorted(set(OUTPUTS.values()) - set(outputs))
    if missing:
        raise CliError(
            f"Stack {stack} in {region} has no output {', '.join(missing)}: is it a stack of Tidegate's"
            " template, and of this release?",
            ExitCode.NOT_REACHABLE,
        )
    return Connection(
        region=region,
        stack_name=stack,
        profile=profile,
        **{ours: outputs[theirs] for ours, theirs in OUTPUTS.items()},
        daily_budget_usd=float(outputs.get("DailyBudget") or 0),
        monthly_budget_usd=float(outputs.get("MonthlyBudget") or 0),
    )

"""Calls functions of the stack."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tidegate_cli.adapters.aws import client, translated
from tidegate_cli.connection import Connection
from tidegate_cli.output import CliError

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


def invoke(connection: Connection, function: str, payload: dict[str, Any]) -> Any:
    """A function's answer. What it raises becomes a :class:`CliError` with its words."""
    functions: LambdaClient = client(connection, "lambda", read_timeout=120, retries={"max_attempts": 0})
    with translated():
        answer = functions.invoke(FunctionName=function, Payload=json.dumps(payload).encode())
        content = json.loads(answer["Payload"].read() or "null")
    if answer.get("FunctionError"):
        words = content.get("errorMessage", content) if isinstance(content, dict) else content
        kind = content.get("errorType", "an error") if isinstance(content, dict) else "an error"
        raise CliError(f"{function} raised {kind}: {words}")
    return content

"""The outputs of a deployed stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
from botocore.exceptions import ClientError

from tidegate_cli.adapters.aws import translated
from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.output import CliError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient


def outputs(stack: str, region: str | None, profile: str | None) -> tuple[dict[str, str], str]:
    """A stack's outputs by name, and the region in which it is."""
    with translated():
        cloudformation: CloudFormationClient = boto3.Session(region_name=region, profile_name=profile).client(
            "cloudformation"
        )
        where = cloudformation.meta.region_name
        try:
            (described,) = cloudformation.describe_stacks(StackName=stack)["Stacks"]
        except ClientError as error:
            if "does not exist" not in str(error):
                raise
            raise CliError(
                f"There is no stack {stack} in {where}. `make deploy` makes one; --stack and --region name another.",
                ExitCode.NOT_REACHABLE,
            ) from None
    return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}, where

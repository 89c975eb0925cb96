"""boto3 for a connection, and its errors in the operator's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)
from tidegate.errors import Throttled

from tidegate_cli.connection import Connection
from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.output import CliError

if TYPE_CHECKING:
    from boto3.session import Session

_DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "UnauthorizedOperation",
        "ExpiredToken",
        "ExpiredTokenException",
    }
    | {"InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "403", "Forbidden"}
)
_PATIENCE = Config(connect_timeout=5, read_timeout=60, retries={"mode": "standard", "max_attempts": 4})


def session_of(connection: Connection) -> Session:
    """A session with the connection's credentials and region."""
    if connection.is_local:
        return boto3.Session("test", "test", region_name=connection.region)  # it accepts anything
    return boto3.Session(region_name=connection.region, profile_name=connection.profile)


def client(connection: Connection, service: str, **config: Any) -> Any:
    """A client of a service; adapters give it its type."""
    with translated():
        return session_of(connection).client(
            service,
            endpoint_url=connection.endpoint_url,
            config=_PATIENCE.merge(Config(**config)),
        )


def plain_dynamodb(connection: Connection) -> Any:
    """A client of DynamoDB that takes and gives plain Python values, as the functions' own ledger wants it."""
    with translated():
        resource = session_of(connection).resource(
            "dynamodb", endpoint_url=connection.endpoint_url, config=_PATIENCE.merge(Config(max_pool_connections=32))
        )
        return resource.meta.client


@contextmanager
def translated() -> Iterator[None]:
    """Turn what boto3 raises into a :class:`CliError` that says what to do."""
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError):
        raise CliError(
            "There are no AWS credentials. Make some (`aws configure sso`), or name a profile: --profile X.",
            ExitCode.DENIED,
        ) from None
    except ProfileNotFound as error:
        raise CliError(f"{error}. `aws configure list-profiles` shows those there are.", ExitCode.USAGE) from None
    except NoRegionError:
        raise CliError("No AWS region is set; add one: --region eu-central-1.", ExitCode.USAGE) from None
    except (EndpointConnectionError, HTTPClientError) as error:
        raise CliError(
            f"{error} If the local cloud should run here, see `tidegate local status`.",
            ExitCode.NOT_REACHABLE,
        ) from None
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        message = error.response.get("Error", {}).get("Message", str(error))
        if code in _DENIED:
            raise CliError(
                f"AWS refused {error.operation_name} ({code}): {message} Which credentials are these?"
                " `aws sts get-caller-identity` says.",
                ExitCode.DENIED,
            ) from None
        raise CliError(f"AWS answered {error.operation_name} with {code}: {message}") from None
    except BotoCoreError as error:
        raise CliError(str(error), ExitCode.NOT_REACHABLE) from None
    except Throttled as error:
        raise CliError(f"{error}. Try again in a minute.", ExitCode.NOT_REACHABLE) from None

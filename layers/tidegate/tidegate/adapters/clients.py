"""How every boto3 client is made, and how AWS's errors become Tidegate's."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.config import Config
from botocore.exceptions import ClientError

from tidegate.errors import Throttled

CONFIG = Config(
    # `standard` retries throttling and passing faults with backoff and full jitter.
    retries={"mode": "standard", "total_max_attempts": 8},
    connect_timeout=5,
    read_timeout=30,
    max_pool_connections=32,
)

CONFIG_FOR_NEWS = CONFIG.merge(
    # Whatever is told to others is told again later; no run waits long for who doesn't answer.
    Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=3, read_timeout=10)
)

_THROTTLING_CODES = frozenset({
    "Throttling", "ThrottlingException", "ThrottledException", "RequestLimitExceeded", "TooManyRequestsException",
    "ProvisionedThroughputExceededException", "SlowDown", "RequestThrottled",
})  # fmt: skip


def code_of(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def throttling_named(call: str) -> Iterator[None]:
    """Turn throttling that outlasted botocore's retries into Throttled; everything else passes."""
    try:
        yield
    except ClientError as error:
        if code_of(error) in _THROTTLING_CODES:
            raise Throttled(f"{call} was throttled by AWS, and eight tries did not help") from error
        raise

"""What the functions share when they put themselves together: their settings and the contents of their layers."""

import json
import os
import warnings
from functools import cache
from importlib import resources

from aws_lambda_powertools import Logger, Metrics

from tidegate.contracts import Contracts, parse_contracts
from tidegate.errors import NotRegistered, TidegateError
from tidegate.prices import PriceSheet, load_prices, parse_prices
from tidegate.stack_limits import StackLimits, read_limits
from tidegate.usecases.publish_tables import Report

# Most calls have nothing to count, and Powertools would warn of each.
warnings.filterwarnings("ignore", "No application metrics to publish")


def setting(name: str) -> str:
    """An environment variable that the template sets. Raises KeyError with its name if it is missing."""
    return os.environ[name]


@cache
def contracts() -> Contracts:
    """The contracts of this deployment, from their layer."""
    text = resources.files("tidegate_contracts").joinpath("contracts.json").read_text(encoding="utf-8")
    return parse_contracts(text)


def limits() -> StackLimits:
    """What the operator of this deployment allows."""
    return read_limits(setting("MAXIMUM_CLUSTERS"), setting("QUIET_HOURS"), setting("DAILY_BUDGET"))


@cache
def prices() -> PriceSheet:
    """The price sheet of this region: the deployment's own, from the contracts' layer, or the package's.

    Raises NoPriceSheet, InvalidPrices.
    """
    region = os.environ.get("AWS_REGION") or setting("AWS_DEFAULT_REGION")
    own = resources.files("tidegate_contracts").joinpath("prices", f"{region}.json")
    if own.is_file():
        return parse_prices(own.read_text(encoding="utf-8"), f"prices/{region}.json", whole=False)
    return load_prices(region, whole=False)


def artifacts() -> dict[str, bytes]:
    """The files of the artifacts' layer, by their paths in it."""
    found: dict[str, bytes] = {}

    def collect(folder: resources.abc.Traversable, prefix: str) -> None:
        for entry in folder.iterdir():
            if entry.is_dir():
                if entry.name != "__pycache__":
                    collect(entry, f"{prefix}{entry.name}/")
            elif f"{prefix}{entry.name}" != "__init__.py":
                found[f"{prefix}{entry.name}"] = entry.read_bytes()

    collect(resources.files("tidegate_artifacts"), "")
    return found


def reporter(logger: Logger, metrics: Metrics) -> Report:
    """Have operators hear of news that could not be told: a log line, and a metric that has an alarm."""

    def report(trouble: TidegateError) -> None:
        is_catalog = isinstance(trouble, NotRegistered)
        logger.error(str(trouble))
        metrics.add_metric(name="TablesNotRegistered" if is_catalog else "TablesNotAnnounced", unit="Count", value=1)

    return report


def as_json(value: object) -> str:
    """For log lines: JSON with whatever JSON doesn't know as text."""
    return json.dumps(value, default=str)

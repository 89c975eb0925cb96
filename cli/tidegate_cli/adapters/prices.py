"""Asks AWS what things cost: the Price List API, and EC2's history of Spot prices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import boto3
from tidegate.adapters.clients import CONFIG, throttling_named

from tidegate_cli.adapters.aws import translated

PRICE_LIST_REGION = "us-east-1"
"""Where the Price List API answers for all regions; else only eu-central-1 and ap-south-1. Source: botocore."""


class PriceSource:
    """Answers with all pages. Throttling is retried by botocore, as for every client of Tidegate's."""

    def __init__(self, pricing: Any, ec2: Any) -> None:
        self._pricing = pricing
        self._ec2 = ec2

    def products(self, service: str, attributes: Mapping[str, str]) -> Iterator[str]:
        """Products of a service whose attributes are these, each as JSON. Raises :class:`CliError`."""
        filters = [{"Type": "TERM_MATCH", "Field": name, "Value": value} for name, value in attributes.items()]
        with translated(), throttling_named("pricing:GetProducts"):
            pages = self._pricing.get_paginator("get_products").paginate(
                ServiceCode=service, Filters=filters, FormatVersion="aws_v1"
            )
            for page in pages:
                yield from page["PriceList"]

    def spot_prices(self, types: Sequence[str], since: datetime, until: datetime) -> Iterator[Mapping[str, Any]]:
        """Linux's Spot prices in all zones of the region: those of the time, and what held when it began."""
        with translated(), throttling_named("ec2:DescribeSpotPriceHistory"):
            pages = self._ec2.get_paginator("describe_spot_price_history").paginate(
                InstanceTypes=list(types), ProductDescriptions=["Linux/UNIX"], StartTime=since, EndTime=until
            )
            for page in pages:
                yield from page["SpotPriceHistory"]


def price_source(region: str, profile: str | None) -> PriceSource:
    """What an account can be asked about a region. It needs pricing:GetProducts and ec2:DescribeSpotPriceHistory."""
    with translated():
        session: Any = boto3.Session(profile_name=profile)
        return PriceSource(
            session.client("pricing", region_name=PRICE_LIST_REGION, config=CONFIG),
            session.client("ec2", region_name=region, config=CONFIG),
        )

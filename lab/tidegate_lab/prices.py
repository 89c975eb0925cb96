"""Prices by the second. To be replaced by `tidegate.prices` and `tidegate.costs`, which have the same shape.

us-east-1, Linux, on demand, November 2026. Sources: Amazon EC2 On-Demand pricing; Amazon EMR pricing; Amazon EMR
Serverless pricing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Market = Literal["on_demand", "spot"]
MINIMUM_S = 60.0
"""EC2 and EMR charge by the second, a minute at least."""


@dataclass(frozen=True)
class PriceSheet:
    """What an hour costs. `emr_usd` is EMR's uplift, the same whatever market the machine is from."""

    region: str
    as_of: str
    ec2_usd: Mapping[str, float]
    emr_usd: Mapping[str, float]
    spot_ratio: float
    """Of the On-Demand price. Spot moves: 0.4 is an assumption, well above "up to 90 % off"."""
    serverless_vcpu_usd: float
    serverless_gb_usd: float

    def hourly_usd(self, instance_type: str, market: Market) -> float:
        """Raises KeyError for a type that the sheet doesn't have."""
        ratio = self.spot_ratio if market == "spot" else 1.0
        return self.ec2_usd[instance_type] * ratio + self.emr_usd[instance_type]


@dataclass(frozen=True)
class InstanceUsage:
    """One machine's paid time."""

    instance_type: str
    market: Market
    seconds: float


# EMR's uplift is 25 % of the EC2 price for these families.
_EC2_USD = {"m6g.xlarge": 0.154, "m7g.xlarge": 0.1632, "r6g.xlarge": 0.2016}


def load_prices(region: str = "us-east-1") -> PriceSheet:
    """The sheet of a region. Raises ValueError for one that nobody has written down."""
    if region != "us-east-1":
        raise ValueError(f"there are no prices of {region}: us-east-1 is the only sheet")
    return PriceSheet(
        region=region,
        as_of="2026-11",
        ec2_usd=_EC2_USD,
        emr_usd={name: round(price * 0.25, 5) for name, price in _EC2_USD.items()},
        spot_ratio=0.4,
        serverless_vcpu_usd=0.052624,
        serverless_gb_usd=0.0057785,
    )


def cluster_cost(sheet: PriceSheet, usage: Iterable[InstanceUsage]) -> float:
    """US dollars of a cluster's machines, EMR's uplift included."""
    return sum(
        sheet.hourly_usd(each.instance_type, each.market) * max(MINIMUM_S, each.seconds) / 3600 for each in usage
    )

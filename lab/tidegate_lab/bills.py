"""What machines cost, by the product's own sheet and functions: each rate is asked for once, as a float a second.

A simulation prices clusters by the hundred thousand, and Decimals would take most of its time. A test holds these
figures to `tidegate.costs` itself.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from tidegate.control_plane import usage_of_run
from tidegate.costs import MINIMUM_S, InstanceUsage, Market, cluster_cost, control_plane_cost, serverless_cost
from tidegate.prices import BUNDLED_REGION, PriceSheet, load_prices

VCPU, MEMORY_GB = 4, 16
"""Of a worker of EMR Serverless, driver and executor alike: its defaults for Spark."""

SCHEDULES_USD_A_MONTH = 0.63
"""docs/costs.md, "Each month, whatever arrives": schedules and the queue's polling. Alarms and storage are left out."""


class Usage(NamedTuple):
    """Machines' paid time: `seconds` of one, of so many `machines`."""

    instance_type: str
    market: Market
    seconds: float
    machines: int = 1


@dataclass(frozen=True)
class Bills:
    """A price sheet, and what has been asked of it."""

    sheet: PriceSheet
    _usd_a_s: dict[tuple[str, Market], float] = field(default_factory=dict)

    def usd_a_s(self, instance_type: str, market: Market) -> float:
        """One machine's second: EC2, EMR and the volumes that EMR attaches. Raises PriceMissing."""
        key = (instance_type, market)
        if key not in self._usd_a_s:
            hour = cluster_cost(self.sheet, [InstanceUsage(instance_type, market, 3600)]).total_usd
            self._usd_a_s[key] = float(hour) / 3600
        return self._usd_a_s[key]

    def cluster_usd(self, usage: Iterable[Usage]) -> float:
        """Machines by the whole second, a minute at least."""
        return sum(
            each.machines * self.usd_a_s(each.instance_type, each.market) * max(MINIMUM_S, math.ceil(each.seconds))
            for each in usage
            if each.seconds > 0
        )

    def serverless_usd(self, workers: int, seconds: float) -> float:
        """Workers of EMR Serverless."""
        return workers * self._serverless_usd_a_s() * max(MINIMUM_S, math.ceil(seconds))

    def _serverless_usd_a_s(self) -> float:
        key: tuple[str, Market] = ("EMR Serverless", "on_demand")
        if key not in self._usd_a_s:
            self._usd_a_s[key] = float(serverless_cost(self.sheet, VCPU, MEMORY_GB, 3600)) / 3600
        return self._usd_a_s[key]

    def control_plane_usd(self, arrivals: int, batches: int, runs: int, months: float) -> float:
        """Tidegate's own share: what is called for each arrival, batch and run, and its schedules."""
        usage = usage_of_run(arrivals=arrivals, batches=batches, runs=runs)
        return float(control_plane_cost(self.sheet, usage).total_usd) + SCHEDULES_USD_A_MONTH * months


def bills_of(region: str = BUNDLED_REGION) -> Bills:
    """By the package's sheet of a region. Raises NoPriceSheet."""
    return Bills(load_prices(region))

"""What runs cost: estimated before, accounted after, shared among tables and arrivals, and held against a budget.

Money is a Decimal of US dollars, because prices are decimal figures: nothing is lost on the way, parts add up to the
whole, and tests compare exactly. Results are rounded to billionths of a dollar (a read of DynamoDB is 125 of them).
"""

import calendar
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal, Protocol

from tidegate.prices import InstancePrices, PriceMissing, PriceSheet

Market = Literal["on_demand", "spot"]
Number = int | float | Decimal

NANO_USD = Decimal("0.000000001")
MINIMUM_S = 60
"""EC2, EMR and EBS bill by the second, a minute at least. Source: aws.amazon.com/emr/pricing"""

HOUR_S = 3600
MONTH_S = 30 * 24 * HOUR_S
"""Of a GB-month of EBS, as AWS's own example counts it."""

AT_RISK_FROM = Decimal("0.1")
"""Below this share of the budget nothing is said of the month: one run on its first day says little."""


class Sizing(Protocol):
    """What an estimate reads of a ClusterPlan: EMR's InstanceFleetConfigs, and managed scaling's limit in units."""

    @property
    def fleets(self) -> Sequence[Mapping[str, Any]]: ...
    @property
    def maximum_units(self) -> int: ...


@dataclass(frozen=True)
class InstanceUsage:
    """One instance, and how long it ran. 0 seconds: it never did, and costs nothing. Raises ValueError below 0."""

    instance_type: str
    market: Market
    seconds: float

    def __post_init__(self) -> None:
        _exact(self.seconds, f"seconds of {self.instance_type}")

    @property
    def billed_s(self) -> int:
        """Whole seconds, a minute at least."""
        return max(MINIMUM_S, math.ceil(self.seconds)) if self.seconds > 0 else 0


@dataclass(frozen=True)
class ClusterCost:
    """Dollars of a cluster, by who bills them."""

    ec2_usd: Decimal = Decimal(0)
    emr_usd: Decimal = Decimal(0)
    ebs_usd: Decimal = Decimal(0)

    @property
    def total_usd(self) -> Decimal:
        return self.ec2_usd + self.emr_usd + self.ebs_usd

    def __add__(self, other: "ClusterCost") -> "ClusterCost":
        return ClusterCost(self.ec2_usd + other.ec2_usd, self.emr_usd + other.emr_usd, self.ebs_usd + other.ebs_usd)


@dataclass(frozen=True)
class ControlPlaneCost:
    """Dollars by the names of the price sheet."""

    by_name: Mapping[str, Decimal]

    @property
    def total_usd(self) -> Decimal:
        return sum(self.by_name.values(), Decimal(0))


@dataclass(frozen=True)
class RunEstimate:
    """What a cluster will cost, between the least and the most that its plan allows."""

    least_usd: Decimal
    expected_usd: Decimal
    most_usd: Decimal
    seconds: float
    reason: str


@dataclass(frozen=True)
class TableCost:
    """A table's share of a run."""

    usd: Decimal
    arrivals: int

    @property
    def usd_per_arrival(self) -> Decimal | None:
        """None without arrivals: the run was for what had been begun, or for nothing."""
        return _rounded(Fraction(self.usd) / self.arrivals) if self.arrivals else None


@dataclass(frozen=True)
class RunAccount:
    """What a run has cost, and for whom. The tables' shares add up to the total, if there are tables."""

    cluster: ClusterCost
    control_plane: ControlPlaneCost
    by_table: Mapping[str, TableCost]

    @property
    def total_usd(self) -> Decimal:
        return self.cluster.total_usd + self.control_plane.total_usd

    @property
    def usd_per_arrival(self) -> Decimal | None:
        """Over all tables; None if nothing was merged."""
        return TableCost(self.total_usd, sum(share.arrivals for share in self.by_table.values())).usd_per_arrival


@dataclass(frozen=True)
class BudgetDecision:
    """Where a month stands, and why in words. `projected_usd` is its end if it goes on as it has."""

    state: Literal["within", "at_risk", "over"]
    projected_usd: Decimal
    reason: str


def cluster_cost(sheet: PriceSheet, usages: Iterable[InstanceUsage]) -> ClusterCost:
    """Price instances: EC2 by market, EMR's fixed price on both, and the volumes that EMR attaches.

    A Spot Instance that EC2 takes back within its first hour is free of EC2's part; that isn't counted, so the bill may
    be lower. Raises PriceMissing for a type that isn't in the sheet.
    """
    ec2, emr, ebs = Fraction(0), Fraction(0), Fraction(0)
    gb_month = Fraction(sheet.rate_usd("EBS GB-month"))
    for usage in usages:
        prices = sheet.instance(usage.instance_type)
        ec2 += Fraction(_ec2_hour_usd(prices, usage.market)) * usage.billed_s / HOUR_S
        emr += Fraction(prices.emr_hour.value) * usage.billed_s / HOUR_S
        ebs += Fraction(prices.ebs_gb.value) * gb_month * usage.billed_s / MONTH_S
    return ClusterCost(_rounded(ec2), _rounded(emr), _rounded(ebs))


def control_plane_cost(sheet: PriceSheet, counts: Mapping[str, Number]) -> ControlPlaneCost:
    """Price what was called, by the names of the sheet's rates; a count may be a part, as of a GB-second.

    Raises PriceMissing for a name that the sheet doesn't have, and ValueError for a count below 0.
    """
    return ControlPlaneCost({
        name: _rounded(_exact(count, name) * Fraction(sheet.rate_usd(name))) for name, count in counts.items()
    })  # fmt: skip


def serverless_cost(sheet: PriceSheet, vcpus: Number, memory_gb: Number, seconds: float) -> Decimal:
    """Dollars of EMR Serverless for workers of so much in all (x86, 20 GB of free storage each), to compare with."""
    billed_s = InstanceUsage("EMR Serverless", "on_demand", seconds).billed_s
    an_hour = _exact(vcpus, "vcpus") * Fraction(sheet.rate_usd("EMR Serverless vCPU-hour"))
    an_hour += _exact(memory_gb, "memory_gb") * Fraction(sheet.rate_usd("EMR Serverless GB-hour"))
    return _rounded(an_hour * billed_s / HOUR_S)


def estimate_run(sheet: PriceSheet, sizing: Sizing, start_up_s: float, merge_s: float) -> RunEstimate:
    """Estimate a cluster before there is one, all its instances for start-up and merge; the control plane isn't in it.

    Expected: On-Demand of the cheapest type, which is what EMR takes for "lowest-price", and Spot at the mean of the
    fleet's types, because EC2 picks by capacity as well. The least has the cheapest types. The most has the dearest,
    On-Demand alone, since EMR switches where Spot is short, and as many units as managed scaling may add.
    """
    seconds = float(_exact(start_up_s, "start_up_s") + _exact(merge_s, "merge_s"))
    least, expected, most = Decimal(0), Decimal(0), Decimal(0)
    units_to_add, dearest_unit = sizing.maximum_units, Decimal(0)
    spot_units, on_demand_units = 0, 0
    for fleet in sizing.fleets:
        types = _offered(sheet, fleet)
        on_demand, spot = int(fleet.get("TargetOnDemandCapacity", 0)), int(fleet.get("TargetSpotCapacity", 0))
        dear, cheap = (_instance_usd(sheet, types, market, seconds) for market in ("on_demand", "spot"))
        at_on_demand = _fleet_usd(dear, types, on_demand)
        at_spot, switched = _fleet_usd(cheap, types, spot), _fleet_usd(dear, types, spot)
        least += min(at_on_demand) + min(at_spot)
        expected += min(at_on_demand) + _rounded(Fraction(sum(at_spot)) / len(at_spot))
        most += max(at_on_demand) + max(switched)
        on_demand_units, spot_units = on_demand_units + on_demand, spot_units + spot
        if fleet.get("InstanceFleetType") != "MASTER":
            units_to_add -= on_demand + spot
            dearest_unit = max(dearest_unit, *dear.values())
    most += max(0, units_to_add) * dearest_unit
    reason = (
        f"{on_demand_units} On-Demand and {spot_units} Spot units for {math.ceil(seconds)} s:"
        f" ${expected:.4f}, between ${least:.4f} and ${most:.4f} at the prices of {sheet.region}, {sheet.as_of}"
    )
    return RunEstimate(least, expected, most, seconds, reason)


def account_run(
    sheet: PriceSheet,
    clusters: Iterable[ClusterCost],
    counts: Mapping[str, Number],
    merge_s: Mapping[str, float],
    arrivals: Mapping[str, int],
) -> RunAccount:
    """Account for a run after it: `clusters` are all that it had, `merge_s` and `arrivals` are by table.

    Tables share the whole by their seconds of merging, start-up and waiting included: who merges longer pays more of
    it. If nothing was merged, they share it evenly. Raises ValueError for arrivals of a table without `merge_s`.
    """
    strangers = sorted(arrivals.keys() - merge_s.keys())
    if strangers:
        raise ValueError(f"arrivals of {', '.join(strangers)}, which the run's merges don't have")
    cluster, control_plane = sum(clusters, ClusterCost()), control_plane_cost(sheet, counts)
    shares = apportion(cluster.total_usd + control_plane.total_usd, merge_s)
    by_table = {table: TableCost(usd, arrivals.get(table, 0)) for table, usd in shares.items()}
    return RunAccount(cluster, control_plane, by_table)


def apportion(total_usd: Decimal, weights: Mapping[str, Number]) -> dict[str, Decimal]:
    """Share dollars by weight, so that the shares add up to them exactly; evenly if all weights are 0.

    Largest remainder: each share is rounded down to a billionth, and what is left goes to those that lost most.
    Raises ValueError for an amount or a weight below 0.
    """
    if not weights:
        return {}
    exact = {name: _exact(weight, f"the weight of {name}") for name, weight in weights.items()}
    if not any(exact.values()):
        exact = dict.fromkeys(exact, Fraction(1))
    nanos, all_weights = _nanos(_exact(total_usd, "total_usd")), sum(exact.values())
    ideal = {name: nanos * weight / all_weights for name, weight in exact.items()}
    shares = {name: math.floor(share) for name, share in ideal.items()}
    by_loss = sorted(shares, key=lambda name: (shares[name] - ideal[name], name))
    for name in by_loss[: nanos - sum(shares.values())]:
        shares[name] += 1
    return {name: share * NANO_USD for name, share in shares.items()}


def decide_budget(spent_usd: Number, budget_usd: Number, day: date) -> BudgetDecision:
    """Decide where a month stands at the end of `day`, with so much spent since its first.

    At risk: at this pace it ends above the budget, and a tenth of it is spent already. Raises ValueError below 0.
    """
    spent, budget = _rounded(_exact(spent_usd, "spent_usd")), _rounded(_exact(budget_usd, "budget_usd"))
    days = calendar.monthrange(day.year, day.month)[1]
    projected = _rounded(Fraction(spent) * days / day.day)
    state: Literal["within", "at_risk", "over"] = "within"
    ending = f"at this pace {day:%B} ends at ${projected:.2f}"
    if spent > budget:
        state, ending = "over", f"${spent - budget:.2f} too much, with {days - day.day} days to go"
    elif projected > budget and spent >= AT_RISK_FROM * budget:
        state = "at_risk"
    elif projected > budget:
        ending += ", but so little of the budget is spent that this says nothing yet"
    reason = f"${spent:.2f} of ${budget:.2f} by day {day.day} of {days}: {ending}"
    return BudgetDecision(state, projected, reason)


def usages_of(instances: Iterable[Mapping[str, Any]], now: datetime) -> list[InstanceUsage]:
    """Read EMR's ListInstances: each instance from its creation to its end, or to `now` while it lives.

    Without an Ec2InstanceId it was never there. An end before the creation, as by a clock that is off, is no time.
    Source: Amazon EMR API Reference, Instance and InstanceTimeline.
    """
    usages = []
    for instance in instances:
        timeline = instance.get("Status", {}).get("Timeline", {})
        created_at = timeline.get("CreationDateTime")
        if not instance.get("Ec2InstanceId") or created_at is None:
            continue
        seconds = max(0.0, (timeline.get("EndDateTime", now) - created_at).total_seconds())
        market: Market = "spot" if instance.get("Market") == "SPOT" else "on_demand"
        usages.append(InstanceUsage(str(instance["InstanceType"]), market, seconds))
    return usages


def _ec2_hour_usd(prices: InstancePrices, market: Market) -> Decimal:
    return prices.spot_hour_usd if market == "spot" else prices.on_demand_hour.value


def _offered(sheet: PriceSheet, fleet: Mapping[str, Any]) -> dict[str, int]:
    """A fleet's types with their weights, without those that the region doesn't have. Raises PriceMissing for none."""
    types = {str(each["InstanceType"]): int(each["WeightedCapacity"]) for each in fleet["InstanceTypeConfigs"]}
    offered = {name: weight for name, weight in types.items() if name not in sheet.not_offered}
    if not offered:
        raise PriceMissing(f"{sheet.region} has none of {', '.join(types)}: choose other types in tidegate.launches")
    return offered


def _instance_usd(sheet: PriceSheet, types: Iterable[str], market: Market, seconds: float) -> dict[str, Decimal]:
    """Dollars of one instance for so long, by type."""
    return {name: cluster_cost(sheet, [InstanceUsage(name, market, seconds)]).total_usd for name in types}


def _fleet_usd(of_one: Mapping[str, Decimal], types: Mapping[str, int], units: int) -> list[Decimal]:
    """Dollars for each of its types if the whole fleet were of it: as many instances as its units need, rounded up."""
    return [math.ceil(units / weight) * of_one[name] for name, weight in types.items()]


def _exact(number: Number, name: str) -> Fraction:
    """The number as it is written, 0.1 being a tenth. Raises ValueError for what can't be an amount."""
    value = Decimal(str(number))
    if not value.is_finite() or value < 0:
        raise ValueError(f"{name} has to be a number from 0 up, not {number}")
    return Fraction(value)


def _rounded(usd: Fraction) -> Decimal:
    return _nanos(usd) * NANO_USD


def _nanos(usd: Fraction) -> int:
    """Billionths of a dollar, half to even."""
    return round(usd * 10**9)

"""From what AWS answers about prices to a price sheet, and what is different in it. No calls are made here.

What a product looks like: botocore's example of GetProducts. Attributes of EC2, EBS and EMR are those that
aws-emr-advisor asks for (AwsPricing.scala). Those of the other services are from memory: hence a rate is taken over
only if exactly one price is found, and one that is not far from the last.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Protocol

from tidegate.prices import LAUNCH_TYPES, Figure, InstancePrices, PriceSheet, Source

SPOT_DAYS = 7
"""The Spot price is the mean of so many days and all zones."""

FAR = 4
"""A rate that is so many times the last, or less than that part of it, is of something else."""

SPOT_RATIO = Decimal("0.5")
"""Assumed where there is neither a history nor an earlier figure."""

EBS_GB = {"xlarge": 79, "2xlarge": 143, "4xlarge": 271, "8xlarge": 527}
"""EMR's default volumes by size, and 15 GB of root volume; above, and for unknown sizes, what 8xlarge gets."""


@dataclass(frozen=True)
class Query:
    """What GetProducts is asked: the service's code, and attributes that have to match."""

    service: str
    attributes: Mapping[str, str]
    usage_has: str = ""
    """A part that the usage type has to have."""


RATE_QUERIES: Mapping[str, Query] = {
    "CloudWatch Logs GB": Query("AmazonCloudWatch", {"group": "Ingested Logs"}, "DataProcessing-Bytes"),
    "DynamoDB read unit": Query("AmazonDynamoDB", {"group": "DDB-ReadUnits"}, "ReadRequestUnits"),
    "DynamoDB write unit": Query("AmazonDynamoDB", {"group": "DDB-WriteUnits"}, "WriteRequestUnits"),
    "EBS GB-month": Query("AmazonEC2", {"productFamily": "Storage", "volumeApiName": "gp2"}, "VolumeUsage"),
    "EMR Serverless GB-hour": Query("ElasticMapReduce", {"meterunit": "GBHours"}, "SERVERLESS"),
    "EMR Serverless arm64 GB-hour": Query("ElasticMapReduce", {"meterunit": "ARMGBHours"}, "SERVERLESS"),
    "EMR Serverless arm64 vCPU-hour": Query("ElasticMapReduce", {"meterunit": "ARMCPUHours"}, "SERVERLESS"),
    "EMR Serverless storage GB-hour": Query("ElasticMapReduce", {"meterunit": "StorageGBHours"}, "SERVERLESS"),
    "EMR Serverless vCPU-hour": Query("ElasticMapReduce", {"meterunit": "CPUHours"}, "SERVERLESS"),
    "Lambda GB-second": Query("AWSLambda", {"group": "AWS-Lambda-Duration-ARM"}),
    "Lambda invocation": Query("AWSLambda", {"group": "AWS-Lambda-Requests-ARM"}),
    "S3 GET or HEAD": Query("AmazonS3", {"group": "S3-API-Tier2"}, "Requests-Tier2"),
    "S3 PUT, COPY or LIST": Query("AmazonS3", {"group": "S3-API-Tier1"}, "Requests-Tier1"),
    "SQS request": Query("AWSQueueService", {"queueType": "Standard"}, "Requests"),
    "Step Functions transition": Query("AmazonStates", {"group": "SFN-StateTransitions"}),
}
"""EventBridge, Glue and X-Ray are not asked for: nobody here knows how their products are told apart."""


class AsksPrices(Protocol):
    """What can be asked in an AWS account. Products are JSON, as GetProducts gives them."""

    def products(self, service: str, attributes: Mapping[str, str]) -> Iterable[str]: ...
    def spot_prices(self, types: Sequence[str], since: datetime, until: datetime) -> Iterable[Mapping[str, Any]]: ...


@dataclass(frozen=True)
class Found:
    """What AWS has answered: dollars by instance type and by rate. `unclear` says of the rest why it is not here."""

    on_demand_hour: Mapping[str, Decimal]
    emr_hour: Mapping[str, Decimal]
    spot_hour: Mapping[str, Decimal]
    rates: Mapping[str, Decimal]
    unclear: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """A figure that is not what it was; `before` is None for a new one."""

    what: str
    before: Decimal | None
    after: Decimal

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.what}: {self.after:f}, new"
        return f"{self.what}: {self.before:f} -> {self.after:f} ({(self.after / self.before - 1) * 100:+.1f} %)"


@dataclass(frozen=True)
class Refreshed:
    """A new sheet, and what was kept or left out of it, in sentences."""

    sheet: PriceSheet
    remarks: tuple[str, ...]


class NothingFound(Exception):
    """AWS has no price for any of the instance types."""


def ask(source: AsksPrices, region: str, now: datetime, types: Sequence[str] = LAUNCH_TYPES) -> Found:
    """Ask for everything that a sheet has: some 40 calls.

    Raises NothingFound if AWS has none of the types in the region.
    """
    unclear: dict[str, str] = {}

    def one(what: str, query: Query) -> Decimal | None:
        prices = prices_of(source.products(query.service, {**query.attributes, "regionCode": region}), query.usage_has)
        if len(prices) == 1:
            return prices.pop()
        listed = ", ".join(f"{price:f}" for price in sorted(prices))
        unclear[what] = f"the price list has {len(prices)} prices for it: {listed}" if prices else "it has no price"
        return None

    found = {
        "EC2": {name: one(f"{name} on EC2", of_ec2(name)) for name in types},
        "EMR": {name: one(f"{name} on EMR", of_emr(name)) for name in types},
        "rates": {name: one(name, query) for name, query in RATE_QUERIES.items()},
    }
    ec2, emr, rates = ({name: usd for name, usd in each.items() if usd is not None} for each in found.values())
    if not ec2 or not emr:
        raise NothingFound(
            f"AWS's price list has {len(ec2)} of the instance types' prices on EC2 in {region}, and {len(emr)} on EMR:"
            " is that the code of a region?"
        )
    since = now - timedelta(days=SPOT_DAYS)
    return Found(ec2, emr, mean_spot_prices(source.spot_prices(types, since, now), since, now), rates, unclear)


def of_ec2(instance_type: str) -> Query:
    return Query("AmazonEC2", {
        "instanceType": instance_type, "operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA",
        "capacitystatus": "Used", "marketoption": "OnDemand",
    })  # fmt: skip


def of_emr(instance_type: str) -> Query:
    return Query("ElasticMapReduce", {
        "instanceType": instance_type, "productFamily": "Elastic Map Reduce Instance", "softwareType": "EMR",
    })  # fmt: skip


def prices_of(products: Iterable[str], usage_has: str = "") -> set[Decimal]:
    """The prices of products: of each its first tier that isn't free, On-Demand, in dollars."""
    prices = set()
    for product in map(json.loads, products):
        if usage_has not in product["product"]["attributes"].get("usagetype", ""):
            continue
        for term in product.get("terms", {}).get("OnDemand", {}).values():
            tiers = [
                (Decimal(tier.get("beginRange") or 0), Decimal(tier["pricePerUnit"]["USD"]))
                for tier in term["priceDimensions"].values()
                if Decimal(tier.get("pricePerUnit", {}).get("USD", 0)) > 0
            ]
            if tiers:
                prices.add(min(tiers)[1].normalize())
    return prices


def mean_spot_prices(history: Iterable[Mapping[str, Any]], since: datetime, until: datetime) -> dict[str, Decimal]:
    """Dollars an hour by instance type: the mean of its zones, in each of which a price holds until the next.

    The history has the price that held at its start too, with its own time before it. Source: Amazon EC2 API
    Reference, DescribeSpotPriceHistory.
    """
    by_zone: dict[str, dict[str, list[tuple[datetime, Fraction]]]] = defaultdict(lambda: defaultdict(list))
    for point in history:
        if point["Timestamp"] < until:
            zone = by_zone[point["InstanceType"]][point["AvailabilityZone"]]
            zone.append((point["Timestamp"], Fraction(point["SpotPrice"])))
    return {
        instance_type: _usd(sum((_mean(points, since, until) for points in zones.values()), Fraction(0)) / len(zones))
        for instance_type, zones in by_zone.items()
    }


def _mean(points: list[tuple[datetime, Fraction]], since: datetime, until: datetime) -> Fraction:
    """Of one zone, by how long each price held; the last one's if none held within the time."""
    points = sorted(points)
    ends = [at for at, _ in points[1:]] + [until]
    held_s = [max(0, int((end - max(at, since)).total_seconds())) for (at, _), end in zip(points, ends, strict=True)]
    if not sum(held_s):
        return points[-1][1]
    return sum((price * held for (_, price), held in zip(points, held_s, strict=True)), Fraction(0)) / sum(held_s)


def _usd(exact: Fraction) -> Decimal:
    return round(exact * 10**6) * Decimal("0.000001")


def of_other_region(sheet: PriceSheet, region: str) -> PriceSheet:
    """A sheet to begin a region's with: another one's rates, each marked as assumed, and no instances' prices."""
    sources = {
        name: replace(source, basis="assumed", words=f"{sheet.region}'s figure, for want of {region}'s: {source.words}")
        for name, source in sheet.sources.items()
    }
    return replace(sheet, region=region, sources=sources, instances={}, not_offered=frozenset())


def with_rates_of(sheet: PriceSheet, other: PriceSheet) -> PriceSheet:
    """The sheet with such rates of the other as it lacks: an older one knows nothing of what is priced since."""
    missing = {name: figure for name, figure in other.rates.items() if name not in sheet.rates}
    if not missing:
        return sheet
    rates = {name: Figure(figure.value, f"package_{figure.source}") for name, figure in missing.items()}
    sources = {f"package_{figure.source}": other.source(figure) for figure in missing.values()}
    return replace(sheet, rates={**sheet.rates, **rates}, sources={**sheet.sources, **sources})


def refresh(base: PriceSheet, found: Found, day: date) -> Refreshed:
    """Put what AWS has answered in the place of `base`'s figures; what it has not answered is kept, with a remark.

    A type that neither has is one that the region doesn't offer.
    """
    region, remarks = base.region, []
    instances: dict[str, InstancePrices] = {}
    for name in sorted({*LAUNCH_TYPES, *base.instances}):
        ec2, emr, before = found.on_demand_hour.get(name), found.emr_hour.get(name), base.instances.get(name)
        if ec2 is not None and emr is not None:
            instances[name] = InstancePrices(
                on_demand_hour=Figure(ec2, "price_list_ec2"),
                emr_hour=Figure(emr, "price_list_emr"),
                spot_ratio=_spot_ratio(found.spot_hour.get(name), ec2, before),
                ebs_gb=before.ebs_gb if before else Figure(_ebs_gb(name), "emr_volumes_by_size"),
            )
            if name not in found.spot_hour:
                remarks.append(f"{name}: no Spot price in {SPOT_DAYS} days, so its share of On-Demand is an older one")
            continue
        why = "; ".join(f"on {service} {found.unclear.get(f'{name} on {service}', 'it was not asked for')}"
                        for service, usd in (("EC2", ec2), ("EMR", emr)) if usd is None)  # fmt: skip
        if before is not None:
            instances[name] = before
            remarks.append(f"{name}: kept as it was, {why}")
        else:
            remarks.append(f"{name}: left out as not offered in {region}, {why}")
    rates = dict(base.rates)
    for name, usd in sorted(found.rates.items()):
        before_usd = base.rates[name].value if name in base.rates else usd
        if before_usd / FAR <= usd <= before_usd * FAR:
            rates[name] = Figure(usd, "price_list")
        else:
            remarks.append(f"{name}: kept at {before_usd:f}, since {usd:f} of the price list is likely something else")
    for name in sorted(RATE_QUERIES.keys() - found.rates.keys()):
        remarks.append(f"{name}: kept, {found.unclear.get(name, 'it was not asked for')}")
    for name in sorted(base.rates.keys() - RATE_QUERIES.keys()):
        remarks.append(f"{name}: kept, the price list is not asked for it")
    return Refreshed(
        PriceSheet(
            region=region,
            as_of=day,
            sources=_used({**base.sources, **_sources(region, day)}, instances, rates),
            instances=instances,
            rates=rates,
            not_offered=frozenset(LAUNCH_TYPES) - instances.keys(),
        ),
        tuple(remarks),
    )


def _spot_ratio(spot: Decimal | None, on_demand: Decimal, before: InstancePrices | None) -> Figure:
    if spot is not None:
        # EC2 caps Spot at the On-Demand price; a sheet's ratio is above 0.
        return Figure(min(Decimal(1), max(Decimal("0.0001"), round(spot / on_demand, 4))).normalize(), "spot_history")
    return before.spot_ratio if before else Figure(SPOT_RATIO, "spot_assumed")


def _ebs_gb(instance_type: str) -> Decimal:
    return Decimal(EBS_GB.get(instance_type.partition(".")[2], EBS_GB["8xlarge"]))


def _sources(region: str, day: date) -> dict[str, Source]:
    of = "AWS Price List API, GetProducts"
    return {
        "price_list_ec2": Source(f"{of} of AmazonEC2 in {region}: Linux, shared tenancy, no software", day, "read"),
        "price_list_emr": Source(f"{of} of ElasticMapReduce in {region}", day, "read"),
        "price_list": Source(f"{of} of each service in {region}: the first tier that is not free", day, "read"),
        "spot_history": Source(
            f"Amazon EC2, DescribeSpotPriceHistory in {region}, Linux: the mean of {SPOT_DAYS} days and all zones, over"
            " the On-Demand price", day, "read",
        ),
        "spot_assumed": Source("A round figure, for want of a Spot price", day, "assumed"),
        "emr_volumes_by_size": Source(
            "EMR's default volumes by the size of the instance, and a root volume of 15 GB, from memory", day,
            "remembered",
        ),
    }  # fmt: skip


def _used(
    sources: Mapping[str, Source], instances: Mapping[str, InstancePrices], rates: Mapping[str, Figure]
) -> dict[str, Source]:
    figures = [*rates.values(), *(figure for prices in instances.values() for _, figure in figures_of(prices))]
    names = {figure.source for figure in figures}
    return {name: source for name, source in sources.items() if name in names}


def figures_of(prices: InstancePrices) -> list[tuple[str, Figure]]:
    """An instance's figures with their names."""
    return [(name, getattr(prices, name)) for name in InstancePrices.__dataclass_fields__]


def changes(before: PriceSheet | None, after: PriceSheet) -> list[Change]:
    """Every figure of `after` that isn't what it was in `before`."""
    old, new = _values(before) if before else {}, _values(after)
    return [Change(what, old.get(what), value) for what, value in new.items() if old.get(what) != value]


def gone(before: PriceSheet | None, after: PriceSheet) -> Collection[str]:
    """What `before` had and `after` has not."""
    return sorted(_values(before).keys() - _values(after).keys()) if before else []


def _values(sheet: PriceSheet) -> dict[str, Decimal]:
    of_instances = {
        f"{name} {what.replace('_', ' ')}": figure.value
        for name, prices in sorted(sheet.instances.items())
        for what, figure in figures_of(prices)
    }
    return {**of_instances, **{name: figure.value for name, figure in sorted(sheet.rates.items())}}

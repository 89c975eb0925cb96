"""The price sheet: what AWS charges in a region, dated, with where each figure comes from.

Sheets are data. Those in `price_sheets/` come with the package; one that `tidegate prices refresh` wrote goes before
them. Figures are Decimals, as AWS publishes them: sums and shares come out to the last digit.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

from tidegate.errors import TidegateError
from tidegate.launches import GRAVITON_TYPES, X86_TYPES

SCHEMA = 1
BUNDLED_REGION = "us-east-1"
LAUNCH_TYPES = tuple(sorted({*GRAVITON_TYPES, *X86_TYPES}))
"""Every instance type that a cluster may be made of: a sheet says of each what it costs, or that there is none."""

RATES = (
    "CloudWatch Logs GB",
    "DynamoDB read unit",
    "DynamoDB write unit",
    "EBS GB-month",
    "EMR Serverless GB-hour",
    "EMR Serverless vCPU-hour",
    "EventBridge event",
    "Glue request",
    "Lambda GB-second",
    "Lambda invocation",
    "S3 GET or HEAD",
    "S3 PUT, COPY or LIST",
    "SQS request",
    "Step Functions transition",
    "X-Ray trace",
)
"""What a sheet has to price besides instances, in dollars for one of it. More may be there."""

Basis = Literal["read", "remembered", "assumed"]
"""Read where its source says; remembered by whoever wrote the sheet, and not looked up; or assumed for want of both."""


class InvalidPrices(TidegateError):
    """A price sheet that can't be read, or that lacks something."""


class PriceMissing(TidegateError):
    """The sheet has no price for something that is to be paid."""


class NoPriceSheet(TidegateError):
    """There is no sheet for the region."""


@dataclass(frozen=True)
class Source:
    """Where figures come from, in words, and of which day they are."""

    words: str
    as_of: date
    basis: Basis


@dataclass(frozen=True)
class Figure:
    """A price in dollars, a ratio or a size, and the name of its source in the sheet."""

    value: Decimal
    source: str


@dataclass(frozen=True)
class InstancePrices:
    """Of one instance type. Hours are billed by the second."""

    on_demand_hour: Figure
    """Dollars for EC2, On-Demand, Linux."""
    emr_hour: Figure
    """Dollars for EMR on top. Spot Instances pay it in full."""
    spot_ratio: Figure
    """The Spot price as a share of On-Demand's: above 0, at most 1."""
    ebs_gb: Figure
    """GB of volumes that EMR attaches by default, the root's included."""

    @property
    def spot_hour_usd(self) -> Decimal:
        return self.on_demand_hour.value * self.spot_ratio.value


@dataclass(frozen=True)
class PriceSheet:
    """What AWS charges in one region, in US dollars before taxes, discounts and the free tier."""

    region: str
    as_of: date
    sources: Mapping[str, Source]
    instances: Mapping[str, InstancePrices]
    rates: Mapping[str, Figure]
    not_offered: frozenset[str] = frozenset()
    """Instance types that the region doesn't have."""

    def instance(self, instance_type: str) -> InstancePrices:
        """Raises PriceMissing for a type that the sheet doesn't have."""
        if instance_type in self.instances:
            return self.instances[instance_type]
        if instance_type in self.not_offered:
            raise PriceMissing(f"{self.region} has no {instance_type}: {_refresh(self.region)} if that has changed")
        raise PriceMissing(
            f"the price sheet of {self.region}, {self.as_of}, has no {instance_type}: {_refresh(self.region)}"
        )

    def rate_usd(self, name: str) -> Decimal:
        """Dollars for one of it. Raises PriceMissing for a name that the sheet doesn't have."""
        if name not in self.rates:
            known = ", ".join(sorted(self.rates))
            raise PriceMissing(f"the price sheet of {self.region}, {self.as_of}, has no {name!r}. It has {known}")
        return self.rates[name].value

    def source(self, figure: Figure) -> Source:
        return self.sources[figure.source]


def load_prices(region: str, folder: Path | None = None, *, whole: bool = True) -> PriceSheet:
    """The sheet of a region: `<folder>/<region>.json` if there is one, else the one of the package.

    Raises NoPriceSheet if there is neither, and InvalidPrices for one that can't be read or, if it has to be `whole`,
    lacks something.
    """
    own = folder / f"{region}.json" if folder is not None else None
    if own is not None and own.is_file():
        return _of_region(region, own.read_text(encoding="utf-8"), str(own), whole=whole)
    bundled = resources.files("tidegate") / "price_sheets" / f"{region}.json"
    if not bundled.is_file():
        raise NoPriceSheet(f"there is no price sheet of {region}: {_refresh(region)}, which makes one")
    return _of_region(region, bundled.read_text(encoding="utf-8"), f"the package's sheet of {region}", whole=whole)


def parse_prices(text: str, name: str = "the price sheet", *, whole: bool = True) -> PriceSheet:
    """Read a sheet, which prices all LAUNCH_TYPES and RATES if it has to be `whole`. `name` is what errors call it.

    Raises InvalidPrices, which names what is wrong or missing and says what to do.
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        raise InvalidPrices(f"{name} is no JSON: {error}") from None
    reader = _Reader(name)
    content = reader.mapping(content, "the sheet")
    schema = content.get("schema")
    if schema != SCHEMA:
        raise InvalidPrices(
            f"{name} has schema {schema!r}; this release reads {SCHEMA}: write it anew with `tidegate prices refresh`"
        )
    region = reader.text(content.get("region"), "region")
    sources = {
        key: reader.source(value, f"sources.{key}")
        for key, value in reader.mapping(content.get("sources"), "sources").items()
    }
    reader.sources = frozenset(sources)
    instances = {
        key: reader.instance(value, f"instances.{key}")
        for key, value in reader.mapping(content.get("instances"), "instances").items()
    }
    rates = {
        key: reader.figure(value, f"rates.{key}")
        for key, value in reader.mapping(content.get("rates"), "rates").items()
    }
    not_offered = reader.texts(content.get("not_offered", []), "not_offered")
    if whole:
        reader.complete("instance type", LAUNCH_TYPES, {*instances, *not_offered}, region)
        reader.complete("rate", RATES, rates, region)
    return PriceSheet(
        region=region,
        as_of=reader.day(content.get("as_of"), "as_of"),
        sources=sources,
        instances=instances,
        rates=rates,
        not_offered=not_offered - instances.keys(),
    )


def render_prices(sheet: PriceSheet) -> str:
    """The sheet as parse_prices reads it: one line a figure, so that versions can be compared."""

    def figure(of: Figure) -> dict[str, str]:
        return {"value": f"{of.value:f}", "source": of.source}

    instances = {
        key: {name: figure(getattr(each, name)) for name in InstancePrices.__dataclass_fields__}
        for key, each in sorted(sheet.instances.items())
    }
    blocks = {
        "sources": {
            key: {"basis": each.basis, "as_of": each.as_of.isoformat(), "words": each.words}
            for key, each in sorted(sheet.sources.items())
        },
        "rates": {key: figure(each) for key, each in sorted(sheet.rates.items())},
    }
    lines = [
        f'  "schema": {SCHEMA},',
        f'  "region": {json.dumps(sheet.region)},',
        f'  "as_of": {json.dumps(sheet.as_of.isoformat())},',
        f'  "not_offered": {json.dumps(sorted(sheet.not_offered))},',
    ]
    for block, entries in blocks.items():
        written = ",\n".join(f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in entries.items())
        lines.append(f'  "{block}": {{\n{written}\n  }},')
    of_types = []
    for key, figures in instances.items():
        written = ",\n".join(f'      "{name}": {json.dumps(value)}' for name, value in figures.items())
        of_types.append(f"    {json.dumps(key)}: {{\n{written}\n    }}")
    lines.append('  "instances": {\n' + ",\n".join(of_types) + "\n  }")
    return "{\n" + "\n".join(lines) + "\n}\n"


def _of_region(region: str, text: str, name: str, *, whole: bool) -> PriceSheet:
    sheet = parse_prices(text, name, whole=whole)
    if sheet.region != region:
        raise InvalidPrices(f"{name} is of {sheet.region}, not of {region}: {_refresh(region)}")
    return sheet


def _refresh(region: str) -> str:
    return f"run `tidegate prices refresh --region {region}`"


class _Reader:
    """Reads a sheet's values. Every error names the sheet and the place in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sources: frozenset[str] = frozenset()

    def wrong(self, where: str, words: str) -> InvalidPrices:
        return InvalidPrices(f"{self.name}: {where} {words}")

    def mapping(self, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.wrong(where, "is missing" if value is None else "has to be an object")
        return value

    def text(self, value: Any, where: str) -> str:
        if not isinstance(value, str) or not value.strip():
            raise self.wrong(where, f"has to be a text, not {value!r}")
        return value

    def texts(self, value: Any, where: str) -> frozenset[str]:
        if not isinstance(value, list):
            raise self.wrong(where, "has to be a list")
        return frozenset(self.text(each, where) for each in value)

    def day(self, value: Any, where: str) -> date:
        try:
            return date.fromisoformat(self.text(value, where))
        except ValueError:
            raise self.wrong(where, f"has to be a day such as 2026-11-26, not {value!r}") from None

    def source(self, value: Any, where: str) -> Source:
        source = self.mapping(value, where)
        basis: Any = source.get("basis")
        if basis not in get_args(Basis):
            raise self.wrong(f"{where}.basis", f"has to be one of {', '.join(get_args(Basis))}, not {basis!r}")
        return Source(
            words=self.text(source.get("words"), f"{where}.words"),
            as_of=self.day(source.get("as_of"), f"{where}.as_of"),
            basis=basis,
        )

    def figure(self, value: Any, where: str) -> Figure:
        figure = self.mapping(value, where)
        source = figure.get("source")
        if source not in self.sources:
            raise self.wrong(f"{where}.source", f"is {source!r}, which is none of the sheet's sources")
        written = figure.get("value")
        try:
            number = Decimal(self.text(written, f"{where}.value"))
        except InvalidOperation:
            raise self.wrong(f"{where}.value", f"has to be a number in quotes, not {written!r}") from None
        if not number.is_finite() or number <= 0:
            raise self.wrong(f"{where}.value", f"has to be above 0, not {written}")
        return Figure(number, str(source))

    def instance(self, value: Any, where: str) -> InstancePrices:
        found = self.mapping(value, where)
        prices = InstancePrices(
            **{name: self.figure(found.get(name), f"{where}.{name}") for name in InstancePrices.__dataclass_fields__}
        )
        if prices.spot_ratio.value > 1:
            raise self.wrong(f"{where}.spot_ratio", f"is {prices.spot_ratio.value}: Spot is never above On-Demand")
        return prices

    def complete(self, what: str, needed: Collection[str], found: Collection[str], region: str) -> None:
        missing = sorted(set(needed) - set(found))
        if missing:
            plural = "s" if len(missing) > 1 else ""
            raise InvalidPrices(f"{self.name} has no price for {what}{plural} {', '.join(missing)}: {_refresh(region)}")

"""From AWS's answers to a sheet: what is clear is taken over, and what is not is kept and said."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from tidegate.prices import LAUNCH_TYPES, PriceSheet, load_prices, parse_prices, render_prices
from tidegate_cli.price_list import (
    RATE_QUERIES,
    Change,
    Found,
    NothingFound,
    ask,
    changes,
    gone,
    mean_spot_prices,
    of_other_region,
    prices_of,
    refresh,
    with_rates_of,
)

NOW = datetime(2027, 1, 2, 12, tzinfo=UTC)
DAY = NOW.date()
BASE = load_prices("us-east-1")


def product(*usd: str, usagetype: str = "BoxUsage") -> str:
    """As GetProducts gives it: a tier for each price."""
    tiers = {
        f"SKU.TERM.{number}": {"unit": "Hrs", "beginRange": str(number * 1000), "pricePerUnit": {"USD": price}}
        for number, price in enumerate(usd)
    }
    return json.dumps({
        "product": {"sku": "SKU", "attributes": {"usagetype": usagetype}},
        "terms": {
            "OnDemand": {"SKU.TERM": {"priceDimensions": tiers}},
            "Reserved": {"SKU.OTHER": {"priceDimensions": {"x": {"pricePerUnit": {"USD": "0.01"}}}}},
        },
    })  # fmt: skip


class Answers:
    """AWS's answers: EC2 hours, EMR's at a fifth of them, Spot at a third, and all rates a tenth dearer than BASE's."""

    def __init__(self, hours: Mapping[str, str], rates: Mapping[str, Sequence[str]] | None = None) -> None:
        self.hours = hours
        self.rates = rates if rates is not None else {
            name: [product(f"{BASE.rates[name].value * Decimal('1.1'):f}", usagetype=query.usage_has)]
            for name, query in RATE_QUERIES.items()
        }  # fmt: skip
        self.regions: set[str] = set()

    def products(self, service: str, attributes: Mapping[str, str]) -> Iterable[str]:
        asked = dict(attributes)
        self.regions.add(asked.pop("regionCode"))
        hour = self.hours.get(asked.get("instanceType", ""))
        if "instanceType" in asked:
            of_service = {"AmazonEC2": 1, "ElasticMapReduce": 5}[service]
            return [product(f"{Decimal(hour) / of_service:f}0000")] if hour else []
        (name,) = [
            name for name, query in RATE_QUERIES.items() if (query.service, query.attributes) == (service, asked)
        ]
        return self.rates.get(name, [])

    def spot_prices(self, types: Sequence[str], since: datetime, until: datetime) -> Iterable[Mapping[str, Any]]:
        assert (until, until - since) == (NOW, timedelta(days=7))
        return [spot(name, "a", -30, f"{Decimal(self.hours[name]) / 4:f}") for name in types if name in self.hours]


def spot(instance_type: str, zone: str, days: float, usd: str) -> dict[str, Any]:
    return {
        "InstanceType": instance_type, "AvailabilityZone": f"us-east-1{zone}", "ProductDescription": "Linux/UNIX",
        "SpotPrice": usd, "Timestamp": NOW + timedelta(days=days),
    }  # fmt: skip


HOURS = {name: f"{BASE.instances[name].on_demand_hour.value:f}" for name in LAUNCH_TYPES}


def test_what_aws_answers_becomes_the_sheet() -> None:
    answers = Answers(HOURS | {"m7g.xlarge": "0.2"})
    refreshed = refresh(BASE, ask(answers, "us-east-1", NOW), DAY)
    assert answers.regions == {"us-east-1"}
    m7g = refreshed.sheet.instance("m7g.xlarge")
    assert [m7g.on_demand_hour.value, m7g.emr_hour.value, m7g.spot_ratio.value] == [
        Decimal("0.2"), Decimal("0.04"), Decimal("0.25"),
    ]  # fmt: skip
    assert refreshed.sheet.rate_usd("Step Functions transition") == Decimal("0.0000275")
    source = refreshed.sheet.source(m7g.emr_hour)
    assert (source.basis, source.as_of) == ("read", DAY)
    assert refreshed.sheet.as_of == DAY
    assert "emr" not in refreshed.sheet.sources, "nothing comes from there any more"
    assert parse_prices(render_prices(refreshed.sheet)) == refreshed.sheet
    assert refreshed.remarks == tuple(
        f"{name}: kept, the price list is not asked for it"
        for name in ("EventBridge event", "Glue request", "X-Ray trace")
    )


def test_what_has_changed_is_listed_and_what_has_not_is_not() -> None:
    found = Found({"m7g.xlarge": Decimal("0.2")}, {"m7g.xlarge": Decimal("0.0408")}, {}, {})
    refreshed = refresh(BASE, found, DAY)
    assert changes(BASE, refreshed.sheet) == [
        Change("m7g.xlarge on demand hour", Decimal("0.1632"), Decimal("0.2")),
    ]
    assert str(changes(BASE, refreshed.sheet)[0]) == "m7g.xlarge on demand hour: 0.1632 -> 0.2 (+22.5 %)"
    assert str(changes(None, BASE)[0]) == "m6a.xlarge on demand hour: 0.1728, new"
    assert not gone(BASE, refreshed.sheet)
    assert "m7g.xlarge: no Spot price in 7 days, so its share of On-Demand is an older one" in refreshed.remarks


def test_a_type_without_an_answer_keeps_its_figures_and_says_so() -> None:
    hours = {name: hour for name, hour in HOURS.items() if name != "m6a.xlarge"}
    refreshed = refresh(BASE, ask(Answers(hours), "us-east-1", NOW), DAY)
    assert refreshed.sheet.instance("m6a.xlarge") == BASE.instance("m6a.xlarge")
    assert "m6a.xlarge: kept as it was, on EC2 it has no price; on EMR it has no price" in refreshed.remarks


def test_a_regions_first_sheet_leaves_out_what_the_region_lacks() -> None:
    hours = {name: hour for name, hour in HOURS.items() if name != "m6a.xlarge"}
    base = of_other_region(BASE, "eu-north-1")
    refreshed = refresh(base, ask(Answers(hours, rates={}), "eu-north-1", NOW), DAY)
    assert refreshed.sheet.not_offered == {"m6a.xlarge"}
    assert any(remark.startswith("m6a.xlarge: left out as not offered in eu-north-1") for remark in refreshed.remarks)
    assert "SQS request: kept, it has no price" in refreshed.remarks
    sqs = refreshed.sheet.source(refreshed.sheet.rates["SQS request"])
    assert sqs.basis == "assumed"
    assert sqs.words.startswith("us-east-1's figure, for want of eu-north-1's: aws.amazon.com/sqs")
    assert refreshed.sheet.instance("r7g.xlarge").ebs_gb.value == 79
    assert refreshed.sheet.instance("m7i.2xlarge").ebs_gb.value == 143
    assert parse_prices(render_prices(refreshed.sheet)) == refreshed.sheet


def test_a_region_that_there_is_not_has_nothing() -> None:
    with pytest.raises(
        NothingFound, match="has 0 of the instance types' prices on EC2 in us-east-9, and 0 on EMR: is that"
    ):
        ask(Answers({}), "us-east-9", NOW)


def test_two_prices_for_one_thing_are_not_chosen_from() -> None:
    rates = {
        "SQS request": [product("0.0000004", usagetype="Requests"), product("0.0000005", usagetype="Requests-FIFO")]
    }
    refreshed = refresh(BASE, ask(Answers(HOURS, rates), "us-east-1", NOW), DAY)
    assert refreshed.sheet.rates["SQS request"] == BASE.rates["SQS request"]
    assert "SQS request: kept, the price list has 2 prices for it: 0.0000004, 0.0000005" in refreshed.remarks


@pytest.mark.parametrize("usd", ["0.4", "0.00000009"])
def test_a_rate_that_is_far_from_the_last_is_of_something_else(usd: str) -> None:
    rates = {"SQS request": [product(usd, usagetype="Requests")]}
    refreshed = refresh(BASE, ask(Answers(HOURS, rates), "us-east-1", NOW), DAY)
    assert refreshed.sheet.rates["SQS request"] == BASE.rates["SQS request"]
    assert (
        f"SQS request: kept at 0.0000004, since {usd} of the price list is likely something else" in refreshed.remarks
    )


def test_the_first_tier_that_is_not_free_counts() -> None:
    assert prices_of([product("0.0000000000", "0.0000133334", "0.0000120000")]) == {Decimal("0.0000133334")}
    assert prices_of([product("0.1"), product("0.1000000000")]) == {Decimal("0.1")}
    assert prices_of([product("0.1", usagetype="EU-Requests-Tier2")], "Requests-Tier1") == set()
    assert prices_of([json.dumps({"product": {"attributes": {}}, "terms": {}})]) == set()


def test_a_spot_price_is_the_mean_over_time_and_zones() -> None:
    week = NOW - timedelta(days=7)
    history = [
        spot("m7g.xlarge", "a", -10, "0.01"),  # replaced before the week began
        spot("m7g.xlarge", "a", -8, "0.07"),  # holds for a day of the week
        spot("m7g.xlarge", "a", -6, "0.14"),  # and this one for six
        spot("m7g.xlarge", "a", 1, "9"),  # not yet
        spot("m7g.xlarge", "b", -20, "0.05"),
        spot("m6g.xlarge", "a", -1, "0.06"),
    ]
    assert mean_spot_prices(reversed(history), week, NOW) == {
        "m7g.xlarge": Decimal("0.09"),  # the mean of (1 * 0.07 + 6 * 0.14) / 7 = 0.13 and 0.05
        "m6g.xlarge": Decimal("0.06"),
    }
    assert mean_spot_prices([], week, NOW) == {}


def test_spot_above_on_demand_counts_as_on_demand() -> None:
    found = Found({"m7g.xlarge": Decimal("0.2")}, {"m7g.xlarge": Decimal("0.04")}, {"m7g.xlarge": Decimal("0.3")}, {})
    assert refresh(BASE, found, DAY).sheet.instance("m7g.xlarge").spot_ratio.value == 1


def test_a_type_that_no_sheet_has_had_gets_sizes_by_its_size_and_an_assumed_share() -> None:
    instances = {name: prices for name, prices in BASE.instances.items() if name != "m7g.2xlarge"}
    found = Found({"m7g.2xlarge": Decimal("0.3264")}, {"m7g.2xlarge": Decimal("0.0816")}, {}, {})
    made = refresh(replace(BASE, instances=instances), found, DAY).sheet
    assert made.instance("m7g.2xlarge").ebs_gb.value == 143
    assert made.source(made.instance("m7g.2xlarge").spot_ratio).basis == "assumed"
    assert gone(BASE, replace(BASE, instances=instances)) == [
        f"m7g.2xlarge {name}" for name in ("ebs gb", "emr hour", "on demand hour", "spot ratio")
    ]


def test_an_older_sheet_gets_the_rates_that_it_lacks() -> None:
    older = replace(BASE, rates={name: figure for name, figure in BASE.rates.items() if name != "X-Ray trace"})
    completed: PriceSheet = with_rates_of(older, BASE)
    assert completed.rate_usd("X-Ray trace") == BASE.rate_usd("X-Ray trace")
    assert completed.source(completed.rates["X-Ray trace"]) == BASE.source(BASE.rates["X-Ray trace"])
    assert with_rates_of(BASE, older) == BASE

"""The price sheet: what comes with the package is whole, what is written is read again, what is wrong is named."""

import json
import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tidegate.launches import LAUNCH_OPTIONS
from tidegate.prices import (
    RATES,
    InvalidPrices,
    NoPriceSheet,
    PriceMissing,
    load_prices,
    parse_prices,
    render_prices,
)

US_EAST_1 = load_prices("us-east-1")


def content() -> Any:
    return json.loads(render_prices(US_EAST_1))


def test_the_packages_sheet_prices_every_type_of_every_launch_option() -> None:
    for option in LAUNCH_OPTIONS:
        for instance_type in option.types:
            prices = US_EAST_1.instance(instance_type)
            assert 0 < prices.spot_hour_usd < prices.on_demand_hour.value
            assert prices.emr_hour.value < prices.on_demand_hour.value
    assert set(US_EAST_1.rates) >= set(RATES)


@pytest.mark.parametrize(
    ("instance_type", "usd"), [("m6g.xlarge", "0.154"), ("m7g.xlarge", "0.1632"), ("r6g.xlarge", "0.2016")]
)
def test_prices_are_what_aws_publishes_to_the_last_digit(instance_type: str, usd: str) -> None:
    assert US_EAST_1.instance(instance_type).on_demand_hour.value == Decimal(usd)


def test_twice_the_size_is_twice_the_price() -> None:
    # True of EC2's On-Demand prices within a family: a figure that was mistyped stands out.
    for family in ("m7g", "m6g", "m7i", "m6i"):
        small, large = US_EAST_1.instance(f"{family}.xlarge"), US_EAST_1.instance(f"{family}.2xlarge")
        assert large.on_demand_hour.value == 2 * small.on_demand_hour.value
        assert large.emr_hour.value == 2 * small.emr_hour.value


def test_each_figure_says_where_it_comes_from_and_whether_it_was_read() -> None:
    figures = [
        *US_EAST_1.rates.values(),
        *(getattr(each, name) for each in US_EAST_1.instances.values() for name in each.__dataclass_fields__),
    ]
    assert {figure.source for figure in figures} == set(US_EAST_1.sources), "a source that nothing comes from"
    for figure in figures:
        source = US_EAST_1.source(figure)
        assert source.words
        assert source.as_of <= US_EAST_1.as_of
        if "from memory" in source.words or "not read" in source.words:
            assert source.basis != "read", source.words


def test_what_is_written_is_read_again() -> None:
    assert parse_prices(render_prices(US_EAST_1)) == US_EAST_1


def test_a_sheet_of_ones_own_goes_before_the_packages(tmp_path: Path) -> None:
    own = content()
    own["as_of"] = "2027-01-02"
    (tmp_path / "us-east-1.json").write_text(json.dumps(own), encoding="utf-8")
    assert load_prices("us-east-1", tmp_path).as_of == date(2027, 1, 2)
    assert load_prices("us-east-1", tmp_path / "none") == US_EAST_1


def test_a_region_without_a_sheet_says_how_to_make_one() -> None:
    with pytest.raises(NoPriceSheet, match=r"no price sheet of mx-central-1: run `tidegate prices refresh --region mx"):
        load_prices("mx-central-1")


def test_a_sheet_under_another_regions_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "eu-west-1.json").write_text(render_prices(US_EAST_1), encoding="utf-8")
    with pytest.raises(InvalidPrices, match=r"eu-west-1\.json is of us-east-1, not of eu-west-1"):
        load_prices("eu-west-1", tmp_path)


def test_a_missing_instance_type_is_named_with_what_to_do() -> None:
    with pytest.raises(PriceMissing, match=r"has no c7g\.xlarge: run `tidegate prices refresh --region us-east-1`"):
        US_EAST_1.instance("c7g.xlarge")
    with pytest.raises(PriceMissing, match=r"has no 'Kinesis shard'\. It has CloudWatch Logs GB, "):
        US_EAST_1.rate_usd("Kinesis shard")


def without(*path: str) -> Any:
    sheet = content()
    inner = sheet
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return sheet


def changed(value: Any, *path: str) -> Any:
    sheet = content()
    inner = sheet
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return sheet


M7G = ("instances", "m7g.xlarge")


@pytest.mark.parametrize(
    ("sheet", "words"),
    [
        (without(*M7G), "no price for instance type m7g.xlarge: run `tidegate prices refresh --region us-east-1`"),
        (without("rates", "SQS request"), "no price for rate SQS request: run `tidegate prices refresh"),
        (without(*M7G, "emr_hour"), "instances.m7g.xlarge.emr_hour is missing"),
        (without("sources"), "sources is missing"),
        (without("region"), "region has to be a text, not None"),
        (changed(2, "schema"), "schema 2; this release reads 1: write it anew"),
        (changed("26.11.2026", "as_of"), "as_of has to be a day such as 2026-11-26, not '26.11.2026'"),
        (changed("guessed", "sources", "ec2", "basis"), "has to be one of read, remembered, assumed, not 'guessed'"),
        (changed("hearsay", *M7G, "emr_hour", "source"), "is 'hearsay', which is none of the sheet's sources"),
        (changed(0.0408, *M7G, "emr_hour", "value"), "emr_hour.value has to be a text, not 0.0408"),
        (changed("4 cents", *M7G, "emr_hour", "value"), "has to be a number in quotes, not '4 cents'"),
        (changed("-1", *M7G, "emr_hour", "value"), "emr_hour.value has to be above 0, not -1"),
        (changed("0", *M7G, "on_demand_hour", "value"), "on_demand_hour.value has to be above 0, not 0"),
        (changed("NaN", *M7G, "emr_hour", "value"), "has to be above 0, not NaN"),
        (changed("1.2", *M7G, "spot_ratio", "value"), "spot_ratio is 1.2: Spot is never above On-Demand"),
        (changed([], "rates"), "rates has to be an object"),
        (changed("m7g.xlarge", "not_offered"), "not_offered has to be a list"),
        ([], "the sheet has to be an object"),
    ],
)
def test_a_sheet_that_is_wrong_is_refused_with_the_place(sheet: Any, words: str) -> None:
    with pytest.raises(InvalidPrices, match=re.escape(words)) as refused:
        parse_prices(json.dumps(sheet), "prices/us-east-1.json")
    assert str(refused.value).startswith("prices/us-east-1.json")


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(InvalidPrices, match="the price sheet is no JSON"):
        parse_prices("{")


def test_a_type_that_the_region_lacks_may_be_listed_as_such() -> None:
    sheet = without(*M7G)
    sheet["not_offered"] = ["m7g.xlarge"]
    read = parse_prices(json.dumps(sheet))
    with pytest.raises(PriceMissing, match=r"us-east-1 has no m7g\.xlarge"):
        read.instance("m7g.xlarge")
    assert parse_prices(render_prices(read)) == read

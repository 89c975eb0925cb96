"""Costs: exact on figures that can be checked by hand, and never absurd on any."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tidegate.costs import (
    NANO_USD,
    InstanceUsage,
    Market,
    account_run,
    apportion,
    cluster_cost,
    control_plane_cost,
    decide_budget,
    estimate_run,
    serverless_cost,
    usages_of,
)
from tidegate.prices import LAUNCH_TYPES, PriceMissing, PriceSheet, load_prices
from tidegate.sizing import size_cluster

SHEET = load_prices("us-east-1")
GIB = 1024**3
COSTS_MD = (Path(__file__).resolve().parents[2] / "docs" / "costs.md").read_text(encoding="utf-8")
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)

PATIENT = settings(deadline=None)  # exact fractions take their time on a busy machine
seconds = st.floats(0, 7 * 86_400, allow_nan=False)
markets: st.SearchStrategy[Market] = st.sampled_from(["on_demand", "spot"])
usages = st.lists(st.builds(InstanceUsage, st.sampled_from(LAUNCH_TYPES), markets, seconds), max_size=8)
counts = st.dictionaries(st.sampled_from(sorted(SHEET.rates)), st.integers(0, 10**9) | st.floats(0, 1e9))
tables = st.dictionaries(st.sampled_from(["a", "b", "c", "d", "e", "f", "g"]), st.floats(0, 1e6), max_size=7)


def test_an_hour_on_demand_is_the_sheets_hour_with_emrs_part_and_the_volumes() -> None:
    cost = cluster_cost(SHEET, [InstanceUsage("m7g.xlarge", "on_demand", 3600)])
    assert cost.ec2_usd == Decimal("0.1632")
    assert cost.emr_usd == Decimal("0.0408")
    assert cost.ebs_usd == Decimal("0.010972222")  # 79 GB at $0.10 a month of 720 h
    assert cost.total_usd == Decimal("0.214972222")


def test_spot_is_cheaper_for_ec2_and_pays_emr_in_full() -> None:
    # facts: "EMR uplift 15-25 %, fixed on Spot"
    on_demand = cluster_cost(SHEET, [InstanceUsage("m7g.xlarge", "on_demand", 3600)])
    spot = cluster_cost(SHEET, [InstanceUsage("m7g.xlarge", "spot", 3600)])
    assert spot.ec2_usd == Decimal("0.07344")  # 0.1632 * 0.45
    assert (spot.emr_usd, spot.ebs_usd) == (on_demand.emr_usd, on_demand.ebs_usd)


@pytest.mark.parametrize(("ran_s", "billed_s"), [(0, 0), (0.5, 60), (59.9, 60), (60, 60), (60.2, 61), (61, 61)])
def test_seconds_are_billed_whole_and_a_minute_at_least(ran_s: float, billed_s: int) -> None:
    usage = InstanceUsage("m6g.xlarge", "on_demand", ran_s)
    assert usage.billed_s == billed_s
    assert cluster_cost(SHEET, [usage]).ec2_usd == (Decimal("0.154") * billed_s / 3600).quantize(NANO_USD)


def test_the_minute_is_each_instances_own() -> None:
    many = cluster_cost(SHEET, [InstanceUsage("m6g.xlarge", "on_demand", 1)] * 60)
    assert many.ec2_usd == Decimal("0.154")


def test_calls_are_priced_by_the_sheets_names() -> None:
    cost = control_plane_cost(
        SHEET, {"Step Functions transition": 12, "DynamoDB write unit": 1_000_000, "Lambda GB-second": 0.01071}
    )
    assert cost.by_name == {
        "Step Functions transition": Decimal("0.0003"),
        "DynamoDB write unit": Decimal("0.625"),
        "Lambda GB-second": Decimal("0.000000143"),
    }
    assert cost.total_usd == Decimal("0.625300143")


def test_what_the_sheet_has_not_is_an_error_that_names_it() -> None:
    with pytest.raises(PriceMissing, match=r"c7g\.xlarge: run `tidegate prices refresh --region us-east-1`"):
        cluster_cost(SHEET, [InstanceUsage("c7g.xlarge", "spot", 60)])
    with pytest.raises(PriceMissing, match="Kinesis"):
        control_plane_cost(SHEET, {"Kinesis shard": 1})


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_amounts_that_can_not_be_are_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"seconds of m7g\.xlarge has to be a number from 0 up"):
        InstanceUsage("m7g.xlarge", "spot", wrong)
    with pytest.raises(ValueError, match="SQS request"):
        control_plane_cost(SHEET, {"SQS request": wrong})
    with pytest.raises(ValueError, match="the weight of a"):
        apportion(Decimal(1), {"a": wrong})
    with pytest.raises(ValueError, match="spent_usd"):
        decide_budget(wrong, 100, NOW.date())


def test_serverless_is_priced_by_vcpu_and_memory() -> None:
    assert serverless_cost(SHEET, 4, 16, 3600) == Decimal("0.302952")  # 4 * 0.052624 + 16 * 0.0057785
    assert serverless_cost(SHEET, 4, 16, 1) == serverless_cost(SHEET, 4, 16, 60)


@PATIENT
@given(usages, counts)
def test_no_cost_is_negative(of: list[InstanceUsage], called: Mapping[str, float]) -> None:
    cost = cluster_cost(SHEET, of)
    assert min(cost.ec2_usd, cost.emr_usd, cost.ebs_usd, control_plane_cost(SHEET, called).total_usd) >= 0


@PATIENT
@given(st.sampled_from(LAUNCH_TYPES), markets, seconds, seconds)
def test_longer_never_costs_less(instance_type: str, market: Market, one_s: float, other_s: float) -> None:
    shorter, longer = (
        cluster_cost(SHEET, [InstanceUsage(instance_type, market, ran_s)]) for ran_s in sorted((one_s, other_s))
    )
    assert shorter.ec2_usd <= longer.ec2_usd
    assert shorter.emr_usd <= longer.emr_usd
    assert shorter.ebs_usd <= longer.ebs_usd


@PATIENT
@given(usages, usages)
def test_two_clusters_cost_what_each_of_them_does(one: list[InstanceUsage], other: list[InstanceUsage]) -> None:
    apart = cluster_cost(SHEET, one).total_usd + cluster_cost(SHEET, other).total_usd
    assert abs(cluster_cost(SHEET, one + other).total_usd - apart) <= 3 * NANO_USD  # each part is rounded


@PATIENT
@given(st.decimals(0, 10**6, places=9), tables)
def test_shares_add_up_to_the_whole_and_follow_their_weights(total: Decimal, weights: Mapping[str, float]) -> None:
    shares = apportion(total, weights)
    assert shares.keys() == weights.keys()
    if weights:
        assert sum(shares.values()) == total
    for name, share in shares.items():
        assert share >= 0
        for other in shares:
            if weights[name] <= weights[other]:
                assert share <= shares[other] + NANO_USD


def test_what_can_not_be_shared_evenly_is_not_lost() -> None:
    assert apportion(Decimal("0.000000010"), {"a": 1, "b": 1, "c": 1}) == {
        "a": Decimal("0.000000004"), "b": Decimal("0.000000003"), "c": Decimal("0.000000003"),
    }  # fmt: skip
    assert apportion(Decimal(1), {"a": 3, "b": 1}) == {"a": Decimal("0.75"), "b": Decimal("0.25")}
    assert apportion(Decimal(1), {"a": 0, "b": 0.0}) == {"a": Decimal("0.5"), "b": Decimal("0.5")}
    assert apportion(Decimal(1), {}) == {}


def test_a_run_is_accounted_by_table_and_by_arrival() -> None:
    account = account_run(
        SHEET,
        [cluster_cost(SHEET, [InstanceUsage("m6g.xlarge", "on_demand", 600)] * 2)],
        {"Step Functions transition": 12},
        merge_s={"flights": 90, "weather": 30},
        arrivals={"flights": 100},
    )
    # 2 * 600 s of $0.154 + $0.0385 an hour and 79 GB of volumes, and 12 transitions
    assert account.cluster.total_usd == Decimal("0.067824073")
    assert account.total_usd == Decimal("0.068124073")
    assert account.by_table["flights"].usd == Decimal("0.051093055")
    assert account.by_table["weather"].usd == Decimal("0.017031018")
    assert account.by_table["flights"].usd_per_arrival == Decimal("0.000510931")
    assert account.by_table["weather"].usd_per_arrival is None
    assert account.usd_per_arrival == Decimal("0.000681241")


def test_arrivals_of_a_table_that_was_not_merged_are_refused() -> None:
    with pytest.raises(ValueError, match="arrivals of weather, which the run's merges don't have"):
        account_run(SHEET, [], {}, {"flights": 1}, {"weather": 3})


@PATIENT
@given(usages, counts, tables)
def test_the_tables_pay_for_the_whole_run(
    of: list[InstanceUsage], called: Mapping[str, float], merge_s: Mapping[str, float]
) -> None:
    account = account_run(SHEET, [cluster_cost(SHEET, of)] * 2, called, merge_s, dict.fromkeys(merge_s, 7))
    paid = sum((share.usd for share in account.by_table.values()), Decimal(0))
    assert paid == (account.total_usd if merge_s else 0)


def test_the_smallest_cluster_is_estimated_at_two_on_demand_machines() -> None:
    plan = size_cluster("tidegate", "r", 0, size_bytes=1, steps=1)
    estimate = estimate_run(SHEET, plan, start_up_s=600, merge_s=60)
    of_cheapest = cluster_cost(SHEET, [InstanceUsage("m6g.xlarge", "on_demand", 660)]).total_usd
    assert estimate.expected_usd == estimate.least_usd == 2 * of_cheapest
    # The dearest type for both, and the one unit that managed scaling may add.
    of_dearest = cluster_cost(SHEET, [InstanceUsage("r7g.xlarge", "on_demand", 660)]).total_usd
    assert estimate.most_usd == 3 * of_dearest
    documented = "2 On-Demand and 0 Spot units for 660 s: $0.0746, between $0.0746 and $0.1533"
    assert estimate.reason == f"{documented} at the prices of us-east-1, 2026-11-26"
    assert documented in COSTS_MD


def test_spot_units_are_estimated_at_the_mean_of_the_fleets_types() -> None:
    plan = size_cluster("tidegate", "r", 0, size_bytes=17 * GIB, steps=1)  # two task units
    types: dict[str, int] = {
        each["InstanceType"]: each["WeightedCapacity"] for each in plan.fleets[2]["InstanceTypeConfigs"]
    }
    of_types = [
        2 // weight * cluster_cost(SHEET, [InstanceUsage(name, "spot", 900)]).total_usd
        for name, weight in types.items()
    ]  # fmt: skip
    on_demand = 2 * cluster_cost(SHEET, [InstanceUsage("m6g.xlarge", "on_demand", 900)]).total_usd
    estimate = estimate_run(SHEET, plan, 600, 300)
    assert estimate.expected_usd == on_demand + (sum(of_types, Decimal(0)) / len(of_types)).quantize(NANO_USD)
    assert estimate.least_usd == on_demand + min(of_types)


@PATIENT
@given(st.integers(0, 200 * GIB), st.integers(0, 3), st.floats(0, 3600), st.floats(0, 36_000), st.floats(0, 36_000))
def test_an_estimate_is_between_its_bounds_and_grows_with_time_and_bytes(
    size_bytes: int, launch: int, start_up_s: float, one_s: float, other_s: float
) -> None:
    plan = size_cluster("tidegate", "r", 0, size_bytes, 1, launch=launch)
    larger = size_cluster("tidegate", "r", 0, size_bytes + 9 * GIB, 1, launch=launch)
    shorter, longer = (estimate_run(SHEET, plan, start_up_s, merge_s) for merge_s in sorted((one_s, other_s)))
    more = estimate_run(SHEET, larger, start_up_s, min(one_s, other_s))
    assert 0 <= shorter.least_usd <= shorter.expected_usd <= shorter.most_usd
    for name in ("least_usd", "expected_usd", "most_usd"):
        assert getattr(shorter, name) <= getattr(longer, name)
        assert getattr(shorter, name) <= getattr(more, name)


def without(*types: str) -> PriceSheet:
    instances = {name: prices for name, prices in SHEET.instances.items() if name not in types}
    return replace(SHEET, instances=instances, not_offered=frozenset(types))


def test_types_that_the_region_lacks_are_left_out_of_an_estimate() -> None:
    plan = size_cluster("tidegate", "r", 0, size_bytes=1, steps=1)
    estimate = estimate_run(without("m6g.xlarge"), plan, 600, 0)
    assert estimate.least_usd == 2 * cluster_cost(SHEET, [InstanceUsage("m7g.xlarge", "on_demand", 600)]).total_usd
    with pytest.raises(PriceMissing, match=r"us-east-1 has none of m7g\.xlarge, m6g\.xlarge, r7g\.xlarge, "):
        estimate_run(without("m7g.xlarge", "m6g.xlarge", "r7g.xlarge", "r6g.xlarge"), plan, 600, 0)


@pytest.mark.parametrize(
    ("spent", "budget", "day", "state", "reason"),
    [
        (40, 100, date(2026, 11, 15), "within",
         "$40.00 of $100.00 by day 15 of 30: at this pace November ends at $80.00"),
        (60, 100, date(2026, 11, 15), "at_risk",
         "$60.00 of $100.00 by day 15 of 30: at this pace November ends at $120.00"),
        ("100.01", 100, date(2026, 11, 15), "over",
         "$100.01 of $100.00 by day 15 of 30: $0.01 too much, with 15 days to go"),
        (100, 100, date(2026, 11, 30), "within",
         "$100.00 of $100.00 by day 30 of 30: at this pace November ends at $100.00"),
        (5, 100, date(2028, 2, 1), "within",
         "$5.00 of $100.00 by day 1 of 29: at this pace February ends at $145.00, but so little of the budget is spent"
         " that this says nothing yet"),
        (0, 0, date(2026, 11, 1), "within", "$0.00 of $0.00 by day 1 of 30: at this pace November ends at $0.00"),
        (1, 0, date(2026, 11, 1), "over", "$1.00 of $0.00 by day 1 of 30: $1.00 too much, with 29 days to go"),
    ],
)  # fmt: skip
def test_a_budget_is_kept_at_risk_or_overspent(spent: Any, budget: int, day: date, state: str, reason: str) -> None:
    decision = decide_budget(Decimal(spent), budget, day)
    assert (decision.state, decision.reason) == (state, reason)


@PATIENT
@given(st.decimals(0, 10**6, places=2), st.decimals(0, 10**6, places=2), st.decimals(0, 10**6, places=2), st.dates())
def test_more_spent_never_looks_better(one: Decimal, other: Decimal, budget: Decimal, day: date) -> None:
    order = ["within", "at_risk", "over"]
    less, more = (decide_budget(spent, budget, day) for spent in sorted((one, other)))
    assert order.index(less.state) <= order.index(more.state)
    assert (more.state == "over") == (max(one, other) > budget)
    assert more.projected_usd >= max(one, other)


def instance(ran_s: float | None, market: str = "ON_DEMAND", **more: Any) -> dict[str, Any]:
    """One of ListInstances, which began an hour ago."""
    created_at = NOW - timedelta(hours=1)
    timeline = {"CreationDateTime": created_at}
    if ran_s is not None:
        timeline["EndDateTime"] = created_at + timedelta(seconds=ran_s)
    return {
        "Id": "ci-1", "Ec2InstanceId": "i-1", "InstanceType": "m7g.xlarge", "Market": market,
        "Status": {"State": "TERMINATED", "Timeline": timeline},
    } | more  # fmt: skip


def test_usage_is_read_from_what_emr_says_of_its_instances() -> None:
    read = usages_of([instance(900.5), instance(None, "SPOT", InstanceType="m6g.2xlarge")], NOW)
    assert read == [
        InstanceUsage("m7g.xlarge", "on_demand", 900.5),
        InstanceUsage("m6g.2xlarge", "spot", 3600.0),
    ]


def test_instances_that_never_were_and_clocks_that_are_off_cost_nothing() -> None:
    never = instance(900)
    del never["Ec2InstanceId"]
    read = usages_of([never, instance(-30), {"Ec2InstanceId": "i-2", "Status": {}}], NOW)
    assert [usage.billed_s for usage in read] == [0]

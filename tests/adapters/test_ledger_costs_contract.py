"""What every ledger keeps of costs: the one in DynamoDB and the fake that the pure tests use."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import boto3
import pytest
from tidegate.costs import ClusterCost, RunEstimate, TableCost
from tidegate.ports import Batch, Ledger
from tidegate.receipts import Merged
from tidegate.run_costs import GIVEN_UP_AFTER, ClusterAccount, RunCost

NOW = datetime(2026, 11, 30, 23, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
ESTIMATE = RunEstimate(Decimal("0.0746"), Decimal("0.0801"), Decimal("0.1533"), 660.5, "two machines")
PLANNED = RunCost("r", NOW, 0, NOW, ESTIMATE, ESTIMATE.reason)
ACCOUNT = ClusterAccount(ClusterCost(Decimal("0.051333333"), Decimal("0.0128"), Decimal("0.000001")), 1200, True)
ACCOUNTED = replace(
    PLANNED,
    clusters={"j-1": ACCOUNT},
    control_plane_usd=Decimal("0.000123456"),
    accounted_at=NOW + HOUR,
    ended_at=NOW + HOUR,
    is_final=True,
)


def test_a_cost_comes_back_as_it_was_written(ledger: Ledger) -> None:
    assert ledger.cost_of("r", NOW) is None
    assert ledger.begin_cost(PLANNED)
    assert ledger.cost_of("r", NOW) == PLANNED
    assert ledger.record_cost(ACCOUNTED, NOW)
    assert ledger.cost_of("r", NOW) == ACCOUNTED
    assert ACCOUNTED.accounted_usd == Decimal("0.064257789")


def test_one_without_a_price_does_too(ledger: Ledger) -> None:
    cost = replace(PLANNED, estimate=None, reason="there is no price sheet of mars-1")
    ledger.begin_cost(cost)
    assert ledger.cost_of("r", NOW) == cost
    unknown = replace(cost, unknown="EMR is silent", tries=3, ended_at=NOW + HOUR)
    assert ledger.record_cost(unknown, NOW + HOUR)
    assert ledger.cost_of("r", NOW) == unknown


def test_what_is_open_is_found_when_it_is_due(ledger: Ledger) -> None:
    ledger.begin_cost(PLANNED)
    assert list(ledger.open_costs(NOW - HOUR)) == []
    assert list(ledger.open_costs(NOW)) == [PLANNED]
    ledger.record_cost(replace(PLANNED, unknown="why", tries=1), NOW + HOUR)
    assert list(ledger.open_costs(NOW)) == []
    assert [each.tries for each in ledger.open_costs(NOW + HOUR)] == [1]
    # AND nobody asks any more for what is final
    ledger.record_cost(ACCOUNTED, NOW)
    assert list(ledger.open_costs(NOW + GIVEN_UP_AFTER)) == []


def test_what_is_final_stays(ledger: Ledger) -> None:
    # GIVEN two that account at once, of whom the slower one has still seen the cluster live
    ledger.begin_cost(PLANNED)
    assert ledger.record_cost(ACCOUNTED, NOW)
    live = replace(ACCOUNTED, is_final=False, clusters={"j-1": replace(ACCOUNT, instance_s=1, is_final=False)})
    assert ledger.record_cost(live, NOW) is False
    assert ledger.cost_of("r", NOW) == ACCOUNTED
    assert ledger.record_cost(ACCOUNTED, NOW) is False


def test_a_later_attempt_opens_it_again_and_keeps_what_was_accounted(ledger: Ledger) -> None:
    ledger.begin_cost(PLANNED)
    ledger.record_cost(ACCOUNTED, NOW)
    again = replace(PLANNED, attempt=1, planned_at=NOW + 2 * HOUR, estimate=None, reason="no price")
    assert ledger.begin_cost(again)
    expected = replace(ACCOUNTED, attempt=1, planned_at=NOW + 2 * HOUR, estimate=None, reason="no price",
                       is_final=False, ended_at=None)  # fmt: skip
    assert ledger.cost_of("r", NOW) == expected
    assert [each.run_id for each in ledger.open_costs(NOW + 2 * HOUR)] == ["r"]
    # AND whoever still accounts for the earlier one, or plans it, is late
    assert ledger.record_cost(ACCOUNTED, NOW) is False
    assert ledger.begin_cost(PLANNED) is False
    assert ledger.cost_of("r", NOW) == expected


def test_an_account_without_an_estimate_is_written(ledger: Ledger) -> None:
    # Of a run that an earlier release has planned
    cost = replace(ACCOUNTED, estimate=None, reason="it was not estimated")
    assert ledger.record_cost(cost, NOW)
    assert ledger.cost_of("r", NOW) == cost


def test_runs_are_summed_by_the_day_and_the_month_in_which_they_began(ledger: Ledger) -> None:
    for run_id, began_at in (("a", NOW), ("b", NOW + HOUR), ("c", NOW - 29 * 24 * HOUR), ("d", NOW - 30 * 24 * HOUR)):
        cost = replace(PLANNED, run_id=run_id, began_at=began_at)
        ledger.begin_cost(cost)
        ledger.record_shares(cost, {run_id: TableCost(Decimal("0.1"), 2)})
    day = NOW.date()

    def runs(costs: Any) -> list[str]:
        return sorted(each.run_id for each in costs)

    assert runs(ledger.costs_of_day(day)) == ["a"]
    assert runs(ledger.costs_of_month(day)) == ["a", "c"]
    assert runs(ledger.costs_of_month((NOW + HOUR).date())) == ["b"]
    assert list(ledger.shares_of_day(day)) == [{"a": TableCost(Decimal("0.1"), 2)}]
    assert sorted(name for each in ledger.shares_of_month(day) for name in each) == ["a", "c"]


def test_shares_may_be_written_again(ledger: Ledger) -> None:
    for _ in range(2):
        ledger.record_shares(PLANNED, {"flights": TableCost(Decimal("0.000000001"), 1), "a": TableCost(Decimal(1), 0)})
    (shares,) = ledger.shares_of_day(NOW.date())
    assert shares == {"flights": TableCost(Decimal("0.000000001"), 1), "a": TableCost(Decimal(1), 0)}


def test_batches_are_read_by_name_with_the_seconds_of_their_merge(ledger: Ledger) -> None:
    batch = Batch("flights", 1, None, "s3://m", "0" * 64, 2, 10, NOW, NOW, run_id="r")
    from tidegate.ports import OpenClaim

    claim = OpenClaim(1, "s3://c")
    ledger.take_lease("flights", "r", None)
    ledger.open_claim("flights", "r", claim)
    ledger.seal(batch, "r", claim)
    ledger.settle_merged(batch, "r", Merged("s3://receipt", 1, 7, {}, (), {"total": 12.3456}), NOW)
    (found,) = ledger.batches_named([("flights", 1), ("flights", 2)])
    assert (found.state, found.run_id) == ("merged", "r")
    assert found.merge_s == pytest.approx(12.346, abs=0.001)
    assert ledger.batches_named([]) == []


def test_a_cost_takes_one_write_unit_and_one_of_the_index(dynamodb: Any) -> None:
    # docs/costs.md: an item below a KB, whatever words it carries
    from campaign.metering import size_bytes
    from tidegate.adapters.ledger import DynamoLedger

    longest = replace(PLANNED, run_id="run-20261130T230000-999Z", reason="w" * 999)
    clusters = {f"j-{number:013d}": ACCOUNT for number in range(3)}
    made = DynamoLedger("ledger")
    made.begin_cost(longest)
    made.record_cost(replace(longest, clusters=clusters, unknown="w" * 300), NOW)
    (item,) = boto3.resource("dynamodb").Table("ledger").scan()["Items"]
    assert size_bytes(item) < 1024 + 300  # with both reasons at their longest, which no run has
    assert size_bytes(item | {"unknown": None}) < 1024

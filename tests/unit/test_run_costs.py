"""A run is estimated before it has a cluster and accounted after it, whatever goes wrong in between."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fakes.control_plane import NOW, ControlPlane, execution
from fakes.crashes import Crashed, CrashPoint
from hypothesis import given
from hypothesis import strategies as st
from tidegate.clusters import RunCluster
from tidegate.control_plane import A_RUN_USES, usage_of_run
from tidegate.costs import ClusterCost, InstanceUsage, RunEstimate, TableCost, cluster_cost
from tidegate.errors import CostUnknown, RunFailed, Throttled
from tidegate.prices import NoPriceSheet, load_prices
from tidegate.run_costs import (
    GIVEN_UP_AFTER,
    LONGEST_PAUSE,
    ClusterAccount,
    RunCost,
    cost_by_table,
    next_try,
    price_cluster,
    spending_of,
    words_for_cost,
)
from tidegate.usecases.account_open_runs import RUNS_A_LOOK, account_open_runs, watch_budget

SHEET = load_prices("us-east-1")
BY = execution("r")
MINUTE = timedelta(minutes=1)
COSTS_MD = (Path(__file__).resolve().parents[2] / "docs" / "costs.md").read_text(encoding="utf-8")


def instance(name: str, *, created: datetime = NOW, ended: datetime | None = None, **more: Any) -> Mapping[str, Any]:
    """As EMR lists it."""
    timeline = {"CreationDateTime": created} | ({"EndDateTime": ended} if ended else {})
    return {
        "Id": f"ci-{name}",
        "Ec2InstanceId": f"i-{name}",
        "InstanceType": "m6g.xlarge",
        "Market": "ON_DEMAND",
        "Status": {"State": "RUNNING", "Timeline": timeline},
        **more,
    }


def planned(*keys: str) -> tuple[ControlPlane, dict[str, Any]]:
    plane = ControlPlane()
    for key in keys or ("flights/2013-01/a.csv", "airlines/a.csv"):
        plane.land(key)
    return plane, plane.plan({}, BY)


def with_cluster(plane: ControlPlane, plan: dict[str, Any], cluster_id: str = "j-1", instances: int = 2) -> None:
    plane.clusters.names[cluster_id] = plan["cluster"]["name"]
    plane.clusters.instances_of[cluster_id] = [instance(f"{cluster_id}-{number}") for number in range(instances)]


def end_cluster(plane: ControlPlane, cluster_id: str = "j-1", after: timedelta = 10 * MINUTE) -> None:
    ended = NOW + after
    plane.clusters.terminate(cluster_id, ended)
    listed = plane.clusters.instances_of[cluster_id]
    plane.clusters.instances_of[cluster_id] = [instance(each["Id"][3:], ended=ended) for each in listed]


def ended_run() -> tuple[ControlPlane, dict[str, Any]]:
    """A run that has merged, and whose cluster has gone; its execution is about to settle it."""
    plane, plan = planned()
    with_cluster(plane, plan)
    plane.merge(plan)
    plane.settle_batches({}, BY)
    end_cluster(plane)
    return plane, plan


def cost_of(plane: ControlPlane, run_id: str = "r") -> RunCost:
    found = plane.ledger.cost_of(run_id, plane.ledger.run(run_id).started_at)
    assert found is not None
    return found  # type: ignore[no-any-return]


def look(plane: ControlPlane, after: timedelta, *, has_time: Callable[[], bool] = lambda: True) -> list[str]:
    made = account_open_runs(ports=plane.cost_ports(), now=NOW + after, has_time=has_time)
    return [each.run_id for each in made.costs]


MACHINES_10_MIN = cluster_cost(SHEET, [InstanceUsage("m6g.xlarge", "on_demand", 600)] * 2)


class TestBefore:
    def test_a_plan_says_what_its_run_will_cost_and_the_ledger_keeps_it(self) -> None:
        plane, plan = planned()
        cost = cost_of(plane)
        assert cost.estimate is not None
        assert cost.estimate.expected_usd > 0
        assert plan["cost"] == cost.reason == cost.estimate.reason
        assert "2 On-Demand and 0 Spot units" in cost.reason
        # AND it counts for what is expected until it is accounted
        assert cost.usd(NOW) == cost.estimate.expected_usd
        assert (cost.accounted_usd, cost.is_final) == (None, False)

    def test_without_a_price_the_run_is_planned_all_the_same(self) -> None:
        plane = ControlPlane()
        plane.no_prices = NoPriceSheet("there is no price sheet of mars-1")
        plane.land("flights/2013-01/a.csv")
        plan = plane.plan({}, BY)
        assert plan["work"] == "merge"
        assert plan["cost"] == "not estimated: there is no price sheet of mars-1"
        # AND its account is open, so that the cluster is not forgotten
        assert [each.run_id for each in plane.ledger.open_costs(NOW)] == ["r"]

    def test_no_cluster_starts_that_nobody_accounts_for(self) -> None:
        # GIVEN the planning function dies at any of its calls
        for at in range(200):
            plane = ControlPlane()
            plane.land("flights/2013-01/a.csv")
            point = CrashPoint(at)
            try:
                plane.plan({}, BY, crash=point)
            except Crashed:
                continue
            break
        # THEN whenever it answers, which is what starts a cluster, the cost is in the ledger; planned again it is one
        plane.plan({}, BY, now=NOW + MINUTE)
        assert len(plane.ledger.costs) == 1

    def test_an_estimate_that_the_run_has_outlasted_grows_with_it(self) -> None:
        cost = replaced(estimate=RunEstimate(Decimal(1), Decimal(2), Decimal(3), 600, "two dollars"))
        assert cost.usd(NOW + 5 * MINUTE) == 2
        assert cost.usd(NOW + 20 * MINUTE) == 4
        # AND stops when the run has ended
        ended = replaced(estimate=cost.estimate, ended_at=NOW + 15 * MINUTE)
        assert ended.usd(NOW + timedelta(days=9)) == 3


class TestAfter:
    def test_a_run_is_accounted_as_it_is_settled(self) -> None:
        plane, _ = ended_run()
        summary = plane.settle("settle_run", {}, BY, now=NOW + 11 * MINUTE)
        cost = cost_of(plane)
        assert cost.is_final
        assert cost.clusters["j-1"] == ClusterAccount(MACHINES_10_MIN, 1200, is_final=True)
        of_control_plane = sum(
            (count * SHEET.rate_usd(name) for name, count in usage_of_run(arrivals=2, batches=2).items()), Decimal(0)
        )
        assert cost.accounted_usd is not None
        assert abs(cost.accounted_usd - MACHINES_10_MIN.total_usd - of_control_plane) < Decimal("1e-7")
        assert summary["cost_usd"] == float(cost.accounted_usd)
        assert re.match(r"\$0\.\d{4} for 1200 s of instances, estimated at \$0\.\d{4}", summary["cost"])

    def test_its_tables_share_it_to_the_last_digit(self) -> None:
        plane, _ = ended_run()
        plane.settle("settle_run", {}, BY, now=NOW + 11 * MINUTE)
        (shares,) = plane.ledger.shares_of_month(NOW.date())
        assert set(shares) == {"airlines", "flights"}
        assert sum(each.usd for each in shares.values()) == cost_of(plane).accounted_usd
        assert {each.arrivals for each in shares.values()} == {1}

    def test_who_merges_longer_pays_more_of_it(self) -> None:
        plane, plan = planned()
        with_cluster(plane, plan)
        plane.merge(plan)
        for uri in plane.objects.names("s3://control/receipts/flights/"):
            plane.objects.by_uri[uri] = plane.objects.by_uri[uri].replace(b'"total": 2.0', b'"total": 6.0')
        plane.settle_batches({}, BY)
        end_cluster(plane)
        plane.settle("settle_run", {}, BY, now=NOW + 11 * MINUTE)
        (shares,) = plane.ledger.shares_of_day(NOW.date())
        assert abs(shares["flights"].usd - 3 * shares["airlines"].usd) < Decimal("1e-8")

    def test_a_table_that_was_not_merged_pays_nothing(self) -> None:
        plane, plan = planned()
        with_cluster(plane, plan)
        plane.merge(plan, failing={"flights": "data"})
        plane.settle_batches({}, BY)
        end_cluster(plane)
        with pytest.raises(RunFailed):
            plane.settle("fail_run", {}, BY, now=NOW + 11 * MINUTE)
        (shares,) = plane.ledger.shares_of_day(NOW.date())
        assert list(shares) == ["airlines"]

    def test_twice_is_once(self) -> None:
        plane, _ = ended_run()
        first = plane.settle("settle_run", {}, BY, now=NOW + 11 * MINUTE)
        kept = dict(plane.ledger.costs)
        # WHEN the answer was lost and the machine calls again, and the reaper comes
        again = plane.settle("settle_run", {}, BY, now=NOW + 12 * MINUTE)
        assert look(plane, 13 * MINUTE) == []
        # THEN nothing has changed, and EMR was not asked again
        assert again["cost_usd"] == first["cost_usd"]
        assert plane.ledger.costs == kept
        assert (plane.clusters.asked_for_clusters, plane.clusters.asked_for_instances) == (["r"], ["j-1"])

    @pytest.mark.parametrize(
        "trouble",
        [CostUnknown("EMR does not list the instances"), Throttled("ListInstances"), NoPriceSheet("no sheet")],
    )
    def test_no_run_fails_for_what_it_has_cost_and_the_reaper_tries_again(self, trouble: Any) -> None:
        plane, _ = ended_run()
        plane.clusters.hides, plane.no_prices = (
            (None, trouble) if isinstance(trouble, NoPriceSheet) else (trouble, None)
        )
        summary = plane.settle("settle_run", {}, BY, now=NOW + 11 * MINUTE)
        # THEN it has succeeded, says why its cost is unknown, and counts with its estimate
        assert (summary["outcome"], summary["cost_usd"]) == ("succeeded", None)
        assert str(trouble) in summary["cost"]
        cost = cost_of(plane)
        assert cost.estimate is not None
        assert (cost.unknown, cost.usd(NOW + 11 * MINUTE)) == (str(trouble), cost.estimate.expected_usd)
        # WHEN EMR answers again
        plane.clusters.hides = plane.no_prices = None
        assert look(plane, 15 * MINUTE) == []  # not before the pause is over
        assert look(plane, 16 * MINUTE) == ["r"]
        # THEN it is the account that it would have been at once
        assert (cost_of(plane).is_final, cost_of(plane).unknown) == (True, None)
        assert cost_of(plane).clusters["j-1"].cost == MACHINES_10_MIN

    @pytest.mark.parametrize("trouble", [Throttled("dynamodb:GetItem"), KeyError("nobody has thought of this")])
    def test_whatever_goes_wrong_fails_no_run(self, trouble: Exception) -> None:
        plane, _ = ended_run()

        def broken(*_: Any) -> None:
            raise trouble

        plane.ledger.cost_of = broken
        summary = plane.settle("settle_run", {}, BY, now=NOW + 11 * MINUTE)
        assert summary["outcome"] == "succeeded"
        assert f"{type(trouble).__name__}: {trouble}" in summary["cost"]

    def test_wherever_somebody_dies_the_account_comes_out_the_same(self) -> None:
        # Issue: "Doing it twice must change nothing."
        for at in range(100):
            for after in (False, True):
                plane, _ = ended_run()
                point = CrashPoint(at, after)
                died = False
                try:
                    plane.settle("settle_run", {}, BY, now=NOW + 11 * MINUTE, crash=point)
                except Crashed:
                    died = True
                    plane.settle("settle_run", {}, BY, now=NOW + 12 * MINUTE)
                look(plane, 60 * MINUTE)
                cost = cost_of(plane)
                assert (cost.is_final, cost.clusters["j-1"].cost) == (True, MACHINES_10_MIN)
                (shares,) = plane.ledger.shares_of_month(NOW.date())
                assert sum(each.usd for each in shares.values()) == cost.accounted_usd
            if not died:
                break
        assert at > 5

    def test_a_cluster_that_is_still_ending_is_priced_to_now_and_again_when_it_has(self) -> None:
        # GIVEN a run that failed and could not end its cluster
        plane, plan = planned()
        with_cluster(plane, plan)
        with pytest.raises(RunFailed):
            plane.settle("fail_run", {}, BY, now=NOW + 5 * MINUTE)
        cost = cost_of(plane)
        assert (cost.is_final, cost.instance_s) == (False, 600)
        # WHEN the reaper looks as it has ended
        end_cluster(plane)
        assert look(plane, 12 * MINUTE) == ["r"]
        assert (cost_of(plane).is_final, cost_of(plane).instance_s) == (True, 1200)

    def test_a_live_run_is_accounted_to_now(self) -> None:
        plane, plan = planned()
        with_cluster(plane, plan, instances=50)
        assert look(plane, 10 * MINUTE) == ["r"]
        cost = cost_of(plane)
        assert (cost.is_final, cost.instance_s) == (False, 50 * 600)
        # AND counts for what it has cost, once that is more than was expected
        assert cost.usd(NOW + 10 * MINUTE) == cost.accounted_usd

    def test_every_cluster_of_a_run_counts_and_each_once(self) -> None:
        # GIVEN a run whose first cluster was lost, and which goes on with another one
        plane, plan = planned()
        with_cluster(plane, plan, "j-1")
        plane.clusters.names["j-x"] = "tidegate-other-0-1"
        end_cluster(plane, "j-1")
        look(plane, 11 * MINUTE)
        again = plane.plan({}, execution("r", 1), now=NOW + 12 * MINUTE)
        with_cluster(plane, again, "j-2", instances=1)
        plane.merge(again)
        plane.settle_batches({}, execution("r", 1))
        end_cluster(plane, "j-2", after=5 * MINUTE)
        plane.settle("settle_run", {}, execution("r", 1), now=NOW + 20 * MINUTE)
        cost = cost_of(plane)
        assert {name: each.instance_s for name, each in cost.clusters.items()} == {"j-1": 1200, "j-2": 300}
        assert cost.is_final
        # AND the first was asked for once: it had ended
        assert plane.clusters.asked_for_instances == ["j-1", "j-2"]
        # AND all of it is one run of one day
        assert len(list(plane.ledger.costs_of_day(NOW.date()))) == 1

    def test_a_redriven_run_keeps_its_account_and_opens_it_again(self) -> None:
        plane, plan = planned()
        with_cluster(plane, plan)
        end_cluster(plane)
        with pytest.raises(RunFailed):
            plane.settle("fail_run", {}, BY, now=NOW + 11 * MINUTE)
        before = cost_of(plane)
        assert before.is_final
        plane.settle("fail_run", {}, execution("r", 1), now=NOW + timedelta(days=2))
        plane.plan({}, execution("r", 1), now=NOW + timedelta(days=2))
        cost = cost_of(plane)
        assert (cost.is_final, cost.clusters) == (False, before.clusters)
        # AND it counts on the day on which it first began
        assert cost.day == NOW.date()

    def test_an_account_of_before_a_redrive_is_not_written_over_it(self) -> None:
        plane, plan = planned()
        with_cluster(plane, plan)
        end_cluster(plane)
        old = cost_of(plane)
        plane.plan({}, execution("r", 1), now=NOW + 12 * MINUTE)
        assert plane.ledger.record_cost(old, NOW) is False

    def test_a_run_without_any_cluster_stays_open_for_a_while(self) -> None:
        # GIVEN the answer to the creation of its cluster was lost, and EMR doesn't list it yet
        plane, plan = planned()
        with pytest.raises(RunFailed):
            plane.settle("fail_run", {}, BY, now=NOW)
        assert not cost_of(plane).is_final
        with_cluster(plane, plan)
        look(plane, 5 * MINUTE)
        assert cost_of(plane).instance_s == 600

    def test_a_run_that_never_had_a_plan_costs_nothing(self) -> None:
        plane = ControlPlane()
        with pytest.raises(RunFailed):
            plane.settle("fail_run", {}, BY, now=NOW)
        assert plane.ledger.costs == {}

    def test_a_run_of_an_earlier_release_is_accounted_too(self) -> None:
        plane, _ = ended_run()
        plane.ledger.costs.clear()
        plane.settle("settle_run", {}, BY, now=NOW + 11 * MINUTE)
        assert cost_of(plane).is_final
        assert cost_of(plane).reason == "it was planned before runs were estimated"

    def test_tries_come_less_often_and_end_after_a_fortnight(self) -> None:
        plane, _ = ended_run()
        plane.clusters.hides = CostUnknown("AccessDenied")
        plane.settle("settle_run", {}, BY, now=NOW + 11 * MINUTE)
        tried, at = 0, timedelta()
        while at < GIVEN_UP_AFTER + timedelta(days=1):
            tried += len(look(plane, 11 * MINUTE + at))
            at += timedelta(minutes=5)
        assert 50 < tried < 80
        cost = cost_of(plane)
        assert (cost.is_final, cost.unknown) == (True, "AccessDenied")
        # AND it counts with its estimate for good
        assert cost.estimate is not None
        assert cost.usd(NOW + timedelta(days=90)) == cost.estimate.expected_usd

    def test_a_look_takes_so_many_and_leaves_the_rest_to_the_next(self) -> None:
        plane = ControlPlane()
        plane.no_prices = NoPriceSheet("none")
        for number in range(RUNS_A_LOOK + 3):
            plane.ledger.begin_cost(replaced(run_id=f"r-{number}"))
        assert len(look(plane, MINUTE)) == RUNS_A_LOOK
        assert len(look(plane, 2 * MINUTE)) == 3

    def test_one_runs_trouble_stops_no_others_account(self) -> None:
        # GIVEN EMR answers for one run's cluster what nobody has thought of
        plane, _ = ended_run()
        plane.ledger.begin_cost(replaced(run_id="a"))
        plane.ledger.runs["a"] = replace(plane.ledger.runs["r"], run_id="a")
        plane.clusters.names["j-a"] = "tidegate-a-0-1"
        plane.clusters.instances_of["j-a"] = [{"Ec2InstanceId": "i-1"} | {"Status": None}]
        assert sorted(look(plane, 12 * MINUTE)) == ["a", "r"]
        assert str(cost_of(plane, "a").unknown).startswith("AttributeError: ")
        assert cost_of(plane).clusters["j-1"].is_final

    def test_a_look_ends_in_time(self) -> None:
        plane = ControlPlane()
        plane.no_prices = NoPriceSheet("none")
        for number in range(5):
            plane.ledger.begin_cost(replaced(run_id=f"r-{number}"))
        left = iter([True, True, False])
        assert look(plane, MINUTE, has_time=lambda: next(left)) == ["r-0", "r-1"]


class TestPricing:
    def test_no_instance_outlives_its_cluster(self) -> None:
        # GIVEN EMR doesn't say when an instance of an ended cluster has ended
        ended = RunCluster("j-1", True, NOW + 10 * MINUTE)
        account = price_cluster(SHEET, ended, [instance("a")], NOW + timedelta(days=1))
        assert (account.instance_s, account.is_final) == (600, True)

    def test_a_capacity_that_never_came_costs_nothing(self) -> None:
        never = {**instance("a"), "Ec2InstanceId": None}
        account = price_cluster(SHEET, RunCluster("j-1", True, NOW), [never], NOW)
        assert account.cost.total_usd == 0

    @given(st.lists(st.integers(0, 6 * 3600), max_size=5), st.integers(0, 6 * 3600), st.integers(0, 6 * 3600))
    def test_a_later_look_never_costs_less(self, ends: list[int], one: int, other: int) -> None:
        instances = [instance(str(number), ended=NOW + timedelta(seconds=end)) for number, end in enumerate(ends)]
        instances.append(instance("alive"))
        live = RunCluster("j-1", has_ended=False)
        first, later = (
            price_cluster(SHEET, live, instances, NOW + timedelta(seconds=at)).cost.total_usd
            for at in sorted((one, other))
        )
        assert first <= later

    def test_the_control_planes_part_is_what_was_counted(self) -> None:
        # The table of docs/costs.md, which bench/control_plane_cost.py prints
        rows = re.findall(r"^\| ([\w ,-]+) \| ([\d.e-]+) \| ([\d.e-]+) \| ([\d.e-]+) \|", COSTS_MD, re.MULTILINE)
        counted = {name: tuple(figures) for name, *figures in rows if name in SHEET.rates}
        assert counted == dict(A_RUN_USES)


class TestSums:
    def test_a_day_and_a_month_add_runs_up_each_once(self) -> None:
        plane = ControlPlane()
        two = RunEstimate(Decimal(2), Decimal(2), Decimal(2), 600, "two")
        for number, began in enumerate([NOW, NOW + timedelta(hours=11), NOW + timedelta(hours=13), NOW - timedelta(1)]):
            plane.ledger.begin_cost(replaced(run_id=f"r-{number}", began_at=began, planned_at=began, estimate=two))
        plane.ledger.begin_cost(replaced(run_id="r-0", estimate=two))
        later = NOW + timedelta(hours=12)
        day, month = plane.ledger.costs_of_day(NOW.date()), plane.ledger.costs_of_month(NOW.date())
        assert spending_of(day, NOW).usd == 4
        assert spending_of(month, NOW).usd == 6  # the last one began in February
        assert spending_of(plane.ledger.costs_of_day(date(2026, 3, 1)), later).not_final == 2

    def test_runs_without_account_count_with_their_estimates(self) -> None:
        two = RunEstimate(Decimal(2), Decimal(2), Decimal(2), 600, "two")
        known = ClusterAccount(ClusterCost(Decimal(5)), 60, is_final=True)
        spending = spending_of(
            [
                replaced(run_id="a", estimate=two, clusters={"j-1": known}, accounted_at=NOW, is_final=True),
                replaced(run_id="b", estimate=two, unknown="EMR is silent"),
                replaced(run_id="c"),
            ],
            NOW,
        )
        assert (spending.usd, spending.runs, spending.not_final) == (7, 3, 2)
        assert spending.unknown == {"b": "EMR is silent"}
        assert spending.usd_a_run == Decimal("2.333333333")

    def test_tables_of_several_runs_the_dearest_first(self) -> None:
        shares = [{"a": TableCost(Decimal(1), 2), "b": TableCost(Decimal(2), 1)}, {"a": TableCost(Decimal(4), 8)}]
        assert list(cost_by_table(shares).items()) == [
            ("a", TableCost(Decimal(5), 10)),
            ("b", TableCost(Decimal(2), 1)),
        ]
        assert cost_by_table(shares)["a"].usd_per_arrival == Decimal("0.5")

    @pytest.mark.parametrize(("budget", "state"), [(0, None), (1000, "within"), (30, "at_risk"), (5, "over")])
    def test_the_month_is_held_against_its_budget(self, budget: float, state: str | None) -> None:
        plane = ControlPlane()
        six = RunEstimate(Decimal(6), Decimal(6), Decimal(6), 600, "six")
        plane.ledger.begin_cost(replaced(estimate=six))
        decision = watch_budget(budget, ports=plane.cost_ports(), now=NOW)
        assert (decision and decision.state) == state

    def test_pauses_double_up_to_six_hours(self) -> None:
        pauses = [(next_try(replaced(tries=tries), NOW) - NOW) for tries in (0, 1, 2, 3, 20, 9999)]
        assert pauses == [0 * MINUTE, 5 * MINUTE, 10 * MINUTE, 20 * MINUTE, LONGEST_PAUSE, LONGEST_PAUSE]

    def test_words(self) -> None:
        assert words_for_cost(replaced(reason="$1"), NOW) == "not accounted yet; $1"
        assert words_for_cost(replaced(unknown="why"), NOW) == "not accounted, it is tried again: why"


def replaced(**changes: Any) -> RunCost:
    fields: dict[str, Any] = {
        "run_id": "r", "began_at": NOW, "attempt": 0, "planned_at": NOW, "estimate": None, "reason": "none"
    }  # fmt: skip
    return RunCost(**fields | changes)

"""What a run measures, the ledger keeps, and the next runs reckon with."""

from datetime import timedelta
from typing import Any

import pytest
from fakes.control_plane import NOW, ControlPlane, execution
from tidegate.history import MergeSample, StartUpSample
from tidegate.rates import ASSUMED
from tidegate.receipts import merged_of
from tidegate.stack_limits import StackLimits, read_limits
from tidegate.usecases.dispatch_runs import Started, dispatch_due_runs
from tidegate.usecases.take_rates import take_rates

BY = execution("r")
EACH_MINUTE = StackLimits(tick_s=60)
RECEIPT: dict[str, Any] = {
    "delta_version": 1,
    "rows": {},
    "files": {"rejected": []},
    "started_at": "2026-03-01T12:08:20+00:00",
    "seconds": {"total": 30.0, "application_start": 20.0},
}


def settled_group(plane: ControlPlane, plan: dict[str, Any], by: Any = BY, **merging: Any) -> None:
    plane.merge(plan, **merging)
    for group in plan["groups"]:
        plane.settle("settle_group", {}, by, work_uri=group["work_uri"])


def planned(*keys: str) -> tuple[ControlPlane, dict[str, Any]]:
    plane = ControlPlane()
    for key in keys or ("flights/2013-01/a.csv",):
        plane.land(key)
    return plane, plane.plan({}, BY)


class TestWhatAReceiptMeasures:
    def test_a_merge_and_when_its_step_began(self) -> None:
        merged = merged_of("s3://receipt", RECEIPT)
        assert merged.took_s == 50.0
        assert merged.step_began_at == NOW + timedelta(minutes=8)

    @pytest.mark.parametrize("changed", [{"replayed": True}, {"seconds": {"total": 30.0}}, {"seconds": {}}])
    def test_nothing_if_it_was_merged_before_or_an_older_release_wrote_it(self, changed: dict[str, Any]) -> None:
        merged = merged_of("s3://receipt", RECEIPT | changed)
        assert (merged.took_s, merged.step_began_at) == (None, None)


class TestWhatARunTeaches:
    def test_its_start_up_once_and_the_merge_of_each_table(self) -> None:
        # GIVEN a run of two tables, whose step began two minutes after its cluster was asked for
        plane, plan = planned("flights/2013-01/a.csv", "airlines/a.csv")
        plane.measured = {"started_at": "2026-03-01T12:02:30+00:00", "application_start_s": 30.0}
        # WHEN its group is settled, twice
        settled_group(plane, plan)
        settled_group(plane, plan)
        # THEN
        assert plane.ledger.start_ups() == (StartUpSample(NOW, "tidegate-r-0-1", 120.0),)
        assert plane.ledger.merges_of(["flights", "airlines", "clicks"]) == {
            # Each had half of the one unit: they shared an application, and are as large as each other.
            "flights": (MergeSample(NOW, "1", 32.0, 5, 1, 0.5),),
            "airlines": (MergeSample(NOW, "1", 32.0, 5, 1, 0.5),),
        }

    def test_nothing_of_what_failed(self) -> None:
        plane, plan = planned()
        plane.measured = {"started_at": "2026-03-01T12:02:30+00:00", "application_start_s": 30.0}
        settled_group(plane, plan, failing={"flights": "infrastructure"})
        assert (plane.ledger.start_ups(), plane.ledger.merges_of(["flights"])) == ((), {})

    def test_no_start_up_from_a_round_on_a_warm_cluster(self) -> None:
        # GIVEN a first round that says nothing of its start-up
        plane, plan = planned()
        settled_group(plane, plan)
        plane.land("flights/2013-01/b.csv")
        # WHEN a second one does
        more = plane.more({}, BY, plan, now=NOW + timedelta(minutes=10))
        assert more["work"] == "merge"
        plane.measured = {"started_at": "2026-03-01T12:12:30+00:00", "application_start_s": 30.0}
        settled_group(plane, more)
        # THEN
        assert plane.ledger.start_ups() == ()
        assert [sample.name for sample in plane.ledger.merges_of(["flights"])["flights"]] == ["2"]


class TestWhatIsReckonedWith:
    def test_without_a_table_to_look_at_nothing_is_read(self) -> None:
        assert take_rates(None, [], NOW) is ASSUMED  # type: ignore[arg-type]

    def test_a_slow_start_up_makes_a_table_due_earlier(self) -> None:
        # GIVEN a table with 24 minutes left
        plane = ControlPlane(freshness={"kind": "within", "seconds": 84 * 60})
        plane.land("flights/2013-01/a.csv")
        assert dispatched(plane).run_id is None
        # WHEN clusters have taken more than 22 minutes to start THEN it can't wait
        for number in range(20):
            at = NOW - timedelta(hours=number)
            plane.ledger.learn_start_up(StartUpSample(at, f"c-{number}", 1350.0), NOW)
        assert dispatched(plane).run_id == "run-2"

    def test_a_plan_has_spark_s_settings_for_its_size(self) -> None:
        _, plan = planned()
        assert "5 bytes to read, 1 files, in 1 steps" in plan["cluster"]["reason"]
        assert plan["cluster"]["spark"]["spark.sql.shuffle.partitions"] == "8"

    def test_the_ledger_knows_when_a_round_is_expected_to_end(self) -> None:
        plane, plan = planned()
        at_least = NOW + timedelta(seconds=ASSUMED.start_up_s)
        assert at_least < plane.ledger.run("r").round_ends_at < at_least + timedelta(seconds=61)
        settled_group(plane, plan)
        plane.land("flights/2013-01/b.csv")
        later = NOW + timedelta(minutes=11)
        plane.more({}, BY, plan, now=later)
        assert later < plane.ledger.run("r").round_ends_at < later + timedelta(minutes=3)

    def test_nobody_waits_for_a_run_that_takes_no_more(self) -> None:
        # GIVEN a run that is merged, and nothing more that is due
        plane, plan = planned()
        settled_group(plane, plan)
        # WHEN it says so THEN no round of it is expected to end while its cluster is on its way out
        assert plane.more({}, BY, plan, now=NOW + timedelta(minutes=11))["work"] == "none"
        assert plane.ledger.run("r").round_ends_at is None


class TestTheStack:
    def test_what_is_due_waits_for_a_warm_cluster_not_for_one_that_is_gone(self) -> None:
        # GIVEN a run whose round has just ended, as it seems, and another table that is due
        plane = ControlPlane(freshness={"kind": "within", "seconds": 84 * 60})
        plane.land("flights/2013-01/a.csv")
        plane.plan({}, BY)
        plane.machine.running.add(BY.arn)
        plane.land("airlines/a.csv")
        later = NOW + timedelta(minutes=12, seconds=30)
        waiting = dispatched(plane, now=later)
        assert waiting.run_id is None
        assert "the warm cluster of run r takes it by 12:1" in waiting.dispatch.reason
        # WHEN the round is long overdue, or the execution is over, THEN it starts
        assert dispatched(plane, now=NOW + timedelta(minutes=20)).run_id == "run-2"
        plane.machine.running.clear()
        assert dispatched(plane, now=later).run_id == "run-2"

    def test_no_more_clusters_than_are_allowed(self) -> None:
        plane, _ = planned()
        plane.machine.running.add(BY.arn)
        plane.land("airlines/a.csv")
        held = dispatched(plane, now=NOW + timedelta(minutes=20), limits=StackLimits(maximum_clusters=1))
        assert held.run_id is None
        assert "no more than 1 clusters at once (r)" in held.dispatch.reason
        assert set(held.dispatch.waiting) == {"airlines"}
        assert held.dispatch.held == ("airlines",)

    def test_a_table_that_a_warm_cluster_takes_soon_is_not_held_by_a_ceiling(self) -> None:
        plane = ControlPlane(freshness={"kind": "within", "seconds": 84 * 60})
        plane.land("flights/2013-01/a.csv")
        plane.plan({}, BY)
        plane.machine.running.add(BY.arn)
        plane.land("airlines/a.csv")
        dispatch = dispatched(plane, now=NOW + timedelta(minutes=12, seconds=30)).dispatch
        assert (set(dispatch.waiting), dispatch.held) == ({"airlines"}, ())

    def test_no_more_is_spent_on_a_day_than_is_allowed(self) -> None:
        # Issue: "a ceiling ... on spend a day (what waits then is shown and alarmed, never dropped)"
        # GIVEN the day's run, of whose cost an estimate alone is known
        plane, _ = planned()
        (cost,) = plane.ledger.costs_of_day(NOW.date())
        usd = float(cost.usd(NOW))
        plane.land("airlines/a.csv")
        later = NOW + timedelta(minutes=5)
        # WHEN a second one like it would be beyond the budget THEN what is due waits, and says for what
        held = dispatched(plane, now=later, limits=StackLimits(daily_budget_usd=1.9 * usd))
        assert held.run_id is None
        assert f"${usd:.2f} of the day's ${1.9 * usd:.2f} are spent" in held.dispatch.reason
        assert "airlines" in held.dispatch.held
        assert "airlines" in {each.table for each in plane.ledger.waiting()}
        # BUT within it, on the next day, or without a ceiling it starts
        assert dispatched(plane, now=later, limits=StackLimits(daily_budget_usd=2.1 * usd)).run_id
        tomorrow = NOW + timedelta(hours=12, minutes=1)
        assert dispatched(plane, now=tomorrow, limits=StackLimits(daily_budget_usd=0.01)).run_id
        assert dispatched(plane, now=later).run_id

    def test_the_day_s_cost_is_asked_for_only_where_there_is_a_ceiling(self) -> None:
        plane, _ = planned()

        def asked(*_: Any) -> Any:
            raise AssertionError("nobody needs it")

        plane.ledger.costs_of_day = asked
        plane.land("airlines/a.csv")
        assert dispatched(plane, now=NOW + timedelta(minutes=5)).run_id


class TestReadingLimits:
    def test_as_the_template_has_them(self) -> None:
        limits = read_limits("4", "22:00-06:00 Europe/Berlin")
        assert (limits.maximum_clusters, str(limits.quiet_hours)) == (4, "22:00 to 06:00 Europe/Berlin")
        assert read_limits("1", "").quiet_hours is None
        assert (limits.daily_budget_usd, read_limits("1", "", "0").daily_budget_usd) == (None, None)
        assert read_limits("1", "", "12.50").daily_budget_usd == 12.5

    @pytest.mark.parametrize("wrong", ["-1", "nan", "inf", "a dollar"])
    def test_what_is_no_budget_is_said(self, wrong: str) -> None:
        with pytest.raises(ValueError, match=r"budget|float"):
            read_limits("4", "", wrong)

    @pytest.mark.parametrize("wrong", ["22-6", "22:00-06:00", "22:00-06:00 Atlantis", "22:00-22:00 UTC"])
    def test_what_are_no_quiet_hours_is_said(self, wrong: str) -> None:
        with pytest.raises(ValueError, match=r"quiet hours|time zone"):
            read_limits("4", wrong)


def dispatched(plane: ControlPlane, *, now: Any = NOW, limits: StackLimits = EACH_MINUTE) -> Started:
    return dispatch_due_runs(
        ledger=plane.ledger,
        machine=plane.machine,
        contracts=plane.contracts,
        now=now,
        run_id="run-2",
        limits=limits,
    )

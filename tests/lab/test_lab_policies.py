"""Policies: nothing is lost, nothing is free, and the product's own functions decide."""

from collections import Counter, deque
from dataclasses import replace
from datetime import timedelta

import pytest
import tidegate.batches
import tidegate.dispatch
import tidegate.sizing
from hypothesis import given, settings
from hypothesis import strategies as st
from situations import MIB, situation, trace
from tidegate.arrivals import Arrival as LedgerArrival
from tidegate.batches import choose_candidates
from tidegate.dispatch import Dispatch, TableSnapshot
from tidegate.rates import MERGE_OVERHEAD_S, START_UP_S
from tidegate.sizing import size_cluster
from tidegate_lab import bound
from tidegate_lab.backlog import Pending
from tidegate_lab.bound import clairvoyant
from tidegate_lab.clusters import machines_of
from tidegate_lab.compare import contracts_for, realised_due_s
from tidegate_lab.generate import generate
from tidegate_lab.outcome import Outcome, measure
from tidegate_lab.policies import always_on, tidegate_runs
from tidegate_lab.policies import situation as situations_of_policies
from tidegate_lab.prices import InstanceUsage, cluster_cost, load_prices
from tidegate_lab.rates import RATES
from tidegate_lab.registry import POLICIES, WHAT_IF
from tidegate_lab.traces import START, Arrival, Trace, trace_of

ALL = {**POLICIES, **WHAT_IF}
ON_CLUSTERS = sorted(set(ALL) - {"serverless"})
SHEET = load_prices()


def drawn(kind: st.SearchStrategy[int]) -> st.SearchStrategy[Trace]:
    """A day's few arrivals for three tables."""
    at_s = (st.floats(0, 86_000) | st.floats(0, 600)).map(lambda at: round(at, 3))  # here and there, and many at once
    arrival = st.builds(Arrival, at_s, st.sampled_from("abc"), kind)
    return st.lists(arrival, min_size=1, max_size=25).map(lambda arrivals: trace_of("drawn", arrivals, 1.0))


SIZES = st.integers(0, 64 * MIB) | st.integers(0, 20 * 1024 * MIB)


def outcome_of(name: str, of: Trace, freshness_s: int = 3600, seed: int = 1) -> Outcome:
    given_ = situation(of, freshness_s, seed=seed)
    return measure(of, given_.contracts, ALL[name](given_), SHEET)


class TestTheProductDecides:
    def test_the_lab_and_the_product_import_the_same_functions(self) -> None:
        assert tidegate_runs.decide_dispatch is tidegate.dispatch.decide_dispatch
        assert tidegate_runs.decide_more is tidegate.dispatch.decide_more
        assert tidegate_runs.size_cluster is tidegate.sizing.size_cluster
        assert tidegate_runs.group_steps is tidegate.batches.group_steps
        assert situations_of_policies.size_cluster is tidegate.sizing.size_cluster
        assert bound.size_cluster is tidegate.sizing.size_cluster

    def test_each_minute_with_something_pending_is_decided(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # GIVEN one file that lands at 00:10, and a freshness of an hour
        asked: list[float] = []

        def listen(snapshots: list[TableSnapshot], now: object) -> Dispatch:
            asked.append((now - START).total_seconds())  # type: ignore[operator]
            return tidegate.dispatch.decide_dispatch(snapshots, now)  # type: ignore[arg-type]

        monkeypatch.setattr(tidegate_runs, "decide_dispatch", listen)
        # WHEN the day is replayed
        tidegate_runs.tidegate_runs(situation(trace((600, "a", MIB)), rates=RATES.without_chance()))
        # THEN dispatch is asked at each full minute from then on, until the run that it started has taken the file
        start_by_s = 600 + 3600 - START_UP_S - MERGE_OVERHEAD_S - 1 / 20
        assert asked == [60.0 * minute for minute in range(11, int(start_by_s // 60) + 2)]

    def test_a_run_takes_what_would_be_due_soon_while_its_cluster_is_warm(self) -> None:
        # GIVEN a file for another table that is due a little after the first
        of = trace((0, "a", MIB), (400, "b", MIB))
        # WHEN one is due THEN the other rides along: one start-up
        assert outcome_of("tidegate", of).start_ups == pytest.approx(30)

    @given(
        st.lists(st.integers(0, 100), min_size=1, max_size=30),
        st.integers(1, 10),
        st.integers(1, 300),
    )
    def test_batches_are_cut_as_the_product_cuts_them(self, sizes: list[int], max_files: int, max_bytes: int) -> None:
        # GIVEN the same pending files and limits
        arrivals = [Arrival(float(number), "t", size) for number, size in enumerate(sizes)]
        ledger = [
            LedgerArrival("b", f"t/{n:04}", "0", "Object Created", START + timedelta(seconds=n), size_bytes=size)
            for n, size in enumerate(sizes)
        ]
        known = contracts_for(trace_of("t", arrivals, 1.0), 3600).by_table["t"]
        limits = replace(known, max_files=max_files, max_bytes=max_bytes)
        # WHEN the lab and the product take a batch THEN it is as many files
        pending = Pending(deque(arrivals), sum(sizes))
        taken = pending.take(max_files, max_bytes)
        assert len(taken) == len(choose_candidates(ledger, limits).files)
        assert pending.size_bytes == sum(sizes) - sum(arrival.size_bytes for arrival in taken)


class TestConservation:
    @pytest.mark.parametrize("name", ALL)
    @settings(max_examples=15, deadline=None)
    @given(of=drawn(SIZES), freshness_s=st.sampled_from([300, 900, 3600]), seed=st.integers(0, 99))
    def test_every_arrival_is_merged_once_and_never_before_it_landed(
        self, name: str, of: Trace, freshness_s: int, seed: int
    ) -> None:
        record = ALL[name](situation(of, freshness_s, seed=seed))
        assert Counter(arrival for arrival, _ in record.merged) == Counter(of.arrivals)
        assert all(at_s > arrival.at_s for arrival, at_s in record.merged)
        assert all(0 <= life.busy_unit_s <= life.unit_s * 1.000001 for life in record.lives)

    @pytest.mark.parametrize("name", ON_CLUSTERS)
    @settings(max_examples=15, deadline=None)
    @given(of=drawn(SIZES), freshness_s=st.sampled_from([900, 3600]))
    def test_nobody_is_cheaper_than_who_knows_all_arrivals(self, name: str, of: Trace, freshness_s: int) -> None:
        # GIVEN times without chance, since a lucky start-up may beat a bound of means
        given_ = situation(of, freshness_s, rates=RATES.without_chance())
        record = ALL[name](given_)
        # WHEN the bound may miss what the policy missed THEN it is not above what the policy paid
        due_s = realised_due_s(of, given_.contracts, record)
        least = clairvoyant(of, due_s, given_.rates, SHEET).cost_usd
        assert least <= measure(of, given_.contracts, record, SHEET).cost_usd + 1e-9

    @settings(max_examples=15, deadline=None)
    @given(of=drawn(SIZES))
    def test_the_bound_never_rises_with_freshness(self, of: Trace) -> None:
        def least(freshness_s: int) -> float:
            due_s = [arrival.at_s + freshness_s for arrival in of.arrivals]
            return clairvoyant(of, due_s, RATES, SHEET).cost_usd

        costs = [least(freshness_s) for freshness_s in (300, 900, 3600, 14_400)]
        assert costs == sorted(costs, reverse=True)

    @pytest.mark.parametrize("name", ALL)
    def test_a_seed_gives_the_same_record(self, name: str) -> None:
        of = generate("bursty", days=1, seed=3)
        assert outcome_of(name, of, seed=5) == outcome_of(name, of, seed=5)


class TestTheBound:
    def test_one_file_costs_one_start_one_step_and_its_bytes(self) -> None:
        rates = RATES.without_chance()
        least = clairvoyant(trace((0, "a", 0)), [3600.0], rates, SHEET)
        seconds = rates.start_up_s.median - bound.GRID_S + rates.step_overhead_s.median
        usd = 2 * SHEET.hourly_usd("m6g.xlarge", "on_demand") / 3600 * seconds
        assert least.merges == 1
        assert least.cost_usd == pytest.approx(30 * usd, rel=0.01)

    @pytest.mark.parametrize(("apart_s", "merges"), [(3000, 1), (4000, 2), (80_000, 2)])
    def test_files_within_each_others_freshness_share_a_merge(self, apart_s: float, merges: int) -> None:
        of = trace((0, "a", 0), (apart_s, "b", 0))
        assert clairvoyant(of, [3600.0, apart_s + 3600.0], RATES, SHEET).merges == merges

    def test_a_short_gap_is_waited_through_and_a_long_one_is_not(self) -> None:
        rates = RATES.without_chance()

        def cost(apart_s: float) -> float:
            return clairvoyant(trace((0, "a", 0), (apart_s, "a", 0)), [60.0, apart_s + 60], rates, SHEET).cost_usd

        alone = clairvoyant(trace((0, "a", 0)), [60.0], rates, SHEET).cost_usd
        assert alone < cost(180) < cost(300) < cost(6000) == cost(60_000)
        assert cost(60_000) == pytest.approx(2 * alone)


class TestSense:
    """Comparisons that would fail if a policy were simulated wrongly."""

    OF = generate("diurnal", days=2, seed=1)

    def test_longer_freshness_is_cheaper(self) -> None:
        costs = [outcome_of("tidegate", self.OF, freshness_s).cost_usd for freshness_s in (900, 14_400)]
        assert costs[0] > 2 * costs[1]

    def test_a_cluster_a_file_is_the_dearest_and_always_on_the_freshest(self) -> None:
        of_all = {name: outcome_of(name, self.OF) for name in POLICIES}
        assert max(of_all, key=lambda name: of_all[name].cost_usd) == "cluster_a_file"
        assert min(of_all, key=lambda name: of_all[name].p95_s) == "always_on"
        assert of_all["cluster_a_file"].start_ups == pytest.approx(15 * len(self.OF.arrivals))

    def test_a_cron_job_starts_each_hour_and_a_thrifty_one_sleeps_at_night(self) -> None:
        cron, thrifty = outcome_of("hourly_cron", self.OF), outcome_of("thrifty_cron", self.OF)
        assert 720 <= cron.start_ups <= 740
        assert thrifty.start_ups < 0.8 * cron.start_ups
        assert thrifty.cost_usd < cron.cost_usd
        # In an hour or less lands what is merged after a start-up of five to ten minutes.
        assert 3600 < cron.p99_s < 3600 + 900

    def test_always_on_costs_what_its_machines_cost(self) -> None:
        month = 2 * SHEET.hourly_usd("m6g.xlarge", "on_demand") * 720
        assert outcome_of("always_on", self.OF).cost_usd == pytest.approx(month, rel=0.01)

    def test_claiming_when_the_cluster_is_up_saves_starts(self) -> None:
        late, now = outcome_of("tidegate_late_claim", self.OF), outcome_of("tidegate", self.OF)
        assert late.start_ups < now.start_ups

    def test_slow_starts_are_missed_freshness(self) -> None:
        slow = replace(RATES, start_up_s=replace(RATES.start_up_s, median=1200.0))
        given_ = situation(self.OF, 3600, rates=slow)
        missed = measure(self.OF, given_.contracts, POLICIES["tidegate"](given_), SHEET).missed_periods
        assert missed > 0.5 > outcome_of("tidegate", self.OF).missed_periods

    def test_no_spot_is_slower_and_dearer(self) -> None:
        of = trace(*((0.0, "a", 1024 * MIB) for _ in range(40)))
        short = situation(of, rates=replace(RATES, spot_short=1.0))
        without = measure(of, short.contracts, POLICIES["tidegate"](short), SHEET)
        usual = outcome_of("tidegate", of)
        assert without.cost_usd > usual.cost_usd
        assert without.p50_s > usual.p50_s + 500

    def test_lost_machines_take_time(self) -> None:
        of = trace(*((0.0, "a", 1024 * MIB) for _ in range(40)))
        lossy = situation(of, rates=replace(RATES, spot_losses_an_hour=20.0))
        assert measure(of, lossy.contracts, POLICIES["tidegate"](lossy), SHEET).p50_s > outcome_of("tidegate", of).p50_s

    def test_scaling_out_keeps_an_always_on_cluster_up_with_a_backfill(self) -> None:
        assert always_on.EVERY_S < outcome_of("always_on", generate("backfill", days=2, seed=1)).p99_s < 3600


class TestPrices:
    def test_a_minute_is_the_least(self) -> None:
        def usd(seconds: float) -> float:
            return cluster_cost(SHEET, [InstanceUsage("m6g.xlarge", "on_demand", seconds)])

        assert usd(1) == usd(60) < usd(61)
        assert usd(3600) == pytest.approx(0.154 * 1.25)

    def test_spot_lowers_what_ec2_asks_and_not_the_uplift(self) -> None:
        spot, on_demand = (SHEET.hourly_usd("m7g.xlarge", market) for market in ("spot", "on_demand"))
        assert on_demand - spot == pytest.approx(0.1632 * (1 - SHEET.spot_ratio))

    def test_a_cluster_is_the_products_fleets(self) -> None:
        machines = machines_of(size_cluster("lab", "r", 1, 40 * 1024**3, 1), SHEET)
        assert machines.base == ("m6g.xlarge", "m6g.xlarge")
        assert (machines.task_type, machines.task_units, machines.task_market) == ("m6g.xlarge", 9, "spot")
        assert machines_of(size_cluster("lab", "r", 1, 40 * 1024**3, 1, launch=2), SHEET).task_market == "on_demand"

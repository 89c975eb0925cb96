"""Policies: nothing is lost, nothing is free, and the product's own functions decide."""

from collections import Counter, deque
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import tidegate.dispatch
from hypothesis import given, settings
from hypothesis import strategies as st
from situations import MIB, situation, trace
from tidegate.arrivals import Arrival as LedgerArrival
from tidegate.batches import choose_candidates
from tidegate.costs import InstanceUsage, Market, cluster_cost, serverless_cost
from tidegate.dispatch import Dispatch, TableSnapshot
from tidegate.history import StartUpSample
from tidegate.rates import ASSUMED, MERGE_OVERHEAD_S, START_UP_S, estimate_start_up
from tidegate.sizing import size_cluster
from tidegate_lab import bound
from tidegate_lab.backlog import Pending
from tidegate_lab.bills import Usage, bills_of
from tidegate_lab.bound import clairvoyant
from tidegate_lab.clusters import machines_of
from tidegate_lab.compare import contracts_for, realised_due_s
from tidegate_lab.generate import generate
from tidegate_lab.ledger import Ledger
from tidegate_lab.outcome import Outcome, measure
from tidegate_lab.policies import always_on, tidegate_runs
from tidegate_lab.rates import RATES
from tidegate_lab.registry import POLICIES, WHAT_IF
from tidegate_lab.traces import START, Arrival, Trace, trace_of

ALL = {**POLICIES, **WHAT_IF}
ON_CLUSTERS = sorted(set(ALL) - {"serverless"})
BILLS = bills_of()


def drawn(kind: st.SearchStrategy[int]) -> st.SearchStrategy[Trace]:
    """A day's few arrivals for three tables."""
    at_s = (st.floats(0, 86_000) | st.floats(0, 600)).map(lambda at: round(at, 3))  # here and there, and many at once
    arrival = st.builds(Arrival, at_s, st.sampled_from("abc"), kind)
    return st.lists(arrival, min_size=1, max_size=25).map(lambda arrivals: trace_of("drawn", arrivals, 1.0))


SIZES = st.integers(0, 64 * MIB) | st.integers(0, 20 * 1024 * MIB)


def outcome_of(name: str, of: Trace, freshness_s: int = 3600, seed: int = 1) -> Outcome:
    given_ = situation(of, freshness_s, seed=seed)
    return measure(of, given_.contracts, ALL[name](given_), BILLS)


class TestTheProductDecides:
    def test_a_run_starts_at_the_last_minute_at_which_it_may(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # GIVEN one file that lands at 00:10, and a freshness of an hour
        started: list[float] = []

        def listen(snapshots: list[TableSnapshot], now: datetime, **given: Any) -> Dispatch:
            dispatch = tidegate.dispatch.decide_dispatch(snapshots, now, **given)
            started.extend([(now - START).total_seconds()] if dispatch.tables else [])
            return dispatch

        monkeypatch.setattr(tidegate_runs, "decide_dispatch", listen)
        # WHEN the day is replayed
        tidegate_runs.tidegate_runs(situation(trace((600, "a", MIB)), rates=RATES.without_chance()))
        # THEN its run starts in the minute before which a later one would be late: dispatch looks once a minute
        start_by_s = 600 + 3600 - START_UP_S - MERGE_OVERHEAD_S - 1 / 20
        assert started == [start_by_s // 60 * 60]

    @settings(max_examples=25, deadline=None)
    @given(of=drawn(SIZES), freshness_s=st.sampled_from([900, 3600, 14_400]), seed=st.integers(0, 99))
    def test_a_minute_that_is_passed_over_decides_nothing(self, of: Trace, freshness_s: int, seed: int) -> None:
        # GIVEN the same arrivals, WHEN every minute is decided, and only those that may decide something
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(tidegate_runs, "_passed_over", lambda *_: 0)
            every_minute = ALL["tidegate"](situation(of, freshness_s, seed=seed))
        # THEN the same comes of it
        assert ALL["tidegate"](situation(of, freshness_s, seed=seed)) == every_minute

    def test_a_run_learns_what_the_product_would(self) -> None:
        # GIVEN start-ups of 424 s without chance, a day with 24 runs
        of = trace(*((4000.0 * number, "a", MIB) for number in range(21)))
        rates = RATES.without_chance()
        given_ = situation(of, rates=rates)
        ledger = Ledger(given_, given_.backlog(given_.stream("any")))
        for number in range(21):
            ledger.learn_start_up(f"run-{number}", 4000.0 * number, rates.start_up_s.median)
            ledger.learn_merge("a", [of.arrivals[number]], 40.0, 1.0, 4000.0 * number + 500)
        # WHEN rates are taken THEN they are those that the product's own functions make of such a history
        now = of.moment(86_400)
        samples = [StartUpSample(of.moment(4000.0 * n), f"run-{n}", rates.start_up_s.median) for n in range(21)]
        assert ledger.rates(86_400).start_up_s == estimate_start_up(sorted(samples, reverse=True), now)[0]
        assert ledger.rates(86_400).start_up_s < START_UP_S
        assert ledger.rates(86_400).of("a").overhead_s < MERGE_OVERHEAD_S

    def test_what_is_not_learned_is_assumed(self) -> None:
        given_ = situation(trace((0, "a", MIB)))
        ledger = Ledger(given_, given_.backlog(given_.stream("any")), learns=False)
        ledger.learn_start_up("r", 0.0, 100.0)
        assert ledger.rates(10.0) is ASSUMED

    def test_a_run_that_is_late_grows(self) -> None:
        # GIVEN a small file that starts a run, and 30 GiB that land while its cluster starts
        of = trace((0, "a", MIB), *((2500.0, "b", 1024 * MIB) for _ in range(30)), (2400.0, "a", 1024 * MIB))
        record = ALL["tidegate"](situation(of, 900, rates=RATES.without_chance()))
        # THEN some cluster has had more units than it began with, and paid for them
        assert any(life.unit_s > life.wall_s * 1.01 for life in record.lives)

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
        least = clairvoyant(of, due_s, given_.rates, BILLS).cost_usd
        assert least <= measure(of, given_.contracts, record, BILLS).cost_usd + 1e-9

    @settings(max_examples=15, deadline=None)
    @given(of=drawn(SIZES))
    def test_the_bound_never_rises_with_freshness(self, of: Trace) -> None:
        def least(freshness_s: int) -> float:
            due_s = [arrival.at_s + freshness_s for arrival in of.arrivals]
            return clairvoyant(of, due_s, RATES, BILLS).cost_usd

        costs = [least(freshness_s) for freshness_s in (300, 900, 3600, 14_400)]
        assert costs == sorted(costs, reverse=True)

    @pytest.mark.parametrize("name", ALL)
    def test_a_seed_gives_the_same_record(self, name: str) -> None:
        of = generate("bursty", days=1, seed=3)
        assert outcome_of(name, of, seed=5) == outcome_of(name, of, seed=5)


class TestTheBound:
    def test_one_file_costs_one_start_one_step_and_its_bytes(self) -> None:
        rates = RATES.without_chance()
        least = clairvoyant(trace((0, "a", 0)), [3600.0], rates, BILLS)
        seconds = rates.start_up_s.median - bound.GRID_S + rates.step_overhead_s.median
        usd = 2 * BILLS.usd_a_s("m6g.xlarge", "on_demand") * seconds
        assert least.merges == 1
        assert least.cost_usd == pytest.approx(30 * usd, rel=0.01)

    @pytest.mark.parametrize(("apart_s", "merges"), [(3000, 1), (4000, 2), (80_000, 2)])
    def test_files_within_each_others_freshness_share_a_merge(self, apart_s: float, merges: int) -> None:
        of = trace((0, "a", 0), (apart_s, "b", 0))
        assert clairvoyant(of, [3600.0, apart_s + 3600.0], RATES, BILLS).merges == merges

    def test_a_short_gap_is_waited_through_and_a_long_one_is_not(self) -> None:
        rates = RATES.without_chance()

        def cost(apart_s: float) -> float:
            return clairvoyant(trace((0, "a", 0), (apart_s, "a", 0)), [60.0, apart_s + 60], rates, BILLS).cost_usd

        alone = clairvoyant(trace((0, "a", 0)), [60.0], rates, BILLS).cost_usd
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
        month = 2 * BILLS.usd_a_s("m6g.xlarge", "on_demand") * 3600 * 720
        assert outcome_of("always_on", self.OF).cost_usd == pytest.approx(month, rel=0.01)

    def test_claiming_when_the_cluster_is_up_is_cheaper(self) -> None:
        late, now = outcome_of("tidegate_late_claim", self.OF), outcome_of("tidegate", self.OF)
        assert late.cost_usd < now.cost_usd

    def test_slow_starts_are_missed_freshness_until_they_are_learned(self) -> None:
        # GIVEN start-ups of twenty minutes, twice as long as AWS quotes
        slow = replace(RATES, start_up_s=replace(RATES.start_up_s, median=1200.0))
        given_ = situation(self.OF, 3600, rates=slow)

        def missed(policy: str) -> float:
            return measure(self.OF, given_.contracts, ALL[policy](given_), BILLS).missed_periods

        # THEN what knows nothing of them is late every other time, and what learns is so on its first day
        assert missed("tidegate_unlearned") > 0.4
        assert missed("tidegate") < 0.1

    def test_after_its_first_week_the_promise_is_kept(self) -> None:
        # GIVEN a fortnight; the goal is less than 0.1 % of table-periods, of which this has some 350
        outcome = outcome_of("tidegate", generate("diurnal", days=14, seed=2))
        assert outcome.missed_periods < 0.01

    def test_no_spot_is_slower_and_dearer(self) -> None:
        of = trace(*((0.0, "a", 1024 * MIB) for _ in range(40)))
        short = situation(of, rates=replace(RATES, spot_short=1.0))
        without = measure(of, short.contracts, POLICIES["tidegate"](short), BILLS)
        usual = outcome_of("tidegate", of)
        assert without.cost_usd > usual.cost_usd
        assert without.p50_s > usual.p50_s + 500

    def test_lost_machines_take_time(self) -> None:
        of = trace(*((0.0, "a", 1024 * MIB) for _ in range(40)))
        lossy = situation(of, rates=replace(RATES, spot_losses_an_hour=20.0))
        assert measure(of, lossy.contracts, POLICIES["tidegate"](lossy), BILLS).p50_s > outcome_of("tidegate", of).p50_s

    def test_scaling_out_keeps_an_always_on_cluster_up_with_a_backfill(self) -> None:
        assert always_on.EVERY_S < outcome_of("always_on", generate("backfill", days=2, seed=1)).p99_s < 3600


class TestBills:
    @given(
        st.sampled_from(["m6g.xlarge", "m7g.xlarge", "m6i.2xlarge"]),
        st.sampled_from(["on_demand", "spot"]),
        st.floats(0, 100_000),
        st.integers(1, 16),
    )
    def test_machines_cost_what_the_products_function_says(
        self, instance_type: str, market: Market, seconds: float, machines: int
    ) -> None:
        usage = [InstanceUsage(instance_type, market, seconds)] * machines
        exactly = float(cluster_cost(BILLS.sheet, usage).total_usd)
        assert BILLS.cluster_usd([Usage(instance_type, market, seconds, machines)]) == pytest.approx(exactly, abs=1e-7)

    @given(st.integers(1, 40), st.floats(1, 100_000))
    def test_so_does_serverless(self, workers: int, seconds: float) -> None:
        exactly = float(serverless_cost(BILLS.sheet, 4 * workers, 16 * workers, seconds))
        assert BILLS.serverless_usd(workers, seconds) == pytest.approx(exactly, abs=1e-6)

    def test_a_million_arrivals_cost_what_the_page_of_costs_says(self) -> None:
        # docs/costs.md: 500 arrivals a batch, 20,000 a run, beside what each month costs
        usd = BILLS.control_plane_usd(10**6, 2000, 50, 0.0)
        assert usd == pytest.approx(4.83, abs=0.03)

    def test_a_cluster_is_the_products_fleets(self) -> None:
        machines = machines_of(size_cluster("lab", "r", 1, 80 * 1024**3, 1), BILLS)
        assert machines.base == ("m6g.xlarge", "m6g.xlarge")
        assert (machines.task_type, machines.task_units, machines.task_market) == ("m6g.xlarge", 9, "spot")
        assert machines_of(size_cluster("lab", "r", 1, 80 * 1024**3, 1, launch=2), BILLS).task_market == "on_demand"

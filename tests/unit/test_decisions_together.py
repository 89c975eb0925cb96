"""What every decision about size and time keeps, whatever it is told: one sentence a group, for looks, sizes, starts.

What one function alone keeps is beside its own tests (test_scaling.py, test_run_size.py, test_dispatch_limits.py). Here
are whole looks, with late and lost capacity, clusters that end, and calls that EMR refuses.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from drawn import works
from fakes.aws import FakeReadings
from fakes.contracts import contract
from fakes.control_plane import NOW, ControlPlane, execution
from hypothesis import given, settings
from hypothesis import strategies as st
from tidegate.dispatch import TableSnapshot, decide_dispatch
from tidegate.errors import ScalingRefused, Throttled
from tidegate.launches import LAUNCH_OPTIONS
from tidegate.lost_units import UnitsKnown
from tidegate.quiet_hours import QuietHours
from tidegate.rates import MERGE_BYTES_PER_S, Rates
from tidegate.readings import Metrics, Progress
from tidegate.run_size import CAPS, TableWork, UnitCaps, decide_size, first_limit, units_by_size
from tidegate.scaling import (
    CHANGES_AN_HOUR,
    LOWER_COOL_DOWN_S,
    RAISE_COOL_DOWN_S,
    ScalingLimits,
    ScalingState,
    decide_scaling,
)
from tidegate.sizing import first_limits, size_cluster
from tidegate.stack_limits import LiveCluster, Stack, StackLimits
from tidegate.usecases.scale_clusters import ScalePorts, scale_clusters

GIB = 1024**3


class Mood(NamedTuple):
    """Between what memory, pending ratio, HDFS, cores at work, what is left and the time for it are."""

    free: tuple[float, float]
    pending: tuple[float, float]
    hdfs: tuple[float, float]
    busy_cores: tuple[int, int]
    left_gib: tuple[int, int]
    due_in_s: tuple[int, int]


MOODS = {
    "late": Mood((0, 60), (0, 5), (0, 50), (0, 40), (10, 2000), (-900, 3600)),
    "idle": Mood((61, 99), (0, 0), (0, 50), (0, 40), (0, 1), (7200, 9000)),
    "full": Mood((30, 60), (0, 0), (81, 100), (0, 9), (0, 9), (600, 9000)),
    "odd": Mood((-5, 105), (-1, 9), (-5, 105), (0, 40), (0, 2000), (-900, 9000)),
}


def metrics(now: datetime, mood: str, chance: Random) -> Metrics | None:
    """Of one minute; one in ten does not come, is of another time or another cluster, or lacks something."""
    free, pending, hdfs = (chance.uniform(*between) for between in MOODS[mood][:3])
    running = float(chance.randint(1, 17))
    whole = Metrics("j-1", now, free, pending, 0.0, hdfs, running + chance.choice([0, 0, 4]), running)
    return chance.choice([
        *[whole] * 18, None, replace(whole, at=now + timedelta(seconds=chance.randint(-400, 130))),
        replace(whole, cluster_id="j-2"), replace(whole, pending_ratio=None), replace(whole, units_running=None),
    ])  # fmt: skip


class Cluster:
    """A run with one cluster, looked at again and again."""

    def __init__(self) -> None:
        self.plane = ControlPlane()
        self.plane.land("flights/2013-01/a.csv", b"x" * 100)
        self.plan = self.plane.plan({}, execution("r"))
        self.plane.clusters.names["j-1"] = self.plan["cluster"]["name"]
        self.readings = FakeReadings()
        self.ports = ScalePorts(
            self.plane.ledger, self.plane.objects, self.plane.clusters, self.readings, "tidegate", "control"
        )

    def tell(self, now: datetime, mood: str, chance: Random) -> dict[str, Any]:
        """What is left to do, and what the job says of it."""
        of = MOODS[mood]
        work_uri = self.plan["groups"][0]["work_uri"]
        work = json.loads(self.plane.objects.by_uri[work_uri])
        due = (now + timedelta(seconds=chance.randint(*of.due_in_s))).isoformat()
        for batch in work["batches"]:
            batch |= {
                "size_bytes": chance.randint(*of.left_gib) * GIB,
                "deadline": chance.choice([due, due, due, None]),
            }
        self.plane.objects.write(work_uri, json.dumps(work).encode())
        told = {
            "group": work["group"],
            "at": now.isoformat(),
            "done": [],
            "cores": 40,
            "core_s": 60.0,
            "input_bytes": 0,
        }
        told |= {"busy_cores": chance.randint(*of.busy_cores), "shuffles": chance.random() < 0.2}
        self.plane.objects.write(work["progress_uri"], json.dumps(told).encode())
        return told

    @property
    def limits(self) -> list[ScalingLimits]:
        return self.plane.clusters.limits.get("j-1", [])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(MOODS)), st.integers(3, 14)), min_size=2, max_size=6),
    st.sampled_from([1, 3, 3]),
    st.integers(0, 2**32),
)
def test_whole_looks_stay_within_caps_take_nothing_from_work_and_are_few(
    moods: list[tuple[str, int]], minutes: int, seed: int
) -> None:
    # "never above the caps, never below what running work needs, no flapping (bounded changes an hour under any metric
    # sequence)", "decisions explain themselves"
    cluster, changes, chance = Cluster(), [], Random(seed)
    for number, mood in enumerate(mood for mood, looks in moods for _ in range(looks)):
        # GIVEN whatever EMR, the job and the clock say at this look
        now = NOW + timedelta(minutes=number * minutes)
        states = ["STARTING", "BOOTSTRAPPING", "RUNNING"] if number < 3 else ["RUNNING", "WAITING"]
        cluster.plane.clusters.states["j-1"] = chance.choice(states)
        refusal = [Throttled("too many calls"), ScalingRefused("it is terminating")]
        cluster.plane.clusters.refuses = chance.choice([*[None] * 18, *refusal])
        seen = metrics(now, mood, chance)
        cluster.readings.metrics = {} if seen is None else {"j-1": seen}
        told = cluster.tell(now, mood, chance)
        before = len(cluster.limits)
        # WHEN it is looked at
        scaled = scale_clusters(None, ports=cluster.ports, now=now)
        # THEN at most one call changes its limits, and says why
        made = cluster.limits[before:]
        assert len(made) <= 1
        assert all(look.reason for look in scaled.looks.values())
        assert all(scaled.failed.values())
        assert bool(made) is any(look.action in {"raise", "lower"} for look in scaled.looks.values())
        if not made:
            continue
        # AND stays within what is allowed, and above what is in use
        after, action = made[0], scaled.looks["r"].action
        assert 1 <= after.minimum_units <= after.maximum_units <= CAPS.units
        assert after.maximum_core_units <= after.maximum_on_demand_units <= after.maximum_units
        if action == "lower":
            assert not told["shuffles"]
            assert after.maximum_units >= told["busy_cores"] / 4
        cool_down_s = RAISE_COOL_DOWN_S if action == "raise" else LOWER_COOL_DOWN_S
        assert not changes or (now - changes[-1]).total_seconds() >= cool_down_s
        changes.append(now)
    for change in changes:
        assert len([each for each in changes if change - timedelta(hours=1) < each <= change]) <= CHANGES_AN_HOUR
    assert len(cluster.plane.clusters.ended) <= 1


caps = st.builds(
    UnitCaps,
    st.integers(1, 17),
    st.one_of(st.none(), st.floats(0.1, 5)),
    st.sampled_from([0.0, 0.2, 0.31]),
)


@st.composite
def situations(draw: Any) -> tuple[ScalingState, Metrics, Progress]:
    """A cluster that is within its caps, or above them because they have shrunk, and what is seen of it.

    It may have lost units, and it may be late: what is left takes about as long as there is time.
    """
    most, launch = draw(st.integers(1, 17)), draw(st.sampled_from([0, 0, 1, 2]))
    on_demand = draw(st.integers(1, most)) if LAUNCH_OPTIONS[launch].uses_spot else most
    had = draw(st.integers(1, most))
    running = draw(st.integers(0, had))
    state = ScalingState(
        "j-1",
        ScalingLimits(1, most, on_demand),
        draw(caps),
        busy_since=draw(st.sampled_from([None, NOW - timedelta(hours=1)])),
        idle_since=draw(st.sampled_from([None, NOW - timedelta(hours=1)])),
        budget_usd=draw(st.one_of(st.none(), st.floats(0, 5))),
        launch=launch,
        units=UnitsKnown(float(had), draw(st.sampled_from([None, NOW - timedelta(minutes=9)]))),
    )
    free, pending = draw(st.sampled_from([(2.0, 3.0), (40.0, 0.0), (95.0, 0.0)]))
    hdfs = draw(st.sampled_from([None, 10.0, 10.0, 85.0]))
    seen = Metrics("j-1", NOW, free, pending, 0.0, hdfs, float(most), float(running))
    in_s = draw(st.integers(-600, 9000))
    left_s = max(0, in_s) * draw(st.floats(0, 20))
    run = Progress(
        NOW,
        total_bytes=int(left_s * MERGE_BYTES_PER_S),
        units_in_use=draw(st.floats(0, 10)),
        shuffles=draw(st.sampled_from([True, False, None])),
        deadline=NOW + timedelta(seconds=in_s),
    )
    return state, seen, run


@settings(deadline=None, max_examples=400)
@given(situations())
def test_no_unit_is_added_or_made_dearer_beyond_the_caps_in_units_and_dollars(
    situation: tuple[ScalingState, Metrics, Progress],
) -> None:
    # "never above the caps, never below what running work needs"
    state, seen, run = situation
    before, decision = state.limits, decide_scaling(state, seen, run, NOW)
    after, most = decision.limits, state.caps.units
    assert after.maximum_units <= max(before.maximum_units, most)
    assert after.maximum_on_demand_units <= max(before.maximum_on_demand_units, after.maximum_core_units, most)
    if after.maximum_on_demand_units > max(before.maximum_on_demand_units, after.maximum_core_units):
        assert after.maximum_units <= most
    assert after.maximum_units >= min(before.maximum_units, run.units_in_use)
    more = after.maximum_units > before.maximum_units
    price, an_hour = state.caps.unit_usd_an_hour, state.caps.usd_an_hour
    if price and an_hour is not None and more:
        # Each unit at the price of On-Demand, which any of them may become.
        assert after.maximum_units * price <= an_hour * 1.0001
    is_dearer = after.maximum_on_demand_units > before.maximum_on_demand_units and after.maximum_core_units == 1
    if price and state.budget_usd is not None and after.maximum_units > 1 and (more or is_dearer):
        left_h = max(900.0, ((run.deadline or NOW) - NOW).total_seconds()) / 3600
        assert after.maximum_units * price * left_h <= state.budget_usd * 1.0001


@settings(deadline=None, max_examples=400)
@given(situations(), st.integers(0, 5000), st.integers(0, 10**11))
def test_with_lost_units_too_an_earlier_deadline_or_more_bytes_never_mean_fewer(
    situation: tuple[ScalingState, Metrics, Progress], earlier_s: int, more_bytes: int
) -> None:
    # "monotone in deadline and bytes"
    state, seen, run = situation
    assert run.deadline is not None
    decided = decide_scaling(state, seen, run, NOW).limits
    urgent = replace(run, deadline=run.deadline - timedelta(seconds=earlier_s))
    larger = replace(run, total_bytes=run.total_bytes + more_bytes)
    for changed in (urgent, larger):
        after = decide_scaling(state, seen, changed, NOW).limits
        assert after.maximum_units >= decided.maximum_units
        assert after.maximum_on_demand_units >= decided.maximum_on_demand_units


@settings(deadline=None)
@given(works, st.integers(1, 300), caps, st.integers(0, len(LAUNCH_OPTIONS) - 1))
def test_a_cluster_has_what_its_work_needs_within_its_caps_and_says_so(
    work: list[TableWork], steps: int, limit: UnitCaps, launch: int
) -> None:
    # "never above the caps, never below what running work needs", "decisions explain themselves"
    made = decide_size(work, steps, caps=limit)
    plan = size_cluster("tidegate", "r", 0, 0, steps, launch=launch, size=made)
    launched = sum(each["TargetOnDemandCapacity"] + each["TargetSpotCapacity"] for each in plan.fleets[1:])
    assert launched == made.units >= min(limit.units, units_by_size(sum(each.weight_bytes for each in work)))
    assert plan.minimum_units <= launched <= plan.maximum_units <= limit.units
    assert plan.maximum_core_units <= plan.maximum_on_demand_units <= plan.maximum_units
    assert f"one core and {launched - 1} task units ({LAUNCH_OPTIONS[launch].name})" in plan.reason
    assert ("no more than" in plan.reason) is (f"no more than {limit.units} are allowed" in plan.reason)
    # AND scaling begins with the limits that the cluster was made with
    begun = first_limits(first_limit(made.units, limit), LAUNCH_OPTIONS[launch])
    assert (begun.minimum_units, begun.maximum_units) == (plan.minimum_units, plan.maximum_units)
    assert begun.maximum_on_demand_units == plan.maximum_on_demand_units


NIGHT = QuietHours("22:00", "23:00", "UTC")
NIGHT_BEGINS = datetime(2026, 3, 1, 22, 0, tzinfo=UTC)
LOOKED_AT = NIGHT_BEGINS - timedelta(hours=2)


@st.composite
def waiting(draw: Any, name: str) -> TableSnapshot:
    """A table whose latest start is around the look, more often than not."""
    files, size_bytes = draw(st.integers(1, 5500)), draw(st.integers(0, 55 * GIB))
    since_s = draw(st.integers(-100, 9000))
    takes_s = Rates().start_up_s + Rates().merge_s(name, size_bytes, files)
    seconds = max(60, int(since_s + takes_s) + draw(st.integers(-600, 5400)))
    freshness: dict[str, Any] = draw(
        st.sampled_from([
            *[{"kind": "within", "seconds": seconds}] * 4, {"kind": "asap"},
            {"kind": "daily", "at": "22:30", "zone": "Europe/Berlin"},
        ])
    )  # fmt: skip
    own = replace(contract(freshness=freshness), table=name, quiet_hours=draw(st.sampled_from([None, None, NIGHT])))
    return TableSnapshot(own, files, size_bytes, LOOKED_AT - timedelta(seconds=since_s))


@st.composite
def stopped_or_not(draw: Any, name: str) -> TableSnapshot:
    return replace(
        draw(waiting(name)),
        held_by=draw(st.sampled_from([None, None, None, "r9"])),
        paused_reason=draw(st.sampled_from([None, None, None, "p"])),
        blocked_reason=draw(st.sampled_from([None, None, None, "b"])),
        unsettled_batch=draw(st.sampled_from([None, None, None, 3])),
    )


all_limits = st.builds(
    StackLimits,
    maximum_clusters=st.sampled_from([None, 0, 1, 2]),
    quiet_hours=st.sampled_from([None, QuietHours("20:30", "21:15", "UTC")]),
    tick_s=st.sampled_from([0.0, 60.0]),
    side_by_side=st.sampled_from([None, 1, 4]),
)
stacks = st.builds(
    Stack,
    st.lists(
        st.builds(
            LiveCluster,
            st.just("r1"),
            st.booleans(),
            st.integers(-5, 60).map(lambda minutes: LOOKED_AT + timedelta(minutes=minutes)),
        ),
        max_size=2,
    ).map(tuple),
)
some_tables = st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True)


@settings(deadline=None, max_examples=300)
@given(some_tables, all_limits, stacks, st.data())
def test_an_earlier_deadline_or_more_bytes_never_mean_a_later_run(
    names: list[str], limits: StackLimits, stack: Stack, data: Any
) -> None:
    # "monotone in deadline and bytes"
    at, tables = LOOKED_AT, [data.draw(waiting(name)) for name in names]
    number, earlier_s = data.draw(st.integers(0, len(names) - 1)), data.draw(st.integers(0, 5000))
    more_bytes = data.draw(st.integers(0, 60 * GIB))
    one = tables[number]
    freshness = one.contract.freshness
    sooner = replace(freshness, seconds=max(1, freshness.seconds - earlier_s))
    before = decide_dispatch(tables, at, limits=limits, stack=stack)
    for changed in (
        replace(one, contract=replace(one.contract, freshness=sooner)),
        replace(one, pending_bytes=one.pending_bytes + more_bytes),
        replace(one, oldest_event_time=(one.oldest_event_time or at) - timedelta(seconds=earlier_s))
        if freshness.kind == "within"
        else one,
    ):
        after = decide_dispatch([*tables[:number], changed, *tables[number + 1 :]], at, limits=limits, stack=stack)
        assert bool(after.tables) or not before.tables, (changed, after.decisions)
        if not stack.clusters:
            # What a warm cluster takes needs no new one; without one, whatever was in the run still is.
            assert set(after.tables) >= set(before.tables)


@settings(deadline=None)
@given(st.integers(1, 900), st.integers(1, 1500), st.integers(0, 900), st.integers(0, 900), st.integers(0, 900))
def test_nor_do_more_bytes_before_or_behind_others(
    first_in_s: int, then_in_s: int, first_s: int, then_s: int, more_s: int
) -> None:
    # GIVEN two tables that are merged one after the other, with so much time until their latest starts alone
    def is_due(first_takes_s: int, then_takes_s: int) -> bool:
        return bool(
            decide_dispatch(
                [_of_time("a", first_in_s, first_s, first_takes_s), _of_time("b", then_in_s, then_s, then_takes_s)],
                LOOKED_AT,
                limits=StackLimits(side_by_side=1),
            ).tables
        )

    before = is_due(first_s, then_s)
    assert is_due(first_s + more_s, then_s) >= before
    assert is_due(first_s, then_s + more_s) >= before


def _of_time(name: str, start_in_s: int, usual_s: int, takes_s: int) -> TableSnapshot:
    """A table whose latest start would be in `start_in_s` if its bytes took `usual_s`; they take `takes_s`."""
    seconds = int(start_in_s + Rates().start_up_s + Rates().merge.overhead_s + usual_s)
    of = replace(contract(freshness={"kind": "within", "seconds": seconds}), table=name)
    return TableSnapshot(of, 1, int(takes_s * MERGE_BYTES_PER_S), LOOKED_AT)


@settings(deadline=None)
@given(st.integers(-240, 60), st.integers(-300, 3900), st.integers(0, 600), st.sampled_from([0.0, 60.0]))
def test_nor_does_one_right_before_quiet_hours(at_s: int, start_s: int, earlier_s: int, tick_s: float) -> None:
    # GIVEN quiet hours from 22:00 to 23:00, a look and a latest start around 22:00, and what landed at 20:00
    at, limits = NIGHT_BEGINS + timedelta(seconds=at_s), StackLimits(quiet_hours=NIGHT, tick_s=tick_s)
    fresh_s = int((NIGHT_BEGINS - LOOKED_AT).total_seconds() + start_s + Rates().start_up_s + Rates().merge.overhead_s)

    def is_due(seconds: int) -> bool:
        freshness = {"kind": "within", "seconds": max(1, seconds)}
        table = TableSnapshot(contract(freshness=freshness), 1, 0, LOOKED_AT)
        return bool(decide_dispatch([table], at, limits=limits).tables)

    assert is_due(fresh_s - earlier_s) >= is_due(fresh_s)


@settings(deadline=None, max_examples=300)
@given(st.tuples(*map(stopped_or_not, "abc")), all_limits, stacks, st.booleans())
def test_no_run_takes_what_another_one_holds_or_a_person_has_stopped_and_each_table_says_why(
    tables: tuple[TableSnapshot, ...], limits: StackLimits, stack: Stack, at_once: bool
) -> None:
    # "never above the caps, never below what running work needs", "decisions explain themselves"
    decision = decide_dispatch(tables, LOOKED_AT, at_once=at_once, limits=limits, stack=stack)
    assert limits.maximum_clusters is None or not decision.tables or len(stack.clusters) < limits.maximum_clusters
    for each in decision.decisions:
        of = each.snapshot
        if of.held_by or of.paused_reason or of.blocked_reason:
            assert each.table not in decision.tables
            why = (f"run {of.held_by} is at it", f"paused: {of.paused_reason}", f"blocked: {of.blocked_reason}")
            assert each.reason in why
        assert each.reason


@settings(deadline=None, max_examples=100)
@given(waiting("a"), all_limits, st.integers(1, 3), st.integers(1, 1800))
def test_one_that_is_in_a_run_starts_no_other_until_that_one_has_ended(
    table: TableSnapshot, limits: StackLimits, minutes: int, round_s: int
) -> None:
    # "no flapping (bounded changes an hour under any metric sequence)": of runs, one at a time for each table
    started, free_at = [], LOOKED_AT
    limits = replace(limits, maximum_clusters=None)
    for minute in range(0, 240, minutes):
        now = LOOKED_AT + timedelta(minutes=minute)
        held = replace(table, held_by="r" if now < free_at else None)
        decision = decide_dispatch([held], now, rates=Rates(), limits=limits)
        if decision.tables:
            assert now >= free_at
            started.append(now)
            free_at = now + timedelta(seconds=round_s)
    assert len(started) <= 240 * 60 / round_s + 1

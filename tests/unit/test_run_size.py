"""How much a run needs: bytes ask for memory, deadlines for hands, and caps hold."""

from dataclasses import replace
from typing import Any

import pytest
from drawn import works
from hypothesis import given, settings
from hypothesis import strategies as st
from tidegate.rates import MergeRates, Rates
from tidegate.run_size import (
    MAXIMUM_UNITS,
    RunSize,
    TableWork,
    UnitCaps,
    bytes_alone,
    decide_size,
    units_of_batch,
)
from tidegate.sizing import size_cluster
from tidegate.spark_settings import MASTER_MB, OVERHEAD, YARN_MB_A_UNIT, settings_for

GIB = 1024**3


def size(*work: TableWork, steps: int = 1, **options: Any) -> RunSize:
    return decide_size(work, steps, **options)


def flights(size_bytes: int, deadline_in_s: float | None = None, **fields: Any) -> TableWork:
    return TableWork("flights", size_bytes, deadline_in_s=deadline_in_s, **fields)


class TestUnits:
    def test_without_a_deadline_the_memory_decides_as_it_always_did(self) -> None:
        for size_bytes in (0, 1, 8 * GIB, 8 * GIB + 1, 40 * GIB, 10**15):
            units = size(flights(size_bytes)).units
            before = size_cluster("s", "r", 0, size_bytes, 1)
            assert before.maximum_units == max(2, units)

    def test_a_deadline_asks_for_more(self) -> None:
        # 40 GiB are 2,048 s on one unit; a start-up takes 900 s and a merge 60 s besides
        assert size(flights(40 * GIB, 960 + 2048)).units == 5
        hurried = size(flights(40 * GIB, 960 + 256))
        assert hurried.units == 8
        assert "8 to have flights in time" in hurried.reason

    @pytest.mark.parametrize("deadline_in_s", [960 + 225, 960 + 60, 960, 300, -3600])
    def test_nobody_is_hurried_beyond_a_quarter_of_a_start_up(self, deadline_in_s: float) -> None:
        # GIVEN 10 GiB, 512 s on one unit, and less time than a start-up and a merge may take
        # THEN as many units as merge it in 225 s, since each of them is paid for a start-up of 900
        assert size(flights(10 * GIB, deadline_in_s)).units == 3

    def test_the_most_urgent_table_comes_first(self) -> None:
        urgent = TableWork("a", 10 * GIB, deadline_in_s=960 + 512)
        patient = TableWork("b", 30 * GIB, deadline_in_s=10**6)
        assert size(urgent, patient).units == 5
        assert size(urgent, replace(patient, deadline_in_s=960.0 + 256)).units == 6

    def test_what_comes_later_has_waited_for_the_overhead_before_it(self) -> None:
        rates = Rates(0, tables={"a": MergeRates(300, 1e9), "b": MergeRates(0, 1e6)})
        urgent = TableWork("a", 0, deadline_in_s=400)
        assert size(TableWork("b", 10**9, deadline_in_s=550), rates=rates).units == 2
        assert size(urgent, TableWork("b", 10**9, deadline_in_s=550), rates=rates).units == 4

    def test_touched_bytes_count_a_quarter(self) -> None:
        assert size(flights(8 * GIB, touched_bytes=32 * GIB)).units == 2

    def test_files_take_time_where_that_is_known(self) -> None:
        rates = Rates(300, tables={"flights": MergeRates(30, 100e6, 0.1, "measured")})
        few, many = (size(flights(GIB, 500, files=files), rates=rates).units for files in (10, 5000))
        assert few == 1
        assert many == 4

    def test_what_the_caps_keep_back_is_said(self) -> None:
        capped = size(flights(40 * GIB, 700), caps=UnitCaps(4))
        assert (capped.units, capped.maximum_units) == (4, 4)
        assert "no more than 4 are allowed, so flights may be late" in capped.reason
        dear = UnitCaps(usd_an_hour=1.0, unit_usd_an_hour=0.2)
        assert size(flights(400 * GIB), caps=dear).units == 5
        assert size(flights(400 * GIB), caps=UnitCaps(usd_an_hour=0.01, unit_usd_an_hour=0.2)).units == 1

    @pytest.mark.parametrize("unknown", [0.0, -1.0])
    def test_without_a_price_the_cap_in_units_holds_alone(self, unknown: float) -> None:
        unpriced = UnitCaps(5, usd_an_hour=0.01, unit_usd_an_hour=unknown)
        assert size(flights(400 * GIB), caps=unpriced).units == 5


@pytest.mark.parametrize(
    ("size_bytes", "group_bytes", "round_bytes", "units"),
    [
        (GIB, GIB, GIB, 8.0),  # alone
        (GIB, GIB, 2 * GIB, 4.0),  # beside another large one
        (GIB // 2, GIB, 2 * GIB, 2.0),  # half of a group that is half of the round
        (GIB, GIB, 100 * GIB, 2.0),  # four groups at a time, whatever waits behind them
        (1, GIB, GIB, 2.0),  # and four tables of a group
        (0, 0, 0, 8.0),
        (GIB, GIB, 0, 8.0),  # planned by a release that wrote down no size
    ],
)
def test_a_batch_has_its_part_of_the_units(size_bytes: int, group_bytes: int, round_bytes: int, units: float) -> None:
    assert units_of_batch(8, size_bytes, group_bytes, round_bytes) == pytest.approx(units)


@given(st.integers(0, 10**13), st.one_of(st.none(), st.floats(0, 10**5)))
def test_what_dispatch_reckons_with_a_run_has(size_bytes: int, deadline_in_s: float | None) -> None:
    # However many units that are, one of them gets no more than dispatch reckons with.
    assert size_bytes / size(flights(size_bytes, deadline_in_s)).units <= bytes_alone(size_bytes) * 1.0001


caps = st.builds(
    UnitCaps,
    maximum_units=st.integers(0, 40),
    usd_an_hour=st.one_of(st.none(), st.floats(0, 20)),
    unit_usd_an_hour=st.floats(0, 1),
)


@settings(deadline=None)
@given(works, st.integers(0, 300), caps)
def test_never_above_the_caps_and_always_something_that_runs(work: Any, steps: int, limit: UnitCaps) -> None:
    made = size(*work, steps=steps, caps=limit)
    assert made.reason
    assert 1 <= made.units <= made.maximum_units <= limit.units
    if limit.usd_an_hour is not None and limit.unit_usd_an_hour > 0 and made.maximum_units > 1:
        assert made.maximum_units * limit.unit_usd_an_hour <= limit.usd_an_hour * 1.0001
    spark = made.spark
    assert 1 <= made.step_concurrency <= 4
    assert spark.minimum_executors <= spark.maximum_executors
    # An executor and its application master fit on one unit, and all executors on all units that there may ever be.
    container_mb = spark.executor_memory_mb * (1 + OVERHEAD)
    assert container_mb + MASTER_MB <= YARN_MB_A_UNIT
    assert spark.maximum_executors * container_mb <= limit.units * YARN_MB_A_UNIT
    assert spark.maximum_executors * spark.executor_cores <= 4 * limit.units


@settings(deadline=None)
@given(works, st.data(), st.integers(0, 200 * GIB), st.floats(0, 20_000))
def test_more_bytes_or_an_earlier_deadline_never_make_less(work: Any, data: Any, more: int, earlier_s: float) -> None:
    number = data.draw(st.integers(0, len(work) - 1))
    one = work[number]
    changes: list[dict[str, Any]] = [
        {"size_bytes": one.size_bytes + more},
        {"touched_bytes": one.touched_bytes + more},
        {"deadline_in_s": (one.deadline_in_s if one.deadline_in_s is not None else 50_000) - earlier_s},
    ]
    before = size(*work, steps=len(work))
    for change in changes:
        after = size(*work[:number], replace(one, **change), *work[number + 1 :], steps=len(work))
        assert after.units >= before.units
        assert after.maximum_units >= before.maximum_units
        assert after.step_concurrency >= before.step_concurrency
        assert after.spark.shuffle_partitions >= before.spark.shuffle_partitions
        assert after.spark.executor_memory_mb >= before.spark.executor_memory_mb


class TestSparkSettings:
    def test_a_small_run_has_room_for_two_applications_on_the_core_unit(self) -> None:
        small = size(flights(1000), steps=3)
        assert (small.units, small.maximum_units, small.step_concurrency) == (1, 2, 2)
        containers_mb = 2 * (small.spark.executor_memory_mb * (1 + OVERHEAD) + MASTER_MB)
        assert containers_mb <= YARN_MB_A_UNIT

    def test_a_large_step_gets_whole_units_and_many_partitions(self) -> None:
        large = size(flights(40 * GIB)).spark
        assert (large.executor_cores, large.shuffle_partitions, large.maximum_executors) == (4, 1280, 17)

    def test_drivers_share_the_primary(self) -> None:
        assert settings_for(GIB, 4, 4, 4).driver_memory_mb * 4 <= 10_240

    def test_they_are_settings_that_spark_has(self) -> None:
        assert settings_for(GIB, 4, 5, 2).as_configuration() == {
            "spark.driver.memory": "5120m",
            "spark.dynamicAllocation.cachedExecutorIdleTimeout": "120s",
            "spark.dynamicAllocation.enabled": "true",
            "spark.dynamicAllocation.minExecutors": "1",
            "spark.dynamicAllocation.maxExecutors": "4",  # two masters leave no room for one on the core unit
            "spark.executor.cores": "4",
            "spark.executor.memory": "9472m",
            "spark.sql.adaptive.enabled": "true",
            "spark.sql.shuffle.partitions": "32",
        }


class TestCluster:
    def test_a_size_makes_the_cluster(self) -> None:
        made = size(flights(120 * GIB, 960 + 400), steps=2)
        plan = size_cluster("tidegate", "r", 0, 0, 99, size=made)
        task = next(fleet for fleet in plan.fleets if fleet["InstanceFleetType"] == "TASK")
        assert task["TargetSpotCapacity"] == 15
        assert (plan.minimum_units, plan.maximum_units, plan.step_concurrency) == (1, 16, 2)
        assert plan.as_payload()["spark"]["spark.executor.cores"] == "4"
        assert "16 to have flights in time: one core and 15 task units (Graviton, Spot)" in plan.reason

    def test_without_one_it_is_as_before(self) -> None:
        assert "spark" not in size_cluster("tidegate", "r", 0, 1, 1).as_payload()
        assert size_cluster("tidegate", "r", 0, 10**15, 9).maximum_units == MAXIMUM_UNITS

    @pytest.mark.parametrize("launch", range(4))
    def test_no_cluster_launches_more_than_it_may_have(self, launch: int) -> None:
        for most in (1, 2, 5):
            made = size(flights(40 * GIB, 0.0), caps=UnitCaps(most))
            plan = size_cluster("tidegate", "r", 0, 0, 1, launch=launch, size=made)
            launched = sum(each["TargetOnDemandCapacity"] + each["TargetSpotCapacity"] for each in plan.fleets[1:])
            assert plan.minimum_units <= launched <= plan.maximum_units == most
            assert plan.maximum_on_demand_units <= most

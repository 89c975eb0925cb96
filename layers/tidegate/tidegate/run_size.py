"""How much a run needs: from bytes, files, rates and the deadline to units, steps side by side and Spark's settings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tidegate.rates import ASSUMED, Rates
from tidegate.spark_settings import SparkSettings, settings_for

BYTES_PER_UNIT = 8 * 1024**3
"""Compressed bytes that one unit (a machine of 4 vCPU and 16 GiB) is given, whatever time there is: their shuffle fills
at most half of the 64 GiB of its volume. A task's memory goes by its partition, not by these. A unit is paid for its
start-up too, so fewer of them that work longer are cheaper (docs/lab.md)."""

MAXIMUM_UNITS = 17
"""One core unit and sixteen task units."""

MAXIMUM_STEPS = 4
"""Side by side: each has its driver on the primary and its application master on the core node."""

_TOUCHED = 0.25
"""Bytes of a table that a batch touches, against bytes that arrive: mostly keys are read (docs/decisions/0029)."""

_LEAST_SHARE = 1 / MAXIMUM_STEPS
_LEAST_OF_START_UP = 0.25
"""No merge is hurried to be through in less than that part of a start-up. A deadline that asks for more can't be kept
at careful rates and is kept at usual ones; every unit more is paid for the whole start-up."""
_LEAST_S = 60.0


@dataclass(frozen=True)
class TableWork:
    """One table's batch. `touched_bytes` are of the table's own files that may hold a changed key."""

    table: str
    size_bytes: int
    files: int = 1
    touched_bytes: int = 0
    deadline_in_s: float | None = None
    """From now until it must be queryable, with the cluster still to be started; None: no promise."""

    @property
    def weight_bytes(self) -> int:
        return self.size_bytes + int(_TOUCHED * self.touched_bytes)


@dataclass(frozen=True)
class UnitCaps:
    """What no run may exceed: units of 4 vCPU without the primary, and dollars an hour for them."""

    maximum_units: int = MAXIMUM_UNITS
    usd_an_hour: float | None = None
    unit_usd_an_hour: float = 0.0
    """On-Demand, of the dearest launch option: any unit may become one, where Spot is lost. Without a price there is no
    cap in dollars."""

    @property
    def units(self) -> int:
        """At least the core unit: a run that may not have that should not be started."""
        if self.usd_an_hour is None or self.unit_usd_an_hour <= 0:
            return max(1, self.maximum_units)
        # The smaller first: next to nothing a unit would be infinitely many.
        return max(1, int(min(self.maximum_units, self.usd_an_hour / self.unit_usd_an_hour)))


@dataclass(frozen=True)
class RunSize:
    """Units of 4 vCPU, the core unit among them; `maximum_units` is managed scaling's first limit."""

    units: int
    maximum_units: int
    step_concurrency: int
    spark: SparkSettings
    reason: str


CAPS = UnitCaps()


def units_by_size(size_bytes: int) -> int:
    """As many units as so many bytes need for their memory."""
    return max(1, math.ceil(size_bytes / BYTES_PER_UNIT))


def bytes_alone(size_bytes: int) -> float:
    """Bytes that one unit merges while all units that so many bytes get are at it.

    No more than a unit is given, unless the caps are reached. Whole units would give less to a unit at each further
    one, and a table with more bytes would be due later.
    """
    return max(min(size_bytes, BYTES_PER_UNIT), size_bytes / MAXIMUM_UNITS)


def round_s(work: Sequence[TableWork], units: float, rates: Rates) -> float:
    """Seconds until all of it is merged on a cluster that is there, as careful as the rates are."""
    of = [(rates.of(each.table), each) for each in work]
    moving_s = sum(of_table.moving_s(each.weight_bytes, each.files) for of_table, each in of)
    return max((of_table.overhead_s for of_table, _ in of), default=0.0) + moving_s / max(1.0, units)


def units_of_batch(units: float, size_bytes: int, group_bytes: int, round_bytes: int) -> float:
    """The part of a run's units that a batch of a step group had while it was merged: what its rate is learned by.

    Tables of a group share one application, and groups share the cluster, by what they have to read. No more than four
    do so at a time, of either: the others wait, and none has less than a quarter.
    """
    in_group = size_bytes / group_bytes if group_bytes else 1.0
    in_round = group_bytes / round_bytes if round_bytes else 1.0
    return units * min(1.0, max(_LEAST_SHARE, in_group)) * min(1.0, max(_LEAST_SHARE, in_round))


def decide_size(work: Sequence[TableWork], steps: int, *, rates: Rates = ASSUMED, caps: UnitCaps = CAPS) -> RunSize:
    """Decide what a run's cluster is made of.

    Bytes need memory, and deadlines need hands: the larger of both, never more than the caps allow. More bytes, or an
    earlier deadline, never make a smaller cluster. Twice the units for half the time cost the same but for their
    start-ups, so no more are asked for than that.
    """
    weight = sum(each.weight_bytes for each in work)
    by_size = units_by_size(weight)
    by_deadline, hurried = _units_by_deadline(work, rates)
    cap = caps.units
    units = min(cap, max(by_size, by_deadline))
    maximum_units = first_limit(units, caps)
    concurrency = max(1, min(MAXIMUM_STEPS, steps, 2 * units))  # two executors a unit: one for each application
    largest = max((each.weight_bytes for each in work), default=0)
    files = sum(each.files for each in work)
    said = f"{weight:,} bytes to read, {files} files, in {steps} steps: {by_size} units for the memory"
    said += f", {by_deadline} to have {hurried} in time" if hurried else ", no deadline asks for more"
    if max(by_size, by_deadline) > cap:
        said += f"; no more than {cap} are allowed" + (f", so {hurried} may be late" if by_deadline > cap else "")
    # Executors up to the caps: whatever scaling adds later has to be asked for by an application that runs by then.
    spark = settings_for(max(largest, weight // max(1, steps)), units, cap, concurrency)
    return RunSize(units, maximum_units, concurrency, spark, said)


def first_limit(units: int, caps: UnitCaps) -> int:
    """Managed scaling's first limit for a run of so many units: room for one beside the core. Scaling may raise it."""
    return min(caps.units, max(2, units))


def _units_by_deadline(work: Sequence[TableWork], rates: Rates) -> tuple[int, str | None]:
    """The units with which every table is in time, the most urgent first, and the table that needs them."""
    needed, hurried, moving_s, overhead_s = 1, None, 0.0, 0.0
    least_s = max(_LEAST_S, _LEAST_OF_START_UP * rates.start_up_s)
    in_order = sorted(
        (each for each in work if each.deadline_in_s is not None), key=lambda each: (each.deadline_in_s, each.table)
    )
    for each in in_order:
        of_table = rates.of(each.table)
        moving_s += of_table.moving_s(each.weight_bytes, each.files)
        overhead_s = max(overhead_s, of_table.overhead_s)
        left_s = max(least_s, (each.deadline_in_s or 0.0) - rates.start_up_s - overhead_s)
        units = math.ceil(moving_s / left_s)
        if units > needed:
            needed, hurried = units, each.table
    return needed, hurried

"""How long the decisions take: a look of dispatch at many tables, and what is decided of one run.

    .venv/bin/python bench/decisions.py                  # 1,000 tables
    .venv/bin/python bench/decisions.py --tables 10000

Prints the least and the median of the processor's milliseconds. A look at 1,000 tables is to take less than 5 ms. The
empty loop says how fast Python is on this machine just now: beside other work it may be several times slower.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / name) for name in ("tests", "layers/tidegate")]

from fakes.contracts import contract  # noqa: E402
from tidegate.dispatch import TableSnapshot, decide_dispatch, decide_more  # noqa: E402
from tidegate.history import MergeSample  # noqa: E402
from tidegate.quiet_hours import QuietHours  # noqa: E402
from tidegate.rates import MergeRates, Rates, estimate_merge  # noqa: E402
from tidegate.readings import Metrics, Progress  # noqa: E402
from tidegate.run_size import CAPS, TableWork, decide_size  # noqa: E402
from tidegate.scaling import ScalingLimits, ScalingState, decide_scaling  # noqa: E402
from tidegate.sizing import size_cluster  # noqa: E402
from tidegate.stack_limits import LiveCluster, Stack, StackLimits  # noqa: E402

NOW = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)
WITHIN = contract(freshness={"kind": "within", "seconds": 6 * 3600})
DAILY = contract(freshness={"kind": "daily", "at": "06:00", "zone": "Europe/Berlin"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=50)
    arguments = parser.parse_args()
    patient = snapshots(arguments.tables)
    late = [replace(each, oldest_event_time=NOW - timedelta(days=2)) for each in patient]
    rates = Rates(300, tables={each.contract.table: MergeRates(20, 50e6, 0.01, "measured") for each in patient})
    limits = StackLimits(3, 100.0, QuietHours("22:00", "23:00", "Europe/Berlin"), 60.0, 64)
    stack = Stack((LiveCluster("r", round_ends_at=NOW),), 10.0, 1.0)
    merges = [MergeSample(NOW - timedelta(hours=n), str(n), 30 + n, n * 10**8, n) for n in range(32)]
    mixed = [_in_some_state(number, each) for number, each in enumerate(patient)]
    work = [TableWork(each.contract.table, each.pending_bytes, 9, 10**9, 3600.0) for each in patient]
    run = ScalingState("j", ScalingLimits(1, 4, 1), CAPS)
    seen = Metrics("j", NOW, 2.0, 3.0, 0.0, 10.0, 4.0, 3.0)
    progress = Progress(NOW, 10**9, 10**12, 60.0, 4.0, False, NOW + timedelta(hours=1))
    looks: dict[str, Callable[[], object]] = {
        "nothing is due": lambda: decide_dispatch(patient, NOW),
        "all are due": lambda: decide_dispatch(late, NOW),
        "measured rates, limits, quiet hours, a warm cluster; nothing is due": lambda: decide_dispatch(
            patient, NOW, rates=rates, limits=limits, stack=stack
        ),
        "the same; all are due": lambda: decide_dispatch(late, NOW, rates=rates, limits=limits, stack=stack),
        "the same; every other table has nothing, some are held, some have quiet hours": lambda: decide_dispatch(
            mixed, NOW, rates=rates, limits=limits, stack=stack
        ),
        "what a warm cluster takes": lambda: decide_more(patient, [], NOW, NOW, rates=rates, limits=limits),
        "and every table's words": lambda: [each.reason for each in decide_dispatch(patient, NOW).decisions],
        "the size of a run of all these tables": lambda: decide_size(work, 300, rates=rates),
        "a cluster": lambda: size_cluster("tidegate", "r", 0, 10**12, 300),
        "scaling of one cluster": lambda: decide_scaling(run, seen, progress, NOW),
        "an empty loop of 1,000 rounds": empty_loop,
        "rates of one table, learned from 32 merges": lambda: estimate_merge(merges, NOW),
    }
    for name, look in looks.items():
        ms = times_ms(look, arguments.repeats)
        print(f"{min(ms):8.3f} ms least {statistics.median(ms):8.3f} ms median  {name}")


def snapshots(count: int) -> list[TableSnapshot]:
    """Tables that all have something pending, a third of them with a daily freshness; none is due."""
    return [
        TableSnapshot(
            replace(DAILY if number % 3 == 0 else WITHIN, table=f"table_{number:05d}"),
            1 + number % 50,
            number * 1000,
            NOW - timedelta(seconds=number % 900),
        )
        for number in range(count)
    ]


def _in_some_state(number: int, snapshot: TableSnapshot) -> TableSnapshot:
    if number % 2:
        return TableSnapshot(snapshot.contract)
    if number % 14 == 0:
        return replace(snapshot, held_by="r1")
    if number % 10 == 0:
        night = QuietHours("22:00", "06:00", "Europe/Berlin")
        return replace(snapshot, contract=replace(snapshot.contract, quiet_hours=night))
    return snapshot


def empty_loop() -> None:
    for _ in range(1000):
        pass


def times_ms(look: Callable[[], object], repeats: int) -> list[float]:
    times = []
    for _ in range(repeats):
        began = time.process_time()
        look()
        times.append((time.process_time() - began) * 1000)
    return times


if __name__ == "__main__":
    main()

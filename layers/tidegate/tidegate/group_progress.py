"""A run's progress: what its work files ask for, held against what their Spark applications tell while they work."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tidegate.rates import Rates
from tidegate.readings import Progress
from tidegate.spark_settings import CORES_A_UNIT

READ_SHARE = 0.5
"""Of a batch that is read and not yet through, the part that counts as done: assumed. Too little makes a cluster larger
than it had to be, too much makes a table late."""

Json = Mapping[str, Any]


def progress_of(works: Sequence[Json], told: Mapping[str, Json], rates: Rates, now: datetime) -> Progress | None:
    """How far a round is. `told` has the document of each group that has told something; None if there is no work.

    A group that is through counts as done, with no say in what is under way. One that has told nothing yet has done
    nothing, and nobody knows whether it shuffles.
    """
    # A work file of an earlier release, which a deployment has overtaken, says no sizes.
    batches = [
        (work["group"], each)
        for work in works
        for each in work["batches"]
        if each["action"] == "merge" and "size_bytes" in each
    ]
    if not batches:
        return None
    done = {group: {(table, number) for table, number in document["done"]} for group, document in told.items()}
    left = [(group, each) for group, each in batches if (each["table"], each["batch"]) not in done.get(group, set())]
    at_work = {group for group, _ in left}
    telling = [told[group] for group in sorted(at_work) if group in told]
    total = sum(int(each["size_bytes"]) for _, each in batches)
    read = sum(_read_bytes(group, batches, left, told) for group in at_work)
    deadlines = [datetime.fromisoformat(each["deadline"]) for _, each in left if each["deadline"]]
    return Progress(
        at=min((datetime.fromisoformat(each["at"]) for each in telling), default=now),
        done_bytes=total - sum(int(each["size_bytes"]) for _, each in left) + read,
        total_bytes=total,
        used_unit_s=sum(float(each["core_s"]) for each in told.values()) / CORES_A_UNIT,
        units_in_use=sum(int(each["busy_cores"]) for each in telling) / CORES_A_UNIT,
        shuffles=None if len(telling) < len(at_work) else any(each["shuffles"] for each in telling),
        deadline=min(deadlines, default=None),
        overhead_s=max((rates.of(each["table"]).overhead_s for _, each in left), default=0.0),
        bytes_per_s=_bytes_per_s([each for _, each in batches], rates),
    )


def _read_bytes(
    group: str, batches: Sequence[tuple[str, Json]], left: Sequence[tuple[str, Json]], told: Mapping[str, Json]
) -> int:
    """What has been read of a group's batches that are not through, as far as it counts."""
    if group not in told:
        return 0
    of_left = sum(int(each["size_bytes"]) for its, each in left if its == group)
    of_done = sum(int(each["size_bytes"]) for its, each in batches if its == group) - of_left
    return int(READ_SHARE * min(of_left, max(0, int(told[group]["input_bytes"]) - of_done)))


def _bytes_per_s(batches: Sequence[Json], rates: Rates) -> float:
    """Of one unit, over all of them."""
    sizes = [(each["table"], int(each["size_bytes"]), int(each["files"])) for each in batches]
    moving_s = sum(rates.of(table).moving_s(size, files) for table, size, files in sizes)
    total = sum(size for _, size, _ in sizes)
    return total / moving_s if total and moving_s > 0 else rates.merge.bytes_per_s

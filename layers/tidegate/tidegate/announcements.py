"""The event that tells of a table's new version: "Table Updated" on EventBridge, at least once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tidegate.ports import Batch

SOURCE = "tidegate"
DETAIL_TYPE = "Table Updated"
COUNTED = ("inserted", "updated", "deleted", "quarantined")


@dataclass(frozen=True)
class Announcement:
    """An event on its way. `batches` are those of `table` that need not be announced once it is sent."""

    table: str
    batches: tuple[int, ...]
    detail: Mapping[str, Any]


def announcement_of(
    batches: Sequence[Batch], *, table_rows: int | None, stack: str, location: str, database: str
) -> Announcement:
    """One event about merged batches of one table, which have settled together.

    The same batches make the same event, so that a receiver can tell one that comes twice by its `id`. `versions` are
    those of the first and the last commit that changed rows, as `table_changes` of a change data feed takes them.
    """
    ordered = sorted(batches, key=lambda batch: batch.number)
    last = ordered[-1]
    versions = [batch.delta_version for batch in ordered if batch.delta_version is not None]
    numbers = tuple(batch.number for batch in ordered)
    detail = {
        "id": f"{last.table}:{last.number}",
        "stack": stack,
        "table": last.table,
        "run_id": last.run_id,
        "batches": list(numbers),
        "versions": {"from": min(versions, default=None), "to": max(versions, default=None)},
        "rows": {name: sum(int((batch.rows or {}).get(name, 0)) for batch in ordered) for name in COUNTED},
        "table_rows": table_rows,
        "location": location,
        "database": database,
    }
    return Announcement(last.table, numbers, detail)

"""Tables in the ledger: their leases and pauses."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from tidegate.adapters.ledger_calls import LedgerCalls
from tidegate.adapters.ledger_items import (
    STACK_KEY,
    catalogued_value,
    iso,
    read_table,
    table_key,
)
from tidegate.catalog import Catalogued
from tidegate.errors import LeaseHeld
from tidegate.ports import Lease, Table


class TablesInLedger(LedgerCalls):
    """The part of `tidegate.ports.Ledger` that is about tables."""

    def table(self, name: str) -> Table:
        return read_table(name, self._get(table_key(name)) or {})

    def tables(self, names: Sequence[str]) -> dict[str, Table]:
        items = self._get_all([table_key(name) for name in names])
        found = {item["pk"].removeprefix("table#"): item for item in items}
        return {name: read_table(name, found.get(name, {})) for name in names}

    def take_lease(self, table: str, run_id: str, from_run: str | None, attempt: int = 0) -> Lease:
        fence = (self._get(table_key(table)) or {}).get("fence", 0)
        taken = self._update(
            table_key(table),
            "SET lease = :lease, fence = :next, #kind = :kind, #table = :table",
            {
                ":lease": {"run_id": run_id, "fence": int(fence) + 1, "attempt": attempt},
                ":next": int(fence) + 1,
                ":seen": fence,
                ":run": run_id,
                ":from": from_run or run_id,
                ":kind": "table",
                ":table": table,
            },
            condition="(attribute_not_exists(lease) OR lease.run_id = :run OR lease.run_id = :from)"
            " AND (attribute_not_exists(fence) OR fence = :seen)",
            names=("kind", "table"),
        )
        if not taken:
            raise LeaseHeld(f"another run took table {table} at this moment; it is tried again with the next run")
        return Lease(run_id, int(fence) + 1, attempt)

    def free_lease(self, table: str, run_id: str, attempt: int) -> None:
        self._update(
            table_key(table),
            "REMOVE lease",
            {":run": run_id, ":attempt": attempt},
            # A function of a dead execution that wakes late must not free what its run has taken again.
            condition="lease.run_id = :run AND (attribute_not_exists(lease.attempt) OR lease.attempt <= :attempt)",
        )

    def record_published(
        self, table: str, announced: Collection[int], catalogued: Catalogued | None, unregistered_batch: int | None
    ) -> None:
        sets, removes, values = [], [], dict[str, Any]()
        if catalogued is not None:
            sets.append("catalogued = :catalogued")
            values[":catalogued"] = catalogued_value(catalogued)
        if unregistered_batch is None:
            removes.append("unregistered_batch")
        else:
            sets.append("unregistered_batch = :batch")
            values[":batch"] = unregistered_batch
        change = (f"SET {', '.join(sets)} " if sets else "") + (f"REMOVE {', '.join(removes)} " if removes else "")
        if announced:
            change += "DELETE unannounced :announced"
            values[":announced"] = set(announced)
        self._update(table_key(table), change.strip(), values, condition="attribute_exists(pk)")

    def pause(self, table: str | None, reason: str, now: datetime) -> None:
        self._update(
            STACK_KEY if table is None else table_key(table),
            "SET #kind = :kind, paused_reason = :reason, paused_at = :now"
            + ("" if table is None else ", #table = :table"),
            {
                ":kind": "stack" if table is None else "table",
                ":reason": reason,
                ":now": iso(now),
                **({} if table is None else {":table": table}),
            },
            names=("kind",) if table is None else ("kind", "table"),
        )

    def resume(self, table: str | None) -> None:
        self._update(STACK_KEY if table is None else table_key(table), "REMOVE paused_reason, paused_at", {})

    def paused_stack(self) -> str | None:
        item = self._get(STACK_KEY) or {}
        return item.get("paused_reason")

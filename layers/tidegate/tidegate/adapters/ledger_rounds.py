"""Rounds of reconciling in the ledger: how far the comparison with the landing bucket is."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tidegate.adapters.ledger_calls import LedgerCalls
from tidegate.adapters.ledger_items import ROUND_KEY, iso, moment
from tidegate.reconciling import Counts, Marker, Round


class RoundsInLedger(LedgerCalls):
    """The part of `tidegate.ports.Ledger` that is about reconciling."""

    def reconcile_round(self) -> Round | None:
        item = self._get(ROUND_KEY)
        return _read(item) if item else None

    def save_round(self, round_: Round, seen: Round | None) -> bool:
        item: dict[str, Any] = {
            **ROUND_KEY,
            "kind": "round",
            "started_at": iso(round_.started_at),
            "counts": asdict(round_.counts),
            "is_done": round_.is_done,
            "step": round_.step,
        }
        if round_.after is not None:
            item["after"] = asdict(round_.after)
        if seen is None:
            return self._put(item, "attribute_not_exists(pk)")
        values = {":started": iso(seen.started_at), ":step": seen.step}
        return self._put(item, "started_at = :started AND #step = :step", values, names=("step",))


def _read(item: Mapping[str, Any]) -> Round:
    return Round(
        started_at=moment(item["started_at"]),
        counts=Counts(**{name: int(count) for name, count in item["counts"].items()}),
        after=Marker(**item["after"]) if "after" in item else None,
        is_done=bool(item["is_done"]),
        step=int(item["step"]),
    )

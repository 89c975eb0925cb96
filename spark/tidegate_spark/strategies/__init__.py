"""How the changes of a batch become the table's rows: one module a strategy, one line in the registry.

A strategy is a function of the table, the changes and the contract. It answers with a plan that says what it
will do before it does it; running it is one commit, whatever the changes are.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from tidegate_spark.changes import Changes
from tidegate_spark.errors import NotSupported
from tidegate_spark.strategies.append import plan_append
from tidegate_spark.strategies.bitemporal import plan_bitemporal
from tidegate_spark.strategies.cdc import plan_cdc
from tidegate_spark.strategies.plan import MergePlan, plan_void
from tidegate_spark.strategies.scd2 import plan_scd2
from tidegate_spark.strategies.snapshot import plan_snapshot
from tidegate_spark.strategies.tombstones import purge_tombstones
from tidegate_spark.strategies.upsert import plan_upsert
from tidegate_spark.table import Target
from tidegate_spark.work import Contract

__all__ = ["FORGETS", "MergePlan", "plan_merge", "plan_void"]

_STRATEGIES: dict[str, Callable[[Target, Changes, Contract], MergePlan]] = {
    "upsert": plan_upsert,
    "append": plan_append,
    "cdc": plan_cdc,
    "snapshot": plan_snapshot,
    "scd2": plan_scd2,
    "bitemporal": plan_bitemporal,
}
FORGETS: dict[str, Callable[[Target, Contract, datetime], int]] = {"cdc": purge_tombstones}
"""By strategy: what lets go of deletes that are remembered for longer than the contract asks; how many went."""


def plan_merge(target: Target, changes: Changes, contract: Contract) -> MergePlan:
    """What the contract's strategy will do with these changes. Raises :class:`NotSupported`."""
    try:
        strategy = _STRATEGIES[contract.strategy]
    except KeyError:
        raise NotSupported(
            f"Strategy {contract.strategy!r} of {contract.table} is unknown: this job knows "
            f"{', '.join(sorted(_STRATEGIES))}."
        ) from None
    if contract.strategy != "cdc" and contract.partial_updates:
        raise NotSupported(f"{contract.table} has partial_updates, which is of strategy cdc: say `strategy: cdc`.")
    if contract.strategy in ("upsert", "append") and contract.delete_when:
        raise NotSupported(
            f"{contract.table} has delete_when and strategy {contract.strategy}, which deletes nothing: say "
            "`strategy: cdc`, or leave delete_when out."
        )
    return strategy(target, changes, contract)

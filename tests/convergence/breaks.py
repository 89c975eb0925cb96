"""The engine, broken in one way each: what a campaign is worth is what it finds."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from convergence.cases import cdc, scd2, upsert
from convergence.histories import KeyedCase


@dataclass(frozen=True)
class Break:
    """A fault of the product, and a case in which it matters."""

    name: str
    case: KeyedCase
    put_in: Callable[[pytest.MonkeyPatch], None]


def _everywhere(patched: pytest.MonkeyPatch, name: str, broken: Any) -> None:
    """Whichever module of the job has imported it."""
    import tidegate_spark.engines.delta_rs
    import tidegate_spark.job  # noqa: F401 - all others come with it

    modules = [module for path, module in sorted(sys.modules.items()) if path.startswith("tidegate_spark.")]
    holders = [module for module in modules if hasattr(module, name)]
    assert holders, f"the job has no {name} to break"
    for module in holders:
        patched.setattr(module, name, broken)


def _ties(patched: pytest.MonkeyPatch) -> None:
    """Changes of one sequence value have no order among them."""
    from tidegate_spark import origin
    from tidegate_spark.engines import delta_rs

    order_of = origin.order_of

    def without_place(side: str, *args: Any, **named: Any) -> str:
        order = order_of(side, *args, **named)
        for field, kind in {"event_time": "timestamp", "position": "bigint"}.items():
            order = order.replace(f"{side}.{origin.ORIGIN}.{field} AS", f"CAST(NULL AS {kind}) AS")
        for field in ("source", "sequencer"):
            order = order.replace(f"{side}.{origin.ORIGIN}.{field} AS", "CAST(NULL AS string) AS")
        return order

    _everywhere(patched, "order_of", without_place)
    patched.setattr(delta_rs, "PLACE", ())


def _tombstone(patched: pytest.MonkeyPatch) -> None:
    """A delete leaves nothing behind."""
    from tidegate_spark.strategies.tombstones import Memory

    patched.setattr(Memory, "keep", lambda _memory, _rows: None)


def _late_change(patched: pytest.MonkeyPatch) -> None:
    """A change that is older than one of an earlier batch isn't put into the middle of its key's history."""
    from pyspark.sql import Window
    from pyspark.sql import functions as sf
    from tidegate_spark.origin import ORIGIN
    from tidegate_spark.strategies import rebuild

    ordered = rebuild._ordered

    def without_late(history: Any, contract: Any) -> Any:
        newest_first = Window.partitionBy(*contract.keys).orderBy(sf.col(rebuild.ORDER).desc())
        newer = newest_first.rowsBetween(Window.unboundedPreceding, -1)
        first_of_newer = sf.min(f"{ORIGIN}.batch").over(newer)
        return (
            ordered(history, contract)
            .withColumn("first_of_newer", first_of_newer)
            .where(f"first_of_newer IS NULL OR {ORIGIN}.batch <= first_of_newer")
            .drop("first_of_newer")
        )

    patched.setattr(rebuild, "_ordered", without_late)


def _null_compare(patched: pytest.MonkeyPatch) -> None:
    """A missing value equals no other and is before none: `=` and `>` as they are, where nulls have to be looked at."""
    from tidegate_spark.engines import delta_rs

    is_newer = delta_rs.is_newer

    def without_nulls(*args: Any) -> str:
        condition = is_newer(*args).replace(" IS NOT DISTINCT FROM ", " = ")
        return re.sub(r"\(\(\S+ IS NOT NULL\) AND \(\S+ IS NULL\)\)", "false", condition)

    patched.setattr(delta_rs, "is_newer", without_nulls)


def _txn_reset(patched: pytest.MonkeyPatch) -> None:
    """The table doesn't know which batches it has: each attempt commits under an app id of its own."""
    from tidegate_spark import commit

    numbered_commit, parse_commit, attempts = commit.numbered_commit, commit.parse_commit, itertools.count(1)

    @contextmanager
    def of_this_attempt(session: Any, app_id: str, *args: Any) -> Iterator[None]:
        with numbered_commit(session, f"{app_id}#{next(attempts)}", *args):
            yield

    def of_any_attempt(*args: Any) -> commit.Commit:
        found = parse_commit(*args)
        return replace(found, batches={app_id.partition("#")[0]: batch for app_id, batch in found.batches.items()})

    _everywhere(patched, "numbered_commit", of_this_attempt)
    _everywhere(patched, "parse_commit", of_any_attempt)
    _everywhere(patched, "is_committed", lambda *_: False)


BREAKS = (
    Break("ties", upsert.CASE, _ties),
    Break("tombstone", cdc.CASE, _tombstone),
    Break("late change", scd2.CASE, _late_change),
    Break("null compare", upsert.CASE, _null_compare),
    Break("txn reset", upsert.CASE, _txn_reset),
)

"""Keys in the SQL of merges: compared null-safely, behind literals by which Delta skips files."""

from __future__ import annotations

from tidegate_spark.changes import Changes
from tidegate_spark.sources.rows import quoted
from tidegate_spark.work import Contract


def same_key(left: str, right: str, contract: Contract) -> str:
    """The condition that two rows are of one key."""
    return " AND ".join(f"{left}.{quoted(key)} <=> {right}.{quoted(key)}" for key in contract.keys)


def ranges_of(side: str, changes: Changes) -> list[str]:
    """What is known of the changes' keys, as predicates of literals on `side`."""
    return [found.of(side) for found in changes.key_ranges]


def is_after(left: str, right: str) -> str:
    """Of two orders, either of which may be missing: is `left` there, and later than `right` if that is there?"""
    return f"coalesce({left} > {right}, {left} IS NOT NULL)"

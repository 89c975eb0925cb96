"""`purged_through`: up to which sequence it is forgotten which keys were deleted.

A tombstone is later than every other change of its sequence value, so that value alone says all: what a purged
tombstone was newer than is at or below it. Without a sequence column the time of arrival takes its place.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from tidegate_spark.errors import TableRefused
from tidegate_spark.origin import ORIGIN, PLACE, order_type
from tidegate_spark.side_tables import SideTable
from tidegate_spark.sources.rows import quoted, text_literal
from tidegate_spark.work import Contract

PURGED_THROUGH = "tidegate.purged_through"
"""A property of the history."""
_TIMES = ("timestamp", "timestamp_ntz", "date")


@dataclass(frozen=True)
class Bound:
    """A value of the sequence column (or of the time of arrival, if `by` is None), as text."""

    by: str | None
    type: str
    through: str
    """All of one length: comparing text compares time."""

    def to_json(self) -> str:
        return json.dumps({"sequence_by": self.by, "through": self.through})

    @property
    def literal(self) -> str:
        """The value in SQL, the same in any time zone."""
        return f"CAST({text_literal(self.through)} AS {self.type})"

    def reaches(self, side: str) -> str:
        """The condition that a change is at or below it. A missing sequence value is the oldest."""
        value = value_of(side, self.by)
        return f"({value} IS NULL OR {value} <= {self.literal})"

    def order(self, contract: Contract) -> str:
        """The least order that is later than every change that it reaches and that deletes nothing, in SQL."""
        nothing = ", ".join(["NULL"] * (len(PLACE) if self.by else len(PLACE) - 1))
        first = f"{self.literal}, true" if self.by else f"timestampadd(MICROSECOND, 1, {self.literal})"
        return f"CAST(struct({first}, {nothing}) AS {order_type(contract)})"

    def words(self) -> str:
        """Which changes it reaches."""
        return f"with {self.by or 'an arrival'} at or before {self.through}"

    def reason(self) -> str:
        """Why a change is refused, and what to do."""
        again = f"with a later {self.by}" if self.by else "in a new file"
        return (
            f"too late: its key is not in the table, and of changes {self.words()} it is no longer known whether "
            f"a later one has deleted the key. If the row should be there, send it again {again}"
        )

    def or_later(self, other: Bound | None) -> Bound:
        """The later of the two: it never moves back."""
        return self if other is None or self.through > other.through else other


def value_of(side: str, by: str | None) -> str:
    """What the bound is a bound of."""
    return f"{side}.{quoted(by)}" if by else f"{side}.{ORIGIN}.event_time"


def type_of(contract: Contract) -> str:
    """The type of that."""
    types = {column.name: column.type for column in contract.columns}
    return types[contract.sequence_by] if contract.sequence_by else "timestamp"


def can_purge(contract: Contract) -> bool:
    """Are sequence values times, so that one key's value says something about another's?

    A number may count the versions of each key by itself: then a bound would refuse every new key's first change.
    """
    return type_of(contract) in _TIMES


def horizon_of(contract: Contract, now: datetime) -> Bound:
    """The latest that may be forgotten now."""
    moment = now.astimezone(UTC) - timedelta(seconds=contract.tombstones_s)
    return Bound(contract.sequence_by, type_of(contract), text_of(moment, type_of(contract)))


def text_of(moment: datetime | date, type_name: str) -> str:
    """As Spark reads it; a timestamp has its zone."""
    if type_name == "date":
        return f"{moment:%Y-%m-%d}"
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}" + ("Z" if type_name == "timestamp" else "")


def bound_of(history: SideTable, contract: Contract) -> Bound | None:
    """What was purged from a history. Raises :class:`TableRefused`."""
    raw = history.property(PURGED_THROUGH)
    if raw is None:
        return None
    found = json.loads(raw)
    if found["sequence_by"] != contract.sequence_by:
        raise TableRefused(
            f"{history.uri} has forgotten deletes by {found['sequence_by'] or 'time of arrival'}, and the contract of "
            f"{contract.table} orders changes by {contract.sequence_by or 'time of arrival'} now: nobody can tell "
            "which late changes were deleted. Nothing was written. Change sequence_by back, or load a new table."
        )
    return Bound(contract.sequence_by, type_of(contract), found["through"])

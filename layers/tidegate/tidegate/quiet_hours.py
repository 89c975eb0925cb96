"""Quiet hours: when no run begins. Whatever must be fresh within them is merged before, the rest afterwards."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

PATTERN = r"([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9] [A-Za-z0-9_+/-]+"
"""For editors; `parse_quiet_hours` says more."""
_WRITTEN = re.compile(r"(?P<begin>\d\d:\d\d)-(?P<end>\d\d:\d\d) (?P<zone>\S+)")


@dataclass(frozen=True)
class QuietHours:
    """From `begin` to `end` by the clocks of `zone`, each day; over midnight if `end` is the earlier one.

    Raises ValueError if both are the same or aren't times of a day, and for a zone that nobody knows.
    """

    begin: str
    end: str
    zone: str

    def __post_init__(self) -> None:
        if time.fromisoformat(self.begin) == time.fromisoformat(self.end):
            raise ValueError(
                f"quiet hours from {self.begin} to {self.end} are none, or all day: pause the table instead"
            )
        try:
            ZoneInfo(self.zone)
        except (LookupError, OSError) as unknown:  # ZoneInfoNotFoundError is a KeyError
            raise ValueError(f"{self.zone!r} is not a time zone") from unknown

    def __str__(self) -> str:
        return f"{self.begin} to {self.end} {self.zone}"

    def __hash__(self) -> int:
        # Looked up for every table with its own at each look of dispatch: cheaper than a hash of all three.
        return hash(self.begin)

    def around(self, moment: datetime, early: timedelta = timedelta()) -> tuple[datetime, datetime] | None:
        """Begin and end, in UTC, of the quiet hours that a moment is in, or not earlier than `early` before.

        The begin is, the end isn't part of them.
        """
        utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
        for begin, end in _near(self, utc.toordinal()):
            if begin - early <= moment < end:
                return begin, end
        return None

    def next_begin(self, moment: datetime) -> datetime:
        """When the next ones begin after a moment; the moment itself where that is further than is looked."""
        utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
        begins = [begin for begin, _ in _near(self, utc.toordinal()) if begin > moment]
        return min(begins, default=moment)

    def words(self, end: datetime) -> str:
        """Which quiet hours these are."""
        return f"quiet hours ({self}) until {end:%Y-%m-%d %H:%M} UTC"

    def longest_s(self, now: datetime) -> float:
        """Of the next twelve months' quiet hours: when clocks go back, some are an hour longer."""
        today = now.astimezone(ZoneInfo(self.zone)).date()
        days = (_of_day(self, today + timedelta(days=number)) for number in range(366))
        return max((end - begin).total_seconds() for begin, end in days)


def parse_quiet_hours(text: str) -> QuietHours:
    """As people write them: `22:00-06:00 Europe/Berlin`. Raises ValueError for anything else."""
    match = _WRITTEN.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} are no quiet hours; write them as 22:00-06:00 Europe/Berlin")
    return QuietHours(match["begin"], match["end"], match["zone"])


def _of_day(hours: QuietHours, day: date) -> tuple[datetime, datetime]:
    """Those that begin on a day. From moments of the clock, so that they are right on a day of 23 or 25 hours too.

    A time that the clock shows twice begins them when it comes first and ends them when it comes last. One that it
    never shows is as much later as the clocks go forward.
    """
    zone = ZoneInfo(hours.zone)
    begin, end = time.fromisoformat(hours.begin), time.fromisoformat(hours.end)
    last = day if begin < end else day + timedelta(days=1)
    ends = (datetime.combine(last, end.replace(fold=fold), zone).astimezone(UTC) for fold in (0, 1))
    return datetime.combine(day, begin, zone).astimezone(UTC), max(ends)


@lru_cache(maxsize=256)
def _near(hours: QuietHours, day: int) -> tuple[tuple[datetime, datetime], ...]:
    """All that may be on a day of UTC, given as its ordinal.

    A zone's day is at most one off, and quiet hours reach into the next one.
    """
    return tuple(_of_day(hours, date.fromordinal(day + number)) for number in (-2, -1, 0, 1))

"""Quiet hours: by the clocks of their zone, also on the days when clocks are changed."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tidegate.contracts import parse_contracts
from tidegate.quiet_hours import QuietHours

NIGHT = QuietHours("22:00", "06:00", "Europe/Berlin")
FROM_HALF = QuietHours("02:30", "04:00", "Europe/Berlin")
UNTIL_HALF = QuietHours("01:00", "02:30", "Europe/Berlin")
LUNCH = QuietHours("12:00", "13:30", "Asia/Kolkata")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


@pytest.mark.parametrize(
    ("hours", "moment", "around"),
    [
        (NIGHT, "2026-01-10T20:59:59", None),
        (NIGHT, "2026-01-10T21:00:00", ("2026-01-10T21:00:00", "2026-01-11T05:00:00")),
        (NIGHT, "2026-01-11T04:59:59", ("2026-01-10T21:00:00", "2026-01-11T05:00:00")),
        (NIGHT, "2026-01-11T05:00:00", None),
        (LUNCH, "2026-01-11T06:30:00", ("2026-01-11T06:30:00", "2026-01-11T08:00:00")),
        # A night of seven hours, and one of nine
        (NIGHT, "2026-03-29T03:59:00", ("2026-03-28T21:00:00", "2026-03-29T04:00:00")),
        (NIGHT, "2026-10-25T04:59:00", ("2026-10-24T20:00:00", "2026-10-25T05:00:00")),
        # 02:30 comes twice: they begin with the first and end with the last
        (UNTIL_HALF, "2026-10-25T01:29:00", ("2026-10-24T23:00:00", "2026-10-25T01:30:00")),
        (FROM_HALF, "2026-10-25T00:30:00", ("2026-10-25T00:30:00", "2026-10-25T03:00:00")),
        # 02:30 never comes: it is 03:30 then
        (FROM_HALF, "2026-03-29T01:29:00", None),
        (FROM_HALF, "2026-03-29T01:30:00", ("2026-03-29T01:30:00", "2026-03-29T02:00:00")),
        (UNTIL_HALF, "2026-03-29T01:29:00", ("2026-03-29T00:00:00", "2026-03-29T01:30:00")),
    ],
)  # fmt: skip
def test_they_are_from_clock_to_clock(hours: QuietHours, moment: str, around: tuple[str, str] | None) -> None:
    found = hours.around(utc(moment))
    assert found == (None if around is None else (utc(around[0]), utc(around[1])))


def test_a_moment_of_another_zone_is_the_same_moment() -> None:
    from zoneinfo import ZoneInfo

    moment = utc("2026-01-10T21:00:00")
    assert NIGHT.around(moment.astimezone(ZoneInfo("Pacific/Kiritimati"))) == NIGHT.around(moment)


clock = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
zones = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kolkata"]
)


@settings(deadline=None)
@given(clock, clock, zones, st.integers(0, 366 * 24 * 60))
def test_they_contain_the_moment_they_are_around_and_no_day_is_left_out(
    begin: str, end: str, zone: str, minute: int
) -> None:
    if begin == end:
        return
    hours = QuietHours(begin, end, zone)
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
    around = hours.around(moment)
    if around is not None:
        assert around[0] <= moment < around[1]
        assert hours.around(around[1]) is None or hours.around(around[1])[0] == around[1]  # type: ignore[index]
        assert around[1] - around[0] <= timedelta(hours=25)
    days = [moment + timedelta(minutes=15 * step) for step in range(2 * 24 * 4)]
    lengths = [found[1] - found[0] for at in days if (found := hours.around(at))]
    assert lengths or hours.longest_s(moment) <= 3600 + 900


@pytest.mark.parametrize(
    ("begin", "end", "zone"),
    [("22:00", "22:00", "UTC"), ("22:00", "25:00", "UTC"), ("22:00", "06:00", "Europe/Bielefeld")],
)
def test_what_is_no_time_or_no_place_is_refused(begin: str, end: str, zone: str) -> None:
    with pytest.raises(ValueError, match=r"22:00|hour must|not a time zone"):
        QuietHours(begin, end, zone)


def test_a_contract_may_have_them() -> None:
    import json

    from fakes.contracts import document

    compiled = json.loads(document())
    compiled["tables"][0]["quiet_hours"] = {"begin": "22:00", "end": "06:00", "zone": "Europe/Berlin"}
    contracts = parse_contracts(json.dumps(compiled)).by_table
    assert (contracts["airlines"].quiet_hours, contracts["flights"].quiet_hours) == (NIGHT, None)


def test_the_longest_of_a_year_is_that_of_autumn() -> None:
    assert NIGHT.longest_s(utc("2026-06-01T00:00:00")) == 9 * 3600
    assert LUNCH.longest_s(utc("2026-06-01T00:00:00")) == 5400

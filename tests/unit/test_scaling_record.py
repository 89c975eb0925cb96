"""What is kept of scaling between releases."""

from datetime import UTC, datetime, timedelta

import pytest
from tidegate.lost_units import UnitsKnown
from tidegate.run_size import CAPS
from tidegate.scaling import ScalingLimits, ScalingState
from tidegate.scaling_record import decode_state, encode_state

NOW = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
OF_AN_EARLIER_RELEASE = (
    '{"cluster_id":"j-1","limits":{"minimum_units":1,"maximum_units":4,"maximum_on_demand_units":1,'
    '"maximum_core_units":1},"changes":["2026-10-25T00:25:00+00:00"],"seen_at":"2026-10-25T00:29:00+00:00"}'
)


def test_a_state_of_an_earlier_release_knows_no_units() -> None:
    assert decode_state(OF_AN_EARLIER_RELEASE) == ScalingState(
        "j-1",
        ScalingLimits(1, 4, 1),
        CAPS,
        changes=(NOW - timedelta(minutes=5),),
        seen_at=NOW - timedelta(minutes=1),
        units=UnitsKnown(),
    )


@pytest.mark.parametrize("units", [UnitsKnown(), UnitsKnown(4.0), UnitsKnown(4.0, NOW)])
def test_what_is_written_is_read_again(units: UnitsKnown) -> None:
    written = ScalingState("j-1", ScalingLimits(1, 4, 3), CAPS, idle_since=NOW, units=units)
    assert decode_state(encode_state(written)) == written


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        "{}",
        OF_AN_EARLIER_RELEASE.replace("maximum_units", "most"),
        OF_AN_EARLIER_RELEASE.replace('"seen_at"', '"units":7,"seen_at"'),
        OF_AN_EARLIER_RELEASE.replace('"seen_at"', '"units":{"had":"many"},"seen_at"'),
        OF_AN_EARLIER_RELEASE.replace('"seen_at"', '"units":{"lost_since":7},"seen_at"'),
    ],
)
def test_what_can_not_be_read_begins_anew(text: str) -> None:
    assert decode_state(text) is None

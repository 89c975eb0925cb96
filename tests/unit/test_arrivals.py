"""Arrivals: what an event says, to which table it belongs, and in which order versions stand."""

from typing import Any

import pytest
from fakes.contracts import contracts
from fakes.control_plane import LANDING, created
from hypothesis import example, given
from hypothesis import strategies as st
from tidegate.arrivals import PENDING_SHARDS, Arrival, pad_sequencer, read_event, shard_of
from tidegate.errors import NotAnArrival

KEY = "flights/2013-01/a.csv"
CONTRACTS = contracts()


def read(event: Any) -> Arrival:
    arrival = read_event(event, CONTRACTS, LANDING)
    assert arrival is not None
    return arrival


hexadecimal = st.integers(0, 16**32 - 1)


@given(hexadecimal, hexadecimal)
@example(0xFF, 0x100)
def test_padded_sequencers_compare_as_their_numbers(one: int, other: int) -> None:
    # Design: "arrivals by (bucket, key, sequencer) with left-padded hex comparison"
    padded = [pad_sequencer(f"{number:X}") for number in (one, other)]
    assert (padded[0] < padded[1]) == (one < other)
    assert pad_sequencer(padded[0]) == padded[0] == padded[0].lower()


@given(st.text(min_size=1, max_size=40).filter(lambda name: "/" not in name))
def test_keys_are_taken_letter_for_letter(name: str) -> None:
    # Facts: "EventBridge keys are not URL-encoded"
    arrival = read(created(f"flights/2013-01/{name}.csv"))
    assert arrival.key == f"flights/2013-01/{name}.csv"
    assert (arrival.state, arrival.captures) == ("pending", {"month": "2013-01"})


@given(st.text(max_size=60))
def test_an_objects_shard_is_always_the_same_and_one_of_eight(name: str) -> None:
    assert shard_of(name) == shard_of(name)
    assert 0 <= shard_of(name) < PENDING_SHARDS


def test_a_shard_does_not_depend_on_the_process() -> None:
    assert [shard_of(name) for name in ("b/a", "b/b", "b/c", "b/é")] == [7, 5, 3, 0]


@pytest.mark.parametrize(
    ("key", "size", "state", "reason"),
    [
        (KEY, 1, "pending", None),
        (KEY, 0, "ignored", "the file is empty"),
        ("flights/2013-01/", 0, "ignored", "a folder marker, not a file"),
        ("flights/", 0, "ignored", "a folder marker, not a file"),
        ("flights/a.csv", 1, "ignored", "no contract's landing pattern matches the key: add one in tables/"),
        (
            "flights/2013-01/a.csv.tmp",
            1,
            "ignored",
            "no contract's landing pattern matches the key: add one in tables/",
        ),
        ("flights/2013-01/a.csv\n", 1, "ignored", "no contract's landing pattern matches the key: add one in tables/"),
    ],
)
def test_what_becomes_of_a_key(key: str, size: int, state: str, reason: str | None) -> None:
    arrival = read(created(key, size=size))
    assert (arrival.state, arrival.reason) == (state, reason)


def test_a_deleted_object_is_recorded_and_ignored() -> None:
    event = created(KEY) | {"detail-type": "Object Deleted"}
    del event["detail"]["object"]["size"]
    arrival = read(event)
    assert (arrival.state, arrival.event_name) == ("ignored", "Object Deleted")


def test_an_unversioned_bucket_has_no_versions() -> None:
    assert read(created(KEY)).version_id is None
    assert read(created(KEY, **{"version-id": "v1"})).version_id == "v1"


def test_times_are_in_utc_whatever_zone_the_event_names() -> None:
    assert (
        read(created(KEY) | {"time": "2026-03-01T13:00:00+02:00"}).event_time
        == read(created(KEY) | {"time": "2026-03-01T11:00:00Z"}).event_time
    )
    assert read(created(KEY) | {"time": "2026-03-01T11:00:00"}).event_time.tzinfo is not None


def test_s3s_test_message_is_no_arrival() -> None:
    assert read_event({"Service": "Amazon S3", "Event": "s3:TestEvent"}, CONTRACTS, LANDING) is None


@pytest.mark.parametrize(
    "event",
    [
        None,
        [],
        "text",
        7,
        {},
        {"Records": []},
        {"detail-type": "Object Created", "time": "2026-03-01T11:00:00Z", "detail": {}},
        {**created(KEY), "detail": None},
        {**created(KEY), "time": "yesterday"},
        {**created(KEY), "time": None},
        created(KEY, sequencer=None),  # type: ignore[arg-type]
        created(KEY, sequencer="no number"),
        created(KEY, sequencer=""),
        created(KEY, **{"version-id": 7}),
        created(KEY, size="large"),  # type: ignore[arg-type]
        created(None),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_event_of_s3_is_refused_in_words(event: Any) -> None:
    with pytest.raises(NotAnArrival, match=r"no S3 event of EventBridge .* look who else does"):
        read_event(event, CONTRACTS, LANDING)


def test_fields_that_nobody_knows_change_nothing() -> None:
    # What AWS adds to its events one day must not stop anything.
    event = created(KEY)
    event["detail"]["object"] |= {"storage-class": "STANDARD", "checksum": {"crc": 1}}
    event["detail"] |= {"new": [1, None]}
    assert read(event | {"new": {}}) == read(created(KEY))


def test_an_event_of_another_bucket_is_refused() -> None:
    with pytest.raises(NotAnArrival, match="about bucket landing, but this stack's landing bucket is mine"):
        read_event(created(KEY), CONTRACTS, "mine")

"""A landing bucket without versions: what was recorded is read, or nothing is."""

from typing import Any

import pytest
from fakes.control_plane import LANDING, NOW, ControlPlane, created, execution
from fakes.objects import etag_of
from tidegate.usecases.record_arrivals import record_event

KEY = "flights/2013-01/a.csv"


def landed(key: str = KEY, data: bytes = b"recorded") -> ControlPlane:
    """A file whose event names no version."""
    plane = ControlPlane()
    put(plane, key, data)
    record_event(
        created(key, size=len(data), etag=etag_of(data)),
        ledger=plane.ledger,
        contracts=plane.contracts,
        landing_bucket=LANDING,
        now=NOW,
    )
    return plane


def put(plane: ControlPlane, key: str, data: bytes) -> None:
    plane.objects.versions[LANDING, key] = [(None, data)]  # type: ignore[list-item]


def plan(plane: ControlPlane) -> dict[str, Any]:
    return plane.plan({}, execution("r"))


def test_a_file_that_is_still_the_same_is_read_in_place() -> None:
    plane = landed()
    (work,) = plane.work_of(plan(plane))
    assert work["locations"] == {}


def test_an_odd_name_is_staged_from_the_file_as_it_is() -> None:
    plane = landed("flights/2013-01/a b.csv")
    (work,) = plane.work_of(plan(plane))
    assert [plane.objects.by_uri[uri] for uri in work["locations"].values()] == [b"recorded"]


@pytest.mark.parametrize("key", [KEY, "flights/2013-01/a b.csv"])
@pytest.mark.parametrize("is_deleted", [False, True])
def test_lost_bytes_fail_with_words_and_others_are_never_merged_in_their_place(key: str, is_deleted: bool) -> None:
    # GIVEN the file was overwritten, or deleted, before it was merged
    plane = landed(key)
    if is_deleted:
        del plane.objects.versions[LANDING, key]
    else:
        put(plane, key, b"other bytes")
    # THEN its batch is voided, the file fails with words, and nothing is staged
    plane.whole_run({}, execution("r"))
    assert plane.delta == {"flights": [(1, "void")]}
    (arrival,) = plane.ledger.arrivals.values()
    assert arrival.state == "failed"
    assert "keeps no versions" in (arrival.reason or "")
    assert plane.objects.names("s3://control/staging/") == []
    assert plane.ledger.table("flights").lease is None

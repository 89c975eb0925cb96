"""Reconciling: what the bucket has and the ledger does not becomes arrivals, each version once and in its order."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from fakes.contracts import contracts
from fakes.control_plane import LANDING, NOW, ControlPlane, created
from fakes.crashes import Crashed, CrashPoint
from fakes.objects import etag_of
from hypothesis import given, settings
from hypothesis import strategies as st
from tidegate import reconciling
from tidegate.arrivals import FOUND, LATE_AFTER, RECONCILE_AFTER, RETENTION, Arrival, pad_sequencer
from tidegate.ports import Head
from tidegate.reconciling import ROUND_EVERY, UNVERSIONED, Counts, Marker, Round, Version, missing_arrivals
from tidegate.usecases import reconcile_arrivals as usecase
from tidegate.usecases.reconcile_arrivals import ReconcilePorts, go_on_with_round, look_below
from tidegate.usecases.record_arrivals import record_event

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CONTRACTS = contracts()
UPSERT, APPEND = "flights/2013-01/a.csv", "clicks/a.csv"


def version(number: int, age: timedelta = 10 * DAY, key: str = UPSERT, **fields: Any) -> Version:
    made: dict[str, Any] = {
        "key": key,
        "version_id": f"v{number}",
        "etag": f"e{number}",
        "size_bytes": 5,
        "last_modified": NOW - age,
    }
    return Version(**made | fields)


def arrival(of: Version, sequencer: int, **fields: Any) -> Arrival:
    made: dict[str, Any] = {
        "bucket": LANDING,
        "key": of.key,
        "sequencer": pad_sequencer(f"{sequencer:x}"),
        "event_name": "Object Created",
        "event_time": of.last_modified,
        "etag": of.etag,
        "version_id": of.version_id,
    }
    return Arrival(**made | fields)


def head_of(known: Arrival) -> Head:
    return Head(known.sequencer, known.version_id, known.etag, known.event_time)


def missing(
    newest_first: list[Version], known: Iterable[Arrival] = (), head: Head | None = None
) -> tuple[list[str | None], Counts]:
    found, counts = missing_arrivals(LANDING, newest_first, list(known), head, contracts=CONTRACTS, now=NOW)
    return [each.version_id for each in found], counts


class TestWhatIsMissing:
    def test_an_object_that_nobody_told_of_becomes_an_arrival_of_its_table(self) -> None:
        (found,), _ = missing_arrivals(LANDING, [version(1)], [], None, contracts=CONTRACTS, now=NOW)
        assert (found.table, found.state, found.captures) == ("flights", "pending", {"month": "2013-01"})
        assert (found.version_id, found.etag, found.size_bytes, found.event_name) == ("v1", "e1", 5, FOUND)
        assert found.event_time == version(1).last_modified

    @pytest.mark.parametrize("state", ["pending", "claimed", "superseded", "ignored", "quarantined", "failed"])
    def test_what_the_ledger_has_is_known_in_whatever_state(self, state: Any) -> None:
        assert missing([version(1)], [arrival(version(1), 7, state=state)]) == ([], Counts(seen=1, known=1))

    def test_every_version_of_a_key_counts(self) -> None:
        # Design: "For the others every version merges"
        versions = [version(3, 1 * DAY), version(2, 2 * DAY), version(1, 3 * DAY)]
        assert missing(versions, [arrival(versions[1], 7)])[0] == ["v1", "v3"]

    def test_but_of_what_a_newer_one_replaces_only_the_newest_does(self) -> None:
        # Design: "For `append` and `snapshot` a newer version supersedes an older one"
        versions = [version(2, 1 * DAY, APPEND), version(1, 2 * DAY, APPEND)]
        assert missing(versions)[0] == ["v2"]
        assert missing(versions, [arrival(versions[0], 7)]) == ([], Counts(seen=2, known=2))

    def test_what_landed_just_now_is_left_to_its_event(self) -> None:
        young = version(1, RECONCILE_AFTER - timedelta(seconds=1))
        assert missing([young]) == ([], Counts(seen=1, young=1))
        assert missing([replace(young, last_modified=NOW - RECONCILE_AFTER)])[0] == ["v1"]

    def test_an_upload_of_many_parts_has_a_day_because_it_is_dated_from_its_beginning(self) -> None:
        assert missing([version(1, 23 * HOUR, etag="abc-12")])[1].young == 1
        assert missing([version(1, 24 * HOUR, etag="abc-12")])[0] == ["v1"]

    def test_what_is_not_merged_is_recorded_with_its_reason(self) -> None:
        for found in (version(1, key="nobody/asked.csv"), version(1, key="flights/"), version(1, size_bytes=0)):
            (made,), _ = missing_arrivals(LANDING, [found], [], None, contracts=CONTRACTS, now=NOW)
            assert made.state == "ignored"
            assert made.reason

    def test_what_the_ledger_may_have_forgotten_is_known_by_the_head_of_its_key(self) -> None:
        # GIVEN versions older than arrivals are kept; ADR 0013: "A key's head never expires"
        old = RETENTION + DAY
        versions = [version(3, old), version(2, old + DAY), version(1, old + 2 * DAY)]
        head = head_of(arrival(versions[1], 7))
        assert missing(versions, [], head)[0] == ["v3"]
        # AND so it is when the head's own version is gone from the bucket
        assert missing([versions[0], versions[2]], [], head)[0] == ["v3"]

    def test_what_the_ledger_can_not_have_forgotten_yet_was_never_recorded(self) -> None:
        versions = [version(2, RETENTION - 2 * DAY), version(1, RETENTION - DAY)]
        known = arrival(versions[0], 7)
        assert missing(versions, [known], head_of(known))[0] == ["v1"]


class TestWithoutVersions:
    def test_the_content_says_what_is_known(self) -> None:
        only = version(1, version_id=UNVERSIONED)
        assert missing([only]) == ([None], Counts(seen=1))
        assert missing([only], [arrival(only, 7, version_id=None)]) == ([], Counts(seen=1, known=1))
        assert missing([replace(only, etag="other")], [arrival(only, 7, version_id=None)])[0] == [None]

    def test_what_landed_before_versions_were_kept_is_named_as_s3_names_it(self) -> None:
        assert missing([version(2), version(1, version_id=UNVERSIONED)])[0] == [UNVERSIONED, "v2"]


ages = st.lists(st.integers(2 * 3600, 80 * 86400), min_size=1, max_size=8)


class TestOrder:
    @settings(max_examples=300)
    @given(data=st.data(), ages_s=ages)
    def test_sequencers_keep_the_order_in_which_the_bucket_lists_versions(self, data: Any, ages_s: list[int]) -> None:
        # GIVEN versions, dated in any order as uploads of many parts are, some of them in the ledger as S3 told of them
        versions = [version(number, timedelta(seconds=age)) for number, age in enumerate(ages_s)]  # the oldest first
        is_known = data.draw(st.lists(st.booleans(), min_size=len(ages_s), max_size=len(ages_s)))
        stored_s = sorted(data.draw(st.lists(st.integers(1, 2**31), min_size=len(ages_s), max_size=len(ages_s))))
        known = [
            arrival(each, (stored << 32) + place * 2**16)
            for place, (each, stored, told) in enumerate(zip(versions, stored_s, is_known, strict=True))
            if told
        ]
        # WHEN those that are missing get theirs
        found, _ = missing_arrivals(LANDING, versions[::-1], known, None, contracts=CONTRACTS, now=NOW)
        # THEN all of them stand as they are listed, and their times do not go back
        place_of = {f"v{number}": number for number in range(len(versions))}
        in_order = sorted([*known, *found], key=lambda each: place_of[str(each.version_id)])
        sequencers = [each.sequencer for each in in_order]
        assert sequencers == sorted(set(sequencers))
        assert [each.event_time for each in found] == sorted(each.event_time for each in found)

    def test_a_sequencer_looks_like_those_that_s3_gives_in_the_same_second(self) -> None:
        # Events seen on S3: "00", the second as 8 digits, 8 more. Of 21 July 2015, 23:33:48 UTC:
        found, _ = missing_arrivals(
            LANDING,
            [version(1, last_modified=datetime.fromisoformat("2015-07-21T23:33:48Z"))],
            [], None, contracts=CONTRACTS, now=NOW,
        )  # fmt: skip
        assert found[0].sequencer == pad_sequencer("0055AED6DC00000000")
        assert found[0].sequencer < pad_sequencer("0055AED6DCD90281E5") < pad_sequencer("0055AED6DD00000000")

    def test_it_is_the_same_whenever_it_is_made(self) -> None:
        versions = [version(2), version(1)]
        once, _ = missing_arrivals(LANDING, versions, [], None, contracts=CONTRACTS, now=NOW)
        again, _ = missing_arrivals(LANDING, versions, once[:1], None, contracts=CONTRACTS, now=NOW + DAY)
        assert again == once[1:]


# ---- The bucket and the ledger, on fakes


def filled(keys: int = 12) -> ControlPlane:
    """A bucket with objects from before the deployment, some of them overwritten."""
    plane = ControlPlane()
    for number in range(keys):
        for turn in range(1 + number % 3):
            plane.objects.land(LANDING, f"flights/2013-01/{number:03d}.csv", f"{number} {turn}".encode())
    return plane


def ports(plane: ControlPlane, crash: CrashPoint | None = None) -> ReconcilePorts:
    point = crash or CrashPoint()
    return ReconcilePorts(point.wrap(plane.ledger), point.wrap(plane.objects), LANDING)


def go_on(
    plane: ControlPlane, *, pages: int = 1000, now: datetime = NOW, crash: CrashPoint | None = None
) -> tuple[Counts, Round | None]:
    """One call of the schedule, with time for so many pages."""
    left = iter([True] * (pages - 1))
    return go_on_with_round(
        ports=ports(plane, crash), contracts=plane.contracts, now=now, has_time=lambda: next(left, False)
    )


def whole_round(plane: ControlPlane, pages: int, now: datetime = NOW) -> list[Counts]:
    """Calls until the round is through; what each of them has counted."""
    counted = []
    while True:
        counts, latest = go_on(plane, pages=pages, now=now)
        counted.append(counts)
        if latest is not None and latest.is_done:
            return counted


def below(
    plane: ControlPlane, prefix: str = "", after: Marker | None = None, *, pages: int = 1000
) -> tuple[Counts, Marker | None]:
    left = iter([True] * (pages - 1))
    return look_below(
        prefix, after, ports=ports(plane), contracts=plane.contracts, now=NOW, has_time=lambda: next(left, False)
    )


def recorded_versions(plane: ControlPlane) -> list[tuple[str, str | None]]:
    return sorted((each.key, each.version_id) for each in plane.ledger.arrivals.values())


def listed_versions(plane: ControlPlane) -> list[tuple[str, str | None]]:
    return sorted((key, name) for (_, key), versions in plane.objects.versions.items() for name, _ in versions)


class TestRounds:
    @settings(max_examples=30, deadline=None)
    @given(
        page_size=st.integers(1, 30),
        pages_a_call=st.integers(1, 9),
        deaths=st.lists(st.tuples(st.integers(0, 60), st.booleans()), max_size=4),
    )
    def test_however_it_is_cut_and_wherever_it_dies_each_version_is_recorded_once(
        self, page_size: int, pages_a_call: int, deaths: list[tuple[int, bool]]
    ) -> None:
        plane = filled()
        plane.objects.page_size = page_size
        for at, after in deaths:
            try:
                go_on(plane, pages=pages_a_call, crash=CrashPoint(at, after))
            except Crashed:
                continue
        whole_round(plane, pages_a_call)
        assert recorded_versions(plane) == listed_versions(plane)
        # AND another round finds everything known
        assert go_on(plane, now=NOW + ROUND_EVERY)[0] == Counts(seen=24, known=24)

    def test_a_round_counts_what_all_its_calls_did(self) -> None:
        plane = filled()
        plane.objects.page_size = 7
        calls = whole_round(plane, pages=2)
        assert len(calls) > 1
        assert plane.ledger.round is not None
        assert plane.ledger.round.counts.recorded == sum(counts.recorded for counts in calls) == 24

    def test_begins_once_a_day(self) -> None:
        plane = filled(1)
        assert go_on(plane)[0].seen == 1
        assert go_on(plane, now=NOW + ROUND_EVERY - HOUR)[0] == Counts()
        assert go_on(plane, now=NOW + ROUND_EVERY)[0].known == 1

    def test_of_two_at_once_one_leaves_it_to_the_other(self) -> None:
        plane = filled()
        plane.objects.page_size = 7
        _, seen = go_on(plane, pages=1)
        # GIVEN that another one goes on while this one is at its page
        page = plane.objects.versions_page

        def go_on_meanwhile(*arguments: Any) -> Any:
            plane.objects.versions_page = page  # type: ignore[method-assign]
            go_on(plane, pages=2)
            return page(*arguments)

        plane.objects.versions_page = go_on_meanwhile  # type: ignore[method-assign]
        assert go_on(plane)[1] is None
        assert seen is not None
        assert plane.ledger.round is not None
        assert plane.ledger.round.step == seen.step + 2
        # AND nothing is lost by it
        whole_round(plane, pages=2)
        assert recorded_versions(plane) == listed_versions(plane)

    def test_reads_nothing_but_the_head_of_what_is_merged(self) -> None:
        # Cost: half a read unit for each object that is settled.
        plane = ControlPlane()
        for number in range(5):
            landed = plane.land(f"flights/2013-01/{number}.csv")
            plane.ledger.mark_claimed(landed, 1, "claimed", NOW)
        plane.ledger.versions = None  # type: ignore[assignment, method-assign]
        assert go_on(plane)[0] == Counts(seen=5, known=5)

    def test_a_key_with_more_versions_than_memory_takes_stops_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(usecase, "MOST_VERSIONS", 4)
        plane = ControlPlane()
        plane.objects.page_size = 3
        for number in range(20):
            plane.objects.land(LANDING, "flights/2013-01/b.csv", str(number).encode())
        for name in ("a", "c"):
            plane.objects.land(LANDING, f"flights/2013-01/{name}.csv", b"1")
        whole_round(plane, pages=1)
        recorded = recorded_versions(plane)
        assert {key[-5:] for key, _ in recorded} == {"a.csv", "b.csv", "c.csv"}
        assert ("flights/2013-01/b.csv", "v20") in recorded


class TestByHand:
    def test_looks_below_a_prefix_alone_and_touches_no_round(self) -> None:
        plane = filled(3)
        plane.objects.land(LANDING, "airlines/a.csv", b"1")
        assert below(plane, "airlines/") == (Counts(seen=1, recorded=1), None)
        assert plane.ledger.round is None

    def test_goes_on_where_it_was(self) -> None:
        plane = filled()
        plane.objects.page_size = 7
        counts, after = below(plane, pages=1)
        while after is not None:
            more, after = below(plane, after=after, pages=1)
            counts = counts.plus(more)
        assert counts.recorded == 24
        assert recorded_versions(plane) == listed_versions(plane)


class TestLateEvents:
    """The true event comes after all, under the sequencer that S3 gave."""

    def tell(self, plane: ControlPlane, version_id: str | None, now: datetime, **fields: Any) -> bool:
        event = created(UPSERT, sequencer="0069A423B0D90281E5", etag=etag_of(b"1"), **fields)
        if version_id is not None:
            event["detail"]["object"]["version-id"] = version_id
        _, is_new = record_event(event, ledger=plane.ledger, contracts=plane.contracts, landing_bucket=LANDING, now=now)
        return is_new

    def found(self) -> ControlPlane:
        plane = ControlPlane()
        plane.objects.land(LANDING, UPSERT, b"1")
        assert go_on(plane)[0].recorded == 1
        return plane

    def test_tell_nothing_new_of_a_version_that_was_found(self) -> None:
        plane = self.found()
        assert self.tell(plane, "v1", NOW) is False
        assert recorded_versions(plane) == [(UPSERT, "v1")]

    def test_tell_of_other_versions_as_ever(self) -> None:
        plane = self.found()
        assert self.tell(plane, "v2", NOW) is True

    def test_are_recorded_where_no_versions_are_kept(self) -> None:
        # What is merged twice is merged as once; what is lost is lost.
        plane = self.found()
        assert self.tell(plane, None, NOW) is True

    def test_on_time_cost_no_read(self) -> None:
        plane = ControlPlane()
        plane.ledger.versions = plane.ledger.head = None  # type: ignore[assignment, method-assign]
        assert self.tell(plane, "v1", NOW - HOUR + LATE_AFTER) is True

    def test_of_a_version_that_was_deleted_since_are_no_repetition(self) -> None:
        plane = ControlPlane()
        deleted = created(UPSERT, sequencer="2", **{"version-id": "v1"}) | {"detail-type": "Object Deleted"}
        record_event(deleted, ledger=plane.ledger, contracts=plane.contracts, landing_bucket=LANDING, now=NOW)
        assert self.tell(plane, "v1", NOW) is True

    def test_a_lost_event_is_late_long_before_its_object_is_found(self) -> None:
        # Between them lies more than a function may take, so no event on time can meet its own object found.
        assert timedelta(minutes=30) < RECONCILE_AFTER - LATE_AFTER
        assert reconciling.RECONCILE_PARTS_AFTER > RECONCILE_AFTER


def test_a_round_that_is_not_through_goes_on_however_old_it_is() -> None:
    begun = Round(NOW - 10 * DAY)
    assert not reconciling.is_round_due(begun, NOW)
    assert reconciling.is_round_due(replace(begun, is_done=True), NOW)
    assert reconciling.is_round_due(None, NOW)

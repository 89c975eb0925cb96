"""The claim: a crash between any two calls loses nothing, lists nothing twice and leaves nothing half done."""

import dataclasses
import json

import pytest
from fakes.control_plane import LANDING, NOW, ControlPlane, execution
from fakes.crashes import Crashed, CrashPoint
from hypothesis import given, settings
from hypothesis import strategies as st
from tidegate.batches import Candidates, candidates_document
from tidegate.errors import ClaimMoved
from tidegate.ports import Batch, OpenClaim, Table
from tidegate.usecases.claim_batch import claim_batch


def listed(plane: ControlPlane) -> list[tuple[str, str]]:
    """(key, sequencer) of every file of every manifest."""
    return [(file["key"], file["sequencer"]) for manifest in plane.manifests() for file in manifest["files"]]


def claim(plane: ControlPlane, run_id: str, claim_id: str, *, seen: Table | None = None) -> Batch | None:
    return claim_batch(
        seen or plane.ledger.table("flights"),
        plane.contracts.by_table["flights"],
        run_id=run_id,
        claim_id=claim_id,
        ledger=plane.ledger,
        objects=plane.objects,
        lake_bucket="lake",
        control_bucket="control",
        now=NOW,
    )


def candidates_of(plane: ControlPlane) -> bytes:
    """What A would have written."""
    return candidates_document(Candidates(tuple(plane.ledger.pending()), ()))


def run_until_done(plane: ControlPlane) -> None:
    """What follows a crash: new executions of the same run until one succeeds, then runs for what is left."""
    for number in range(2, 12):
        if plane.whole_run({"run": "r"}, execution(f"r-{number}")).get("outcome") == "succeeded":
            break
    for number in range(20):
        if plane.whole_run({}, execution(f"rest-{number}"))["pass"] == 0 and not list(plane.ledger.pending()):
            return
    pytest.fail("the system does not settle")


def calls_of_a_plan() -> int:
    plane = ControlPlane()
    fill(plane)
    point = CrashPoint()
    plane.plan({"run": "r"}, execution("r-1"), crash=point)
    return point.calls


def fill(plane: ControlPlane) -> set[tuple[str, str]]:
    keys = ("flights/2013-01/a.csv", "flights/2013-01/b c.csv", "airlines/a.csv", "clicks/a.csv")
    return {(arrival.key, arrival.sequencer) for arrival in (plane.land(key) for key in keys)}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(calls_of_a_plan()))
def test_a_claim_survives_a_crash_at_each_call(at: int, after: bool) -> None:
    # Design: "A claim survives a crash. [...] Whoever finds an open claim finishes it from its candidate list."
    # GIVEN a plan that dies before, or right after, its n-th call
    plane = ControlPlane()
    landed = fill(plane)
    with pytest.raises(Crashed):
        plane.plan({"run": "r"}, execution("r-1"), crash=CrashPoint(at, after))
    # WHEN more lands and the run is started again
    late = plane.land("flights/2013-02/late.csv")
    run_until_done(plane)
    # THEN every arrival is in one manifest, once, and each batch is merged
    assert sorted(listed(plane)) == sorted(landed | {(late.key, late.sequencer)})
    assert {batch.state for batch in plane.ledger.batch_items.values()} == {"merged"}
    assert {table.lease for table in plane.ledger.table_items.values()} == {None}
    for table, commits in plane.delta.items():
        assert commits == [(number, "merge") for number in range(1, len(commits) + 1)], table


def ready_to_settle(action: str) -> ControlPlane:
    plane = ControlPlane()
    fill(plane)
    plane.merge(plane.plan({}, execution("r-1")), rejected=(0,))
    if action == "settle_run":
        plane.settle_batches({}, execution("r-1"))
    return plane


def calls_of(action: str) -> int:
    point = CrashPoint()
    settle(ready_to_settle(action), action, point)
    return point.calls


def settle(plane: ControlPlane, action: str, crash: CrashPoint) -> None:
    if action == "settle_batches":
        plane.settle_batches({}, execution("r-1"), crash=crash)
    else:
        plane.settle(action, {}, execution("r-1"), crash=crash)


POINTS = [(action, at) for action in ("settle_batches", "settle_run") for at in range(calls_of(action))]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("action", "at"), POINTS)
def test_settling_survives_a_crash_at_each_call(action: str, at: int, after: bool) -> None:
    # GIVEN a merged run whose settling dies at its n-th call
    plane, by = ready_to_settle(action), execution("r-1")
    with pytest.raises(Crashed):
        settle(plane, action, CrashPoint(at, after))
    # WHEN the machine retries it and goes on
    plane.settle_batches({}, by)
    summary = plane.settle("settle_run", {}, by)
    # THEN it is as if nothing had happened
    assert summary["outcome"] == "succeeded"
    assert [table.unsettled_batch for table in plane.ledger.table_items.values()] == [None, None, None]
    assert {table.lease for table in plane.ledger.table_items.values()} == {None}
    quarantined = [arrival for arrival in plane.ledger.arrivals.values() if arrival.state == "quarantined"]
    assert sorted(arrival.table or "" for arrival in quarantined) == ["airlines", "clicks", "flights"]


def test_one_who_slept_on_a_claim_that_was_given_up_learns_that_it_lost() -> None:
    # GIVEN run A, which opened a claim and then slept, and run B, which took the lease and found no candidates
    plane = ControlPlane()
    a = plane.land("flights/2013-01/a.csv")
    plane.ledger.take_lease("flights", "A", None)
    create, sealed = plane.objects.create, []

    def asleep(uri: str, data: bytes) -> bool:
        if not sealed:
            sealed.append("soon")
            plane.ledger.take_lease("flights", "B", "A")
            b = plane.land("flights/2013-01/b.csv")
            # AND B sees another file than A did
            plane.ledger.pending = lambda table=None: iter([b])
            sealed.append(claim(plane, "B", "2"))
        return create(uri, data)

    plane.objects.create = asleep  # type: ignore[method-assign]
    # WHEN A wakes, THEN it marks nothing: its file waits for the next batch
    with pytest.raises(ClaimMoved, match="was given up"):
        claim(plane, "A", "1")
    assert plane.ledger.arrivals[a.bucket, a.key, a.sequencer].state == "pending"
    assert [key for key, _ in listed(plane)] == ["flights/2013-01/b.csv"]


def test_a_claim_whose_candidates_are_written_is_finished_with_these_and_nothing_else() -> None:
    # GIVEN A wrote its candidates and died; more landed since
    plane = ControlPlane()
    plane.land("flights/2013-01/a.csv")
    plane.ledger.take_lease("flights", "A", None)
    with pytest.raises(Crashed):
        claim_batch(
            plane.ledger.table("flights"),
            plane.contracts.by_table["flights"],
            run_id="A",
            claim_id="1",
            ledger=plane.ledger,
            objects=CrashPoint(at=1, after=True).wrap(plane.objects),
            lake_bucket="lake",
            control_bucket="control",
            now=NOW,
        )
    plane.land("flights/2013-01/b.csv")
    plane.ledger.take_lease("flights", "B", "A")
    # WHEN B finishes the claim
    claim(plane, "B", "2")
    # THEN it is A's list
    assert [key for key, _ in listed(plane)] == ["flights/2013-01/a.csv"]


def test_two_that_finish_the_same_claim_seal_one_batch() -> None:
    # GIVEN A died before it sealed, and B and C both saw its open claim
    plane = ControlPlane()
    plane.land("flights/2013-01/a.csv")
    plane.ledger.take_lease("flights", "A", None)
    plane.ledger.open_claim("flights", "A", OpenClaim(1, "s3://control/c.json"))
    plane.objects.create("s3://control/c.json", candidates_of(plane))
    seen = plane.ledger.table("flights")
    plane.ledger.take_lease("flights", "B", "A")
    claim(plane, "B", "2")
    sealed = plane.ledger.batch_items["flights", 1]
    # WHEN C goes on with what it saw, THEN it moves nothing
    with pytest.raises(ClaimMoved):
        claim(plane, "C", "3", seen=seen)
    assert plane.ledger.batch_items["flights", 1] is sealed
    assert len(plane.manifests()) == 1


def test_arrivals_that_another_batch_has_are_left_out() -> None:
    # GIVEN the index is behind: it still shows an arrival that a batch has
    plane = ControlPlane()
    taken, free = plane.land("flights/2013-01/a.csv"), plane.land("flights/2013-01/b.csv")
    plane.ledger.take_lease("flights", "A", None)
    plane.ledger.mark_claimed(taken, 99, "claimed", NOW)
    plane.ledger.pending = lambda table=None: iter([taken, free])
    claim(plane, "A", "1")
    assert [key for key, _ in listed(plane)] == [free.key]


def test_a_claim_of_which_nothing_is_left_is_dropped_and_its_number_used_again() -> None:
    plane = ControlPlane()
    taken = plane.land("flights/2013-01/a.csv")
    plane.ledger.take_lease("flights", "A", None)
    plane.ledger.mark_claimed(taken, 99, "claimed", NOW)
    plane.ledger.pending = lambda table=None: iter([taken])
    assert claim(plane, "A", "1") is None
    assert plane.ledger.table("flights").open_claim is None
    assert plane.ledger.table("flights").next_batch == 1


def test_of_an_append_tables_overwritten_key_only_the_newest_version_is_listed() -> None:
    # Design: "For append and snapshot a newer version supersedes an older one and replaces its rows."
    plane = ControlPlane()
    old, new = plane.land("clicks/a.csv", b"old"), plane.land("clicks/a.csv", b"new")
    plane.plan({}, execution("r"))
    assert listed(plane) == [(new.key, new.sequencer)]
    states = {key[2]: arrival.state for key, arrival in plane.ledger.arrivals.items()}
    assert states == {old.sequencer: "superseded", new.sequencer: "claimed"}


def test_a_manifest_names_its_predecessor() -> None:
    plane = ControlPlane(max_files=1)
    for name in "abc":
        plane.land(f"flights/2013-01/{name}.csv")
    for number in range(3):
        plane.whole_run({}, execution(f"r{number}"))
    assert [(each["batch"], each["predecessor"]) for each in plane.manifests()] == [(1, None), (2, 1), (3, 2)]


@settings(max_examples=60, deadline=None)
@given(
    order=st.permutations(range(6)),
    repeats=st.lists(st.integers(0, 5), max_size=4),
    max_files=st.integers(1, 6),
)
def test_any_order_repetition_and_batching_lists_each_arrival_once(
    order: list[int], repeats: list[int], max_files: int
) -> None:
    # Design: "A repeated event changes nothing." "Any order, repetition and batching of the same arrivals [...]"
    plane = ControlPlane(max_files=max_files)
    source = ControlPlane()
    plane.objects.versions = source.objects.versions
    arrivals = [source.land(f"flights/2013-01/{number % 4}.csv") for number in range(6)]
    for number in [*order, *repeats]:
        plane.ledger.record_arrival(arrivals[number], None)
    for number in range(8):
        plane.whole_run({}, execution(f"r{number}"))
    assert sorted(listed(plane)) == sorted((each.key, each.sequencer) for each in arrivals)
    for manifest in plane.manifests():
        times = [(file["event_time"], file["key"]) for file in manifest["files"]]
        assert times == sorted(times)
        assert len(times) <= max_files


def test_the_candidates_say_all_that_the_manifest_needs() -> None:
    # GIVEN a claim finished from its candidates by somebody else, and one finished by its opener
    plane = ControlPlane()
    arrival = plane.land("flights/2013-01/a.csv")
    plane.plan({}, execution("r"))
    uri = next(uri for uri in plane.objects.by_uri if "candidates" in uri)
    (entry,) = json.loads(plane.objects.by_uri[uri])["files"]
    (file,) = plane.manifests()[0]["files"]
    assert file == {
        "index": 0,
        "bucket": LANDING,
        "key": arrival.key,
        "version_id": "v1",
        "sequencer": arrival.sequencer,
        "etag": arrival.etag,
        "size_bytes": 5,
        "event_time": "2026-03-01T11:00:01Z",
        "captures": {"month": "2013-01"},
    }
    assert {name: entry[name] for name in file if name != "index"} == {
        name: value for name, value in file.items() if name != "index"
    }
    assert {field.name for field in dataclasses.fields(arrival)} >= set(entry)

"""A ledger that was restored to an earlier moment, or lost, and what is rebuilt from tables, manifests and receipts."""

import copy
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from fakes.control_plane import LANDING, NOW, ControlPlane, created, execution
from fakes.crashes import Crashed, CrashPoint
from fakes.ledger import FakeLedger
from fakes.repair import FakeLogs, FakeRepair
from hypothesis import given, settings
from hypothesis import strategies as st
from tidegate.ports import Lease, OpenClaim
from tidegate.rebuild import REMEMBERED, TableLog
from tidegate.usecases.rebuild_ledger import Plan, RebuildPorts, plan_rebuild, write_rebuild
from tidegate.usecases.record_arrivals import record_event

A, B, C, D = (f"flights/2013-01/{name}.csv" for name in "abcd")


class Events:
    """A control plane whose files' events are kept, so that a listing of the bucket can be played."""

    def __init__(self, **contract_changes: Any) -> None:
        self.plane = ControlPlane(**contract_changes)
        self.events: list[dict[str, Any]] = []
        self.runs = 0

    def land(self, key: str, data: bytes = b"hello") -> None:
        arrival = self.plane.land(key, data)
        self.events.append(
            created(
                key,
                size=len(data),
                sequencer=arrival.sequencer,
                second=self.plane.landed,
                etag=arrival.etag,
                **{"version-id": arrival.version_id},
            )
        )

    def run(self, run_input: Any = None, **merging: Any) -> dict[str, Any]:
        self.runs += 1
        return self.plane.whole_run(run_input or {}, execution(f"run-{self.runs}"), **merging)

    def settle_down(self, bad: frozenset[str]) -> None:
        """Runs, named so that nothing is left out, until nothing is to be done."""
        for _ in range(60):
            names = {"tables": sorted(self.plane.contracts.by_table)}
            if self.run(names, failing=dict.fromkeys(bad, "data")).get("work") == "none":
                return
        raise AssertionError("it never ends")

    def reconcile(self) -> None:
        """Record what the landing bucket has and the ledger knows of neither by an arrival nor by a head."""
        ledger = self.plane.ledger
        for event in self.events:
            thing = event["detail"]["object"]
            head = ledger.head(LANDING, thing["key"])
            known = {each.version_id for each in ledger.versions(LANDING, thing["key"])}
            known |= {head.version_id} if head is not None else set()
            if thing["version-id"] not in known:
                contracts = self.plane.contracts
                record_event(event, ledger=ledger, contracts=contracts, landing_bucket=LANDING, now=NOW)

    def ports(self) -> RebuildPorts:
        plane = self.plane
        logs = FakeLogs(plane.delta, plane.objects)
        return RebuildPorts(plane.ledger, FakeRepair(plane.ledger), plane.objects, logs, "control")

    def plan(self) -> dict[str, Plan]:
        found = plan_rebuild(sorted(self.plane.contracts.by_table), ports=self.ports(), now=NOW)
        return {each.rebuilt.table.name: each for each in found}

    def rebuild(self) -> dict[str, Plan]:
        plans = self.plan()
        for plan in plans.values():
            write_rebuild(plan, ports=self.ports(), now=NOW)
        return plans

    def lose(self) -> None:
        self.plane.ledger = FakeLedger()

    def falsely_merged(self) -> set[tuple[str, str | None]]:
        """(key, version) of what counts as merged in the ledger and is in no batch of its table."""
        ledger = self.plane.ledger
        merged = {number for number, batch in ledger.batch_items.items() if batch.state == "merged"}
        return {
            (each.key, each.version_id)
            for each in ledger.arrivals.values()
            if each.state == "claimed" and (each.table, each.batch) in merged
        } - set(self.merged_versions())

    def merged_versions(self) -> Counter[tuple[str, str]]:
        """(key, version) of all files that are merged, with how often."""
        merged = {(table, batch) for table, log in self.plane.delta.items() for batch, how in log if how == "merge"}
        found: Counter[tuple[str, str]] = Counter()
        for manifest in self.plane.manifests():
            if (manifest["table"], manifest["batch"]) in merged:
                found.update((entry["key"], entry["version_id"]) for entry in manifest["files"])
        return found


def snapshot_of(ledger: FakeLedger) -> FakeLedger:
    """The ledger as point-in-time recovery would bring it back."""
    found = FakeLedger()
    for name, value in vars(ledger).items():
        if name != "_lock":
            setattr(found, name, copy.deepcopy(value))
    return found


class TestALedgerThatWasRestored:
    def test_before_a_batch_was_settled_settles_it_by_its_receipt(self) -> None:
        # GIVEN the moment at which batch 1 was sealed, and not settled
        events = Events()
        events.land(A)
        plan = events.plane.plan({}, execution("first"))
        restored = snapshot_of(events.plane.ledger)
        events.plane.merge(plan)
        events.plane.settle_batches({}, execution("first"))
        # WHEN the ledger is that of then
        events.plane.ledger = restored
        events.run()
        # THEN the batch is done again as itself, which the table has, and is settled
        table = restored.table("flights")
        assert (table.last_merged_batch, table.unsettled_batch, table.lease) == (1, None, None)
        assert events.plane.delta["flights"] == [(1, "merge")]

    def test_before_a_batch_was_settled_and_others_followed_settles_it_by_the_receipt_that_it_has(self) -> None:
        # GIVEN the moment at which batch 1 was sealed, and a batch 2 that was merged since
        events = Events()
        events.land(A)
        plane = events.plane
        plan = plane.plan({}, execution("first"))
        restored = snapshot_of(plane.ledger)
        plane.merge(plan)
        plane.settle("settle_run", {}, execution("first"))
        events.land(B)
        events.run()
        # WHEN batch 1 is done again in the ledger of then, which the job refuses: it is no longer the table's last
        plane.ledger = restored
        events.run(failing={"flights": "table"})
        # THEN it is settled, and the next number is refused until the ledger is rebuilt
        assert restored.batch("flights", 1).state == "merged"
        assert restored.table("flights").last_merged_batch == 1
        events.reconcile()
        assert "batch 2 of flights has another list" in events.run()["reason"]
        events.rebuild()
        events.reconcile()
        assert list(restored.pending()) == []
        assert restored.table("flights").last_merged_batch == 2

    def behind(self) -> Events:
        """Batch 2 is merged, of two files; the ledger never heard of it, and a third file has landed since."""
        events = Events()
        events.land(A)
        events.run()
        events.land(B)
        restored = snapshot_of(events.plane.ledger)
        events.land(C)
        events.run()
        events.plane.ledger = restored
        events.land(D)
        return events

    def test_before_a_batch_was_claimed_is_refused_and_says_what_to_do(self) -> None:
        events = self.behind()
        before = snapshot_of(events.plane.ledger)
        plan = events.plane.plan({}, execution("again"))
        # THEN no other list goes under the number that the table has
        assert plan["work"] == "none"
        assert "batch 2 of flights has another list of files already" in plan["reason"]
        assert "tidegate ledger rebuild" in plan["reason"]
        # AND the table says so, keeps no lease, and its files stay pending
        table = events.plane.ledger.table("flights")
        assert "tidegate ledger rebuild" in (table.blocked_reason or "")
        assert table.lease is None
        assert events.plane.ledger.arrivals == before.arrivals
        # AND a person who names it is told again
        assert events.run({"tables": ["flights"]})["work"] == "none"
        assert events.plane.delta["flights"] == [(1, "merge"), (2, "merge")]

    @pytest.mark.parametrize("is_tried_first", [False, True])
    def test_is_brought_up_to_date_by_the_rebuild(self, is_tried_first: bool) -> None:
        events = self.behind()
        if is_tried_first:
            events.run()
        plan = events.rebuild()["flights"]
        assert plan.rebuilt.notes == ()
        events.reconcile()
        assert [each.key for each in events.plane.ledger.pending()] == [D]
        events.run()
        assert set(events.merged_versions().items()) == {((key, "v1"), 1) for key in (A, B, C, D)}
        assert events.plane.manifests()[-1]["predecessor"] == 2

    def test_while_a_claim_was_open_on_a_number_of_another_list_never_takes_that_list_for_its_own(self) -> None:
        # GIVEN a claim of A that was open then, given up later, and a batch 1 of B
        events = Events()
        events.land(A)
        plane = events.plane
        with pytest.raises(Crashed):
            plane.plan({"run": "dead"}, execution("dead"), crash=_before("mark_claimed"))
        restored = snapshot_of(plane.ledger)
        claim = restored.table("flights").open_claim
        assert claim is not None
        plane.ledger.drop_claim("flights", claim)
        plane.ledger.arrivals.clear()
        events.land(B)
        events.run()
        assert [each["key"] for each in plane.manifests()[0]["files"]] == [B]
        # WHEN the claim is finished in the restored ledger THEN it is refused, and A is not lost
        plane.ledger = restored
        assert "another list of files" in plane.plan({}, execution("again"))["reason"]
        events.rebuild()
        events.reconcile()
        events.run()
        assert set(events.merged_versions().items()) == {((A, "v1"), 1), ((B, "v1"), 1)}


def _before(name: str) -> CrashPoint:
    """Ends the process before the first call of this name."""

    class Before(CrashPoint):
        def call(self, called: str, *args: Any, **kwargs: Any) -> Any:
            if called == name:
                raise Crashed(name)
            return super().call(called, *args, **kwargs)

    return Before()


class TestALedgerThatWasLost:
    def test_goes_on_with_the_next_number_and_the_right_predecessor(self) -> None:
        events = Events()
        for key in (A, B):
            events.land(key)
            events.run()
        events.lose()
        plan = events.rebuild()["flights"]
        assert (plan.rebuilt.table.next_batch, plan.rebuilt.table.last_merged_batch) == (3, 2)
        assert (plan.rebuilt.delta_version, plan.rebuilt.table_rows) == (2, 7)
        events.reconcile()
        assert list(events.plane.ledger.pending()) == []
        events.land(C)
        events.run()
        assert events.plane.merged_keys("flights") == [A, B, C]

    def test_does_a_batch_that_was_sealed_as_itself(self) -> None:
        events = Events()
        events.land(A)
        events.plane.plan({}, execution("dead"))
        events.lose()
        events.rebuild()
        events.reconcile()
        assert events.plane.ledger.table("flights").unsettled_batch == 1
        events.land(B)
        events.run()
        assert [batch for batch, _ in events.plane.delta["flights"]] == [1, 2]
        assert events.plane.merged_keys("flights") == [A, B]

    def test_has_the_candidates_of_a_claim_without_a_list_pending_again(self) -> None:
        events = Events()
        events.land(A)
        with pytest.raises(Crashed):
            events.plane.plan({}, execution("dead"), crash=_before("mark_claimed"))
        events.lose()
        # THEN fences go on, so that no list of candidates has the name of that claim's
        assert events.rebuild()["flights"].rebuilt.fence == 1
        events.reconcile()
        events.run()
        assert events.plane.merged_keys("flights") == [A]

    def test_has_the_halves_of_a_voided_batch_queued_again(self) -> None:
        # GIVEN a batch that was voided, which nobody settled
        events = Events()
        for key in (A, B):
            events.land(key)
        bad = {B: "data"}
        for _ in range(2):
            events.run({"tables": ["flights"]}, failing=bad)
        plane, by = events.plane, execution("dead")
        plan = plane.plan({"tables": ["flights"]}, by)
        plane.merge(plan, failing=bad)
        plane.settle_batches({"tables": ["flights"]}, by)
        plane.merge(plane.more({"tables": ["flights"]}, by, plan))
        assert plane.delta["flights"] == [(1, "void")]
        events.lose()
        # WHEN the ledger is rebuilt THEN its files go out in halves, as they would have
        events.rebuild()
        assert [uri[-11:] for uri in sorted(plane.ledger.table("flights").reopened)] == ["half-1.json", "half-2.json"]
        events.reconcile()
        events.settle_down(frozenset({B}))
        assert plane.merged_keys("flights") == [A]
        assert [each.key for each in plane.ledger.kept("failed")] == [B]

    @pytest.mark.parametrize("state", ["failed", "quarantined"])
    def test_keeps_what_was_set_aside_with_its_reason(self, state: Any) -> None:
        events = Events()
        for key in (A, B):
            events.land(key)
        if state == "quarantined":
            events.run(rejected=(1,))
        else:
            events.settle_down(frozenset({B}))
        events.lose()
        events.rebuild()
        events.reconcile()
        (aside,) = events.plane.ledger.kept(state)
        assert aside.key == B
        assert aside.reason == {"failed": "it broke", "quarantined": "row 3: no number"}[state]
        # AND a replay takes it up
        events.run({"replay": {"state": state}})
        assert sorted(events.plane.merged_keys("flights"))[-1] == B
        assert list(events.plane.ledger.kept(state)) == []

    def test_still_knows_which_files_a_replay_takes(self) -> None:
        events = Events()
        events.land(A)
        events.run()
        events.lose()
        events.rebuild()
        events.run({"replay": {"state": "merged"}})
        assert events.plane.merged_keys("flights") == [A, A]

    def test_has_heads_alone_of_old_files(self) -> None:
        events = Events()
        events.land(A)
        events.run()
        events.lose()
        (plan, *_) = plan_rebuild(["flights"], ports=events.ports(), now=NOW + REMEMBERED)
        write_rebuild(plan, ports=events.ports(), now=NOW + REMEMBERED)
        assert events.plane.ledger.arrivals == {}
        events.reconcile()
        assert list(events.plane.ledger.pending()) == []

    def test_keeps_superseded_versions_superseded(self) -> None:
        events = Events()
        for data in (b"old", b"new"):
            events.land("clicks/a.csv", data)
        events.run()
        events.lose()
        events.rebuild()
        events.reconcile()
        states = {each.version_id: each.state for each in events.plane.ledger.arrivals.values()}
        assert states == {"v1": "superseded", "v2": "claimed"}


class TestWhatCanNotBeKnown:
    def test_a_manifest_that_is_gone_is_said_and_the_table_still_goes_on(self) -> None:
        events = Events()
        for key in (A, B):
            events.land(key)
            events.run()
        del events.plane.objects.by_uri["s3://control/batches/flights/000000000002/manifest.json"]
        events.lose()
        rebuilt = events.rebuild()["flights"].rebuilt
        assert (rebuilt.table.next_batch, rebuilt.table.last_merged_batch) == (3, 2)
        assert "the manifest of batch 2 of flights is gone" in rebuilt.notes[0]
        # AND of what is known nothing is merged again
        events.reconcile()
        assert [each.key for each in events.plane.ledger.pending()] == [B]
        events.land(C)
        events.run()
        assert events.plane.delta["flights"][-1] == (3, "merge")

    def test_a_table_that_was_rewound_by_hand_has_its_files_merged_anew(self) -> None:
        # GIVEN three batches, of which somebody took two back in the table itself
        events = Events()
        for key in (A, B, C):
            events.land(key)
            events.run()
        del events.plane.delta["flights"][1:]
        plan = events.rebuild()["flights"]
        assert "1 batches of flights are not in its table" in plan.rebuilt.notes[0]
        events.reconcile()
        events.run()
        # THEN batch 2 is done as itself, batch 3 is left out, and its file goes into a batch 4
        assert [batch for batch, _ in events.plane.delta["flights"]] == [1, 2, 4]
        assert events.plane.merged_keys("flights") == [A, B, C]
        # AND another rebuild finds the same
        events.lose()
        assert events.rebuild()["flights"].rebuilt.table.next_batch == 5
        events.reconcile()
        assert list(events.plane.ledger.pending()) == []

    def test_what_a_rewound_table_went_on_without_is_not_taken_for_merged_later(self) -> None:
        # GIVEN a rewound table, rebuilt, of whose four files the fourth waits still, and a ledger that is lost then
        events = Events(max_files=1)
        for key in (A, B, C, D):
            events.land(key)
            events.run()
        del events.plane.delta["flights"][1:]
        events.rebuild()
        for name in ("one", "two"):
            events.plane.merge(events.plane.plan({}, execution(name)))
            events.plane.settle("settle_run", {}, execution(name))
        assert [batch for batch, _ in events.plane.delta["flights"]] == [1, 2, 5]
        events.lose()
        # WHEN it is rebuilt THEN batch 4, which has a smaller number than the last one, does not count as merged
        events.rebuild()
        assert [each.key for each in events.plane.ledger.pending()] == [D]

    def test_a_commit_of_another_manifest_is_said(self) -> None:
        events = Events()
        events.land(A)
        events.run()

        class Foreign(FakeLogs):
            def __init__(self) -> None:
                """Another ledger has written to the table."""

            def log(self, table: str, app_id: str) -> TableLog | None:
                return TableLog(1, 1, {1: (1, {"manifest_sha256": "0" * 64})})

        events.plane.objects.by_uri.pop("s3://control/receipts/flights/000000000001/run-1-0.json")
        plan = plan_rebuild(["flights"], ports=replace(events.ports(), logs=Foreign()), now=NOW)[0]
        assert "was made of another manifest" in plan.rebuilt.notes[0]


def test_a_rebuild_of_a_ledger_that_is_right_changes_no_arrival_and_no_table() -> None:
    events = Events(max_files=3)
    for key in (A, B, C, D):
        events.land(key)
    events.settle_down(frozenset({B}))
    before = snapshot_of(events.plane.ledger)
    plans = events.rebuild()
    assert [(each.corrected, each.missing) for each in plans.values()] == [((), ())] * 3
    after = events.plane.ledger
    assert (after.arrivals, after.head_items) == (before.arrivals, before.head_items)
    assert after.table_items["flights"] == before.table_items["flights"]
    assert {name: batch.state for name, batch in after.batch_items.items()} == {
        name: batch.state for name, batch in before.batch_items.items()
    }


def test_a_pause_stays_and_whatever_held_the_table_goes() -> None:
    events = Events()
    events.land(A)
    events.run()
    ledger = events.plane.ledger
    ledger.pause("flights", "rebuilding", NOW)
    ledger.table_items["flights"] = replace(
        ledger.table("flights"), lease=Lease("dead", 7), open_claim=OpenClaim(2, "s3://c"), blocked_reason="behind"
    )
    events.rebuild()
    table = ledger.table("flights")
    assert (table.lease, table.open_claim, table.blocked_reason, table.paused_reason) == (
        None, None, None, "rebuilding",
    )  # fmt: skip


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("land"), st.integers(0, 5)),
        st.tuples(st.just("run"), st.booleans()),
        st.tuples(st.just("die"), st.integers(0, 40)),
        st.tuples(st.just("die merging"), st.just(0)),
        st.tuples(st.just("remember"), st.just(0)),
    ),
    min_size=3,
    max_size=14,
)


@settings(max_examples=120, deadline=timedelta(seconds=20))
@given(
    steps=STEPS,
    is_lost=st.booleans(),
    late=st.lists(st.integers(0, 5), max_size=2),
    bad=st.sets(st.integers(0, 5), max_size=2),
)
def test_after_any_history_each_version_is_merged_once_or_set_aside(
    steps: list[tuple[str, int]], is_lost: bool, late: list[int], bad: set[int]
) -> None:
    # Issue: "Point-in-time recovery of the ledger, and a documented, tested rebuild of it"
    keys = [A, B, C, D, "clicks/a.csv", "clicks/b.csv"]
    poison = frozenset(keys[each] for each in bad)
    events = Events(max_files=3)
    plane, restored = events.plane, FakeLedger()
    for step, value in steps:
        if step == "land":
            events.land(keys[value], bytes(str(plane.landed), "ascii"))
        elif step == "run":
            events.run(failing=dict.fromkeys(poison, "data"))
        elif step == "die":
            events.runs += 1
            with suppress(Crashed):
                plane.plan({}, execution(f"run-{events.runs}"), crash=CrashPoint(value))
        elif step == "die merging":
            # The table has the batch, and nobody settles it.
            events.runs += 1
            plan = plane.plan({}, execution(f"run-{events.runs}"))
            plane.merge(plan, failing=dict.fromkeys(poison, "data"))
        else:
            restored = snapshot_of(plane.ledger)
    plane.ledger = FakeLedger() if is_lost else restored
    for each in late:
        events.land(keys[each], b"late")
    if not is_lost:
        for _ in range(3):
            events.run(failing=dict.fromkeys(poison, "data"))  # it is tried before anybody knows
        assert events.falsely_merged() == set()
    events.rebuild()
    events.reconcile()
    events.settle_down(poison)

    merged = events.merged_versions()
    assert max(merged.values(), default=1) == 1
    aside = Counter((each.key, str(each.version_id)) for each in plane.ledger.kept("failed"))
    superseded = {
        (each.key, str(each.version_id)) for each in plane.ledger.arrivals.values() if each.state == "superseded"
    }
    landed = {(key, version) for (_, key), versions in plane.objects.versions.items() for version, _ in versions}
    assert set(merged) | set(aside) | superseded == landed
    assert {key for key, _ in aside} <= poison
    assert not set(merged) & set(aside)

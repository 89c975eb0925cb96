"""What every ledger does: the one in DynamoDB and the fake that the pure tests use."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tidegate.arrivals import Arrival, pad_sequencer
from tidegate.batches import file_entry
from tidegate.catalog import Catalogued
from tidegate.errors import ClaimMoved, LeaseHeld, RunIsLive, StalePass
from tidegate.failures import RetryDecision
from tidegate.history import MERGES_KEPT, MergeSample, StartUpSample
from tidegate.lost_units import UnitsKnown
from tidegate.ports import Batch, Ledger, OpenClaim, Waiting
from tidegate.receipts import Merged, RejectedFile, Voided
from tidegate.reconciling import Counts, Marker, Round
from tidegate.run_size import CAPS
from tidegate.runs import Run
from tidegate.scaling import ScalingLimits, ScalingState
from tidegate.scaling_record import ScalingLook

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CLAIM = OpenClaim(1, "s3://control/batches/flights/000000000001/candidates-1.json")
BATCH = Batch("flights", 1, None, "s3://m", "0" * 64, 2, 10, NOW - timedelta(hours=1), NOW, run_id="r")
MERGED = Merged("s3://receipt", 8, 7, {"read": 7, "inserted": 7}, (RejectedFile(0, "k", "why"),), {"total": 1.5})
RUN = Run("r", "running", 0, "arn:1", "because", NOW, tables=("flights", "airlines"))


def arrival(key: str = "flights/2013-01/a+b c%é.csv", **fields: Any) -> Arrival:
    made: dict[str, Any] = {
        "bucket": "landing",
        "key": key,
        "sequencer": pad_sequencer("1f"),
        "event_name": "Object Created",
        "event_time": NOW,
        "size_bytes": 5,
        "etag": "e",
        "version_id": "v1",
        "table": "flights",
        "captures": {"month": "2013-01"},
    }
    return Arrival(**made | fields)


def sealed(ledger: Ledger, batch: Batch = BATCH) -> Batch:
    """A table with one batch sealed and leased to run r."""
    ledger.take_lease("flights", "r", None)
    ledger.open_claim("flights", "r", CLAIM)
    ledger.seal(batch, "r", CLAIM)
    return batch


class TestArrivals:
    def test_come_back_as_they_were_recorded(self, ledger: Ledger) -> None:
        assert ledger.record_arrival(arrival(), NOW) is True
        assert list(ledger.pending("flights")) == [arrival()]

    def test_are_recorded_once(self, ledger: Ledger) -> None:
        # Design: "A repeated event changes nothing."
        ledger.record_arrival(arrival(), NOW)
        ledger.mark_claimed(arrival(), 1, "claimed", NOW)
        assert ledger.record_arrival(arrival(), NOW) is False
        assert list(ledger.pending()) == []

    def test_each_version_of_a_key_is_one(self, ledger: Ledger) -> None:
        for sequencer in ("1", "2"):
            assert ledger.record_arrival(arrival(sequencer=pad_sequencer(sequencer)), NOW) is True
        assert len(list(ledger.pending())) == 2

    def test_what_is_ignored_is_not_pending(self, ledger: Ledger) -> None:
        ledger.record_arrival(arrival(table=None, state="ignored", reason="no contract"), NOW)
        assert list(ledger.pending()) == []

    def test_pending_ones_are_told_apart_by_table(self, ledger: Ledger) -> None:
        # GIVEN a table whose name begins with another's
        for table in ("flights", "flights_late"):
            for number in range(5):
                ledger.record_arrival(arrival(f"{table}/{number}.csv", table=table), NOW)
        assert {each.table for each in ledger.pending("flights")} == {"flights"}
        assert len(list(ledger.pending())) == 10

    def test_of_a_table_come_the_oldest_first(self, ledger: Ledger) -> None:
        # GIVEN arrivals of a table in all shards of the index, recorded in another order than they landed in
        for number in (7, 2, 9, 4, 0, 11, 5, 1, 8, 3, 10, 6):
            landed = NOW + timedelta(seconds=number)
            ledger.record_arrival(replace(arrival(f"flights/{number}.csv"), event_time=landed), NOW)
        times = [each.event_time for each in ledger.pending("flights")]
        assert times == sorted(times)
        assert len(times) == 12

    def test_wait_in_brief_as_they_are_pending(self, ledger: Ledger) -> None:
        ledger.record_arrival(arrival("flights/1.csv", size_bytes=7), NOW)
        ledger.record_arrival(arrival("airlines/1.csv", table="airlines", size_bytes=5), NOW)
        ledger.record_arrival(arrival("x.csv", table=None, state="ignored", reason="no contract"), NOW)
        ledger.record_arrival(claimed := arrival("flights/2.csv"), NOW)
        ledger.mark_claimed(claimed, 1, "claimed", NOW)
        time = arrival().event_time
        assert sorted(ledger.waiting(), key=lambda each: each.table) == [
            Waiting("airlines", time, 5),
            Waiting("flights", time, 7),
        ]

    def test_of_an_unversioned_bucket_have_no_version(self, ledger: Ledger) -> None:
        ledger.record_arrival(arrival(version_id=None), NOW)
        assert [each.version_id for each in ledger.pending()] == [None]


class TestMarks:
    def test_take_an_arrival_out_of_the_pending_ones(self, ledger: Ledger) -> None:
        ledger.record_arrival(arrival(), NOW)
        assert ledger.mark_claimed(arrival(), 1, "claimed", NOW) is True
        assert list(ledger.pending()) == []

    def test_may_be_repeated_and_not_taken_over(self, ledger: Ledger) -> None:
        ledger.record_arrival(arrival(), NOW)
        ledger.mark_claimed(arrival(), 1, "claimed", NOW)
        assert ledger.mark_claimed(arrival(), 1, "claimed", NOW) is True
        assert ledger.mark_claimed(arrival(), 2, "claimed", NOW) is False

    def test_do_not_bring_back_what_is_quarantined(self, ledger: Ledger) -> None:
        ledger.record_arrival(arrival(), NOW)
        ledger.mark_claimed(arrival(), 1, "claimed", NOW)
        ledger.set_aside("flights", file_entry(arrival()), 1, "quarantined", "row 3")
        assert ledger.mark_claimed(arrival(), 1, "claimed", NOW) is False

    def test_of_another_batch_are_left_alone_by_quarantine(self, ledger: Ledger) -> None:
        ledger.record_arrival(arrival(), NOW)
        ledger.mark_claimed(arrival(), 1, "claimed", NOW)
        ledger.set_aside("flights", file_entry(arrival()), 2, "quarantined", "row 3")
        assert ledger.mark_claimed(arrival(), 1, "claimed", NOW) is True


class TestHeads:
    def test_remember_the_newest_version_that_was_claimed(self, ledger: Ledger) -> None:
        # Design: "one small head item a key keeps its highest applied sequencer"
        old, new = (arrival(sequencer=pad_sequencer(each), version_id=f"v{each}") for each in ("1f", "20"))
        assert ledger.head("landing", old.key) is None
        for each in (new, old):
            ledger.record_arrival(each, NOW)
            ledger.mark_claimed(each, 1, "claimed", NOW)
        head = ledger.head("landing", old.key)
        assert head is not None
        assert (head.sequencer, head.version_id, head.etag, head.event_time) == (new.sequencer, "v20", "e", NOW)
        # AND they are no versions
        assert [each.sequencer for each in ledger.versions("landing", old.key)] == [old.sequencer, new.sequencer]

    def test_say_nothing_of_what_was_only_superseded(self, ledger: Ledger) -> None:
        ledger.record_arrival(arrival(), NOW)
        ledger.mark_claimed(arrival(), 1, "superseded", NOW)
        assert ledger.head("landing", arrival().key) is None


class TestReopening:
    VOIDED = Voided("s3://receipt", 8)
    URIS = ("s3://control/half-1.json", "s3://control/half-2.json")

    def test_what_a_voided_batch_leaves_is_queued_once(self, ledger: Ledger) -> None:
        batch = sealed(ledger)
        for _ in range(2):
            ledger.settle_voided(batch, "r", self.VOIDED, self.URIS, NOW)
        table = ledger.table("flights")
        assert (table.reopened, table.unsettled_batch, table.last_merged_batch) == (frozenset(self.URIS), None, 1)
        assert (ledger.batch("flights", 1).state, ledger.batch("flights", 1).delta_version) == ("voided", 8)

    def test_a_file_that_was_alone_leaves_nothing(self, ledger: Ledger) -> None:
        ledger.settle_voided(sealed(ledger), "r", self.VOIDED, (), NOW)
        assert ledger.table("flights").reopened == frozenset()
        assert not ledger.table("flights").has_work

    def test_a_sealed_list_is_no_longer_queued(self, ledger: Ledger) -> None:
        ledger.take_lease("flights", "r", None)
        ledger.queue_reopened("flights", self.URIS)
        ledger.queue_reopened("flights", self.URIS[:1])
        claim = OpenClaim(1, self.URIS[0])
        ledger.open_claim("flights", "r", claim)
        ledger.seal(BATCH, "r", claim)
        assert ledger.table("flights").reopened == frozenset(self.URIS[1:])

    def test_nor_is_one_that_was_dropped(self, ledger: Ledger) -> None:
        ledger.take_lease("flights", "r", None)
        ledger.queue_reopened("flights", self.URIS[:1])
        claim = OpenClaim(1, self.URIS[0])
        ledger.open_claim("flights", "r", claim)
        ledger.drop_claim("flights", claim)
        assert ledger.table("flights").reopened == frozenset()

    def test_an_arrival_moves_on_only_from_the_batch_that_it_is_in(self, ledger: Ledger) -> None:
        ledger.record_arrival(arrival(), NOW)
        ledger.mark_claimed(arrival(), 1, "claimed", NOW)
        in_first = arrival(state="claimed", batch=1)
        assert ledger.mark_claimed(in_first, 2, "claimed", NOW) is True
        assert ledger.mark_claimed(in_first, 2, "claimed", NOW) is True
        assert ledger.mark_claimed(in_first, 3, "claimed", NOW) is False
        assert [each.batch for each in ledger.versions("landing", arrival().key)] == [2]

    def test_one_that_was_forgotten_is_written_again(self, ledger: Ledger) -> None:
        # GIVEN an arrival whose time to live is over
        assert ledger.mark_claimed(arrival(state="claimed", batch=1), 2, "claimed", NOW) is True
        assert ledger.versions("landing", arrival().key) == [arrival(state="claimed", batch=2)]

    def test_a_pending_one_is_never_made_up(self, ledger: Ledger) -> None:
        assert ledger.mark_claimed(arrival(), 2, "claimed", NOW) is False

    @pytest.mark.parametrize("state", ["failed", "quarantined"])
    def test_what_is_set_aside_is_kept_with_its_reason_until_it_is_claimed_again(
        self, ledger: Ledger, state: Any
    ) -> None:
        ledger.record_arrival(arrival(), NOW)
        ledger.mark_claimed(arrival(), 1, "claimed", NOW)
        ledger.set_aside("flights", file_entry(arrival()), 1, state, "row 3")
        (kept,) = ledger.kept(state, "flights")
        assert (kept.state, kept.reason, kept.batch) == (state, "row 3", 1)
        assert list(ledger.kept(state, "airlines")) == []
        assert ledger.mark_claimed(kept, 2, "claimed", NOW) is True
        assert list(ledger.kept(state)) == []

    def test_what_is_ignored_is_kept_too(self, ledger: Ledger) -> None:
        ignored = arrival(table=None, state="ignored", reason="no contract")
        ledger.record_arrival(ignored, NOW)
        assert list(ledger.kept("ignored")) == [ignored]
        assert ledger.mark_claimed(replace(ignored, table="flights"), 1, "claimed", NOW) is True
        assert [each.state for each in ledger.versions("landing", ignored.key)] == ["claimed"]

    def test_a_void_is_ordered_for_the_unsettled_batch_alone(self, ledger: Ledger) -> None:
        batch = sealed(ledger)
        ledger.order_void(replace(batch, number=2), "another")
        assert ledger.table("flights").void_reason is None
        ledger.order_void(batch, "gone")
        assert ledger.table("flights").void_reason == "gone"
        ledger.settle_voided(batch, "r", self.VOIDED, (), NOW)
        assert ledger.table("flights").void_reason is None


class TestPauses:
    @pytest.mark.parametrize("table", [None, "flights"])
    def test_last_until_they_are_ended(self, ledger: Ledger, table: str | None) -> None:
        def reason() -> str | None:
            return ledger.paused_stack() if table is None else ledger.table(table).paused_reason

        assert reason() is None
        ledger.pause(table, "moving house", NOW)
        assert reason() == "moving house"
        for _ in range(2):
            ledger.resume(table)
        assert reason() is None

    def test_leave_a_tables_lease_and_batch_alone(self, ledger: Ledger) -> None:
        sealed(ledger)
        ledger.pause("flights", "moving house", NOW)
        table = ledger.table("flights")
        assert (table.unsettled_batch, table.lease is not None) == (1, True)


class TestFences:
    def test_a_fenced_run_is_counted_on_and_stays_listed_until_it_ends(self, ledger: Ledger) -> None:
        ledger.begin_run(RUN, None)
        assert [run.run_id for run in ledger.running_runs()] == ["r"]
        assert ledger.fence_run(RUN, "its execution died", NOW) is True
        (fenced,) = ledger.running_runs()
        assert (fenced.state, fenced.attempt, fenced.error) == ("fenced", RUN.attempt + 1, "its execution died")
        ledger.end_run(RUN, "failed", {}, "late", NOW)
        assert len(list(ledger.running_runs())) == 1
        ledger.end_run(fenced, "failed", {}, "died", NOW)
        assert list(ledger.running_runs()) == []

    def test_one_that_has_moved_on_is_not_fenced(self, ledger: Ledger) -> None:
        ledger.begin_run(RUN, None)
        seen = ledger.run("r")
        assert seen is not None
        moved = ledger.next_attempt(seen, 1, 1)
        assert ledger.fence_run(seen, "died", NOW) is False
        assert ledger.run("r") == moved
        assert (moved.attempt, moved.launch, moved.launches, moved.rounds) == (1, 1, 1, 0)

    def test_what_a_fenced_run_still_writes_is_refused(self, ledger: Ledger) -> None:
        ledger.begin_run(RUN, None)
        ledger.fence_run(RUN, "died", NOW)
        with pytest.raises(StalePass):
            ledger.plan_batches(RUN)
        with pytest.raises(StalePass):
            ledger.next_attempt(RUN, 0, 0)

    def test_a_round_is_counted_apart_from_a_launch(self, ledger: Ledger) -> None:
        ledger.begin_run(RUN, None)
        after = ledger.next_attempt(RUN, 0, 0)
        assert (after.attempt, after.rounds, after.launches) == (1, 1, 0)
        assert ledger.run("r") == replace(after, planned_at=NOW)

    def test_a_run_that_was_planned_again_is_not_ended_by_who_wakes_late(self, ledger: Ledger) -> None:
        # GIVEN a function of an aborted execution that read the run, and then a redrive that planned it again
        ledger.begin_run(RUN, None)
        again = replace(RUN, pass_=1, attempt=1)
        ledger.begin_run(again, RUN)
        ledger.end_run(RUN, "failed", {}, "late", NOW)
        run = ledger.run("r")
        assert run is not None
        assert (run.state, run.attempt) == ("running", 1)

    def test_a_run_that_succeeded_never_fails_afterwards(self, ledger: Ledger) -> None:
        ledger.begin_run(RUN, None)
        ledger.end_run(RUN, "succeeded", {"message": "m"}, None, NOW)
        ledger.end_run(RUN, "failed", {}, "late", NOW)
        run = ledger.run("r")
        assert run is not None
        assert (run.state, run.error) == ("succeeded", None)


class TestLeases:
    def test_are_not_given_up_by_an_earlier_attempt_that_wakes_late(self, ledger: Ledger) -> None:
        ledger.take_lease("flights", "r", None, 2)
        ledger.free_lease("flights", "r", 1)
        assert ledger.table("flights").lease is not None
        ledger.free_lease("flights", "r", 3)
        assert ledger.table("flights").lease is None

    def test_a_new_table_is_free_and_its_fence_grows(self, ledger: Ledger) -> None:
        assert ledger.table("flights").lease is None
        fences = [ledger.take_lease("flights", run, taken_from).fence for run, taken_from in (("a", None), ("b", "a"))]
        assert fences == [1, 2]
        lease = ledger.tables(["flights", "airlines"])["flights"].lease
        assert lease is not None
        assert (lease.run_id, lease.fence) == ("b", 2)

    def test_are_taken_from_nobody_else_than_was_seen(self, ledger: Ledger) -> None:
        ledger.take_lease("flights", "a", None)
        for seen in (None, "c"):
            with pytest.raises(LeaseHeld):
                ledger.take_lease("flights", "b", seen)

    def test_are_freed_by_their_owner_alone_and_the_fence_stays(self, ledger: Ledger) -> None:
        ledger.take_lease("flights", "a", None)
        ledger.free_lease("flights", "b", 0)
        assert ledger.table("flights").lease is not None
        ledger.free_lease("flights", "a", 0)
        ledger.free_lease("flights", "a", 0)
        assert ledger.table("flights").lease is None
        assert ledger.take_lease("flights", "b", None).fence == 2


class TestClaims:
    def test_go_from_open_to_sealed(self, ledger: Ledger) -> None:
        sealed(ledger)
        table = ledger.table("flights")
        assert (table.open_claim, table.unsettled_batch, table.next_batch) == (None, 1, 2)
        assert ledger.batch("flights", 1) == BATCH

    def test_need_the_lease(self, ledger: Ledger) -> None:
        with pytest.raises(ClaimMoved):
            ledger.open_claim("flights", "r", CLAIM)
        ledger.take_lease("flights", "other", None)
        with pytest.raises(ClaimMoved):
            ledger.open_claim("flights", "r", CLAIM)

    def test_are_one_at_a_time(self, ledger: Ledger) -> None:
        ledger.take_lease("flights", "r", None)
        ledger.open_claim("flights", "r", CLAIM)
        with pytest.raises(ClaimMoved):
            ledger.open_claim("flights", "r", CLAIM)
        assert ledger.table("flights").open_claim == CLAIM

    def test_wait_for_the_unsettled_batch(self, ledger: Ledger) -> None:
        sealed(ledger)
        with pytest.raises(ClaimMoved):
            ledger.open_claim("flights", "r", OpenClaim(2, "s3://two"))

    def test_of_a_number_that_is_taken_are_refused(self, ledger: Ledger) -> None:
        sealed(ledger)
        ledger.settle_merged(BATCH, "r", MERGED, NOW)
        with pytest.raises(ClaimMoved):
            ledger.open_claim("flights", "r", OpenClaim(1, "s3://again"))

    def test_are_dropped_by_name(self, ledger: Ledger) -> None:
        ledger.take_lease("flights", "r", None)
        ledger.open_claim("flights", "r", CLAIM)
        ledger.drop_claim("flights", OpenClaim(1, "s3://another"))
        assert ledger.table("flights").open_claim == CLAIM
        ledger.drop_claim("flights", CLAIM)
        assert ledger.table("flights").open_claim is None
        assert ledger.table("flights").next_batch == 1

    def test_are_sealed_once_and_by_the_lease_holder(self, ledger: Ledger) -> None:
        ledger.take_lease("flights", "r", None)
        ledger.open_claim("flights", "r", CLAIM)
        ledger.take_lease("flights", "other", "r")
        with pytest.raises(ClaimMoved):
            ledger.seal(BATCH, "r", CLAIM)
        ledger.seal(replace(BATCH, run_id="other"), "other", CLAIM)
        with pytest.raises(ClaimMoved):
            ledger.seal(BATCH, "other", CLAIM)

    def test_that_are_not_there_have_no_batch(self, ledger: Ledger) -> None:
        with pytest.raises(ClaimMoved):
            ledger.batch("flights", 1)


class TestSettling:
    RETRY = RetryDecision(NOW + timedelta(minutes=1), 1, 2, None)

    def test_a_merged_batch_moves_its_table_on(self, ledger: Ledger) -> None:
        sealed(ledger)
        ledger.settle_failed(BATCH, "r-0", "broke", self.RETRY)
        ledger.settle_merged(BATCH, "r", MERGED, NOW)
        table, batch = ledger.table("flights"), ledger.batch("flights", 1)
        assert (table.last_merged_batch, table.unsettled_batch, table.attempts, table.retry_after) == (1, None, 0, None)
        assert (batch.state, batch.delta_version, batch.rows, batch.error) == (
            "merged",
            8,
            {"read": 7, "inserted": 7},
            None,
        )

    def test_is_final(self, ledger: Ledger) -> None:
        sealed(ledger)
        ledger.settle_merged(BATCH, "r", MERGED, NOW)
        ledger.settle_merged(BATCH, "later", replace(MERGED, delta_version=99), NOW)
        ledger.settle_failed(BATCH, "r-1", "broke", self.RETRY)
        batch, table = ledger.batch("flights", 1), ledger.table("flights")
        assert (batch.state, batch.delta_version, batch.error) == ("merged", 8, None)
        assert table.failures == 0

    def test_a_failed_attempt_counts_once(self, ledger: Ledger) -> None:
        sealed(ledger)
        ledger.settle_failed(BATCH, "r-0", "broke", self.RETRY)
        ledger.settle_failed(BATCH, "r-0", "broke", replace(self.RETRY, attempts=2, failures=3))
        table = ledger.table("flights")
        assert (table.attempts, table.failures, table.retry_after) == (1, 2, NOW + timedelta(minutes=1))
        assert ledger.batch("flights", 1).error == "broke"
        ledger.settle_failed(BATCH, "r-1", "broke", replace(self.RETRY, attempts=2, blocked_reason="enough"))
        assert (ledger.table("flights").attempts, ledger.table("flights").blocked_reason) == (2, "enough")

    def test_success_opens_a_blocked_table(self, ledger: Ledger) -> None:
        sealed(ledger)
        ledger.block_table("flights", "enough")
        assert ledger.table("flights").blocked_reason == "enough"
        ledger.settle_merged(BATCH, "r", MERGED, NOW)
        assert ledger.table("flights").blocked_reason is None

    def test_a_batch_without_known_row_counts_is_settled_too(self, ledger: Ledger) -> None:
        sealed(ledger)
        ledger.settle_merged(BATCH, "r", replace(MERGED, table_rows=None, rejected=()), NOW)
        assert ledger.table("flights").last_merged_batch == 1


class TestPublishing:
    KNOWN = Catalogued({"flights": "aaaa", "flights__quarantine": "bbbb"}, NOW)

    def test_a_merged_batch_is_to_be_announced_until_it_is(self, ledger: Ledger) -> None:
        sealed(ledger)
        assert not ledger.table("flights").is_unpublished
        ledger.settle_merged(BATCH, "r", MERGED, NOW)
        assert ledger.table("flights").unannounced == {1}
        ledger.record_published("flights", (1,), None, None)
        assert not ledger.table("flights").is_unpublished
        # AND settling it again makes no news of it
        ledger.settle_merged(BATCH, "r", MERGED, NOW)
        assert ledger.table("flights").unannounced == frozenset()

    def test_a_voided_batch_is_no_news(self, ledger: Ledger) -> None:
        sealed(ledger)
        ledger.settle_voided(BATCH, "r", Voided("s3://receipt", 8), [], NOW)
        assert not ledger.table("flights").is_unpublished

    def test_what_the_catalog_has_is_remembered_until_it_has_something_else(self, ledger: Ledger) -> None:
        sealed(ledger)
        ledger.settle_merged(BATCH, "r", MERGED, NOW)
        ledger.record_published("flights", (1,), self.KNOWN, None)
        assert ledger.table("flights").catalogued == self.KNOWN
        ledger.record_published("flights", (), None, 2)
        table = ledger.table("flights")
        assert (table.catalogued, table.unregistered_batch, table.is_unpublished) == (self.KNOWN, 2, True)
        ledger.record_published("flights", (), None, None)
        assert ledger.table("flights").unregistered_batch is None

    def test_batches_that_are_still_to_be_announced_stay(self, ledger: Ledger) -> None:
        sealed(ledger)
        ledger.settle_merged(BATCH, "r", MERGED, NOW)
        ledger.record_published("flights", (7,), None, None)
        assert ledger.table("flights").unannounced == {1}

    def test_a_table_that_nobody_knows_is_not_made_by_it(self, ledger: Ledger) -> None:
        ledger.record_published("nobody", (1,), self.KNOWN, None)
        assert ledger.table("nobody").catalogued is None


class TestHistory:
    def test_nothing_is_known_at_first(self, ledger: Ledger) -> None:
        assert ledger.start_ups() == ()
        assert ledger.merges_of(["flights"]) == {}

    def test_is_kept_by_stack_and_table_the_newest_first(self, ledger: Ledger) -> None:
        old, new = (StartUpSample(NOW - timedelta(hours=age), f"c-{age}", 300.5) for age in (2, 1))
        for sample in (old, new, old):
            ledger.learn_start_up(sample, NOW)
        assert ledger.start_ups() == (new, old)
        merge = MergeSample(NOW, "7", 12.25, 1024, 3, 2.0)
        ledger.learn_merge("flights", merge, NOW)
        assert ledger.merges_of(["flights", "airlines"]) == {"flights": (merge,)}

    def test_is_no_longer_than_it_has_to_be(self, ledger: Ledger) -> None:
        for number in range(MERGES_KEPT + 3):
            ledger.learn_merge("flights", MergeSample(NOW, f"{number:03d}", 1.0, 1, 1), NOW)
        kept = ledger.merges_of(["flights"])["flights"]
        assert len(kept) == MERGES_KEPT
        assert kept[-1].name == "003"

    def test_what_was_not_measured_is_not_learned(self, ledger: Ledger) -> None:
        ledger.learn_start_up(StartUpSample(NOW, "c", -5.0), NOW)
        assert ledger.start_ups() == ()


class TestScaling:
    LIMITS = ScalingLimits(1, 4, 1)
    STATE = ScalingState(
        "j-1", LIMITS, CAPS, changes=(NOW - timedelta(minutes=5),), busy_since=NOW - timedelta(minutes=1), seen_at=NOW,
        units=UnitsKnown(4.0, NOW - timedelta(minutes=2)),
    )  # fmt: skip
    LOOK = ScalingLook(NOW, "j-1", "raise", "the deadline is at risk", 4, 3, units_running=1.5, done_bytes=7,
                       deadline=NOW + timedelta(hours=1), late_by_s=-12.25)  # fmt: skip

    def test_begins_with_nothing(self, ledger: Ledger) -> None:
        assert ledger.scaling_state("r") == (None, "")
        assert list(ledger.scaling_looks("r")) == []

    def test_goes_on_from_the_last_look_and_keeps_each(self, ledger: Ledger) -> None:
        assert ledger.record_scaling("r", self.LOOK, self.STATE, "")
        state, seen = ledger.scaling_state("r")
        assert state == self.STATE
        later = replace(self.LOOK, at=NOW + timedelta(minutes=1), action="hold", late_by_s=None, deadline=None)
        assert ledger.record_scaling("r", later, replace(self.STATE, changes=()), seen)
        assert list(ledger.scaling_looks("r")) == [self.LOOK, later]
        assert list(ledger.scaling_looks("another")) == []

    def test_one_that_never_saw_its_units_is_kept_as_such(self, ledger: Ledger) -> None:
        unseen = replace(self.STATE, units=UnitsKnown())
        assert ledger.record_scaling("r", self.LOOK, unseen, "")
        assert ledger.scaling_state("r")[0] == unseen

    def test_of_two_that_look_at_once_one_is_kept(self, ledger: Ledger) -> None:
        assert ledger.record_scaling("r", self.LOOK, self.STATE, "")
        late = replace(self.LOOK, at=NOW + timedelta(seconds=1))
        assert not ledger.record_scaling("r", late, replace(self.STATE, cluster_id="j-2"), "")
        assert ledger.scaling_state("r")[0] == self.STATE
        assert list(ledger.scaling_looks("r")) == [self.LOOK]


class TestOrderedLaunch:
    def test_is_kept_with_the_cluster_that_it_follows_unless_the_run_has_moved_on(self, ledger: Ledger) -> None:
        ledger.begin_run(RUN, None)
        assert ledger.order_launch(RUN, "tidegate-r-0-1", 2)
        seen = ledger.run("r")
        assert seen is not None
        assert seen.ordered_launch == ("tidegate-r-0-1", 2)
        ledger.next_attempt(seen, 2, 1)
        assert not ledger.order_launch(seen, "tidegate-r-0-1", 3)


class TestRuns:
    def test_keep_what_their_cluster_was_planned_to_be(self, ledger: Ledger) -> None:
        ledger.begin_run(RUN, None)
        ledger.plan_batches(replace(RUN, units=5, round_bytes=7, round_ends_at=NOW + timedelta(minutes=12)))
        run = ledger.run("r")
        assert run is not None
        assert (run.units, run.round_bytes, run.planned_at) == (5, 7, NOW)
        assert run.round_ends_at == NOW + timedelta(minutes=12)

    def test_begin_plan_and_end(self, ledger: Ledger) -> None:
        assert ledger.run("r") is None
        ledger.begin_run(RUN, None)
        ledger.plan_batches(replace(RUN, batches=(("flights", 1),), cluster_name="tidegate-r-0-1"))
        run = ledger.run("r")
        assert run == replace(RUN, batches=(("flights", 1),), cluster_name="tidegate-r-0-1", planned_at=NOW)
        summary = {"message": "done", "merged": [{"table": "flights", "delta_version": 8, "seconds": 1.5}]}
        ledger.end_run(RUN, "succeeded", summary, None, NOW + timedelta(minutes=5))
        ended = ledger.run("r")
        assert ended is not None
        assert (ended.state, ended.ended_at, ended.error) == ("succeeded", NOW + timedelta(minutes=5), None)
        assert ended.summary == summary
        merged = (ended.summary or {})["merged"][0]
        assert (type(merged["delta_version"]), type(merged["seconds"])) == (int, float)

    def test_begun_again_keep_their_batches_and_their_first_start(self, ledger: Ledger) -> None:
        ledger.begin_run(RUN, None)
        ledger.plan_batches(replace(RUN, batches=(("flights", 1),)))
        ledger.end_run(RUN, "failed", {}, "broke", NOW)
        again = replace(RUN, pass_=1, attempt=1, started_at=NOW + timedelta(hours=1))
        ledger.begin_run(again, ledger.run("r"))
        run = ledger.run("r")
        assert run is not None
        assert (run.state, run.pass_, run.attempt, run.started_at) == ("running", 1, 1, NOW)
        assert (run.batches, run.error, run.ended_at) == ((("flights", 1),), None, None)

    @pytest.mark.parametrize("change", [{"execution_arn": "arn:2"}, {"pass_": 1}, {"state": "failed"}])
    def test_that_have_changed_since_they_were_seen_are_not_begun(self, ledger: Ledger, change: dict[str, Any]) -> None:
        ledger.begin_run(RUN, None)
        with pytest.raises(RunIsLive):
            ledger.begin_run(RUN, None)
        with pytest.raises(RunIsLive):
            ledger.begin_run(RUN, replace(RUN, **change))
        ledger.begin_run(RUN, RUN)

    @pytest.mark.parametrize("change", [{"execution_arn": "arn:2"}, {"pass_": 1}])
    def test_that_were_taken_over_are_not_planned(self, ledger: Ledger, change: dict[str, Any]) -> None:
        ledger.begin_run(RUN, None)
        with pytest.raises(StalePass):
            ledger.plan_batches(replace(RUN, **change))

    def test_passes_are_admitted_by_execution(self, ledger: Ledger) -> None:
        assert ledger.admitted_pass("arn:1") == 0
        ledger.admit_pass("arn:1", 2, NOW)
        assert (ledger.admitted_pass("arn:1"), ledger.admitted_pass("arn:2")) == (2, 0)


class TestReconciling:
    ROUND = Round(NOW)

    def test_heads_come_many_at_a_time_and_only_those_that_there_are(self, ledger: Ledger) -> None:
        keys = [f"flights/2013-01/{number}.csv" for number in range(120)]
        for key in keys[:110]:
            ledger.record_arrival(arrival(key), NOW)
            ledger.mark_claimed(arrival(key), 1, "claimed", NOW)
        ledger.record_arrival(arrival(keys[110]), NOW)
        heads = ledger.heads("landing", keys)
        assert set(heads) == set(keys[:110])
        assert heads[keys[0]] == ledger.head("landing", keys[0])
        assert ledger.heads("landing", []) == {}

    def test_a_round_comes_back_as_it_was_saved(self, ledger: Ledger) -> None:
        assert ledger.reconcile_round() is None
        assert ledger.save_round(self.ROUND, None) is True
        following = self.ROUND.next_step(Counts(seen=3, known=1, recorded=2), Marker("k\né", "v1"))
        assert ledger.save_round(following, self.ROUND) is True
        assert ledger.reconcile_round() == following
        done = following.next_step(Counts(seen=1), None)
        assert ledger.save_round(done, following) is True
        assert ledger.reconcile_round() == done
        assert done.is_done
        assert done.counts == Counts(seen=4, known=1, recorded=2)

    def test_a_round_that_has_moved_is_not_saved_over(self, ledger: Ledger) -> None:
        ledger.save_round(self.ROUND, None)
        assert ledger.save_round(self.ROUND, None) is False
        following = self.ROUND.next_step(Counts(), Marker("k"))
        ledger.save_round(following, self.ROUND)
        assert ledger.save_round(following, self.ROUND) is False
        assert ledger.save_round(following, Round(NOW + timedelta(days=1), step=1)) is False

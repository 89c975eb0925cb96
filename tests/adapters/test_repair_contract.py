"""What rebuilds a ledger: the writer to DynamoDB and the fake that the pure tests use."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fakes.ledger import FakeLedger
from fakes.repair import FakeRepair
from tidegate.adapters.ledger import DynamoLedger
from tidegate.adapters.repair import DynamoRepair
from tidegate.arrivals import Arrival, pad_sequencer
from tidegate.failures import RetryDecision
from tidegate.ports import Batch, Head, Ledger, OpenClaim, Table
from tidegate.usecases.rebuild_ledger import LedgerRepair

from tests.adapters.conftest import LEDGER

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ARRIVAL = Arrival(
    "landing", "flights/a.csv", pad_sequencer("1f"), "Object Created", NOW, 5, "e", "v1", "flights", {"month": "1"}
)
BATCH = Batch("flights", 3, 2, "s3://m", "0" * 64, 2, 10, NOW - timedelta(hours=1), NOW)
TABLE = Table("flights", next_batch=4, last_merged_batch=3)


@pytest.fixture(params=["dynamodb", "fake"])
def pair(request: pytest.FixtureRequest) -> tuple[Ledger, LedgerRepair]:
    if request.param == "fake":
        fake = FakeLedger()
        return fake, FakeRepair(fake)
    request.getfixturevalue("dynamodb")
    return DynamoLedger(LEDGER), DynamoRepair(LEDGER)


@pytest.fixture
def ledger(pair: tuple[Ledger, LedgerRepair]) -> Ledger:
    return pair[0]


@pytest.fixture
def repair(pair: tuple[Ledger, LedgerRepair]) -> LedgerRepair:
    return pair[1]


@pytest.mark.parametrize("state", ["pending", "claimed", "superseded", "quarantined", "failed"])
def test_an_arrival_is_written_over_what_there_is(ledger: Ledger, repair: LedgerRepair, state: Any) -> None:
    ledger.record_arrival(replace(ARRIVAL, state="ignored", table=None, reason="no contract"), NOW)
    wanted = replace(ARRIVAL, state=state, batch=None if state == "pending" else 3)
    repair.put_arrival(wanted, NOW)
    assert list(repair.arrivals()) == ledger.versions("landing", ARRIVAL.key) == [wanted]
    assert list(ledger.kept("ignored")) == []
    assert list(ledger.pending("flights")) == ([wanted] if state == "pending" else [])
    if state in {"quarantined", "failed"}:
        assert list(ledger.kept(state)) == [wanted]


def test_arrivals_are_read_and_nothing_else_is(ledger: Ledger, repair: LedgerRepair) -> None:
    ledger.record_arrival(ARRIVAL, NOW)
    ledger.mark_claimed(ARRIVAL, 3, "claimed", NOW)
    ledger.take_lease("flights", "r", None)
    repair.put_batch(BATCH, NOW)
    assert [each.key for each in repair.arrivals()] == [ARRIVAL.key]


def test_a_head_never_becomes_older(ledger: Ledger, repair: LedgerRepair) -> None:
    newer = replace(ARRIVAL, sequencer=pad_sequencer("20"), version_id="v2")
    for each in (ARRIVAL, newer, ARRIVAL):
        repair.raise_head(each)
    assert ledger.head("landing", ARRIVAL.key) == Head(newer.sequencer, "v2", "e", NOW)


@pytest.mark.parametrize("state", ["merged", "voided", "sealed"])
def test_a_batch_comes_back_as_it_was_written(ledger: Ledger, repair: LedgerRepair, state: str) -> None:
    repair.put_batch(replace(BATCH, state="sealed", run_id="r"), NOW)
    wanted = replace(BATCH, state=state)
    if state != "sealed":
        facts: dict[str, Any] = {"delta_version": 8, "rows": {"read": 7}, "rejected_files": 1, "receipt_uri": "s3://r"}
        wanted = replace(wanted, **facts, error="why")
    repair.put_batch(wanted, NOW)
    assert ledger.batch("flights", 3) == wanted
    assert list(ledger.batches("flights")) == [wanted]


def test_a_table_loses_what_held_it_and_keeps_its_pause(ledger: Ledger, repair: LedgerRepair) -> None:
    # GIVEN a table with all that may be in its way
    lease = ledger.take_lease("flights", "r", None)
    ledger.queue_reopened("flights", ["s3://old"])
    claim = OpenClaim(1, "s3://c1")
    ledger.open_claim("flights", "r", claim)
    ledger.seal(replace(BATCH, number=1), "r", claim)
    ledger.settle_failed(replace(BATCH, number=1), "r-0", "why", RetryDecision(NOW, 1, 1, "blocked", "void"))
    ledger.pause("flights", "rebuilding", NOW)
    # WHEN it is written anew
    repair.put_table(TABLE, fence=0, delta_version=8, table_rows=7)
    assert ledger.table("flights") == replace(TABLE, paused_reason="rebuilding")
    # THEN its fence goes on
    assert ledger.take_lease("flights", "q", None).fence == lease.fence + 1
    # AND so it does from one that was found elsewhere
    repair.put_table(replace(TABLE, unsettled_batch=4, reopened=frozenset({"s3://h"})), 41, None, None)
    table = ledger.table("flights")
    assert (table.unsettled_batch, table.reopened, table.lease) == (4, frozenset({"s3://h"}), None)
    assert ledger.take_lease("flights", "q", None).fence == 42


def test_the_attempt_that_failed_last_may_fail_again(ledger: Ledger, repair: LedgerRepair) -> None:
    # GIVEN a batch that attempt r-0 failed, in a ledger that is rebuilt since
    ledger.take_lease("flights", "r", None)
    claim = OpenClaim(1, "s3://c1")
    ledger.open_claim("flights", "r", claim)
    batch = replace(BATCH, number=1)
    ledger.seal(batch, "r", claim)
    ledger.settle_failed(batch, "r-0", "why", RetryDecision(NOW, 1, 1))
    repair.put_table(Table("flights", next_batch=2, unsettled_batch=1), 0, None, None)
    # WHEN an attempt of that name fails THEN it counts
    ledger.settle_failed(batch, "r-0", "why", RetryDecision(NOW, 1, 1))
    assert ledger.table("flights").failures == 1

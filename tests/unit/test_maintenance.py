"""What is done for a table while the cluster is warm, and why."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tidegate_spark.maintenance import (
    DELETION_VECTORS_FROM_BYTES,
    SMALL_BYTES,
    Facts,
    FileStatistics,
    decide_maintenance,
    wants_statistics,
)
from tidegate_spark.work import Maintenance

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY = 86400
QUIET = Facts(
    part="table",
    version=105,
    checkpoint_version=100,
    files=10,
    bytes=10 * SMALL_BYTES,
    deleted_rows=0,
    rows=None,
    made_at=NOW - timedelta(days=3),
    retention_s=7 * DAY,
    is_clustered=False,
    has_deletion_vectors=False,
    may_have_deletion_vectors=False,
    keeps_tombstones=False,
)
PACKED = FileStatistics(files=10, bytes=10 * SMALL_BYTES, small_files=0, small_partitions=0, rows=1000, deleted_rows=0)


def decided(facts: Facts = QUIET, files: FileStatistics | None = PACKED, **rules: Any) -> dict[str, str]:
    return {action.kind: action.reason for action in decide_maintenance(facts, files, Maintenance(**rules), NOW)}


def test_a_table_in_order_is_left_alone() -> None:
    assert decided() == {}
    assert not wants_statistics(QUIET, Maintenance())


@pytest.mark.parametrize(
    ("changed", "wants"),
    [
        ({"files": 20}, False),
        ({"files": 21}, True),
        ({"files": None}, True),
        ({"deleted_rows": 1}, True),
        ({"deleted_rows": 49, "rows": 951}, False),
        ({"deleted_rows": 50, "rows": 950}, True),
        ({"deleted_rows": 50, "rows": 0}, True),
        ({"deleted_rows": 0, "rows": 0}, False),
        ({"bytes": DELETION_VECTORS_FROM_BYTES, "may_have_deletion_vectors": True}, True),
        ({"bytes": DELETION_VECTORS_FROM_BYTES, "may_have_deletion_vectors": True, "part": "history"}, False),
        ({"bytes": DELETION_VECTORS_FROM_BYTES}, False),
        ({"files": 1, "bytes": 16 * 1024**2, "may_have_deletion_vectors": True, "needs_spark": True}, True),
        ({"files": 1, "bytes": 16 * 1024**2, "may_have_deletion_vectors": True}, False),
    ],
)
def test_files_are_looked_at_when_there_may_be_something(changed: dict[str, Any], wants: bool) -> None:
    facts = replace(QUIET, **changed)
    assert wants_statistics(facts, Maintenance()) is wants
    assert not wants_statistics(facts, Maintenance(optimize="off"))


def test_small_files_are_made_one_where_they_lie_together() -> None:
    many = replace(PACKED, files=40, small_files=18, small_partitions=2)
    assert "18 of 40 files are below 64.0 MiB" in decided(files=many)["optimize"]
    # 16 partitions with a small file each and one with two: nothing to gain
    assert decided(files=replace(many, small_partitions=16)) == {}
    assert decided(files=many, optimize="off") == {}


def test_hidden_rows_are_purged_before_reads_suffer() -> None:
    assert decided(files=replace(PACKED, deleted_rows=49)) == {}
    assert "5 % of the stored rows" in decided(files=replace(PACKED, deleted_rows=50))["purge"]


def test_clustering_is_kept_up() -> None:
    clustered = replace(QUIET, is_clustered=True)
    assert decided(clustered, replace(PACKED, unclustered_files=3, unclustered_bytes=SMALL_BYTES)) == {}
    for some in ({"unclustered_files": 16}, {"unclustered_files": 2, "unclustered_bytes": SMALL_BYTES + 1}):
        assert "not clustered" in decided(clustered, replace(PACKED, **some))["optimize"]  # type: ignore[arg-type]


def test_a_table_that_has_outgrown_rewriting_gets_deletion_vectors_once() -> None:
    large = replace(PACKED, bytes=DELETION_VECTORS_FROM_BYTES)
    may = replace(QUIET, may_have_deletion_vectors=True)
    assert list(decided(may, large)) == ["deletion_vectors"]
    assert decided(replace(may, has_deletion_vectors=True), large) == {}
    assert decided(QUIET, large) == {}


def test_checkpoints_are_made_where_delta_made_none() -> None:
    assert decided(replace(QUIET, version=109)) == {}
    assert "10 versions since" in decided(replace(QUIET, version=110))["checkpoint"]
    assert decided(replace(QUIET, version=110), checkpoint="off") == {}
    assert decided(replace(QUIET, version=9, checkpoint_version=None)) == {}
    assert "checkpoint" in decided(replace(QUIET, version=10, checkpoint_version=None))


def vacuum(facts: Facts, **rules: Any) -> int | None:
    found = decide_maintenance(facts, None, Maintenance(**rules), NOW)
    return next((action.retention_s for action in found if action.kind == "vacuum"), None)


def test_vacuum_goes_by_the_longest_retention_that_anybody_asks_for() -> None:
    old = replace(QUIET, made_at=NOW - timedelta(days=400))
    assert vacuum(old) == 7 * DAY
    # "never below the log/deleted-file retention that time travel needs"
    assert vacuum(old, vacuum_s=DAY) == 7 * DAY
    assert vacuum(replace(old, retention_s=90 * DAY)) == 90 * DAY
    # the contract is explicit, so the table's own setting is as short
    assert vacuum(replace(old, retention_s=DAY), vacuum_s=DAY) == DAY
    assert vacuum(replace(old, retention_s=60), vacuum_s=60) == 3600
    assert vacuum(old, vacuum_s=None) is None


def test_vacuum_is_done_once_a_day_and_not_before_anything_can_go() -> None:
    assert vacuum(replace(QUIET, made_at=NOW - timedelta(days=7, hours=-1))) is None
    assert vacuum(replace(QUIET, made_at=NOW - timedelta(days=7))) == 7 * DAY
    old = replace(QUIET, made_at=NOW - timedelta(days=400))
    assert vacuum(replace(old, vacuumed_at=NOW - timedelta(hours=23))) is None
    assert vacuum(replace(old, vacuumed_at=NOW - timedelta(hours=24))) == 7 * DAY


def test_tombstones_are_looked_through_once_a_day() -> None:
    keeps = replace(QUIET, part="history", keeps_tombstones=True)
    assert list(decided(keeps)) == ["tombstones"]
    assert decided(replace(keeps, tombstones_purged_at=NOW - timedelta(hours=1))) == {}

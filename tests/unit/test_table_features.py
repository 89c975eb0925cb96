"""Which of Delta's features a table gets, by its contract, and how one that is there is put right."""

from __future__ import annotations

from typing import Any

import pytest
from tidegate_spark.features import (
    CHANGE_DATA_FEED,
    CLUSTERED_BY,
    DELETION_VECTORS,
    FILE_RETENTION,
    INDEXED_COLUMNS,
    LOG_RETENTION,
    MERGE,
    OWNER,
    SYMLINK_MANIFEST,
    TIMESTAMPS,
    Adjustment,
    adjust,
    check_merge,
    features_of,
)
from tidegate_spark.work import Contract, Maintenance

DAY = 86400


def contract(**more: Any) -> Contract:
    given: dict[str, Any] = {
        "table": "sales",
        "format": "csv",
        "options": {},
        "columns": (),
        "captures": (),
        "strategy": "upsert",
        "keys": ("id",),
        "sequence_by": "at",
        "partition_by": (),
    }
    return Contract(**{**given, **more})


@pytest.mark.parametrize(
    ("readers", "strategy", "optimize", "may"),
    [
        (("spark",), "upsert", "auto", True),
        (("spark", "duckdb", "delta-rs", "trino"), "cdc", "auto", True),
        (("spark",), "append", "auto", False),
        (("spark",), "upsert", "off", False),
        *((("spark", reader), "upsert", "auto", False) for reader in ("athena", "presto", "hive", "redshift", "new")),
    ],
)
def test_deletion_vectors_need_readers_and_a_reason(readers: Any, strategy: str, optimize: Any, may: bool) -> None:
    asked = contract(readers=readers, strategy=strategy, maintenance=Maintenance(optimize=optimize))
    features = features_of(asked, 5)
    # THEN
    assert features.may_have_deletion_vectors is may
    # AND only a reader takes them from a table that has some
    assert (DELETION_VECTORS in features.properties) is (len(readers) == 2)
    # AND no table begins with them: they pay when it is large, and can't be taken out of its protocol
    assert features.at_creation[DELETION_VECTORS] == "false"
    assert features.why


@pytest.mark.parametrize("reader", ["hive", "presto", "redshift"])
def test_manifests_are_kept_for_who_reads_nothing_else(reader: str) -> None:
    features = features_of(contract(readers=("spark", reader)), 5)
    assert features.keeps_manifests
    assert features.at_creation[SYMLINK_MANIFEST] == "true"
    assert not features.may_have_deletion_vectors


def test_a_new_table_says_only_what_isnt_so_by_itself() -> None:
    assert features_of(contract(), 32).at_creation == {
        OWNER: "sales",
        MERGE: '{"strategy": "upsert", "keys": ["id"], "sequence_by": "at"}',
        DELETION_VECTORS: "false",
        TIMESTAMPS: "micros",
    }
    more = contract(change_data_feed=True, cluster_by=("a", "b"), maintenance=Maintenance(vacuum_s=60 * DAY))
    created = features_of(more, 33).at_creation
    assert created[CHANGE_DATA_FEED] == "true"
    assert created[INDEXED_COLUMNS] == "33"
    assert created[CLUSTERED_BY] == "a,b"
    # Time travel needs the log as long as the files.
    assert created[FILE_RETENTION] == created[LOG_RETENTION] == f"interval {60 * DAY} seconds"


def test_a_table_that_is_right_is_left_alone() -> None:
    for asked in (contract(), contract(readers=("hive",)), contract(change_data_feed=True, cluster_by=("a",))):
        features = features_of(asked, 40)
        assert adjust(features, features.at_creation, knows_deletion_vectors=False) == Adjustment()


def test_an_older_releases_table_learns_how_it_merges() -> None:
    found = {OWNER: "sales", DELETION_VECTORS: "false"}
    done = adjust(features_of(contract(), 5), found, knows_deletion_vectors=False)
    assert done == Adjustment(properties={MERGE: '{"strategy": "upsert", "keys": ["id"], "sequence_by": "at"}'})


def test_readers_that_need_manifests_come_later() -> None:
    # GIVEN a table with deletion vectors
    before = features_of(contract(), 5)
    found = {**before.at_creation, DELETION_VECTORS: "true"}
    assert adjust(before, found, knows_deletion_vectors=True) == Adjustment()
    # WHEN hive is to read it
    after = features_of(contract(readers=("spark", "hive")), 5)
    done = adjust(after, found, knows_deletion_vectors=True)
    # THEN its files are rewritten, then listed, and only then its properties say so
    assert (done.purge, done.generate) == (True, True)
    assert done.properties == {DELETION_VECTORS: "false", SYMLINK_MANIFEST: "true"}
    # AND once that is done, nothing is done again
    assert adjust(after, {**found, **done.properties}, knows_deletion_vectors=True) == Adjustment()


def test_vectors_that_somebody_left_in_files_never_meet_a_manifest() -> None:
    found = {**features_of(contract(), 5).at_creation, DELETION_VECTORS: "false"}
    assert adjust(features_of(contract(readers=("presto",)), 5), found, knows_deletion_vectors=True).purge
    assert not adjust(features_of(contract(readers=("presto",)), 5), found, knows_deletion_vectors=False).purge


def test_what_the_contract_no_longer_asks_for_is_switched_off() -> None:
    found = features_of(contract(readers=("hive",), change_data_feed=True, cluster_by=("a",)), 5).at_creation
    done = adjust(features_of(contract(), 5), found, knows_deletion_vectors=False)
    assert done == Adjustment(
        cluster_by=(), properties={SYMLINK_MANIFEST: "false", CHANGE_DATA_FEED: "false", CLUSTERED_BY: ""}
    )


def test_an_operators_longer_retention_stays() -> None:
    asked = contract(maintenance=Maintenance(vacuum_s=DAY))
    found = {**features_of(asked, 5).at_creation, FILE_RETENTION: "interval 90 days"}
    assert adjust(features_of(asked, 5), found, knows_deletion_vectors=False) == Adjustment()


def test_another_merge_is_another_table() -> None:
    found = features_of(contract(keys=("b", "a")), 5).at_creation
    assert check_merge(contract(keys=("a", "b")), found) == []
    assert check_merge(contract(keys=("a",)), {}) == []
    faults = check_merge(contract(keys=("a",), strategy="cdc", sequence_by=None), found)
    assert [fault.split(" ")[0] for fault in faults] == ["merge.strategy", "merge.keys", "merge.sequence_by"]
    assert all("another table name for the contract, and land its files again" in fault for fault in faults)

"""Batches: what is taken, how it is written down, and where it is read."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fakes.contracts import contract
from hypothesis import given
from hypothesis import strategies as st
from tidegate.arrivals import Arrival, pad_sequencer
from tidegate.batches import (
    LARGE_BATCH_BYTES,
    choose_candidates,
    group_steps,
    is_plain_key,
    location_of,
    manifest_of,
    order_of,
    sha256_of,
    staged_name,
)

START = datetime(2026, 3, 1, tzinfo=UTC)


def arrival(key: str = "flights/2013-01/a.csv", *, second: int = 0, sequencer: str = "1", size: int = 10) -> Arrival:
    time = START + timedelta(seconds=second)
    return Arrival("landing", key, pad_sequencer(sequencer), "Object Created", time, size, "e", "v", "flights")


arrivals = st.lists(
    st.builds(
        arrival,
        st.sampled_from(["flights/a.csv", "flights/b.csv", "flights/c.csv"]),
        second=st.integers(0, 5),
        sequencer=st.integers(1, 9).map(str),
        size=st.integers(1, 40),
    ),
    unique_by=lambda each: (each.key, each.sequencer),
    max_size=12,
)


class TestChoosing:
    @given(arrivals, st.integers(1, 12), st.integers(1, 200))
    def test_takes_the_oldest_that_fit_and_at_least_one(
        self, pending: list[Arrival], max_files: int, max_bytes: int
    ) -> None:
        limits = contract(max_files=max_files, max_bytes=max_bytes)
        chosen = choose_candidates(sorted(pending, key=lambda each: each.event_time), limits)
        assert len(chosen.files) <= max_files
        assert chosen.size_bytes <= max_bytes or len(chosen.files) == 1
        assert bool(chosen.files) == bool(pending)
        left = [each for each in pending if each not in chosen.files]
        assert all(taken.event_time <= other.event_time for taken in chosen.files for other in left)
        # AND they are listed in an order that doesn't depend on how the ledger has them
        assert list(chosen.files) == sorted(chosen.files, key=order_of)

    @given(arrivals)
    def test_of_an_append_table_every_key_is_listed_once_by_its_newest_version(self, pending: list[Arrival]) -> None:
        chosen = choose_candidates(pending, contract("clicks", strategy="append"))
        assert len({each.key for each in chosen.files}) == len(chosen.files)
        newest = {
            key: max(each.sequencer for each in pending if each.key == key) for key in {each.key for each in pending}
        }
        assert {each.key: each.sequencer for each in chosen.files} == newest
        assert sorted((*chosen.files, *chosen.superseded), key=repr) == sorted(pending, key=repr)

    @given(arrivals)
    def test_of_an_upsert_table_every_version_is_merged(self, pending: list[Arrival]) -> None:
        # Design: "For the others every version merges, and an overwrite never retracts rows."
        assert choose_candidates(pending, contract()).superseded == ()


class TestManifest:
    def of(self, files: list[Arrival], **changes: Any) -> bytes:
        given = {"batch": 7, "predecessor": 6, "lake_bucket": "lake"} | changes
        return manifest_of(contract(), given["batch"], given["predecessor"], files, given["lake_bucket"])

    @given(arrivals, st.randoms())
    def test_is_the_same_bytes_whoever_writes_it(self, files: list[Arrival], random: Any) -> None:
        first = self.of(files)
        random.shuffle(files)
        assert self.of(files) == first
        assert sha256_of(first) == hashlib.sha256(first).hexdigest()

    def test_says_all_that_the_job_needs(self) -> None:
        document = json.loads(self.of([arrival(second=1), arrival("flights/2013-01/é b.csv")]))
        assert {name: document[name] for name in ("schema", "table", "batch", "predecessor", "app_id", "target")} == {
            "schema": 1,
            "table": "flights",
            "batch": 7,
            "predecessor": 6,
            "app_id": "tidegate:flights:1",
            "target": "s3://lake/flights",
        }
        assert document["contract"] == dict(contract().compiled)
        assert [(file["index"], file["key"]) for file in document["files"]] == [
            (0, "flights/2013-01/é b.csv"),
            (1, "flights/2013-01/a.csv"),
        ]

    def test_the_first_batch_has_no_predecessor(self) -> None:
        assert json.loads(self.of([], batch=1, predecessor=None))["predecessor"] is None

    def test_files_are_in_the_order_of_time_then_key_then_version(self) -> None:
        files = [arrival("b", second=1), arrival("a", second=1, sequencer="2"), arrival("a", second=1), arrival("z")]
        listed = [(file["key"], file["sequencer"][-1]) for file in json.loads(self.of(files))["files"]]
        assert listed == [("z", "1"), ("a", "1"), ("a", "2"), ("b", "1")]


class TestReading:
    @pytest.mark.parametrize("key", ["a.csv", "a/b=1/c-d_e.csv.gz", "A/9", "a/b_c", "month=2013-01/x"])
    def test_plain_keys(self, key: str) -> None:
        assert is_plain_key(key)

    @pytest.mark.parametrize(
        "key",
        [
            *("", "/a", "a/", "a//b", "./a", "a/../b", "_a", "a/_b/c", ".a", "a/.b", "a b", "a+b", "a%20", "é", "a:b"),
            *("a*", "a?", "a[b]", "a{b}", "a\n", "a\\b", "a,b", "a#b"),
        ],
    )
    def test_keys_that_spark_may_read_otherwise(self, key: str) -> None:
        # Design: Spark "silently skips or normalises some names (_x, .x, //, .., globs)"
        assert not is_plain_key(key)

    @given(st.text(max_size=30))
    def test_whatever_is_plain_is_its_own_normal_path(self, key: str) -> None:
        if is_plain_key(key):
            assert key.isascii()
            assert all(part and part[0] not in "._" for part in key.split("/"))

    ENTRY = {"key": "a.csv", "version_id": "v1", "etag": "e"}  # noqa: RUF012

    @pytest.mark.parametrize(
        ("change", "current", "in_place"),
        [
            ({}, ("v1", "e"), True),
            ({}, ("v2", "e"), False),
            ({}, (None, None), False),
            ({"key": "a b.csv"}, ("v1", "e"), False),
            ({"version_id": None}, (None, "e"), True),
            ({"version_id": None}, (None, "other"), False),
        ],
    )
    def test_in_place_is_what_surely_is_the_pinned_version(
        self, change: dict[str, Any], current: tuple[str | None, str | None], in_place: bool
    ) -> None:
        location = location_of(self.ENTRY | change, *current)
        assert location.in_place is in_place
        assert location.reason

    @pytest.mark.parametrize(
        ("key", "name"),
        [
            ("x/a b.csv", "000012.csv"),
            ("a+b.CSV.GZ", "000012.csv.gz"),
            (".hidden.csv", "000012.csv"),
            ("é.parquet", "000012.parquet"),
            ("no-ending", "000012"),
            ("a.b/c", "000012"),
            ("a.csv\n", "000012.csv"),
            ("a.é", "000012"),
        ],
    )
    def test_staged_names_keep_the_ending_by_which_spark_picks_the_codec(self, key: str, name: str) -> None:
        assert staged_name(12, key) == name

    @given(st.text(min_size=1, max_size=30), st.integers(0, 999_999))
    def test_staged_names_are_plain(self, key: str, index: int) -> None:
        assert is_plain_key(staged_name(index, key))


class TestGroups:
    def test_small_tables_share_a_step_and_large_ones_have_their_own(self) -> None:
        groups = group_steps({"c": 5, "a": 1, "b": LARGE_BATCH_BYTES, "d": LARGE_BATCH_BYTES * 9})
        assert [(group.name, group.tables) for group in groups] == [("g0", ("a", "c")), ("g1", ("b",)), ("g2", ("d",))]

    @given(st.dictionaries(st.text(min_size=1), st.integers(0, 3 * LARGE_BATCH_BYTES)))
    def test_every_table_is_in_one_group(self, sizes: dict[str, int]) -> None:
        groups = group_steps(sizes)
        assert sorted(table for group in groups for table in group.tables) == sorted(sizes)
        assert sum(group.size_bytes for group in groups) == sum(sizes.values())


def test_arrivals_with_captures_can_be_sorted_and_compared() -> None:
    one = replace(arrival(), captures={"month": "1"})
    assert len({one, replace(one)}) == 1

"""Which engine merges a batch, and how."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tidegate_spark.engines.choice import (
    MOST_ROWS,
    Facts,
    choose_plan,
    refusal_of_table,
    refusal_of_types,
)
from tidegate_spark.features import TIMESTAMPS

# GIVEN a middle-sized merge that delta-rs may do
FACTS = Facts(
    table_rows=10_000_000,
    changes=100_000,
    changes_bytes=5 << 20,
    refusal=None,
    marking_refusal="the table has no deletion vectors",
    files=8,
    candidates=3,
    candidate_bytes=90 << 20,
    free_memory_bytes=8 << 30,
)


@pytest.mark.parametrize(
    ("facts", "engine", "how", "words"),
    [
        # WHEN one machine does it at once THEN delta-rs merges, and the sizes say why
        (FACTS, "delta-rs", "merge", "3 of its 8 files may hold a changed key; delta-rs, for it is 100000 changes and"),
        # WHEN no row can match THEN nothing is looked for
        (replace(FACTS, candidates=0, candidate_bytes=0), "delta-rs", "append", "none of its 8 files can hold"),
        (replace(FACTS, table_rows=0), "delta-rs", "append", "the table has no rows yet"),
        (
            replace(FACTS, candidates=0, candidate_bytes=0, changes=MOST_ROWS + 1),
            "spark",
            "append",
            "none of its 8 files can hold a changed key; Spark, since 2000001 changes are more than",
        ),
        # WHEN the table has deletion vectors THEN rows are marked, however many; where none can match, none is
        (replace(FACTS, marking_refusal=None), "spark", "mark", "3 of its 8 files may hold a changed key; Spark marks"),
        (replace(FACTS, marking_refusal=None, changes=MOST_ROWS + 1), "spark", "mark", "Spark marks the rows that go"),
        (replace(FACTS, marking_refusal=None, candidates=0, candidate_bytes=0), "delta-rs", "append", "none of its 8"),
        # WHEN delta-rs can't or mustn't THEN Spark does it, and the receipt says why
        (replace(FACTS, refusal="the table has constraints"), "spark", "merge", "Spark, since the table has constr"),
        (replace(FACTS, changes_bytes=1 << 30), "spark", "merge", "1024 MB of changes are more than the 256 MB"),
        # WHEN it would touch more than the machine has memory for THEN Spark does it
        (replace(FACTS, free_memory_bytes=1 << 30), "spark", "merge", "90 MB of files are more than the 64 MB"),
        (replace(FACTS, candidate_bytes=2 << 30, free_memory_bytes=1 << 40), "spark", "merge", "more than the 1024 MB"),
        # WHEN the log could not be read THEN any file may match
        (
            replace(FACTS, files=None, candidates=None, candidate_bytes=None, refusal="delta-rs is not installed"),
            "spark",
            "merge",
            "any file may hold a changed key; Spark, since delta-rs is not installed",
        ),
    ],
)
def test_the_plan_follows_from_the_facts(facts: Facts, engine: str, how: str, words: str) -> None:
    plan = choose_plan(facts)
    assert (plan.engine, plan.how) == (engine, how)
    assert words in plan.reason


def test_types_that_the_engines_compare_in_different_ways_stay_with_spark() -> None:
    # GIVEN a NaN, which is equal to itself in one engine alone
    assert refusal_of_types({"id": "double"}, None) == "key id is a double"
    assert refusal_of_types({"id": "bigint"}, "float") == "the sequence is a float"
    assert refusal_of_types({"id": "decimal(20,0)", "day": "date", "code": "string"}, "timestamp") is None


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({}, None),
        ({"writer": 7, "features": frozenset({"timestampNtz", "appendOnly"})}, None),
        ({"writer": 4}, "the table asks for writers of version 4"),
        ({"writer": 7, "features": frozenset({"deletionVectors"})}, "the table has deletionVectors"),
        ({"writer": 7, "features": frozenset({"clustering", "domainMetadata"})}, "the table has clustering, domainM"),
        ({"properties": {"delta.enableChangeDataFeed": "true"}}, "the table keeps a change data feed"),
        ({"properties": {"delta.constraints.positive": "a > 0"}}, "the table has constraints"),
        # Found: 9999-12-31 came back as 1816-03-29 from a file of Spark's that delta-rs had rewritten.
        ({"has_timestamps": True}, "its files may have timestamps as INT96"),
        ({"has_timestamps": True, "properties": {TIMESTAMPS: "micros"}}, None),
    ],
)
def test_what_a_table_asks_of_its_writers_decides_who_may_write_it(table: dict[str, object], why: str | None) -> None:
    # GIVEN
    plain = {"writer": 2, "features": frozenset(), "properties": {}, "has_timestamps": False}
    # WHEN
    found = refusal_of_table(**{**plain, **table})  # type: ignore[arg-type]
    # THEN
    assert found is None if why is None else (found or "").startswith(why)

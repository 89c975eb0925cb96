"""Keys and what is taken from them are values to the job, whatever is in them; names that Spark reads are plain."""

from __future__ import annotations

from typing import Any

from tidegate.batches import staged_name

HOSTILE = [
    "log/${spark.app.name}.csv",
    "log/it's; DROP TABLE log; --.csv",
    "log/back\\slash\\' OR '1'='1.csv",
    "log/{a,b}*?[x].csv",
    'log/line\nbreak `x` "y".csv',
    "log/$(touch pwned) \\u0041 \U0001f600.csv",
]


def landed(lake: Any, key: str, content: str, **entry: Any) -> dict[str, Any]:
    """A file below the name of its staged copy, as plan_run makes it."""
    file: dict[str, Any] = lake.land(content, staged_name(lake.landed, key), **entry)
    return file | {"key": key}


def test_a_newer_version_replaces_the_rows_of_its_own_key_alone(lake: Any) -> None:
    # GIVEN files whose names mean something to a shell, to SQL, to globs, and to Spark's ${variables}
    lake.contract("log", {"line": "string"}, merge={"strategy": "append", "keys": []})
    first = [landed(lake, key, f"line\nold {number}\n") for number, key in enumerate(HOSTILE)]
    second = [landed(lake, key, f"line\nnew {number}\n") for number, key in enumerate(HOSTILE)]
    # WHEN each is overwritten
    code, receipts = lake.run(lake.batch("log", 1, first), lake.batch("log", 2, second))
    # THEN its old rows are gone, and those of no other
    assert code == 0, [receipt["error"] for receipt in receipts]
    assert lake.rows("log") == [(f"new {number}",) for number in range(len(HOSTILE))]
    assert {row[0] for row in lake.rows("log", "_tidegate.source")} == {f"landing/{key}" for key in HOSTILE}


def test_what_a_path_gives_is_a_value_in_rows_and_in_conditions(lake: Any) -> None:
    # GIVEN a table whose key and partition are taken from the path
    lake.contract(
        "flights", {"month": "string", "id": "int", "delay": "int"},
        captures=["month"], merge={"keys": ["month", "id"]}, partition_by=["month"],
    )  # fmt: skip
    values = [key.removeprefix("log/").removesuffix(".csv") for key in HOSTILE]
    batches = [
        [
            landed(lake, f"flights/{month}/a.csv", f"id,delay\n1,{delay}\n", captures={"month": month})
            for month in values
        ]
        for delay in (10, 20)
    ]
    # WHEN the same rows come twice
    code, receipts = lake.run(*(lake.batch("flights", number, files) for number, files in enumerate(batches, start=1)))
    # THEN the second updates the first: the condition that skips files meant the very same values
    assert code == 0, [receipt["error"] for receipt in receipts]
    assert lake.rows("flights") == sorted(((month, 1, 20) for month in values), key=repr)
    assert receipts[1]["rows"]["updated"] == len(values)


def test_no_row_is_lost_for_a_text_that_a_partition_cannot_keep(lake: Any) -> None:
    # GIVEN texts that are null to Delta where they name a folder: in a key, in another column, in a path
    columns = {"id": "int", "place": "string", "v": "string"}
    keys = ["id", "place"]
    lake.contract("s", columns, format="json", partition_by=["place"], merge={"strategy": "scd2", "keys": keys})
    lake.contract("u", columns, format="json", partition_by=["place"], merge={"strategy": "upsert", "keys": ["id"]})
    lake.contract(
        "p", columns, format="json", partition_by=["place"], captures=["place"],
        merge={"strategy": "snapshot", "keys": ["id"], "snapshot": {"scope": ["place"]}},
    )  # fmt: skip
    null = "__HIVE_DEFAULT_PARTITION__"
    lines = [f'{{"id": {number}, "place": "{place}", "v": "a"}}\n' for number, place in enumerate((" ", "", null))]
    scopes = [
        lake.land('{"id": 1, "v": "a"}\n', name, captures={"place": at})
        for name, at in (("good.json", " "), ("null.json", null))
    ]
    # WHEN
    code, receipts = lake.run(
        *(lake.batch(table, 1, [lake.land("".join(lines), "a.json")]) for table in ("s", "u")),
        lake.batch("p", 1, scopes),
    )
    # THEN a key with such a text is in quarantine, for the table would never find it again
    assert code == 0, [receipt["error"] for receipt in receipts]
    assert lake.rows("s", "id", "place", "v") == [(0, " ", "a")]
    why = "key column place is null or an empty text, which a partition can't tell apart"
    assert [row[:3] for row in lake.quarantine("s")["a.json"]] == [(2, "key", why), (3, "key", why)]
    # AND elsewhere it is null, whichever engine writes
    assert lake.rows("u") == [(0, " ", "a"), (1, None, "a"), (2, None, "a")]
    # AND a snapshot of nobody knows what is rejected
    assert lake.rows("p") == [(1, " ", "a")]
    assert "column place is '__HIVE_DEFAULT_PARTITION__', which is no value" in lake.reasons(receipts[2])["null.json"]

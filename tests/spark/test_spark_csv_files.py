"""CSV as it comes: what is good is read by name, what isn't is left out and says why."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

COLUMNS = {"id": "int", "name": "string", "amount": "double"}


def test_files_that_cannot_be_read_are_rejected_and_the_others_merge(lake: Any) -> None:
    # GIVEN one good file among every kind of unreadable one
    lake.contract("sales", COLUMNS)
    good = "id,name,amount\n1,ann,1.5\n2,bob,\n"
    many = "id,name,amount\n" + "".join(f"{n},n{n},{n}.25\n" for n in range(20_000))
    bad = {
        "missing.csv": ("id,name\n1,ann\n", "column 'amount' missing from the header"),
        "unknown.csv": (
            "id,name,amount,colour\n1,ann,1,red\n",
            "'colour' in the header is not in the contract",
        ),
        "twice.csv": ("id,name,amount,name\n1,ann,1,x\n", "column 'name' more than once"),
        "latin1_header.csv": (
            "id,näme,amount\n1,ann,1\n".encode("latin-1"),
            "not in the contract's encoding",
        ),
        "cut.csv.gz": (lake.gzipped(many)[:-3000], "can't be read to its end"),
        "not_gzip.csv.gz": (good, "can't be decompressed"),
        "nothing.csv": ("\n\n", "not even a header"),
        "commas_first.csv": (",,\nid,name,amount\n1,ann,1\n", "missing from the header"),
        "picture.csv": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40, "encoding"),
        "other.csv.zst": (b"\x28\xb5\x2f\xfd", "this compression can't be read"),
    }
    files = [lake.land(good, "good.csv"), *(lake.land(text, name) for name, (text, _) in bad.items())]
    # WHEN they are one batch
    code, [receipt] = lake.run(lake.batch("sales", 1, files))
    # THEN the good one is in the table, and each of the others says what is wrong with it
    assert code == 0
    assert lake.rows("sales") == [(1, "ann", 1.5), (2, "bob", None)]
    reasons = lake.reasons(receipt)
    assert {name: why for name, (_, why) in bad.items() if why not in reasons.get(name, "")} == {}, reasons
    assert set(reasons) == set(bad)
    assert receipt["files"]["read"] == 1
    assert receipt["rows"]["read"] == 2
    assert receipt["rows"]["rejected"] == 0
    # AND the quarantine has each of them once, as a file
    assert lake.quarantine("sales") == {name: [(None, "parse", why, None)] for name, why in reasons.items()}


def test_rows_that_break_the_contract_are_quarantined_and_the_rest_of_their_file_merges(lake: Any) -> None:
    # GIVEN files with one bad row each, between good ones
    lake.contract("sales", COLUMNS)
    head, cell = "id,name,amount\n", "x" * 10_000_000
    bad = {
        "cast.csv": ("1,bob,12 EUR", "parse", "column amount: '12 EUR' is not a valid double", "1,bob,12 EUR"),
        "comma.csv": ('1,"b,o ""b""",x', "parse", "column amount: 'x'", '1,"b,o ""b""",x'),
        "fraction.csv": ("1.5,ann,", "parse", "column id: '1.5' is not a valid int", "1.5,ann,"),
        "long_row.csv": ("2,bob,2,3", "parse", "has another number of fields than the 3 columns", "2,bob,2,3"),
        "short_row.csv": ("2,bob", "parse", "has another number of fields", "2,bob"),
        "null_key.csv": (",bob,2", "key", "key column id is null", ",bob,2.0"),
        "latin1.csv": ("1,Zoë,1", "parse", "column name: holds bytes that are not UTF-8", "1,Zo\ufffd,1"),
        "large.csv": (f"1,{cell},x", "parse", "column amount: 'x' is not a valid double", "1,xxx"),
    }
    files = [
        lake.land(
            f"{head}{number},first,1\n{row}\n{number + 50},last,3\n".encode(
                "latin-1" if name == "latin1.csv" else "utf-8"
            ),
            name,
        )
        for number, (name, (row, *_)) in enumerate(bad.items(), start=100)
    ]
    # AND one whose quote swallows the rest of it, and one with a good large cell
    files += [
        lake.land(f'{head}200,first,1\n201,"last,3\n', "open_quote.csv"),
        lake.land(f"{head}300,{cell},1\n", "good_large.csv"),
    ]
    # WHEN
    code, [receipt] = lake.run(lake.batch("sales", 1, files))
    # THEN no file is rejected, and all that is good is in the table
    assert code == 0
    assert receipt["files"] == {"read": 10, "rejected": []}
    ids = [*range(100, 108), *range(150, 158), 200, 300]
    assert lake.rows("sales", "id") == [(number,) for number in sorted(ids)]
    # AND the quarantine has each bad row with its number, the reason and its text
    found = lake.quarantine("sales")
    assert set(found) == {*bad, "open_quote.csv"}
    for name, (_, check, reason, raw) in bad.items():
        [(row, named, why, text)] = found[name]
        assert (row, named) == (2, check), name
        assert reason in why
        assert text.startswith(raw) if name == "large.csv" else text == raw.replace("2.0", "2"), name
    assert len(found["large.csv"][0][3]) < 66_000
    assert "cut, 1000000" in found["large.csv"][0][3]
    assert [(row, check) for row, check, *_ in found["open_quote.csv"]] == [(2, "parse")]
    # AND the receipt counts them and shows the first few
    assert (receipt["rows"]["read"], receipt["rows"]["quarantined"]) == (18, 9)
    assert receipt["quarantined"][0] == {
        "source": "landing/cast.csv", "row": 2, "check": "parse",
        "reason": "column amount: '12 EUR' is not a valid double",
    }  # fmt: skip
    assert len(receipt["quarantined"]) == 9


def test_columns_are_found_by_name_in_each_file(lake: Any) -> None:
    # GIVEN files of one batch with their columns in different orders, plain and gzipped, one without rows
    lake.contract("sales", COLUMNS)
    files = [
        lake.land("id,name,amount\n1,ann,10\n", "a.csv"),
        lake.land("amount,id,name\n20,2,bob\n", "b.csv"),
        lake.land(lake.gzipped(" name , amount,id\ncyd,30,3\n"), "c.csv.gz"),
        lake.land("amount,name,id\n", "only_a_header.csv"),
        lake.land("\ufeffid,name,amount\n4,dan,40\n", "with_a_byte_order_mark.csv"),
        lake.land("id,name,amount\r\n5,eve,50\r\n", "from_windows.csv"),
    ]
    # WHEN
    code, [receipt] = lake.run(lake.batch("sales", 1, files))
    # THEN
    assert code == 0
    assert receipt["files"] == {"read": 6, "rejected": []}
    assert lake.rows("sales") == [
        (1, "ann", 10.0),
        (2, "bob", 20.0),
        (3, "cyd", 30.0),
        (4, "dan", 40.0),
        (5, "eve", 50.0),
    ]


def test_values_get_the_contracts_types_and_the_paths_captures(lake: Any) -> None:
    # GIVEN a contract with many types, options of its own, and captures: one is a number
    lake.contract(
        "typed",
        {
            "month": "string",
            "part": "int",
            "id": "bigint",
            "flag": "boolean",
            "day": "date",
            "at": "timestamp",
            "price": "decimal(20,4)",
            "note": "string",
        },
        captures=["month", "part"],
        options={"delimiter": ";", "null_value": "NA", "quote": "'"},
        merge={"keys": ["month", "id"]},
        partition_by=["month"],
    )
    text = (
        "id;flag;day;at;price;note\n"
        "1;true;2026-02-28;2026-02-28T10:00:00Z;1234567890123456.0001;'a;b'\n"
        "2.0;NA;NA;2026-02-28 12:00:00+02:00;NA;'it''s\non two lines'\n"
    )
    files = [
        lake.land(text, "a.csv", captures={"month": "2026-02", "part": "7"}),
        lake.land(text, "b.csv", captures={"month": "it's {odd}", "part": "8"}),
        lake.land(text, "c.csv", captures={"month": "2026-02", "part": "x"}),
    ]
    # WHEN
    _, [receipt] = lake.run(lake.batch("typed", 1, files))
    # THEN
    assert lake.reasons(receipt) == {"c.csv": "its path: column part: 'x' is not a valid int"}
    day, ten = dt.date(2026, 2, 28), dt.datetime.fromisoformat("2026-02-28T10:00:00")
    frame = lake.read("typed").drop("_tidegate").withColumn("at", lake.utc("at")).orderBy("month", "id")
    assert [tuple(row) for row in frame.collect()] == [
        ("2026-02", 7, 1, True, day, ten, Decimal("1234567890123456.0001"), "a;b"),
        ("2026-02", 7, 2, None, None, ten, None, "it's\non two lines"),
        ("it's {odd}", 8, 1, True, day, ten, Decimal("1234567890123456.0001"), "a;b"),
        ("it's {odd}", 8, 2, None, None, ten, None, "it's\non two lines"),
    ]


def test_a_value_is_quarantined_rather_than_cut(lake: Any) -> None:
    # GIVEN types in other spellings, and values that would lose something
    lake.contract("exact", {"id": "INTEGER", "price": "DECIMAL(10, 2)", "day": "date", "big": "long"})
    good = "id,price,day,big\n1,1.50,2026-01-02 00:00:00,9007199254740993\n2,2.5000,2026-01-02,-1.0\n"
    bad = {
        "price.csv": ("id,price,day,big\n1,1.505,,\n", "column price: '1.505' is not a valid decimal(10,2)"),
        "large.csv": ("id,price,day,big\n1,123456789.00,,\n", "column price: '123456789.00'"),
        "day.csv": ("id,price,day,big\n1,,2026-01-02 10:00:00,\n", "column day: '2026-01-02 10:00:00' is not"),
        "year.csv": ("id,price,day,big\n1,,292278994-01-01,\n", "column day: '292278994-01-01' is not"),
        "month.csv": ("id,price,day,big\n1,,2026-02-30,\n", "column day: '2026-02-30' is not"),
        "big.csv": ("id,price,day,big\n1,,,9223372036854775808\n", "column big: '9223372036854775808' is not"),
    }
    files = [lake.land(good, "good.csv"), *(lake.land(text, name) for name, (text, _) in bad.items())]
    # WHEN
    lake.run(lake.batch("exact", 1, files))
    # THEN
    reasons = {name: why for name, [(_, _, why, _)] in lake.quarantine("exact").items()}
    assert {name: why for name, (_, why) in bad.items() if why not in reasons.get(name, "")} == {}, reasons
    day = dt.date(2026, 1, 2)
    assert lake.rows("exact") == [(1, Decimal("1.50"), day, 9007199254740993), (2, Decimal("2.50"), day, -1)]


def test_files_without_a_header_are_read_by_position(lake: Any) -> None:
    # GIVEN
    lake.contract("bare", COLUMNS, options={"header": False, "encoding": "ISO-8859-1"})
    files = [lake.land("1,Zoë,2\n".encode("latin-1"), "a.csv"), lake.land("1,ann\n", "short.csv")]
    # WHEN
    lake.run(lake.batch("bare", 1, files))
    # THEN
    assert lake.rows("bare") == [(1, "Zoë", 2.0)]
    [(row, _, reason, raw)] = lake.quarantine("bare")["short.csv"]
    assert (row, raw) == (1, "1,ann")
    assert "has another number of fields" in reason


def test_a_row_knows_its_number_in_a_file_that_is_read_in_parts(lake: Any) -> None:
    # GIVEN a file so large that Spark divides it (line by line; with line breaks in quotes it can't)
    lake.contract("long", {"id": "int", "text": "string"}, options={"multiline": False}, merge={"keys": ["text"]})
    rows = [(number, "x" * 100 + str(number)) for number in range(1, 90_001)]
    file = lake.land(lake.csv(("id", "text"), *rows))
    # WHEN
    _, [receipt] = lake.run(lake.batch("long", 1, [file]))
    # THEN each row's position is its number in the file
    assert receipt["rows"]["inserted"] == 90_000
    assert lake.read("long").where("_tidegate.position != id").count() == 0


def test_the_culprits_among_many_are_found(lake: Any) -> None:
    # GIVEN files that break in their middle, where Spark doesn't say which file it was
    lake.contract("many", {"id": "int"})
    text = "id\n" + "".join(f"{number}\n" for number in range(30_000))
    names = [f"f{number:02d}.csv.gz" for number in range(12)]
    cut = {"f03.csv.gz", "f04.csv.gz", "f10.csv.gz"}
    whole = lake.gzipped(text)
    files = [lake.land(whole[:-15_000] if name in cut else whole, name) for name in names]
    # WHEN
    code, [receipt] = lake.run(lake.batch("many", 1, files))
    # THEN they alone are rejected
    assert code == 0
    assert set(lake.reasons(receipt)) == cut
    assert receipt["rows"]["read"] == 9 * 30_000


def test_a_thousand_small_files_are_one_job(lake: Any) -> None:
    # GIVEN
    lake.contract("many", {"id": "int"})
    files = [lake.land(f"id\n{number}\n", f"f{number}.csv") for number in range(1000)]
    batch = lake.batch("many", 1, files)
    # WHEN
    jobs = lake.count_jobs(lambda: lake.run(batch))
    # THEN
    assert lake.read("many").count() == 1000
    assert jobs < 40

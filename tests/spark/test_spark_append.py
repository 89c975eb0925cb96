"""append: "rows are replaced by source file, newest version only." (the design)"""

from __future__ import annotations

from typing import Any


def test_a_files_newest_version_is_what_the_table_has(lake: Any) -> None:
    # GIVEN versions of files, each a case of its own
    lake.contract("log", {"line": "string"}, merge={"strategy": "append", "keys": []})
    other = lake.land("line\nother\n", "other.csv")
    first = lake.land("line\none\ntwo\n", "a.csv")
    second = lake.land("line\nthree\n", "a.csv")
    third = lake.land("line\nfour\nfour\n", "a.csv")
    # WHEN the second comes, the first comes late, the second again, then the third with another file
    batches = [[second, other], [first], [second], [third, lake.land("line\nmore\n", "more.csv")]]
    code, receipts = lake.run(*(lake.batch("log", number, files) for number, files in enumerate(batches, start=1)))
    # THEN late and repeated versions insert nothing, and the newest replaces what there was
    assert code == 0, [receipt["error"] for receipt in receipts]
    assert lake.rows("log") == [("four",), ("four",), ("more",), ("other",)]
    counts = [
        (r["rows"]["read"], r["rows"]["inserted"], r["rows"]["deleted"], r["rows"]["unchanged"]) for r in receipts
    ]
    assert counts == [(2, 2, 0, 0), (2, 0, 0, 2), (1, 0, 0, 1), (3, 3, 1, 0)]
    # AND each was one commit, a plain append where nothing had to go
    assert [receipt["delta_version"] for receipt in receipts] == [1, 2, 3, 4]
    assert [receipt["plan"].split()[0] for receipt in receipts] == ["Append", "Commit", "Commit", "Append"]
    assert [receipt["table_rows"] for receipt in receipts] == [2, 2, 2, 4]


def test_a_version_without_rows_takes_the_rows_away_for_good(lake: Any) -> None:
    # GIVEN
    lake.contract("log", {"line": "string"}, merge={"strategy": "append", "keys": []})
    first, second = lake.land("line\none\n", "a.csv"), lake.land("line\ntwo\n", "a.csv")
    emptied = lake.land("line\n", "a.csv")
    # WHEN an older version comes after the one without rows
    _, receipts = lake.run(
        lake.batch("log", 1, [first]), lake.batch("log", 2, [emptied]), lake.batch("log", 3, [second])
    )
    # THEN
    assert lake.rows("log") == []
    assert [receipt["rows"]["deleted"] for receipt in receipts] == [0, 1, 0]


def test_two_versions_in_one_batch_count_as_the_newer(lake: Any) -> None:
    # GIVEN a manifest that lists both, as plan_run never should
    lake.contract("log", {"line": "string"}, merge={"strategy": "append", "keys": []})
    files = [lake.land("line\none\n", "a.csv"), lake.land("line\ntwo\n", "a.csv")]
    # WHEN
    lake.run(lake.batch("log", 1, files))
    # THEN
    assert lake.rows("log") == [("two",)]

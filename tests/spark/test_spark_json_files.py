"""JSON lines: absent is null, unknown is an error, and a line is one object."""

from __future__ import annotations

from decimal import Decimal
from typing import Any


def test_lines_that_break_the_contract_are_quarantined(lake: Any) -> None:
    # GIVEN
    lake.contract(
        "events",
        {
            "id": "int",
            "at": "timestamp",
            "price": "decimal(30,10)",
            "tags": "array<string>",
            "place": "struct<lat:double,lon:double>",
        },
        format="json",
    )
    good = (
        '\ufeff{"id": 1, "at": "2026-01-01T00:00:00Z", "price": 12345678901234567890.0123456789, '
        '"tags": ["a", "b"], "place": {"lat": 1, "lon": 2.5}}\n'
        "\n"
        '{"id": "2", "price": null}\r\n'
    )
    bad = {
        "cast.json": ('{"id": 7}\n\n{"id": "two"}\n', "column id: 'two' is not a valid int"),
        "decimal.json": (
            '{"id": 1, "price": "much"}\n',
            "column price: 'much' is not a valid decimal",
        ),
        "cut_price.json": ('{"id": 1, "price": 0.12345678901}\n', "column price: '0.12345678901' is not a valid"),
        "nested.json": ('{"id": 1, "place": {"lat": "north"}}\n', "a nested value is not of the contract's type"),
        "unknown.json": ('{"id": 1, "colour": "red"}\n', "column colour is not in the contract"),
        "null_key.json": ('{"at": null}\n', "key column id is null"),
        "twice.json": ('{"id": 1, "id": 2}\n', "names a column more than once"),
        "list.json": ('[{"id": 1}]\n', "is not one JSON object"),
        "together.json": ('{"id": 1}{"id": 2}\n', "is not one JSON object"),
        "pretty.json": ('{\n  "id": 1\n}\n', "is not one JSON object"),
        "cut.json": ('{"id": 8}\n{"id": 2, "at": "20', "is not one JSON object"),
        "text.json": ("hello\n", "is not one JSON object"),
        "latin1.json": (
            '{"id": 1, "tags": ["é"]}\n'.encode("latin-1"),
            "holds bytes that are not UTF-8",
        ),
    }
    broken = lake.land(lake.gzipped('{"id": 1}\n' * 50_000)[:-40], "cut.json.gz")
    files = [lake.land(good, "good.json"), broken, *(lake.land(text, name) for name, (text, _) in bad.items())]
    # WHEN
    code, [receipt] = lake.run(lake.batch("events", 1, files))
    # THEN
    assert code == 0
    assert set(lake.reasons(receipt)) == {"cut.json.gz"}
    found = lake.quarantine("events")
    [(_, _, why, _)] = found.pop("cut.json.gz")
    assert "can't be read to its end" in why
    reasons = {name: reason for name, [(_, _, reason, _), *_] in found.items()}
    assert {name: why for name, (_, why) in bad.items() if why not in reasons.get(name, "")} == {}, reasons
    assert set(reasons) == set(bad)
    # AND each with its line and the text as it came
    assert found["cast.json"] == [(3, "parse", reasons["cast.json"], '{"id": "two"}')]
    assert found["null_key.json"] == [(1, "key", "key column id is null", '{"at": null}')]
    assert [row for row, *_ in found["pretty.json"]] == [1, 2, 3]
    assert lake.rows("events", "id", "price", "tags", "place.lat") == [
        (1, Decimal("12345678901234567890.0123456789"), ["a", "b"], 1.0),
        (2, None, None, None),
        (7, None, None, None),  # a good line of a file with a bad one
        (8, None, None, None),
    ]
    assert receipt["rows"]["read"] == 4
    assert receipt["rows"]["quarantined"] == 15

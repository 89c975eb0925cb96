"""Each strategy's page has a worked example, which is what happens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from examples import read_example
from readers import readers_that_differ
from tidegate_cli.contracts.check import check_texts
from tidegate_cli.contracts.compile import compile_contract

PAGES = sorted((Path(__file__).parents[2] / "docs" / "strategies").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_the_worked_example_of_a_page_is_what_happens(page: Path, lake: Any) -> None:
    # GIVEN the page's contract and files
    example = read_example(page)
    checked = check_texts([(f"{page.name}.yaml", example.contract.encode())])
    assert not checked.errors, [str(finding) for finding in checked.errors]
    (contract,) = checked.contracts
    compiled = compile_contract(contract)
    lake.contracts[contract.table] = compiled
    assert example.batches
    assert {table.after for table in example.tables if table.of is None} == example.batches.keys()
    for number, files in sorted(example.batches.items()):
        # WHEN a batch is merged
        entries = [land(lake, file.key, file.content, compiled) for file in files]
        code, receipts = lake.run(lake.batch(contract.table, number, entries), run_id=f"run-{number}")
        assert code == 0, receipts[0]["error"]
        # THEN the table is what the page shows
        for table in example.tables:
            if table.after == number:
                name = contract.table if table.of is None else f"{contract.table}__{table.of}"
                check(lake, name, table.columns, table.rows)
    # AND engines that are not ours read the same
    assert readers_that_differ(lake, contract.table) == []


def land(lake: Any, key: str, content: str, compiled: dict[str, Any]) -> dict[str, Any]:
    landed = lake.landed
    found = re.fullmatch(compiled["landing_regex"], key) or re.fullmatch(compiled.get("marker_regex") or "-", key)
    assert found, f"{key} is no file of {compiled['landing']}"
    entry: dict[str, Any] = lake.land(
        content,
        Path(key).name,
        key=key,
        captures={name: value for name, value in found.groupdict().items() if name in compiled["captures"]},
        event_time=f"2026-01-01T00:{landed:02d}:00.000Z",
    )
    if not re.fullmatch(compiled["landing_regex"], key):
        entry["marker"] = True
    return entry


def check(lake: Any, name: str, columns: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> None:
    frame = lake.read(name)
    if "__" not in name:
        assert tuple(c for c in frame.columns if c != "_tidegate") == columns
    zone = lake.spark.conf.get("spark.sql.session.timeZone")
    lake.spark.conf.set("spark.sql.session.timeZone", "UTC")
    try:
        found = frame.selectExpr(*(f"coalesce(cast({column} AS string), 'null')" for column in columns)).collect()
    finally:
        lake.spark.conf.set("spark.sql.session.timeZone", zone)
    assert sorted(tuple(row) for row in found) == sorted(rows), name


def test_every_strategy_has_a_page() -> None:
    assert {page.stem for page in PAGES} >= {"append", "upsert", "cdc", "scd2", "snapshot", "bitemporal"}


def test_an_example_without_a_table_is_none(tmp_path: Path) -> None:
    # A page whose blocks are misspelt must not pass for one without an example.
    page = tmp_path / "page.md"
    page.write_text("```yaml contrct\na: 1\n```\n")
    with pytest.raises(ValueError, match="yaml contrct"):
        read_example(page)

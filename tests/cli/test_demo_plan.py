"""The demo's plan: what lands, what must come of it, and when tables count as wrong."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest
from tidegate_cli.contracts.check import check_folder
from tidegate_cli.contracts.compile import compile_contract
from tidegate_cli.demo import plan, source, verdict

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def data() -> source.Source:
    return source.load()


@pytest.fixture(scope="module")
def waves(data: source.Source) -> list[plan.Wave]:
    return plan.waves(data)


@pytest.fixture(scope="module")
def wanted(waves: list[plan.Wave]) -> dict[str, pd.DataFrame]:
    return plan.expected(waves)


def test_the_data_are_those_that_the_readme_names(data: source.Source) -> None:
    assert len(data.flights) == 336_776
    assert len(data.months) == 12
    assert not data.flights.duplicated(["month", "flight_id"]).any()


def test_every_file_has_the_columns_of_its_contract(waves: list[plan.Wave]) -> None:
    contracts = {c.table: compile_contract(c) for c in check_folder(ROOT / "tables").contracts}
    for wave in waves:
        for delivery in wave.deliveries:
            if delivery.raw is not None:
                continue
            contract = contracts[delivery.key.split("/")[0]]
            columns = {column["name"] for column in contract["columns"]} - set(contract["captures"])
            header = delivery.body.split(b"\n", 1)[0].decode().split(",")
            assert set(header) == columns, delivery.key


def test_every_key_belongs_to_the_table_that_the_plan_says(waves: list[plan.Wave]) -> None:
    from tidegate.contracts import parse_contracts
    from tidegate_cli.contracts.compile import compile_contracts

    contracts = parse_contracts(compile_contracts(check_folder(ROOT / "tables").contracts).decode())
    for delivery in itertools.chain.from_iterable(wave.deliveries for wave in waves):
        found = contracts.of_key(delivery.key)
        if delivery.key.startswith("hotels/"):
            assert found is None
        else:
            assert found is not None
            assert found[0].table == delivery.key.split("/")[0]


def test_the_broken_file_is_broken_as_its_note_says(waves: list[plan.Wave]) -> None:
    (broken,) = (d for d in waves[1].deliveries if d.key.endswith("broken.csv"))
    rows = pd.read_csv(io.BytesIO(broken.body), dtype=str)
    assert list(rows.index[rows["dep_delay"] == "soon"]) == [20]
    assert "row 21" in broken.note
    # AND the table must get all others of its rows
    assert broken.table == "flights"
    assert len(broken.rows) == len(rows) - 1
    assert rows["flight_id"][20] not in set(broken.rows["flight_id"])


def test_what_must_come_of_it(wanted: dict[str, pd.DataFrame], data: source.Source) -> None:
    # 40 extra flights; a day of three airports' weather less; everything else changes in place
    assert {table: len(rows) for table, rows in wanted.items()} == {
        "flights": 336_776 + 40,
        "airlines": 16,
        "airports": 1458,
        "planes": 3322,
        "weather": 26_115 - 24,
    }
    july = wanted["flights"].query("month == '2013-07' and updated_at > '2013-08-03'")
    assert set(july["updated_at"]) == {"2013-08-20T06:00:00Z"}, "the newest correction wins, though it landed first"
    february = wanted["flights"].query("month == '2013-02' and updated_at > '2013-03-03'")
    assert february["updated_at"].value_counts().to_dict() == {
        "2013-03-06T06:00:00Z": 200,
        "2013-03-05T06:00:00Z": 100,
    }, "both versions of the overwritten key count"


def test_any_order_of_the_flights_gives_the_same_table(waves: list[plan.Wave]) -> None:
    """Design: "Any order, repetition and batching of the same arrivals give the same table." """
    changes = [
        delivery.rows
        for delivery in itertools.chain.from_iterable(wave.deliveries for wave in waves[1:])
        if delivery.table == "flights"
    ]
    keys = plan.KEYS["flights"]
    forwards, backwards = (
        plan.newest_by_key(each, keys).sort_values(keys).reset_index(drop=True)
        for each in (changes, [*reversed(changes), *changes])
    )
    pd.testing.assert_frame_equal(forwards, backwards)


class TestVerdict:
    TABLES: ClassVar = {
        "planes": pd.DataFrame({"tailnum": ["a", "b"], "seats": ["5", ""], "year": ["1999", ""], "speed": ["", ""]})
    }

    def judged(self, rows: verdict.Rows) -> verdict.Verdict:
        (check,) = (check for check in plan.checks() if check.table == "planes")
        (found,) = verdict.judge([check], self.TABLES, lambda _: rows)
        return found

    def test_equal_sums_agree(self) -> None:
        assert self.judged([(2, 5, 1999, 0)]).agrees

    @pytest.mark.parametrize("rows", [[(2, 6, 1999, 0)], [], [(2, 5, 1999, 0), (2, 5, 1999, 0)], [(2, None, 1999, 0)]])
    def test_anything_else_does_not(self, rows: verdict.Rows) -> None:
        assert not self.judged(rows).agrees


@pytest.mark.parametrize(
    ("month", "delivered"), [("2013-01", "2013-02-02T06:00:00Z"), ("2013-12", "2014-01-02T06:00:00Z")]
)
def test_a_month_is_delivered_in_the_next(month: str, delivered: str) -> None:
    assert source.first_delivery(month) == delivered

"""as_of(valid, known): the same rows in Spark, in the command's query, and in DuckDB."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from readers import by_duckdb
from tidegate_cli.adapters.lake import InvalidQuery, UnknownTable
from tidegate_cli.adapters.lake import Lake as CliLake
from tidegate_spark import as_of

FILES = (
    "product,since,until,price,recorded,op\ntea,2026-01-01,,4.00,2026-01-05,I\nmilk,,,1.00,2026-01-05,I\n",
    "product,since,until,price,recorded,op\ntea,2026-02-01,,4.50,2026-01-20,U\nmilk,2026-02-01,,,2026-01-20,D\n",
    "product,since,until,price,recorded,op\ntea,2026-01-15,2026-02-01,4.20,2026-03-01,U\n"
    "tea,2026-03-01,2026-04-01,,2026-03-01,D\ntea,2026-05-01,2026-05-01,7,2026-03-01,U\n",
)
TEA_AS_OF = {
    "'2026-01-20', '2026-02-10'": ["4.00"],
    "'2026-01-20'": ["4.20"],
    "'2026-03-15', '2026-02-10'": ["4.50"],
    "'2026-03-15'": [],
    # A row a rectangle: what was cut later stays cut, whenever one looks from.
    "NULL, '2026-02-10'": ["4.00", "4.00", "4.50", "4.50", "4.50"],
    "'2026-02-01', '2026-01-20'": ["4.50"],
    "'2026-01-31', '2026-01-04'": [],
}
"""The first day of an interval is in it, the last is not."""


@pytest.fixture(params=["rewritten", "marked"])
def prices(lake: Any, request: pytest.FixtureRequest) -> Any:
    """A lake with the table `prices`, made by three batches, which rewrite its files or mark their rows."""
    lake.contract(
        "prices",
        {"product": "string", "since": "date", "until": "date", "price": "decimal(8,2)", "recorded": "date"},
        reads=[{"name": "op", "type": "string"}],
        merge={
            **{"strategy": "bitemporal", "keys": ["product"], "sequence_by": "recorded"},
            **{"valid_from": "since", "valid_to": "until", "delete_when": "op = 'D'"},
        },
    )
    batches = [lake.batch("prices", at, [lake.land(text, f"{at}.csv")]) for at, text in enumerate(FILES, start=1)]
    code, receipts = lake.run(batches[0])
    if request.param == "marked":
        vectors = "('delta.enableDeletionVectors' = 'true')"
        lake.spark.sql(f"ALTER TABLE delta.`{lake.target('prices')}` SET TBLPROPERTIES {vectors}")
    also, more = lake.run(*batches[1:])
    assert code == also == 0, [receipt["error"] for receipt in receipts + more]
    return lake


def test_as_of_is_the_same_in_every_engine(prices: Any) -> None:
    # GIVEN a table that Spark wrote, known to a session and to the command
    prices.read("prices").createOrReplaceTempView("prices")
    folder = Path(prices.folder) / "lake" / "prices"
    command = CliLake(str(prices.folder / "lake"))
    for moments, wanted in TEA_AS_OF.items():
        # WHEN each is asked THEN it says the same
        query = f"SELECT price FROM as_of(prices, {moments}) AS p WHERE p.product = 'tea' ORDER BY price"
        in_spark = [str(row["price"]) for row in as_of.sql(prices.spark, query).collect()]
        by_command = [str(row[0]) for row in command.query(query).rows]
        # DuckDB has no as_of: there it is the condition that the docs give.
        valid, known = (*(None if m == "NULL" else m for m in moments.split(", ")), None, None)[:2]
        parts = ["product = 'tea'"]
        parts += [f"(since IS NULL OR since <= {valid}) AND (until IS NULL OR {valid} < until)"] if valid else []
        parts += [
            f"(known_from IS NULL OR known_from <= {known}) AND (known_to IS NULL OR {known} < known_to)"
            if known
            else "known_to IS NULL"
        ]
        in_duckdb = [
            str(row[0]) for row in by_duckdb(folder, f"SELECT price FROM t WHERE {' AND '.join(parts)} ORDER BY 1")
        ]
        assert in_spark == by_command == in_duckdb == wanted, moments
    # AND in Python
    frame = as_of.as_of(prices.read("prices"), dt.date(2026, 1, 20), known="2026-02-10").where("product = 'tea'")
    assert [row["price"] for row in frame.collect()] == [Decimal("4.00")]
    # AND what is so now has a view
    view = as_of.now_view("prices", prices.read("prices").schema)
    prices.spark.sql(view.replace("CREATE OR REPLACE VIEW", "CREATE OR REPLACE TEMP VIEW"))
    in_spark = [tuple(row) for row in prices.spark.sql("SELECT * FROM prices__now").collect()]
    assert in_spark == list(command.query("select * from prices__now").rows)
    assert [row[:4] for row in in_spark] == [("tea", dt.date(2026, 4, 1), None, Decimal("4.50"))]
    # AND the change of an empty period is in none of the tables
    assert not prices.read("prices").where("price = 7").count()

    # WHEN it is asked for what can't be THEN it is said
    with pytest.raises(as_of.NotAsOf, match="'soon', which is not a date, as column since is"):
        as_of.sql(prices.spark, "SELECT * FROM as_of(prices, 'soon')")
    with pytest.raises(as_of.NotAsOf, match="constant expressions of type date"):
        as_of.sql(prices.spark, "SELECT * FROM as_of(prices, since)")
    with pytest.raises(as_of.NotAsOf, match="which is not a date"):
        as_of.as_of(prices.read("prices"), valid="2026-01-20') OR ('1' = '1")
    with pytest.raises(as_of.NotAsOf, match="no columns that hold the bounds"):
        as_of.as_of(prices.spark.range(1), valid=1)
    with pytest.raises(InvalidQuery, match="soon"):
        command.query("select * from as_of(prices, 'soon')")
    with pytest.raises(UnknownTable):
        command.query("select * from as_of(pricez, '2026-01-01')")

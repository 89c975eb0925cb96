"""The catalog's adapter and its fake keep to one contract."""

from typing import Any

import pytest
from fakes.ministack import Beside
from tidegate.adapters.catalog import GlueCatalog
from tidegate.errors import NotRegistered
from tidegate.ports import Catalog

ENTRY: dict[str, Any] = {
    "Name": "flights",
    "TableType": "EXTERNAL_TABLE",
    "StorageDescriptor": {"Columns": [{"Name": "id", "Type": "string"}], "Location": "s3://lake/flights"},
    "PartitionKeys": [],
    "Parameters": {"tidegate.table": "flights"},
}


def moved(to: str) -> dict[str, Any]:
    return {**ENTRY, "StorageDescriptor": {**ENTRY["StorageDescriptor"], "Location": to}}


def place(catalog: Catalog) -> str:
    found = catalog.entry("flights")
    assert found is not None
    return str(found.table_input["StorageDescriptor"]["Location"])


def test_an_entry_is_made_once(catalog: Catalog) -> None:
    assert catalog.entry("flights") is None
    assert catalog.create(ENTRY) is True
    assert catalog.create(moved("s3://elsewhere")) is False
    assert place(catalog) == "s3://lake/flights"


def test_an_entry_is_written_over_as_it_was_read(catalog: Catalog) -> None:
    catalog.create(ENTRY)
    found = catalog.entry("flights")
    assert found is not None
    assert catalog.update(moved("s3://new"), found.version) is True
    assert place(catalog) == "s3://new"


def test_one_that_somebody_has_changed_since_is_not_written_over(catalog: Catalog) -> None:
    catalog.create(ENTRY)
    found = catalog.entry("flights")
    assert found is not None
    catalog.update(moved("s3://theirs"), found.version)
    assert catalog.update(moved("s3://ours"), found.version) is False
    assert place(catalog) == "s3://theirs"


def test_one_that_is_gone_is_not_written_over(catalog: Catalog) -> None:
    assert catalog.update(ENTRY, "1") is False


def test_whatever_else_goes_wrong_is_said_of_the_entry(beside: Beside) -> None:
    catalog = GlueCatalog("nobodys")
    assert catalog.entry("flights") is None
    with pytest.raises(NotRegistered, match=r"glue:CreateTable of nobodys\.flights: .*Database nobodys not found"):
        catalog.create(ENTRY)

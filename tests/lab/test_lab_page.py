"""docs/lab.md takes the tables that the command makes."""

from pathlib import Path

import pytest
from tidegate_lab.page import with_parts

PAGE = Path(__file__).resolve().parents[2] / "docs" / "lab.md"


def test_a_part_is_put_between_its_marks_and_nothing_else_is_changed() -> None:
    page = "before\n<!-- table -->\n| old |\n<!-- end of table -->\nafter\n"
    made = with_parts(page, {"table": "| 1 \\1 |\n"})
    assert made == "before\n<!-- table -->\n| 1 \\1 |\n<!-- end of table -->\nafter\n"


def test_the_page_has_a_place_for_each_part() -> None:
    parts = {"table": "a\n", "goals": "b\n", "what if": "c\n"}
    assert with_parts(PAGE.read_text(), parts) != PAGE.read_text()


def test_marks_that_are_missing_are_named() -> None:
    with pytest.raises(ValueError, match="no marks for goals"):
        with_parts("<!-- table -->\n<!-- end of table -->", {"goals": ""})

"""A contract against the table that is there: what may change by itself, and what a person has to decide.

Nothing here touches a table. What is safe: a column more, for which old rows are null; and a type that holds every
value of the old one exactly.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tidegate_spark.origin import ORIGIN

Rule = Literal["strict", "add_columns", "widen"]
UNKNOWN = "Not in the contract: files brought this column"
"""The comment of a column that files brought and no contract names: what says so is part of the column itself."""
_ADOPTABLE = frozenset({"append", "upsert", "cdc"})
_DIGITS = {"tinyint": 3, "smallint": 5, "int": 10, "bigint": 19}
_WIDER_THAN = {
    "tinyint": ("smallint", "int", "bigint"),
    "smallint": ("int", "bigint"),
    "int": ("bigint",),
    "float": ("double",),
}
_DECIMAL = re.compile(r"decimal\((\d+),(\d+)\)")
ELSE = "use another table name for the contract, and land its files again"
"""A replay won't do: it finds files by the table that has merged them, which is the old one."""


@dataclass(frozen=True)
class Field:
    """A column of a table or of a contract; its type by Spark's short name."""

    name: str
    type: str
    is_unknown: bool = False
    """Files brought it; no contract named it then."""
    is_added: bool = False
    """Of a contract: its strategy adds it, it is no data of anybody's."""


@dataclass(frozen=True)
class Evolution:
    """What a contract asks of its table."""

    add: tuple[Field, ...] = ()
    widen: tuple[Field, ...] = ()
    """With their new types."""
    extra: tuple[Field, ...] = ()
    """Columns that the table has because files brought them: merges carry them."""
    faults: tuple[str, ...] = ()
    """Why the table isn't touched, each with what to do."""


def compare(
    asked: Sequence[Field],
    there: Sequence[Field],
    *,
    rule: Rule,
    strategy: str,
    partial_updates: bool = False,
) -> Evolution:
    """Compare the columns that a contract's table must have with those that there are."""
    found = {field.name: field for field in there}
    by_case = {field.name.lower(): field.name for field in there}
    named = {field.name for field in asked}
    add: list[Field] = []
    widen: list[Field] = []
    faults: list[str] = []
    for field in asked:
        if field.name in found:
            old = found[field.name]
            if old.type == field.type:
                continue
            fault = _change_of_type(old, field, rule)
            if fault is None:
                widen.append(field)
            else:
                faults.append(fault)
        elif field.name == ORIGIN:
            fault = _adoption(strategy, partial_updates=partial_updates)
            if fault is None:
                add.append(field)
            else:
                faults.append(fault)
        elif field.name.lower() in by_case:
            faults.append(
                f"column {field.name} is {by_case[field.name.lower()]} in the table, and Spark doesn't tell the two "
                "apart: write it as the table does"
            )
        elif field.is_added:
            faults.append(
                f"column {field.name}, which the strategy {strategy} adds, is not in the table: it was made for "
                f"another strategy; {ELSE}"
            )
        elif rule == "strict":
            faults.append(
                f"column {field.name} {field.type} is not in the table: write `evolution: add_columns` into the "
                "contract to have it added"
            )
        else:
            add.append(field)
    extra = tuple(field for field in there if field.name not in named and field.is_unknown)
    faults.extend(
        f"column {field.name} {field.type} is not in the contract: name it there again, or drop it from the table"
        for field in there
        if field.name not in named and not field.is_unknown
    )
    return Evolution(tuple(add), tuple(widen), extra, tuple(sorted(faults)))


def is_widening(old: str, new: str) -> bool:
    """Does type `new` hold every value of type `old` exactly?"""
    if new in _WIDER_THAN.get(old, ()):
        return True
    wanted = _DECIMAL.fullmatch(new)
    if wanted is None:
        return False
    precision, scale = int(wanted[1]), int(wanted[2])
    if old in _DIGITS:
        return precision - scale >= _DIGITS[old]
    given = _DECIMAL.fullmatch(old)
    if given is None:
        return False
    digits, places = int(given[1]), int(given[2])
    return scale >= places and precision - scale >= digits - places


def _change_of_type(old: Field, new: Field, rule: Rule) -> str | None:
    """Why the change isn't made; None if it is."""
    change = f"column {new.name} is {old.type} in the table and {new.type} in the contract"
    if new.name == ORIGIN:
        return f"{change}: the table was made for another kind of merge (partial updates); {ELSE}"
    if old.is_unknown and old.type == "string":
        return f"{change}: files brought it before the contract named it, so it holds texts; write string, or {ELSE}"
    if not is_widening(old.type, new.type):
        return f"{change}: not every value would stay as it is; write {old.type}, or {ELSE}"
    if rule != "widen":
        return f"{change}: write `evolution: widen` into the contract to have the table rewritten"
    return None


def _adoption(strategy: str, *, partial_updates: bool) -> str | None:
    """Why a table that Tidegate didn't make can't get its column; None if it can."""
    if strategy not in _ADOPTABLE or partial_updates:
        kind = "partial updates" if partial_updates else strategy
        return (
            f"it has no column {ORIGIN}, so Tidegate didn't make it, and {kind} needs a history of each row that it "
            f"doesn't have; {ELSE}"
        )
    return None

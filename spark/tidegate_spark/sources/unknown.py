"""Columns that files bring and the contract doesn't name: refused, or kept as text where it lets them be added.

A new column has its name in lower case: files that write it in other ways mean one column, whichever comes first.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from pyspark.sql import Column
from pyspark.sql import functions as sf

from tidegate_spark.work import Contract

ADDABLE = "[A-Za-z][A-Za-z0-9_]{0,127}"
RESERVED = ("valid_from", "valid_to", "is_current", "known_from", "known_to")
"""Names that a strategy may add to a table."""
FIT_NAMES = (
    "a new name begins with a letter, goes on with letters, digits and _, differs from the contract's by more than "
    f"upper and lower case, and is none of {', '.join(RESERVED)}"
)
WHAT_TO_DO = "Send the file with the contract's columns, or change the contract"


def are_welcome(contract: Contract) -> bool:
    """May files bring columns that the contract doesn't name?"""
    return contract.evolution != "strict"


def faults_of(names: Sequence[str], contract: Contract, *, where: str = "file") -> list[str]:
    """What is wrong with these names of a file's columns; no word on those that are missing."""
    expected = [column.name for column in contract.file_columns]
    unknown = [name for name in names if name not in expected]
    if not unknown:
        return []
    if not are_welcome(contract):
        of_header = " in the header" if where == "header" else ""
        return [f"column {listed(unknown)}{of_header} is not in the contract"]
    faults = []
    if unfit := [name for name in unknown if not _may_be_added(name)]:
        faults.append(f"column {listed(unfit)} can't be added to the table: {FIT_NAMES}")
    taken = Counter(name.lower() for name in [*names, *_others(contract)])
    if alike := sorted(name for name in unknown if taken[name.lower()] > 1):
        faults.append(f"column {listed(alike)} has the name of another one, upper and lower case aside")
    return faults


def unfit_in(found: Column, contract: Contract) -> Column:
    """The names among `found`, an array of names which the contract doesn't know, that can't become columns."""
    taken = {name.lower() for name in (*RESERVED, *(c.name for c in contract.file_columns), *_others(contract))}
    return sf.filter(found, lambda name: ~name.rlike(f"^{ADDABLE}$") | sf.lower(name).isin(sorted(taken)))


def as_map(names: Sequence[str], contract: Contract, text: dict[str, Column]) -> Column | None:
    """The values of a file's unknown columns by their names; None if it has none."""
    expected = {column.name for column in contract.file_columns}
    unknown = [name for name in names if name not in expected]
    if not unknown or not are_welcome(contract):
        return None
    return sf.create_map(*(part for name in unknown for part in (sf.lit(name.lower()), text[name])))


def listed(names: Sequence[str]) -> str:
    """At most eight names, none of them long."""
    shown = ", ".join(repr(name[:60]) for name in names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"


def _may_be_added(name: str) -> bool:
    return re.fullmatch(ADDABLE, name) is not None and name.lower() not in RESERVED


def _others(contract: Contract) -> list[str]:
    """Names of the table and the paths, which no file brings."""
    of_files = {column.name for column in contract.file_columns}
    named = {*(column.name for column in (*contract.columns, *contract.reads)), *contract.captures}
    return sorted(named - of_files)

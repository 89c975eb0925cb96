"""What must hold between the fields of a contract, and between contracts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations

from tidegate_cli.contracts import landing, types
from tidegate_cli.contracts.findings import Remark, did_you_mean
from tidegate_cli.contracts.model import Contract

RESERVED_PREFIX = "_tidegate"
RESERVED = frozenset({"_metadata", "_change_type", "_commit_version", "_commit_timestamp"})
"""Names that Spark and Delta give to columns of their own."""
_COLUMN = re.compile(r"[^\W\d]\w*")


def remarks(contract: Contract) -> Iterator[Remark]:
    """Everything that is wrong within one contract whose fields are each right."""
    yield from _format(contract)
    yield from _columns(contract)
    yield from _captures(contract)
    yield from _merge(contract)
    yield from _partitions(contract)


def _format(contract: Contract) -> Iterator[Remark]:
    form = contract.format
    if form.type == "csv" and form.quote in form.delimiter:
        yield Remark(("format", "delimiter"), f"{form.delimiter!r} is the quote, too; give each its own character")


def _columns(contract: Contract) -> Iterator[Remark]:
    seen: dict[str, str] = {}
    for name, ddl in contract.columns.items():
        path = ("columns", name)
        if not _COLUMN.fullmatch(name):
            fixed = re.sub(r"\W+", "_", name).strip("_") or "column"
            fixed = f"c_{fixed}" if fixed[0].isdigit() else fixed
            yield Remark(path, f"cannot be a column's name; letters, digits and '_', such as {fixed!r}")
        if name.lower().startswith(RESERVED_PREFIX):
            yield Remark(path, "is reserved: Tidegate keeps the origin of each row in _tidegate; use another name")
        if name.lower() in RESERVED:
            yield Remark(path, "is reserved by Spark and Delta; use another name")
        if name.lower() in seen:
            yield Remark(
                path,
                f"differs from {seen[name.lower()]!r} by case alone, which Spark does not see; rename one",
            )
        seen.setdefault(name.lower(), name)
        if contract.format.type == "csv" and not types.parse(ddl).is_text_like:
            yield Remark(path, f"{ddl} cannot be written in CSV; use string, or json or parquet as the format")


def _captures(contract: Contract) -> Iterator[Remark]:
    captures = landing.parse(contract.landing).captures
    for name in captures:
        if name not in contract.columns:
            yield Remark(
                ("landing",),
                f"{{{name}}} is not among the columns, so its value is not kept (write * if that is meant)"
                + did_you_mean(name, contract.columns),
                "warning",
            )
        elif not types.parse(contract.columns[name]).is_text_like:
            yield Remark(
                ("columns", name),
                f"comes from the path, which holds no {contract.columns[name]}; write string",
            )
    if set(contract.columns) <= set(captures):
        yield Remark(("columns",), "all come from the path; name those that the files hold")


def _merge(contract: Contract) -> Iterator[Remark]:
    merge = contract.merge
    if merge.strategy == "append":
        if merge.keys:
            yield Remark(("merge", "keys"), "append keeps every row, so it has no keys; remove them, or use upsert")
        if merge.sequence_by is not None:
            yield Remark(("merge", "sequence_by"), "append keeps every row; remove it, or use upsert")
        return
    if not merge.keys:
        yield Remark(("merge", "keys"), "upsert needs them: the columns that tell rows apart, such as [id]")
    yield from _are_columns(contract, ("merge", "keys"), merge.keys)
    for position, key in enumerate(merge.keys):
        kind = types.parse(contract.columns[key]).kind if key in contract.columns else ""
        if kind in types.NESTED or kind == "binary":
            yield Remark(
                ("merge", "keys", position),
                f"{key!r} is {kind}, which cannot be compared; use another column",
            )
        if kind in ("float", "double"):
            yield Remark(
                ("merge", "keys", position),
                f"{key!r} is {kind}: two numbers that look equal may differ; decimal(p,s) or string is safer",
                "warning",
            )
    sequence = merge.sequence_by
    if sequence is None:
        return
    if sequence not in contract.columns:
        yield Remark(("merge", "sequence_by"), _not_a_column(sequence, contract))
    elif types.parse(contract.columns[sequence]).is_nested:
        yield Remark(("merge", "sequence_by"), f"{sequence!r} is {contract.columns[sequence]}, which has no order")
    elif sequence in merge.keys:
        yield Remark(
            ("merge", "sequence_by"),
            f"{sequence!r} is one of the keys, so the changes of a row never differ in it; use another",
        )


def _partitions(contract: Contract) -> Iterator[Remark]:
    yield from _are_columns(contract, ("partition_by",), contract.partition_by)
    for position, name in enumerate(contract.partition_by):
        if name not in contract.columns:
            continue
        path = ("partition_by", position)
        if not types.parse(contract.columns[name]).is_text_like:
            yield Remark(path, f"{name!r} is {contract.columns[name]}, which cannot name a folder; use another column")
        if name == contract.merge.sequence_by:
            yield Remark(path, f"{name!r} grows with each change, so each merge would make new folders", "warning")
        if contract.merge.strategy == "upsert" and contract.merge.keys and name not in contract.merge.keys:
            yield Remark(
                path,
                f"{name!r} is not among merge.keys, so a merge cannot skip files by it: the row of a key"
                " may stand in any folder, and every merge searches the whole table; add it to the keys if it"
                " never changes for a key",
                "warning",
            )
    if len(set(contract.partition_by)) == len(contract.columns):
        yield Remark(("partition_by",), "names all columns, and Delta needs one that is not; remove one")


def _are_columns(contract: Contract, path: tuple[str, ...], names: Sequence[str]) -> Iterator[Remark]:
    for position, name in enumerate(names):
        if name in names[:position]:
            yield Remark((*path, position), f"{name!r} stands there twice; remove one")
        elif name not in contract.columns:
            yield Remark((*path, position), _not_a_column(name, contract))


def _not_a_column(name: str, contract: Contract) -> str:
    columns = ", ".join(list(contract.columns)[:8]) + (", ..." if len(contract.columns) > 8 else "")
    return f"{name!r} is not a column{did_you_mean(name, contract.columns) or f' (columns: {columns})'}"


def duplicates(contracts: Sequence[Contract]) -> Iterator[tuple[int, int]]:
    """Pairs of positions whose contracts have one table's name."""
    for (i, one), (j, other) in combinations(enumerate(contracts), 2):
        if one.table == other.table:
            yield i, j


def overlaps(contracts: Sequence[Contract]) -> Iterator[tuple[int, int, str]]:
    """Pairs of positions whose landing patterns match one key, and such a key."""
    patterns = [landing.parse(contract.landing) for contract in contracts]
    for (i, one), (j, other) in combinations(enumerate(patterns), 2):
        key = landing.common_key(one, other)
        if key is not None:
            yield i, j, key

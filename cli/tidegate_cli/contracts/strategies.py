"""Which fields belong to which strategy, and what must hold among them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from tidegate_cli.contracts import landing, types
from tidegate_cli.contracts.findings import Remark, did_you_mean, one_of
from tidegate_cli.contracts.model import Contract
from tidegate_cli.contracts.transform import METADATA_COLUMNS

_DELETES = ("cdc", "scd2", "bitemporal")
FIELDS: Mapping[str, tuple[tuple[str, ...], Mapping[str, str]]] = {
    "keys": (
        ("upsert", "cdc", "scd2", "snapshot", "bitemporal"),
        {"append": "append keeps every row, so it has no keys; remove them, or use upsert"},
    ),
    "sequence_by": (
        ("upsert", "cdc", "scd2", "snapshot", "bitemporal"),
        {"append": "append keeps every row; remove it, or use upsert"},
    ),
    "delete_when": (
        _DELETES,
        {
            "append": "append keeps every row; remove it, or leave rows out with the transform's WHERE",
            "upsert": "upsert deletes nothing; write strategy: cdc",
            "snapshot": "a snapshot deletes what is missing from it; remove it, or use cdc",
        },
    ),
    "partial_updates": (("cdc",), {}),
    "ignore_null_updates": (("cdc",), {}),
    "track_columns": (
        ("scd2",),
        {"snapshot": "with keep_history every column but the keys is tracked; remove it, or use scd2"},
    ),
    "valid_from": (("bitemporal",), {"scd2": "scd2 makes that column itself; remove it, or use bitemporal"}),
    "valid_to": (("bitemporal",), {"scd2": "scd2 makes that column itself; remove it, or use bitemporal"}),
    "snapshot": (("snapshot",), {}),
}
"""A field of `merge`: the strategies that it belongs to, and what to write instead with others."""
ADDED: Mapping[str, tuple[str, ...]] = {
    "scd2": ("valid_from", "valid_to", "is_current"),
    "snapshot": ("valid_from", "valid_to", "is_current"),
    "bitemporal": ("known_from", "known_to"),
}
"""Columns that a strategy adds to the table; `snapshot` with `keep_history` alone."""
_PERIODS = frozenset({"date", "timestamp", "timestamp_ntz", "tinyint", "smallint", "int", "bigint", "decimal"})


def added_columns(contract: Contract) -> tuple[str, ...]:
    """The columns that the contract's strategy adds to the table."""
    merge = contract.merge
    if merge.strategy == "snapshot" and not (merge.snapshot and merge.snapshot.keep_history):
        return ()
    return ADDED.get(merge.strategy, ())


def remarks(contract: Contract) -> Iterator[Remark]:
    """Everything that is wrong with `merge`, and with what belongs to it."""
    yield from _belonging(contract)
    yield from _added(contract)
    merge = contract.merge
    if merge.strategy == "append":
        return
    if not merge.keys:
        yield Remark(("merge", "keys"), f"{merge.strategy} needs them: the columns that tell rows apart, such as [id]")
    yield from are_columns(contract, ("merge", "keys"), merge.keys)
    yield from _keys(contract)
    yield from _sequence(contract)
    of_strategy = {"cdc": _cdc, "scd2": _scd2, "snapshot": _snapshot, "bitemporal": _bitemporal}.get(merge.strategy)
    if of_strategy:
        yield from of_strategy(contract)


def _belonging(contract: Contract) -> Iterator[Remark]:
    merge, strategy = contract.merge, contract.merge.strategy
    for field, (strategies, instead) in FIELDS.items():
        if strategy not in strategies and getattr(merge, field):
            belongs = f"belongs to {one_of(strategies)}, not to {strategy}; remove it"
            yield Remark(("merge", field), instead.get(strategy, belongs))
    if strategy != "cdc" and "tombstones" in contract.model_fields_set:
        yield Remark(("tombstones",), f"belongs to cdc; {strategy} has no tombstones, so remove it")
    if merge.ignore_null_updates and not merge.partial_updates and strategy == "cdc":
        yield Remark(
            ("merge", "ignore_null_updates"),
            "is for partial updates; write partial_updates: true as well, or remove it",
        )


def _added(contract: Contract) -> Iterator[Remark]:
    added = added_columns(contract)
    for name in contract.columns:
        if name.lower() in added:
            yield Remark(
                ("columns", name),
                f"is a column that {contract.merge.strategy} adds to the table by itself; use another name,"
                f" such as '{name}_in_source'",
            )


def _keys(contract: Contract) -> Iterator[Remark]:
    for position, key in enumerate(contract.merge.keys):
        path = ("merge", "keys", position)
        kind = types.parse(contract.columns[key]).kind if key in contract.columns else ""
        if key in METADATA_COLUMNS:
            yield Remark(path, f"{key!r} says where a row came from, not which row it is; use another column")
        if kind in types.NESTED or kind == "binary":
            yield Remark(path, f"{key!r} is {kind}, which cannot be compared; use another column")
        if kind in ("float", "double"):
            yield Remark(
                path,
                f"{key!r} is {kind}: two numbers that look equal may differ; decimal(p,s) or string is safer",
                "warning",
            )


def _sequence(contract: Contract) -> Iterator[Remark]:
    sequence, path = contract.merge.sequence_by, ("merge", "sequence_by")
    if sequence is None:
        return
    # A snapshot's place is kept in its list, not in the rows, so the table need not have the column.
    known = contract.columns | (contract.reads if contract.merge.strategy == "snapshot" else {})
    if sequence in METADATA_COLUMNS:
        yield Remark(path, f"{sequence!r} orders changes anyway; remove it")
    elif sequence not in known:
        yield Remark(path, not_a_column(sequence, contract))
    elif types.parse(known[sequence]).kind in (*types.NESTED, "boolean"):
        yield Remark(path, f"{sequence!r} is {known[sequence]}, which has no order")
    elif sequence in contract.merge.keys:
        yield Remark(path, f"{sequence!r} is one of the keys, so the changes of a row never differ in it; use another")


def _cdc(contract: Contract) -> Iterator[Remark]:
    merge, form = contract.merge, contract.format
    if merge.delete_when is None and not merge.partial_updates:
        yield Remark(
            ("merge", "strategy"),
            "cdc without delete_when deletes nothing; write delete_when, or upsert if that is meant",
            "warning",
        )
    if merge.partial_updates and form.type == "csv" and not form.header and not merge.ignore_null_updates:
        yield Remark(
            ("merge", "partial_updates"),
            "a CSV file without a header can't lack a column; write header: true, or ignore_null_updates: true",
        )


def _scd2(contract: Contract) -> Iterator[Remark]:
    merge = contract.merge
    if merge.sequence_by is None:
        yield Remark(
            ("merge", "strategy"),
            "scd2 without sequence_by takes the time at which a file landed for the time of its changes; name the"
            " column that says when they were made",
            "warning",
        )
    if merge.track_columns is None:
        return
    path = ("merge", "track_columns")
    if not merge.track_columns:
        yield Remark(path, "names no column; remove it, and all but the keys and the sequence are tracked")
    yield from are_columns(contract, path, merge.track_columns)
    for position, name in enumerate(merge.track_columns):
        here = (*path, position)
        if name in merge.keys:
            yield Remark(here, f"{name!r} is one of the keys, which never change; remove it")
        if name == merge.sequence_by:
            yield Remark(here, f"{name!r} is the sequence, so each change would begin a version; remove it")
        if name in METADATA_COLUMNS:
            yield Remark(here, f"{name!r} differs from file to file, so each change would begin a version; remove it")


def _snapshot(contract: Contract) -> Iterator[Remark]:
    rule = contract.merge.snapshot
    for position, expectation in enumerate(contract.expectations):
        if expectation.on_fail == "quarantine":
            yield Remark(
                ("expectations", position, "on_fail"),
                "a row in quarantine would be missing from its snapshot, which deletes it; write warn or fail",
            )
    if rule is None:
        return
    path = ("merge", "snapshot")
    yield from are_columns(contract, (*path, "scope"), rule.scope)
    for position, name in enumerate(rule.scope):
        if name in contract.columns and types.parse(contract.columns[name]).is_nested:
            yield Remark(
                (*path, "scope", position),
                f"{name!r} is {contract.columns[name]}, which cannot be compared; use another",
            )
        if name in METADATA_COLUMNS:
            yield Remark(
                (*path, "scope", position), f"{name!r} differs from file to file, so no file could replace another"
            )
    if rule.complete == "file":
        if "marker" in rule.model_fields_set:
            yield Remark((*path, "marker"), "each file is a snapshot; write complete: marker as well, or remove it")
        return
    pattern = contract.landing.rpartition("/")[2]
    if re.fullmatch(landing.parse(f"x/{pattern}").regex, f"x/{rule.marker}"):
        yield Remark(
            ("landing",),
            f"matches the marker {rule.marker!r}, too, which holds no rows; write what rows' files end in, such as"
            f" '{contract.landing.rpartition('/')[0]}/*.{contract.format.type}'",
        )
    in_name = [token.text for token in landing.parse(f"x/{pattern}").tokens if token.kind == "capture"]
    for position, name in enumerate(rule.scope):
        if name in in_name:
            yield Remark(
                (*path, "scope", position),
                f"{name!r} comes from the file's name, and a folder's files are one snapshot; let a folder give it",
            )


def _bitemporal(contract: Contract) -> Iterator[Remark]:
    merge = contract.merge
    ends = {"valid_from": merge.valid_from, "valid_to": merge.valid_to}
    for field, name in ends.items():
        path = ("merge", field)
        if name is None:
            word = "begin" if field == "valid_from" else "end"
            yield Remark(path, f"bitemporal needs it: the column with the {word} of the period that a change speaks of")
        elif name not in contract.columns or name in METADATA_COLUMNS:
            yield Remark(path, not_a_column(name, contract))
        elif types.parse(contract.columns[name]).kind not in _PERIODS:
            yield Remark(
                path,
                f"{name!r} is {contract.columns[name]}, which makes no period; use date, timestamp or a whole number",
            )
        elif name in merge.keys:
            yield Remark(path, f"{name!r} is one of the keys; a period is what changes, so remove it from the keys")
        elif name == merge.sequence_by:
            yield Remark(
                path, f"{name!r} says when a change was made (sequence_by); a period needs a column of its own"
            )
    begin, end = merge.valid_from, merge.valid_to
    if begin in contract.columns and end in contract.columns and begin is not None and end is not None:
        if begin == end:
            yield Remark(("merge", "valid_to"), f"{end!r} is the begin of the period, too; name another column")
        elif contract.columns[begin] != contract.columns[end]:
            yield Remark(
                ("merge", "valid_to"),
                f"{end!r} is {contract.columns[end]} and {begin!r} is {contract.columns[begin]}; give both one type",
            )


def are_columns(contract: Contract, path: tuple[str, ...], names: Sequence[str]) -> Iterator[Remark]:
    """Names that stand twice, or are no columns of the table."""
    for position, name in enumerate(names):
        if name in names[:position]:
            yield Remark((*path, position), f"{name!r} stands there twice; remove one")
        elif name not in contract.columns:
            yield Remark((*path, position), not_a_column(name, contract))


def not_a_column(name: str, contract: Contract) -> str:
    """What to say of a name that is no column of the table."""
    columns = ", ".join(list(contract.columns)[:8]) + (", ..." if len(contract.columns) > 8 else "")
    hint = did_you_mean(name, contract.columns) or f" (columns: {columns})"
    if name in contract.reads:
        hint = ": it is among reads, which the table doesn't keep; move it to columns"
    return f"{name!r} is not a column{hint}"

"""What the design of the contract has and this release has not: refused by name, never ignored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tidegate_cli.contracts.findings import Path, Remark

FIELDS: dict[Path, str] = {
    ("cluster_by",): "use partition_by",
    ("expectations",): "a file that breaks its columns' types is rejected as it is; remove it",
    ("transform",): "land the rows as the columns describe them",
    ("maintenance",): "run OPTIMIZE and VACUUM yourself",
    ("follow_ups",): "start what follows from the run's success",
    ("tombstones",): "deletes are not supported yet either; remove it",
    ("merge", "delete_when"): "rows can be inserted and updated, not deleted; remove it",
    ("merge", "partial_updates"): "a change must hold all columns; remove it",
    ("merge", "valid_from"): "upsert keeps the newest change of a key; remove it",
    ("merge", "valid_to"): "upsert keeps the newest change of a key; remove it",
}
"""Fields, and what to do without them."""

VALUES: dict[Path, tuple[frozenset[str], str]] = {
    ("merge", "strategy"): (frozenset({"cdc", "scd2", "snapshot", "bitemporal"}), "use upsert or append"),
    ("format", "type"): (frozenset({"avro", "orc"}), "use csv, json or parquet"),
    ("evolution",): (
        frozenset({"add_columns", "widen"}),
        "use strict, and change the contract with the files",
    ),
}
"""Values of fields, and what to write instead."""


def take_out(data: dict[str, Any]) -> Iterator[Remark]:
    """Remarks on what is not supported yet; those fields are removed from `data`, so nobody remarks twice."""
    for path, instead in FIELDS.items():
        parent = _parent(data, path)
        if parent is not None and path[-1] in parent:
            value = parent.pop(path[-1])
            # An empty list asks for nothing: the design's own example ends with `follow_ups: []`.
            if value not in ([], None):
                yield Remark(path, f"not supported yet; {instead}")
    for path, (values, instead) in VALUES.items():
        parent = _parent(data, path)
        value = parent.get(path[-1]) if parent is not None else None
        if isinstance(value, str) and value in values:
            yield Remark(path, f"{value!r} is not supported yet; {instead}")


def _parent(data: dict[str, Any], path: Path) -> dict[Any, Any] | None:
    parent: Any = data
    for part in path[:-1]:
        parent = parent.get(part) if isinstance(parent, dict) else None
    return parent if isinstance(parent, dict) else None

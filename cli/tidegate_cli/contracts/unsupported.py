"""What the design of the contract has and this release has not: refused by name, never ignored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tidegate_cli.contracts.findings import Path, Remark

FIELDS: dict[Path, str] = {
    ("follow_ups",): "start what follows from the run's success",
}
"""Fields, and what to do without them."""


def take_out(data: dict[str, Any]) -> Iterator[Remark]:
    """Remarks on what is not supported yet; those fields are removed from `data`, so nobody remarks twice."""
    for path, instead in FIELDS.items():
        parent = _parent(data, path)
        if parent is not None and path[-1] in parent:
            value = parent.pop(path[-1])
            # An empty list asks for nothing: the design's own example ends with `follow_ups: []`.
            if value not in ([], None):
                yield Remark(path, f"not supported yet; {instead}")


def _parent(data: dict[str, Any], path: Path) -> dict[Any, Any] | None:
    parent: Any = data
    for part in path[:-1]:
        parent = parent.get(part) if isinstance(parent, dict) else None
    return parent if isinstance(parent, dict) else None

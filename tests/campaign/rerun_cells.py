"""The rerun matrix: where a failure comes, of which kind, and what is done about it."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cell:
    state: str


def play_cell(cloud: Any, cell: Cell) -> dict[str, Any]:
    return {}

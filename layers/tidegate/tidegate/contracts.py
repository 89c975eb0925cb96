"""Compiled contracts: which table an object is for, and what its merges need.

The source of a contract is YAML, checked and compiled to JSON by the CLI (docs/contract-reference.md).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from tidegate.quiet_hours import QuietHours

SCHEMA = 1


@dataclass(frozen=True)
class Freshness:
    """How soon after landing an object must be queryable."""

    kind: Literal["asap", "within", "daily"]
    seconds: int = 0
    at: str = ""
    zone: str = ""


@dataclass(frozen=True)
class Contract:
    """One table's contract. `compiled` is the whole of it as JSON values: a manifest carries it to the job."""

    table: str
    landing_prefix: str
    landing_regex: str
    strategy: str
    freshness: Freshness
    max_files: int
    max_bytes: int
    compiled: Mapping[str, Any]
    marker_regex: str | None = None
    """Which keys are markers: the file that says that a snapshot, which is a folder of files, is complete."""
    quiet_hours: QuietHours | None = None
    """When the table is not merged."""

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(self.landing_regex)

    @cached_property
    def _marker_pattern(self) -> re.Pattern[str] | None:
        return re.compile(self.marker_regex) if self.marker_regex else None

    def is_marker(self, key: str) -> bool:
        """Whether the object is the marker of a snapshot: no data, and empty more often than not."""
        return self._marker_pattern is not None and self._marker_pattern.fullmatch(key) is not None

    def captures_of(self, key: str) -> dict[str, str] | None:
        """The values that the landing pattern takes from a key, or None if the key is not of this table."""
        for pattern in (self._marker_pattern, self._pattern):
            match = pattern.fullmatch(key) if pattern else None
            if match:
                return match.groupdict()
        return None


@dataclass(frozen=True)
class Contracts:
    """All contracts of a deployment, by table."""

    by_table: Mapping[str, Contract]

    def of_key(self, key: str) -> tuple[Contract, dict[str, str]] | None:
        """The one contract whose landing pattern matches, with its captures. Patterns never overlap."""
        for contract in self.by_table.values():
            captures = contract.captures_of(key)
            if captures is not None:
                return contract, captures
        return None


def parse_contracts(text: str) -> Contracts:
    """Read the JSON that `tidegate tables compile` writes.

    Raises ValueError for a schema that this version does not know.
    """
    document = json.loads(text)
    if document["schema"] != SCHEMA:
        raise ValueError(f"contracts are compiled for schema {document['schema']}, this code reads {SCHEMA}")
    contracts = [_contract(compiled) for compiled in document["tables"]]
    return Contracts({contract.table: contract for contract in contracts})


def _contract(compiled: Mapping[str, Any]) -> Contract:
    return Contract(
        table=compiled["table"],
        landing_prefix=compiled["landing_prefix"],
        landing_regex=compiled["landing_regex"],
        strategy=compiled["merge"]["strategy"],
        freshness=Freshness(**compiled["freshness"]),
        max_files=compiled["batch"]["max_files"],
        max_bytes=compiled["batch"]["max_bytes"],
        compiled=compiled,
        marker_regex=compiled.get("marker_regex"),
        quiet_hours=QuietHours(**compiled["quiet_hours"]) if compiled.get("quiet_hours") else None,
    )

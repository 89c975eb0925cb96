"""Compiled contracts of three tables: one a strategy and freshness, small limits where a test needs them."""

import hashlib
import json
from typing import Any

from tidegate.contracts import Contract, Contracts, parse_contracts


def entry(
    table: str,
    *,
    landing_regex: str,
    strategy: str = "upsert",
    freshness: dict[str, Any] | None = None,
    max_files: int = 5000,
    max_bytes: int = 50 * 1024**3,
    marker_regex: str | None = None,
) -> dict[str, Any]:
    """One table as `tidegate tables compile` writes it."""
    compiled: dict[str, Any] = {
        "table": table,
        "landing": f"{table}/*.csv",
        "landing_prefix": f"{table}/",
        "landing_regex": landing_regex,
        "captures": ["month"] if "month" in landing_regex else [],
        "format": {"type": "csv", "options": {"header": True}},
        "columns": [{"name": "id", "type": "string"}],
        "merge": {"strategy": strategy, "keys": ["id"], "sequence_by": None},
        "partition_by": [],
        "freshness": freshness or {"kind": "asap"},
        "readers": ["spark"],
        "evolution": "strict",
        "batch": {"max_files": max_files, "max_bytes": max_bytes},
    }
    if marker_regex is not None:
        compiled["marker_regex"] = marker_regex
    bare = json.dumps(compiled, sort_keys=True, separators=(",", ":")).encode()
    return {**compiled, "sha256": hashlib.sha256(bare).hexdigest()}


def document(**changes: Any) -> str:
    """The whole file; `changes` apply to every table."""
    tables = [
        entry("airlines", landing_regex=r"^airlines/[^/]*\.csv$", **changes),
        entry("clicks", landing_regex=r"^clicks/[^/]*\.csv$", **({"strategy": "append"} | changes)),
        entry("flights", landing_regex=r"^flights/(?P<month>[^/]+)/[^/]*\.csv$", **changes),
    ]
    return json.dumps({"schema": 1, "tables": tables})


def contracts(**changes: Any) -> Contracts:
    return parse_contracts(document(**changes))


def contract(table: str = "flights", **changes: Any) -> Contract:
    return contracts(**changes).by_table[table]

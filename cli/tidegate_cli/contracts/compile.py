"""From checked contracts to the JSON that functions, manifests and jobs carry."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from tidegate_cli.contracts import freshness, landing
from tidegate_cli.contracts.model import Contract

SCHEMA = 1


def compile_contracts(contracts: Iterable[Contract]) -> bytes:
    """The compiled file. The same contracts give the same bytes, in whatever order they come."""
    tables = sorted((compile_contract(contract) for contract in contracts), key=lambda table: str(table["table"]))
    return (json.dumps({"schema": SCHEMA, "tables": tables}, indent=2, sort_keys=True) + "\n").encode()


def compile_contract(contract: Contract) -> dict[str, Any]:
    """One contract with everything spelled out, and the hash of that."""
    where = landing.parse(contract.landing)
    entry: dict[str, Any] = {
        "table": contract.table,
        "landing": contract.landing,
        "landing_prefix": where.prefix,
        "landing_regex": where.regex,
        "captures": [name for name in where.captures if name in contract.columns],
        "format": {
            "type": contract.format.type,
            "options": _options(contract),
        },
        "columns": [{"name": name, "type": ddl} for name, ddl in contract.columns.items()],
        "merge": contract.merge.model_dump(),
        "partition_by": contract.partition_by,
        "freshness": freshness.parse(contract.freshness),
        "readers": contract.readers,
        "evolution": contract.evolution,
        "batch": contract.batch.model_dump(),
    }
    return {**entry, "sha256": hash_of(entry)}


def _options(contract: Contract) -> dict[str, Any]:
    options = contract.format.model_dump(exclude={"type"})
    if options.get("escape", "") is None:
        options["escape"] = options["quote"]
    return options


def hash_of(entry: dict[str, Any]) -> str:
    """SHA-256 of an entry without its `sha256`, over canonical JSON."""
    bare = {name: value for name, value in entry.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(bare, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

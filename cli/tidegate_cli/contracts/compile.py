"""From checked contracts to the JSON that functions, manifests and jobs carry."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from tidegate.quiet_hours import parse_quiet_hours

from tidegate_cli.contracts import durations, freshness, landing, sql, transform
from tidegate_cli.contracts.merge import Snapshot
from tidegate_cli.contracts.model import Contract

SCHEMA = 1


def compile_contracts(contracts: Iterable[Contract]) -> bytes:
    """The compiled file. The same contracts give the same bytes, in whatever order they come."""
    tables = sorted((compile_contract(contract) for contract in contracts), key=lambda table: str(table["table"]))
    return (json.dumps({"schema": SCHEMA, "tables": tables}, indent=2, sort_keys=True) + "\n").encode()


def compile_contract(contract: Contract) -> dict[str, Any]:
    """One contract with everything spelled out, and the hash of that."""
    where = landing.parse(contract.landing)
    given = transform.source_columns(contract)
    entry: dict[str, Any] = {
        "table": contract.table,
        "landing": contract.landing,
        "landing_prefix": where.prefix,
        "landing_regex": where.regex,
        "captures": [name for name in where.captures if name in given],
        "marker_regex": _marker_regex(contract, where),
        "format": {
            "type": contract.format.type,
            "options": _options(contract),
        },
        "columns": [{"name": name, "type": ddl} for name, ddl in contract.columns.items()],
        "reads": [{"name": name, "type": ddl} for name, ddl in contract.reads.items()],
        "computed": sorted(transform.computed(contract)),
        "transform": transform.compile_transform(contract),
        "merge": _merge(contract),
        "partition_by": contract.partition_by,
        "cluster_by": contract.cluster_by,
        "freshness": freshness.parse(contract.freshness),
        "quiet_hours": _quiet_hours(contract),
        "readers": contract.readers,
        "expectations": [
            {**expectation.model_dump(), "check": sql.in_own_words(expectation.check)}
            for expectation in contract.expectations
        ],
        "evolution": contract.evolution,
        "change_data_feed": contract.change_data_feed,
        "tombstones_s": durations.parse(contract.tombstones, least="1d", most="3650d"),
        "maintenance": _maintenance(contract),
        "batch": contract.batch.model_dump(),
    }
    return {**entry, "sha256": hash_of(entry)}


def _quiet_hours(contract: Contract) -> dict[str, str] | None:
    return None if contract.quiet_hours is None else asdict(parse_quiet_hours(contract.quiet_hours))


def _options(contract: Contract) -> dict[str, Any]:
    options = contract.format.model_dump(exclude={"type"})
    if options.get("escape", "") is None:
        options["escape"] = options["quote"]
    return options


def _merge(contract: Contract) -> dict[str, Any]:
    merge = contract.merge
    deletes = merge.delete_when and sql.in_own_words(merge.delete_when)
    return {**merge.model_dump(), "delete_when": deletes, "snapshot": _snapshot(contract)}


def _snapshot(contract: Contract) -> dict[str, Any] | None:
    if contract.merge.strategy != "snapshot":
        return None
    return (contract.merge.snapshot or Snapshot()).model_dump()


def _marker_regex(contract: Contract, where: landing.Landing) -> str | None:
    rule = _snapshot(contract)
    if rule is None or rule["complete"] == "file":
        return None
    return landing.marker_of(where, rule["marker"]).regex


def _maintenance(contract: Contract) -> dict[str, Any]:
    wanted = contract.maintenance
    age = None if wanted.vacuum == "off" else durations.parse(wanted.vacuum, least="1h", most="3650d")
    limit = durations.parse(wanted.limit, least="10s", most="6h")
    return {"optimize": wanted.optimize, "vacuum_s": age, "checkpoint": wanted.checkpoint, "limit_s": limit}


def hash_of(entry: dict[str, Any]) -> str:
    """SHA-256 of an entry without its `sha256`, over canonical JSON."""
    bare = {name: value for name, value in entry.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(bare, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

"""Rebuild the ledger from the tables' own logs, the manifests and the receipts; the operator's last resort.

Nothing may run meanwhile: the stack is paused, and no execution and no cluster of it lives. Doing it twice changes
nothing, so one that died half-way is done again.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from tidegate.arrivals import Arrival
from tidegate.batches import SUPERSEDING_STRATEGIES, app_id_of, read_candidates, sha256_of
from tidegate.ports import Batch, Ledger, Objects, Table
from tidegate.rebuild import Identity, Rebuilt, SeenBatch, TableLog, correct_known, is_remembered, rebuild_table

THREADS = 16
_BATCH_FILE = re.compile(r"/batches/([^/]+)/(\d{12})/([^/]+)$")
_RECEIPT = re.compile(r"/receipts/([^/]+)/(\d{12})/[^/]+$")
_FENCED = re.compile(r"candidates-(\d+)\.json$")


class TableLogs(Protocol):
    """The Delta tables of the lake."""

    def log(self, table: str, app_id: str) -> TableLog | None:
        """What a table says of the batches of this app id; None if there is no such table."""


class LedgerRepair(Protocol):
    """Writes to the ledger without conditions. All methods raise Throttled when AWS asks for fewer calls."""

    def arrivals(self) -> Iterator[Arrival]:
        """Every arrival that there is, whatever became of it."""

    def put_arrival(self, arrival: Arrival, now: datetime) -> None:
        """Write an arrival, over what there is."""

    def raise_head(self, arrival: Arrival) -> None:
        """Have the key's head be this version, unless it is a newer one."""

    def put_batch(self, batch: Batch, now: datetime) -> None:
        """Write a batch, over what there is."""

    def put_table(self, table: Table, fence: int, delta_version: int | None, table_rows: int | None) -> None:
        """Write a table, without lease, claim and failures. Its pause is left as it is, and its fence never falls."""


@dataclass(frozen=True)
class RebuildPorts:
    """What rebuilding needs from outside."""

    ledger: Ledger
    repair: LedgerRepair
    objects: Objects
    logs: TableLogs
    control_bucket: str


@dataclass(frozen=True)
class Plan:
    """What would be written of one table."""

    rebuilt: Rebuilt
    corrected: tuple[Arrival, ...]
    """Arrivals that the ledger has otherwise."""
    missing: tuple[Arrival, ...]
    """Arrivals that the ledger has not."""

    @property
    def arrivals_by_state(self) -> Mapping[str, int]:
        """How many arrivals are written in each state."""
        return Counter(each.state for each in (*self.corrected, *self.missing))


def plan_rebuild(tables: Sequence[str], *, ports: RebuildPorts, now: datetime) -> list[Plan]:
    """What the ledger should say of these tables, and of those that have batches; nothing is written.

    Keeps the ledger's versions in memory: some 500 bytes each. Raises Throttled.
    """
    files, receipts = _files_of(ports), _receipts_of(ports)
    names = sorted({*tables, *files})
    known = ports.ledger.tables(names)
    rebuilt = {name: _rebuild(name, files.get(name, {}), receipts.get(name, {}), known[name], ports) for name in names}
    there: dict[str, set[Identity]] = defaultdict(set)
    corrected: dict[str, list[Arrival]] = defaultdict(list)
    for arrival in ports.repair.arrivals():
        if arrival.table not in rebuilt:
            continue
        there[arrival.table].add((arrival.bucket, arrival.key, arrival.sequencer))
        right = correct_known(arrival, rebuilt[arrival.table])
        if right is not None:
            corrected[arrival.table].append(right)
    return [
        Plan(
            rebuilt=each,
            corrected=tuple(corrected[name]),
            missing=tuple(
                arrival
                for identity, arrival in each.arrivals.items()
                if identity not in there[name] and is_remembered(arrival, now)
            ),
        )
        for name, each in rebuilt.items()
    ]


def write_rebuild(plan: Plan, *, ports: RebuildPorts, now: datetime) -> None:
    """Write what was planned. The table comes last: until then a run would be refused as before. Raises Throttled."""
    rebuilt = plan.rebuilt
    for uri, document in rebuilt.lists.items():
        ports.objects.create(uri, document)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda each: ports.repair.put_arrival(each, now), (*plan.corrected, *plan.missing)))
        list(pool.map(ports.repair.raise_head, rebuilt.heads.values()))
        list(pool.map(lambda each: ports.repair.put_batch(each, now), rebuilt.batches))
    ports.repair.put_table(rebuilt.table, rebuilt.fence, rebuilt.delta_version, rebuilt.table_rows)


def _rebuild(
    name: str, files: Mapping[int, list[str]], receipts: Mapping[int, list[str]], known: Table, ports: RebuildPorts
) -> Rebuilt:
    app_id = app_id_of(name)
    log = ports.logs.log(name, app_id)
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(lambda number: _seen(number, files[number], receipts.get(number, ()), ports), sorted(files))
        seen = [each for each in found if each is not None and each.manifest["app_id"] == app_id]
    fences = [int(match[1]) for uris in files.values() for uri in uris if (match := _FENCED.search(uri))]
    fences += [int(told.get("fence", 0)) for _, told in (log.told.values() if log is not None else ())]
    return rebuild_table(name, log, seen, known, fence=max(fences, default=0), control_bucket=ports.control_bucket)


def _seen(number: int, uris: Sequence[str], receipts: Sequence[str], ports: RebuildPorts) -> SeenBatch | None:
    """What there is of a batch; None of a claim that never came to a list."""
    uri = next((each for each in uris if each.endswith("/manifest.json")), None)
    raw = ports.objects.read(uri) if uri is not None else None
    if uri is None or raw is None:
        return None
    manifest: Mapping[str, Any] = json.loads(raw)
    lists = [each for each in uris if _FENCED.search(each)]
    if manifest["contract"]["merge"]["strategy"] not in SUPERSEDING_STRATEGIES:
        lists = []
    candidates = [read_candidates(content) for each in lists if (content := ports.objects.read(each)) is not None]
    read = [(each, ports.objects.read(each)) for each in receipts]
    return SeenBatch(
        number=number,
        uri=uri,
        sha256=sha256_of(raw),
        manifest=manifest,
        receipts=tuple((each, json.loads(content)) for each, content in read if content is not None),
        superseded=tuple(arrival for each in candidates for arrival in each.superseded),
    )


def _files_of(ports: RebuildPorts) -> dict[str, dict[int, list[str]]]:
    """The files of every batch, by table and number."""
    return _by_batch(ports.objects.names(f"s3://{ports.control_bucket}/batches/"), _BATCH_FILE)


def _receipts_of(ports: RebuildPorts) -> dict[str, dict[int, list[str]]]:
    return _by_batch(ports.objects.names(f"s3://{ports.control_bucket}/receipts/"), _RECEIPT)


def _by_batch(uris: Sequence[str], pattern: re.Pattern[str]) -> dict[str, dict[int, list[str]]]:
    found: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for uri in uris:
        match = pattern.search(uri)
        if match:
            found[match[1]][int(match[2])].append(uri)
    return found

"""Tell the world of tables that were merged: their entries in the catalog, and an event about their new versions.

What is still to be told stands in the ledger, in the very write that settles a batch. So whoever dies or fails here
loses nothing: the next settling of the table, the end of its run or the reaper tells it. That may be twice, never not
at all. No failure in here undoes a merge or fails a run: it is reported.
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from tidegate.announcements import Announcement, announcement_of
from tidegate.catalog import Catalogued, Subject, TableInput, decide_entry, entries_of, is_remembered, merged_entry
from tidegate.catalog import sha256_of as sha256_of_entry
from tidegate.contracts import Contracts
from tidegate.errors import CatalogTaken, ClaimMoved, NotAnnounced, NotRegistered, TidegateError
from tidegate.ports import Batch, Bus, Catalog, Ledger, Objects, Table
from tidegate.receipts import Merged, merged_of

MOST_BATCHES = 100
"""Of one table at a time, should its news have been held up for long."""
MOST_FAILURES = 3
"""Of the catalog one after the other. After that, it is left alone until the next time."""
TRIES = 3
"""At an entry that somebody else changes at the same moment."""

Report = Callable[[TidegateError], None]
"""Has an operator hear of NotRegistered and NotAnnounced: a log line, a metric with an alarm."""


@dataclass(frozen=True)
class Publishing:
    """What telling the world needs from outside, beside the ledger and the objects."""

    catalog: Catalog
    bus: Bus
    contracts: Contracts
    stack: str
    lake_bucket: str
    database: str
    """Where the catalog's entries are."""
    report: Report


@dataclass(frozen=True)
class PublishPorts:
    """All that it needs."""

    ledger: Ledger
    objects: Objects
    publishing: Publishing

    @property
    def catalog(self) -> Catalog:
        return self.publishing.catalog

    @property
    def bus(self) -> Bus:
        return self.publishing.bus


@dataclass(frozen=True)
class _News:
    """What is to be told of a table."""

    table: Table
    batches: tuple[Batch, ...]
    forgotten: tuple[int, ...]
    """Batches that the ledger has no longer: nothing can be told of them any more."""
    newest_batch: int
    newest: Merged | None
    """The newest batch's receipt, if it is still there."""


@dataclass(frozen=True)
class _Registered:
    """What the catalog has after it was tried."""

    catalogued: Catalogued | None
    unregistered_batch: int | None


def publish_tables(
    names: Collection[str], *, ports: PublishPorts, now: datetime, known: Mapping[tuple[str, int], Merged] | None = None
) -> None:
    """Register and announce what of these tables is not yet. `known` spares reading receipts again.

    Raises Throttled if the ledger or S3 asks for fewer calls.
    """
    tables = ports.ledger.tables(sorted(names)) if names else {}
    news = [_news(table, ports, known or {}) for table in tables.values() if table.is_unpublished]
    # The catalog first: who hears of a table may ask for it at once.
    registered = _register_all(news, ports, now)
    announcements = [_announcement(each, ports) for each in news if each.batches]
    sent = _send(announcements, ports)
    for each in news:
        name = each.table.name
        announced = (*sent.get(name, ()), *each.forgotten)
        state = registered[name]
        is_news = state.catalogued is not None or state.unregistered_batch != each.table.unregistered_batch
        if announced or is_news:
            ports.ledger.record_published(name, announced, state.catalogued, state.unregistered_batch)


def _news(table: Table, ports: PublishPorts, known: Mapping[tuple[str, int], Merged]) -> _News:
    batches, forgotten = [], []
    for number in sorted(table.unannounced)[:MOST_BATCHES]:
        batch = _batch_of(table, number, ports)
        if batch is not None:
            batches.append(batch)
        else:
            forgotten.append(number)
    # An entry that is owed is written with the newest receipt that there is.
    if batches:
        newest: Batch | None = batches[-1]
    else:
        newest = _batch_of(table, table.unregistered_batch, ports) if table.unregistered_batch is not None else None
    receipt = None
    if newest is not None:
        receipt = known.get((table.name, newest.number)) or _receipt_of(newest, ports)
    return _News(table, tuple(batches), tuple(forgotten), newest.number if newest is not None else 0, receipt)


def _batch_of(table: Table, number: int, ports: PublishPorts) -> Batch | None:
    """None, and a report, for one that the ledger has forgotten."""
    try:
        return ports.ledger.batch(table.name, number)
    except ClaimMoved as gone:
        ports.publishing.report(NotAnnounced(f"batch {number} of {table.name} is never announced: {gone}"))
        return None


def _receipt_of(batch: Batch, ports: PublishPorts) -> Merged | None:
    written = ports.objects.read(batch.receipt_uri) if batch.receipt_uri else None
    return merged_of(batch.receipt_uri or "", json.loads(written)) if written is not None else None


# ---- The catalog


def _register_all(news: list[_News], ports: PublishPorts, now: datetime) -> dict[str, _Registered]:
    """What became of each table, by its name. A catalog that does not answer is not waited for a thousand times."""
    done: dict[str, _Registered] = {}
    in_a_row, left = 0, 0
    for each in news:
        if in_a_row >= MOST_FAILURES:
            done[each.table.name] = _Registered(None, each.newest_batch or None)
            left += 1
            continue
        state = done[each.table.name] = _register(each, ports, now)
        in_a_row = in_a_row + 1 if state.unregistered_batch is not None else 0
    if left:
        why = f"{left} more tables are left for later: registering {MOST_FAILURES} others failed one after the other"
        ports.publishing.report(NotRegistered(why))
    return done


def _register(news: _News, ports: PublishPorts, now: datetime) -> _Registered:
    subject = _subject(news, ports)
    if subject is None:
        return _Registered(None, None)
    wanted = entries_of(subject)
    if is_remembered(wanted, news.table.catalogued, now):
        return _Registered(None, None)
    try:
        for entry in wanted:
            _write_entry(entry, ports)
    except (NotRegistered, CatalogTaken) as failed:
        ports.publishing.report(NotRegistered(f"{news.table.name} is merged, but not registered: {failed}"))
        return _Registered(None, news.newest_batch)
    return _Registered(Catalogued({entry["Name"]: sha256_of_entry(entry) for entry in wanted}, now), None)


def _subject(news: _News, ports: PublishPorts) -> Subject | None:
    """None for a table without a contract by now, or one whose job was of a release that named no columns."""
    contract = ports.publishing.contracts.by_table.get(news.table.name)
    if contract is None or news.newest is None or not news.newest.columns:
        return None
    return Subject(
        table=news.table.name,
        batch=news.newest_batch,
        location=location_of(news.table.name, ports.publishing.lake_bucket),
        columns=news.newest.columns,
        partition_by=contract.compiled.get("partition_by") or (),
        readers=contract.compiled.get("readers") or (),
        has_quarantine=_has_quarantine(news, news.newest),
    )


def _has_quarantine(news: _News, newest: Merged) -> bool:
    """Whether `<table>__quarantine` is there: a batch has put rows into it, now or before."""
    name = f"{news.table.name}__quarantine"
    if news.table.catalogued is not None and name in news.table.catalogued.entries:
        return True
    counted = [newest.rows, *(batch.rows or {} for batch in news.batches)]
    rejected = bool(newest.rejected) or any(batch.rejected_files for batch in news.batches)
    return any(rows.get("quarantined") or ("quarantined" in rows and rejected) for rows in counted)


def _write_entry(wanted: TableInput, ports: PublishPorts) -> None:
    """Have the catalog say this. Somebody else may do the same at this moment, which is as good."""
    for _ in range(TRIES):
        found = ports.catalog.entry(wanted["Name"])
        decision = decide_entry(found, wanted)
        if found is None:
            if ports.catalog.create(wanted):
                return
        elif decision == "keep" or ports.catalog.update(merged_entry(found, wanted), found.version):
            return
    raise NotRegistered(f"somebody else keeps changing {wanted['Name']}: {TRIES} tries did not help")


def location_of(table: str, lake_bucket: str) -> str:
    """Where a table is, as manifests name it."""
    return f"s3://{lake_bucket}/{table}"


# ---- The events


def _announcement(news: _News, ports: PublishPorts) -> Announcement:
    return announcement_of(
        news.batches,
        table_rows=news.newest.table_rows if news.newest is not None else None,
        stack=ports.publishing.stack,
        location=location_of(news.table.name, ports.publishing.lake_bucket),
        database=ports.publishing.database,
    )


def _send(announcements: list[Announcement], ports: PublishPorts) -> dict[str, tuple[int, ...]]:
    """The batches that were announced, by their tables."""
    if not announcements:
        return {}
    failed = ports.bus.send([each.detail for each in announcements])
    sent = {}
    for each, why in zip(announcements, failed, strict=True):
        if why is None:
            sent[each.table] = each.batches
        else:
            ports.publishing.report(
                NotAnnounced(f"{each.table} is merged, but batches {list(each.batches)} are not announced: {why}")
            )
    return sent

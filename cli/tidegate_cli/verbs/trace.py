"""`tidegate trace`: what has landed here, as the lab replays it."""

# ruff: noqa: PLC0415 - boto3 and the lab are imported by the verb that needs them, so that --help stays fast

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidegate_cli import wording
from tidegate_cli.connection import find
from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.output import CliError, say
from tidegate_cli.verbs.options import ProfileOption, RegionOption, StackOption

if TYPE_CHECKING:
    from tidegate_cli.adapters.dynamodb import Ledger
    from tidegate_cli.adapters.s3 import ObjectStore

app = typer.Typer(no_args_is_help=True, help="What has landed here, as `tidegate simulate` replays it.")

Landed = tuple[str, str, str, str, datetime, int]
"""Bucket, key, sequencer, table, when it landed, bytes."""


@app.command()
def export(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write: JSON lines, one arrival each.")],
    *,
    days: Annotated[float, typer.Option("--days", min=0.01, help="How far back.")] = 30,
    stack: StackOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
) -> None:
    """Write what has landed: table, time and size of each file, and no names. For `tidegate simulate --trace FILE`."""
    from tidegate_lab.traces import Arrival, trace_of, write_trace

    from tidegate_cli.adapters.dynamodb import Ledger
    from tidegate_cli.adapters.s3 import ObjectStore

    connection = find(stack, region, profile)
    ledger, store = Ledger(connection), ObjectStore(connection)
    since = datetime.now(UTC) - timedelta(days=days)
    landed = {each for each in _pending(ledger) if each[4] >= since}
    for table in store.folders(connection.lake_bucket):
        landed |= {each for each in _batched(ledger, store, table) if each[4] >= since}
    if not landed:
        raise CliError(f"Nothing has landed in the last {days:g} days: there is nothing to write.", ExitCode.USAGE)
    start = min(at for *_, at, _ in landed)
    arrivals = [Arrival((at - start).total_seconds(), table, size) for _, _, _, table, at, size in landed]
    write_trace(trace_of(path.stem, arrivals, days, start), path)
    say(f"{wording.count(len(landed), 'arrival')} written to {path}")


def _pending(ledger: Ledger) -> Iterator[Landed]:
    for each in ledger.pending():
        if each.table is not None:
            yield each.bucket, each.key, each.sequencer, each.table, each.event_time, each.size_bytes


def _batched(ledger: Ledger, store: ObjectStore, table: str) -> Iterator[Landed]:
    """All arrivals of a table's batches, as far back as the ledger remembers them: from the manifests.

    A batch that was opened up has its files in others again; whoever collects them must take each once.
    """
    state = ledger.table(table)
    if state is None:
        return
    last = max(state.unsettled_batch or 0, state.last_merged_batch or 0)
    while ledger.batch(table, last + 1) is not None:
        last += 1
    for number in range(last, 0, -1):
        batch = ledger.batch(table, number)
        if batch is None:
            return
        manifest = store.json_at(batch.manifest_uri) if batch.manifest_uri else None
        for file in (manifest or {}).get("files", []):
            at = datetime.fromisoformat(file["event_time"])
            yield file["bucket"], file["key"], file["sequencer"], table, at, file["size_bytes"]

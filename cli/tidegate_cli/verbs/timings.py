"""`tidegate timings`: where the seconds between upload and rows went."""

# ruff: noqa: PLC0415 - boto3 is imported by the verb that needs it, so that --help stays fast

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from tidegate_cli import wording
from tidegate_cli.connection import Connection, find
from tidegate_cli.exit_codes import ExitCode
from tidegate_cli.ledger import Arrival, Run
from tidegate_cli.output import CliError, out, print_json, say
from tidegate_cli.timings import Moment, Recorded, of_file, of_run
from tidegate_cli.verbs.options import JsonOption, ProfileOption, RegionOption, StackOption

if TYPE_CHECKING:
    from tidegate_cli.adapters.dynamodb import Ledger


def timings(
    of: Annotated[
        str | None,
        typer.Argument(metavar="[RUN|FILE]", help="A run's id, or a file that landed (its key, or s3://...)."),
    ] = None,
    *,
    as_json: JsonOption = False,
    stack: StackOption = None,
    region: RegionOption = None,
    profile: ProfileOption = None,
) -> None:
    """Show where the seconds of a run or of one file's way went. Without a name: of the last run."""
    from tidegate_cli.adapters.dynamodb import Ledger

    connection = find(stack, region, profile)
    ledger = Ledger(connection)
    if of is not None and "/" in of:
        arrival = _arrival(connection, ledger, of)
        recorded = _recorded_of_file(connection, ledger, arrival)
        moments, title = of_file(arrival, recorded), f"s3://{arrival.bucket}/{arrival.key}"
    else:
        run = _run(ledger, of)
        recorded = read(connection, ledger, run)
        moments, title = of_run(recorded), f"Run {run.run_id}: {run.state}"
    receipts = list(recorded.receipts.values()) if recorded else []
    if as_json:
        print_json({"moments": [asdict(moment) for moment in moments], "receipts": receipts})
        return
    say(title)
    out().print(moments_table(moments))
    if receipts:
        say("")
        out().print(receipts_table(receipts))
        for remark in remarks(receipts):
            say(remark)


def read(connection: Connection, ledger: Ledger, run: Run) -> Recorded:
    """All that is known of a run."""
    from tidegate_cli.adapters.emr import Clusters
    from tidegate_cli.adapters.s3 import ObjectStore
    from tidegate_cli.adapters.stepfunctions import StateMachine

    store, clusters = ObjectStore(connection), Clusters(connection)
    execution = StateMachine(connection).execution(run.execution_arn) if run.execution_arn else None
    cluster = None
    if run.cluster_id:
        cluster = clusters.cluster(run.cluster_id)
    elif run.started_at:
        cluster = clusters.of_run(connection.stack_name, run.run_id, run.started_at)
    batches = [batch for table, number in run.batches if (batch := ledger.batch(table, number))]
    receipts = {}
    for batch in batches:
        receipt = store.json_at(batch.receipt_uri) if batch.receipt_uri else None
        if receipt is not None:
            receipts[batch.table, batch.batch] = receipt
    return Recorded(execution, cluster, batches, receipts)


def _run(ledger: Ledger, run_id: str | None) -> Run:
    if run_id is None:
        runs = ledger.runs(1)
        if not runs:
            raise CliError("There has been no run yet. `tidegate dispatch now` starts one.", ExitCode.USAGE)
        return runs[0]
    run = ledger.run(run_id)
    if run is None:
        known = ", ".join(known.run_id for known in ledger.runs(5)) or "none yet"
        raise CliError(f"There is no run {run_id!r}. The last ones: {known}.", ExitCode.USAGE)
    return run


def _arrival(connection: Connection, ledger: Ledger, of: str) -> Arrival:
    bucket, key = connection.landing_bucket, of
    if of.startswith("s3://"):
        bucket, _, key = of.removeprefix("s3://").partition("/")
    arrivals = ledger.arrivals(bucket, key)
    if not arrivals:
        raise CliError(
            f"s3://{bucket}/{key} is not in the ledger: it has not landed, or its event is still on its way.",
            ExitCode.USAGE,
        )
    return arrivals[-1]


def _recorded_of_file(connection: Connection, ledger: Ledger, arrival: Arrival) -> Recorded | None:
    if arrival.table is None or arrival.batch is None:
        return None
    batch = ledger.batch(arrival.table, arrival.batch)
    run = ledger.run(batch.run_id) if batch and batch.run_id else None
    return read(connection, ledger, run) if run else None


def moments_table(moments: list[Moment]) -> Table:
    """A line for each moment."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("at (UTC)")
    table.add_column("+ s", justify="right")
    table.add_column("total s", justify="right")
    table.add_column("what")
    longest = max((moment.seconds for moment in moments), default=0.0)
    for moment in moments:
        style = "bold yellow" if moment.seconds == longest and longest > 0 else ""
        table.add_row(
            f"{moment.at:%H:%M:%S}.{moment.at.microsecond // 100_000}",
            Text(f"{moment.seconds:.1f}", style=style),
            f"{moment.total_seconds:.1f}",
            Text(moment.what, style=style),
        )
    return table


def receipts_table(receipts: list[Any]) -> Table:
    """A line for each receipt."""
    counts = ("read", "inserted", "updated", "unchanged", "deleted", "rejected", "quarantined")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("receipt", no_wrap=True)
    for name in ("version", *counts, "files", "bytes", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    for receipt in receipts:
        rows, files = receipt.get("rows") or {}, receipt.get("files") or {}
        table.add_row(
            f"{receipt['table']} {receipt['batch']}",
            wording.number(receipt.get("delta_version")),
            *(wording.number(rows.get(count)) for count in counts),
            wording.number(files.get("read")),
            wording.size(receipt.get("bytes") or 0),
            f"{(receipt.get('seconds') or {}).get('total') or 0:.1f}",
        )
    return table


def _place(row: Any) -> str:
    """Where a quarantined row came from."""
    return str(row["source"]) if row["row"] is None else f"{row['source']} row {row['row']}"


def remarks(receipts: list[Any]) -> list[str]:
    """What the receipts say besides their numbers: files and rows left out, and why something failed."""
    told = []
    for receipt in receipts:
        name = f"{receipt['table']} {receipt['batch']}"
        for file in (receipt.get("files") or {}).get("rejected") or []:
            told.append(f"{name}: rejected {file['key']}: {file['reason']}")
        told += [f"{name}: quarantined {_place(row)}: {row['reason']}" for row in receipt.get("quarantined") or []]
        for check, count in (receipt.get("expectations") or {}).items():
            if count:
                told.append(f"{name}: {wording.count(count, 'row')} not as {check} expects")
        if error := receipt.get("error"):
            told.append(f"{name}: {error['message']}")
    return told

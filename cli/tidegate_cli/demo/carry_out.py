"""Carries the demo's plan out against a local cloud that runs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tidegate_cli import wording
from tidegate_cli.adapters.dynamodb import Ledger
from tidegate_cli.adapters.lake import Lake
from tidegate_cli.adapters.s3 import ObjectStore
from tidegate_cli.adapters.stepfunctions import StateMachine
from tidegate_cli.connection import Connection
from tidegate_cli.demo.plan import Delivery, Wave
from tidegate_cli.demo.verdict import Verdict
from tidegate_cli.follow import SPARK_IS_AT_WORK, Line
from tidegate_cli.ledger import Run
from tidegate_cli.output import CliError
from tidegate_cli.timings import Recorded, in_states, of_run
from tidegate_cli.verbs import dispatch, status, timings

RECORDED_WITHIN_S = 120
RUN_WITHIN_S = 600
MOST_RUNS = 6
"""A wave needs one, or two if the schedule's minute falls into the middle of its landing."""


class Demo:
    """The demo's acts, one method each. Everything is read back as an operator would."""

    def __init__(self, connection: Connection, console: Console) -> None:
        self._connection = connection
        self._console = console
        self._store = ObjectStore(connection)
        self._ledger = Ledger(connection)
        self._versions: Counter[str] = Counter()
        self._told_until = datetime.min.replace(tzinfo=UTC)
        self.runs: list[str] = []

    def play(self, wave: Wave, number: int, of: int) -> None:
        """Land a wave's files, and merge them."""
        self.headline(f"{number} of {of}: {wave.title}")
        self.land(wave.deliveries)
        self.merge(is_stopped=wave.is_stopped)

    def land(self, deliveries: Sequence[Delivery]) -> None:
        """Upload files and wait until each version of each is in the ledger."""
        plain = [delivery for delivery in deliveries if not delivery.note]
        total = 0
        with self.busy("uploading"):
            for delivery in deliveries:
                body = delivery.body
                total += len(body)
                self._store.put(self._connection.landing_bucket, delivery.key, body)
                self._versions[delivery.key] += 1
                if delivery.note:
                    self.tell(f"landed  {delivery.key}: {delivery.note}")
        for table, files in Counter(delivery.table for delivery in plain).items():
            rows = sum(len(delivery.rows) for delivery in plain if delivery.table == table)
            self.tell(f"landed  {table}: {wording.count(files, 'file')}, {wording.count(rows, 'row')}")
        started = time.monotonic()
        with self.busy("waiting for S3's events"):
            self._wait_for_records({delivery.key for delivery in deliveries})
        self.tell(
            f"{wording.count(len(deliveries), 'file')} of {wording.size(total)} are in the ledger,"
            f" {wording.duration(time.monotonic() - started)} after the last upload"
        )

    def _wait_for_records(self, keys: set[str]) -> None:
        deadline = time.monotonic() + RECORDED_WITHIN_S
        missing = keys
        while missing:
            missing = {key for key in missing if self._recorded(key) < self._versions[key]}
            if missing and time.monotonic() > deadline:
                raise CliError(
                    f"{wording.count(len(missing), 'file')} did not reach the ledger within"
                    f" {RECORDED_WITHIN_S} s, such as {min(missing)}."
                )
            if missing:
                time.sleep(0.3)

    def _recorded(self, key: str) -> int:
        return len(self._ledger.arrivals(self._connection.landing_bucket, key))

    def merge(self, *, is_stopped: bool = False) -> None:
        """Dispatch runs and follow them until nothing is pending. The first may be stopped, and redriven."""
        for number in range(MOST_RUNS):
            started = dispatch.dispatch(self._connection)
            if started.run_id is None:
                # The schedule's own minute may have come first; its run is as good.
                running = [run for run in self._ledger.runs(3) if run.state == "running" and run.execution_arn]
                if not running:
                    break
                started = dispatch.Dispatched(running[0].run_id, running[0].execution_arn, "by schedule", ())
            self.tell(f"run {started.run_id} is started" + f" for {', '.join(started.tables)}" * bool(started.tables))
            with self.busy(f"run {started.run_id}"):
                if is_stopped and number == 0:
                    self._stop_and_redrive(started)
                ended = dispatch.watch(self._connection, started, RUN_WITHIN_S, tell=self._tell_line)
            dispatch.conclude(started, ended, quiet=True)
            self.runs.append(str(started.run_id))
            self._console.print()
            self._show_receipts(timings.read(self._connection, self._ledger, self.run(str(started.run_id))))
        if left := len(self._ledger.pending()):
            raise CliError(f"Still pending after everything was dispatched: {wording.count(left, 'file')}.")

    def _stop_and_redrive(self, started: dispatch.Dispatched) -> None:
        """What happens at night: an execution is stopped in the middle of its merge, and somebody presses Redrive."""
        machine, arn = StateMachine(self._connection), str(started.execution_arn)
        is_stopped = False

        def stop_at_work(line: Line) -> None:
            nonlocal is_stopped
            self._tell_line(line)
            if not is_stopped and SPARK_IS_AT_WORK in line.text:
                is_stopped = True
                machine.stop(arn, "make demo stops it")
                self.tell("STOPPED  the execution, as with Stop execution in the console, while Spark is at work")

        ended = dispatch.watch(self._connection, started, RUN_WITHIN_S, tell=stop_at_work)
        if ended.status != "ABORTED":
            raise CliError(f"Run {started.run_id} was to be stopped, but has ended as {ended.status}.")
        machine.redrive(arn)
        self._told_until = datetime.now(UTC)
        self.tell("REDRIVEN  it goes on: what is left of its cluster is ended, and the same batches are planned again")

    def _tell_line(self, line: Line) -> None:
        if line.at > self._told_until:
            self.tell(line.text, at=f"{line.at:%H:%M:%S}")

    def _show_receipts(self, recorded: Recorded) -> None:
        receipts = list(recorded.receipts.values())
        self._console.print(timings.receipts_table(receipts))
        for remark in timings.remarks(receipts):
            self._console.print(Text(remark, style="yellow"))

    def run(self, run_id: str) -> Run:
        """A run as the ledger has it now."""
        run = self._ledger.run(run_id)
        if run is None:
            raise CliError(f"Run {run_id} is not in the ledger.")
        return run

    def show_tables(self) -> None:
        """What `tidegate status` shows."""
        self.headline("The tables (tidegate status)")
        status.show(status.read(self._connection), self._console)

    def show_history(self, tables: Sequence[str]) -> None:
        """Each table's versions: one commit a batch."""
        self.headline("Their Delta history: one commit for each batch")
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("table", "version", "at (UTC)", "operation", "batch", "run"):
            table.add_column(name, justify="right" if name in ("version", "batch") else "left")
        lake = Lake.of(self._connection)
        for name in tables:
            for commit in lake.history(name):
                table.add_row(
                    name,
                    str(commit.version),
                    f"{commit.at:%H:%M:%S}",
                    commit.operation,
                    "-" if commit.batch is None else str(commit.batch),
                    commit.run_id or "-",
                )
        self._console.print(table)

    def show_story(self) -> None:
        """One run's times, by what happened and by state, and its receipts."""
        runs = self._ledger.runs(20)
        run = runs[len(runs) // 2]
        self.headline(f"The story of one run (tidegate timings {run.run_id})")
        recorded = timings.read(self._connection, self._ledger, run)
        self._console.print(timings.moments_table(of_run(recorded)))
        if recorded.execution is not None:
            self._console.print()
            self._console.print(Text("its states:  " + "  ->  ".join(in_states(recorded.execution))))
        self._console.print()
        self._show_receipts(recorded)

    def show_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """What agrees with pandas and what doesn't."""
        self.headline("Checked against pandas")
        for verdict in verdicts:
            mark = Text("agrees ", style="green") if verdict.agrees else Text("DIFFERS", style="bold red")
            what = f"{verdict.check.table}: {verdict.check.what} ({wording.count(verdict.rows, 'line')})"
            self._console.print(Text("  ") + mark + Text(f"  {what}"))
            for difference in verdict.differences[:5]:
                self._console.print(Text(f"           {difference}", style="red"))

    def problems(self) -> list[str]:
        """What is not as the plan wants it besides the rows: one file ignored, none quarantined whole."""
        found = status.read(self._connection)
        problems = []
        for state, files in (("quarantined", 0), ("ignored", 1)):
            have = sum(kind.files for kind in found.set_aside if kind.state == state)
            if have != files:
                problems.append(f"{wording.count(have, 'file')} {state}, and it must be {files}")
        return problems

    def headline(self, text: str) -> None:
        self._console.print()
        self._console.rule(Text(text, style="bold"), align="left")

    def tell(self, text: str, at: str | None = None) -> None:
        self._console.print(Text(f"{at or time.strftime('%H:%M:%S', time.gmtime())}  {text}"))

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """A spinner on a terminal; nothing elsewhere."""
        with self._console.status(what):
            yield

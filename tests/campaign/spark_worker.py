"""A process with a real Spark: the merge job dies at each of its calls, one after another, and is done again.

`python -m campaign.spark_worker <folder>` prints a line of JSON a death. The job is the real one, and so are the Delta
tables; it dies of what nothing in it catches, so nothing that it would have done comes any more.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession
from spark.conftest import Lake, java_home, spark_properties
from tidegate_spark import batch, receipts
from tidegate_spark.storage import Storage
from tidegate_spark.table import Target

Json = dict[str, Any]


PLANS = ("plan_merge", "plan_void")
OUTCOMES = {"merge": "merged", "void": "voided"}


class Dead(BaseException):
    """The driver is gone."""


class Death:
    """Comes before the job's n-th call; never, if it is None."""

    def __init__(self, before: int | None = None) -> None:
        self._before = before
        self._lock = threading.Lock()
        self.calls: list[str] = []

    def pass_by(self, name: str) -> None:
        with self._lock:
            self.calls.append(name)
            if self._before is not None and len(self.calls) > self._before:
                raise Dead(name)

    def seen(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.pass_by(name)
            return function(*arguments, **named)

        return call

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """See every call of the job to what lasts: storage, the table and its log, the commit, the receipt."""
        found = [(Storage, name) for name in ("read", "head", "create", "etag")]
        found += [(Target, name) for name in ("snapshot", "commit", "last_batch", "commit_of")]
        found += [(batch, name) for name in ("open_target", "check_predecessor", "read_changes", *PLANS)]
        found += [(receipts, "write")]
        before = [(owner, name, getattr(owner, name)) for owner, name in found]
        for owner, name, function in before:
            setattr(owner, name, self.seen(name, function))
        for name in PLANS:
            setattr(batch, name, partial(self._planned, getattr(batch, name)))
        try:
            yield
        finally:
            for owner, name, function in before:
                setattr(owner, name, function)

    def _planned(self, plan: Callable[..., Any], *arguments: Any) -> Any:
        made = plan(*arguments)
        commit = self.seen("commit to the table", made.run)
        return replace(made, prepare=self.seen("prepare", made.prepare), run=commit)


class Table:
    """One table, batch after batch, and what must be in it."""

    def __init__(self, lake: Lake, name: str) -> None:
        self.lake, self.name = lake, name
        lake.contract(name, {"id": "int", "name": "string"})
        self.batches = 0
        self.expected: dict[int, str] = {}

    def next_batch(self, action: str = "merge") -> Json:
        """A batch that adds a row, changes another, and has a file that is not fit to be merged; or it is voided."""
        self.batches += 1
        number = self.batches
        rows = {0: f"changed by {number}", number: f"added by {number}"}
        self.expected |= rows if action == "merge" else {}
        lines = "".join(f"{key},{value}\n" for key, value in rows.items())
        files = [self.lake.land(f"id,name\n{lines}", "good.csv"), self.lake.land("id\n1\n", "bad.csv")]
        return {**self.lake.batch(self.name, number, files), "action": action}

    def what_is_wrong(self, receipt: Mapping[str, Any], code: int, outcome: str) -> list[str]:
        """After the batch was done again."""
        wrong = [] if (code, receipt["outcome"]) == (0, outcome) else [f"exit code {code}, receipt {receipt}"]
        if len(receipt["files"]["rejected"]) != (outcome == "merged"):
            wrong.append(f"the rejected files are {receipt['files']['rejected']}")
        if (numbers := self.numbers()) != list(range(1, self.batches + 1)):
            wrong.append(f"the commits are of batches {numbers}")
        rows = dict(self.lake.rows(self.name, "id", "name"))
        return wrong + ([] if rows == self.expected else [f"the rows are {rows}, not {self.expected}"])

    def numbers(self) -> list[int]:
        """The batches that the table's log has, a commit each."""
        log = Path(self.lake.target(self.name).removeprefix("file://")) / "_delta_log"
        lines = [line for path in sorted(log.glob("*.json")) for line in path.read_text().splitlines()]
        return [json.loads(line)["txn"]["version"] for line in lines if line.startswith('{"txn"')]


def telling_points(calls: Sequence[str], *, everything: bool) -> list[int]:
    """The commit, the call after it and the last one; with `everything` what comes first of each kind before it too.

    Between two looks at what is there nothing happens that could matter.
    """
    committed = calls.index("commit to the table")
    telling = {committed, committed + 1, len(calls) - 1}
    if everything:
        telling |= {number for number in range(committed) if calls[number] not in calls[:number]}
    return sorted(telling)


def die_everywhere(
    lake: Lake, kind: str, table_of: Callable[[int], Table], action: str = "merge", *, everything: bool = False
) -> Iterator[Json]:
    """Let the job die before each telling call, once a batch; do the batch again, and look."""
    watched = Death()
    with watched.at_work():
        lake.run(table_of(-1).next_batch(action), run_id=f"watch-{kind}")
    for number in telling_points(watched.calls, everything=everything):
        table = table_of(number)
        order = table.next_batch(action)
        death, has_died = Death(number), False
        with death.at_work():
            try:
                lake.run(order, run_id=f"{kind}-{number}")
            except Dead:
                has_died = True
        is_committed = table.batches in table.numbers()
        code, answers = lake.run(order, run_id=f"{kind}-{number}")
        wrong = table.what_is_wrong(answers[0], code, OUTCOMES[action]) if has_died else ["it did not die"]
        yield {
            "point": f"{kind}: before call {number + 1}, {death.calls[-1]}",
            "is_committed": is_committed,
            "wrong": wrong,
        }


def main() -> None:
    """Every death of both kinds of batches."""
    folder = Path(sys.argv[1])
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    os.environ.update(JAVA_HOME=java_home(), SPARK_LOCAL_IP="127.0.0.1")
    os.environ.pop("SPARK_HOME", None)
    builder = SparkSession.builder.appName("tidegate crash campaign")
    for name, value in spark_properties(folder / "spark").items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    lake = Lake(folder, session)
    later = Table(lake, "later")
    lake.run(later.next_batch(), run_id="first")
    deaths = itertools.chain(
        die_everywhere(lake, "a-later-batch", lambda _number: later, everything=True),
        die_everywhere(lake, "the-first-batch", lambda number: Table(lake, f"first_{number + 1}")),
        die_everywhere(lake, "a-voided-batch", lambda _number: later, "void"),
    )
    for death in deaths:
        answers.write(json.dumps(death) + "\n")
        answers.flush()
    session.stop()


if __name__ == "__main__":
    main()

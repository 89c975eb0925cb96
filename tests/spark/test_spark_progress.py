"""What a group tells of its progress while it works: Spark's own figures, and never at the price of a batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def work_that_tells(lake: Any, *batches: Any, uri: str | None = None) -> tuple[Path, Path]:
    """A work file with a place for progress, and that place."""
    work = lake.work(*batches)
    place = lake.folder / "control" / "progress" / "g0.json"
    document = json.loads(work.read_text()) | {"progress_uri": uri or place.as_uri()}
    work.write_text(json.dumps(document))
    return work, place


def test_progress_is_told_while_batches_merge_and_when_they_are_through(
    lake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tidegate_spark import progress
    from tidegate_spark.job import run
    from tidegate_spark.storage import Storage

    # GIVEN an application that tells as often as it can
    monkeypatch.setattr(progress, "EVERY_S", 0.05)
    told: list[Any] = []
    replace = Storage.replace

    def watched(self: Storage, uri: str, content: bytes) -> None:
        told.append(json.loads(content))
        replace(self, uri, content)

    monkeypatch.setattr(Storage, "replace", watched)
    lake.contract("sales", {"id": "int"})
    rows = "".join(f"{number}\n" for number in range(20_000))
    batches = [lake.batch("sales", number, [lake.land(f"id\n{rows}")]) for number in (1, 2)]
    work, place = work_that_tells(lake, *batches)
    # WHEN it has merged two batches, one after the other
    assert run(lake.spark, work.as_uri()) == 0
    # THEN it has told of work under way, with both cores of this machine's Spark
    assert {document["cores"] for document in told} == {2}
    assert any(document["busy_cores"] > 0 for document in told)
    assert any(document["shuffles"] for document in told)
    done = [len(document["done"]) for document in told]
    assert done == sorted(done)
    assert 0 in done
    # AND the last word, which is kept, is that both are through
    last = json.loads(place.read_text())
    assert last == told[-1]
    assert last["done"] == [["sales", 1], ["sales", 2]]
    assert (last["run_id"], last["group"], last["busy_cores"], last["shuffles"]) == ("run-1", "g0", 0, False)
    assert last["core_s"] > 0
    assert last["input_bytes"] > 0


def test_progress_that_cannot_be_told_costs_no_batch_anything(lake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tidegate_spark import progress
    from tidegate_spark.job import run

    monkeypatch.setattr(progress, "EVERY_S", 0.05)
    lake.contract("sales", {"id": "int"})
    batch = lake.batch("sales", 1, [lake.land("id\n1\n")])
    work, _ = work_that_tells(lake, batch, uri="nowhere://at/all.json")
    assert run(lake.spark, work.as_uri()) == 0
    [receipt] = lake.receipts(work)
    assert json.loads(receipt.read_text())["outcome"] == "merged"

"""Many arrivals in many tables at once, from landing to settled: for counting what they use up."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import Any

import boto3
from campaign.metering import Meter
from campaign.one_process_cloud import LAKE, LEDGER, OneProcessCloud
from fakes.contracts import entry
from tidegate_local import stand_in

Json = dict[str, Any]


def contracts_of(tables: int) -> str:
    """Compiled contracts of so many tables, every other one of them `append`."""
    entries = [
        entry(name, landing_regex=rf"^{name}/.*\.csv$", strategy="append" if number % 2 else "upsert")
        for number, name in enumerate(names_of(tables))
    ]
    return json.dumps({"schema": 1, "tables": entries})


def names_of(tables: int) -> list[str]:
    return [f"sales_region_{number:03d}" for number in range(tables)]


def key_of(number: int, tables: int) -> str:
    """As Spark names its files; the tables take turns."""
    unique = uuid.uuid5(uuid.NAMESPACE_OID, str(number))
    table = names_of(tables)[number % tables]
    return f"{table}/dt=2026-11-24/part-{number // tables:05d}-{unique}-c000.csv"


@dataclass(frozen=True)
class Done:
    """What came of a load."""

    recorded: int
    claimed: int
    merged: int
    transitions: list[tuple[int, int]]
    """Of each execution: states entered, step groups among them."""
    meter: Meter
    announced: int = 0
    """Events about tables."""


def play_load(cloud: OneProcessCloud, arrivals: int, tables: int, *, limit_s: float = 60) -> Done:
    """Land so many files, let them be recorded, merged by one run and settled; what was counted on the way."""
    cloud.reset(contracts_of(tables))
    cloud.step = lambda arguments: stand_in.run(arguments[arguments.index("--work") + 1], boto3.client("s3"))
    meter = Meter()
    meter.watch(cloud)
    for number in range(arrivals):
        cloud.land(key_of(number, tables))
    while cloud.queue:
        cloud.deliver()
    recorded = states_in(cloud)["pending"]
    cloud.dispatch()
    cloud.wait_executions(limit_s)
    assert not cloud.failures, cloud.failures
    meter.count_lives(cloud)
    return Done(
        recorded,
        states_in(cloud)["claimed"],
        _merged(cloud, tables),
        _transitions(cloud),
        meter,
        len(cloud.announced()),
    )


def states_in(cloud: OneProcessCloud) -> Counter[str]:
    """How many arrivals the ledger has in each state."""
    pages = cloud.dynamodb.get_paginator("scan").paginate(TableName=LEDGER)
    items = [item for page in pages for item in page["Items"]]
    return Counter(item["state"]["S"] for item in items if item["kind"]["S"] == "arrival")


def _merged(cloud: OneProcessCloud, tables: int) -> int:
    """How many files the tables' own logs list."""
    logs = [stand_in.commits(cloud.s3, f"s3://{LAKE}/{name}") for name in names_of(tables)]
    return sum(len(commit["files"]) for log in logs for commit in log)


def _transitions(cloud: OneProcessCloud) -> list[tuple[int, int]]:
    entered = [cloud.entered(execution["executionArn"]) for execution in cloud.executions()]
    return [(len(states), states.count("Merge group")) for states in entered]

"""What a batch costs however small it is: jobs, calls to the JVM, and rows that the driver hands to Spark."""

from __future__ import annotations

from typing import Any

import pytest
from py4j.java_gateway import GatewayClient, JavaPackage
from pyspark.sql.types import MapType, StringType, StructField, StructType
from tidegate_spark.local_rows import local_rows, no_rows
from tidegate_spark.lookups import remember_lookups
from tidegate_spark.types import parse_type

HOSTILE = "a\n\t\"'\\${spark.app.id} \u2028 \U0001f30a \x00 %s {b}"


def _plan(frame: Any) -> str:
    return str(frame._jdf.queryExecution().executedPlan().toString())


def test_rows_of_the_driver_are_exact_and_need_no_worker(lake: Any) -> None:
    # GIVEN rows of all kinds
    schema = (
        "text string, n bigint, yes boolean, names array<string>, captures map<string,string>, "
        "_tidegate struct<batch:bigint,`a b`:string>"
    )
    rows = [
        (HOSTILE, 2**63 - 1, True, ["a", "", HOSTILE], {"k": None, HOSTILE: ""}, (7, HOSTILE)),
        ("", -1, False, [], {}, (None, "")),
        (None, None, None, None, None, None),
    ]
    # WHEN they are a frame
    frame = local_rows(lake.spark, rows, schema)
    # THEN they are the same, and planned without a job
    found = [tuple(tuple(v) if isinstance(v, tuple) else v for v in row) for row in frame.collect()]
    assert found == rows
    assert "LocalTableScan" in _plan(frame)
    assert "RDD" not in _plan(frame)


def test_no_rows_have_columns_all_the_same(lake: Any) -> None:
    schema = StructType([StructField("capture x", StringType()), StructField("m", MapType(StringType(), StringType()))])
    for frame in (local_rows(lake.spark, [], schema), no_rows(lake.spark, schema)):
        assert frame.schema == schema
        assert frame.collect() == []


def test_a_wrong_value_is_no_null(lake: Any) -> None:
    with pytest.raises(Exception, match="MALFORMED_RECORD"):
        local_rows(lake.spark, [("x",)], "n bigint").collect()


def test_a_class_that_comes_later_is_found(lake: Any) -> None:
    remember_lookups(lake.spark)
    jvm: Any = lake.spark._jvm
    assert isinstance(jvm.org.apache.spark.sql.NotThere, JavaPackage)
    assert "NotThere" not in vars(jvm.org.apache.spark.sql)
    assert jvm.org.apache.spark.sql.Encoders is jvm.org.apache.spark.sql.Encoders


@pytest.mark.parametrize(
    ("format_name", "most_calls"),
    [("csv", 2_000), ("json", 2_600)],
)
def test_a_small_batch_takes_few_jobs_and_calls(
    lake: Any, monkeypatch: pytest.MonkeyPatch, format_name: str, most_calls: int
) -> None:
    # GIVEN a table with a batch in it
    lake.contract("small", {"id": "int", "name": "string", "at": "timestamp"}, format=format_name)
    content = {
        "csv": "id,name,at\n1,a,2026-01-01T00:00:00Z\n",
        "json": '{"id": 1, "name": "a", "at": "2026-01-01T00:00:00Z"}\n',
    }[format_name]
    one, two = (lake.batch("small", number, [lake.land(content)]) for number in (1, 2))
    assert lake.run(one)[0] == 0
    calls = []
    send = GatewayClient.send_command
    monkeypatch.setattr(GatewayClient, "send_command", lambda *a, **k: calls.append(1) or send(*a, **k))
    scheduler = lake.spark.sparkContext._jsc.sc().dagScheduler()
    before = scheduler.nextJobId()
    calls.clear()
    # WHEN the next one is merged
    code, [receipt] = lake.run(two)
    # THEN it read, took its rows and looked at the log: a job each
    assert code == 0, receipt["error"]
    assert (scheduler.nextJobId() - before, len(calls) <= most_calls) == (3, True), len(calls)


@pytest.mark.usefixtures("lake")
def test_a_type_is_parsed_once() -> None:
    assert parse_type("decimal(10,2)") is parse_type("decimal(10,2)")

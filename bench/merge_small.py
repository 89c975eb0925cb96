"""Many small tables in one run: seconds a table, on the local cloud's S3.

    .venv/bin/python bench/merge_small.py                        # 100 tables of 1,000 rows
    .venv/bin/python bench/merge_small.py --tables 20 --profile  # and where the seconds of a table go

One application merges a first batch into each table, then a second one, half updates; the first makes Spark warm and
the tables, the second is what counts. Prints the seconds a table of both, and the phases of the receipts.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import numpy as np
from merge_data import COLUMNS, table_of, write
from merge_systems import start_spark
from merge_tidegate import PROPERTIES, run_orders, write_order
from tidegate_local import launcher, settings
from tidegate_local.jars import JARS
from tidegate_local.spark_conf import local_properties

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / ".tidegate" / "bench" / "small"
MERGE = {"strategy": "upsert", "keys": ["id"], "sequence_by": "seq"}


def main() -> None:
    arguments = parse()
    shutil.rmtree(PLACE, ignore_errors=True)
    PLACE.mkdir(parents=True)
    here = replace(settings.current(), state_dir=PLACE / "cloud", port=free_port())
    launcher.deploy = lambda _here: dict.fromkeys(  # type: ignore[assignment] # S3 alone is wanted
        ("LandingBucket", "LakeBucket", "ControlBucket", "LedgerTable", "StateMachineArn", "DispatchFunction"), "x"
    )
    cloud = launcher.start(here)
    try:
        measure(arguments, here, cloud.endpoint_url)
    finally:
        launcher.down(here=here)


def measure(arguments: argparse.Namespace, here: settings.Settings, endpoint: str) -> None:
    s3 = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=here.region,
        aws_access_key_id=here.access_key,
        aws_secret_access_key=here.secret_key,
    )
    for bucket in ("landing", "lake"):
        s3.create_bucket(Bucket=bucket)
    s3a = {name: value for name, value in local_properties(here, delta=True).items() if ".fs.s3" in name}
    spark = start_spark(PLACE, [here.jars_dir / jar.file_name for jar in JARS], {**PROPERTIES, **s3a})
    drawn = np.random.default_rng(1)
    for number in (1, 2):
        orders = []
        for at in range(arguments.tables):
            ids = np.arange(arguments.rows, dtype=np.int64) + (number - 1) * arguments.rows // 2
            path = PLACE / f"t{at:03d}-{number}.parquet"
            write(path, table_of(ids, number, drawn))
            s3.upload_file(str(path), "landing", path.name)
            orders.append(order_of(f"t{at:03d}", number, path))
        began = time.monotonic()
        receipts = run_orders(spark, PLACE / "control", orders)
        took = time.monotonic() - began
        print(f"batch {number}: {took / arguments.tables:.2f} s a table, {took:.1f} s in all", flush=True)
        print("  medians: " + ", ".join(f"{phase} {seconds:.2f} s" for phase, seconds in phases(receipts).items()))
        print(f"  plan: {receipts[-1]['plan']}")
        if arguments.profile:
            print(
                f"  jobs a table: {spark.sparkContext._jsc.sc().dagScheduler().nextJobId() / number / len(orders):.1f}"
            )
    spark.stop()


def order_of(table: str, number: int, path: Path) -> dict[str, Any]:
    target = f"s3://lake/{table}"
    return write_order(
        PLACE / "control", table, number, [path], target=target, columns=COLUMNS, merge=MERGE, landed="s3://landing"
    )


def phases(receipts: list[dict[str, Any]]) -> dict[str, float]:
    names = receipts[0]["seconds"]
    return {name: statistics.median(receipt["seconds"][name] for receipt in receipts) for name in names}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=100)
    parser.add_argument("--rows", type=int, default=1000, help="of each batch")
    parser.add_argument("--profile", action="store_true", help="count Spark's jobs, too")
    return parser.parse_args()


if __name__ == "__main__":
    main()

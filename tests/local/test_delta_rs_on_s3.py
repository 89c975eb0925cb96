"""The second engine on the local cloud's S3: it writes with what Spark's own client is told, and never over others."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from arro3.core import Array, DataType, Table
from clouds import Cloud, own_settings
from deltalake import DeltaTable, write_deltalake
from tidegate_local import launcher
from tidegate_local.spark_conf import local_properties
from tidegate_spark.commit import Number
from tidegate_spark.engines import delta_rs

OUTPUTS = dict.fromkeys(
    ["LandingBucket", "LakeBucket", "ControlBucket", "LedgerTable", "StateMachineArn", "DispatchFunction"], "x"
)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A server on which nothing is deployed."""
    here = own_settings(tmp_path_factory.mktemp("delta_rs"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launcher, "deploy", lambda _here: OUTPUTS)
        try:
            yield Cloud(launcher.start(here), here)
        finally:
            launcher.down(here=here)


def test_a_commit_is_refused_if_the_version_is_there(cloud: Cloud) -> None:
    # GIVEN a table on S3, opened twice
    conf = {
        name.removeprefix("spark.hadoop."): value for name, value in local_properties(cloud.here, delta=True).items()
    }
    options = delta_rs.s3_options(conf)
    bucket = f"lake-{uuid4().hex[:12]}"
    cloud.client("s3").create_bucket(Bucket=bucket)
    uri = f"s3://{bucket}/t"

    def rows(*ids: int) -> Table:
        return Table.from_pydict({"id": Array(list(ids), type=DataType.int64())})

    write_deltalake(uri, rows(1, 2), storage_options=options)
    ours, theirs = (DeltaTable(uri, storage_options=options) for _ in range(2))
    # WHEN both commit on what they have seen
    assert delta_rs.append(ours, rows(3), Number("app", 1, "{}"))
    with pytest.raises(Exception, match=r"(?i)version|conflict|commit"):
        delta_rs.append(theirs, rows(4), Number("app", 1, "{}"))
    # THEN one of them has, and a third knows that the number is there
    third = DeltaTable(uri, storage_options=options)
    assert third.version() == 1
    assert third.transaction_version("app") == 1
    assert not delta_rs.append(third, rows(5), Number("app", 1, "{}"))
    assert third.count() == 3

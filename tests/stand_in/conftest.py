"""The merge job's protocol, once on the job with Spark and Delta, once on what takes its place without them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from sparks import MARKS, shared_session
from stand_in.ways import SparkWays, StandInWays, Steps


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with shared_session(tmp_path_factory) as session:
        yield session


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Three empty buckets of moto's."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        for bucket in ("control", "landing", "lake"):
            client.create_bucket(Bucket=bucket)
        yield client


@pytest.fixture(params=["stand-in", pytest.param("spark", marks=MARKS)])
def steps(request: pytest.FixtureRequest, tmp_path: Path) -> Steps:
    if request.param == "stand-in":
        return Steps(StandInWays(request.getfixturevalue("s3")))
    return Steps(SparkWays(request.getfixturevalue("spark"), tmp_path))

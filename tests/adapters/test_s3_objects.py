"""What is S3's alone: tags, copies in parts, and writes of the same key at the same moment."""

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from tidegate.adapters.objects import S3Objects
from tidegate.errors import Throttled

PART = 8 * 1024**2


@pytest.fixture
def s3(aws: None) -> Any:
    client = boto3.client("s3")
    for bucket in ("landing", "control"):
        client.create_bucket(Bucket=bucket)
    return client


def test_a_copy_leaves_tags_behind(s3: Any) -> None:
    # GIVEN an object with a tag, which template.yaml grants no function to read
    s3.put_object(Bucket="landing", Key="a.csv", Body=b"1", Tagging="owner=somebody")
    S3Objects().copy_version("landing", "a.csv", None, "s3://control/staging/a.csv")
    assert s3.get_object_tagging(Bucket="control", Key="staging/a.csv")["TagSet"] == []


def test_a_large_version_is_copied_in_parts(s3: Any) -> None:
    # GIVEN a version above boto3's limit for one call, and a newer one
    s3.put_bucket_versioning(Bucket="landing", VersioningConfiguration={"Status": "Enabled"})
    large = bytes(PART) + b"the end"
    version = s3.put_object(Bucket="landing", Key="a+b c.csv", Body=large)["VersionId"]
    s3.put_object(Bucket="landing", Key="a+b c.csv", Body=b"new")
    S3Objects().copy_version("landing", "a+b c.csv", version, "s3://control/staging/a.csv")
    copy = s3.get_object(Bucket="control", Key="staging/a.csv")
    assert copy["Body"].read() == large
    assert copy["ETag"].endswith('-2"')  # of two parts


def test_a_write_that_meets_another_one_is_neither_done_nor_refused(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN S3's answer while another conditional write of the key is under way; that one may still fail
    objects = S3Objects()

    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "ConditionalRequestConflict", "Message": ""}}, "PutObject")

    monkeypatch.setattr(objects._client, "put_object", refuse)
    with pytest.raises(Throttled, match=r"s3://control/a is being written .* try again"):
        objects.create("s3://control/a", b"mine")

"""Objects in S3, addressed by s3:// URIs."""

from typing import Any

import boto3
from botocore.exceptions import ClientError

from tidegate.adapters.clients import CONFIG, code_of, throttling_named
from tidegate.errors import SourceGone, Throttled
from tidegate.reconciling import Marker, Version, VersionsPage

_NOT_THERE = frozenset({"NoSuchKey", "NoSuchVersion", "NotFound", "404"})
_THERE_ALREADY = frozenset({"PreconditionFailed", "412"})
_WRITTEN_AT_THIS_MOMENT = frozenset({"ConditionalRequestConflict", "409"})


class S3Objects:
    """Keeps to `tidegate.ports.Objects`. Its client may be shared between threads."""

    def __init__(self, client: Any = None) -> None:
        """`client` is for a caller with credentials or an endpoint of its own."""
        self._client: Any = client or boto3.client("s3", config=CONFIG)

    def read(self, uri: str) -> bytes | None:
        bucket, key = split_uri(uri)
        try:
            with throttling_named("s3:GetObject"):
                return self._client.get_object(Bucket=bucket, Key=key)["Body"].read()  # type: ignore[no-any-return]
        except ClientError as error:
            if code_of(error) in _NOT_THERE:
                return None
            raise

    def write(self, uri: str, data: bytes) -> None:
        bucket, key = split_uri(uri)
        with throttling_named("s3:PutObject"):
            self._client.put_object(Bucket=bucket, Key=key, Body=data)

    def create(self, uri: str, data: bytes) -> bool:
        bucket, key = split_uri(uri)
        try:
            with throttling_named("s3:PutObject"):
                self._client.put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*")
        except ClientError as error:
            if code_of(error) in _THERE_ALREADY:
                return False
            if code_of(error) in _WRITTEN_AT_THIS_MOMENT:
                # Whether the other write succeeds is not known yet, so neither answer would be true.
                raise Throttled(f"{uri} is being written by somebody else at this moment; try again") from error
            raise
        return True

    def names(self, prefix_uri: str) -> list[str]:
        bucket, prefix = split_uri(prefix_uri)
        found: list[str] = []
        with throttling_named("s3:ListObjectsV2"):
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                found += [f"s3://{bucket}/{each['Key']}" for each in page.get("Contents", [])]
        return sorted(found)

    def current(self, bucket: str, key: str) -> tuple[str | None, str | None]:
        try:
            with throttling_named("s3:HeadObject"):
                head = self._client.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if code_of(error) in _NOT_THERE:
                return None, None
            raise
        return head.get("VersionId"), head["ETag"].strip('"')

    def versions_page(self, bucket: str, prefix: str, after: Marker | None) -> VersionsPage:
        request = {"Bucket": bucket, "Prefix": prefix}
        if after is not None:
            request["KeyMarker"] = after.key
            if after.version_id is not None:
                request["VersionIdMarker"] = after.version_id
        with throttling_named("s3:ListObjectVersions"):
            page = self._client.list_object_versions(**request)
        versions = tuple(
            Version(
                key=each["Key"],
                version_id=each["VersionId"],
                etag=each["ETag"].strip('"'),
                size_bytes=each["Size"],
                last_modified=each["LastModified"],
            )
            for each in page.get("Versions", [])
        )
        is_last = not page["IsTruncated"]
        return VersionsPage(versions, None if is_last else Marker(page["NextKeyMarker"], page["NextVersionIdMarker"]))

    def etags_after(self, bucket: str, key: str) -> dict[str, str]:
        with throttling_named("s3:ListObjectsV2"):
            page = self._client.list_objects_v2(Bucket=bucket, StartAfter=key)
        return {each["Key"]: each["ETag"].strip('"') for each in page.get("Contents", [])}

    def copy_version(self, bucket: str, key: str, version_id: str | None, target_uri: str) -> None:
        source = {"Bucket": bucket, "Key": key}
        if version_id is not None:
            source["VersionId"] = version_id
        target_bucket, target_key = split_uri(target_uri)
        try:
            with throttling_named("s3:CopyObject"):
                # Above 8 MiB boto3 copies in parts. Tags stay behind: to read them is a right of its own.
                untagged = {"TaggingDirective": "REPLACE"}
                self._client.copy(source, target_bucket, target_key, ExtraArgs=untagged, SourceClient=self._client)
        except ClientError as error:
            if code_of(error) in _NOT_THERE:
                raise SourceGone(
                    f"s3://{bucket}/{key} version {version_id} is gone from the landing bucket before it was merged. "
                    "Land it again; the bucket's lifecycle must keep overwritten versions until they are merged"
                ) from error
            raise


def split_uri(uri: str) -> tuple[str, str]:
    """(bucket, key) of an s3:// URI. Raises ValueError for anything else."""
    scheme, _, rest = uri.partition("://")
    bucket, slash, key = rest.partition("/")
    if scheme != "s3" or not bucket or not slash:
        raise ValueError(f"{uri!r} is no s3://bucket/key URI")
    return bucket, key

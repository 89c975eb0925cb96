"""Reads what runs leave in S3, and puts files where they land."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from tidegate.adapters.objects import S3Objects

from tidegate_cli.adapters.aws import client, translated
from tidegate_cli.connection import Connection

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_MISSING = frozenset({"NoSuchKey", "404", "NotFound"})


class ObjectStore:
    """The buckets of one stack."""

    def __init__(self, connection: Connection) -> None:
        self._s3 = _client(connection)

    def folders(self, bucket: str, prefix: str = "") -> Iterator[str]:
        """The names of the folders right below a prefix."""
        with translated():
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
            for page in pages:
                for folder in page.get("CommonPrefixes", []):
                    yield folder["Prefix"].removeprefix(prefix).rstrip("/")

    def json(self, bucket: str, key: str) -> Any | None:
        """An object's JSON, or None if there is no such object."""
        with translated():
            try:
                return json.loads(self._s3.get_object(Bucket=bucket, Key=key)["Body"].read())
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in _MISSING:
                    return None
                raise

    def json_at(self, uri: str) -> Any | None:
        """As :meth:`json`, by `s3://bucket/key`."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return self.json(bucket, key)

    def put(self, bucket: str, key: str, body: bytes) -> None:
        """Write an object."""
        with translated():
            self._s3.put_object(Bucket=bucket, Key=key, Body=body)


def objects_of(connection: Connection) -> S3Objects:
    """The objects as the functions read and write them."""
    return S3Objects(_client(connection))


def _client(connection: Connection) -> S3Client:
    found: S3Client = client(connection, "s3", s3={"addressing_style": "path" if connection.is_local else "auto"})
    return found

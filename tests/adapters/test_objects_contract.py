"""What every object store does: S3 and the fake that the pure tests use."""

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from fakes.objects import FakeObjects, etag_of
from tidegate.adapters.objects import S3Objects, split_uri
from tidegate.errors import SourceGone, Throttled
from tidegate.ports import Objects
from tidegate.reconciling import UNVERSIONED, Marker, Version

Both = tuple[Objects, Any]
ODD = "flights/2013-01/a+b c%20é[1]{x}.csv"


def test_what_is_written_is_read(objects_and_landing: Both) -> None:
    objects, _ = objects_and_landing
    assert objects.read("s3://control/a/b.json") is None
    objects.write("s3://control/a/b.json", b"1")
    objects.write("s3://control/a/b.json", b"2")
    assert objects.read("s3://control/a/b.json") == b"2"


def test_what_is_created_is_never_rewritten(objects_and_landing: Both) -> None:
    # Design: "One an attempt, never rewritten".
    objects, _ = objects_and_landing
    assert objects.create("s3://control/a", b"first") is True
    assert objects.create("s3://control/a", b"second") is False
    assert objects.read("s3://control/a") == b"first"


def test_names_are_those_below_a_prefix_in_order(objects_and_landing: Both) -> None:
    objects, _ = objects_and_landing
    for name in ("receipts/t/2", "receipts/t/1", "receipts/u/1"):
        objects.write(f"s3://control/{name}", b"")
    assert objects.names("s3://control/receipts/t/") == ["s3://control/receipts/t/1", "s3://control/receipts/t/2"]
    assert objects.names("s3://control/none/") == []


def test_the_current_version_is_the_last_that_landed(objects_and_landing: Both) -> None:
    objects, landing = objects_and_landing
    landing.land("landing", ODD, b"old")
    newest = landing.land("landing", ODD, b"new")
    assert objects.current("landing", ODD) == newest
    assert objects.current("landing", "none") == (None, None)


def test_the_listing_behind_a_key_has_the_newest_etags_in_order(objects_and_landing: Both) -> None:
    objects, landing = objects_and_landing
    landing.land("landing", "a/2.csv", b"old")
    newest = {key: landing.land("landing", key, key.encode())[1] for key in ("a/1.csv", "a/3.csv", "a/2.csv", ODD)}
    found = objects.etags_after("landing", "a/1.csv")
    assert list(found) == ["a/2.csv", "a/3.csv", ODD]
    assert all(etag == newest[key] for key, etag in found.items())
    assert objects.etags_after("landing", ODD) == {}


def test_any_version_of_any_key_can_be_copied(objects_and_landing: Both) -> None:
    objects, landing = objects_and_landing
    version, _ = landing.land("landing", ODD, b"old")
    landing.land("landing", ODD, b"new")
    objects.copy_version("landing", ODD, version, "s3://control/staging/000000.csv")
    assert objects.read("s3://control/staging/000000.csv") == b"old"
    objects.copy_version("landing", ODD, None, "s3://control/staging/000000.csv")
    assert objects.read("s3://control/staging/000000.csv") == b"new"


def test_a_version_that_is_gone_has_a_name(objects_and_landing: Both) -> None:
    objects, landing = objects_and_landing
    version, _ = landing.land("landing", "a.csv", b"old")
    landing.land("landing", "a.csv", b"new")
    landing.forget("landing", "a.csv", version)
    with pytest.raises(SourceGone, match=r"a\.csv"):
        objects.copy_version("landing", "a.csv", version, "s3://control/x")
    with pytest.raises(SourceGone):
        objects.copy_version("landing", "none.csv", None, "s3://control/x")


def test_throttling_has_one_name(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = S3Objects()

    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "SlowDown", "Message": ""}}, "PutObject")

    for call in ("get_object", "put_object", "head_object", "list_object_versions", "list_objects_v2"):
        monkeypatch.setattr(objects._client, call, refuse)
    for use in (
        lambda: objects.read("s3://b/k"),
        lambda: objects.write("s3://b/k", b""),
        lambda: objects.create("s3://b/k", b""),
        lambda: objects.current("b", "k"),
        lambda: objects.versions_page("b", "", None),
        lambda: objects.etags_after("b", "k"),
    ):
        with pytest.raises(Throttled, match="throttled by AWS"):
            use()


def test_a_refusal_is_not_taken_for_an_absence(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = S3Objects()

    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": ""}}, "GetObject")

    monkeypatch.setattr(objects._client, "get_object", refuse)
    with pytest.raises(ClientError):
        objects.read("s3://b/k")


@pytest.mark.parametrize("uri", ["b/k", "http://b/k", "s3://b", "s3:///k", ""])
def test_only_s3_uris_are_addresses(uri: str) -> None:
    with pytest.raises(ValueError, match="is no s3://bucket/key URI"):
        split_uri(uri)


class TestVersions:
    def all_pages(self, objects: Objects, prefix: str = "") -> list[Version]:
        found: list[Version] = []
        marker: Marker | None = None
        while True:
            page = objects.versions_page("landing", prefix, marker)
            found += page.versions
            marker = page.next
            if marker is None:
                return found

    def test_are_listed_by_key_and_the_newest_first(self, objects_and_landing: Both) -> None:
        objects, landing = objects_and_landing
        first = landing.land("landing", "a/b.csv", b"old")
        landing.land("landing", ODD, b"x")
        second = landing.land("landing", "a/b.csv", b"newer")
        listed = self.all_pages(objects)
        assert [(each.key, each.version_id, each.etag) for each in listed[:2]] == [
            ("a/b.csv", *second), ("a/b.csv", *first),
        ]  # fmt: skip
        assert [each.size_bytes for each in listed] == [5, 3, 1]
        assert listed[2].key == ODD
        assert listed[0].last_modified.tzinfo is not None
        assert [each.key for each in self.all_pages(objects, "flights/")] == [ODD]
        assert self.all_pages(objects, "none/") == []

    def test_go_on_after_a_version(self, objects_and_landing: Both) -> None:
        objects, landing = objects_and_landing
        first = landing.land("landing", "a.csv", b"1")
        second = landing.land("landing", "a.csv", b"2")
        landing.land("landing", "b.csv", b"3")

        def after(marker: Marker) -> list[str]:
            return [each.etag for each in objects.versions_page("landing", "", marker).versions]

        b = etag_of(b"3")
        assert after(Marker("a.csv", second[0])) == [first[1], b]
        assert after(Marker("a.csv", first[0])) == [b]


def test_versions_go_on_after_all_of_a_key() -> None:
    # As S3 and the local cloud do; moto gives the rest of the key again, which would do no harm.
    objects = FakeObjects()
    for key in ("a.csv", "a.csv", "b.csv"):
        objects.land("landing", key, key.encode())
    assert [each.key for each in objects.versions_page("landing", "", Marker("a.csv")).versions] == ["b.csv"]
    assert objects.versions_page("landing", "", Marker("b.csv")).versions == ()


def test_all_pages_of_versions_are_read_and_delete_markers_left_out(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="landing")
    s3.put_bucket_versioning(Bucket="landing", VersioningConfiguration={"Status": "Enabled"})
    for turn in range(3):
        for number in range(4):
            s3.put_object(Bucket="landing", Key=f"k\n{number}", Body=str(turn).encode())
    s3.delete_object(Bucket="landing", Key="k\n1")
    objects = S3Objects()
    listing = objects._client.list_object_versions
    monkeypatch.setattr(objects._client, "list_object_versions", lambda **request: listing(MaxKeys=2, **request))
    found = TestVersions().all_pages(objects)
    assert [(each.key, each.etag) for each in found] == [
        (f"k\n{number}", etag_of(str(turn).encode())) for number in range(4) for turn in (2, 1, 0)
    ]


def test_where_no_versions_are_kept_the_object_is_listed_as_null(aws: None) -> None:
    boto3.client("s3").create_bucket(Bucket="landing")
    boto3.client("s3").put_object(Bucket="landing", Key="a.csv", Body=b"1")
    (listed,) = S3Objects().versions_page("landing", "", None).versions
    assert (listed.version_id, listed.etag) == (UNVERSIONED, etag_of(b"1"))

"""Where the files of a batch are read, and how few questions it takes to know."""

import json
from collections.abc import Callable
from typing import Any

from fakes.objects import FakeObjects
from tidegate.usecases.locate_files import WORTH_A_LISTING, locate_files, unchanged_files

PAGE = 2 * WORTH_A_LISTING
FILES = 2 * (1 + PAGE)


class Bucket(FakeObjects):
    """Counts what is asked. Pages of its listing are short."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.listings = 0

    def current(self, bucket: str, key: str) -> tuple[str | None, str | None]:
        self.asked.append(key)
        return super().current(bucket, key)

    def etags_after(self, bucket: str, key: str) -> dict[str, str]:
        self.listings += 1
        return dict(list(super().etags_after(bucket, key).items())[:PAGE])

    def landed(self, key: str, data: bytes = b"x") -> dict[str, Any]:
        version, etag = self.land("landing", key, data)
        return {"bucket": "landing", "key": key, "version_id": version, "etag": etag}


def manifest(*entries: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry | {"index": index} for index, entry in enumerate(entries)]


def locations(bucket: Bucket, files: list[dict[str, Any]], batch: Callable[..., Any]) -> dict[str, str]:
    bucket.write("s3://control/m", json.dumps({"files": files}).encode())
    return locate_files(batch(manifest_uri="s3://control/m"), bucket, "control")


class Batch:
    def __init__(self, manifest_uri: str) -> None:
        self.manifest_uri, self.table, self.number = manifest_uri, "t", 1


def test_files_that_stand_together_are_looked_up_together() -> None:
    bucket = Bucket()
    files = manifest(*(bucket.landed(f"t/{number:04d}.csv") for number in range(FILES)))
    assert locations(bucket, files, Batch) == {}
    # A listing begins behind a key, so each one leaves the first to be asked for.
    assert bucket.listings == 2
    assert len(bucket.asked) == 2


def test_what_was_overwritten_or_deleted_meanwhile_is_staged_all_the_same() -> None:
    bucket = Bucket()
    files = manifest(*(bucket.landed(f"t/{number:04d}.csv") for number in range(FILES)))
    bucket.land("landing", "t/0007.csv", b"other bytes")
    bucket.versions["landing", "t/0050.csv"].append(("marker", b""))
    assert sorted(locations(bucket, files, Batch)) == ["50", "7"]


def test_of_a_key_that_is_there_twice_each_version_is_asked_for() -> None:
    # GIVEN a key that was overwritten with the very same bytes: its ETag says nothing
    bucket = Bucket()
    first, second = bucket.landed("t/0050.csv"), bucket.landed("t/0050.csv")
    files = manifest(first, *(bucket.landed(f"t/{number:04d}.csv") for number in range(FILES) if number != 50), second)
    # THEN the older one has a place of its own, or Spark would read one path for both
    assert list(locations(bucket, files, Batch)) == ["0"]
    assert bucket.asked.count("t/0050.csv") == 2


def test_names_that_spark_would_misread_are_staged_whatever_the_listing_says() -> None:
    bucket = Bucket()
    files = manifest(*(bucket.landed(f"t/{number:04d}.csv") for number in range(FILES)), bucket.landed("t/a b.csv"))
    assert list(locations(bucket, files, Batch)) == [str(FILES)]


def test_files_that_are_scattered_are_asked_for_one_by_one() -> None:
    # GIVEN a bucket in which each of the batch's files stands among many that were merged long ago
    bucket = Bucket()
    files = []
    for number in range(FILES):
        files.append(bucket.landed(f"t/{number:04d}/new.csv"))
        for old in range(5):
            bucket.landed(f"t/{number:04d}/old-{old}.csv")
    # THEN the listing is given up at once
    assert locations(bucket, manifest(*files), Batch) == {}
    assert bucket.listings == 1
    assert len(bucket.asked) >= FILES - PAGE


def test_a_few_files_need_no_listing() -> None:
    bucket = Bucket()
    assert (
        unchanged_files(manifest(*(bucket.landed(f"t/{number}.csv") for number in range(WORTH_A_LISTING))), bucket)
        == set()
    )
    assert bucket.listings == 0

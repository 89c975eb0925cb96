"""S3's events carry the version of the object, as on AWS."""

import json
import time

from tidegate_local.s3_events import Sequence, with_version


def test_an_object_event_gets_its_version_id() -> None:
    event = {"Source": "aws.s3", "Detail": json.dumps({"object": {"key": "a"}})}
    assert json.loads(with_version(event, "v1")["Detail"]) == {"object": {"key": "a", "version-id": "v1"}}


def test_an_object_without_versions_and_other_events_stay_as_they_are() -> None:
    event = {"Source": "aws.s3", "Detail": "{}"}
    other = {"Source": "aws.emr", "Detail": "{}"}
    assert with_version(event, None) is event
    assert with_version(other, "v1") is other


def test_sequencers_begin_with_the_second_and_only_grow() -> None:
    numbers = [number for number, _ in zip(Sequence(), range(1000), strict=False)]
    assert numbers == sorted(set(numbers))
    assert abs((numbers[0] >> 32) - time.time()) < 5

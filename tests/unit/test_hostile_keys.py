"""Whoever may land a file chooses its key: no key reaches a path, a command or SQL as anything but a value."""

import json
import re

import pytest
from fakes.control_plane import LANDING, ControlPlane, execution
from hypothesis import given
from hypothesis import strategies as st
from tidegate.batches import is_plain_key, location_of, staged_name
from tidegate.runs import RUN_ID, read_request

NAMES = [
    "{a,b}.csv",
    "[a-z].csv",
    "*.csv",
    "?.csv",
    "a\nb.csv",
    "a\r\nb.csv",
    "a\tb.csv",
    "a'b.csv",
    'a"b.csv',
    "a`b.csv",
    "a\\b.csv",
    "$(touch pwned).csv",
    "`touch pwned`.csv",
    "${spark.app.name}.csv",
    "{{column}} {column} {0} %s.csv",
    "; rm -rf .csv",
    "a && b || c | d > e.csv",
    "--work.csv",
    "' OR '1'='1.csv",
    "'); DROP TABLE flights; --.csv",
    "_hidden.csv",
    ".hidden.csv",
    "..csv",
    " leading and trailing .csv",
    "a+b%20c%2F..%2Fd.csv",
    "a#b?c=d&e.csv",
    "s3:--other-bucket.csv",
    "é ✈ 漢字 \U0001f600 \u202e.csv",
    "e\u0301.csv",
    "\x00\x01\x7f.csv",
    "x" * 1000 + ".csv",
]
FOLDERS = ["2013-01", "..", ".", "_x", ".x", "$(id)", "'", "a b", "{a}", "month=2013-01", "\n", "\U0001f600", "%2e%2e"]
HOSTILE = [f"flights/{folder}/{name}" for folder in FOLDERS[:1] for name in NAMES] + [
    f"flights/{folder}/a.csv" for folder in FOLDERS
]
SAFE_URI = re.compile(r"s3://[a-z0-9-]+/[A-Za-z0-9/._-]+")
SAFE_WORD = re.compile(r"[A-Za-z0-9 ._-]+")
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


@pytest.fixture(scope="module")
def plane() -> ControlPlane:
    """All of the keys have landed, and are planned as one batch."""
    made = ControlPlane()
    for number, key in enumerate(HOSTILE):
        made.land(key, f"body {number}".encode())
    return made


@pytest.fixture(scope="module")
def plan(plane: ControlPlane) -> dict[str, object]:
    return plane.plan({"run": "r"}, execution("r"))


def test_every_key_is_in_the_manifest_as_it_landed(plane: ControlPlane, plan: dict[str, object]) -> None:
    assert plan["work"] == "merge"
    (manifest,) = plane.manifests()
    assert sorted(entry["key"] for entry in manifest["files"]) == sorted(HOSTILE)
    for entry in manifest["files"]:
        # THEN the capture is the folder's name, letter by letter: a value, whatever is in it
        assert entry["captures"] == {"month": entry["key"].split("/")[1]}


def test_what_spark_could_misread_is_read_from_a_copy_with_a_safe_name(
    plane: ControlPlane, plan: dict[str, object]
) -> None:
    (manifest,), (work,) = plane.manifests(), plane.work_of(plan)
    bodies = {key: f"body {number}".encode() for number, key in enumerate(HOSTILE)}
    for entry in manifest["files"]:
        staged = work["locations"].get(str(entry["index"]))
        if is_plain_key(entry["key"]):
            assert staged is None
            assert SAFE_URI.fullmatch(f"s3://{entry['bucket']}/{entry['key']}".replace("=", ""))
        else:
            assert SAFE_URI.fullmatch(staged), staged
            assert ".." not in staged
            assert "//" not in staged.removeprefix("s3://")
            assert plane.objects.by_uri[staged] == bodies[entry["key"]]
    assert len(set(work["locations"].values())) == len(work["locations"])


def test_no_key_reaches_the_machine(plan: dict[str, object]) -> None:
    # GIVEN what the machine makes the step's arguments of
    (group,) = plan["groups"]  # type: ignore[misc]
    assert SAFE_URI.fullmatch(group["work_uri"])
    assert SAFE_WORD.fullmatch(group["step_name"])
    said = json.dumps(plan, ensure_ascii=False)
    # THEN nothing of any key is in the plan: neither in arguments nor in words
    for name in [*NAMES, *FOLDERS[3:]]:
        if len(name) > 2:
            assert name not in said
            assert json.dumps(name, ensure_ascii=False)[1:-1] not in said


@given(keys)
def test_a_key_is_plain_only_if_it_means_itself_everywhere(key: str) -> None:
    # Design: "a key that isn't plain is staged by server-side copy under a safe name"
    if is_plain_key(key):
        assert re.fullmatch(r"[A-Za-z0-9/._=-]+", key)
        assert not any(part in {"", ".", ".."} or part[0] in "._" for part in key.split("/"))


@given(st.integers(0, 999_999), keys)
def test_a_staged_name_is_safe_and_of_its_index_alone(index: int, key: str) -> None:
    name = staged_name(index, key)
    assert re.fullmatch(r"\d{6}(\.[a-z0-9]{1,8}){0,2}", name)
    assert int(name[:6]) == index


@given(keys)
def test_a_key_that_is_not_plain_is_never_read_in_place(key: str) -> None:
    entry = {"key": key, "version_id": "v", "etag": "e"}
    assert location_of(entry, "v", "e").in_place is is_plain_key(key)


@given(st.text(min_size=1, max_size=90))
def test_a_run_id_that_is_taken_is_safe_in_paths_names_and_arguments(text: str) -> None:
    # It becomes a part of URIs, of the cluster's name and tags, and of the step's name.
    try:
        taken = read_request({"run": text}, "e", {"flights"}).run_id
    except Exception as refused:  # noqa: BLE001 - which one is held elsewhere
        assert type(refused).__name__ == "InvalidRunInput"
        assert not RUN_ID.fullmatch(text)
    else:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}", taken)


def test_the_landing_bucket_is_the_only_one_that_a_key_is_read_from(plane: ControlPlane) -> None:
    (manifest,) = plane.manifests()
    assert {entry["bucket"] for entry in manifest["files"]} == {LANDING}

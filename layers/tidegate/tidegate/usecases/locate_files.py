"""Where an attempt reads the files of a batch: in place, or from copies of their pinned versions."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tidegate.batches import is_plain_key, location_of, staged_name
from tidegate.errors import SourceGone
from tidegate.ports import Batch, Objects

THREADS = 16
"""For calls that only wait: heads and copies."""

WORTH_A_LISTING = 40
"""Files of a batch that a page of the bucket's listing must have in it: it costs as much as twelve heads, and reading
its thousand entries takes as long as some more."""


def locate_files(batch: Batch, objects: Objects, control_bucket: str) -> dict[str, str]:
    """Stage what can't be read in place; the URIs of the copies by the file's index in the manifest.

    Raises SourceGone, Throttled.
    """
    manifest = json.loads(objects.read(batch.manifest_uri) or b"")
    folder = f"s3://{control_bucket}/staging/{batch.table}/{batch.number:012d}"
    unchanged = unchanged_files(manifest["files"], objects)

    def stage(entry: Mapping[str, Any]) -> tuple[str, str] | None:
        if entry["index"] in unchanged:
            return None
        version, etag = objects.current(entry["bucket"], entry["key"])
        if location_of(entry, version, etag).in_place:
            return None
        if entry["version_id"] is None and entry["etag"] and entry["etag"] != etag:
            # Copying what is there now would merge other bytes under this arrival's name.
            raise SourceGone(
                f"s3://{entry['bucket']}/{entry['key']} was overwritten or deleted before it was merged, and its "
                "bucket keeps no versions. Switch versioning on, and land the file again under another name"
            )
        target = f"{folder}/{staged_name(entry['index'], entry['key'])}"
        objects.copy_version(entry["bucket"], entry["key"], entry["version_id"], target)
        return str(entry["index"]), target

    with ThreadPoolExecutor(THREADS) as pool:
        return dict(staged for staged in pool.map(stage, manifest["files"]) if staged is not None)


def unchanged_files(files: Sequence[Mapping[str, Any]], objects: Objects) -> set[int]:
    """The indexes of files of which the bucket's listing says that they are as recorded, by their ETags.

    Files that land together stand together in the listing: a page of it then costs a tenth of asking for each. Where
    they don't, it is given up; whatever it doesn't say is asked for one by one.
    """
    times = Counter((entry["bucket"], entry["key"]) for entry in files)
    # Of a key that is there twice one version is an older one, whatever its bytes are.
    asked = sorted(
        (entry["bucket"], entry["key"], entry["index"], entry["etag"])
        for entry in files
        if entry["etag"] and is_plain_key(entry["key"]) and times[entry["bucket"], entry["key"]] == 1
    )
    found: set[int] = set()
    while len(asked) > WORTH_A_LISTING:
        # The listing begins behind a key, so the first of them is not in it.
        (bucket, first, _, _), *asked = asked
        page = objects.etags_after(bucket, first)
        last = max(page, default="")
        covered = [each for each in asked if each[0] == bucket and each[1] <= last]
        found |= {index for _, key, index, etag in covered if page.get(key) == etag}
        if len(covered) < WORTH_A_LISTING:
            break
        asked = asked[len(covered) :]
    return found

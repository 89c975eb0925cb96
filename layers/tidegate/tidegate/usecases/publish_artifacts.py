"""Publish what the cluster needs: each file to a key that contains a hash of all of them."""

import hashlib
from collections.abc import Mapping

from tidegate.ports import Objects


def publish_artifacts(files: Mapping[str, bytes], *, objects: Objects, control_bucket: str) -> dict[str, str]:
    """Write the files, by their names, below `artifacts/<hash>/` and return where the machine finds them.

    What is there already stays as it is: the same hash means the same bytes, and older hashes are never removed,
    because a run in progress, or a redrive after a deploy, still reads them.

    Raises KeyError if one of the files that the machine names is missing, Throttled.
    """
    digest = hash_of(files)
    prefix = f"s3://{control_bucket}/artifacts/{digest}"
    uris = {name: f"{prefix}/{name}" for name in files}
    for name in sorted(files):
        objects.create(uris[name], files[name])
    return {
        "Hash": digest,
        "Prefix": prefix,
        "MainUri": uris["main.py"],
        "PyFilesUri": uris["tidegate_spark.zip"],
        "PythonDepsPrefix": f"{prefix}/python-deps-",  # and a node's CPU architecture
        "InstallScriptUri": uris["install_python_deps.sh"],
        "ContractsUri": uris["contracts.json"],
    }


def hash_of(files: Mapping[str, bytes]) -> str:
    """One hash over all names and contents: 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{hashlib.sha256(files[name]).hexdigest()}\n".encode())
    return digest.hexdigest()[:16]

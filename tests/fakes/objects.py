"""S3 in memory: objects by URI, and versions of what has landed."""

import hashlib
import threading
from datetime import UTC, datetime

from tidegate.errors import SourceGone
from tidegate.reconciling import UNVERSIONED, Marker, Version, VersionsPage

LONG_AGO = datetime(2026, 3, 1, tzinfo=UTC)


class FakeObjects:
    """Keeps to `tidegate.ports.Objects`. `land` and `forget` are what others do to the landing bucket."""

    def __init__(self) -> None:
        self.by_uri: dict[str, bytes] = {}
        self.versions: dict[tuple[str, str], list[tuple[str, bytes]]] = {}
        self.stored_at: dict[tuple[str, str, str | None], datetime] = {}
        """When a version landed; long ago, if nothing is said."""
        self.page_size = 1000
        self._lock = threading.Lock()

    def land(self, bucket: str, key: str, data: bytes) -> tuple[str, str]:
        """Put a new version; its (version id, ETag)."""
        versions = self.versions.setdefault((bucket, key), [])
        version = f"v{len(versions) + 1}"
        versions.append((version, data))
        return version, etag_of(data)

    def forget(self, bucket: str, key: str, version_id: str) -> None:
        self.versions[bucket, key] = [each for each in self.versions[bucket, key] if each[0] != version_id]

    def read(self, uri: str) -> bytes | None:
        return self.by_uri.get(uri)

    def write(self, uri: str, data: bytes) -> None:
        self.by_uri[uri] = data

    def create(self, uri: str, data: bytes) -> bool:
        with self._lock:
            if uri in self.by_uri:
                return False
            self.by_uri[uri] = data
            return True

    def names(self, prefix_uri: str) -> list[str]:
        return sorted(uri for uri in self.by_uri if uri.startswith(prefix_uri))

    def current(self, bucket: str, key: str) -> tuple[str | None, str | None]:
        versions = self.versions.get((bucket, key))
        return (versions[-1][0], etag_of(versions[-1][1])) if versions else (None, None)

    def versions_page(self, bucket: str, prefix: str, after: Marker | None) -> VersionsPage:
        listed = [
            Version(
                key=key,
                version_id=version_id or UNVERSIONED,
                etag=etag_of(data),
                size_bytes=len(data),
                last_modified=self.stored_at.get((bucket, key, version_id), LONG_AGO),
            )
            for (name, key), versions in sorted(self.versions.items())
            if name == bucket and key.startswith(prefix)
            for version_id, data in reversed(versions)
        ]
        start = 0
        if after is not None:
            passed = [
                place
                for place, each in enumerate(listed)
                if each.key < after.key or (each.key == after.key and after.version_id in {None, each.version_id})
            ]
            start = passed[-1] + 1 if passed else 0
        page = tuple(listed[start : start + self.page_size])
        is_last = start + self.page_size >= len(listed)
        return VersionsPage(page, None if is_last else Marker(page[-1].key, page[-1].version_id))

    def etags_after(self, bucket: str, key: str) -> dict[str, str]:
        there = sorted((name, each[-1][1]) for (of, name), each in self.versions.items() if of == bucket and each)
        return {name: etag_of(data) for name, data in there if name > key}

    def copy_version(self, bucket: str, key: str, version_id: str | None, target_uri: str) -> None:
        versions = dict(self.versions.get((bucket, key), []))
        if not versions or (version_id is not None and version_id not in versions):
            raise SourceGone(f"s3://{bucket}/{key} version {version_id} is gone")
        self.by_uri[target_uri] = versions[version_id or next(reversed(versions))]


def etag_of(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()

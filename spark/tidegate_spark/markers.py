"""Markers: files without rows which say that the snapshot in their folder is complete, and perhaps of which files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tidegate_spark.errors import ReadFailed, SourceChanged
from tidegate_spark.storage import Storage
from tidegate_spark.work import Manifest, SourceFile

_LARGEST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class Marker:
    """A marker of the batch."""

    file: SourceFile
    names: tuple[str, ...] = ()
    """The files that it lists, if it is read at all."""
    problem: str | None = None
    """Why it can't be used."""


def read_markers(storage: Storage, manifest: Manifest, problems: Mapping[int, str]) -> tuple[Marker, ...]:
    """The batch's markers; `problems` are known ones, by a file's index. Raises SourceChanged, ReadFailed."""
    files = [file for file in manifest.files if file.marker]
    needs_list = manifest.contract.snapshot.complete == "manifest"

    def look_at(file: SourceFile) -> Marker:
        if file.index in problems:
            return Marker(file, problem=problems[file.index])
        return _listing(storage, file) if needs_list else Marker(file)

    return tuple(storage.in_threads(look_at, files))


def names_of(text: str) -> tuple[str, ...]:
    """The last parts of what is listed, one a line: names, keys and URIs will do."""
    lines = (line.strip() for line in text.removeprefix("\ufeff").splitlines())
    return tuple(dict.fromkeys(line.rpartition("/")[2] for line in lines if line))


def _listing(storage: Storage, file: SourceFile) -> Marker:
    if file.size_bytes > _LARGEST_BYTES:
        return Marker(file, problem=f"has {file.size_bytes} bytes: is this a list of files, one name a line?")
    try:
        text = storage.read(file.uri).decode()
    except FileNotFoundError as gone:
        if file.in_place:
            raise SourceChanged(
                f"{file.source} is gone ({gone}). Nothing to do: the next attempt reads a copy of the pinned version.",
                file=file.key,
            ) from gone
        raise ReadFailed(f"The staged copy of {file.source} is gone: {file.uri} ({gone})", file=file.key) from gone
    except UnicodeDecodeError:
        return Marker(file, problem="is not UTF-8; list the snapshot's files in plain text, one name a line")
    except OSError as failed:
        raise ReadFailed(f"{file.source} could not be read: {failed}", file=file.key) from failed
    names = names_of(text)
    if not names:
        return Marker(file, problem="lists no file; list the names of the snapshot's files, one a line")
    return Marker(file, names)

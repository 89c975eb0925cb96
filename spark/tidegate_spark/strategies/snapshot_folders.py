"""Snapshots of several files: a folder is one, once its marker says that it is complete.

The files may come in any order and in several batches. What makes up a snapshot is decided by all that came so far,
and each file that comes only adds to that: a complete snapshot stays complete.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Piece:
    """A version of a file of a folder, or of the folder's marker."""

    source: str
    """Bucket and key."""
    sequencer: str
    event_time: str
    is_marker: bool = False
    names: tuple[str, ...] = ()
    """What a marker lists."""
    problem: str | None = None
    """Why it can't be used."""
    rows: int = 0
    captures: Mapping[str, str] = field(default_factory=dict, hash=False)
    is_new: bool = False
    """It came with this batch, which is where its rows are."""

    @property
    def folder(self) -> str:
        return self.source.rpartition("/")[0]

    @property
    def name(self) -> str:
        return self.source.rpartition("/")[2]

    @property
    def version(self) -> tuple[str, str]:
        return (self.source, self.sequencer)


@dataclass(frozen=True)
class Folder:
    """A complete snapshot: a version of a marker, and the files that it stands for."""

    marker: Piece
    members: tuple[Piece, ...]

    @property
    def content(self) -> str:
        """A text that two of them share if they are made of the same versions."""
        listed = "\n".join("\t".join(member.version) for member in self.members)
        return hashlib.sha256(listed.encode()).hexdigest()


def complete_folders(pieces: Iterable[Piece], *, by_list: bool) -> list[Folder]:
    """The complete snapshots. Of a file its newest good version counts.

    Without a list, a file that has no good version holds its folder back: nobody can tell which keys it would have
    had. With one, what isn't listed is no part of the snapshot.
    """
    found: list[Folder] = []
    for of_folder in _by_folder(pieces).values():
        markers = [piece for piece in of_folder if piece.is_marker and piece.problem is None]
        good = _newest_good(piece for piece in of_folder if not piece.is_marker)
        named = {piece.name for piece in of_folder if not piece.is_marker}
        for marker in sorted(markers, key=lambda piece: piece.version):
            wanted = set(marker.names) if by_list else named
            if wanted and wanted <= good.keys():
                found.append(Folder(marker, tuple(good[name] for name in sorted(wanted))))
    return found


def _by_folder(pieces: Iterable[Piece]) -> dict[str, list[Piece]]:
    folders: dict[str, list[Piece]] = {}
    for piece in pieces:
        folders.setdefault(piece.folder, []).append(piece)
    return folders


def _newest_good(pieces: Iterable[Piece]) -> dict[str, Piece]:
    good: dict[str, Piece] = {}
    for piece in pieces:
        if piece.problem is None and (piece.name not in good or piece.sequencer > good[piece.name].sequencer):
            good[piece.name] = piece
    return good

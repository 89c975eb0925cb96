"""The jars of YARN's daemons: `jars.txt`, each pinned by its sha256, fetched when `--yarn` first wants them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tidegate_local import jars
from tidegate_local.jars import Jar
from tidegate_local.settings import Settings

_LIST = Path(__file__).parent / "jars.txt"


def packages() -> tuple[Jar, ...]:
    """What `jars.txt` lists."""
    lines = [line.split() for line in _LIST.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return tuple(_jar(coordinates, sha256) for coordinates, sha256 in lines)


def _jar(coordinates: str, sha256: str) -> Jar:
    organisation, artifact, version = coordinates.split(":")
    return Jar(organisation, artifact, version, sha256)


def folder(settings: Settings) -> Path:
    """Apart from Spark's own, of which some have the same name in another version."""
    return settings.jars_dir / "yarn"


def fetch(settings: Settings, say: Callable[[str], None] = lambda _line: None) -> list[Jar]:
    """Bring what is missing: 72 MB at the first time. Raises :class:`tidegate_local.jars.JarsUnavailable`."""
    return jars.fetch_pinned(packages(), folder(settings), settings.cache_dir, say, what="YARN")

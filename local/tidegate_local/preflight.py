"""What has to be so before the local cloud can start. Each thing that is missing is one clear sentence."""

from __future__ import annotations

import shutil
import socket
import sys
from pathlib import Path

import psutil

ROOM_BYTES = 2 * 1024**3
"""For objects, Spark's scratch files and the build."""


class LocalCloudError(Exception):
    """The local cloud can't do what was asked. The message says what is wrong and what to do."""


def check_room(folder: Path) -> None:
    """Raise LocalCloudError if there is too little room below `folder`."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if free < ROOM_BYTES:
        raise LocalCloudError(
            f"{free / 1024**3:.1f} GiB are free in {there}, but the local cloud needs {ROOM_BYTES / 1024**3:.0f}: "
            "make room, or point TIDEGATE_HOME to another disk"
        )


def check_port(port: int) -> None:
    """Raise LocalCloudError if something else listens on the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise LocalCloudError(
                f"port {port} is in use{_holder(port)}: stop that, or choose another with --port"
            ) from error


def _holder(port: int) -> str:
    try:
        listening = [each for each in psutil.net_connections("tcp") if each.laddr and each.laddr.port == port]
        names = {psutil.Process(each.pid).name() for each in listening if each.pid}
    except psutil.Error:  # some systems tell only root
        return ""
    return f" by {', '.join(sorted(names))}" if names else ""


def check_yarn() -> None:
    """Raise LocalCloudError where YARN's daemons can't have a loopback address each."""
    if sys.platform != "linux":
        raise LocalCloudError("--yarn needs Linux, where all of 127.0.0.0/8 is loopback: leave it out, or use a VM")


def find_sam(checkout: Path, named: str | None) -> Path:
    """The SAM CLI of `make setup`, or the one that TIDEGATE_SAM names. Raises LocalCloudError."""
    sam = Path(named) if named else checkout / ".venv-sam" / "bin" / "sam"
    if not sam.is_file():
        raise LocalCloudError(f"there is no SAM CLI at {sam}: run `make setup`")
    return sam

"""An attempt that dies between two commits of its merge, whichever they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


class Died(Exception):
    """The process ends here."""


@contextmanager
def dies_before_commit(number: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Within it, the commit of this number, from 1, is never reached. Answers with the commits that were begun."""
    from tidegate_spark import batch, commit, side_tables

    begun: list[str] = []

    @contextmanager
    def counted(session: Any, app_id: str, batch_number: int, told: Any) -> Iterator[None]:
        begun.append(app_id)
        if len(begun) == number:
            raise Died(f"before commit {number}, of {app_id}")
        with commit.numbered_commit(session, app_id, batch_number, told):
            yield

    with monkeypatch.context() as patched:
        patched.setattr(batch, "numbered_commit", counted)
        patched.setattr(side_tables, "numbered_commit", counted)
        yield begun

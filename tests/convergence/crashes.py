"""An attempt that dies between two commits of its merge, or after the last of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest

Death = Literal["between commits", "after commits"]


class Died(Exception):
    """The process ends here."""


@contextmanager
def dies(when: Death, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within it, a second commit is never reached, or the receipt of what is committed. One commit alone survives the
    first of them."""
    from tidegate_spark import batch, commit, receipts, side_tables

    begun: list[str] = []

    @contextmanager
    def counted(session: Any, app_id: str, batch_number: int, told: Any) -> Iterator[None]:
        begun.append(app_id)
        if len(begun) > 1:
            raise Died(f"between {begun[0]} and {app_id}")
        with commit.numbered_commit(session, app_id, batch_number, told):
            yield

    def told_to_nobody(*_: Any, **__: Any) -> None:
        raise Died("before the receipt")

    with monkeypatch.context() as patched:
        if when == "between commits":
            patched.setattr(batch, "numbered_commit", counted)
            patched.setattr(side_tables, "numbered_commit", counted)
        else:
            patched.setattr(receipts, "committed", told_to_nobody)
        yield

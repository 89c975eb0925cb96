"""Stops work while there is still time to say that it took too long."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise TimeoutError if the block is not through within `seconds`. For the main thread, where handlers run."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"not done within {seconds:.0f} s: give the function more time or memory")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

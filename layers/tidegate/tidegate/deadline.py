"""Stops work while there is still time to say that it took too long."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

RESERVE_S = 30
"""What one piece of work may take at most: a thousand arrivals are written within a few seconds."""


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


def while_time(remaining_ms: Callable[[], int], *, at_most_s: float | None = None) -> Callable[[], bool]:
    """Whether there is still time for another piece of work, by what Lambda says is left of a call.

    The last RESERVE_S are for the piece that is under way; `at_most_s` is the most that all pieces may take.
    """
    began_ms = remaining_ms()

    def has_time() -> bool:
        left_ms = remaining_ms()
        is_early = at_most_s is None or began_ms - left_ms < at_most_s * 1000
        return left_ms > RESERVE_S * 1000 and is_early

    return has_time

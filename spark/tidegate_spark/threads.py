"""Work side by side in the driver.

A thread of Python that talks to Spark has a connection and a thread of its own in the JVM. Here both are
given back at its end, and the pool and the description of jobs are taken along, which the standard library's
thread pools don't do.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from pyspark import InheritableThread, SparkContext
from pyspark.sql import SparkSession

_GROUP = "spark.jobGroup.id"
_INTERRUPT = "spark.job.interruptOnCancel"
_AGAIN_S = 0.5
"""A cancelled group may begin another job: it is cancelled again until its work has given up."""
_group_numbers = itertools.count()

T = TypeVar("T")
R = TypeVar("R")


def in_threads(work: Callable[[T], R], items: Iterable[T], *, at_most: int) -> list[R]:
    """`work` for every item; answers in the items' order. Once one fails, no other begins; it is raised."""
    todo = list(items)
    answers: dict[int, R] = {}
    failures: dict[int, BaseException] = {}
    numbers = itertools.count()  # next() on it is atomic

    def take_turns() -> None:
        try:
            work_off()
        finally:
            _give_connection_back()

    def work_off() -> None:
        while not failures and (number := next(numbers)) < len(todo):
            try:
                answers[number] = work(todo[number])
            except BaseException as failure:  # noqa: BLE001 - raised again below, in the caller's thread
                failures[number] = failure

    threads = [InheritableThread(target=take_turns) for _ in range(min(at_most, len(todo)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[min(failures)]
    return [answers[number] for number in range(len(todo))]


@contextmanager
def job_limit(session: SparkSession, seconds: float) -> Iterator[None]:
    """Spark jobs begun within it are cancelled once so many seconds have passed, which raises in who waits for them.

    What the driver does by itself isn't interrupted.
    """
    context = session.sparkContext
    group = f"limited-{next(_group_numbers)}"
    before = {name: context.getLocalProperty(name) for name in (_GROUP, _INTERRUPT)}
    is_over = threading.Event()

    def cancel() -> None:
        wait_s = seconds
        try:
            while not is_over.wait(wait_s):
                context.cancelJobGroup(group)
                wait_s = _AGAIN_S
        finally:
            _give_connection_back()

    canceller = threading.Thread(target=cancel, daemon=True)
    context.setLocalProperty(_GROUP, group)
    context.setLocalProperty(_INTERRUPT, "true")
    canceller.start()
    try:
        yield
    finally:
        is_over.set()
        canceller.join()
        for name, value in before.items():
            # PySpark takes None, which removes the property, though its annotation doesn't say so.
            context.setLocalProperty(name, value)  # type: ignore[arg-type]


@contextmanager
def repeated(action: Callable[[], None], *, every_s: float) -> Iterator[None]:
    """Do something beside the work again and again, the first time after so many seconds. It must not raise."""
    is_over = threading.Event()

    def repeat() -> None:
        try:
            while not is_over.wait(every_s):
                action()
        finally:
            _give_connection_back()

    repeater = threading.Thread(target=repeat, daemon=True)
    repeater.start()
    try:
        yield
    finally:
        is_over.set()
        repeater.join()


def _give_connection_back() -> None:
    gateway: Any = SparkContext._gateway
    connection = gateway._gateway_client.get_thread_connection() if gateway is not None else None
    if connection is not None:
        connection.close()

"""Virtual time: an event loop whose clock jumps to the next timer instead of waiting for it.

Nothing in it comes from outside: no socket, no thread, no signal. So the order of everything that happens follows from
the program and its seed alone, and an hour takes as long as the work in it.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any, TypeVar
from unittest.mock import patch

T = TypeVar("T")

GENESIS = 1_800_000_000
"""Unix time at which every simulation begins."""


class StandstillError(Exception):
    """Nothing is left that could ever happen, and yet something is waited for."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop with nothing to select on: it is its own selector, and where one would wait it moves the clock."""

    def __init__(self) -> None:
        super().__init__()
        self._elapsed = 0.0
        self._selector = self

    def time(self) -> float:
        return self._elapsed

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise StandstillError
        self._elapsed += max(timeout, 0.0)
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody calls from another thread."""

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> "asyncio.Future[T]":  # noqa: ARG002
        """At once and here: a thread of its own would take real time."""
        future = self.create_future()
        future.set_result(func(*args))
        return future


@contextmanager
def virtual_time() -> Generator[VirtualLoop]:
    """A loop of its own; in the block `time.time` and `time.monotonic` are its clock, for whoever asks."""
    loop = VirtualLoop()
    with (
        patch.object(time, "time", lambda: GENESIS + loop.time()),
        patch.object(time, "monotonic", loop.time),
    ):
        try:
            yield loop
        finally:
            _let_go(loop)


def run(loop: VirtualLoop, main: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, in virtual time."""
    return loop.run_until_complete(main)


def _let_go(loop: VirtualLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()

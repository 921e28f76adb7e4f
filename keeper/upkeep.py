"""The parts of the daemon that must not end while it runs, and how they end when it does."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from keeper.alerts import Alarm, Alerts

log = structlog.stdlib.get_logger(__name__)

RESTART_SECONDS = 1.0
"""Between the end of a part that must not end and its next beginning."""


async def kept_up(
    alerts: Alerts, what: str, work: Callable[[], Awaitable[None]], pause_seconds: float = RESTART_SECONDS
) -> None:
    """Does `work` again whenever a fault ends it, and tells: a daemon without it looks alive and protects nothing."""
    while True:
        try:
            return await work()
        except Exception as fault:
            log.exception("a part of the daemon ended", part=what)
            says = f"The {what} ended ({type(fault).__name__}) and begin again; the log has the details."
            alerts.raise_alarm(Alarm.CYCLE_FAILED, what, says)
        await asyncio.sleep(pause_seconds)


async def end(task: "asyncio.Task[None]") -> None:
    """Whatever the task ended with is logged: nothing keeps the rest of the stop from happening."""
    task.cancel()
    (ended,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(ended, Exception):
        log.error("a part of the daemon had ended", problem=repr(ended))

"""How late the daemon's loop is: what does not yield to it delays everything else, reads and sends included."""

import asyncio
from collections import deque

from keeper.chain.clock import SYSTEM_CLOCK, Clock
from keeper.telemetry import Metrics

BEAT_SECONDS = 1.0
REMEMBERED_BEATS = 60


class Pulse:
    """One process's. What it measures is in `metrics`: the worst of the last minute, and how many tasks there are."""

    def __init__(self, metrics: Metrics, clock: Clock = SYSTEM_CLOCK) -> None:
        self._metrics = metrics
        self._clock = clock
        self._late: deque[float] = deque(maxlen=REMEMBERED_BEATS)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            began = self._clock.monotonic()
            await self._clock.sleep(BEAT_SECONDS)
            self._late.append(max(self._clock.monotonic() - began - BEAT_SECONDS, 0.0))
            self._metrics.loop_lag_seconds.set(max(self._late))
            self._metrics.tasks.set(len(asyncio.all_tasks()))

"""How fast an endpoint is asked: in two lanes, each with a rate and slots of its own.

The rate follows what the endpoint puts up with: a refusal for the rate halves it, every answer lets it creep back. How
long an endpoint asks to be left alone is honoured, within a bound.
"""

import asyncio
from dataclasses import dataclass
from enum import Enum

from asyncio_throttle import Throttler

from keeper.chain.clock import Clock


class Traffic(Enum):
    """The two lanes of an endpoint; what is on its way to being sent never queues behind what is only looked at."""

    READ = "read"
    SEND = "send"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one endpoint may be asked."""

    requests_per_second: float = 25
    timeout_seconds: float = 5
    """From being asked to having answered, the wait for the endpoint's rate included."""
    concurrent_reads_max: int = 12
    concurrent_sends_max: int = 4


SEND_SHARE = 0.2
"""Of the permitted rate; a cycle sends two requests at most."""
SLOWEST = 1 / 16
"""Of the permitted rate: below it a cycle's requests would not fit into its time."""
CREEP = 1 / 64
"""Of the permitted rate, regained with every answer."""
REST_SECONDS_MAX = 30.0
"""However long an endpoint asks to be left alone: a header that says a day would leave all unprotected for a day."""


class Lane:
    def __init__(self, requests_per_second: float, burst: int, concurrent_max: int) -> None:
        # The window slides, so a short period spreads requests; `burst` is the least that a cycle needs at once.
        self._period = burst / requests_per_second
        self._throttler = Throttler(rate_limit=burst, period=self._period)
        self._slots = asyncio.Semaphore(concurrent_max)

    def slow_to(self, share: float) -> None:
        """That share of the permitted rate, from now on."""
        self._throttler.period = self._period / share

    async def __aenter__(self) -> None:
        await self._slots.acquire()
        try:
            await self._throttler.acquire()
        except BaseException:
            self._slots.release()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._slots.release()


class Pace:
    """The lanes of one endpoint and how much of its permitted rate is used."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._clock = clock
        reads = limits.requests_per_second * (1 - SEND_SHARE)
        sends = limits.requests_per_second * SEND_SHARE
        self._lanes = {
            Traffic.READ: Lane(reads, max(2, round(reads / 5)), limits.concurrent_reads_max),
            Traffic.SEND: Lane(sends, max(4, round(sends)), limits.concurrent_sends_max),
        }
        self.share = 1.0
        """Of the permitted rate."""
        self._slowed_at = -1.0
        self._rests_until = 0.0

    def lane(self, traffic: Traffic) -> Lane:
        return self._lanes[traffic]

    @property
    def rest_seconds(self) -> float:
        """How much longer the endpoint asked to be left alone; 0 when it did not."""
        return max(0.0, self._rests_until - self._clock.monotonic())

    def refused(self, asked_at: float, retry_after_seconds: float | None) -> None:
        """The endpoint refused a request of `asked_at` (monotonic) for the rate."""
        now = self._clock.monotonic()
        self._rests_until = max(self._rests_until, now + min(retry_after_seconds or 0.0, REST_SECONDS_MAX))
        # Requests that were on their way when the rate was halved already say nothing about the new one.
        if asked_at > self._slowed_at:
            self._slowed_at = now
            self._take(max(self.share / 2, SLOWEST))

    def answered(self) -> None:
        if self.share < 1:
            self._take(min(1.0, self.share + CREEP))

    def _take(self, share: float) -> None:
        self.share = share
        for lane in self._lanes.values():
            lane.slow_to(share)

"""Who is told when something is wrong: alarms with stable names, posted as JSON to the owner's webhook.

Raising an alarm never waits and never fails; delivery runs beside the cycles, is bounded in queue and retries, and what
it cannot deliver it logs. The same alarm about the same subject for the same reason is posted once per window.
"""

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import aiohttp
import structlog

from keeper.telemetry import Metrics

QUEUE_LENGTH_MAX = 256
REQUEST_SECONDS_MAX = 10.0
RETRY_PAUSES_SECONDS = (1.0, 4.0, 16.0)
SUBJECTS_MAX = 4_096
"""Remembered for deduplication; more is a subject that changes every time."""

log = structlog.stdlib.get_logger(__name__)


class Severity(Enum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Alarm(Enum):
    """Stable names: rules that people write against them keep working."""

    def __init__(self, label: str, severity: Severity) -> None:
        self.label = label
        self.severity = severity

    HEARTBEAT = ("heartbeat", Severity.INFO)
    """A sign of life; its absence is the alarm."""
    STARTED = ("started", Severity.INFO)
    """The daemon runs."""
    STOPPED = ("stopped", Severity.WARNING)
    """The daemon was told to stop; nothing is protected until it runs again."""
    RESCUED = ("rescued", Severity.INFO)
    """A rescue took effect."""
    NO_FRESH_VIEW = ("no_fresh_view", Severity.CRITICAL)
    """No node answers at the start, or there was no new block for longer than [chain] head_age_max: it is blind."""
    CYCLE_FAILED = ("cycle_failed", Severity.CRITICAL)
    """A cycle ended in a fault of the keeper itself."""
    NODE_FAILING = ("node_failing", Severity.WARNING)
    """A node does not answer, or answers wrongly."""
    ENDPOINT_DISSENTS = ("endpoint_dissents", Severity.WARNING)
    """An endpoint contradicts a quorum of the others, or garbles what another one tells: it is left out for a while."""
    QUORUM_LOST = ("quorum_lost", Severity.CRITICAL)
    """Fewer endpoints agree than [chain] quorum: only debt-free donors give."""
    LIQUIDATABLE = ("liquidatable", Severity.CRITICAL)
    """A subaccount can be liquidated at this block."""
    UNFUNDED = ("unfunded", Severity.CRITICAL)
    """A subaccount is below its trigger and nothing may be moved that saves it."""
    BLOCKED = ("blocked", Severity.CRITICAL)
    """A rescue is due and something named prevents it."""
    UNKNOWN = ("unknown", Severity.CRITICAL)
    """A subaccount could not be read or priced."""
    NOT_PROTECTED = ("not_protected", Severity.WARNING)
    """A position with debt is not enrolled in the guard, or not in keeper.toml."""
    STALE_PRICE = ("stale_price", Severity.WARNING)
    """A feed's answer is older than its heartbeat allows, or its age cannot be read."""
    PRICE_DISPUTED = ("price_disputed", Severity.CRITICAL)
    """An oracle and a second source are too far apart, or a price jumped: only those without debt give."""
    PRICE_UNCHECKED = ("price_unchecked", Severity.WARNING)
    """A second source does not answer: its token's price is believed unchecked."""
    SEQUENCER_DOWN = ("sequencer_down", Severity.CRITICAL)
    """The chain's sequencer is down, came back a moment ago, or cannot be asked: only those without debt give."""
    GUARD_PROBLEM = ("guard_problem", Severity.CRITICAL)
    """The guard is missing, paused, another owner's, or does not let the keeper act."""
    PERMISSION_LOW = ("permission_low", Severity.WARNING)
    """An authorisation is missing, or an allowance or a cap is used up."""
    RESCUE_FAILED = ("rescue_failed", Severity.CRITICAL)
    """A rescue was due and did not take effect: refused before it was sent (its cost included), or failed on-chain."""
    TRANSACTION_STUCK = ("transaction_stuck", Severity.CRITICAL)
    """A transaction was not included before its deadline, or its nonce was used by another: it was given up."""
    GAS_LOW = ("gas_low", Severity.WARNING)
    """The hot key has gas money for fewer than ten rescues in a storm, by the fees of the last day."""
    BUDGET_LOW = ("budget_low", Severity.WARNING)
    """Of the day's gas budget less is left than a rescue of this lane costs: it will be refused."""
    DISK_FULL = ("disk_full", Severity.CRITICAL)
    """The journal's disk is full: what is on its way is recorded, nothing new is sent once the reserve is used."""
    JOURNAL_FAILING = ("journal_failing", Severity.CRITICAL)
    """The journal cannot be written: cycles go on as far as they can without it."""
    PAUSED = ("paused", Severity.WARNING)
    """Somebody paused the keeper: nothing is sent, or only debt-free donors give."""
    RESUMED = ("resumed", Severity.INFO)
    """The keeper sends again."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alarm about one subject (a subaccount id, a node, `keeper`)."""

    alarm: Alarm
    subject: str
    sentence: str
    at: int
    """Unix seconds."""

    def as_json(self, origin: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **origin,
            "name": self.alarm.label,
            "severity": self.alarm.severity.value,
            "subject": self.subject,
            "sentence": self.sentence,
            "at": self.at,
        }


Raised = tuple[Alarm, str, str]
"""The alarm, what it is about, and a sentence."""

_NUMBERS = re.compile(r"0x[0-9a-fA-F…]+|[0-9]+")


def _reason_in(sentence: str) -> str:
    """A sentence without its numbers, which differ from block to block while the reason is the same."""
    return _NUMBERS.sub("#", sentence)


class Alerts:
    """Raises alarms and, while `run` runs, delivers them.

    `origin` is put into every post (chain, owner), so that one webhook can serve several keepers. An alarm arrives at
    least once, unless it is dropped or fails, which is logged. Without a `url` alarms are only logged and counted.
    """

    def __init__(
        self,
        url: str | None,
        origin: Mapping[str, Any],
        metrics: Metrics,
        dedupe_seconds: float,
        heartbeat_seconds: float,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        retry_pauses_seconds: tuple[float, ...] = RETRY_PAUSES_SECONDS,
    ) -> None:
        self._url = url
        self._origin = origin
        self._metrics = metrics
        self._dedupe_seconds = dedupe_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._clock = clock
        self._monotonic = monotonic
        self._retry_pauses_seconds = retry_pauses_seconds
        self._raised_at: dict[tuple[Alarm, str, str], float] = {}
        """By alarm, subject and reason; monotonic seconds, because a clock that is set back must silence nothing."""
        self._held: frozenset[tuple[Alarm, str]] = frozenset()
        self._queue: deque[Alert] = deque()
        self._news = asyncio.Event()

    def raise_alarm(self, alarm: Alarm, subject: str, sentence: str) -> bool:
        """Logs, counts and queues an alarm; False when the same was raised within the window and only counts."""
        self._metrics.alarms.labels(alarm.label).inc()
        now = self._monotonic()
        key = (alarm, subject, _reason_in(sentence))
        last = self._raised_at.get(key)
        if last is not None and now - last < self._dedupe_seconds:
            return False
        # Newest last, so that the first is the one to forget.
        self._raised_at.pop(key, None)
        self._raised_at[key] = now
        if len(self._raised_at) > SUBJECTS_MAX:
            del self._raised_at[next(iter(self._raised_at))]
        self._log(alarm, subject, sentence)
        if self._url is not None:
            self._enqueue(Alert(alarm, subject, sentence, int(self._clock())))
        return True

    def raise_held(self, alarms: Iterable[Raised]) -> None:
        """Raises all that hold in this cycle, and forgets what held in the one before and does not any more."""
        held = tuple(alarms)
        now = frozenset((alarm, subject) for alarm, subject, _ in held)
        for alarm, subject in self._held - now:
            self.forget(alarm, subject)
        self._held = now
        for alarm, subject, sentence in held:
            self.raise_alarm(alarm, subject, sentence)

    def forget(self, alarm: Alarm, subject: str) -> None:
        """Call it when the reason is gone: should it come back within the window, that is news again."""
        for key in [key for key in self._raised_at if key[:2] == (alarm, subject)]:
            del self._raised_at[key]

    async def run(self) -> None:
        """Delivers until cancelled, with a heartbeat whenever its time has come."""
        if self._url is None:
            return
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS_MAX)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            loop = asyncio.get_running_loop()
            heartbeat_at = loop.time()
            while True:
                if loop.time() >= heartbeat_at:
                    self._enqueue(Alert(Alarm.HEARTBEAT, "keeper", "The keeper runs.", int(self._clock())))
                    heartbeat_at = loop.time() + self._heartbeat_seconds
                await self._deliver_queued(session, self._url)
                self._news.clear()
                try:
                    async with asyncio.timeout_at(heartbeat_at):
                        await self._news.wait()
                except TimeoutError:
                    continue

    async def flush(self, seconds_max: float) -> None:
        """Delivers what is queued, once `run` is over, for at most so long: the last word before the process ends."""
        if self._url is None or not self._queue:
            return
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS_MAX)
        try:
            async with asyncio.timeout(seconds_max), aiohttp.ClientSession(timeout=timeout) as session:
                await self._deliver_queued(session, self._url)
        except TimeoutError:
            log.warning("alerts not delivered before the end", count=len(self._queue))

    def _enqueue(self, alert: Alert) -> None:
        if len(self._queue) >= QUEUE_LENGTH_MAX:
            lost = self._queue.popleft()
            log.warning("alert dropped, the queue is full", alarm=lost.alarm.label, subject=lost.subject)
        self._queue.append(alert)
        self._news.set()

    async def _deliver_queued(self, session: aiohttp.ClientSession, url: str) -> None:
        while self._queue:
            # It leaves the queue only afterwards: a cancelled delivery is left to `flush`.
            alert = self._queue[0]
            problem = await self._deliver(session, url, alert)
            if problem:
                log.warning("alert not delivered", alarm=alert.alarm.label, subject=alert.subject, problem=problem)
            if self._queue and self._queue[0] is alert:
                self._queue.popleft()

    async def _deliver(self, session: aiohttp.ClientSession, url: str, alert: Alert) -> str | None:
        """What is wrong with the last try, or None."""
        problem: str | None = None
        for pause in (0.0, *self._retry_pauses_seconds):
            await asyncio.sleep(pause)
            problem, is_worth_retrying = await _post(session, url, alert.as_json(self._origin))
            if problem is None or not is_worth_retrying:
                break
        return problem

    def _log(self, alarm: Alarm, subject: str, sentence: str) -> None:
        match alarm.severity:
            case Severity.INFO:
                log.info(sentence, alarm=alarm.label, subject=subject)
            case Severity.WARNING:
                log.warning(sentence, alarm=alarm.label, subject=subject)
            case Severity.CRITICAL:
                log.error(sentence, alarm=alarm.label, subject=subject)


async def _post(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> tuple[str | None, bool]:
    """What went wrong, if anything, and whether the same request may go better later."""
    try:
        async with session.post(url, json=body, allow_redirects=False) as response:
            if 200 <= response.status < 300:
                return None, False
            return f"the webhook answered {response.status}", response.status == 429 or response.status >= 500
    except TimeoutError:
        return "the webhook did not answer in time", True
    except aiohttp.ClientError as error:
        # Its text holds the whole URL.
        return f"the webhook cannot be reached ({type(error).__name__})", True

"""The newest block, again and again: what paces the keeper.

Asking over HTTP is the truth. A WebSocket that announces heads makes it quicker and, when it carries the whole header,
saves the request; when it falls silent the asking goes on by itself. Heads never go back: a node that answers with an
older block of the same chain is behind and is passed over. What came between two heads is asked for afterwards, from
parent to parent, so that a reorganisation is seen wherever it begins. No new head for too long is an event as well, and
a head that is old when it arrives is none: a node that lags by hours still answers with a new block every time.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from keeper.chain.clock import Clock
from keeper.core.snapshot import Block
from keeper.errors import ChainError, RateLimited

REMEMBERED_HEADS = 64
"""How deep a reorganisation is recognised as one."""
POLL_SECONDS_MIN = 0.1
POLL_SECONDS_MAX = 1.0
CREEP_AT_FIRST = 4
CREEP_KNOWN = 32
"""The part of a step by which the node is asked earlier after each block: quickly until the moment of the blocks is
known, then slowly, because an answer that comes too soon is a request in vain."""
BACK_OFF_SECONDS_MAX = 30.0
"""However long a node asks to be left alone: a header that says a day would leave everything unprotected for a day."""


@dataclass(frozen=True, slots=True)
class NewHead:
    block: Block
    reorganised: int = 0
    """How many of the heads reported before are not in the chain any more."""
    missed: int = 0
    """How many blocks came between the last head and this one."""


@dataclass(frozen=True, slots=True)
class Silence:
    """No new head for `age_seconds`; said again each time that as much has passed."""

    age_seconds: float
    reason: str
    """What the node did instead, as a sentence."""


HeadEvent = NewHead | Silence


class HeadSource(Protocol):
    async def head(self) -> Block: ...
    async def block(self, which: int | str) -> Block: ...


class HintSource(Protocol):
    """What `NewHeads` offers."""

    arrived: asyncio.Event

    def take(self) -> list[Block | None]: ...


class Heads:
    """An endless iterator of events. While its consumer is busy heads pass unreported: only the newest matters."""

    def __init__(
        self,
        source: HeadSource,
        clock: Clock,
        *,
        block_seconds: float,
        silence_seconds: float,
        hints: HintSource | None = None,
        believes_hints: bool = True,
    ) -> None:
        """`block_seconds`: the usual time between two blocks; `silence_seconds`: how long without one is too long.

        `believes_hints`: whether an announced header is a head; else it is only a reason to ask for one.
        """
        self._source = source
        self._clock = clock
        self._hints = hints
        self._believes_hints = believes_hints
        self._silence_seconds = silence_seconds
        self._block_seconds = block_seconds
        self._period = block_seconds
        self._poll_seconds = min(max(block_seconds / 8, POLL_SECONDS_MIN), POLL_SECONDS_MAX)
        self._hashes: dict[int, str] = {}
        """By number, of the blocks that are known to be in the chain of the last head."""
        self._is_linked = True
        """Whether they lead from the last head down without a gap."""
        self._last: Block | None = None
        self._reported: Block | None = None
        self._is_lost = False
        """Whether nothing new was seen for too long: then it may be the last head that was wrong."""
        self._reorganised = 0
        self._heard_at = clock.monotonic()
        self._next_silence_at = self._heard_at + silence_seconds
        self._poll_at = self._heard_at
        self._due_at = self._heard_at
        """When the next head is to be expected."""
        self._creep = CREEP_AT_FIRST
        self._back_off = self._poll_seconds
        self._trouble = "the node answers with the same block as before"

    @property
    def age_seconds(self) -> float:
        """Since the last new head was seen, or since the start."""
        return self._clock.monotonic() - self._heard_at

    async def __aiter__(self) -> AsyncIterator[HeadEvent]:
        while True:
            event = await self._next()
            if event is not None:
                yield event

    async def _next(self) -> HeadEvent | None:
        if not self._is_linked:
            # Not before the head was reported: whoever waits for it has what it needs.
            await self._link()
        before = self._last
        for hint in await self._hints_until(min(self._poll_at, self._next_silence_at)):
            if hint is None or not self._believes_hints:
                if hint is None or self._last is None or hint.number > self._last.number:
                    self._poll_at = self._clock.monotonic()
            elif self._accept(hint) or hint == self._last:
                # While a socket announces heads nobody asks; only when it falls behind.
                self._due_at = self._clock.monotonic() + max(1.5 * self._period, 2 * self._poll_seconds)
                self._poll_at = self._due_at
        if self._last is before and self._clock.monotonic() >= self._poll_at:
            await self._poll()
        if self._last is not None and self._last is not before:
            # A chain whose time was moved ahead by hand has heads of the future, which are no reason to stop.
            age = self._clock.now() - self._last.timestamp
            if age <= self._silence_seconds:
                return self._report(self._last)
            self._trouble = (
                f"the node's newest block {self._last.number} is {age:.0f} s old; either the node is behind, or this "
                "machine's clock is ahead"
            )
        if self._clock.monotonic() >= self._next_silence_at:
            self._next_silence_at = self._clock.monotonic() + self._silence_seconds
            self._is_lost = True
            return Silence(self.age_seconds, self._trouble)
        return None

    async def _hints_until(self, deadline: float) -> list[Block | None]:
        seconds = max(0.0, deadline - self._clock.monotonic())
        if self._hints is None:
            await self._clock.sleep(seconds)
            return []
        if not self._hints.arrived.is_set():
            waiting: list[asyncio.Task[object]] = [
                asyncio.create_task(self._hints.arrived.wait()),
                asyncio.create_task(self._clock.sleep(seconds)),
            ]
            try:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in waiting:
                    task.cancel()
                await asyncio.gather(*waiting, return_exceptions=True)
        return self._hints.take()

    async def _poll(self) -> None:
        asked_at = self._clock.monotonic()
        try:
            head = await self._source.head()
        except ChainError as fault:
            self._trouble = str(fault)
            told = fault.retry_after_seconds if isinstance(fault, RateLimited) else None
            self._poll_at = self._clock.monotonic() + max(self._back_off, min(told or 0.0, BACK_OFF_SECONDS_MAX))
            # Never longer than a block or so: the node may be back with the next one.
            longest = min(max(self._block_seconds, self._poll_seconds), BACK_OFF_SECONDS_MAX)
            self._back_off = min(2 * self._back_off, longest)
            return
        self._back_off = self._poll_seconds
        if self._accept(head):
            # A little early: the moment creeps towards the block's until one answer comes too soon. So one request per
            # block is nearly always enough, and a head is seen half a step late on average.
            # From the question, not from the answer: else the round trip would add up from block to block.
            self._due_at = asked_at + max(self._period - self._poll_seconds / self._creep, self._poll_seconds)
        else:
            self._creep = CREEP_KNOWN
            if self._last is self._reported:
                self._trouble = f"the node's newest block is {head.number}, as before"
        self._poll_at = max(self._due_at, asked_at + self._poll_seconds)

    async def _link(self) -> None:
        """Fills what lies between the last head and what was known before, and counts what of that is gone."""
        self._is_linked = True
        block = self._last
        while block is not None:
            number = block.number - 1
            known = self._hashes.get(number)
            below = max((each for each in self._hashes if each < number), default=None)
            if known == block.parent_hash or (known is None and below is None):
                return
            self._reorganised += known is not None
            self._hashes[number] = block.parent_hash
            self._forget_old()
            if below is None or number not in self._hashes:
                return
            try:
                block = await self._source.block(block.parent_hash)
            except ChainError:
                return

    def _accept(self, block: Block) -> bool:
        """Whether it is a new head; remembers it if so."""
        last = self._last
        if last is not None:
            known = self._hashes.get(block.number)
            if known == block.hash:
                return False
            parent = self._hashes.get(block.number - 1)
            contradicts = known is not None or (parent is not None and parent != block.parent_hash)
            is_behind = block.number < last.number and not contradicts
            if is_behind and not self._is_lost:
                return False
            if contradicts or is_behind:
                first_gone = block.number if parent in (None, block.parent_hash) else block.number - 1
                gone = [number for number in self._hashes if number >= first_gone]
                self._reorganised += len(gone)
                for number in gone:
                    del self._hashes[number]
                self._period = self._block_seconds
            elif block.timestamp > last.timestamp:
                # Learnt from the chain itself; a slot that was missed must not make it slower.
                seconds = (block.timestamp - last.timestamp) / (block.number - last.number)
                self._period = min(self._period, seconds)
        self._hashes[block.number] = block.hash
        self._forget_old()
        self._last = block
        self._is_linked = self._hashes.get(block.number - 1) == block.parent_hash
        return True

    def _forget_old(self) -> None:
        newest = max(self._hashes)
        for number in [number for number in self._hashes if number <= newest - REMEMBERED_HEADS]:
            del self._hashes[number]

    def _report(self, block: Block) -> NewHead:
        before, self._reported = self._reported, block
        self._is_lost = False
        self._heard_at = self._clock.monotonic()
        self._next_silence_at = self._heard_at + self._silence_seconds
        reorganised, self._reorganised = self._reorganised, 0
        missed = 0 if before is None else max(0, block.number - before.number - 1)
        return NewHead(block, reorganised, missed)

"""In-memory stand-ins at the seams of the keeper: they answer and remember; they never assert."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from keeper.core.snapshot import Block
from keeper.errors import ChainError


def a_block(
    number: int = 100,
    *,
    fork: str = "",
    parent: str | None = None,
    timestamp: int | None = None,
    base_fee_wei: int = 10**9,
) -> Block:
    """A block whose hash says its number and fork; its parent is the block before it on the same fork unless said."""
    return Block(
        number=number,
        hash=_hash(number, fork),
        parent_hash=_hash(number - 1, fork) if parent is None else parent,
        timestamp=1_700_000_000 + 12 * number if timestamp is None else timestamp,
        base_fee_wei=base_fee_wei,
        gas_limit=30_000_000,
    )


def _hash(number: int, fork: str) -> str:
    return "0x" + f"{fork.encode().hex()}{number:x}".rjust(64, "0")


class FakeClock:
    """Time that passes only when somebody sleeps; then at once."""

    def __init__(self, unix: float = 1_700_000_000.0) -> None:
        self._unix = unix
        self._elapsed = 0.0

    def now(self) -> float:
        return self._unix + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self._elapsed += seconds

    def advance(self, seconds: float) -> None:
        self._elapsed += seconds


class FakeHeads:
    """A node's newest block: a schedule of (seconds, block or fault) read off a clock; remembers when it was asked."""

    def __init__(self, clock: FakeClock, *schedule: tuple[float, Block | ChainError]) -> None:
        self._clock = clock
        self._schedule = schedule
        self.asked_at: list[float] = []

    async def head(self) -> Block:
        now = self._clock.monotonic()
        self.asked_at.append(now)
        current = [head for seconds, head in self._schedule if seconds <= now][-1]
        if isinstance(current, ChainError):
            raise current
        return current


@dataclass(slots=True)
class FakeHints:
    """Announcements that a test makes by hand."""

    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _hints: deque[Block | None] = field(default_factory=deque[Block | None])

    def announce(self, *blocks: Block | None) -> None:
        self._hints.extend(blocks)
        self.arrived.set()

    def take(self) -> list[Block | None]:
        taken = list(self._hints)
        self._hints.clear()
        self.arrived.clear()
        return taken

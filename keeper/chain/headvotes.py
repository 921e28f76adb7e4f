"""Which block is the newest that a quorum of endpoints knows."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from keeper.chain.clock import Clock
from keeper.chain.node import Node
from keeper.chain.rpc import STALE_BLOCKS, Rpc
from keeper.core.snapshot import Block

REMEMBERED_HEADS = 64
BEHIND_BLOCKS = 3
"""More is not how long a block takes from one node to the next."""
STRAYS_MAX = 5
"""So many heads in a row an endpoint may be elsewhere before it is told."""


@dataclass(slots=True)
class Witness:
    """One endpoint, and which blocks it has told of."""

    node: Node
    rpc: Rpc
    hashes: dict[int, str] = field(default_factory=dict[int, str])
    _strays: int = 0
    """How many heads in a row it was somewhere else."""

    def saw(self, block: Block) -> None:
        """It said that this is its newest block."""
        for number in [number for number in self.hashes if number > block.number]:
            del self.hashes[number]
        self.hashes[block.number - 1] = block.parent_hash
        self.hashes[block.number] = block.hash
        while len(self.hashes) > REMEMBERED_HEADS:
            del self.hashes[min(self.hashes)]

    def knows(self, block: Block) -> bool:
        return self.hashes.get(block.number) == block.hash

    def contradicts(self, block: Block) -> bool:
        return self.hashes.get(block.number) not in (None, block.hash)

    def is_behind(self, block: Block) -> bool:
        return max(self.hashes, default=0) < block.number - BEHIND_BLOCKS

    def strays_from(self, head: Block) -> bool:
        """Whether it has been somewhere else than the quorum for too long; said again each time that as much passed."""
        self._strays = self._strays + 1 if self.contradicts(head) or self.is_behind(head) else 0
        return self._strays > 0 and self._strays % STRAYS_MAX == 0

    def is_ahead_of(self, block: Block) -> bool:
        """Whether it has told of a later block and not of the one at this height."""
        return block.number not in self.hashes and max(self.hashes, default=0) > block.number


class HeadVotes:
    def __init__(self, quorum: int, block_seconds: float, clock: Clock) -> None:
        self._quorum = quorum
        self._stale_seconds = STALE_BLOCKS * block_seconds
        self._clock = clock
        self._last: Block | None = None
        self._agreed_at = clock.monotonic()
        """When a quorum last had a new block."""

    def news(self, told: Mapping[str, Block], witnesses: Mapping[str, Witness]) -> Block | None:
        """The new head, if a quorum of those who have answered knows one; None: not yet."""
        best = self._known(told, witnesses)
        if best is None or not self._is_new(best):
            return None
        self._last, self._agreed_at = best, self._clock.monotonic()
        return best

    def wanted(self, told: Mapping[str, Block]) -> Block | None:
        """The highest block that a quorum can know; None when too few have answered."""
        ranked = sorted(told.values(), key=lambda block: -block.number)
        return ranked[self._quorum - 1] if len(ranked) >= self._quorum else None

    def settled(self, told: Mapping[str, Block], witnesses: Mapping[str, Witness]) -> Block:
        """The head when all have answered that answer, at least one: as before, while a quorum has no new one.

        When too few answer, or there was no new one for too long, it is the lowest after the last head, on the word of
        fewer: what is read there no quorum agrees on either, and nothing leaves an account with debt for it.
        """
        news = self.news(told, witnesses)
        if news is not None:
            return news
        best, last = self._known(told, witnesses), self._last
        if best is not None and last is not None:
            gone = [label for label in told if witnesses[label].knows(best) and not witnesses[label].knows(last)]
            if len(gone) >= self._quorum:
                # A shorter chain has taken the place of the one that the last head was in.
                self._last = best
                return best
        is_late = self._clock.monotonic() - self._agreed_at > self._stale_seconds
        new = [block for block in told.values() if self._is_new(block)]
        if last is None or (new and (is_late or len(told) < self._quorum)):
            last = self._last = min(new, key=lambda block: block.number)
        return last

    def _known(self, told: Mapping[str, Block], witnesses: Mapping[str, Witness]) -> Block | None:
        for block in sorted(told.values(), key=lambda block: -block.number):
            if sum(witnesses[label].knows(block) for label in told) >= self._quorum:
                return block
        return None

    def _is_new(self, block: Block) -> bool:
        last = self._last
        return last is None or block.number > last.number or (block.number == last.number and block.hash != last.hash)

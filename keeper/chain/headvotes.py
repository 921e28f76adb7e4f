"""Which block is the newest that a quorum of endpoints knows."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from keeper.chain.clock import Clock
from keeper.chain.node import Node
from keeper.chain.rpc import STALE_BLOCKS, Rpc
from keeper.core.snapshot import Block

REMEMBERED_HEADS = 64


@dataclass(slots=True)
class Witness:
    """One endpoint, and which blocks it has told of."""

    node: Node
    rpc: Rpc
    hashes: dict[int, str] = field(default_factory=dict[int, str])

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

    def is_ahead_of(self, block: Block) -> bool:
        """Whether it has told of a later block and not of the one at this height."""
        return block.number not in self.hashes and max(self.hashes, default=0) > block.number


class HeadVotes:
    def __init__(self, quorum: int, block_seconds: float, clock: Clock) -> None:
        self._quorum = quorum
        self._stale_seconds = STALE_BLOCKS * block_seconds
        self._clock = clock
        self._last: Block | None = None
        self._last_at = clock.monotonic()

    def news(self, told: Mapping[str, Block], witnesses: Mapping[str, Witness]) -> Block | None:
        """A block after the last head that a quorum of those who have answered knows; None: not yet."""
        best = self._known(told, witnesses)
        return best if best is not None and self._is_new(best) else None

    def wanted(self, told: Mapping[str, Block]) -> Block | None:
        """The highest block that a quorum can know; None when too few have answered."""
        ranked = sorted(told.values(), key=lambda block: -block.number)
        return ranked[self._quorum - 1] if len(ranked) >= self._quorum else None

    def best(self, told: Mapping[str, Block], witnesses: Mapping[str, Witness]) -> Block:
        """The highest block that a quorum knows, as long as there are new ones and enough endpoints answer.

        Else the lowest after the last head, on the word of fewer: what is read there no quorum agrees on either, and
        nothing leaves an account with debt for it.
        """
        best = self._known(told, witnesses)
        is_late = self._clock.monotonic() - self._last_at > self._stale_seconds
        if best is not None and (self._is_new(best) or not is_late):
            return best
        new = [block for block in told.values() if self._is_new(block)]
        if new and (is_late or len(told) < self._quorum):
            return min(new, key=lambda block: block.number)
        return best or self._last or min(told.values(), key=lambda block: block.number)

    def take(self, head: Block) -> Block:
        """Makes it the last head."""
        if self._last is None or head.hash != self._last.hash:
            self._last, self._last_at = head, self._clock.monotonic()
        return head

    def _known(self, told: Mapping[str, Block], witnesses: Mapping[str, Witness]) -> Block | None:
        for block in sorted(told.values(), key=lambda block: -block.number):
            if sum(witnesses[label].knows(block) for label in told) >= self._quorum:
                return block
        return None

    def _is_new(self, block: Block) -> bool:
        last = self._last
        return last is None or block.number > last.number or (block.number == last.number and block.hash != last.hash)

"""What every protocol adapter offers.

An adapter names the calls to make and says what the bytes mean. It never awaits, so the same adapter reads a live node, a
simulation and a journal.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from keeper.core.snapshot import Block, FeedRound, GuardState, Subaccount
from keeper.core.units import Address


@dataclass(frozen=True, slots=True)
class Call:
    """One call inside the cycle's single read."""

    to: Address
    data: bytes


@dataclass(frozen=True, slots=True)
class CallResult:
    """The answer of one call; `data` is revert data when `success` is false."""

    success: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class Around:
    """What an adapter needs besides its own answers: the block, the guard, the feeds by address, and what is permitted."""

    block: Block
    guard: GuardState | None
    feeds: dict[Address, FeedRound]


TopologyT = TypeVar("TopologyT")


class Adapter(Protocol[TopologyT]):
    """One protocol. `TopologyT` is what is read rarely: tokens, LTVs, decimals, feeds; a frozen value that can be journalled."""

    name: str
    """The `protocol` part of its subaccount ids."""

    def topology_rounds(self) -> int:
        """How many rounds of topology calls it takes (a later round may ask what an earlier one named)."""
        ...

    def topology_calls(self, answered: Sequence[Sequence[CallResult]]) -> Sequence[Call]:
        """The calls of the next round, given the answers of all earlier ones."""
        ...

    def decode_topology(self, answered: Sequence[Sequence[CallResult]]) -> TopologyT:
        """Raises ProtocolError naming the market or token that cannot be used."""
        ...

    def read_calls(self, topology: TopologyT) -> Sequence[Call]:
        """Every cycle's calls: a fixed list, so that its calldata is built once."""
        ...

    def feeds(self, topology: TopologyT) -> Sequence[Address]:
        """The aggregators whose rounds the reader must fetch in the same call."""
        ...

    def decode(self, topology: TopologyT, results: Sequence[CallResult], around: Around) -> Sequence[Subaccount]:
        """One subaccount for each that exists; one that could not be read comes back with an `Unknown` reading."""
        ...

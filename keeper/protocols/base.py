"""What every protocol adapter offers.

An adapter names the calls to make and says what the bytes mean. It never awaits, so the same adapter reads a live node,
a simulation and a journal.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

from keeper.core.policy import Pair
from keeper.core.risk import Risk
from keeper.core.snapshot import (
    NOTHING,
    NOW,
    Block,
    GuardAccount,
    GuardProtocol,
    Horizon,
    Reading,
    Subaccount,
    SubaccountId,
    Token,
)
from keeper.core.units import Address
from keeper.protocols.abi import explain_revert


@dataclass(frozen=True, slots=True)
class Call:
    """One call inside the cycle's single read."""

    to: Address
    data: bytes


class CallResult(NamedTuple):
    """The answer of one call; `data` is revert data when `success` is false.

    A tuple, because a cycle makes hundreds and a frozen dataclass takes half as long again to make.
    """

    success: bool
    data: bytes

    @property
    def number(self) -> int | None:
        """The number in a one-word answer; None when it failed or is something else."""
        return int.from_bytes(self.data) if self.success and len(self.data) == 32 else None

    def problem(self, wanted: str) -> str:
        """Why this answer is of no use, where `wanted` (`a price`) was asked for."""
        return f"{len(self.data)} bytes instead of {wanted}" if self.success else explain_revert(self.data)


@dataclass(frozen=True, slots=True)
class Log:
    """One log of a receipt."""

    address: Address
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class LogFilter:
    """What `eth_getLogs` is asked for, but for the range of blocks; a topic that is None may be anything."""

    address: Address
    topics: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Use:
    """What one account has in a pool, each in the order of the pool's own list."""

    account: Address
    supplied: tuple[Address, ...]
    """Whether or not it counts as collateral."""
    owed: tuple[Address, ...]

    @property
    def is_any(self) -> bool:
        return bool(self.supplied or self.owed)


T = TypeVar("T")

Discovery: TypeAlias = Generator[Sequence[Call], Sequence[CallResult], T]
"""What is read rarely, in rounds: yields the calls of a round, is sent their results, and returns what it found out.

Raises ProtocolError, naming the market or token, when what it found cannot be used. Whoever runs it awaits the node:

    calls = next(discovery)
    while True:
        try: calls = discovery.send(await aggregate(calls))
        except StopIteration as found: return found.value
"""


class Source(NamedTuple):
    """Where a number comes from, for people."""

    what: str
    """`collateral and debt shares`."""
    contract: Address
    function: str
    """As it is called, with its arguments."""


EnrolmentKey: TypeAlias = tuple[GuardProtocol, Address, Address, str]
"""Protocol, holder, target and key: what makes a live enrolment in the guard unique."""


@dataclass(frozen=True, slots=True)
class Around:
    """What an adapter needs besides its own answers."""

    block: Block
    guard_problem: str | None
    """Why the guard that is configured cannot be used; None: it can, or none is configured."""
    enrolled: Mapping[EnrolmentKey, GuardAccount]
    """The guard's live accounts."""
    feeds: Mapping[Address, Reading]
    """How well the latest round of each feed is known."""

    def lacks_guard(self, guard: Address | None) -> str | None:
        """Why nothing can be given whatever is permitted, and nothing may be asked to be: nobody knows what the address
        would do with it. None: the guard is there."""
        if guard is None:
            return "no guard is configured"
        return None if self.guard_problem is None else f"the guard cannot be used: {self.guard_problem}"


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What the guard has to know of a subaccount before it may give or receive."""

    subaccount: SubaccountId
    label: str
    protocol: GuardProtocol
    holder: Address
    target: Address
    key: str
    assets: tuple[Address, ...]
    """Empty where the guard derives them from the key."""


class Adapter(Protocol):
    """One protocol bound to one wallet.

    A frozen value that pydantic can write as JSON and read back: it holds all that is read rarely (markets, tokens,
    LTVs, feeds), so that a journal needs nothing else to decode an old answer. Its module's `discover` makes it.
    """

    @property
    def name(self) -> str:
        """The `protocol` part of its subaccount ids."""
        ...

    def read_calls(self) -> Sequence[Call]:
        """Every cycle's calls: a fixed list, so that its calldata is built once.

        A read that is too much for a node is cut where another contract is called than just before. So a call that
        changes state stands directly before those that read the change, all of them to one contract.
        """
        ...

    def feeds(self) -> Sequence[Address]:
        """The aggregators behind its prices; their rounds are read in the same call."""
        ...

    def tokens(self) -> Sequence[Token]:
        """All that it names: collateral, debt, units of account."""
        ...

    def underlyings(self) -> Sequence[Address]:
        """What can be given to or taken from it; the guard's caps are read for them."""
        ...

    def pairs(self) -> Sequence[Pair]:
        """What the default thresholds of each of its subaccounts depend on."""
        ...

    def enrolments(self) -> Sequence[Enrolment]:
        """How each of its subaccounts is enrolled in the guard."""
        ...

    def sources(self, id: SubaccountId) -> Sequence[Source]:
        """What is read for one of its subaccounts and where; empty for one that is not its own."""
        ...

    def decode(self, results: Sequence[CallResult], around: Around) -> Sequence[Subaccount]:
        """One subaccount for each that was discovered, given the results of `read_calls` in their order.

        One that could not be read comes back with an `Unknown` reading; a bad contract never raises here.
        """
        ...


@dataclass(frozen=True, slots=True)
class UnknownMargin:
    """The margin of what could not be read: health 0 whatever is asked, because unknown is never healthy."""

    def risk(
        self,
        deltas: Mapping[Address, int] = NOTHING,  # noqa: ARG002
        horizon: Horizon = NOW,  # noqa: ARG002
        falls_bps: Mapping[Address, int] = NOTHING,  # noqa: ARG002
        repaid: Mapping[Address, int] = NOTHING,  # noqa: ARG002
    ) -> Risk:
        return Risk(0, 1, 0, 1)

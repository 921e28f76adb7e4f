"""The prices that the protocols really read, and how they are moved on a fork.

An aggregator says what it prices ("ETH / USD"), so those behind a position are scaled by what they say, and whatever is
built on them follows by the protocols' own arithmetic. Then each price that a protocol asks for is read and compared
with what was wished. Where it did not follow (an oracle that names no feed, a feed whose name says nothing) the answer
of that oracle itself is scaled; where that does not help either it is said, and nothing is pretended.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from eth_hash.auto import keccak

from keeper.core.units import WAD, Address, Wad
from keeper.protocols.aave.adapter import AaveV3
from keeper.protocols.abi import ZERO_ADDRESS, short
from keeper.protocols.morpho.adapter import MorphoBlue
from keeper.protocols.oracles import Feed
from keeper.protocols.portfolio import Topology
from scripts.localchain.abi import artefact, decode_words, encode_call
from scripts.localchain.node import Node, NodeError
from scripts.rehearsal.falls import Falls

SLOT_OF_ORIGINAL, SLOT_OF_FACTOR = keccak(b"margin keeper: original"), keccak(b"margin keeper: factor")
TOLERANCE_PPM = 500
"""Between a price that was wished and the one that came about: feeds round, and rates of wrapped tokens grow."""
MILLION = 10**6


@dataclass(frozen=True, slots=True)
class Price:
    """One price that a protocol asks for: of `base`, in `quote`."""

    base: str
    quote: str
    oracle: Address
    """Whose answer it rests on."""
    asked: Address
    call: bytes
    """What is asked of whom to see it as the protocol does."""

    def __str__(self) -> str:
        return f"{self.base}/{self.quote} at {short(self.oracle)}"


@dataclass(slots=True)
class Oracles:
    """Moves every price behind some positions, step by step; `prepare` first."""

    node: Node
    falls: Falls
    feeds: tuple[Feed, ...]
    prices: tuple[Price, ...]
    problems: list[str] = field(default_factory=list[str])
    """What could not be moved as wished, sentences."""
    _scaled: dict[Address, Wad] = field(default_factory=dict[Address, Wad])
    """Oracles that stand under our code, with their present factor."""
    _own: list[Price] = field(default_factory=list[Price])
    """Prices whose oracle is scaled itself, because its feeds did not bring them where they should be."""

    def prepare(self) -> None:
        """Finds out, at the bottom of the crash, what has to be scaled; then all prices are as they were."""
        before = {price: self._read(price) for price in self.prices}
        self._move_feeds(self.falls.steps)
        # Aggregators first: others may be built on them.
        aggregators = {feed.address for feed in self.feeds}
        for price in sorted(self.prices, key=lambda price: price.oracle not in aggregators):
            if before[price] and self._read(price) and not self._is_as_wished(price, before[price], self.falls.steps):
                self._own.append(price)
                self._correct(price, before[price], self.falls.steps)
        for price in self.prices:
            if not self._is_as_wished(price, before[price], self.falls.steps):
                self.problems.append(self._problem(price, before[price]))
        self.move(0)

    def move(self, step: int) -> None:
        """Every price as it is at this step; takes effect at once, without a block."""
        for price in self._own:
            self._scale(price.oracle, WAD)
        self._move_feeds(0)
        before = {price: self._read(price) for price in self._own}
        self._move_feeds(step)
        for price in self._own:
            self._correct(price, before[price], step)

    @property
    def scaled_feeds(self) -> list[str]:
        """The names of the aggregators that move."""
        return [feed.name for feed in self.feeds if feed.address in self._scaled]

    @property
    def scaled_oracles(self) -> list[str]:
        """The oracles that had to be scaled themselves."""
        return [str(price) for price in self._own]

    # Moving -----------------------------------------------------------------------------------------------------------

    def _move_feeds(self, step: int) -> None:
        for feed in self.feeds:
            base, slash, quote = feed.name.partition("/")
            if not slash:
                continue
            factor = self.falls.relative(base.strip(), quote.strip(), step)
            if factor != WAD or feed.address in self._scaled:
                self._scale(feed.address, factor)

    def _correct(self, price: Price, before: int | None, step: int) -> None:
        """Scales the oracle by what is missing; `before` is the price before the crash."""
        now = self._read(price)
        if before and now:
            self._scale(price.oracle, before * self.falls.relative(price.base, price.quote, step) // now)

    def _scale(self, oracle: Address, factor: Wad) -> None:
        if oracle not in self._scaled:
            original = "0x" + keccak(b"margin keeper: code of" + bytes.fromhex(oracle[2:]))[12:].hex()
            self.node.set_code(original, self.node.code(oracle))
            self.node.set_code(oracle, artefact("ScaledOracle").runtime_code)
            self.node.set_storage(oracle, SLOT_OF_ORIGINAL, int(original, 16))
        if self._scaled.get(oracle) != factor:
            self.node.set_storage(oracle, SLOT_OF_FACTOR, factor)
            self._scaled[oracle] = factor

    # Looking ----------------------------------------------------------------------------------------------------------

    def _read(self, price: Price) -> int | None:
        try:
            (answer,) = decode_words(["uint256"], self.node.call(price.asked, price.call))
        except (NodeError, ValueError):
            return None
        return answer

    def _is_as_wished(self, price: Price, before: int | None, step: int) -> bool:
        now = self._read(price)
        if not before or not now:
            return False
        wished = before * self.falls.relative(price.base, price.quote, step) // WAD
        return abs(now - wished) * MILLION <= wished * TOLERANCE_PPM

    def _problem(self, price: Price, before: int | None) -> str:
        now = self._read(price)
        if not before or not now:
            return f"The price of {price} cannot be read; whatever rests on it is not simulated."
        change = 100 * now / before - 100
        wished = 100 * self.falls.relative(price.base, price.quote, self.falls.steps) / WAD - 100
        return f"The price of {price} moves by {change:+.1f} % at the end and should by {wished:+.1f} %."


# What there is to move ------------------------------------------------------------------------------------------------


def prices_of(topology: Topology) -> tuple[Price, ...]:
    """Every price that the protocols of these positions ask for, each once."""
    found: list[Price] = []
    for adapter in topology.adapters:
        match adapter:
            case MorphoBlue():
                found += _of_morpho(adapter)
            case AaveV3():
                found += _of_aave(adapter)
            case _:
                pass
    return tuple(dict.fromkeys(found))


def _of_morpho(adapter: MorphoBlue) -> Iterable[Price]:
    for market in adapter.markets:
        yield Price(
            market.collateral.symbol, market.loan.symbol, market.oracle, market.oracle, encode_call("price()")
        )  # fmt: skip


def _of_aave(adapter: AaveV3) -> Iterable[Price]:
    for reserve in adapter.pool.reserves:
        if reserve.source != ZERO_ADDRESS:
            asked = encode_call("getAssetPrice(address)", reserve.token.address)
            yield Price(reserve.token.symbol, "USD", reserve.source, adapter.pool.oracle, asked)


def symbols_of(prices: Sequence[Price]) -> list[str]:
    """All that have a price here, each once."""
    return list(dict.fromkeys(symbol for price in prices for symbol in (price.base, price.quote)))

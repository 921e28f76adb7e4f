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
from keeper.protocols.euler.adapter import EulerV2
from keeper.protocols.morpho.adapter import MorphoBlue
from keeper.protocols.oracles import Feed
from keeper.protocols.portfolio import Topology
from keeper.protocols.venus.adapter import VenusPool
from scripts.localchain.abi import artefact, decode_words, encode_arguments, encode_call
from scripts.localchain.node import Node, NodeError
from scripts.rehearsal.falls import Falls

SLOT_OF_ORIGINAL, SLOT_OF_FACTOR = keccak(b"margin keeper: original"), keccak(b"margin keeper: factor")
TOLERANCE_PPM = 500
"""Between a price that was wished and the one that came about: feeds round, and rates of wrapped tokens grow."""
MILLION = 10**6
GET_QUOTE, EULER_PROBE = "getQuote(uint256,address,address)", 10**30
"""What Euler's vaults ask their oracle, and an amount large enough that its rounding does not matter."""


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
    assets: tuple[Address, ...] = ()
    """By what that oracle is asked, where it prices many; empty where it has one price."""

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
    _scaled: dict[Address, dict[Address | None, Wad]] = field(default_factory=dict[Address, dict[Address | None, Wad]])
    """Oracles that stand under our code, with their present factors: of each asset, or None for the only one."""
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
            self._scale(price.oracle, WAD, price.assets)
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
            factor = before * self.falls.relative(price.base, price.quote, step) // now
            self._scale(price.oracle, factor, price.assets)

    def _scale(self, oracle: Address, factor: Wad, assets: Sequence[Address] = ()) -> None:
        if oracle not in self._scaled:
            original = "0x" + keccak(b"margin keeper: code of" + bytes.fromhex(oracle[2:]))[12:].hex()
            self.node.set_code(original, self.node.code(oracle))
            self.node.set_code(oracle, artefact("ScaledOracle").runtime_code)
            self.node.set_storage(oracle, SLOT_OF_ORIGINAL, int(original, 16))
            self.node.set_storage(oracle, SLOT_OF_FACTOR, WAD)
            self._scaled[oracle] = {None: WAD}
        for asset in assets or (None,):
            if self._scaled[oracle].get(asset) != factor:
                self.node.set_storage(oracle, _slot_of_factor(asset), factor)
                self._scaled[oracle][asset] = factor

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


def _slot_of_factor(asset: Address | None) -> bytes:
    if asset is None:
        return SLOT_OF_FACTOR
    return keccak(SLOT_OF_FACTOR + encode_arguments(["address"], asset))


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
            case VenusPool():
                found += _of_venus(adapter)
            case EulerV2():
                found += _of_euler(adapter)
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


def _of_venus(adapter: VenusPool) -> Iterable[Price]:
    oracle = adapter.pool.oracle
    for market in adapter.pool.markets:
        asked = encode_call("getUnderlyingPrice(address)", market.address)
        yield Price(market.token.symbol, "USD", oracle, oracle, asked, (market.address,))


def _of_euler(adapter: EulerV2) -> Iterable[Price]:
    """Of what lenders take and lend; what is the unit of account itself has no price."""
    topology = adapter.topology
    for route in topology.routes:
        lender, vault = topology.lenders[route.lender], topology.by_address[route.vault]
        if lender.unit is None or not route.legs or not (vault is lender or vault.address in lender.takes):
            continue
        priced = vault.asset.address if vault is lender else vault.address
        asked = encode_call(GET_QUOTE, EULER_PROBE, priced, lender.unit.address)
        first = route.legs[0]
        # A router is asked for the share by the vault and for what it is worth by the keeper; a chain of two adapters
        # both ask alike.
        assets = (first.base, priced) if first.oracle == lender.oracle else (first.base,)
        yield Price(
            vault.asset.symbol, lender.unit.symbol, first.oracle, lender.oracle, asked, tuple(dict.fromkeys(assets))
        )  # fmt: skip


def symbols_of(prices: Sequence[Price]) -> list[str]:
    """All that have a price here, each once."""
    return list(dict.fromkeys(symbol for price in prices for symbol in (price.base, price.quote)))

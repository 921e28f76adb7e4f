"""Everything that one wallet has on one chain, as one fixed list of calls and one way to read the answer.

Pure: `discover` names what has to be asked once, `Portfolio` holds the answers and turns each block's single read into
a `Snapshot`. Written as JSON it lets a journal decode an old read again, to the same snapshot.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, TypeVar, assert_never

from pydantic import Field, TypeAdapter, ValidationError

from keeper.core.coins import UNNAMED_COIN
from keeper.core.policy import Pair
from keeper.core.snapshot import Block, FeedRound, GuardState, Reading, Snapshot, Subaccount, Token, Unknown
from keeper.core.units import WAD, Address, Wad
from keeper.core.worst import worst_of
from keeper.errors import BadAnswer, ProtocolError
from keeper.protocols import wallet
from keeper.protocols.aave import adapter as aave_v3
from keeper.protocols.aave.adapter import AaveV3
from keeper.protocols.abi import ZERO_ADDRESS, interface, is_currency
from keeper.protocols.base import Adapter, Around, Call, CallResult, Discovery, Enrolment
from keeper.protocols.euler import adapter as euler_v2
from keeper.protocols.euler.adapter import EulerV2
from keeper.protocols.guard import GuardReader, enrolled
from keeper.protocols.morpho import adapter as morpho_blue
from keeper.protocols.morpho.adapter import MorphoBlue
from keeper.protocols.multicall import MULTICALL3, decode_aggregate3, encode_aggregate3, split_answers
from keeper.protocols.oracles import Feed, FeedSettings, decode_round, discover_feeds, judge, round_calls, usd_price
from keeper.protocols.second_prices import (
    SecondFeed,
    SecondPool,
    SecondSettings,
    SecondSource,
    decode_seconds,
    discover_seconds,
    second_calls,
)
from keeper.protocols.sequencer import Sequencer, sequencer_call, sequencer_problem
from keeper.protocols.venus import adapter as venus_pool
from keeper.protocols.venus.adapter import VenusPool
from keeper.protocols.wallet import Wallet

US_DOLLARS = frozenset((ZERO_ADDRESS, Address(f"0x{840:040x}")))
"""Units of account that are the USD itself: that of Aave and Venus, and Euler's, which has its ISO 4217 code."""

# What the owner says --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MorphoSettings:
    address: Address
    markets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AaveSettings:
    pool: Address
    accounts: tuple[Address, ...]
    """Empty: the owner's alone."""
    assets: tuple[Address, ...]
    """The underlyings that may move."""


@dataclass(frozen=True, slots=True)
class EulerSettings:
    evc: Address
    vaults: tuple[Address, ...]
    """Besides those that the owner's sub-accounts use as collateral or owe."""


@dataclass(frozen=True, slots=True)
class WalletSettings:
    tokens: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class VenusSettings:
    comptroller: Address
    accounts: tuple[Address, ...]
    """Empty: the owner's alone."""
    markets: tuple[Address, ...]
    """The vTokens that may move."""


ProtocolSettings = MorphoSettings | AaveSettings | EulerSettings | VenusSettings | WalletSettings


@dataclass(frozen=True, slots=True)
class PortfolioSettings:
    """What is to be read, from keeper.toml."""

    chain_id: int
    owner: Address
    guard: Address | None
    keeper: Address | None
    """The hot key, whose gas money is read."""
    protocols: tuple[ProtocolSettings, ...]
    feeds: tuple[FeedSettings, ...] = ()
    heartbeat_slack_seconds: int = 0
    usd_feeds: Mapping[str, Address] = field(default_factory=dict[str, Address])
    """Aggregators in USD, by the symbol or the address of their token."""
    native_usd_feed: Address | None = None
    native_coin: str = UNNAMED_COIN
    seconds: tuple[SecondSettings, ...] = ()
    sequencer: Sequencer | None = None


# What is found --------------------------------------------------------------------------------------------------------

AnyAdapter = Annotated[MorphoBlue | AaveV3 | EulerV2 | VenusPool | Wallet, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True)
class Topology:
    """All that is read rarely; a value that can be written as JSON."""

    chain_id: int
    owner: Address
    guard: Address | None
    keeper: Address | None
    adapters: tuple[AnyAdapter, ...]
    feeds: tuple[Feed, ...]
    heartbeat_slack_seconds: int
    usd_feeds: Mapping[Address, Address]
    """By token address."""
    native_usd_feed: Address | None
    seconds: tuple[SecondSource, ...] = ()
    sequencer: Sequencer | None = None


_TOPOLOGY = TypeAdapter(Topology)


def discover(settings: PortfolioSettings) -> "Discovery[Portfolio]":
    """A few rounds of calls: as many as the slowest protocol takes, two for second sources and one for the feeds.

    Raises ProtocolError, naming what has to be corrected.
    """
    adapters = yield from _together([_discover_protocol(settings, protocol) for protocol in settings.protocols])
    ids = [enrolment.subaccount for adapter in adapters for enrolment in adapter.enrolments()]
    twice = next((id for place, id in enumerate(ids) if id in ids[:place]), None)
    if twice is not None:
        raise ProtocolError(f"[[protocols]] names {twice} twice; remove one of the two")
    tokens = dict.fromkeys(token for adapter in adapters for token in adapter.tokens())
    seconds = yield from discover_seconds(settings.seconds, tokens)
    tokens |= dict.fromkeys(second.quote for second in seconds if isinstance(second, SecondPool))
    by_name = {name.lower(): feed for name, feed in settings.usd_feeds.items()}
    usd_feeds = {
        token.address: feed
        for token in tokens
        if (feed := by_name.get(token.address) or by_name.get(token.symbol.lower())) is not None
    }
    wanted = [feed for adapter in adapters for feed in adapter.feeds()] + list(usd_feeds.values())
    wanted += [second.feed for second in seconds if isinstance(second, SecondFeed)]
    if settings.native_usd_feed is not None:
        wanted.append(settings.native_usd_feed)
    feeds = yield from discover_feeds(wanted, settings.feeds)
    return Portfolio(
        Topology(
            settings.chain_id,
            settings.owner,
            settings.guard,
            settings.keeper,
            tuple(adapters),
            feeds,
            settings.heartbeat_slack_seconds,
            usd_feeds,
            settings.native_usd_feed,
            seconds,
            settings.sequencer,
        )
    )


def _discover_protocol(
    settings: PortfolioSettings, protocol: ProtocolSettings
) -> Discovery[MorphoBlue | AaveV3 | EulerV2 | VenusPool | Wallet]:
    match protocol:
        case MorphoSettings(address, markets):
            return (yield from morpho_blue.discover(address, settings.owner, settings.guard, markets))
        case AaveSettings(pool, accounts, assets):
            return (yield from aave_v3.discover(pool, accounts or (settings.owner,), settings.guard, assets))
        case EulerSettings(evc, vaults):
            return (yield from euler_v2.discover(evc, settings.owner, settings.guard, vaults))
        case VenusSettings(comptroller, accounts, markets):
            return (yield from venus_pool.discover(comptroller, accounts or (settings.owner,), settings.guard, markets))
        case WalletSettings(tokens):
            return (yield from wallet.discover(settings.owner, settings.guard, tokens, settings.native_coin))
        case _:
            assert_never(protocol)


T = TypeVar("T")


def _together(discoveries: Sequence[Discovery[T]]) -> Discovery[list[T]]:
    """Several discoveries at once: their first rounds as one round, then their second ones, and so on."""
    asked: dict[int, Sequence[Call]] = {}
    found: dict[int, T] = {}
    for place, discovery in enumerate(discoveries):
        try:
            asked[place] = next(discovery)
        except StopIteration as end:
            found[place] = end.value
    while asked:
        results = yield [call for calls in asked.values() for call in calls]
        start, next_round = 0, dict[int, Sequence[Call]]()
        for place, calls in asked.items():
            answers, start = results[start : start + len(calls)], start + len(calls)
            try:
                next_round[place] = discoveries[place].send(answers)
            except StopIteration as end:
                found[place] = end.value
        asked = next_round
    return [found[place] for place in range(len(discoveries))]


# What is read every block ---------------------------------------------------------------------------------------------


class Portfolio:
    """A topology with its calls prebuilt.

    `calldata` goes to `MULTICALL3` in an `eth_call` pinned to a block; `decode` makes the answer that block's snapshot.
    """

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.adapters: tuple[Adapter, ...] = topology.adapters
        self.underlyings = tuple(
            dict.fromkeys(underlying for adapter in self.adapters for underlying in adapter.underlyings())
        )
        """What the guard's caps are counted in, whatever it is held as."""
        self._guard = None if topology.guard is None else GuardReader(topology.guard, topology.owner, self.underlyings)
        multicall = interface("Multicall3")
        parts = [
            [Call(MULTICALL3, multicall["getCurrentBlockTimestamp"].encode())],
            [Call(MULTICALL3, multicall["getEthBalance"].encode(topology.keeper))] if topology.keeper else [],
            self._guard.read_calls() if self._guard else [],
            round_calls(topology.feeds),
            second_calls(topology.seconds),
            [] if topology.sequencer is None else [sequencer_call(topology.sequencer)],
            *(adapter.read_calls() for adapter in self.adapters),
        ]
        self._native_symbol = self._wrapped_native()
        self._lengths = [len(part) for part in parts]
        self.calls: tuple[Call, ...] = tuple(call for part in parts for call in part)
        self.calldata = encode_aggregate3(self.calls)
        self._cut: tuple[bytes, list[CallResult]] = b"", []
        """The last answer and its results: what is checked when it arrives is decoded a moment later."""

    def to_json(self) -> str:
        """The topology, for the journal."""
        return _TOPOLOGY.dump_json(self.topology).decode()

    @classmethod
    def from_json(cls, text: str) -> "Portfolio":
        """Raises ProtocolError when the text is not a topology that this version wrote."""
        try:
            return cls(_TOPOLOGY.validate_json(text))
        except ValidationError as error:
            raise ProtocolError(
                f"the stored topology cannot be read: {error.error_count()} fields are wrong"
            ) from error

    def enrolments(self) -> list[Enrolment]:
        """How each subaccount is enrolled in the guard, in the order of a snapshot's subaccounts."""
        return [enrolment for adapter in self.adapters for enrolment in adapter.enrolments()]

    def a_tokens(self) -> dict[tuple[Address, Address], Token]:
        """The aToken of each Aave pool and underlying."""
        return {
            (adapter.pool.address, underlying): a_token
            for adapter in self.topology.adapters
            if isinstance(adapter, AaveV3)
            for underlying, a_token in adapter.a_tokens().items()
        }

    def tokens(self) -> list[Token]:
        """All that an allowance may be of: what is named, aTokens, vTokens and shares of vaults."""
        named = (token for adapter in self.adapters for token in adapter.tokens())
        found = dict.fromkeys(token for token in named if not is_currency(token.address))
        found.update(dict.fromkeys(self.a_tokens().values()))
        for adapter in self.topology.adapters:
            if isinstance(adapter, EulerV2):
                found.update(dict.fromkeys(vault.share for vault in adapter.topology.vaults))
            elif isinstance(adapter, VenusPool):
                found.update(dict.fromkeys(adapter.shares()))
        return list(found)

    def pairs(self) -> list[Pair]:
        """What the default thresholds of each subaccount depend on, in the order of a snapshot's subaccounts."""
        return [pair for adapter in self.adapters for pair in adapter.pairs()]

    def check(self, block: Block, answer: bytes) -> None:
        """Raises ProtocolError for an answer that is not Multicall3's, and BadAnswer for one of another block."""
        answered_at = _word(self._results(answer)[0])
        if answered_at != block.timestamp:
            raise BadAnswer(
                f"the node was asked for block {block.number} of time {block.timestamp} and answered for one of time "
                f"{answered_at}; ask again, or another node"
            )

    def decode(self, block: Block, answer: bytes) -> Snapshot:
        """The snapshot in an answer of `aggregate3`; in several that contradict each other the worst of each account.

        A part that failed is named in the snapshot. Raises ProtocolError for an answer that is not Multicall3's, and
        BadAnswer for one of another block than `block`: nothing in such an answer can be believed.
        """
        snapshots: list[Snapshot] = []
        faults: list[BadAnswer | ProtocolError] = []
        for each in split_answers(answer):
            try:
                snapshots.append(self._decode(block, each))
            except (BadAnswer, ProtocolError) as fault:
                faults.append(fault)
        if not snapshots:
            raise faults[0]
        return worst_of(snapshots)

    def _decode(self, block: Block, answer: bytes) -> Snapshot:
        self.check(block, answer)
        parts = _cut(self._results(answer), self._lengths)
        _, of_keeper, of_guard, of_feeds, of_seconds, of_sequencer, *of_adapters = parts
        guard, guard_problem = self._decode_guard(of_guard)
        rounds, readings = self._decode_feeds(of_feeds, block.timestamp)
        around = Around(block, guard_problem, enrolled(guard.accounts) if guard else {}, readings)
        subaccounts: list[Subaccount] = []
        for adapter, part in zip(self.adapters, of_adapters, strict=True):
            subaccounts += adapter.decode(part, around)
        usd = ((token, usd_price(feed, rounds, readings)) for token, feed in self.topology.usd_feeds.items())
        usd_per_unit: dict[Address, Wad] = {token: price for token, price in usd if price is not None}
        units = {subaccount.unit.address for subaccount in subaccounts if subaccount.unit}
        usd_per_unit.update(dict.fromkeys(units & US_DOLLARS, WAD))
        return Snapshot(
            self.topology.chain_id,
            block,
            tuple(subaccounts),
            guard,
            guard_problem,
            tuple(rounds.values()),
            usd_per_unit,
            usd_price(self.topology.native_usd_feed, rounds, readings),
            _word(of_keeper[0]) if of_keeper else None,
            self._native_symbol,
            decode_seconds(self.topology.seconds, of_seconds, rounds, readings),
            self._sequencer_problem(of_sequencer, block.timestamp),
        )

    def _results(self, answer: bytes) -> list[CallResult]:
        if answer is not self._cut[0]:
            self._cut = answer, decode_aggregate3(answer, len(self.calls))
        return self._cut[1]

    def _sequencer_problem(self, results: Sequence[CallResult], now: int) -> str | None:
        sequencer = self.topology.sequencer
        return None if sequencer is None else sequencer_problem(sequencer, results[0], now)

    def _wrapped_native(self) -> str | None:
        """The token with the native coin's own feed in USD, else the one called `WETH` where that feed is `ETH/USD`."""
        feed, usd_feeds = self.topology.native_usd_feed, self.topology.usd_feeds
        if feed is None:
            return None
        tokens = [token for adapter in self.adapters for token in adapter.tokens()]
        by_feed = [token.symbol for token in tokens if usd_feeds.get(token.address) == feed]
        wrapped = {f"W{re.split('[ /]', each.name)[0]}" for each in self.topology.feeds if each.address == feed}
        by_name = [token.symbol for token in tokens if token.symbol in wrapped]
        return next(iter(by_feed + by_name), None)

    def _decode_guard(self, results: Sequence[CallResult]) -> tuple[GuardState | None, str | None]:
        if self._guard is None:
            return None, None
        decoded = self._guard.decode(results)
        return (None, decoded.reason) if isinstance(decoded, Unknown) else (decoded, None)

    def _decode_feeds(
        self, results: Sequence[CallResult], now: int
    ) -> tuple[dict[Address, FeedRound], dict[Address, Reading]]:
        rounds: dict[Address, FeedRound] = {}
        readings: dict[Address, Reading] = {}
        for feed, result in zip(self.topology.feeds, results, strict=True):
            decoded = decode_round(feed, result)
            if isinstance(decoded, Unknown):
                readings[feed.address] = decoded
            else:
                rounds[feed.address] = decoded
                readings[feed.address] = judge(decoded, now, self.topology.heartbeat_slack_seconds)
        return rounds, readings


def _cut(results: Sequence[CallResult], lengths: Iterable[int]) -> list[Sequence[CallResult]]:
    parts: list[Sequence[CallResult]] = []
    start = 0
    for length in lengths:
        parts.append(results[start : start + length])
        start += length
    return parts


def _word(result: CallResult) -> int | None:
    """The number in a one-word answer; None when it failed or is something else."""
    return int.from_bytes(result.data) if result.success and len(result.data) == 32 else None

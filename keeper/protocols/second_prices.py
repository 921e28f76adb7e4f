"""Second sources: who else says what a token costs, so that no oracle has to be believed alone.

Another aggregator in USD, whose round is read with those of all feeds, or the mean price of a Uniswap v3 pool over a
window, in the pool's other token. One that does not answer is named; it neither agrees nor disagrees.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from keeper.core.snapshot import FeedRound, Reading, SecondPrice, Stale, Token, Unknown
from keeper.core.units import Address
from keeper.errors import ProtocolError
from keeper.protocols.abi import interface, short, word_address
from keeper.protocols.base import Call, CallResult, Discovery
from keeper.protocols.erc20 import TOKEN_CALLS, decode_token, token_calls
from keeper.protocols.oracles import usd_price
from keeper.protocols.uniswap_v3 import decode_mean_tick, observe_call, price_at_tick

POOL_WINDOW_SECONDS = 300
"""In the crash of 2021-05-19 the mean of five minutes was never more than 8.3 % from the price, that of half an hour up
to 19.4 %: a longer window disputes the very crash that rescues are for."""


@dataclass(frozen=True, slots=True)
class SecondSettings:
    """What the owner says: a token by symbol or address, and a feed, or a pool with its window."""

    token: str
    feed: Address | None = None
    pool: Address | None = None
    window_seconds: int = POOL_WINDOW_SECONDS


@dataclass(frozen=True, slots=True)
class SecondFeed:
    """An aggregator in USD."""

    token: Token
    feed: Address


@dataclass(frozen=True, slots=True)
class SecondPool:
    """A Uniswap v3 pool."""

    token: Token
    pool: Address
    window_seconds: int
    quote: Token
    """The pool's other token."""

    @property
    def name(self) -> str:
        return f"Uniswap v3 pool {short(self.pool)} over {self.window_seconds} s"

    @property
    def is_token0(self) -> bool:
        """UniswapV3Factory.createPool sorts the tokens."""
        return int(self.token.address, 16) < int(self.quote.address, 16)


SecondSource = SecondFeed | SecondPool


def discover_seconds(
    settings: Sequence[SecondSettings], tokens: Iterable[Token]
) -> Discovery[tuple[SecondSource, ...]]:
    """The second sources of these tokens, in the order of the settings.

    Raises ProtocolError for one of a token that no account has to do with, and for a pool that is none or of others.
    """
    named = [(one, _named(one.token, tokens)) for one in settings]
    quotes = yield from _quotes({one.pool: token for one, token in named if one.pool is not None})
    found: list[SecondSource] = []
    for one, token in named:
        if one.pool is not None:
            found.append(SecondPool(token, one.pool, one.window_seconds, quotes[one.pool]))
        elif one.feed is not None:
            found.append(SecondFeed(token, one.feed))
    return tuple(found)


def _quotes(pools: Mapping[Address, Token]) -> Discovery[dict[Address, Token]]:
    """The other token of each pool."""
    if not pools:
        return {}
    of_pool = interface("UniswapV3Pool")
    results = yield [Call(pool, of_pool[side].encode()) for pool in pools for side in ("token0", "token1")]
    others = [
        _other(pool, token, results[2 * place : 2 * place + 2]) for place, (pool, token) in enumerate(pools.items())
    ]
    results = yield [call for other in others for call in token_calls(other)]
    return {
        pool: decode_token(other, results[TOKEN_CALLS * place : TOKEN_CALLS * (place + 1)])
        for place, (pool, other) in enumerate(zip(pools, others, strict=True))
    }


def _named(name: str, tokens: Iterable[Token]) -> Token:
    for token in tokens:
        if name.lower() in (token.symbol.lower(), token.address):
            return token
    raise ProtocolError(f"[[prices.second]] names {name}, which no account here holds or owes; remove it")


def _other(pool: Address, token: Token, results: Sequence[CallResult]) -> Address:
    if not all(result.success and len(result.data) == 32 for result in results):
        raise ProtocolError(f"{pool} in [[prices.second]] is no Uniswap v3 pool: it does not name its tokens")
    sides = [word_address(result.data) for result in results]
    if token.address not in sides:
        raise ProtocolError(f"the Uniswap v3 pool {pool} in [[prices.second]] does not trade {token.symbol}")
    return next(side for side in sides if side != token.address)


# What is read every block ---------------------------------------------------------------------------------------------


def second_calls(seconds: Sequence[SecondSource]) -> list[Call]:
    """One for each pool; feeds are read as all others are."""
    return [observe_call(one.pool, one.window_seconds) for one in seconds if isinstance(one, SecondPool)]


def decode_seconds(
    seconds: Sequence[SecondSource],
    results: Sequence[CallResult],
    rounds: Mapping[Address, FeedRound],
    readings: Mapping[Address, Reading],
) -> tuple[SecondPrice, ...]:
    """What each says, given the results of `second_calls` in their order."""
    answers = iter(results)
    return tuple(
        _by_feed(one, rounds, readings) if isinstance(one, SecondFeed) else _by_pool(one, next(answers))
        for one in seconds
    )


def _by_feed(
    second: SecondFeed, rounds: Mapping[Address, FeedRound], readings: Mapping[Address, Reading]
) -> SecondPrice:
    price, reading = usd_price(second.feed, rounds, readings), readings[second.feed]
    name = f"price feed {short(second.feed)}"
    problem = reading.reason if isinstance(reading, Stale | Unknown) else ""
    return SecondPrice(second.token, name, None, price, problem)


def _by_pool(second: SecondPool, result: CallResult) -> SecondPrice:
    quote = second.quote
    tick = decode_mean_tick(second.pool, result, second.window_seconds)
    if isinstance(tick, Unknown):
        return SecondPrice(second.token, second.name, quote.address, None, tick.reason)
    price = price_at_tick(tick, second.token.decimals, quote.decimals, is_base_token0=second.is_token0)
    if not price:
        problem = f"its mean tick {tick} is a price of less than a WAD can tell"
        return SecondPrice(second.token, second.name, quote.address, None, problem)
    return SecondPrice(second.token, second.name, quote.address, price)

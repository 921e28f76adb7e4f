"""Second sources and the sequencer feed: found once, read in the cycle's one call, and never taken for agreement."""

from dataclasses import replace

import pytest
from eth_abi.abi import encode

from keeper.core.disputes import disputes_in
from keeper.core.plan import History
from keeper.core.policy import PriceLimits
from keeper.core.snapshot import Snapshot, Token
from keeper.core.units import Address
from keeper.errors import ProtocolError
from keeper.protocols.abi import interface
from keeper.protocols.base import CallResult
from keeper.protocols.portfolio import Portfolio, PortfolioSettings, discover
from keeper.protocols.second_prices import SecondFeed, SecondPool, SecondSettings
from keeper.protocols.sequencer import Sequencer, sequencer_problem
from keeper.protocols.uniswap_v3 import observe_call
from keeper.protocols.whereabouts import SEQUENCER_FEEDS
from tests.protocols.fakes import (
    BLOCK,
    ETH_FEED,
    NOW,
    SETTINGS,
    USDC,
    USDC_FEED,
    WBTC,
    WETH,
    FakeChain,
    a_chain,
    address,
    set_round,
)

OTHER_FEED, POOL, UPTIME = address(0xF9), address(0x9001), address(0xF7)
TICK = 198_079
"""2,500.16 USDC for a WETH, which is token0 here, when the tick is turned."""


def with_seconds(*seconds: SecondSettings) -> PortfolioSettings:
    return replace(SETTINGS, seconds=seconds)


def a_pool(
    chain: FakeChain, *, tick: int = -TICK, seconds: int = 300, sides: tuple[Address, Address] = (WETH, USDC)
) -> None:
    pool = interface("UniswapV3Pool")
    chain.answer(POOL, pool["token0"], returns=[sides[0]])
    chain.answer(POOL, pool["token1"], returns=[sides[1]])
    answer = encode(pool["observe"].outputs, [[77, 77 + seconds * tick], [0, 0]])
    chain.answer_raw(POOL, observe_call(POOL, seconds).data, CallResult(True, answer))


def another_feed(chain: FakeChain, answer: int = 2_400 * 10**8, updated_at: int = NOW - 60) -> None:
    chain.answer(OTHER_FEED, interface("Aggregator")["decimals"], returns=[8])
    chain.answer(OTHER_FEED, interface("Aggregator")["description"], returns=["ETH / USD"])
    set_round(chain, OTHER_FEED, answer, updated_at)


def read(chain: FakeChain, settings: PortfolioSettings) -> Snapshot:
    portfolio, _ = chain.run(discover(settings))
    # As a journal would have it.
    return Portfolio.from_json(portfolio.to_json()).decode(BLOCK, chain.aggregate(portfolio.calls))


OF_FEED, OF_POOL = SecondSettings("weth", feed=OTHER_FEED), SecondSettings(WETH, pool=POOL)


def test_a_second_feed_is_read_with_all_others() -> None:
    chain = a_chain()
    another_feed(chain)
    portfolio, rounds = chain.run(discover(with_seconds(OF_FEED)))
    assert rounds == 3
    assert portfolio.topology.seconds == (SecondFeed(Token(WETH, "WETH", 18), OTHER_FEED),)
    snapshot = read(chain, with_seconds(OF_FEED))
    (second,) = snapshot.second_prices
    assert (second.token.symbol, second.quote, second.price) == ("WETH", None, 2_400 * 10**18)
    assert second.source == "price feed 0x0000…00f9"
    assert disputes_in(snapshot, PriceLimits(), History()) == {}


def test_a_pool_is_read_as_the_mean_of_its_window() -> None:
    chain = a_chain()
    a_pool(chain)
    portfolio, rounds = chain.run(discover(with_seconds(OF_POOL)))
    assert rounds == 5  # the pool's tokens, then what they are
    weth, usdc = Token(WETH, "WETH", 18), Token(USDC, "USDC", 6)
    assert portfolio.topology.seconds == (SecondPool(weth, POOL, 300, usdc),)
    (second,) = read(chain, with_seconds(OF_POOL)).second_prices
    assert (second.quote, second.source) == (USDC, "Uniswap v3 pool 0x0000…9001 over 300 s")
    assert second.price == 2_500_163_590_479_321_345_247


def test_a_pools_tokens_may_stand_in_either_order() -> None:
    """WBTC comes after USDC: 1.0001^63973 raw USDC for each raw WBTC, 60,003 for a whole one."""
    chain = a_chain()
    a_pool(chain, tick=-63_973, sides=(USDC, WBTC))
    (second,) = read(chain, with_seconds(SecondSettings("WBTC", pool=POOL))).second_prices
    assert second.price == 60_003_030_142_907_407_020_059


def test_the_other_token_of_a_pool_is_priced_by_its_own_feed_though_nobody_holds_it() -> None:
    chain, dai = a_chain(), address(0xE4)
    chain.answer(dai, interface("ERC20")["symbol"], returns=["DAI"])
    chain.answer(dai, interface("ERC20")["decimals"], returns=[18])
    a_pool(chain, tick=-78_244, sides=(dai, WETH) if dai < WETH else (WETH, dai))
    settings = replace(with_seconds(OF_POOL), usd_feeds={"DAI": USDC_FEED, "USDC": USDC_FEED})
    snapshot = read(chain, settings)
    assert snapshot.usd_per_unit == {dai: 10**18, USDC: 10**18}


@pytest.mark.parametrize(
    ("updated_at", "problem"),
    [
        (NOW - 3_660, ""),
        (NOW - 3_661, "price feed other 0x0000…00f9 is 3661 s old, its heartbeat is 3600 s"),
        (0, "price feed other 0x0000…00f9 has no complete round"),
    ],
)
def test_a_second_feed_is_too_old_by_its_own_heartbeat(updated_at: int, problem: str) -> None:
    chain = a_chain()
    another_feed(chain, 1, updated_at)
    feeds = (*SETTINGS.feeds, replace(SETTINGS.feeds[0], address=OTHER_FEED, name="other"))
    snapshot = read(chain, replace(with_seconds(OF_FEED), feeds=feeds))
    (second,) = snapshot.second_prices
    assert (second.price is None, second.problem) == (bool(problem), problem)
    assert bool(disputes_in(snapshot, PriceLimits(), History())) is not bool(problem)


def test_a_pool_that_does_not_answer_is_named_and_the_rest_is_read() -> None:
    chain = a_chain()
    a_pool(chain)
    chain.answer_raw(POOL, observe_call(POOL, 300).data, CallResult(False, b""))
    snapshot = read(chain, with_seconds(OF_POOL))
    (second,) = snapshot.second_prices
    assert second.price is None
    assert second.problem == "Uniswap v3 pool 0x0000…9001 does not say its last 300 s: reverted without a reason"
    assert len(snapshot.feeds) == 2
    assert snapshot.sequencer_problem is None


@pytest.mark.parametrize(
    ("second", "sides", "problem"),
    [
        (SecondSettings("DOGE", feed=OTHER_FEED), None, "names DOGE, which no account here holds or owes; remove it"),
        (OF_POOL, None, r"0x0*9001 in \[\[prices.second\]\] is no Uniswap v3 pool: it does not name its tokens"),
        (OF_POOL, (USDC, WBTC), r"pool 0x0*9001 in \[\[prices.second\]\] does not trade WETH"),
        (OF_FEED, None, "0x0*f9 does not say its decimals; it is not a Chainlink-type aggregator"),
    ],
)
def test_what_cannot_be_a_second_source_is_refused_by_name(
    second: SecondSettings, sides: tuple[Address, Address] | None, problem: str
) -> None:
    chain = a_chain()
    if sides is not None:
        a_pool(chain, sides=sides)
    with pytest.raises(ProtocolError, match=problem):
        chain.run(discover(with_seconds(second)))


# The sequencer --------------------------------------------------------------------------------------------------------

SEQUENCER = Sequencer(UPTIME, 3_600)


def an_uptime(answer: int, started_at: int) -> CallResult:
    return CallResult(True, encode(interface("Aggregator")["latestRoundData"].outputs, [1, answer, started_at, NOW, 1]))


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        (an_uptime(0, NOW - 3_600), None),
        (
            an_uptime(0, NOW - 3_599),
            "the chain's sequencer came back 3599 s ago, and its grace period is 3600 s",
        ),
        (an_uptime(1, NOW - 90_000), "the chain's sequencer is down since 90000 s, says sequencer feed 0x0000…00f7"),
        (an_uptime(1, NOW), "the chain's sequencer is down since 0 s, says sequencer feed 0x0000…00f7"),
        (an_uptime(2, NOW - 9), "whether the sequencer is up is unknown: sequencer feed 0x0000…00f7 answers 2, since "),
        (an_uptime(0, 0), "whether the sequencer is up is unknown: sequencer feed 0x0000…00f7 answers 0, since 0"),
        (an_uptime(0, NOW + 1), "whether the sequencer is up is unknown: sequencer feed 0x0000…00f7 answers 0, since "),
        (CallResult(True, b""), "whether the sequencer is up is unknown: sequencer feed 0x0000…00f7 does not answer: "),
        (
            CallResult(False, b""),
            "whether the sequencer is up is unknown: sequencer feed 0x0000…00f7 does not answer: ",
        ),
    ],
)
def test_a_sequencer_is_up_only_when_its_feed_says_so_for_longer_than_the_grace_period(
    result: CallResult, problem: str | None
) -> None:
    found = sequencer_problem(SEQUENCER, result, NOW)
    assert found is None if problem is None else found is not None and found.startswith(problem)


def test_the_sequencer_is_asked_in_the_same_call_as_everything_else() -> None:
    chain = a_chain()
    settings = replace(SETTINGS, sequencer=SEQUENCER)
    chain.answer_raw(UPTIME, interface("Aggregator")["latestRoundData"].encode(), an_uptime(0, NOW - 90_000))
    assert read(chain, settings).sequencer_problem is None
    chain.answer_raw(UPTIME, interface("Aggregator")["latestRoundData"].encode(), an_uptime(1, NOW - 60))
    snapshot = read(chain, settings)
    assert snapshot.sequencer_problem == "the chain's sequencer is down since 60 s, says sequencer feed 0x0000…00f7"
    assert [round.feed for round in snapshot.feeds] == [ETH_FEED, USDC_FEED]


def test_known_sequencer_feeds_are_addresses_in_lower_case() -> None:
    assert all(len(feed) == 42 and feed == feed.lower() for feed in SEQUENCER_FEEDS.values())
    assert set(SEQUENCER_FEEDS) == {10, 1_088, 8_453, 42_161}

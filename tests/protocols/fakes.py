"""A chain that answers the adapters' calls from a table, and the wallet that most tests read from it.

An address without answers behaves like one without code: every call succeeds and returns nothing.
"""

from collections.abc import Sequence
from typing import TypeVar

from eth_abi.abi import encode

from keeper.core.snapshot import Block
from keeper.core.units import Address
from keeper.protocols.abi import ZERO_ADDRESS, Function, interface
from keeper.protocols.base import Call, CallResult, Discovery
from keeper.protocols.multicall import MULTICALL3
from keeper.protocols.oracles import FeedSettings
from keeper.protocols.portfolio import MorphoSettings, PortfolioSettings, WalletSettings

T = TypeVar("T")


def address(number: int) -> Address:
    return Address(f"0x{number:040x}")


NOW = 1_700_000_000
BLOCK = Block(20_000_000, "0x" + "ab" * 32, "0x" + "aa" * 32, NOW, 10**9, 30_000_000)

OWNER, GUARD, KEEPER, MORPHO = address(0xA11CE), address(0x6A4D), address(0x0E), address(0xB1)
WETH, USDC, WBTC = address(0xE1), address(0xE2), address(0xE3)
ORACLE, IRM = address(0x0A), address(0x1A)
ETH_FEED, USDC_FEED = address(0xF1), address(0xF2)

# The id of the market (USDC, WETH, ORACLE, IRM, 0.86e18): keccak of those five words, computed once with another tool.
MARKET = "0x5b3fb77af132747cd8c45e4c6d254123bfbfb1a8a3618c3f889d3a38d4baf7c9"
LLTV = 860_000_000_000_000_000

REVERT_STALE = bytes.fromhex("08c379a0") + encode(["string"], ["stale"])


class FakeChain:
    """Answers by target and calldata; a call asked several times over gets its answers in turn, the last repeated."""

    def __init__(self) -> None:
        self._answers: dict[tuple[Address, bytes], list[CallResult]] = {}

    def answer(self, to: Address, function: Function, *arguments: object, returns: Sequence[object]) -> None:
        """One answer, in place of all earlier ones."""
        self.answer_raw(to, function.encode(*arguments), CallResult(True, encode(function.outputs, returns)))

    def answer_raw(self, to: Address, data: bytes, *results: CallResult) -> None:
        self._answers[to, data] = list(results)

    def revert(self, to: Address, function: Function, *arguments: object, data: bytes = REVERT_STALE) -> None:
        self.answer_raw(to, function.encode(*arguments), CallResult(False, data))

    def results(self, calls: Sequence[Call]) -> list[CallResult]:
        asked: dict[tuple[Address, bytes], int] = {}
        results: list[CallResult] = []
        for call in calls:
            key = (call.to, call.data)
            answers = self._answers.get(key, [CallResult(True, b"")])
            results.append(answers[min(asked.get(key, 0), len(answers) - 1)])
            asked[key] = asked.get(key, 0) + 1
        return results

    def aggregate(self, calls: Sequence[Call]) -> bytes:
        """What Multicall3 would return."""
        return aggregate_answer(self.results(calls))

    def run(self, discovery: Discovery[T]) -> tuple[T, int]:
        """What a discovery finds on this chain, and in how many rounds."""
        rounds = 0
        try:
            calls = next(discovery)
            while True:
                rounds += 1
                calls = discovery.send(self.results(calls))
        except StopIteration as end:
            return end.value, rounds


def aggregate_answer(results: Sequence[CallResult]) -> bytes:
    return encode(["(bool,bytes)[]"], [[tuple(result) for result in results]])


SETTINGS = PortfolioSettings(
    chain_id=1,
    owner=OWNER,
    guard=GUARD,
    keeper=KEEPER,
    protocols=(MorphoSettings(MORPHO, (MARKET,)), WalletSettings((WETH, WBTC))),
    feeds=(FeedSettings(ETH_FEED, "ETH/USD", 3_600), FeedSettings(USDC_FEED, "USDC/USD", 86_400)),
    heartbeat_slack_seconds=60,
    usd_feeds={"usdc": USDC_FEED, WETH: ETH_FEED},
    native_usd_feed=ETH_FEED,
)
"""The wallet of `a_chain`."""


def a_chain(*, collateral_raw: int = 10 * 10**18, borrow_shares: int = 17_200 * 10**12) -> FakeChain:
    """A Morpho position of 10 WETH at 2,500 USDC against 17,200 USDC (health 1.25); 3 WETH, 0.5 WBTC in the wallet."""
    chain = FakeChain()
    token, feed, oracle = interface("ERC20"), interface("Aggregator"), interface("MorphoOracle")
    for place, symbol, decimals in ((WETH, "WETH", 18), (USDC, "USDC", 6), (WBTC, "WBTC", 8)):
        chain.answer(place, token["symbol"], returns=[symbol])
        chain.answer(place, token["decimals"], returns=[decimals])
    for place, name, price in ((ETH_FEED, "ETH / USD", 2_500 * 10**8), (USDC_FEED, "USDC / USD", 10**8)):
        chain.answer(place, feed["decimals"], returns=[8])
        chain.answer(place, feed["description"], returns=[name])
        set_round(chain, place, price)
    chain.answer(MULTICALL3, interface("Multicall3")["getCurrentBlockTimestamp"], returns=[NOW])
    chain.answer(MULTICALL3, interface("Multicall3")["getEthBalance"], OWNER, returns=[25 * 10**17])
    chain.answer(MULTICALL3, interface("Multicall3")["getEthBalance"], KEEPER, returns=[10**17])

    morpho = interface("Morpho")
    chain.answer(MORPHO, morpho["idToMarketParams"], bytes.fromhex(MARKET[2:]), returns=[USDC, WETH, ORACLE, IRM, LLTV])
    chain.answer(MORPHO, morpho["isAuthorized"], OWNER, GUARD, returns=[True])
    chain.answer(ORACLE, oracle["BASE_FEED_1"], returns=[ETH_FEED])
    chain.answer(ORACLE, oracle["BASE_FEED_2"], returns=[ZERO_ADDRESS])
    chain.answer(ORACLE, oracle["QUOTE_FEED_1"], returns=[USDC_FEED])
    chain.answer(ORACLE, oracle["QUOTE_FEED_2"], returns=[ZERO_ADDRESS])
    chain.answer(ORACLE, oracle["price"], returns=[2_500 * 10**24])
    set_market(chain)
    set_position(chain, collateral_raw, borrow_shares)

    for place, balance, allowance in ((WETH, 3 * 10**18, 2 * 10**18), (WBTC, 5 * 10**7, 10**8)):
        chain.answer(place, token["balanceOf"], OWNER, returns=[balance])
        chain.answer(place, token["allowance"], OWNER, GUARD, returns=[allowance])
    set_guard(chain)
    return chain


def set_round(chain: FakeChain, feed: Address, answer: int, updated_at: int = NOW - 600) -> None:
    chain.answer(feed, interface("Aggregator")["latestRoundData"], returns=[7, answer, updated_at, updated_at, 7])


def set_market(
    chain: FakeChain, *, borrowed: tuple[int, int] = (10**12, 10**12), elapsed: int = 12, accrued_at: int = NOW
) -> None:
    """The market's totals before and after accrual; a borrow share is about a millionth of a raw USDC."""
    types = interface("Morpho")["market"].outputs
    before, after = (
        encode(types, [2 * 10**12, 2 * 10**18, total, 10**18, updated_at, 0])
        for total, updated_at in zip(borrowed, (NOW - elapsed, accrued_at), strict=True)
    )
    data = interface("Morpho")["market"].encode(bytes.fromhex(MARKET[2:]))
    chain.answer_raw(MORPHO, data, CallResult(True, before), CallResult(True, after))


def set_position(chain: FakeChain, collateral_raw: int, borrow_shares: int) -> None:
    chain.answer(
        MORPHO,
        interface("Morpho")["position"],
        bytes.fromhex(MARKET[2:]),
        OWNER,
        returns=[0, borrow_shares, collateral_raw],
    )


def set_guard(chain: FakeChain, *, owner: Address = OWNER, retired: bool = False, joined: bool = True) -> None:
    """Account 0 is the wallet with WETH alone, account 1 the Morpho position."""
    guard = interface("MarginGuard")
    chain.answer(GUARD, guard["owner"], returns=[owner])
    chain.answer(GUARD, guard["keeper"], returns=[KEEPER])
    chain.answer(GUARD, guard["paused"], returns=[False])
    chain.answer(GUARD, guard["lastSequence"], returns=[41])
    limits = (12 * 10**17, 105 * 10**16, 14 * 10**17, 102 * 10**16)
    accounts = [
        (0, False, True, OWNER, ZERO_ADDRESS, bytes(32), [(WETH, WETH, ZERO_ADDRESS)], (0, 0, 0, 0)),
        (
            1,
            retired,
            joined,
            OWNER,
            MORPHO,
            bytes.fromhex(MARKET[2:]),
            [(WETH, MORPHO, ZERO_ADDRESS), (USDC, ZERO_ADDRESS, MORPHO)],
            limits,
        ),
    ]
    chain.answer(GUARD, guard["accounts"], returns=[accounts])
    chain.answer(GUARD, guard["remainingCap"], WETH, returns=[60 * 10**18])
    chain.answer(GUARD, guard["remainingCap"], USDC, returns=[0])
    chain.answer(GUARD, guard["remainingCap"], WBTC, returns=[0])

"""What the chain says at one block: prices, positions with their health, idle tokens. One call, exact integers.

Written from Morpho's own arithmetic and independent of the keeper, whose work is measured with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scripts.localchain import world
from scripts.localchain.abi import decode_words, encode_call
from scripts.localchain.deploy import MARKET_PARAMS, Deployment, Market
from scripts.localchain.node import Node, NodeError
from scripts.localchain.world import WAD

NO_DEBT = 2**128 - 1
ORACLE_SCALE = 10**36
VIRTUAL_ASSETS, VIRTUAL_SHARES = 1, 10**6


@dataclass(frozen=True, slots=True)
class Position:
    """One account's position in one market, interest accrued to the observed block."""

    market: Market
    collateral_raw: int
    debt_raw: int
    """Rounded up, as Morpho does where it judges health."""
    price: int
    """The oracle's, loan per collateral in raw units, scaled 1e36."""

    @property
    def max_borrow_raw(self) -> int:
        # Morpho._isHealthy, morpho-blue 1.0.0
        return self.collateral_raw * self.price // ORACLE_SCALE * self.market.lltv // WAD

    @property
    def is_liquidatable(self) -> bool:
        return self.debt_raw > self.max_borrow_raw

    @property
    def health(self) -> int:
        """WAD, rounded down; NO_DEBT without debt."""
        return self.max_borrow_raw * WAD // self.debt_raw if self.debt_raw else NO_DEBT


@dataclass(frozen=True, slots=True)
class Observation:
    """The chain at the end of one block."""

    block: int
    timestamp: int
    answers: dict[str, int]
    """By feed, in the feed's decimals."""
    positions: dict[str, dict[str, Position]]
    """By holder, then by market."""
    idle_raw: dict[str, dict[str, int]]
    """Token balances by holder, then by symbol."""

    def usd(self, symbol: str, amount_raw: int) -> int:
        """The value of an amount in USD, WAD, rounded down."""
        eth = self.answers["ETH/USD"] * WAD // 10**8
        match symbol:
            case "WETH":
                price = eth
            case "wstETH":
                price = eth * self.answers["wstETH/ETH"] // WAD
            case _:
                price = self.answers[world.feed_for(symbol).name] * WAD // 10**8
        return amount_raw * price // 10 ** world.token(symbol).decimals

    def equity_usd(self, holder: str, symbols: Sequence[str]) -> int:
        """Collateral minus debt, plus the idle tokens of these symbols; USD, WAD."""
        total = sum(self.usd(symbol, self.idle_raw[holder][symbol]) for symbol in symbols)
        for name, position in self.positions[holder].items():
            spec = world.market(name)
            total += self.usd(spec.collateral, position.collateral_raw) - self.usd(spec.loan, position.debt_raw)
        return total


def observe(
    node: Node, deployment: Deployment, holders: Sequence[str], block: int | str = "latest", others: Sequence[str] = ()
) -> Observation:
    """Reads everything about `holders`, and the token balances of `others`, pinned to one block.

    Raises NodeError naming the call that failed.
    """
    number = node.block_number() if block == "latest" else int(block)
    calls: list[tuple[str, bytes, list[str]]] = [
        (world.MULTICALL3, encode_call("getCurrentBlockTimestamp()"), ["uint256"])
    ]
    calls += [(feed, encode_call("latestAnswer()"), ["int256"]) for feed in deployment.feeds.values()]
    for market in deployment.markets.values():
        key = bytes.fromhex(market.id[2:])
        calls += [
            (deployment.morpho, encode_call(f"accrueInterest({MARKET_PARAMS})", market.params), []),
            (deployment.morpho, encode_call("market(bytes32)", key), ["uint128"] * 6),
            (market.oracle, encode_call("price()"), ["uint256"]),
            *(
                (deployment.morpho, encode_call("position(bytes32,address)", key, holder), ["uint256"] * 3)
                for holder in holders
            ),
        ]
    calls += [
        (token, encode_call("balanceOf(address)", holder), ["uint256"])
        for holder in (*holders, *others)
        for token in deployment.tokens.values()
    ]
    answers = iter(_read_all(node, calls, number))
    (timestamp,) = next(answers)
    prices = {feed: next(answers)[0] for feed in deployment.feeds}
    positions: dict[str, dict[str, Position]] = {holder: {} for holder in holders}
    for name, market in deployment.markets.items():
        next(answers)
        totals, (price,) = next(answers), next(answers)
        for holder in holders:
            _, shares, collateral = next(answers)
            positions[holder][name] = Position(market, collateral, _debt(shares, totals), price)
    idle = {holder: {symbol: next(answers)[0] for symbol in deployment.tokens} for holder in (*holders, *others)}
    return Observation(number, timestamp, prices, positions, idle)


def _debt(shares: int, totals: Sequence[int]) -> int:
    # SharesMathLib.toAssetsUp, morpho-blue 1.0.0
    assets, total_shares = totals[2] + VIRTUAL_ASSETS, totals[3] + VIRTUAL_SHARES
    return -(-shares * assets // total_shares)


def _read_all(node: Node, calls: Sequence[tuple[str, bytes, list[str]]], block: int) -> list[tuple[Any, ...]]:
    batch = encode_call("aggregate3((address,bool,bytes)[])", [(to, True, data) for to, data, _ in calls])
    (results,) = decode_words(["(bool,bytes)[]"], node.call(world.MULTICALL3, batch, block))
    decoded: list[tuple[Any, ...]] = []
    for (to, data, types), (success, answer) in zip(calls, results, strict=True):
        if not success:
            raise NodeError(f"a read of {to} failed at block {block} (0x{data[:4].hex()})", answer)
        decoded.append(decode_words(types, answer))
    return decoded

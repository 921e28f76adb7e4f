"""What one cycle reads of a pool of Venus: the calls, and what the answers say of each market.

Interest is accrued and prices are brought up to date by the read itself, as a liquidator would. A market that does not
answer is named; it is the problem of the accounts that entered it and of no other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from keeper.core.snapshot import Unknown
from keeper.core.units import WAD, Address, Wad
from keeper.protocols.abi import explain_revert, interface
from keeper.protocols.base import Call, CallResult
from keeper.protocols.venus.math import Holding
from keeper.protocols.venus.topology import Market, Pool

FOUND_OUT_ANEW = "the daemon finds out anew within a minute or two"
UINT256_MAX = 2**256 - 1
AMOUNT_MAX = 2**128 - 1


class Action(IntEnum):
    """ComptrollerInterface.Action, of which any may be paused in each market."""

    MINT = 0
    REDEEM = 1
    REPAY = 3
    TRANSFER = 6


@dataclass(frozen=True, slots=True)
class MarketState:
    """One market at the pinned block."""

    market: Market
    exchange_rate: Wad
    borrow_rate: Wad
    price: int
    collateral_factor: Wad
    threshold: Wad
    cash_raw: int
    """What can be paid out to whoever redeems."""
    room_raw: int | None
    """What the supply cap lets in; None: as much as may be."""
    paused: frozenset[Action]
    is_liquidation_forced: bool | Unknown
    """Whether what is owed of it may be liquidated whatever the health."""

    def holding(self, tokens: int, owed_raw: int, *, is_entered: bool) -> Holding:
        return Holding(
            self.market.token.address,
            tokens,
            self.exchange_rate,
            owed_raw,
            self.borrow_rate,
            self.market.slots_per_year,
            self.price,
            self.collateral_factor,
            self.threshold,
            is_entered,
        )


@dataclass(frozen=True, slots=True)
class PoolState:
    oracle: Address | None
    """None when the pool does not name it any more."""
    incentive: Wad
    """What a liquidator gets for what it repays."""
    min_liquidatable: Wad
    """USD; whoever has less collateral is liquidated whole."""
    markets: dict[Address, MarketState | Unknown]
    accounts: tuple[tuple[CallResult, ...], ...]
    """Of each account what `account_calls` asked."""


def outdated(changed: str) -> Unknown:
    """What cannot be judged until the pool is discovered again."""
    return Unknown(f"{changed}; {FOUND_OUT_ANEW}", is_outdated=True)


# Asking ---------------------------------------------------------------------------------------------------------------

_OF_POOL = ("oracle", "liquidationIncentiveMantissa", "minLiquidatableCollateral")
_OF_MARKET = ("exchangeRateStored", "borrowRatePerBlock", "getCash", "totalReserves", "totalSupply")
_BY_POOL = ("markets", "supplyCaps", "isForcedLiquidationEnabled")
CALLS_PER_MARKET = len(_OF_MARKET) + len(_BY_POOL) + len(Action) + 1


def read_calls(pool: Pool, guard: Address | None) -> list[Call]:
    """Interest and prices first; then the pool, each market, each account with its balance (and allowance) in each."""
    of_pool, of_market, comptroller = interface("VenusComptroller"), interface("VToken"), pool.comptroller
    calls = [Call(market.address, of_market["accrueInterest"].encode()) for market in pool.markets]
    calls += [Call(comptroller, of_pool["updatePrices"].encode(account.address)) for account in pool.accounts]
    calls += [Call(comptroller, of_pool[name].encode()) for name in _OF_POOL]
    for one in (market.address for market in pool.markets):
        calls += [Call(one, of_market[name].encode()) for name in _OF_MARKET]
        calls += [Call(comptroller, of_pool[name].encode(one)) for name in _BY_POOL]
        calls += [Call(comptroller, of_pool["actionPaused"].encode(one, action.value)) for action in Action]
        calls.append(Call(pool.oracle, interface("VenusOracle")["getUnderlyingPrice"].encode(one)))
    for account in pool.accounts:
        calls += _account_calls(pool, account.address, guard)
    return calls


def _account_calls(pool: Pool, account: Address, guard: Address | None) -> list[Call]:
    of_pool = interface("VenusComptroller")
    calls = [Call(pool.comptroller, of_pool[name].encode(account)) for name in ("getAssetsIn", "getAccountLiquidity")]
    for market in pool.markets:
        calls.append(Call(market.address, interface("VToken")["getAccountSnapshot"].encode(account)))
        if guard is not None:
            calls.append(Call(market.address, interface("ERC20")["allowance"].encode(account, guard)))
    return calls


# Understanding --------------------------------------------------------------------------------------------------------


def decode(pool: Pool, results: Sequence[CallResult]) -> PoolState:
    """The answers to `read_calls`, in their order."""
    accrued, results = results[: len(pool.markets)], results[len(pool.markets) + len(pool.accounts) :]
    of_pool, results = results[: len(_OF_POOL)], results[len(_OF_POOL) :]
    markets: dict[Address, MarketState | Unknown] = {}
    for place, market in enumerate(pool.markets):
        at = place * CALLS_PER_MARKET
        markets[market.address] = _market(market, accrued[place], results[at : at + CALLS_PER_MARKET])
    of_accounts = results[len(pool.markets) * CALLS_PER_MARKET :]
    step = len(of_accounts) // max(len(pool.accounts), 1)
    oracle, incentive, least = (result.number for result in of_pool)
    return PoolState(
        None if oracle is None else Address(f"0x{oracle:040x}"),
        incentive or WAD,
        least or 0,
        markets,
        tuple(tuple(of_accounts[at : at + step]) for at in range(0, len(of_accounts), max(step, 1))),
    )


def problem(result: CallResult, wanted: str) -> str:
    """Why an answer is of no use, in the words of Venus's own errors."""
    if result.success:
        return result.problem(wanted)
    return explain_revert(result.data, [interface("VenusComptroller"), interface("VToken")])


def _market(market: Market, accrued: CallResult, results: Sequence[CallResult]) -> MarketState | Unknown:
    symbol = market.token.symbol
    if accrued.number != 0:
        return Unknown(f"Venus's market of {symbol} cannot accrue interest: {problem(accrued, 'a sign that it did')}")
    rate, borrow_rate, cash, reserves, supply = (result.number for result in results[:5])
    of_terms, of_cap, of_forced = results[5:8]
    if not rate or borrow_rate is None or cash is None or reserves is None or supply is None:
        failed = next((result for result in results[:5] if result.number is None), results[0])
        return Unknown(f"Venus's market of {symbol} does not answer: {problem(failed, 'a number')}")
    if not of_terms.success or len(of_terms.data) != 96 or of_cap.number is None:
        failed = of_cap if of_cap.number is None else of_terms
        return Unknown(f"Venus's pool does not answer for {symbol}: {problem(failed, 'its terms')}")
    if not results[-1].number:
        reason = "it answers zero" if results[-1].number == 0 else problem(results[-1], "a price")
        return Unknown(f"Venus's oracle has no price of {symbol}: {reason}")
    is_listed, factor, threshold = (int.from_bytes(of_terms.data[at : at + 32]) for at in (0, 32, 64))
    if not is_listed:
        return Unknown(f"Venus's pool does not list its market of {symbol} any more")
    cap = of_cap.number
    return MarketState(
        market,
        rate,
        borrow_rate,
        results[-1].number,
        factor,
        threshold,
        max(cash - reserves, 0),
        # Comptroller.preMintHook
        None if cap == UINT256_MAX else max(cap - rate * supply // WAD, 0),
        frozenset(
            action for action, result in zip(Action, results[8 : 8 + len(Action)], strict=True) if result.number != 0
        ),
        Unknown(
            f"Venus's pool does not say whether anybody may liquidate what is owed of {symbol}: "
            f"{problem(of_forced, 'a yes or no')}"
        )
        if of_forced.number is None
        else of_forced.number != 0,
    )

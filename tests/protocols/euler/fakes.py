"""A small Euler on the fake chain: two vaults, a router with an adapter for each token, two sub-accounts of the owner.

WETH is at 2,500 USD and a share of eWETH is 1.1 WETH. Sub-account 0 has 5 shares and owes nothing. Sub-account 3 has 10
shares as collateral (27,500 USD at 80 % to borrow and 85 % to liquidate) and owes 20,000 USDC: health 1.16875.
"""

from collections.abc import Mapping, Sequence

from keeper.core.snapshot import Fresh, GuardAccount, Reading, Subaccount
from keeper.core.units import Address
from keeper.protocols.abi import ZERO_ADDRESS, interface
from keeper.protocols.base import Around, EnrolmentKey
from keeper.protocols.euler.adapter import EulerV2, discover
from keeper.protocols.euler.math import PROBE
from tests.protocols.fakes import (
    BLOCK,
    ETH_FEED,
    GUARD,
    NOW,
    OWNER,
    USDC,
    USDC_FEED,
    WETH,
    FakeChain,
    address,
    set_round,
)

EVC, E_WETH, E_USDC, ROUTER = address(0xE5C), address(0xE4E1), address(0xE4E2), address(0x40)
ETH_ORACLE, USDC_ORACLE = address(0x51), address(0x52)
USD = address(840)

# The owner is 0x…a11ce; a sub-account's address is the owner's with the last byte xored.
SUB_0, SUB_3 = address(0xA11CE), address(0xA11CD)

OF_VAULT, OF_EVC, OF_ORACLE = interface("EulerVault"), interface("EVC"), interface("EulerOracle")
NO_LIABILITY, NOT_CONTROLLER = bytes.fromhex("43855d0f"), bytes.fromhex("6d588708")
WAD = 10**18
FRESH_FEEDS: Mapping[Address, Reading] = {ETH_FEED: Fresh(), USDC_FEED: Fresh()}


def an_euler_chain() -> FakeChain:
    chain = FakeChain()
    for number in range(256):
        one = address(0xA11CE ^ number)
        chain.answer(EVC, OF_EVC["getCollaterals"], one, returns=[[]])
        chain.answer(EVC, OF_EVC["getControllers"], one, returns=[[]])
        for vault in (E_WETH, E_USDC):
            chain.answer(vault, OF_VAULT["balanceOf"], one, returns=[0])
    prefix = bytes.fromhex(OWNER[2:40])
    for mode in ("isLockdownMode", "isPermitDisabledMode"):
        chain.answer(EVC, OF_EVC[mode], prefix, returns=[False])
    for place, symbol, decimals in ((WETH, "WETH", 18), (USDC, "USDC", 6)):
        set_token(chain, place, symbol, decimals)
    for feed, price in ((ETH_FEED, 2_500 * 10**8), (USDC_FEED, 10**8)):
        set_round(chain, feed, price)
    add_vault(chain, E_WETH, "eWETH", WETH, 18, takes=[])
    add_vault(chain, E_USDC, "eUSDC", USDC, 6, takes=[E_WETH])
    # With the virtual deposit of a million on both sides a share is 1.1 exactly.
    set_totals(chain, E_WETH, 1_100 * WAD + 100_000, 1_000 * WAD)
    set_ltv(chain, E_USDC, E_WETH, 8_000, 8_500)
    add_price(chain, WETH, ETH_ORACLE, ETH_FEED, 2_500 * PROBE)
    add_price(chain, USDC, USDC_ORACLE, USDC_FEED, PROBE * 10**12)
    resolve(chain, E_WETH, WETH, ETH_ORACLE)

    for one, shares in ((SUB_0, 5), (SUB_3, 10)):
        set_account(chain, one, {E_WETH: shares * WAD})
    for kind in (True, False):
        chain.revert(E_USDC, OF_VAULT["accountLiquidity"], SUB_0, kind, data=NO_LIABILITY)
    chain.answer(E_USDC, OF_VAULT["debtOf"], SUB_0, returns=[0])
    set_collaterals(chain, SUB_3, [E_WETH])
    set_controllers(chain, SUB_3, [E_USDC])
    set_debt(chain, SUB_3, 20_000 * 10**6)
    set_liquidity(chain, SUB_3, (23_375 * WAD, 20_000 * WAD), (22_000 * WAD, 20_000 * WAD))
    return chain


# Vaults ---------------------------------------------------------------------------------------------------------------


def set_token(chain: FakeChain, token: Address, symbol: str, decimals: int) -> None:
    chain.answer(token, interface("ERC20")["symbol"], returns=[symbol])
    chain.answer(token, interface("ERC20")["decimals"], returns=[decimals])


def add_vault(
    chain: FakeChain, vault: Address, symbol: str, asset: Address, decimals: int, takes: Sequence[Address]
) -> None:
    set_token(chain, vault, symbol, decimals)
    for function, answer in (
        ("EVC", EVC),
        ("asset", asset),
        ("unitOfAccount", USD),
        ("oracle", ROUTER),
        ("maxLiquidationDiscount", 1_500),
        ("liquidationCoolOffTime", 60),
        ("LTVList", list(takes)),
        ("interestRate", 0),
        ("cash", 2**100),
    ):
        chain.answer(vault, OF_VAULT[function], returns=[answer])
    chain.answer(vault, OF_VAULT["hookConfig"], returns=[ZERO_ADDRESS, 0])
    chain.answer(vault, OF_VAULT["caps"], returns=[0, 0])
    set_totals(chain, vault, 10**12, 10**12)


def set_totals(chain: FakeChain, vault: Address, assets: int, shares: int) -> None:
    chain.answer(vault, OF_VAULT["totalAssets"], returns=[assets])
    chain.answer(vault, OF_VAULT["totalSupply"], returns=[shares])


def set_ltv(
    chain: FakeChain,
    lender: Address,
    vault: Address,
    borrow: int,
    liquidation: int,
    initial: int = 0,
    until: int = 1,
    seconds: int = 0,
) -> None:
    chain.answer(lender, OF_VAULT["LTVFull"], vault, returns=[borrow, liquidation, initial, until, seconds])


# Prices ---------------------------------------------------------------------------------------------------------------


def add_price(
    chain: FakeChain, token: Address, oracle: Address, feed: Address, of_probe: int, unit: Address = USD
) -> None:
    """A token of the router with a Chainlink adapter; `of_probe` is what 10^30 raw units are worth."""
    chain.answer(ROUTER, OF_ORACLE["getConfiguredOracle"], token, unit, returns=[oracle])
    for getter in ("base", "cross", "oracleBaseCross", "oracleCrossQuote", "rateProvider"):
        chain.revert(oracle, OF_ORACLE[getter], data=b"")
    chain.answer(oracle, OF_ORACLE["base"], returns=[token])
    chain.answer(oracle, OF_ORACLE["feed"], returns=[feed])
    set_quote(chain, ROUTER, token, unit, of_probe)


def set_quote(
    chain: FakeChain, oracle: Address, base: Address, quote: Address, mid: int, spread: tuple[int, int] | None = None
) -> None:
    """What 10^30 raw units of `base` are in `quote`; `spread` is bid and ask."""
    chain.answer(oracle, OF_ORACLE["getQuote"], PROBE, base, quote, returns=[mid])
    chain.answer(oracle, OF_ORACLE["getQuotes"], PROBE, base, quote, returns=list(spread or (mid, mid)))


def resolve(chain: FakeChain, vault: Address, base: Address, oracle: Address, unit: Address = USD) -> None:
    chain.answer(ROUTER, OF_ORACLE["resolveOracle"], WAD, vault, unit, returns=[WAD, base, unit, oracle])


# Accounts -------------------------------------------------------------------------------------------------------------


def set_account(chain: FakeChain, one: Address, shares: Mapping[Address, int]) -> None:
    """Shares, all of them allowed to the guard; last checked an hour ago."""
    chain.answer(EVC, OF_EVC["getLastAccountStatusCheckTimestamp"], one, returns=[NOW - 3_600])
    for vault in (E_WETH, E_USDC):
        set_shares(chain, one, vault, shares.get(vault, 0))


def set_shares(chain: FakeChain, one: Address, vault: Address, shares: int, allowance: int | None = None) -> None:
    chain.answer(vault, OF_VAULT["balanceOf"], one, returns=[shares])
    allowed = shares if allowance is None else allowance
    chain.answer(vault, OF_VAULT["allowance"], one, GUARD, returns=[allowed])


def set_collaterals(chain: FakeChain, one: Address, vaults: Sequence[Address]) -> None:
    chain.answer(EVC, OF_EVC["getCollaterals"], one, returns=[list(vaults)])


def set_controllers(chain: FakeChain, one: Address, vaults: Sequence[Address]) -> None:
    chain.answer(EVC, OF_EVC["getControllers"], one, returns=[list(vaults)])


def set_debt(chain: FakeChain, one: Address, raw: int) -> None:
    chain.answer(E_USDC, OF_VAULT["debtOf"], one, returns=[raw])


def set_liquidity(
    chain: FakeChain, one: Address, liquidation: tuple[int, int], borrow: tuple[int, int], vault: Address = E_USDC
) -> None:
    """What the vault says: collateral and debt at the liquidation LTV, and at the borrow LTV."""
    chain.answer(vault, OF_VAULT["accountLiquidity"], one, True, returns=list(liquidation))
    chain.answer(vault, OF_VAULT["accountLiquidity"], one, False, returns=list(borrow))


# Reading --------------------------------------------------------------------------------------------------------------


def found(
    chain: FakeChain,
    guard: Address | None = GUARD,
    vaults: Sequence[Address] = (E_WETH, E_USDC),
) -> EulerV2:
    adapter, _ = chain.run(discover(EVC, OWNER, guard, vaults))
    return adapter


def read(
    chain: FakeChain,
    number: int = 3,
    *,
    adapter: EulerV2 | None = None,
    feeds: Mapping[Address, Reading] = FRESH_FEEDS,
    enrolled: Mapping[EnrolmentKey, GuardAccount] | None = None,
    problem: str | None = None,
) -> Subaccount:
    """One sub-account by an adapter that found it before anything went wrong."""
    adapter = adapter or found(an_euler_chain())
    around = Around(BLOCK, problem, enrolled or {}, feeds)
    subaccounts = adapter.decode(chain.results(adapter.read_calls()), around)
    return next(one for one in subaccounts if one.id.key == str(number))

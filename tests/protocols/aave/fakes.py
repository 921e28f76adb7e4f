"""A fake Aave pool of three reserves in which the owner has an account.

The pool's own health is written out for the account as it is; a test that changes the account states the new one.
"""

from collections.abc import Sequence

from eth_abi.abi import encode

from keeper.core.snapshot import Fresh, GuardAccount, Reading, Subaccount
from keeper.core.units import Address
from keeper.protocols.aave.adapter import AaveV3, discover
from keeper.protocols.abi import ZERO_ADDRESS, interface
from keeper.protocols.base import Around, EnrolmentKey
from tests.protocols.fakes import (
    BLOCK,
    ETH_FEED,
    GUARD,
    OWNER,
    USDC,
    USDC_FEED,
    WBTC,
    WETH,
    FakeChain,
    a_chain,
    address,
    set_round,
)

V30, V36 = 1, 10
RAY = 10**27
POOL, PROVIDER, ORACLE = address(0xAA), address(0xAB), address(0xAC)
BTC_FEED, CAPPED_USDC = address(0xF3), address(0xF4)
ASSETS = (WETH, USDC, WBTC)
A_TOKENS = {WETH: address(0xA1), USDC: address(0xA2), WBTC: address(0xA3)}
DEBT_TOKENS = {WETH: address(0xD1), USDC: address(0xD2), WBTC: address(0xD3)}
STABLE_TOKENS = {WETH: address(0x51), USDC: address(0x52), WBTC: address(0x53)}
IDS = {WETH: 0, USDC: 2, WBTC: 3}
"""Of the reserve with id 1 nothing is left."""

OF_POOL, OF_ORACLE, OF_TOKEN = interface("AavePool"), interface("AaveOracle"), interface("AaveToken")
OF_ERC20, OF_SOURCE, OF_FEED = interface("ERC20"), interface("AavePriceSource"), interface("Aggregator")
FRESH: dict[Address, Reading] = {ETH_FEED: Fresh(), USDC_FEED: Fresh(), BTC_FEED: Fresh()}

WETH_USED, USDC_OWED, USDC_USED, WBTC_USED = 0b10, 0b01 << 4, 0b10 << 4, 0b10 << 6


def configuration(
    ltv_bps: int = 8_000, threshold_bps: int = 8_300, bonus_bps: int = 10_500, decimals: int = 18, *,
    is_active: bool = True, is_frozen: bool = False, is_paused: bool = False, supply_cap: int = 0, category: int = 0,
    debt_ceiling: int = 0,
) -> int:  # fmt: skip
    """A reserve's configuration word."""
    return (
        ltv_bps | threshold_bps << 16 | bonus_bps << 32 | decimals << 48 | is_active << 56 | is_frozen << 57
        | is_paused << 60 | supply_cap << 116 | category << 168 | debt_ceiling << 212
    )  # fmt: skip


CONFIGURATIONS = {
    WETH: configuration(),
    USDC: configuration(7_500, 7_800, 10_450, 6),
    WBTC: configuration(7_000, 7_500, 10_600, 8),
}
HEALTH = 1_250_000_000_000_000_000


def an_aave_chain(revision: int = V36, health: int = HEALTH) -> FakeChain:
    """10 WETH at 2,500 USD, of which 83 % count, against 16,600 USDC: health 1.25. 0.5 WBTC are supplied and not used.

    The guard may take 4 WETH and all of the WBTC, and is no position manager.
    """
    chain = a_chain()
    chain.answer(POOL, OF_POOL["POOL_REVISION"], returns=[revision])
    chain.answer(POOL, OF_POOL["ADDRESSES_PROVIDER"], returns=[PROVIDER])
    chain.answer(POOL, OF_POOL["getReservesList"], returns=[list(ASSETS)])
    chain.answer(PROVIDER, interface("AaveAddressesProvider")["getPriceOracle"], returns=[ORACLE])
    chain.answer(ORACLE, OF_ORACLE["BASE_CURRENCY"], returns=[ZERO_ADDRESS])
    chain.answer(ORACLE, OF_ORACLE["BASE_CURRENCY_UNIT"], returns=[10**8])
    chain.answer(BTC_FEED, OF_FEED["decimals"], returns=[8])
    chain.answer(BTC_FEED, OF_FEED["description"], returns=["BTC / USD"])
    set_round(chain, BTC_FEED, 60_000 * 10**8)
    chain.answer(CAPPED_USDC, OF_SOURCE["ASSET_TO_USD_AGGREGATOR"], returns=[USDC_FEED])
    sources = {WETH: ETH_FEED, USDC: CAPPED_USDC, WBTC: BTC_FEED}
    for asset, price in ((WETH, 2_500), (USDC, 1), (WBTC, 60_000)):
        chain.answer(ORACLE, OF_ORACLE["getSourceOfAsset"], asset, returns=[sources[asset]])
        set_price(chain, asset, price * 10**8)
        set_reserve(chain, asset)
        symbol, decimals = {WETH: ("aWETH", 18), USDC: ("aUSDC", 6), WBTC: ("aWBTC", 8)}[asset]
        chain.answer(A_TOKENS[asset], OF_ERC20["symbol"], returns=[symbol])
        chain.answer(A_TOKENS[asset], OF_ERC20["decimals"], returns=[decimals])
        chain.answer(A_TOKENS[asset], OF_TOKEN["scaledTotalSupply"], returns=[10**24])
        chain.answer(POOL, OF_POOL["getVirtualUnderlyingBalance"], asset, returns=[10**24])
        chain.answer(asset, OF_ERC20["balanceOf"], A_TOKENS[asset], returns=[10**24])
        set_balance(chain, asset)
    set_balance(chain, WETH, supplied=10 * 10**18, allowance=4 * 10**18)
    set_balance(chain, USDC, owed=16_600 * 10**6)
    set_balance(chain, WBTC, supplied=5 * 10**7, allowance=10**20)
    set_account(chain, WETH_USED | USDC_OWED, health)
    return chain


def set_price(chain: FakeChain, asset: Address, price: int) -> None:
    chain.answer(ORACLE, OF_ORACLE["getAssetPrice"], asset, returns=[price])


def set_reserve(
    chain: FakeChain, asset: Address, word: int | None = None, *, income: int = RAY, debt: int = RAY, rate: int = 0
) -> None:
    chain.answer(
        POOL, OF_POOL["getReserveData"], asset,
        returns=[(
            CONFIGURATIONS[asset] if word is None else word, RAY, 0, RAY, rate, 0, 0, IDS[asset], A_TOKENS[asset],
            STABLE_TOKENS[asset], DEBT_TOKENS[asset], ZERO_ADDRESS, 0, 0, 0,
        )],
    )  # fmt: skip
    chain.answer(POOL, OF_POOL["getReserveNormalizedIncome"], asset, returns=[income])
    chain.answer(POOL, OF_POOL["getReserveNormalizedVariableDebt"], asset, returns=[debt])


def set_balance(
    chain: FakeChain, asset: Address, *, supplied: int = 0, owed: int = 0, allowance: int = 0, stable: int = 0,
    account: Address = OWNER,
) -> None:  # fmt: skip
    chain.answer(A_TOKENS[asset], OF_TOKEN["scaledBalanceOf"], account, returns=[supplied])
    chain.answer(DEBT_TOKENS[asset], OF_TOKEN["scaledBalanceOf"], account, returns=[owed])
    chain.answer(A_TOKENS[asset], OF_ERC20["allowance"], account, GUARD, returns=[allowance])
    chain.answer(STABLE_TOKENS[asset], OF_ERC20["balanceOf"], account, returns=[stable])


def set_account(
    chain: FakeChain, flags: int, health: int, *, mode: int = 0, is_manager: bool = False, account: Address = OWNER
) -> None:
    """What the pool says about the account; only the health of its account data is looked at."""
    chain.answer(POOL, OF_POOL["getUserConfiguration"], account, returns=[flags])
    chain.answer(POOL, OF_POOL["getUserEMode"], account, returns=[mode])
    chain.answer(POOL, OF_POOL["getUserAccountData"], account, returns=[0, 0, 0, 0, 0, health])
    chain.answer(POOL, OF_POOL["isApprovedPositionManager"], account, GUARD, returns=[is_manager])


def set_category(
    chain: FakeChain, id: int, terms: tuple[int, int, int], *, collateral: Sequence[Address] = (),
    ltv_zero: Sequence[Address] = (), price_source: Address = ZERO_ADDRESS,
) -> None:  # fmt: skip
    """An e-mode category as either version keeps it."""
    chain.answer(POOL, OF_POOL["getEModeCategoryCollateralConfig"], id, returns=terms)
    for name, members in (("Collateral", collateral), ("Ltvzero", ltv_zero)):
        bitmap = sum(1 << IDS[asset] for asset in members)
        chain.answer(POOL, OF_POOL[f"getEModeCategory{name}Bitmap"], id, returns=[bitmap])
    chain.answer(POOL, OF_POOL["getEModeCategoryData"], id, returns=[(*terms, price_source, "ETH correlated")])


def found(
    chain: FakeChain, *, accounts: Sequence[Address] = (OWNER,), assets: Sequence[Address] = (WETH, WBTC),
    guard: Address | None = GUARD,
) -> AaveV3:  # fmt: skip
    adapter, _ = chain.run(discover(POOL, accounts, guard, assets))
    return adapter


def read(
    chain: FakeChain, adapter: AaveV3 | None = None, *, feeds: dict[Address, Reading] | None = None,
    enrolled: dict[EnrolmentKey, GuardAccount] | None = None, problem: str | None = None,
) -> Subaccount:  # fmt: skip
    """The first account, by an adapter that found the chain as it is now unless another is given."""
    adapter = adapter or found(chain)
    around = Around(BLOCK, problem, enrolled or {}, FRESH if feeds is None else feeds)
    return adapter.decode(chain.results(adapter.read_calls()), around)[0]


def word(value: int) -> bytes:
    return encode(["uint256"], [value])

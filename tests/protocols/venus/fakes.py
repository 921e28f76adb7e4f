"""A fake pool of Venus with three markets in which the owner has an account.

What the pool finds left is written out for the account as it is; a test that changes the account states the new number.
"""

from collections.abc import Sequence

from eth_abi.abi import encode

from keeper.core.snapshot import Fresh, GuardAccount, Reading, Subaccount
from keeper.core.units import WAD, Address
from keeper.protocols.abi import interface
from keeper.protocols.base import Around, CallResult, EnrolmentKey
from keeper.protocols.venus.adapter import VenusPool, discover
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

COMPTROLLER, ORACLE, CHAINLINK, BTC_FEED = address(0xC0), address(0xC1), address(0xC2), address(0xF3)
MARKETS = {WETH: address(0x71), USDC: address(0x72), WBTC: address(0x73)}
UINT256_MAX = 2**256 - 1
LEFT = 4_250 * WAD
FRESH: dict[Address, Reading] = {ETH_FEED: Fresh(), USDC_FEED: Fresh(), BTC_FEED: Fresh()}
OF_POOL, OF_MARKET, OF_ERC20 = interface("VenusComptroller"), interface("VToken"), interface("ERC20")
OF_ORACLE, OF_CHAINLINK, OF_FEED = (interface(n) for n in ("VenusOracle", "VenusChainlinkOracle", "Aggregator"))
_RAW = {WETH: (18, 2_500), USDC: (6, 1), WBTC: (8, 60_000)}


def a_venus_chain() -> FakeChain:
    """10 WETH at 2,500 USD, of which 85 % count, against 17,000 USDC: health 1.25. 0.5 WBTC lie where it did not enter.

    The guard may take 4 vTokens of WETH and all of those of WBTC.
    """
    chain = a_chain()
    chain.answer(COMPTROLLER, OF_POOL["isComptroller"], returns=[True])
    chain.answer(COMPTROLLER, OF_POOL["oracle"], returns=[ORACLE])
    chain.answer(COMPTROLLER, OF_POOL["getAllMarkets"], returns=[list(MARKETS.values())])
    chain.answer(COMPTROLLER, OF_POOL["liquidationIncentiveMantissa"], returns=[11 * 10**17])
    chain.answer(COMPTROLLER, OF_POOL["minLiquidatableCollateral"], returns=[100 * WAD])
    chain.answer(BTC_FEED, OF_FEED["decimals"], returns=[8])
    chain.answer(BTC_FEED, OF_FEED["description"], returns=["BTC / USD"])
    set_round(chain, BTC_FEED, 60_000 * 10**8)
    for asset, feed in ((WETH, ETH_FEED), (USDC, USDC_FEED), (WBTC, BTC_FEED)):
        market = MARKETS[asset]
        chain.answer(market, OF_MARKET["underlying"], returns=[asset])
        chain.answer(market, OF_MARKET["blocksOrSecondsPerYear"], returns=[31_536_000])
        chain.answer(market, OF_ERC20["symbol"], returns=[{WETH: "vWETH", USDC: "vUSDC", WBTC: "vWBTC"}[asset]])
        chain.answer(market, OF_ERC20["decimals"], returns=[8])
        chain.answer(
            ORACLE, OF_ORACLE["getTokenConfig"], asset,
            returns=[(asset, [CHAINLINK, address(0), address(0)], [True, False, False], False)],
        )  # fmt: skip
        chain.answer(CHAINLINK, OF_CHAINLINK["prices"], asset, returns=[0])
        chain.answer(CHAINLINK, OF_CHAINLINK["tokenConfigs"], asset, returns=[asset, feed, 86_400])
        set_market(chain, asset)
        set_balance(chain, asset)
    set_balance(chain, WETH, tokens=10 * 10**8, allowance=4 * 10**8)
    set_balance(chain, USDC, owed=17_000 * 10**6)
    set_balance(chain, WBTC, tokens=5 * 10**7, allowance=10**20)
    set_account(chain, (WETH, USDC), LEFT)
    return chain


def set_market(
    chain: FakeChain, asset: Address, *, price: int | None = None, cap: int = UINT256_MAX, cash: int = 10**24,
    paused: Sequence[int] = (), is_forced: bool = False, is_listed: bool = True,
) -> None:  # fmt: skip
    market, (decimals, usd) = MARKETS[asset], _RAW[asset]
    for name, value in (
        ("accrueInterest", 0), ("exchangeRateStored", 10 ** (10 + decimals)), ("borrowRatePerBlock", 10**9),
        ("getCash", cash), ("totalReserves", 0), ("totalSupply", 10**12),
    ):  # fmt: skip
        chain.answer(market, OF_MARKET[name], returns=[value])
    chain.answer(COMPTROLLER, OF_POOL["markets"], market, returns=[is_listed, 80 * 10**16, 85 * 10**16])
    chain.answer(COMPTROLLER, OF_POOL["supplyCaps"], market, returns=[cap])
    chain.answer(COMPTROLLER, OF_POOL["isForcedLiquidationEnabled"], market, returns=[is_forced])
    for action in (0, 1, 3, 6):
        chain.answer(COMPTROLLER, OF_POOL["actionPaused"], market, action, returns=[action in paused])
    usual = usd * 10 ** (36 - decimals)
    chain.answer(ORACLE, OF_ORACLE["getUnderlyingPrice"], market, returns=[usual if price is None else price])


def set_balance(chain: FakeChain, asset: Address, *, tokens: int = 0, owed: int = 0, allowance: int = 0) -> None:
    market = MARKETS[asset]
    chain.answer(market, OF_MARKET["getAccountSnapshot"], OWNER, returns=[0, tokens, owed, 0])
    chain.answer(market, OF_ERC20["allowance"], OWNER, GUARD, returns=[allowance])


def set_account(chain: FakeChain, entered: Sequence[Address], left: int, missing: int = 0) -> None:
    """What the pool says about the account."""
    chain.answer(COMPTROLLER, OF_POOL["getAssetsIn"], OWNER, returns=[[MARKETS[asset] for asset in entered]])
    chain.answer(COMPTROLLER, OF_POOL["getAccountLiquidity"], OWNER, returns=[0, left, missing])


def found(
    chain: FakeChain, *, markets: Sequence[Address] = (WETH, WBTC), guard: Address | None = GUARD
) -> VenusPool:  # fmt: skip
    adapter, _ = chain.run(discover(COMPTROLLER, (OWNER,), guard, [MARKETS[asset] for asset in markets]))
    return adapter


def read(
    chain: FakeChain, adapter: VenusPool | None = None, *, feeds: dict[Address, Reading] | None = None,
    enrolled: dict[EnrolmentKey, GuardAccount] | None = None, problem: str | None = None,
) -> Subaccount:  # fmt: skip
    """The account, by an adapter that found the chain as it is now unless another is given."""
    adapter = adapter or found(chain)
    around = Around(BLOCK, problem, enrolled or {}, FRESH if feeds is None else feeds)
    return adapter.decode(chain.results(adapter.read_calls()), around)[0]


def nonsense(asset: Address, name: str, chain: FakeChain) -> None:
    """One word too many."""
    chain.answer_raw(MARKETS[asset], OF_MARKET[name].encode(), CallResult(True, encode(["uint256"] * 2, [1, 1])))

"""The real isolated pools of Venus on the local chain, with the real oracle over our feeds.

Tests deploy it: it is no part of the world that every chain starts with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from scripts.localchain import world
from scripts.localchain.abi import decode_words, encode_arguments, encode_call
from scripts.localchain.node import Node
from scripts.localchain.transact import create, mint, send_as
from scripts.localchain.world import DEPLOYER, NOWHERE, ZERO, Person

MAX_STALENESS_SECONDS = 3 * 86_400
V_TOKEN_DECIMALS = 8
BLOCKS_PER_YEAR = 2_628_000
FACTORS = {"WETH": (80, 85), "WBTC": (75, 82), "USDC": (80, 84)}
"""To borrow, to be liquidated; percent."""
FEEDS = {"WETH": "ETH/USD", "WBTC": "BTC/USD", "USDC": "USDC/USD"}
LENT_RAW = {"WETH": 2_000 * 10**18, "WBTC": 100 * 10**8, "USDC": 5_000_000 * 10**6}
BORROWED_RAW = {"USDC": 1_500_000 * 10**6, "WETH": 400 * 10**18}
"""By the deployer, so that a vToken earns interest."""
CLOSE_FACTOR, INCENTIVE = 5 * 10**17, 11 * 10**17
MIN_LIQUIDATABLE = 100 * 10**18
"""USD of collateral below which an account is liquidated as a whole."""

_PERMITTED = (
    "setCloseFactor(uint256)",
    "setLiquidationIncentive(uint256)",
    "setMinLiquidatableCollateral(uint256)",
    "setCollateralFactor(address,uint256,uint256)",
    "setMarketSupplyCaps(address[],uint256[])",
    "setMarketBorrowCaps(address[],uint256[])",
    "setActionsPaused(address[],uint256[],bool)",
    "setForcedLiquidation(address,bool)",
    "setReduceReservesBlockDelta(uint256)",
    "setTokenConfig(TokenConfig)",
    "setDirectPrice(address,uint256)",
)
_INITIALISE_MARKET = (
    "initialize(address,address,address,uint256,string,string,uint8,address,address,(address,address),uint256)"
)


class Action(IntEnum):
    MINT = 0
    REDEEM = 1
    BORROW = 2
    REPAY = 3
    TRANSFER = 6


@dataclass(frozen=True, slots=True)
class VenusDeployment:
    """Where everything is; tokens and markets by the symbol of the underlying."""

    comptroller: str
    oracle: str
    chainlink: str
    tokens: dict[str, str]
    markets: dict[str, str]


# Its deployment -------------------------------------------------------------------------------------------------------


def deploy(
    node: Node, tokens: Mapping[str, str], feeds: Mapping[str, str], *, is_by_block: bool = False
) -> VenusDeployment:
    """A pool whose interest runs by the second, or by the block; raises NodeError where the chain refuses."""
    access = create(node, "VenusAccessControl")
    for signature in _PERMITTED:
        send_as(
            node, DEPLOYER, access, "giveCallPermission(address,string,address)", ZERO, signature, DEPLOYER.address
        )  # fmt: skip
    bounds = create(node, "VenusBoundValidator")
    initialise = encode_call("initialize(address)", access)
    oracle = _behind_beacon(node, "VenusOracle", initialise, ["address"] * 3, ZERO, ZERO, bounds)
    chainlink = _behind_beacon(node, "VenusChainlinkOracle", initialise)
    comptroller = _behind_beacon(
        node, "VenusComptroller", encode_call("initialize(uint256,address)", 100, access), ["address"], DEPLOYER.address
    )
    send_as(node, DEPLOYER, comptroller, "setPriceOracle(address)", oracle)
    send_as(node, DEPLOYER, comptroller, "setCloseFactor(uint256)", CLOSE_FACTOR)
    send_as(node, DEPLOYER, comptroller, "setLiquidationIncentive(uint256)", INCENTIVE)
    send_as(node, DEPLOYER, comptroller, "setMinLiquidatableCollateral(uint256)", MIN_LIQUIDATABLE)
    slots = (not is_by_block, BLOCKS_PER_YEAR if is_by_block else 0)
    # 4 % a year at 80 % of use, and 60 % more at full use.
    rates = create(
        node,
        "VenusRateModel",
        encode_arguments(
            ["uint256"] * 4 + ["address", "bool", "uint256"], 0, 5 * 10**16, 3 * 10**18, 8 * 10**17, access, *slots
        ),
    )
    implementation = create(
        node, "VenusVToken", encode_arguments(["bool", "uint256", "uint256"], *slots, 10**13)
    )  # fmt: skip
    beacon = create(node, "VenusBeacon", encode_arguments(["address"], implementation))
    reserve = create(node, "ShareReserve")
    markets: dict[str, str] = {}
    venus = VenusDeployment(comptroller, oracle, chainlink, {symbol: tokens[symbol] for symbol in FEEDS}, markets)
    for symbol in FEEDS:
        markets[symbol] = create(node, "VenusBeaconProxy", encode_arguments(["address", "bytes"], beacon, b""))
        _price(node, venus, symbol, feeds)
        _open_market(node, venus, symbol, rates, access, reserve)
        supply(node, venus, DEPLOYER, symbol, LENT_RAW[symbol])
        enter(node, venus, DEPLOYER, symbol)
    for symbol, amount in BORROWED_RAW.items():
        borrow(node, venus, DEPLOYER, symbol, amount)
    return venus


def register(node: Node, venus: VenusDeployment) -> str:
    """A registry in which the pool is; its address."""
    access = decode_words(["address"], node.call(venus.comptroller, encode_call("accessControlManager()")))[0]
    registry = _behind_beacon(node, "VenusPoolRegistry", encode_call("initialize(address)", access))
    add_pool = "addPool(string,address,uint256,uint256,uint256)"
    of_registry = (
        "setCloseFactor(uint256)",
        "setLiquidationIncentive(uint256)",
        "setMinLiquidatableCollateral(uint256)",
    )
    for signature, caller in ((add_pool, DEPLOYER.address), *((each, registry) for each in of_registry)):
        send_as(node, DEPLOYER, access, "giveCallPermission(address,string,address)", ZERO, signature, caller)
    send_as(node, DEPLOYER, registry, add_pool, "Core", venus.comptroller, CLOSE_FACTOR, INCENTIVE, MIN_LIQUIDATABLE)
    return registry


def _behind_beacon(node: Node, name: str, initialise: bytes, types: Sequence[str] = (), *arguments: object) -> str:
    implementation = create(node, name, encode_arguments(list(types), *arguments))
    beacon = create(node, "VenusBeacon", encode_arguments(["address"], implementation))
    return create(node, "VenusBeaconProxy", encode_arguments(["address", "bytes"], beacon, initialise))


def _price(node: Node, venus: VenusDeployment, symbol: str, feeds: Mapping[str, str]) -> None:
    """The pool's oracle asks one that asks the feed."""
    token = venus.tokens[symbol]
    send_as(
        node, DEPLOYER, venus.chainlink, "setTokenConfig((address,address,uint256))",
        (token, feeds[FEEDS[symbol]], MAX_STALENESS_SECONDS),
    )  # fmt: skip
    send_as(
        node, DEPLOYER, venus.oracle, "setTokenConfig((address,address[3],bool[3],bool))",
        (token, [venus.chainlink, ZERO, ZERO], [True, False, False], False),
    )  # fmt: skip


def _open_market(node: Node, venus: VenusDeployment, symbol: str, rates: str, access: str, reserve: str) -> None:
    market, decimals = venus.markets[symbol], world.token(symbol).decimals
    send_as(
        node, DEPLOYER, market, _INITIALISE_MARKET,
        venus.tokens[symbol], venus.comptroller, rates, 10 ** (18 + decimals - V_TOKEN_DECIMALS),
        f"Venus {symbol}", f"v{symbol}", V_TOKEN_DECIMALS, DEPLOYER.address, access,
        (DEPLOYER.address, reserve), 10**17,
    )  # fmt: skip
    send_as(node, DEPLOYER, market, "setReduceReservesBlockDelta(uint256)", 2**128)
    send_as(node, DEPLOYER, venus.comptroller, "supportMarket(address)", market)
    set_factors(node, venus, symbol, *FACTORS[symbol])
    cap = 100 * LENT_RAW[symbol]
    set_supply_cap(node, venus, symbol, cap)
    send_as(node, DEPLOYER, venus.comptroller, "setMarketBorrowCaps(address[],uint256[])", [market], [cap])


# What people do -------------------------------------------------------------------------------------------------------


def open_account(
    node: Node, venus: VenusDeployment, person: Person, supplies: Mapping[str, int], borrows: Mapping[str, int]
) -> None:
    """Supplies, enters and then borrows, raw amounts by symbol."""
    for symbol, amount in supplies.items():
        supply(node, venus, person, symbol, amount)
        enter(node, venus, person, symbol)
    for symbol, amount in borrows.items():
        borrow(node, venus, person, symbol, amount)


def supply(node: Node, venus: VenusDeployment, person: Person, symbol: str, amount_raw: int) -> None:
    """With tokens minted for it."""
    mint(node, person, venus.tokens[symbol], amount_raw, venus.markets[symbol])
    send_as(node, person, venus.markets[symbol], "mint(uint256)", amount_raw)


def enter(node: Node, venus: VenusDeployment, person: Person, symbol: str) -> None:
    send_as(node, person, venus.comptroller, "enterMarkets(address[])", [venus.markets[symbol]])


def leave(node: Node, venus: VenusDeployment, person: Person, symbol: str) -> None:
    send_as(node, person, venus.comptroller, "exitMarket(address)", venus.markets[symbol])


def borrow(node: Node, venus: VenusDeployment, person: Person, symbol: str, amount_raw: int) -> None:
    """What was borrowed has been spent: it leaves the wallet. The market is entered by it."""
    send_as(node, person, venus.markets[symbol], "borrow(uint256)", amount_raw)
    send_as(node, person, venus.tokens[symbol], "transfer(address,uint256)", NOWHERE, amount_raw)


def repay(node: Node, venus: VenusDeployment, person: Person, symbol: str, amount_raw: int) -> None:
    """With tokens minted for it."""
    mint(node, person, venus.tokens[symbol], amount_raw, venus.markets[symbol])
    send_as(node, person, venus.markets[symbol], "repayBorrow(uint256)", amount_raw)


# What its administrators do -------------------------------------------------------------------------------------------


def set_factors(node: Node, venus: VenusDeployment, symbol: str, factor_percent: int, threshold_percent: int) -> None:
    send_as(
        node, DEPLOYER, venus.comptroller, "setCollateralFactor(address,uint256,uint256)",
        venus.markets[symbol], factor_percent * 10**16, threshold_percent * 10**16,
    )  # fmt: skip


def set_supply_cap(node: Node, venus: VenusDeployment, symbol: str, cap_raw: int) -> None:
    signature = "setMarketSupplyCaps(address[],uint256[])"
    send_as(node, DEPLOYER, venus.comptroller, signature, [venus.markets[symbol]], [cap_raw])


def set_paused(node: Node, venus: VenusDeployment, symbol: str, action: Action, is_paused: bool = True) -> None:
    signature = "setActionsPaused(address[],uint8[],bool)"
    send_as(node, DEPLOYER, venus.comptroller, signature, [venus.markets[symbol]], [action.value], is_paused)


def force_liquidation(node: Node, venus: VenusDeployment, symbol: str) -> None:
    send_as(node, DEPLOYER, venus.comptroller, "setForcedLiquidation(address,bool)", venus.markets[symbol], True)


# What can be seen -----------------------------------------------------------------------------------------------------


def tokens_of(node: Node, venus: VenusDeployment, holder: str, symbol: str) -> int:
    return decode_words(["uint256"], node.call(venus.markets[symbol], encode_call("balanceOf(address)", holder)))[0]

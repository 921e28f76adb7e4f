"""A real Aave v3 market on the local chain: version 3.6 in every world, and the 3.0 that forks of it run, for tests.

Both are made from one table of parameters (`world.RESERVES`) and are used through the same functions; what differs is
how they are set up. Where things are is read from the market's own address provider, as on a live chain.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scripts.localchain import world
from scripts.localchain.abi import artefact, decode_words, encode_arguments, encode_call
from scripts.localchain.node import Node
from scripts.localchain.transact import create, mint, send_as
from scripts.localchain.world import DEPLOYER, ETH_CORRELATED, NOWHERE, RESERVES, ZERO, Person, ReserveSpec

V36, V30 = "3.6", "3.0"
_PREFIXES = {V36: "AaveV36", V30: "AaveV30"}
_PARTS = (
    "PoolAddressesProvider", "ACLManager", "Oracle", "RateStrategy", "Pool", "PoolConfigurator", "DataProvider",
    "AToken", "VariableDebtToken", "SupplyLogic", "BorrowLogic", "LiquidationLogic", "FlashLoanLogic", "PoolLogic",
    "ConfiguratorLogic",
)  # fmt: skip
CONTRACTS = ("RatioFeed", *(_PREFIXES[V36] + part for part in _PARTS))
"""All that `deploy` makes its market from."""
_RESERVE_V36 = "(address,address,address,string,string,string,string,bytes,bytes)"
_RESERVE_V30 = (
    "(address,address,address,uint8,address,address,address,address,string,string,string,string,string,string,bytes)"
)
VARIABLE_RATE = 2
RAY_PER_BPS = 10**23


@dataclass(frozen=True, slots=True)
class AaveDeployment:
    """Where a market is; tokens by the symbol of their underlying."""

    version: str
    provider: str
    pool: str
    configurator: str
    oracle: str
    data_provider: str
    tokens: dict[str, str]
    a_tokens: dict[str, str]
    variable_debt_tokens: dict[str, str]


# Its deployment -------------------------------------------------------------------------------------------------------


def deploy(node: Node, tokens: Mapping[str, str], feeds: Mapping[str, str]) -> AaveDeployment:
    """Aave v3.6 over these tokens and feeds, lent and partly borrowed; raises NodeError where the chain refuses."""
    maker = _Maker(node, V36)
    provider = _found(maker, tokens, feeds)
    rates = maker.create("RateStrategy", ["address"], provider)
    pool, configurator = _install_pool(maker, provider, ["address", "address"], provider, rates)
    a_token = maker.create("AToken", ["address", "address", "address"], pool, ZERO, DEPLOYER.address)
    debt_token = maker.create("VariableDebtToken", ["address", "address"], pool, ZERO)
    reserves = [
        (
            a_token, debt_token, tokens[spec.symbol], *_names(spec), b"",
            encode_arguments(
                ["uint16", "uint32", "uint32", "uint32"],
                world.OPTIMAL_USE_BPS, 0, spec.rate_bps, world.RATE_ABOVE_OPTIMAL_BPS,
            ),
        )
        for spec in RESERVES
    ]  # fmt: skip
    send_as(node, DEPLOYER, configurator, f"initReserves({_RESERVE_V36}[])", reserves)
    aave = _open(node, V36, provider, tokens)
    mode = ETH_CORRELATED
    send_as(
        node, DEPLOYER, configurator, "setEModeCategory(uint8,uint16,uint16,uint16,string)",
        mode.id, mode.ltv_bps, mode.threshold_bps, mode.bonus_bps, mode.label,
    )  # fmt: skip
    for symbol in mode.symbols:
        for setter in ("setAssetCollateralInEMode", "setAssetBorrowableInEMode"):
            send_as(node, DEPLOYER, configurator, f"{setter}(address,uint8,bool)", tokens[symbol], mode.id, True)
    return aave


def deploy_v30(node: Node, tokens: Mapping[str, str], feeds: Mapping[str, str]) -> AaveDeployment:
    """The same market as Aave v3.0 has it, from the contracts that its package ships; raises NodeError."""
    maker = _Maker(node, V30)
    provider = _found(maker, tokens, feeds)
    pool, configurator = _install_pool(maker, provider, ["address"], provider)
    a_token, stable_debt_token, debt_token = (
        maker.create(name, ["address"], pool) for name in ("AToken", "StableDebtToken", "VariableDebtToken")
    )
    reserves: list[Any] = []
    for spec in RESERVES:
        # Utilisation, base rate, two slopes; the five that follow are of stable rates, which nobody may borrow at.
        curve = (world.OPTIMAL_USE_BPS, 0, spec.rate_bps, world.RATE_ABOVE_OPTIMAL_BPS, 0, 0, 0, 0, 0)
        rates = maker.create(
            "RateStrategy", ["address", *["uint256"] * 9], provider, *(bps * RAY_PER_BPS for bps in curve)
        )
        reserves.append(
            (
                a_token, stable_debt_token, debt_token, world.token(spec.symbol).decimals, rates, tokens[spec.symbol],
                DEPLOYER.address, ZERO, *_names(spec), f"Stable debt {spec.symbol}", f"sd{spec.symbol}", b"",
            )
        )  # fmt: skip
    send_as(node, DEPLOYER, configurator, f"initReserves({_RESERVE_V30}[])", reserves)
    aave = _open(node, V30, provider, tokens)
    mode = ETH_CORRELATED
    send_as(
        node, DEPLOYER, configurator, "setEModeCategory(uint8,uint16,uint16,uint16,address,string)",
        mode.id, mode.ltv_bps, mode.threshold_bps, mode.bonus_bps, ZERO, mode.label,
    )  # fmt: skip
    for symbol in mode.symbols:
        send_as(node, DEPLOYER, configurator, "setAssetEModeCategory(address,uint8)", tokens[symbol], mode.id)
    return aave


class _Maker:
    """Creates contracts of one version, each library once, as soon as a contract wants it."""

    def __init__(self, node: Node, version: str) -> None:
        self.node = node
        self._prefix = _PREFIXES[version]
        self._libraries: dict[str, str] = {}

    def create(self, part: str, types: list[str] | None = None, *arguments: Any) -> str:
        name = self._prefix + part
        for library in artefact(name).libraries:
            if library not in self._libraries:
                self._libraries[library] = self.create(library)
        return create(self.node, name, encode_arguments(types or [], *arguments), libraries=self._libraries)


def _found(maker: _Maker, tokens: Mapping[str, str], feeds: Mapping[str, str]) -> str:
    """The address provider, with the deployer in every role and the oracle in its place."""
    node = maker.node
    provider = maker.create("PoolAddressesProvider", ["string", "address"], "Local Aave market", DEPLOYER.address)
    send_as(node, DEPLOYER, provider, "setACLAdmin(address)", DEPLOYER.address)
    roles = maker.create("ACLManager", ["address"], provider)
    send_as(node, DEPLOYER, provider, "setACLManager(address)", roles)
    for role in ("addPoolAdmin(address)", "addEmergencyAdmin(address)"):
        send_as(node, DEPLOYER, roles, role, DEPLOYER.address)
    sources = [_source(node, spec, feeds) for spec in RESERVES]
    oracle = maker.create(
        "Oracle", ["address", "address[]", "address[]", "address", "address", "uint256"],
        provider, [tokens[spec.symbol] for spec in RESERVES], sources, ZERO, ZERO, 10**8,
    )  # fmt: skip
    send_as(node, DEPLOYER, provider, "setPriceOracle(address)", oracle)
    return provider


def _source(node: Node, spec: ReserveSpec, feeds: Mapping[str, str]) -> str:
    """What answers the USD price of a reserve."""
    match [feeds[name] for name in spec.feeds]:
        case [feed]:
            return feed
        case [ratio, base]:
            arguments = encode_arguments(["string", "address", "address"], f"{spec.symbol}/USD", ratio, base)
            return create(node, "RatioFeed", arguments)
        case _:
            raise AssertionError(f"{spec.symbol} has no price")


def _install_pool(maker: _Maker, provider: str, types: list[str], *arguments: Any) -> tuple[str, str]:
    """The pool and its configurator, behind the proxies that the provider makes for them."""
    node = maker.node
    send_as(node, DEPLOYER, provider, "setPoolImpl(address)", maker.create("Pool", types, *arguments))
    send_as(node, DEPLOYER, provider, "setPoolConfiguratorImpl(address)", maker.create("PoolConfigurator"))
    data_provider = maker.create("DataProvider", ["address"], provider)
    send_as(node, DEPLOYER, provider, "setPoolDataProvider(address)", data_provider)
    pool, configurator = (_address(node, provider, f"{name}()") for name in ("getPool", "getPoolConfigurator"))
    return pool, configurator


def _names(spec: ReserveSpec) -> tuple[str, str, str, str]:
    return f"Aave {spec.symbol}", f"a{spec.symbol}", f"Variable debt {spec.symbol}", f"vd{spec.symbol}"


def _open(node: Node, version: str, provider: str, tokens: Mapping[str, str]) -> AaveDeployment:
    """Makes the reserves collateral that can be borrowed, and has the deployer lend and borrow."""
    aave = _read(node, version, provider, tokens)
    for spec in RESERVES:
        asset = tokens[spec.symbol]
        send_as(
            node, DEPLOYER, aave.configurator, "configureReserveAsCollateral(address,uint256,uint256,uint256)",
            asset, spec.ltv_bps, spec.threshold_bps, spec.bonus_bps,
        )  # fmt: skip
        send_as(node, DEPLOYER, aave.configurator, "setReserveBorrowing(address,bool)", asset, True)
        set_supply_cap(node, aave, spec.symbol, spec.supply_cap)
    open_account(
        node, aave, DEPLOYER,
        supplies={spec.symbol: spec.liquidity_raw for spec in RESERVES},
        borrows={spec.symbol: spec.liquidity_raw * world.BORROWED_PERCENT // 100 for spec in RESERVES},
    )  # fmt: skip
    return aave


def _read(node: Node, version: str, provider: str, tokens: Mapping[str, str]) -> AaveDeployment:
    names = ("getPool()", "getPoolConfigurator()", "getPriceOracle()", "getPoolDataProvider()")
    pool, configurator, oracle, data_provider = (_address(node, provider, name) for name in names)
    a_tokens: dict[str, str] = {}
    debt_tokens: dict[str, str] = {}
    for spec in RESERVES:
        answer = node.call(data_provider, encode_call("getReserveTokensAddresses(address)", tokens[spec.symbol]))
        a_tokens[spec.symbol], _, debt_tokens[spec.symbol] = decode_words(["address"] * 3, answer)
    return AaveDeployment(
        version, provider, pool, configurator, oracle, data_provider, dict(tokens), a_tokens, debt_tokens
    )


def _address(node: Node, to: str, getter: str) -> str:
    return decode_words(["address"], node.call(to, encode_call(getter)))[0]


# What people do -------------------------------------------------------------------------------------------------------


def open_account(
    node: Node, aave: AaveDeployment, person: Person, supplies: Mapping[str, int], borrows: Mapping[str, int]
) -> None:
    """Supplies and then borrows, raw amounts by symbol. What was borrowed has been spent: it leaves the wallet."""
    for symbol, amount in supplies.items():
        supply(node, aave, person, symbol, amount)
    for symbol, amount in borrows.items():
        borrow(node, aave, person, symbol, amount)
        send_as(node, person, aave.tokens[symbol], "transfer(address,uint256)", NOWHERE, amount)


def supply(node: Node, aave: AaveDeployment, person: Person, symbol: str, amount_raw: int) -> None:
    """With tokens minted for it. An asset that the account did not hold becomes collateral."""
    asset = aave.tokens[symbol]
    mint(node, person, asset, amount_raw, aave.pool)
    send_as(
        node, person, aave.pool, "supply(address,uint256,address,uint16)", asset, amount_raw, person.address, 0
    )  # fmt: skip


def borrow(node: Node, aave: AaveDeployment, person: Person, symbol: str, amount_raw: int) -> None:
    send_as(
        node, person, aave.pool, "borrow(address,uint256,uint256,uint16,address)",
        aave.tokens[symbol], amount_raw, VARIABLE_RATE, 0, person.address,
    )  # fmt: skip


def transfer(node: Node, aave: AaveDeployment, person: Person, symbol: str, to: str, amount_raw: int) -> None:
    """Moves aTokens to another account."""
    send_as(node, person, aave.a_tokens[symbol], "transfer(address,uint256)", to, amount_raw)


def use_as_collateral(node: Node, aave: AaveDeployment, person: Person, symbol: str, is_used: bool) -> None:
    signature = "setUserUseReserveAsCollateral(address,bool)"
    send_as(node, person, aave.pool, signature, aave.tokens[symbol], is_used)


def choose_emode(node: Node, aave: AaveDeployment, person: Person, category: int) -> None:
    """0 leaves the mode."""
    send_as(node, person, aave.pool, "setUserEMode(uint8)", category)


def liquidate(
    node: Node, aave: AaveDeployment, liquidator: Person, borrower: str, collateral: str, debt: str, debt_raw: int
) -> None:
    """Repays up to `debt_raw` with tokens minted for it and takes collateral; raises NodeError while all is well."""
    mint(node, liquidator, aave.tokens[debt], debt_raw, aave.pool)
    send_as(
        node, liquidator, aave.pool, "liquidationCall(address,address,address,uint256,bool)",
        aave.tokens[collateral], aave.tokens[debt], borrower, debt_raw, False,
    )  # fmt: skip


# What its administrators do -------------------------------------------------------------------------------------------


def set_frozen(node: Node, aave: AaveDeployment, symbol: str, is_frozen: bool) -> None:
    """On 3.6 a freeze also sets the LTV to 0, and thawing does not give it back."""
    send_as(node, DEPLOYER, aave.configurator, "setReserveFreeze(address,bool)", aave.tokens[symbol], is_frozen)


def set_paused(node: Node, aave: AaveDeployment, symbol: str, is_paused: bool) -> None:
    send_as(node, DEPLOYER, aave.configurator, "setReservePause(address,bool)", aave.tokens[symbol], is_paused)


def set_supply_cap(node: Node, aave: AaveDeployment, symbol: str, cap: int) -> None:
    """In whole tokens; 0 is no cap."""
    send_as(node, DEPLOYER, aave.configurator, "setSupplyCap(address,uint256)", aave.tokens[symbol], cap)


# What can be seen -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Account:
    """`getUserAccountData` of one account, interest accrued to the block; USD with 8 decimals."""

    collateral_usd: int
    debt_usd: int
    available_borrows_usd: int
    threshold_bps: int
    """Of liquidation, average over the collateral; `ltv_bps` likewise."""
    ltv_bps: int
    health: int
    """WAD; the largest uint256 without debt."""


def account(node: Node, aave: AaveDeployment, holder: str) -> Account:
    answer = node.call(aave.pool, encode_call("getUserAccountData(address)", holder))
    return Account(*decode_words(["uint256"] * 6, answer))


def is_used_as_collateral(node: Node, aave: AaveDeployment, holder: str, symbol: str) -> bool:
    answer = node.call(
        aave.data_provider, encode_call("getUserReserveData(address,address)", aave.tokens[symbol], holder)
    )
    return decode_words(["uint256"] * 8 + ["bool"], answer)[8]


def price_usd(node: Node, aave: AaveDeployment, symbol: str) -> int:
    """8 decimals."""
    return decode_words(
        ["uint256"], node.call(aave.oracle, encode_call("getAssetPrice(address)", aave.tokens[symbol]))
    )[0]

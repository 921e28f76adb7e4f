"""A stand-in for Euler v2 on the local chain: a connector, three vaults that lend to each other, sub-accounts.

No package registry has the real contracts; ours answer as those were recorded. Tests deploy it: it is no part of the
world that every chain starts with.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from scripts.localchain import world
from scripts.localchain.abi import decode_words, encode_arguments, encode_call
from scripts.localchain.node import Node
from scripts.localchain.transact import create, mint, send_as
from scripts.localchain.world import DEPLOYER, NOWHERE, Person

USD = f"0x{840:040x}"
MAX_STALENESS_SECONDS = 3 * 86_400
RATE_RAY = 10**18
"""Interest a second: 3.2 % a year."""
LTVS = {
    ("USDC", "WETH"): (8_000, 8_500),
    ("USDC", "wstETH"): (7_800, 8_300),
    ("WETH", "USDC"): (8_000, 8_500),
    ("WETH", "wstETH"): (9_000, 9_300),
}
"""By loan and collateral: to borrow, to be liquidated; basis points."""
FEEDS = {"WETH": "ETH/USD", "USDC": "USDC/USD"}
RATIO = ("wstETH", "WETH", "wstETH/ETH")
"""What is priced by way of another token, that token, and the feed between them."""
LENT_RAW = {"WETH": 2_000 * 10**18, "USDC": 5_000_000 * 10**6, "wstETH": 1_000 * 10**18}
BORROWED_RAW = {"USDC": 1_500_000 * 10**6, "WETH": 400 * 10**18}
"""By the deployer, so that a share earns interest."""


@dataclass(frozen=True, slots=True)
class EulerDeployment:
    """Where everything is; tokens and vaults by the symbol of the underlying."""

    evc: str
    router: str
    tokens: dict[str, str]
    vaults: dict[str, str]


# Its deployment -------------------------------------------------------------------------------------------------------


def deploy(node: Node, tokens: Mapping[str, str], feeds: Mapping[str, str]) -> EulerDeployment:
    """Raises NodeError where the chain refuses."""
    evc, router = create(node, "StandInEVC"), create(node, "StandInRouter")
    adapters = {symbol: _adapter(node, tokens[symbol], USD, feeds[feed]) for symbol, feed in FEEDS.items()}
    token, cross, feed = RATIO
    ratio = _adapter(node, tokens[token], tokens[cross], feeds[feed])
    legs = encode_arguments(["address"] * 5, tokens[token], tokens[cross], USD, ratio, adapters[cross])
    adapters[token] = create(node, "StandInCrossAdapter", legs)
    vaults = {symbol: _vault(node, evc, router, tokens[symbol], adapter) for symbol, adapter in adapters.items()}
    euler = EulerDeployment(evc, router, {symbol: tokens[symbol] for symbol in vaults}, vaults)
    for (loan, collateral), ltvs in LTVS.items():
        send_as(
            node, DEPLOYER, vaults[loan], "setLTV(address,uint16,uint16,uint32)", vaults[collateral], *ltvs, 0
        )  # fmt: skip
    for symbol, amount in LENT_RAW.items():
        deposit(node, euler, DEPLOYER, 0, symbol, amount)
    borrow(node, euler, DEPLOYER, 0, "USDC", BORROWED_RAW["USDC"], ("WETH",))
    deposit(node, euler, DEPLOYER, 1, "USDC", 2 * LENT_RAW["USDC"])
    borrow(node, euler, DEPLOYER, 1, "WETH", BORROWED_RAW["WETH"], ("USDC",))
    return euler


def _adapter(node: Node, token: str, unit: str, feed: str) -> str:
    arguments = encode_arguments(
        ["address", "address", "address", "uint256"], token, unit, feed, MAX_STALENESS_SECONDS
    )  # fmt: skip
    return create(node, "StandInAdapter", arguments)


def _vault(node: Node, evc: str, router: str, token: str, adapter: str) -> str:
    send_as(node, DEPLOYER, router, "govSetConfig(address,address,address)", token, USD, adapter)
    vault = create(node, "StandInVault", encode_arguments(["address"] * 4, evc, token, router, USD))
    send_as(node, DEPLOYER, router, "govSetResolvedVault(address,bool)", vault, True)
    send_as(node, DEPLOYER, vault, "setInterestRate(uint256)", RATE_RAY)
    return vault


def add_vault(node: Node, euler: EulerDeployment, symbol: str, loan: str) -> str:
    """Another vault of a token, which the vault of `loan` takes like the first; its address."""
    token = euler.tokens[symbol]
    vault = create(node, "StandInVault", encode_arguments(["address"] * 4, euler.evc, token, euler.router, USD))
    send_as(node, DEPLOYER, euler.router, "govSetResolvedVault(address,bool)", vault, True)
    set_ltv, ltvs = "setLTV(address,uint16,uint16,uint32)", LTVS[loan, symbol]
    send_as(node, DEPLOYER, euler.vaults[loan], set_ltv, vault, *ltvs, 0)
    return vault


# What people do -------------------------------------------------------------------------------------------------------


def sub_account(person: Person, number: int) -> str:
    return f"0x{int(person.address, 16) ^ number:040x}"


def deposit(node: Node, euler: EulerDeployment, person: Person, number: int, symbol: str, amount_raw: int) -> None:
    """With tokens minted for it."""
    vault = euler.vaults[symbol]
    mint(node, person, euler.tokens[symbol], amount_raw, vault)
    send_as(node, person, vault, "deposit(uint256,address)", amount_raw, sub_account(person, number))


def enable_collateral(
    node: Node, euler: EulerDeployment, person: Person, number: int, symbol: str, is_enabled: bool = True
) -> None:
    action = "enableCollateral" if is_enabled else "disableCollateral"
    send_as(
        node, person, euler.evc, f"{action}(address,address)", sub_account(person, number), euler.vaults[symbol]
    )  # fmt: skip


def borrow(
    node: Node, euler: EulerDeployment, person: Person, number: int, symbol: str, amount_raw: int,
    against: tuple[str, ...] = (),
) -> None:  # fmt: skip
    """What was borrowed has been spent: it leaves the wallet."""
    for collateral in against:
        enable_collateral(node, euler, person, number, collateral)
    controller = "enableController(address,address)"
    send_as(node, person, euler.evc, controller, sub_account(person, number), euler.vaults[symbol])
    act(node, euler, person, number, symbol, encode_call("borrow(uint256,address)", amount_raw, person.address))
    send_as(node, person, euler.tokens[symbol], "transfer(address,uint256)", NOWHERE, amount_raw)


def repay(node: Node, euler: EulerDeployment, person: Person, number: int, symbol: str, amount_raw: int) -> None:
    """With tokens minted for it."""
    vault = euler.vaults[symbol]
    mint(node, person, euler.tokens[symbol], amount_raw, vault)
    send_as(node, person, vault, "repay(uint256,address)", amount_raw, sub_account(person, number))


def act(node: Node, euler: EulerDeployment, person: Person, number: int, symbol: str, data: bytes) -> None:
    """Has a sub-account call a vault, as its owner does: through the connector."""
    send_as(
        node, person, euler.evc, "call(address,address,uint256,bytes)",
        euler.vaults[symbol], sub_account(person, number), 0, data,
    )  # fmt: skip


# What can be seen -----------------------------------------------------------------------------------------------------


def shares(node: Node, euler: EulerDeployment, person: Person, number: int, symbol: str) -> int:
    data = encode_call("balanceOf(address)", sub_account(person, number))
    return decode_words(["uint256"], node.call(euler.vaults[symbol], data))[0]


def health(node: Node, euler: EulerDeployment, person: Person, number: int, loan: str) -> int:
    """WAD, at the liquidation LTVs, as the vault that is owed counts it."""
    data = encode_call("accountLiquidity(address,bool)", sub_account(person, number), True)
    collateral, debt = decode_words(["uint256"] * 2, node.call(euler.vaults[loan], data))
    return collateral * world.WAD // debt

"""Builds the world on an empty chain: tokens, feeds, real Morpho and Aave, two wallets, and a guard for one of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from eth_hash.auto import keccak

from scripts.localchain import aave, world
from scripts.localchain.aave import AaveDeployment
from scripts.localchain.abi import artefact, decode_words, encode_arguments, encode_call
from scripts.localchain.node import Node
from scripts.localchain.transact import create, mint, send_as
from scripts.localchain.world import DEPLOYER, KEEPER, OWNER, UNPROTECTED, ZERO, MarketSpec, Person

MARKET_PARAMS = "(address,address,address,address,uint256)"
ENROLMENT = "(uint8,address,address,bytes32,address[],(uint64,uint64,uint64,uint64))"
GUARD_WALLET, GUARD_MORPHO = 0, 1


@dataclass(frozen=True, slots=True)
class Market:
    name: str
    id: str
    loan: str
    collateral: str
    oracle: str
    irm: str
    lltv: int

    @property
    def params(self) -> tuple[str, str, str, str, int]:
        return (self.loan, self.collateral, self.oracle, self.irm, self.lltv)


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where everything is. Addresses are checksummed or lower-case, as the node gave them."""

    morpho: str
    irm: str
    guard: str
    tokens: dict[str, str]
    feeds: dict[str, str]
    markets: dict[str, Market]
    aave: AaveDeployment

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Deployment":
        markets = {name: Market(**market) for name, market in data["markets"].items()}
        return cls(
            data["morpho"], data["irm"], data["guard"], data["tokens"], data["feeds"], markets,
            AaveDeployment(**data["aave"]),
        )  # fmt: skip


def deploy(node: Node) -> Deployment:
    """Everything, in order; raises NodeError at the first step that the chain refuses."""
    # At block 0 an unmined chain reports timestamp 1, and feeds would be born decades old.
    node.mine()
    node.set_code(world.MULTICALL3, artefact("Multicall3").runtime_code)
    tokens = {
        spec.symbol: create(
            node, "TestToken", encode_arguments(["string", "string", "uint8"], spec.name, spec.symbol, spec.decimals)
        )
        for spec in world.TOKENS
    }
    feeds = {
        spec.name: create(
            node, "TestFeed", encode_arguments(["string", "uint8", "int256"], spec.name, spec.decimals, spec.answer)
        )
        for spec in world.FEEDS
    }
    morpho = create(node, "Morpho", encode_arguments(["address"], DEPLOYER.address))
    irm = create(node, "IrmMock")
    send_as(node, DEPLOYER, morpho, "enableIrm(address)", irm)
    for lltv in sorted({spec.lltv for spec in world.MARKETS}):
        send_as(node, DEPLOYER, morpho, "enableLltv(uint256)", lltv)
    markets = {spec.name: _create_market(node, spec, tokens, feeds, morpho, irm) for spec in world.MARKETS}
    for person in (OWNER, UNPROTECTED):
        _open_positions(node, person, tokens, markets, morpho)
    guard = deploy_guard(node, OWNER.address)
    deployment = Deployment(morpho, irm, guard, tokens, feeds, markets, aave.deploy(node, tokens, feeds))
    permit_guard(node, deployment)
    for person in (OWNER, UNPROTECTED, KEEPER):
        node.set_balance(person.address, world.GAS_MONEY_WEI)
    return deployment


def _create_market(
    node: Node, spec: MarketSpec, tokens: dict[str, str], feeds: dict[str, str], morpho: str, irm: str
) -> Market:
    bases, quotes = ([feeds[name] for name in names] for names in (spec.base_feeds, spec.quote_feeds))
    oracle = create(
        node,
        "TwoFeedOracle",
        encode_arguments(
            ["address", "address", "uint8", "address", "address", "uint8"],
            *_two(bases), world.token(spec.collateral).decimals, *_two(quotes), world.token(spec.loan).decimals,
        ),
    )  # fmt: skip
    params = (tokens[spec.loan], tokens[spec.collateral], oracle, irm, spec.lltv)
    id = "0x" + keccak(encode_arguments([MARKET_PARAMS], params)).hex()
    send_as(node, DEPLOYER, morpho, f"createMarket({MARKET_PARAMS})", params)
    mint(node, DEPLOYER, tokens[spec.loan], spec.liquidity_raw, morpho)
    send_as(
        node, DEPLOYER, morpho, f"supply({MARKET_PARAMS},uint256,uint256,address,bytes)",
        params, spec.liquidity_raw, 0, DEPLOYER.address, b"",
    )  # fmt: skip
    return Market(spec.name, id, *params)


def _two(feeds: Sequence[str]) -> tuple[str, str]:
    first, second, *_ = (*feeds, ZERO, ZERO)
    return first, second


def _open_positions(
    node: Node, person: Person, tokens: dict[str, str], markets: dict[str, Market], morpho: str
) -> None:
    for position in world.POSITIONS:
        market = markets[position.market]
        mint(node, person, market.collateral, position.collateral_raw, morpho)
        send_as(
            node, person, morpho, f"supplyCollateral({MARKET_PARAMS},uint256,address,bytes)",
            market.params, position.collateral_raw, person.address, b"",
        )  # fmt: skip
        if position.debt_raw:
            # What was borrowed has been spent: it leaves the wallet.
            send_as(
                node, person, morpho, f"borrow({MARKET_PARAMS},uint256,uint256,address,address)",
                market.params, position.debt_raw, 0, person.address, DEPLOYER.address,
            )  # fmt: skip
    for symbol, amount in world.WALLET_RAW.items():
        send_as(node, person, tokens[symbol], "mint(address,uint256)", person.address, amount)


# The guard ------------------------------------------------------------------------------------------------------------


def deploy_guard(node: Node, owner: str) -> str:
    """With its library, if need be; its address depends on its code and the owner alone."""
    library = _deploy_once(node, artefact("Shares").creation_code)
    code = artefact("MarginGuard").linked({"Shares": library})
    return _deploy_once(node, code + encode_arguments(["address"], owner))


def _deploy_once(node: Node, code: bytes) -> str:
    """Through the deterministic deployer, salt 0."""
    salt = bytes(32)
    seed = b"\xff" + bytes.fromhex(world.CREATE2_DEPLOYER[2:]) + salt + keccak(code)
    address = "0x" + keccak(seed)[12:].hex()
    if not node.code(address):
        node.transact(DEPLOYER.address, world.CREATE2_DEPLOYER, salt + code)
    return address


def permit_guard(node: Node, deployment: Deployment) -> None:
    """Everything that the owner has to allow: accounts with their limits, caps, the keeper, and finite permissions."""
    guard = deployment.guard
    idle = [deployment.tokens[symbol] for symbol in world.WALLET_RAW]
    enrolments: list[Any] = [(GUARD_WALLET, OWNER.address, ZERO, bytes(32), idle, (0, 0, 0, 0))]
    for position in world.POSITIONS:
        market = deployment.markets[position.market]
        enrolments.append(
            (
                GUARD_MORPHO, OWNER.address, deployment.morpho, bytes.fromhex(market.id[2:]), [],
                world.guard_policy(world.limits(position.market)),
            )
        )  # fmt: skip
    caps = [(deployment.tokens[symbol], amount, world.CAP_WINDOW_SECONDS) for symbol, amount in world.CAPS_RAW.items()]
    send_as(node, OWNER, guard, f"enrol({ENROLMENT}[])", enrolments)
    send_as(node, OWNER, guard, "setCaps((address,uint128,uint32)[])", caps)
    send_as(node, OWNER, guard, "setKeeper(address)", KEEPER.address)
    send_as(node, OWNER, deployment.morpho, "setAuthorization(address,bool)", guard, True)
    for symbol, amount in world.WALLET_RAW.items():
        send_as(node, OWNER, deployment.tokens[symbol], "approve(address,uint256)", guard, amount)


# Prices ---------------------------------------------------------------------------------------------------------------


def read_price(node: Node, deployment: Deployment, feed: str) -> int:
    """The latest answer of a feed, in its own decimals."""
    return decode_words(["int256"], node.call(deployment.feeds[feed], encode_call("latestAnswer()")))[0]


def write_price(node: Node, deployment: Deployment, feed: str, answer: int) -> None:
    send_as(node, DEPLOYER, deployment.feeds[feed], "setAnswer(int256)", answer)


def refresh_prices(node: Node, deployment: Deployment) -> None:
    """Gives every feed a new round with its old answer, so that no price looks stale."""
    answers = {feed: read_price(node, deployment, feed) for feed in deployment.feeds}
    for feed, answer in answers.items():
        write_price(node, deployment, feed, answer)

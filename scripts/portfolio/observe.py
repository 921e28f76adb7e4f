"""Both wallets at the end of a block, and what happened in it: from the protocols' own answers and logs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scripts.localchain import aave, observe
from scripts.localchain.abi import decode_words, topic, topic_address
from scripts.localchain.deploy import Deployment
from scripts.localchain.events import LIQUIDATE, MOVED, RESCUE_FAILED, RESCUED
from scripts.localchain.node import Node
from scripts.localchain.observe import NO_DEBT, Observation
from scripts.localchain.world import WAD
from scripts.portfolio.world import IDLE, IDLE_RAW, MORPHO, MORPHO_MARKET, OTHER, OWN, WALLETS, Wallet

AAVE_LIQUIDATION = topic("LiquidationCall(address,address,address,uint256,uint256,address,bool)")
USD_TO_WAD = 10**10
"""Aave counts USD with 8 decimals."""


@dataclass(frozen=True, slots=True)
class Account:
    health: int
    """WAD; NO_DEBT without debt."""
    equity_usd: int
    """WAD."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One block's end."""

    prices: Observation
    accounts: dict[str, dict[str, Account]]
    """By wallet, then by account; the idle tokens are one without debt."""

    @property
    def block(self) -> int:
        return self.prices.block

    def equity_usd(self, wallet: Wallet) -> int:
        return sum(account.equity_usd for account in self.accounts[wallet.name].values())


@dataclass(frozen=True, slots=True)
class Liquidation:
    block: int
    wallet: str
    account: str
    seized: str
    """Symbol of the collateral."""
    seized_raw: int
    loss_usd: int
    """WAD: what was seized less what was repaid, at the prices of the block."""


@dataclass(frozen=True, slots=True)
class Move:
    donor: str
    symbol: str
    amount_raw: int


@dataclass(frozen=True, slots=True)
class Rescue:
    block: int
    recipient: str
    health_before: int
    health_after: int
    moves: tuple[Move, ...]

    @property
    def is_repayment(self) -> bool:
        """The only token that the accounts owe and hold nothing of is DAI."""
        return any(move.symbol in IDLE_RAW for move in self.moves)


@dataclass(frozen=True, slots=True)
class Failure:
    block: int
    reason: bytes


Event = Liquidation | Rescue | Failure


def look(node: Node, deployment: Deployment) -> Seen:
    holders = [person.address for wallet in WALLETS for person in (wallet.owner, wallet.second)]
    prices = observe.observe(node, deployment, holders)
    accounts = {wallet.name: _accounts(node, deployment, wallet, prices) for wallet in WALLETS}
    return Seen(prices, accounts)


def _accounts(node: Node, deployment: Deployment, wallet: Wallet, prices: Observation) -> dict[str, Account]:
    position = prices.positions[wallet.owner.address][MORPHO_MARKET]
    held, owed = prices.usd("WETH", position.collateral_raw), prices.usd("USDC", position.debt_raw)
    idle = sum(prices.usd(symbol, prices.idle_raw[wallet.owner.address][symbol]) for symbol in IDLE_RAW)
    return {
        MORPHO: Account(position.health, held - owed),
        OWN: _on_aave(node, deployment, wallet.owner.address),
        OTHER: _on_aave(node, deployment, wallet.second.address),
        IDLE: Account(NO_DEBT, idle),
    }


def _on_aave(node: Node, deployment: Deployment, holder: str) -> Account:
    account = aave.account(node, deployment.aave, holder)
    equity = (account.collateral_usd - account.debt_usd) * USD_TO_WAD
    return Account(min(account.health, NO_DEBT), equity)


# Events ---------------------------------------------------------------------------------------------------------------


def happened(node: Node, deployment: Deployment, guard: str, seen: Seen, names: Sequence[str]) -> list[Event]:
    """What the block brought, in order. `names`: the guard's accounts by enrolment index."""
    symbols = {address.lower(): symbol for symbol, address in deployment.tokens.items()}
    topics = [[LIQUIDATE, AAVE_LIQUIDATION, RESCUED, RESCUE_FAILED, MOVED]]
    events: list[Event] = []
    moves: list[Move] = []
    for log in node.logs([deployment.morpho, deployment.aave.pool, guard], topics, seen.block, seen.block):
        data = bytes.fromhex(log["data"][2:])
        match log["topics"]:
            case [name, _, donor, _] if name == MOVED:
                token, amount = decode_words(["address", "uint256"], data)
                moves.append(Move(names[int(donor, 16)], symbols[token.lower()], amount))
            case [name, _, recipient] if name == RESCUED:
                before, after = decode_words(["uint256", "uint256"], data)
                events.append(Rescue(seen.block, names[int(recipient, 16)], before, after, tuple(moves)))
                moves = []
            case [name, _, _] if name == RESCUE_FAILED:
                events.append(Failure(seen.block, decode_words(["bytes"], data)[0]))
            case [name, market, _, borrower] if name == LIQUIDATE:
                found = _morpho_liquidation(deployment, seen, market, topic_address(borrower), data)
                events += [found] if found else []
            case [name, collateral, debt, user] if name == AAVE_LIQUIDATION:
                tokens = symbols[topic_address(collateral)], symbols[topic_address(debt)]
                events += _aave_liquidation(seen, tokens, topic_address(user), data)
            case _:
                raise ValueError(f"a log that was not asked for: {log['topics'][0]}")
    return events


def _morpho_liquidation(
    deployment: Deployment, seen: Seen, market: str, borrower: str, data: bytes
) -> Liquidation | None:
    if market != deployment.markets[MORPHO_MARKET].id:
        return None
    repaid, _, seized, _, _ = decode_words(["uint256"] * 5, data)
    loss = seen.prices.usd("WETH", seized) - seen.prices.usd("USDC", repaid)
    owners = [wallet for wallet in WALLETS if wallet.owner.address.lower() == borrower]
    return Liquidation(seen.block, owners[0].name, MORPHO, "WETH", seized, loss) if owners else None


def _aave_liquidation(seen: Seen, tokens: tuple[str, str], user: str, data: bytes) -> list[Event]:
    repaid, seized, _, _ = decode_words(["uint256", "uint256", "address", "bool"], data)
    collateral, debt = tokens
    loss = seen.prices.usd(collateral, seized) - seen.prices.usd(debt, repaid)
    return [
        Liquidation(seen.block, wallet.name, account, collateral, seized, loss)
        for wallet in WALLETS
        for account, person in ((OWN, wallet.owner), (OTHER, wallet.second))
        if person.address.lower() == user
    ]


def account_names(node: Node, deployment: Deployment, guard: str, owner: str) -> list[str]:
    """The demo's names of the guard's accounts, by enrolment index."""
    enrolled = topic("AccountEnrolled(uint16,uint8,address,address,bytes32)")
    names: dict[int, str] = {}
    logs: Sequence[dict[str, Any]] = node.logs([guard], [enrolled])
    for log in logs:
        _, target, _ = decode_words(["uint8", "address", "bytes32"], bytes.fromhex(log["data"][2:]))
        index, holder = int(log["topics"][1], 16), topic_address(log["topics"][2])
        on = {deployment.morpho.lower(): MORPHO, deployment.aave.pool.lower(): OWN}.get(target.lower(), IDLE)
        names[index] = OTHER if on == OWN and holder != owner.lower() else on
    return [names[index] for index in range(len(names))]


def health_text(health: int) -> str:
    return "no debt" if health >= NO_DEBT else f"{health / WAD:.4f}"

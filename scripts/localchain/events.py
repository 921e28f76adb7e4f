"""What happened on the chain, from logs: liquidations by Morpho, rescues by the guard."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scripts.localchain.abi import decode_words, topic, topic_address
from scripts.localchain.deploy import Deployment
from scripts.localchain.node import Node

LIQUIDATE = topic("Liquidate(bytes32,address,address,uint256,uint256,uint256,uint256,uint256)")
RESCUED = topic("Rescued(bytes32,uint16,uint256,uint256)")
RESCUE_FAILED = topic("RescueFailed(bytes32,uint256,bytes)")
MOVED = topic("Moved(bytes32,uint16,uint16,address,uint256)")
ENROLLED = topic("AccountEnrolled(uint16,uint8,address,address,bytes32)")


@dataclass(frozen=True, slots=True)
class Liquidation:
    block: int
    borrower: str
    market: str
    """Its name."""
    repaid_raw: int
    seized_raw: int
    bad_debt_raw: int


@dataclass(frozen=True, slots=True)
class Move:
    donor: str
    """A market's name, or `wallet`."""
    symbol: str
    amount_raw: int


@dataclass(frozen=True, slots=True)
class Rescue:
    """One rescue that took effect; healths are WAD, as the guard saw them."""

    block: int
    recipient: str
    health_before: int
    health_after: int
    moves: tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class RescueFailure:
    block: int
    index: int
    reason: bytes


Event = Liquidation | Rescue | RescueFailure


def read_events(node: Node, deployment: Deployment, first: int, last: int) -> list[Event]:
    """All events of these blocks, in the order in which they happened."""
    accounts = _enrolled(node, deployment)
    symbols = {address: symbol for symbol, address in deployment.tokens.items()}
    names = {market.id: market.name for market in deployment.markets.values()}
    topics = [[LIQUIDATE, RESCUED, RESCUE_FAILED, MOVED]]
    events: list[Event] = []
    moves: list[Move] = []
    for log in node.logs([deployment.morpho, deployment.guard], topics, first, last):
        block = int(log["blockNumber"], 16)
        data = bytes.fromhex(log["data"][2:])
        match log["topics"]:
            case [name, market, _, borrower] if name == LIQUIDATE:
                repaid, _, seized, bad_debt, _ = decode_words(["uint256"] * 5, data)
                events.append(Liquidation(block, topic_address(borrower), names[market], repaid, seized, bad_debt))
            case [name, _, donor, _] if name == MOVED:
                token, amount = decode_words(["address", "uint256"], data)
                moves.append(Move(accounts[int(donor, 16)], symbols[token], amount))
            case [name, _, recipient] if name == RESCUED:
                before, after = decode_words(["uint256", "uint256"], data)
                # The guard announces the moves of a rescue before the rescue, and rolls them back together.
                events.append(Rescue(block, accounts[int(recipient, 16)], before, after, tuple(moves)))
                moves = []
            case [name, _, index] if name == RESCUE_FAILED:
                events.append(RescueFailure(block, int(index, 16), decode_words(["bytes"], data)[0]))
            case _:
                raise ValueError(f"a log that was not asked for: {log['topics'][0]}")
    return events


def _enrolled(node: Node, deployment: Deployment) -> dict[int, str]:
    """Market name or `wallet` by enrolment index."""
    names = {market.id: market.name for market in deployment.markets.values()}
    logs: Sequence[dict[str, Any]] = node.logs([deployment.guard], [ENROLLED])
    accounts: dict[int, str] = {}
    for log in logs:
        _, _, key = decode_words(["uint8", "address", "bytes32"], bytes.fromhex(log["data"][2:]))
        accounts[int(log["topics"][1], 16)] = names.get("0x" + key.hex(), "wallet")
    return accounts

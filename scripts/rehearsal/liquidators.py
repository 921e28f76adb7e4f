"""Who liquidates on the fork: whatever an owner's accounts let be taken, as much as the protocol allows, at each step.

They have every token that is owed, out of nothing: on a live chain somebody else has them. They ask nobody whether an
account is healthy: the protocols refuse those that are.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from keeper.core.snapshot import Snapshot, Subaccount, Token
from keeper.core.units import Address
from keeper.protocols.aave.adapter import AaveV3
from keeper.protocols.euler.adapter import EulerV2
from keeper.protocols.morpho.adapter import Market, MorphoBlue
from keeper.protocols.portfolio import Topology
from keeper.protocols.venus.adapter import VenusPool
from scripts.localchain.abi import decode_words, encode_call, topic, topic_address
from scripts.localchain.node import Node, NodeError

LIQUIDATOR = "0x" + "11" * 19 + "1d"
MARKET_PARAMS = "(address,address,address,address,uint256)"
LIQUIDATE = f"liquidate({MARKET_PARAMS},address,uint256,uint256,bytes)"
LIQUIDATION_CALL = "liquidationCall(address,address,address,uint256,bool)"
OF_MORPHO = topic("Liquidate(bytes32,address,address,uint256,uint256,uint256,uint256,uint256)")
OF_AAVE = topic("LiquidationCall(address,address,address,uint256,uint256,address,bool)")
GAS_MONEY_WEI = 10**24
FUNDS_WHOLE_TOKENS = 10**9
"""More would not fit where a token keeps balances in 96 bits."""
UINT256_MAX = 2**256 - 1
ROUNDS_MAX = 12
"""Aave lets a part be liquidated at a time; what a dozen strikes leave is left for the next step."""


@dataclass(frozen=True, slots=True)
class Liquidation:
    """What one strike took: collateral seized for a debt repaid, raw units."""

    subaccount: str
    collateral: Token
    seized_raw: int
    debt: Token
    repaid_raw: int


class Liquidators:
    """Stands ready once constructed: tokens in hand, allowances given."""

    def __init__(self, node: Node, topology: Topology) -> None:
        self._node = node
        self._topology = topology
        self.problems: list[str] = []
        """Debts that they cannot repay, sentences."""
        node.set_balance(LIQUIDATOR, GAS_MONEY_WEI)
        for protocol, token in dict.fromkeys(self._debts()):
            if fund(node, token, LIQUIDATOR):
                approve = encode_call("approve(address,uint256)", protocol, UINT256_MAX)
                node.transact(LIQUIDATOR, token.address, approve)
            else:
                self.problems.append(
                    f"Nobody could be given {token.symbol} to liquidate with; accounts that owe it are not liquidated."
                )
        if any(isinstance(adapter, EulerV2) for adapter in topology.adapters):
            self.problems.append("Nobody liquidates sub-accounts of Euler here; how low their health falls is shown.")
        if any(isinstance(adapter, VenusPool) for adapter in topology.adapters):
            self.problems.append("Nobody liquidates accounts on Venus here; how low their health falls is shown.")

    def strike(self, snapshot: Snapshot) -> list[Liquidation]:
        """Liquidates all that can be, mining as it does; `snapshot` says who holds and owes what."""
        struck: list[Liquidation] = []
        owing = {each.id.key: each for each in snapshot.subaccounts if each.has_debt}
        for adapter in self._topology.adapters:
            match adapter:
                case MorphoBlue():
                    for market in adapter.markets:
                        if market.id in owing:
                            struck += self._on_morpho(adapter, market, owing[market.id])
                case AaveV3():
                    for account in adapter.pool.accounts:
                        if account.address in owing:
                            struck += self._on_aave(adapter, owing[account.address])
                case _:
                    pass
        return struck

    def _debts(self) -> Iterable[tuple[Address, Token]]:
        for adapter in self._topology.adapters:
            match adapter:
                case MorphoBlue():
                    yield from ((adapter.morpho, market.loan) for market in adapter.markets)
                case AaveV3():
                    yield from ((adapter.pool.address, reserve.token) for reserve in adapter.pool.reserves)
                case _:
                    pass

    # Morpho: all of the debt; where the collateral does not pay for that, all of the collateral -----------------------

    def _on_morpho(self, adapter: MorphoBlue, market: Market, subaccount: Subaccount) -> list[Liquidation]:
        key = bytes.fromhex(market.id[2:])
        asked = encode_call("position(bytes32,address)", key, adapter.owner)
        _, shares, collateral = decode_words(["uint256"] * 3, self._node.call(adapter.morpho, asked))
        for seized, repaid in ((0, shares), (collateral, 0)):
            data = encode_call(LIQUIDATE, market.params, adapter.owner, seized, repaid, b"")
            for log in self._sent(adapter.morpho, data, OF_MORPHO):
                paid, _, taken, _, _ = decode_words(["uint256"] * 5, bytes.fromhex(log["data"][2:]))
                return [Liquidation(str(subaccount.id), market.collateral, taken, market.loan, paid)]
        return []

    # Aave: the largest collateral for the largest debt, as often as the pool lets it ----------------------------------

    def _on_aave(self, adapter: AaveV3, subaccount: Subaccount) -> list[Liquidation]:
        tokens = {reserve.token.address: reserve.token for reserve in adapter.pool.reserves}
        lines = sorted(subaccount.collateral, key=lambda line: -line.amount_raw * line.price // 10**line.token.decimals)
        debts = sorted(subaccount.debts, key=lambda debt: -debt.amount_raw * debt.price // 10**debt.token.decimals)
        struck: list[Liquidation] = []
        for _ in range(ROUNDS_MAX):
            took = next(
                (
                    log
                    for debt in debts
                    for line in lines
                    for log in self._sent(
                        adapter.pool.address,
                        encode_call(
                            LIQUIDATION_CALL,
                            line.token.address,
                            debt.token.address,
                            subaccount.holder,
                            UINT256_MAX,
                            False,
                        ),
                        OF_AAVE,
                    )
                ),
                None,
            )
            if took is None:
                break
            collateral, debt = (Address(topic_address(each)) for each in took["topics"][1:3])
            repaid, seized, *_ = decode_words(
                ["uint256", "uint256", "address", "bool"], bytes.fromhex(took["data"][2:])
            )
            struck.append(Liquidation(str(subaccount.id), tokens[collateral], seized, tokens[debt], repaid))
        return struck

    def _sent(self, to: str, data: bytes, event: str) -> list[dict[str, Any]]:
        """The logs of this event once sent and mined; none where the protocol refuses."""
        try:
            self._node.call(to, data, sender=LIQUIDATOR)
            receipt = self._node.transact(LIQUIDATOR, to, data)
        except NodeError:
            return []
        return [log for log in receipt.logs if log["topics"][0] == event]


# Tokens out of nothing ------------------------------------------------------------------------------------------------


def fund(node: Node, token: Token, holder: str) -> bool:
    """Gives somebody more of a token than anybody owes, by writing where it keeps balances; False where it will not.

    Which slot that is says the list of what a node reads to answer `balanceOf`. One that says something else than a
    balance is put back as it was.
    """
    asked = encode_call("balanceOf(address)", holder)
    wanted = FUNDS_WHOLE_TOKENS * 10**token.decimals
    try:
        listed = node.request("eth_createAccessList", {"to": token.address, "data": "0x" + asked.hex()}, "latest")
        for entry in listed["accessList"]:
            for key in entry["storageKeys"]:
                slot = bytes.fromhex(key[2:])
                before = node.storage(entry["address"], slot)
                node.set_storage(entry["address"], slot, wanted)
                if _balance(node, token, asked) == wanted:
                    return True
                node.set_storage(entry["address"], slot, before)
    except NodeError:
        return False
    return False


def _balance(node: Node, token: Token, asked: bytes) -> int | None:
    try:
        return int.from_bytes(node.call(token.address, asked))
    except NodeError:
        return None

"""Who liquidates on the fork: whatever an owner's accounts let be taken, as much as the protocol allows, at each step.

They have every token that is owed, out of nothing: on a live chain somebody else has them. They ask nobody whether an
account is healthy: the protocols refuse those that are, or say that there is nothing to have.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from keeper.core.snapshot import CollateralLine, Debt, Snapshot, Subaccount, Token
from keeper.core.units import WAD, Address
from keeper.protocols.aave.adapter import AaveV3
from keeper.protocols.abi import ZERO_ADDRESS
from keeper.protocols.euler.adapter import EulerV2
from keeper.protocols.euler.topology import Vault
from keeper.protocols.morpho.adapter import Market, MorphoBlue
from keeper.protocols.portfolio import Topology
from keeper.protocols.venus.adapter import VenusPool
from scripts.localchain.abi import artefact, decode_words, encode_call, topic, topic_address
from scripts.localchain.node import Node, NodeError

LIQUIDATOR = "0x" + "11" * 19 + "1d"
MARKET_PARAMS = "(address,address,address,address,uint256)"
LIQUIDATE = f"liquidate({MARKET_PARAMS},address,uint256,uint256,bytes)"
LIQUIDATION_CALL = "liquidationCall(address,address,address,uint256,bool)"
OF_MORPHO = topic("Liquidate(bytes32,address,address,uint256,uint256,uint256,uint256,uint256)")
OF_AAVE = topic("LiquidationCall(address,address,address,uint256,uint256,address,bool)")
STRIKE_VENUS = "strike((address,address,address[],address[]))"
TRANSFER = topic("Transfer(address,address,uint256)")
REPAID_ON_VENUS = topic("RepayBorrow(address,address,uint256,uint256,uint256)")
SHARE_OF_VENUS = topic("ProtocolSeize(address,address,uint256)")
BATCH = "batch((address,address,uint256,bytes)[])"
OF_EULER = topic("Liquidate(address,address,address,uint256,uint256)")
GAS_MONEY_WEI = 10**24
FUNDS_WHOLE_TOKENS = 10**9
"""More would not fit where a token keeps balances in 96 bits."""
UINT256_MAX = 2**256 - 1
ROUNDS_MAX = 12
"""Aave and Venus let a part be liquidated at a time; what a dozen strikes leave is left for the next step."""

Part = TypeVar("Part", CollateralLine, Debt)


@dataclass(frozen=True, slots=True)
class Liquidation:
    """What one strike took: collateral seized for debts repaid, raw units by token."""

    subaccount: str
    seized_raw: Mapping[Token, int]
    repaid_raw: Mapping[Token, int]


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
        if any(isinstance(adapter, VenusPool) for adapter in topology.adapters):
            # What has to be exact to the second is counted on the chain, by code at the liquidators' own address.
            node.set_code(LIQUIDATOR, artefact("VenusLiquidator").runtime_code)

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
                case VenusPool():
                    for subaccount in owing.values():
                        if adapter.account(subaccount.id):
                            struck += self._on_venus(adapter, subaccount)
                case EulerV2():
                    for position in adapter.topology.positions:
                        if position.controller and position.id.key in owing:
                            lender = adapter.topology.lenders[position.controller]
                            struck += self._on_euler(adapter, lender, position.account, owing[position.id.key])
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
                case VenusPool():
                    yield from ((market.address, market.token) for market in adapter.pool.markets)
                case EulerV2():
                    yield from ((vault.address, vault.asset) for vault in adapter.topology.lenders.values())
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
                return [Liquidation(str(subaccount.id), {market.collateral: taken}, {market.loan: paid})]
        return []

    # Aave: the largest collateral for the largest debt, as often as the pool lets it ----------------------------------

    def _on_aave(self, adapter: AaveV3, subaccount: Subaccount) -> list[Liquidation]:
        tokens = {reserve.token.address: reserve.token for reserve in adapter.pool.reserves}
        lines, debts = by_worth(subaccount.collateral), by_worth(subaccount.debts)
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
            struck.append(Liquidation(str(subaccount.id), {tokens[collateral]: seized}, {tokens[debt]: repaid}))
        return struck

    # Venus: the close factor's part as often as the pool lets it; a small account as a whole ------------------------

    def _on_venus(self, adapter: VenusPool, subaccount: Subaccount) -> list[Liquidation]:
        # Of an account that could not be read nobody knows what it owes.
        debts = [debt.form for debt in by_worth(subaccount.debts) if debt.form]
        collaterals = [line.form for line in by_worth(subaccount.collateral)]
        data = encode_call(STRIKE_VENUS, (adapter.pool.comptroller, subaccount.holder, debts, collaterals))
        struck: list[Liquidation] = []
        for _ in range(ROUNDS_MAX):
            logs = self._mined(LIQUIDATOR, data)
            if not logs:
                break
            seized: dict[Token, int] = {}
            repaid: dict[Token, int] = {}
            for market in adapter.pool.markets:
                of_market = [log for log in logs if Address(log["address"]) == market.address]
                if taken := self._taken(market.address, subaccount.holder, of_market):
                    seized[market.token] = taken
                if paid := _paid(of_market):
                    repaid[market.token] = paid
            # An account without collateral is healed of its debt, and nothing is taken.
            if seized:
                struck.append(Liquidation(str(subaccount.id), seized, repaid))
        return struck

    def _taken(self, market: Address, holder: Address, logs: Sequence[dict[str, Any]]) -> int:
        """What vTokens that went to the liquidators are worth, and the protocol's own share."""
        tokens = sum(
            int(log["data"], 16)
            for log in logs
            if log["topics"][0] == TRANSFER
            and [topic_address(each) for each in log["topics"][1:3]] == [holder, LIQUIDATOR]
        )
        kept_raw = sum(int(log["data"], 16) for log in logs if log["topics"][0] == SHARE_OF_VENUS)
        if not tokens:
            return kept_raw
        rate = int.from_bytes(self._node.call(market, encode_call("exchangeRateStored()")))
        return tokens * rate // WAD + kept_raw

    # Euler: the debt is taken over and repaid in one batch, so that no collateral of their own is asked for -----------

    def _on_euler(
        self, adapter: EulerV2, lender: Vault, violator: Address, subaccount: Subaccount
    ) -> list[Liquidation]:
        enable = encode_call("enableController(address,address)", LIQUIDATOR, lender.address)
        repay = encode_call("repay(uint256,address)", UINT256_MAX, LIQUIDATOR)
        struck: list[Liquidation] = []
        for line in by_worth(subaccount.collateral):
            # Alone of the protocols it does not refuse to take nothing from whoever is healthy.
            if not self._yield(lender, violator, line):
                continue
            liquidate = encode_call("liquidate(address,address,uint256,uint256)", violator, line.form, UINT256_MAX, 0)
            items = [
                (adapter.evc, ZERO_ADDRESS, 0, enable),
                *(
                    (lender.address, LIQUIDATOR, 0, data)
                    for data in (liquidate, repay, encode_call("disableController()"))
                ),
            ]
            for log in self._sent(adapter.evc, encode_call(BATCH, items), OF_EULER):
                vault, repaid, shares = decode_words(["address", "uint256", "uint256"], bytes.fromhex(log["data"][2:]))
                seized = int.from_bytes(self._node.call(vault, encode_call("convertToAssets(uint256)", shares)))
                struck.append(Liquidation(str(subaccount.id), {line.token: seized}, {lender.asset: repaid}))
        return struck

    def _yield(self, lender: Vault, violator: Address, line: CollateralLine) -> int:
        """Shares that a liquidator may have now; none where the vault does not answer."""
        asked = encode_call("checkLiquidation(address,address,address)", LIQUIDATOR, violator, line.form)
        try:
            _, most = decode_words(["uint256"] * 2, self._node.call(lender.address, asked))
        except NodeError:
            return 0
        return most

    def _sent(self, to: str, data: bytes, event: str) -> list[dict[str, Any]]:
        """The logs of this event once sent and mined; none where the protocol refuses."""
        return [log for log in self._mined(to, data) if log["topics"][0] == event]

    def _mined(self, to: str, data: bytes) -> list[dict[str, Any]]:
        """All logs once sent and mined; none where the protocol refuses."""
        try:
            self._node.call(to, data, sender=LIQUIDATOR)
            return self._node.transact(LIQUIDATOR, to, data).logs
        except NodeError:
            return []


def by_worth(parts: Sequence[Part]) -> list[Part]:
    """Collateral or debts, what is worth most first."""
    return sorted(parts, key=lambda part: -part.amount_raw * part.price // 10**part.token.decimals)


def _paid(logs: Sequence[dict[str, Any]]) -> int:
    """What the liquidators repaid; what a market forgave it repaid itself."""
    return sum(
        int.from_bytes(bytes.fromhex(log["data"][2:66]))
        for log in logs
        if log["topics"][0] == REPAID_ON_VENUS and topic_address(log["topics"][1]) == LIQUIDATOR
    )


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

"""Liquidates whatever is liquidatable on one Morpho, as a whole. Knows no wallet, no keeper and no price.

It learns markets and borrowers from Morpho's own logs, and its one transaction per block tries them all.
"""

from scripts.localchain.abi import (
    artefact,
    decode_words,
    encode_arguments,
    encode_call,
    topic,
    topic_address,
)
from scripts.localchain.node import Node, NodeError

MARKET_PARAMS = "(address,address,address,address,uint256)"
CREATE_MARKET = topic(f"CreateMarket(bytes32,{MARKET_PARAMS})")
BORROW = topic("Borrow(bytes32,address,address,address,uint256,uint256)")
SUPPLY_COLLATERAL = topic("SupplyCollateral(bytes32,address,address,uint256)")
FUNDS_RAW = 10**30
GAS_PER_TARGET = 500_000
GAS_BESIDE_TARGETS = 100_000

Params = tuple[str, str, str, str, int]


class Liquidator:
    """Stands ready at construction: contract deployed, loan tokens in it. Mines while doing so."""

    def __init__(self, node: Node, account: str, morpho: str) -> None:
        self._node = node
        self._account = account
        self._morpho = morpho
        code = artefact("Liquidator").creation_code + encode_arguments(["address"], morpho)
        contract = node.transact(account, None, code).contract
        if contract is None:
            raise NodeError("the liquidator's contract was not deployed")
        self.contract = contract
        for token in sorted({params[0] for params in self._markets().values()}):
            node.transact(account, token, encode_call("mint(address,uint256)", contract, FUNDS_RAW))

    def strike(self, fee_wei_max: int) -> str:
        """Hands the transaction to the pool, placed by its fee, and returns its hash."""
        markets = self._markets()
        targets = [
            (bytes.fromhex(market[2:]), markets[market], borrower)
            for market, borrower in sorted(self._borrowers())
            if market in markets
        ]
        data = encode_call(f"strike((bytes32,{MARKET_PARAMS},address)[])", targets)
        gas = GAS_BESIDE_TARGETS + GAS_PER_TARGET * len(targets)
        return self._node.send(self._account, self.contract, data, gas=gas, fee_wei_max=fee_wei_max)

    def _markets(self) -> dict[str, Params]:
        logs = self._node.logs([self._morpho], [CREATE_MARKET])
        return {log["topics"][1]: decode_words([MARKET_PARAMS], bytes.fromhex(log["data"][2:]))[0] for log in logs}

    def _borrowers(self) -> set[tuple[str, str]]:
        """Everybody who ever borrowed or deposited, by market."""
        borrowed = self._node.logs([self._morpho], [BORROW])
        deposited = self._node.logs([self._morpho], [SUPPLY_COLLATERAL])
        # The account is the second indexed field of one event and the third of the other.
        return {(log["topics"][1], topic_address(log["topics"][2])) for log in borrowed} | {
            (log["topics"][1], topic_address(log["topics"][3])) for log in deposited
        }

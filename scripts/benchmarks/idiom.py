"""The same job as it is usually written: web3 contract objects with web3's own provider and middleware.

Kept as it is, so that the comparison stays the same. It reads, tries the batch out and sends it; what to send is handed
to it, so its times hold neither health arithmetic nor a plan.
"""

from typing import Any

from web3 import HTTPProvider, Web3
from web3.types import TxParams

from scripts.benchmarks.wallet import WideWallet
from scripts.localchain import world
from scripts.localchain.abi import artefact
from scripts.localchain.world import KEEPER, OWNER


class Idiom:
    """Raises whatever web3 raises."""

    def __init__(self, wallet: WideWallet) -> None:
        deployment = wallet.devnet.deployment
        self._markets = wallet.markets
        self._w3 = Web3(HTTPProvider(wallet.devnet.url))
        self._morpho = self._contract(deployment.morpho, "Morpho")
        self._irm = self._contract(deployment.irm, "IrmMock")
        self._guard = self._contract(deployment.guard, "MarginGuard")
        self._multicall = self._contract(world.MULTICALL3, "Multicall3")
        self._oracles = {market.oracle: self._contract(market.oracle, "TwoFeedOracle") for market in wallet.markets}
        self._feeds = [self._contract(deployment.feeds[name], "TestFeed") for name in ("ETH/USD", "USDC/USD")]
        self._weth = self._w3.to_checksum_address(deployment.tokens["WETH"])

    def cycle_view_by_view(self, batch: bytes) -> None:
        """The read view by view, then simulation and send."""
        self.read_view_by_view()
        self._simulate_and_send(batch)

    def cycle_by_multicall(self, batch: bytes) -> None:
        """The read through Multicall3, then simulation and send."""
        self.read_by_multicall()
        self._simulate_and_send(batch)

    def read_view_by_view(self) -> None:
        """One request, and what web3 adds to it, for each number that is needed."""
        for view in self._of_the_wallet():
            view.call()
        self._w3.eth.get_balance(self._w3.to_checksum_address(KEEPER.address))
        for market in self._markets:
            id = bytes.fromhex(market.id[2:])
            totals = self._morpho.functions.market(id).call()
            self._morpho.functions.position(id, OWNER.address).call()
            self._oracles[market.oracle].functions.price().call()
            self._irm.functions.borrowRateView(self._checksummed(market.params), totals).call()

    def read_by_multicall(self) -> None:
        """All of the keeper's own calls in one request, encoded and decoded through the contract objects."""
        views = self.views()
        # web3 has no name for it: the call data of a contract function is its transaction's.
        calls = [(view.address, True, view._encode_transaction_data()) for view in views]  # noqa: SLF001
        answers = self._multicall.functions.aggregate3(calls).call()
        for view, (_, data) in zip(views, answers, strict=True):
            types = [output["type"] for output in view.abi["outputs"] if "components" not in output]
            if types:
                self._w3.codec.decode(types, data)

    def views(self) -> list[Any]:
        """Contract functions with their arguments, in the order in which they have to be called."""
        views = self._of_the_wallet()
        for market in self._markets:
            id = bytes.fromhex(market.id[2:])
            views += [
                self._morpho.functions.market(id),
                self._morpho.functions.accrueInterest(self._checksummed(market.params)),
                self._morpho.functions.market(id),
                self._morpho.functions.position(id, OWNER.address),
                self._oracles[market.oracle].functions.price(),
            ]
        return views

    def _of_the_wallet(self) -> list[Any]:
        guard = self._guard.functions
        return [
            guard.owner(),
            guard.keeper(),
            guard.paused(),
            guard.lastSequence(),
            guard.accounts(),
            guard.remainingCap(self._weth),
            *(feed.functions.latestRoundData() for feed in self._feeds),
        ]

    def _simulate_and_send(self, batch: bytes) -> None:
        function, arguments = self._guard.decode_function_input(batch)
        keeper = self._w3.to_checksum_address(KEEPER.address)
        rebalance: Any = function(**arguments)
        rebalance.call({"from": keeper})
        wanted: TxParams = {"from": keeper, "nonce": self._w3.eth.get_transaction_count(keeper)}
        signed = self._w3.eth.account.sign_transaction(rebalance.build_transaction(wanted), KEEPER.key)
        self._w3.eth.send_raw_transaction(signed.raw_transaction)

    def _checksummed(self, params: tuple[str, str, str, str, int]) -> tuple[Any, ...]:
        *addresses, lltv = params
        return (*(self._w3.to_checksum_address(address) for address in addresses), lltv)

    def _contract(self, address: str, name: str) -> Any:
        return self._w3.eth.contract(address=self._w3.to_checksum_address(address), abi=artefact(name).abi)

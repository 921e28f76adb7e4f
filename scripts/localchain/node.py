"""One keep-alive connection to a development node, with the controls that only such a node has.

Synchronous on purpose: a script or a test says what happens next, one thing after the other.
"""

import http.client
import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

TRANSACTION_GAS = 12_000_000
"""More than anything here takes. An estimate would be of this second: in the next one Morpho accrues interest, and the
same call takes more."""
GWEI = 10**9
MINED_SECONDS_MAX = 10.0
"""A node that mines each transaction at once and is busier than that has stopped."""


class NodeError(Exception):
    """The node is not there, or refused; `data` is the revert data where the refusal was a revert."""

    def __init__(self, message: str, data: bytes = b"") -> None:
        super().__init__(message)
        self.data = data


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a transaction that was mined."""

    hash: str
    block: int
    index: int
    success: bool
    gas_used: int
    gas_price_wei: int
    contract: str | None
    logs: list[dict[str, Any]]


class Node:
    """Raises NodeError for everything that the node does not do."""

    def __init__(self, url: str, timeout_seconds: float = 30.0) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname is None:
            raise NodeError(f"{url} is not the http address of a local node")
        self.url = url
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=timeout_seconds)
        self._last_id = 0

    def close(self) -> None:
        self._connection.close()

    def request(self, method: str, *params: Any) -> Any:
        self._last_id += 1
        body = json.dumps({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": list(params)})
        try:
            answer = json.loads(self._post(body))
        except (OSError, http.client.HTTPException, ValueError) as problem:
            self.close()
            raise NodeError(f"no answer from {self.url}: {problem or type(problem).__name__}") from problem
        if "error" in answer:
            error = answer["error"]
            data = error.get("data")
            raw = bytes.fromhex(data[2:]) if isinstance(data, str) and data.startswith("0x") else b""
            raise NodeError(f"{method}: {error.get('message', error)}", raw)
        return answer["result"]

    def _post(self, body: str) -> bytes:
        self._connection.request("POST", "/", body, {"Content-Type": "application/json"})
        return self._connection.getresponse().read()

    # Reads ------------------------------------------------------------------------------------------------------------

    def block_number(self) -> int:
        return int(self.request("eth_blockNumber"), 16)

    def block(self, number: int | str = "latest") -> dict[str, Any]:
        found = self.request("eth_getBlockByNumber", _tag(number), False)
        if found is None:
            raise NodeError(f"there is no block {number}")
        return found

    def timestamp(self, number: int | str = "latest") -> int:
        return int(self.block(number)["timestamp"], 16)

    def balance(self, address: str, block: int | str = "latest") -> int:
        return int(self.request("eth_getBalance", address, _tag(block)), 16)

    def code(self, address: str) -> bytes:
        return _bytes(self.request("eth_getCode", address, "latest"))

    def call(self, to: str, data: bytes, block: int | str = "latest", sender: str | None = None) -> bytes:
        transaction = {"to": to, "data": "0x" + data.hex()} | ({"from": sender} if sender else {})
        return _bytes(self.request("eth_call", transaction, _tag(block)))

    def logs(
        self, addresses: list[str], topics: list[Any], first: int | str = 0, last: int | str = "latest"
    ) -> list[dict[str, Any]]:
        """`topics` as in eth_getLogs: each place one topic, a list of alternatives, or None."""
        wanted = {"address": addresses, "topics": topics, "fromBlock": _tag(first), "toBlock": _tag(last)}
        return self.request("eth_getLogs", wanted)

    # Transactions of unlocked or impersonated accounts ----------------------------------------------------------------

    def send(
        self,
        sender: str,
        to: str | None,
        data: bytes,
        *,
        value_wei: int = 0,
        gas: int | None = None,
        fee_wei_max: int | None = None,
        tip_wei: int = GWEI,
        nonce: int | None = None,
    ) -> str:
        """Hands a transaction to the pool and returns its hash; `fee_wei_max` decides its place in the block."""
        transaction: dict[str, Any] = {"from": sender, "data": "0x" + data.hex(), "value": hex(value_wei)}
        if to is not None:
            transaction["to"] = to
        if gas is not None:
            transaction["gas"] = hex(gas)
        if fee_wei_max is not None:
            transaction |= {"maxFeePerGas": hex(fee_wei_max), "maxPriorityFeePerGas": hex(tip_wei)}
        if nonce is not None:
            transaction["nonce"] = hex(nonce)
        return self.request("eth_sendTransaction", transaction)

    def receipt(self, hash: str) -> Receipt | None:
        """None while it is not mined."""
        found = self.request("eth_getTransactionReceipt", hash)
        if found is None:
            return None
        return Receipt(
            hash=found["transactionHash"],
            block=int(found["blockNumber"], 16),
            index=int(found["transactionIndex"], 16),
            success=found["status"] == "0x1",
            gas_used=int(found["gasUsed"], 16),
            gas_price_wei=int(found["effectiveGasPrice"], 16),
            contract=found.get("contractAddress"),
            logs=found["logs"],
        )

    def transact(
        self, sender: str, to: str | None, data: bytes, *, value_wei: int = 0, gas: int | None = None
    ) -> Receipt:
        """Sends and sees it mined, mining itself where the node does not; raises NodeError when it reverted."""
        hash = self.send(sender, to, data, value_wei=value_wei, gas=gas or TRANSACTION_GAS)
        receipt = self.receipt(hash)
        # A node that mines by itself may take a moment. If we mined meanwhile, its own block would come all the same,
        # empty and after this call, and whoever asked for the newest block twice would be told two different ones.
        deadline = time.monotonic() + MINED_SECONDS_MAX
        while receipt is None and time.monotonic() < deadline and self.request("anvil_getAutomine"):
            receipt = self.receipt(hash)
        if receipt is None:
            self.mine()
            receipt = self.receipt(hash)
        if receipt is None:
            raise NodeError(f"the node did not mine {hash}")
        if not receipt.success:
            raise NodeError(f"the transaction to {to} reverted ({hash})")
        return receipt

    # Controls ---------------------------------------------------------------------------------------------------------

    def mine(self, blocks: int = 1, interval_seconds: int | None = None) -> None:
        self.request("anvil_mine", hex(blocks), *([] if interval_seconds is None else [hex(interval_seconds)]))

    def warp(self, seconds: int) -> None:
        """Moves the clock forwards and mines a block there."""
        self.request("evm_increaseTime", seconds)
        self.mine()

    def set_next_timestamp(self, timestamp: int) -> None:
        self.request("evm_setNextBlockTimestamp", timestamp)

    def set_next_base_fee(self, wei: int) -> None:
        self.request("anvil_setNextBlockBaseFeePerGas", hex(wei))

    def set_automine(self, enabled: bool) -> None:
        self.request("evm_setAutomine", enabled)

    def set_interval_mining(self, seconds: int) -> None:
        """0 stops it."""
        self.request("evm_setIntervalMining", seconds)

    def drop_pending(self) -> None:
        """Empties the pool."""
        self.request("anvil_dropAllTransactions")

    def set_balance(self, address: str, wei: int) -> None:
        self.request("anvil_setBalance", address, hex(wei))

    def set_code(self, address: str, code: bytes) -> None:
        self.request("anvil_setCode", address, "0x" + code.hex())

    def storage(self, address: str, slot: bytes) -> int:
        return int(self.request("eth_getStorageAt", address, "0x" + slot.hex(), "latest"), 16)

    def set_storage(self, address: str, slot: bytes, value: int) -> None:
        self.request("anvil_setStorageAt", address, "0x" + slot.hex(), f"0x{value:064x}")

    def let_anybody_send(self) -> None:
        """From now on a transaction needs no key of its sender, contracts included."""
        self.request("anvil_autoImpersonateAccount", True)

    def snapshot(self) -> str:
        return self.request("evm_snapshot")

    def revert(self, snapshot: str) -> None:
        """A snapshot can be returned to once."""
        if not self.request("evm_revert", snapshot):
            raise NodeError(f"the node knows no snapshot {snapshot}")

    def dump_state(self) -> bytes:
        return _bytes(self.request("anvil_dumpState"))

    def load_state(self, state: bytes) -> None:
        if not self.request("anvil_loadState", "0x" + state.hex()):
            raise NodeError("the node did not accept the saved state")


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def _tag(block: int | str) -> str:
    return hex(block) if isinstance(block, int) else block

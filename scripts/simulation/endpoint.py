"""One endpoint of the model: what a node answers to JSON-RPC, and what it does instead when it is at fault.

It stands where `HttpProvider` stands, behind everything of the keeper that paces, checks and chooses.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from random import Random
from typing import Any, cast

from eth_utils.crypto import keccak

from keeper.errors import BadAnswer, NodeUnreachable, RateLimited
from keeper.protocols.abi import load_json
from keeper.protocols.base import Log
from keeper.protocols.guard_setup import LIBRARY, guard_runtime_code, library_address
from keeper.protocols.multicall import MULTICALL3
from scripts.simulation.chain import GAS_LIMIT, Block, Chain, Included, Pool, RefusedBySendError, Sent, next_base_fee
from scripts.simulation.contracts import GUARD, OWNER, Contracts
from scripts.simulation.guard import Ran, execute

CHAIN_ID = 31_337
TIP_WEI = 10**9
HANG_SECONDS = 3_600
LAG_BLOCKS = 10
CODE = {
    GUARD: f"0x{guard_runtime_code(OWNER).hex()}",
    library_address(): load_json(LIBRARY)["deployedBytecode"]["object"],
}
"""Of the contracts whose code is looked at."""


class Fault(Enum):
    """What an endpoint does for a while."""

    SLOW = auto()
    """Answers after two seconds."""
    HANGS = auto()
    RESETS = auto()
    """Closes the connection; half of the requests took effect before."""
    LOSES_SENDS = auto()
    """Takes a transaction, and closes the connection before it says so."""
    TOO_MANY = auto()
    """HTTP 429."""
    WRONG_ID = auto()
    DROPS_RESULTS = auto()
    """One of the answers in an aggregate is missing."""
    STALE = auto()
    """Its newest block is the one of the beginning."""
    LAGS = auto()
    """Its newest block is always ten old, as that of a node that catches up."""
    SWALLOWS = auto()
    """Takes transactions and passes them on to nobody."""
    RICH = auto()
    """Tells of twice the collateral that there is."""
    FALSE_RECEIPT = auto()
    """Tells of an inclusion that there is not."""
    NO_RECEIPT = auto()
    """Denies inclusions."""
    NO_LOGS = auto()
    """Keeps back the events of a receipt."""


LIES = frozenset((Fault.SWALLOWS, Fault.RICH, Fault.FALSE_RECEIPT, Fault.NO_RECEIPT, Fault.NO_LOGS))


@dataclass(frozen=True, slots=True)
class Spell:
    """A fault from one time to another, seconds since the beginning."""

    fault: Fault
    since: float
    until: float


@dataclass(slots=True)
class Endpoint:
    """A node, for all processes that ever ask it."""

    name: str
    chain: Chain
    pool: Pool
    contracts: Contracts
    random: Random
    time: Callable[[], float]
    finalized: Callable[[], Block]
    on_send: Callable[[Sent, str | None], None]
    """Told of each transaction that it is given, and in which words it refused it."""
    spells: Sequence[Spell] = ()
    requests: int = 0
    _stuck_at: Block | None = None
    _answers: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])

    def faults(self) -> frozenset[Fault]:
        """Now."""
        now = self.time()
        return frozenset(spell.fault for spell in self.spells if spell.since <= now < spell.until)

    def head(self) -> Block:
        """The newest block as it sees it."""
        faults = self.faults()
        if Fault.LAGS in faults:
            return self.chain.head.ancestor(max(self.chain.first.number, self.chain.head.number - LAG_BLOCKS))
        if Fault.STALE not in faults:
            self._stuck_at = None
            return self.chain.head
        self._stuck_at = self._stuck_at or self.chain.head
        return self._stuck_at

    def answer(self, method: str, params: list[Any]) -> Any:
        """A result; raises RpcError for an error of its own."""
        match method:
            case "eth_chainId":
                return hex(CHAIN_ID)
            case "eth_getBlockByNumber":
                return self._by_number(params[0])
            case "eth_getBlockByHash":
                block = self.chain.blocks.get(params[0])
                return None if block is None or not self.chain.contains(self.head(), block) else block_json(block)
            case "eth_call":
                return self._called(params[0], self._pinned(params[1]))
            case "eth_getCode":
                self._pinned(params[1])
                return CODE.get(params[0], "0x")
            case "eth_getTransactionCount":
                return hex(self.head().state.nonce)
            case "eth_getTransactionReceipt":
                return self._receipt(params[0])
            case "eth_sendRawTransaction":
                return self._send(bytes.fromhex(params[0][2:]))
            case "eth_simulateV1":
                return self._simulated(params[0]["blockStateCalls"][0], self._pinned(params[1]))
            case "eth_feeHistory":
                return self._fee_history(int(params[0], 16), len(params[2]))
            case "eth_getLogs":
                return []
            case _:
                raise RpcError(-32601, f"the method {method} does not exist")

    def _by_number(self, which: str) -> Any:
        head = self.head()
        if which == "latest":
            return block_json(head)
        if which in ("finalized", "safe"):
            finalized = self.finalized()
            return block_json(finalized if finalized.number <= head.number else head)
        number = int(which, 16)
        return block_json(head.ancestor(number)) if 0 < number <= head.number else None

    def _pinned(self, where: Any) -> Block:
        if isinstance(where, str):
            return self.head()
        block = self.chain.blocks.get(where["blockHash"])
        if block is None or not self.chain.contains(self.head(), block):
            raise RpcError(-32000, "header not found")
        return block

    def _called(self, call: Mapping[str, Any], block: Block) -> str:
        if call["to"] != MULTICALL3:
            ran = execute(
                self.contracts.guard, block.state, call["from"], bytes.fromhex(call["data"][2:]), int(call["gas"], 16)
            )
            if not ran.succeeded:
                raise RpcError(3, "execution reverted", f"0x{ran.output.hex()}")
            return f"0x{ran.output.hex()}"
        key = (block.hash, call["data"])
        faults = self.faults()
        if Fault.RICH in faults:
            state = block.state.copy(block.state.now)
            for id, held in state.positions.items():
                state.positions[id] = type(held)(2 * held.collateral, held.borrow_shares)
            return f"0x{self.contracts.aggregate(call['data'], state).hex()}"
        if Fault.DROPS_RESULTS in faults:
            return f"0x{self.contracts.aggregate(call['data'], block.state)[:-64].hex()}"
        known = self._answers.get(key)
        if known is None:
            known = self._answers[key] = f"0x{self.contracts.aggregate(call['data'], block.state).hex()}"
        return known

    def _simulated(self, block_call: Mapping[str, Any], block: Block) -> list[Any]:
        state = block.state.copy(int(block_call["blockOverrides"]["time"], 16))
        shown: list[dict[str, Any]] = []
        for call in block_call["calls"]:
            data, gas = bytes.fromhex(call["input"][2:]), int(call["gas"], 16)
            ran = execute(self.contracts.guard, state, call["from"], data, gas)
            state = ran.state
            shown.append(_simulated_json(ran))
        return [{"calls": shown}]

    def _send(self, raw: bytes) -> str:
        sent = Sent.of(f"0x{keccak(raw).hex()}", raw)
        try:
            if Fault.SWALLOWS not in self.faults():
                self.pool.add(sent, self.head().state)
        except RefusedBySendError as refusal:
            self.on_send(sent, str(refusal))
            raise RpcError(-32000, str(refusal)) from None
        self.on_send(sent, None)
        return sent.hash

    def _receipt(self, hash: str) -> Any:
        head, faults = self.head(), self.faults()
        found = self.chain.find(hash, head)
        if Fault.FALSE_RECEIPT in faults and found is None:
            return _false_receipt(hash, head)
        if found is None or Fault.NO_RECEIPT in faults:
            return None
        block, included = found
        return receipt_json(block, included, with_logs=Fault.NO_LOGS not in faults)

    def _fee_history(self, count: int, percentiles: int) -> dict[str, Any]:
        blocks = [block for number in range(count) if (block := self.chain.block(self.head().number - number))]
        base_fees = [hex(block.base_fee_wei) for block in reversed(blocks)] + [hex(next_base_fee(self.head()))]
        return {"baseFeePerGas": base_fees, "reward": [[hex(TIP_WEI)] * percentiles for _ in blocks]}


class RpcError(Exception):
    """An error in a node's answer."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.shown: dict[str, Any] = {"code": code, "message": message} | ({} if data is None else {"data": data})


class Line:
    """One process's way to one endpoint: what the keeper takes for its provider."""

    def __init__(self, endpoint: Endpoint, checkpoint: Callable[[str], Awaitable[None]]) -> None:
        """`checkpoint` is passed before a request arrives and after it took effect; a process may die there."""
        self._endpoint = endpoint
        self._checkpoint = checkpoint
        self.link = 1

    @property
    def label(self) -> str:
        return self._endpoint.name

    def redact(self, text: str) -> str:
        return text

    async def disconnect(self) -> None:
        """There is no connection."""

    async def make_request(self, method: str, params: Any) -> Any:
        endpoint = self._endpoint
        endpoint.requests += 1
        await self._checkpoint(method)
        await asyncio.sleep(endpoint.random.uniform(0.01, 0.08))
        faults = endpoint.faults()
        if Fault.HANGS in faults:
            await asyncio.sleep(HANG_SECONDS)
        if Fault.SLOW in faults:
            await asyncio.sleep(2)
        if Fault.TOO_MANY in faults:
            raise RateLimited(f"{self.label} limits the rate of requests (HTTP 429 to {method}).", 3.0)
        if Fault.RESETS in faults and endpoint.random.random() < 0.5:
            raise self._reset(method)
        answer = self._answer(method, params)
        await self._checkpoint(method)
        await asyncio.sleep(endpoint.random.uniform(0.01, 0.08))
        if Fault.RESETS in faults or (Fault.LOSES_SENDS in faults and method == "eth_sendRawTransaction"):
            raise self._reset(method)
        if Fault.WRONG_ID in faults:
            raise BadAnswer(f"{self.label} answered {method} with the id of another request.")
        return answer

    def _answer(self, method: str, params: Any) -> dict[str, Any]:
        try:
            return {"jsonrpc": "2.0", "id": 1, "result": self._endpoint.answer(method, cast("list[Any]", params))}
        except RpcError as error:
            return {"jsonrpc": "2.0", "id": 1, "error": error.shown}

    def _reset(self, method: str) -> NodeUnreachable:
        self.link += 1
        return NodeUnreachable(f"{self.label} closed the connection without an answer to {method}.")


# JSON ---------------------------------------------------------------------------------------------------------------


def block_json(block: Block) -> dict[str, Any]:
    return {
        "number": hex(block.number),
        "hash": block.hash,
        "parentHash": block.parent.hash if block.parent else "0x" + 64 * "0",
        "timestamp": hex(block.timestamp),
        "baseFeePerGas": hex(block.base_fee_wei),
        "gasLimit": hex(GAS_LIMIT),
    }


def receipt_json(block: Block, included: Included, *, with_logs: bool = True) -> dict[str, Any]:
    return {
        "transactionHash": included.sent.hash,
        "blockNumber": hex(block.number),
        "blockHash": block.hash,
        "status": hex(int(included.ran.succeeded)),
        "gasUsed": hex(included.ran.gas_used),
        "effectiveGasPrice": hex(included.gas_price_wei),
        "logs": [_log_json(log) for log in included.ran.logs] if with_logs else [],
    }


def _false_receipt(hash: str, head: Block) -> dict[str, Any]:
    return {
        "transactionHash": hash,
        "blockNumber": hex(head.number),
        "blockHash": head.hash,
        "status": "0x1",
        "gasUsed": hex(200_000),
        "effectiveGasPrice": hex(head.base_fee_wei),
        "logs": [],
    }


def _log_json(log: Log) -> dict[str, Any]:
    return {
        "address": log.address,
        "topics": [f"0x{topic.hex()}" for topic in log.topics],
        "data": f"0x{log.data.hex()}",
    }


def _simulated_json(ran: Ran) -> dict[str, Any]:
    output = f"0x{ran.output.hex()}"
    if ran.succeeded:
        return {"status": "0x1", "returnData": output, "gasUsed": hex(ran.gas_used)}
    error = {"code": 3, "message": "execution reverted", "data": output}
    return {"status": "0x0", "returnData": output, "gasUsed": hex(ran.gas_used), "error": error}

"""The node's methods that the keeper uses, typed: bytes and integers in, values of ours out.

Every read that decides something is pinned to a block hash (EIP-1898, `requireCanonical`). A node that does not accept
one is refused, not worked around: by number, two reads of a cycle could see two different blocks, and to notice that
costs one more request per cycle than there is room for.
"""

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from keeper.chain.agreement import Agreement
from keeper.chain.answers import (
    FeeHistory,
    KnownTransaction,
    MinedTransaction,
    SimulatedCall,
    SimulatedResult,
    StateOverride,
    as_bytes,
    as_hex,
    as_int,
    as_list,
    as_object,
    block_from_json,
    fee_history_from_json,
    known_from_json,
    log_from_json,
    mined_from_json,
    simulated_from_json,
    to_hex,
)
from keeper.chain.clock import SYSTEM_CLOCK, Clock
from keeper.chain.pace import Traffic
from keeper.chain.pool import EndpointPool
from keeper.core.snapshot import Block
from keeper.core.units import Address
from keeper.errors import BadAnswer, BlockGone, NodeRefused
from keeper.protocols.base import Log

LOG_RANGE_MAX = 2_000
"""Blocks per eth_getLogs request; most providers refuse more than a few thousand."""


T = TypeVar("T")

BLOCK_SECONDS = 12.0
STALE_BLOCKS = 2.5
"""A head that is older than so many block times is looked for elsewhere."""

Question: TypeAlias = Callable[["Rpc"], Awaitable[T]]
"""Something to ask the chain, or one endpoint of several."""


class Rpc:
    """The chain through one pool of endpoints.

    Every method raises NodeUnreachable, RateLimited, WrongChain, BadAnswer or NodeRefused; a block that is not there is
    BlockGone.
    """

    def __init__(
        self, pool: EndpointPool, *, block_seconds: float = BLOCK_SECONDS, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        """`block_seconds`: the usual time between two blocks."""
        self._pool = pool
        self._stale_seconds = STALE_BLOCKS * block_seconds
        self._clock = clock

    @property
    def label(self) -> str:
        """The endpoint as people may see it."""
        return self._pool.label

    def alone(self) -> "list[Rpc]":
        """The chain as each endpoint tells it by itself."""
        return [Rpc(pool) for pool in self._pool.alone()]

    async def agreed(
        self, question: Question[T], about: str, same: Callable[[T], Hashable] = lambda value: value
    ) -> Agreement[T]:
        """What the endpoints say of something that all have to say the same of: here, what one says that answers.

        `about` names it for people; `same` makes the same of two answers that mean the same.
        """
        del about, same
        return Agreement((await question(self),))

    async def chain_id(self) -> int:
        return as_int(await self._ask("eth_chainId", []))

    # Blocks -----------------------------------------------------------------------------------------------------------

    async def head(self) -> Block:
        """The newest block. When an endpoint's is old, the others are asked as well, and the furthest is believed."""
        method, params = "eth_getBlockByNumber", ["latest", False]
        block = block_from_json(await self._ask(method, params), self.label)
        if len(self._pool.nodes) == 1 or self._clock.now() - block.timestamp <= self._stale_seconds:
            return block
        told = [
            (block_from_json(one.answer.get("result"), one.node.label), one.node)
            for one in await self._pool.each(method, params)
        ]
        newest, node = max(told, key=lambda one: one[0].number, default=(block, self._pool.nodes[0]))
        for other, behind in told:
            if other.number < newest.number:
                behind.disappoints()
        self._pool.prefer(node)
        return newest

    async def block(self, which: int | str) -> Block:
        """By number, tag (`latest`, `finalized`, …) or hash. Raises BlockGone when there is none."""
        if isinstance(which, str) and which.startswith("0x"):
            answer = await self._ask("eth_getBlockByHash", [which, False])
        else:
            answer = await self._ask("eth_getBlockByNumber", [hex(which) if isinstance(which, int) else which, False])
        if answer is None:
            raise BlockGone(f"{self.label} has no block {which}.", reason="block not found")
        return block_from_json(answer, self.label)

    async def finalized_number(self) -> int | None:
        """The newest block that cannot be reorganised away; None where the node does not know of any such."""
        try:
            return (await self.block("finalized")).number
        except NodeRefused:
            return None

    # State ------------------------------------------------------------------------------------------------------------

    async def call(
        self,
        to: Address,
        data: bytes,
        block_hash: str,
        *,
        gas: int | None = None,
        sender: Address | None = None,
        overrides: Mapping[Address, StateOverride] | None = None,
        traffic: Traffic = Traffic.READ,
    ) -> bytes:
        """What a call returns at that block. Raises CallReverted, with the revert data."""
        call = {"to": to, "data": to_hex(data)}
        if gas is not None:
            call["gas"] = hex(gas)
        if sender is not None:
            call["from"] = sender
        params: list[Any] = [call, pinned(block_hash)]
        if overrides:
            params.append({account: override.as_json() for account, override in overrides.items()})
        return as_bytes(await self._ask("eth_call", params, traffic))

    async def code(self, account: Address, block_hash: str) -> bytes:
        return as_bytes(await self._ask("eth_getCode", [account, pinned(block_hash)]))

    async def balance(self, account: Address, block_hash: str) -> int:
        return as_int(await self._ask("eth_getBalance", [account, pinned(block_hash)]))

    async def storage(self, account: Address, slot: int, block_hash: str) -> int:
        return as_int(await self._ask("eth_getStorageAt", [account, hex(slot), pinned(block_hash)]))

    async def transaction_count(self, account: Address, *, pending: bool = False) -> int:
        """The next nonce that the chain takes from `account`; `pending` counts what waits in the node's pool."""
        return as_int(await self._ask("eth_getTransactionCount", [account, "pending" if pending else "latest"]))

    async def logs(self, address: Address, topics: Sequence[bytes | None], first: int, last: int) -> tuple[Log, ...]:
        """Events of `address` in a range of blocks, both ends included, asked for in bounded pieces."""
        found: list[Log] = []
        span = LOG_RANGE_MAX
        while first <= last:
            end = min(last, first + span - 1)
            query = {
                "address": address,
                "topics": [None if topic is None else to_hex(topic) for topic in topics],
                "fromBlock": hex(first),
                "toBlock": hex(end),
            }
            try:
                answer = as_list(await self._ask("eth_getLogs", [query]))
            except NodeRefused:
                # Limits differ between providers and are announced in prose only; a single block must pass.
                if span == 1:
                    raise
                span = max(1, span // 4)
                continue
            found += [log_from_json(item) for item in answer]
            first = end + 1
        return tuple(found)

    # Transactions -----------------------------------------------------------------------------------------------------

    async def fee_history(self, blocks: int, percentiles: Sequence[int]) -> FeeHistory:
        answer = await self._ask("eth_feeHistory", [hex(blocks), "latest", list(percentiles)])
        return fee_history_from_json(answer, len(percentiles))

    async def send_raw(self, raw: bytes) -> str:
        """The transaction's hash as the node computed it. Raises NodeRefused with the node's reason."""
        return as_hex(await self._ask("eth_sendRawTransaction", [to_hex(raw)], Traffic.SEND)).lower()

    async def receipt(self, hash: str) -> MinedTransaction | None:
        """None while no block has it."""
        answer = await self._ask("eth_getTransactionReceipt", [hash])
        return None if answer is None else mined_from_json(answer, hash)

    async def transaction(self, hash: str) -> KnownTransaction | None:
        """None when the node has never heard of it, or forgot it."""
        answer = await self._ask("eth_getTransactionByHash", [hash])
        return None if answer is None else known_from_json(answer, hash)

    async def estimate_gas(self, sender: Address, to: Address, data: bytes, value_wei: int = 0) -> int:
        """For single calls only: with the guard's isolated rescues an estimate starves one of them."""
        call = {"from": sender, "to": to, "data": to_hex(data), "value": hex(value_wei)}
        return as_int(await self._ask("eth_estimateGas", [call]))

    async def impersonate(self, account: Address) -> None:
        """Lets a local chain or a fork take unsigned transactions of `account`; any other node refuses."""
        await self._ask("anvil_impersonateAccount", [account])

    async def send_unsigned(self, sender: Address, to: Address, data: bytes, value_wei: int = 0) -> str:
        """The hash of a transaction that the node itself signs for."""
        call = {"from": sender, "to": to, "data": to_hex(data), "value": hex(value_wei)}
        return as_hex(await self._ask("eth_sendTransaction", [call], Traffic.SEND)).lower()

    async def simulate_v1(
        self, calls: Sequence[SimulatedCall], block_hash: str, timestamp: int
    ) -> tuple[SimulatedResult, ...]:
        """The calls one after the other in a block on top of `block_hash`, with that block's `timestamp`."""
        block = {
            "blockOverrides": {"time": hex(timestamp)},
            "calls": [
                {"from": call.sender, "to": call.to, "input": to_hex(call.data), "gas": hex(call.gas)} for call in calls
            ],
        }
        query = {"blockStateCalls": [block], "validation": False}
        answer = as_list(await self._ask("eth_simulateV1", [query, pinned(block_hash)], Traffic.SEND))
        results = as_list(as_object(answer[0]).get("calls")) if len(answer) == 1 else []
        if len(results) != len(calls):
            raise BadAnswer(f"{self.label} simulated {len(results)} of {len(calls)} calls.")
        return tuple(simulated_from_json(result) for result in results)

    # --------------------------------------------------------------------------------------------------------------

    async def _ask(self, method: str, params: Sequence[Any], traffic: Traffic = Traffic.READ) -> Any:
        told = await self._pool.told(method, params, traffic)
        if told.fault is not None:
            raise told.fault
        return told.answer.get("result")


def pinned(block_hash: str) -> dict[str, Any]:
    """EIP-1898: this very block, and only while it is part of the canonical chain."""
    return {"blockHash": block_hash, "requireCanonical": True}

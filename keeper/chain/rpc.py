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
    block_from_json,
    fee_history_from_json,
    known_from_json,
    logs_from_json,
    mined_from_json,
    prebuilt_hex,
    simulation_from_json,
    to_hex,
)
from keeper.chain.clock import SYSTEM_CLOCK, Clock
from keeper.chain.pace import Traffic
from keeper.chain.pool import CALL, EndpointPool, as_it_is
from keeper.chain.refusals import SEND
from keeper.core.snapshot import Block
from keeper.core.units import Address
from keeper.errors import BlockGone, NodeRefused
from keeper.protocols.base import Log

LOG_RANGE_MAX = 2_000
"""Blocks per eth_getLogs request; most providers refuse more than a few thousand."""


T = TypeVar("T")

BLOCK_SECONDS = 12.0
STALE_BLOCKS = 2.5
"""A head that is older than so many block times is looked for elsewhere."""

Question: TypeAlias = Callable[["Rpc"], Awaitable[T]]
"""Something to ask the chain, or one endpoint of several."""
Check: TypeAlias = Callable[[bytes], None]
"""Raises BadAnswer or ProtocolError for what a call cannot have returned."""


def anything(_returned: bytes) -> None:
    """For a call of which nothing is known beforehand."""


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
        return await self._ask("eth_chainId", [], as_int)

    # Blocks -----------------------------------------------------------------------------------------------------------

    async def head(self) -> Block:
        """The newest block. When an endpoint's is old, the others are asked as well, and the furthest is believed."""
        method, params = "eth_getBlockByNumber", ["latest", False]
        block = await self._ask(method, params, block_from_json)
        if len(self._pool.nodes) == 1 or self._clock.now() - block.timestamp <= self._stale_seconds:
            return block
        told = [(one.value, one.node) for one in await self._pool.each(method, params, block_from_json)]
        newest, node = max(told, key=lambda one: one[0].number, default=(block, self._pool.nodes[0]))
        for other, behind in told:
            if other.number < newest.number:
                behind.disappoints()
        self._pool.prefer(node)
        return newest

    async def block(self, which: int | str) -> Block:
        """By number, tag (`latest`, `finalized`, …) or hash. Raises BlockGone when there is none."""
        if isinstance(which, str) and which.startswith("0x"):
            method, params = "eth_getBlockByHash", [which, False]
        else:
            method, params = "eth_getBlockByNumber", [hex(which) if isinstance(which, int) else which, False]
        block = await self._ask(method, params, _or_none(block_from_json))
        if block is None:
            raise BlockGone(f"{self.label} has no block {which}.", reason="block not found")
        return block

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
        check: Check = anything,
    ) -> bytes:
        """What a call returns at that block; what `check` refuses is nothing that it returned, and another endpoint is
        asked. Raises CallReverted, with the revert data."""
        call: dict[str, str] = {"to": to, "data": prebuilt_hex(data)}
        if gas is not None:
            call["gas"] = hex(gas)
        if sender is not None:
            call["from"] = sender
        params: list[Any] = [call, pinned(block_hash)]
        if overrides:
            params.append({account: override.as_json() for account, override in overrides.items()})

        def read(result: object) -> bytes:
            returned = as_bytes(result)
            check(returned)
            return returned

        return await self._ask(CALL, params, read, traffic)

    async def code(self, account: Address, block_hash: str) -> bytes:
        return await self._ask("eth_getCode", [account, pinned(block_hash)], as_bytes)

    async def balance(self, account: Address, block_hash: str) -> int:
        return await self._ask("eth_getBalance", [account, pinned(block_hash)], as_int)

    async def storage(self, account: Address, slot: int, block_hash: str) -> int:
        return await self._ask("eth_getStorageAt", [account, hex(slot), pinned(block_hash)], as_int)

    async def transaction_count(self, account: Address, *, pending: bool = False) -> int:
        """The next nonce that the chain takes from `account`; `pending` counts what waits in the node's pool."""
        return await self._ask("eth_getTransactionCount", [account, "pending" if pending else "latest"], as_int)

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
                found += await self._ask("eth_getLogs", [query], logs_from_json)
            except NodeRefused:
                # Limits differ between providers and are announced in prose only; a single block must pass.
                if span == 1:
                    raise
                span = max(1, span // 4)
                continue
            first = end + 1
        return tuple(found)

    # Transactions -----------------------------------------------------------------------------------------------------

    async def fee_history(self, blocks: int, percentiles: Sequence[int]) -> FeeHistory:
        params = [hex(blocks), "latest", list(percentiles)]
        return await self._ask("eth_feeHistory", params, lambda answer: fee_history_from_json(answer, len(percentiles)))

    async def send_raw(self, raw: bytes) -> str:
        """The transaction's hash as the node computed it. Raises NodeRefused with the node's reason."""
        told = await self._pool.told(SEND, [to_hex(raw)], Traffic.SEND)
        if told.fault is not None:
            raise told.fault
        return as_hex(told.value).lower()

    async def receipt(self, hash: str) -> MinedTransaction | None:
        """None while no block has it."""
        return await self._ask(
            "eth_getTransactionReceipt", [hash], _or_none(lambda answer: mined_from_json(answer, hash))
        )

    async def transaction(self, hash: str) -> KnownTransaction | None:
        """None when the node has never heard of it, or forgot it."""
        return await self._ask(
            "eth_getTransactionByHash", [hash], _or_none(lambda answer: known_from_json(answer, hash))
        )

    async def estimate_gas(self, sender: Address, to: Address, data: bytes, value_wei: int = 0) -> int:
        """For single calls only: with the guard's isolated rescues an estimate starves one of them."""
        call = {"from": sender, "to": to, "data": to_hex(data), "value": hex(value_wei)}
        return await self._ask("eth_estimateGas", [call], as_int)

    async def impersonate(self, account: Address) -> None:
        """Lets a local chain or a fork take unsigned transactions of `account`; any other node refuses."""
        await self._ask("anvil_impersonateAccount", [account], as_it_is)

    async def send_unsigned(self, sender: Address, to: Address, data: bytes, value_wei: int = 0) -> str:
        """The hash of a transaction that the node itself signs for."""
        call = {"from": sender, "to": to, "data": to_hex(data), "value": hex(value_wei)}
        return (await self._ask("eth_sendTransaction", [call], as_hex, Traffic.SEND)).lower()

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
        return await self._ask(
            "eth_simulateV1",
            [query, pinned(block_hash)],
            lambda answer: simulation_from_json(answer, len(calls)),
            Traffic.SEND,
        )

    # --------------------------------------------------------------------------------------------------------------

    async def _ask(
        self, method: str, params: Sequence[Any], read: Callable[[object], T], traffic: Traffic = Traffic.READ
    ) -> T:
        """What `read` makes of a result; of one that it refuses nothing, and another endpoint is asked."""
        told = await self._pool.told(method, params, traffic, read)
        if told.fault is not None:
            raise told.fault
        return told.value


def _or_none(read: Callable[[object], T]) -> Callable[[object], T | None]:
    """For what is null where there is none."""
    return lambda answer: None if answer is None else read(answer)


def pinned(block_hash: str) -> dict[str, Any]:
    """EIP-1898: this very block, and only while it is part of the canonical chain."""
    return {"blockHash": block_hash, "requireCanonical": True}

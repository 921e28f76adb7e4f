"""The single read of a cycle: one `eth_call` to Multicall3, pinned to a block's hash."""

from collections.abc import Sequence
from typing import TypeVar

from keeper.chain.clock import SYSTEM_CLOCK, Clock
from keeper.chain.rpc import Rpc
from keeper.core.snapshot import Block
from keeper.errors import BlockGone, ChainError, NodeRefused
from keeper.protocols.base import Call, CallResult, Discovery
from keeper.protocols.multicall import MULTICALL3, decode_aggregate3, encode_aggregate3

T = TypeVar("T")

BEHIND_SECONDS = (0.1, 0.3)
"""How long to wait for a node that does not have a block yet of which another one told us, before each further try."""
OUT_OF_GAS_WORDS = ("out of gas", "outofgas", "gas limit", "intrinsic gas")


class Reader:
    """Carries prebuilt calldata to the node and the answer back; what the bytes mean is its caller's business."""

    def __init__(self, rpc: Rpc, gas: int | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        """`gas`: what a read may use; None leaves it to the node (usually 50 million)."""
        self._rpc = rpc
        self._gas = gas
        self._clock = clock

    async def read(self, calldata: bytes, block: Block) -> bytes:
        """What `aggregate3` answers at that very block.

        Raises BlockGone when the block was reorganised away, and ChainError when the node does not grant what it takes.
        """
        try:
            answer = await self._ask(calldata, block)
        except NodeRefused as refusal:
            if any(words in refusal.reason.lower() for words in OUT_OF_GAS_WORDS):
                raise ChainError(
                    f"{self._rpc.label} does not grant the gas for a read of {len(calldata)} bytes of calls "
                    f"({refusal.reason}); use a node that allows more gas in eth_call."
                ) from None
            raise
        if not answer:
            raise ChainError(f"There is no Multicall3 at {MULTICALL3} in block {block.number} of this chain.")
        return answer

    async def _ask(self, calldata: bytes, block: Block) -> bytes:
        for seconds in BEHIND_SECONDS:
            try:
                return await self._rpc.call(MULTICALL3, calldata, block.hash, gas=self._gas)
            except BlockGone:
                await self._clock.sleep(seconds)
        return await self._rpc.call(MULTICALL3, calldata, block.hash, gas=self._gas)

    async def aggregate(self, calls: Sequence[Call], block: Block) -> list[CallResult]:
        """The results of calls that are asked rarely, in their order; as `read`, and ProtocolError for a bad answer."""
        if not calls:
            return []
        return decode_aggregate3(await self.read(encode_aggregate3(calls), block), len(calls))

    async def discover(self, discovery: Discovery[T], block: Block) -> T:
        """Runs a discovery to its end, one read a round, all at the same block."""
        calls = next(discovery)
        while True:
            try:
                calls = discovery.send(await self.aggregate(calls, block))
            except StopIteration as found:
                return found.value

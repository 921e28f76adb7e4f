"""What a rollup charges for the bytes of a transaction, read beside the cycles and rounded against us.

It is asked for bytes that nothing compresses, and calldata is mostly zeros: what it answers is more than is paid.
"""

from collections.abc import Iterator
from enum import Enum
from itertools import islice
from typing import Protocol

from eth_abi.abi import encode
from eth_utils.abi import function_signature_to_4byte_selector
from eth_utils.crypto import keccak

from keeper.core.data_fee import NO_DATA_FEE, DataFee
from keeper.core.units import Address
from keeper.errors import BadAnswer

GAS_PRICE_ORACLE = Address("0x420000000000000000000000000000000000000f")
"""`GasPriceOracle` of the OP stack; its `getL1Fee` is the fee of a transaction, signature included."""
ARB_SYS = Address("0x0000000000000000000000000000000000000064")
NODE_INTERFACE = Address("0x00000000000000000000000000000000000000c8")
"""Arbitrum's, of the node itself: `gasEstimateL1Component` is what the sequencer takes in gas for the bytes."""
PRICE_MARGIN = 4
"""A quarter on top: the price of the chain below moves until the transaction is included."""


class Rollup(Enum):
    NONE = "no rollup"
    OP_STACK = "OP stack"
    ARBITRUM = "Arbitrum"


class CallNode(Protocol):
    async def call(self, to: Address, data: bytes, block_hash: str) -> bytes: ...
    async def code(self, account: Address, block_hash: str) -> bytes: ...


async def find_rollup(node: CallNode, block_hash: str) -> Rollup:
    """By the contracts that only such a chain has. Raises ChainError."""
    if await node.code(GAS_PRICE_ORACLE, block_hash):
        return Rollup.OP_STACK
    return Rollup.ARBITRUM if await node.code(ARB_SYS, block_hash) else Rollup.NONE


async def read_data_fee(node: CallNode, rollup: Rollup, block_hash: str) -> DataFee:
    """For one kilobyte. Raises ChainError."""
    match rollup:
        case Rollup.NONE:
            return NO_DATA_FEE
        case Rollup.OP_STACK:
            call = function_signature_to_4byte_selector("getL1Fee(bytes)") + encode(["bytes"], [_kilobyte()])
            fee_wei = _first_word(await node.call(GAS_PRICE_ORACLE, call, block_hash), "getL1Fee")
            return DataFee(wei_per_kilobyte=_with_margin(fee_wei))
        case Rollup.ARBITRUM:
            selector = function_signature_to_4byte_selector("gasEstimateL1Component(address,bool,bytes)")
            arguments = encode(["address", "bool", "bytes"], [ARB_SYS, False, _kilobyte()])
            answer = await node.call(NODE_INTERFACE, selector + arguments, block_hash)
            return DataFee(gas_per_kilobyte=_with_margin(_first_word(answer, "gasEstimateL1Component")))


async def current_data_fee(node: CallNode, block_hash: str) -> DataFee:
    """For one kilobyte, on a chain that may be a rollup. Raises ChainError."""
    return await read_data_fee(node, await find_rollup(node, block_hash), block_hash)


def _with_margin(amount: int) -> int:
    return amount + -(-amount // PRICE_MARGIN)


def _first_word(answer: bytes, function: str) -> int:
    if len(answer) < 32:
        raise BadAnswer(f"The rollup's {function} answered {len(answer)} bytes where a number belongs.")
    return int.from_bytes(answer[:32])


def _kilobyte() -> bytes:
    def digests() -> Iterator[bytes]:
        digest = b""
        while True:
            digest = keccak(digest)
            yield digest

    return b"".join(islice(digests(), 32))[:1_000]

"""Many calls in one: Multicall3's `aggregate3`, with calldata that is built once and answers that are cut, not parsed.

https://github.com/mds1/multicall, the same address on every chain. It calls, not staticcalls: inside an `eth_call` a
call may change state for the ones after it.
"""

from collections.abc import Sequence
from struct import unpack_from

from keeper.core.units import Address
from keeper.errors import ProtocolError
from keeper.protocols.abi import address_bytes, interface
from keeper.protocols.base import Call, CallResult

MULTICALL3 = Address("0xca11bde05977b3631167028862be2a173976ca11")

_WORD_32 = (32).to_bytes(32)
_WORD_64 = (64).to_bytes(32)
_WORD_96 = (96).to_bytes(32)
_TRUE = (1).to_bytes(32)
_FALSE = bytes(32)
_SUCCESS_HEAD = _TRUE + _WORD_64
_FAILURE_HEAD = _FALSE + _WORD_64


def encode_aggregate3(calls: Sequence[Call]) -> bytes:
    """Calldata of `aggregate3`, where any call may fail without failing the others."""
    offsets: list[bytes] = []
    bodies: list[bytes] = []
    offset = 32 * len(calls)
    for call in calls:
        padding = bytes(-len(call.data) % 32)
        # Call3: target, allowFailure, callData
        body = b"".join(
            (bytes(12), address_bytes(call.to), _TRUE, _WORD_96, len(call.data).to_bytes(32), call.data, padding)
        )
        offsets.append(offset.to_bytes(32))
        bodies.append(body)
        offset += len(body)
    selector = interface("Multicall3")["aggregate3"].selector
    return b"".join((selector, _WORD_32, len(calls).to_bytes(32), *offsets, *bodies))


def decode_aggregate3(answer: bytes, count: int) -> list[CallResult]:
    """The results of `count` calls, in order.

    Takes only what Multicall3 itself encodes, back to back and whole. Raises ProtocolError for anything else: an answer
    that is cut or shifted would give one account the numbers of another.
    """
    head = 64 + 32 * count
    if len(answer) < head or answer[:32] != _WORD_32 or int.from_bytes(answer[32:64]) != count:
        raise ProtocolError(f"Multicall3 did not answer with {count} results ({len(answer)} bytes)")
    # The low 8 bytes of each offset suffice: the whole is compared with what the parts before it add up to.
    offsets = unpack_from(f">{4 * count}Q", answer, 64)[3::4]
    results: list[CallResult] = []
    cursor = head
    for offset in offsets:
        start = cursor + 96
        leading = answer[cursor : cursor + 64]
        if offset + 64 != cursor or (leading != _SUCCESS_HEAD and leading != _FAILURE_HEAD):
            raise ProtocolError(f"result {len(results)} of {count} in Multicall3's answer is not where it should be")
        length = int.from_bytes(answer[cursor + 64 : start])
        cursor = start + length + (-length % 32)
        if cursor > len(answer):
            raise ProtocolError(f"Multicall3's answer ends inside result {len(results)} of {count}")
        results.append(CallResult(leading == _SUCCESS_HEAD, answer[start : start + length]))
    if cursor != len(answer):
        raise ProtocolError(f"Multicall3's answer has {len(answer) - cursor} bytes too many")
    return results

"""Many calls in one: Multicall3's `aggregate3`, with calldata that is built once and answers that are cut, not parsed.

https://github.com/mds1/multicall, the same address on every chain. It calls, not staticcalls: inside an `eth_call` a
call may change state for the ones after it.
"""

from collections.abc import Sequence
from struct import Struct, unpack_from

from keeper.core.units import Address
from keeper.errors import ProtocolError
from keeper.protocols.abi import address_bytes, interface
from keeper.protocols.base import Call, CallResult

MULTICALL3 = Address("0xca11bde05977b3631167028862be2a173976ca11")

_WORD_32 = (32).to_bytes(32)
_WORD_64 = (64).to_bytes(32)
_WORD_96 = (96).to_bytes(32)
_TRUE = (1).to_bytes(32)
# A result: success, the offset of its data, the data's length. Only the last 8 bytes of the length are ever needed.
_SUCCESS_HEAD = _TRUE + _WORD_64 + bytes(24)
_FAILURE_HEAD = bytes(32) + _WORD_64 + bytes(24)
FAILED_WITHOUT_A_WORD = _FAILURE_HEAD + bytes(8)
"""The result of a call that failed and said nothing: it ran out of gas, perhaps."""
_unpack_head = Struct(">88sQ").unpack_from


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


def decode_calls(calldata: bytes) -> list[Call]:
    """The calls in calldata of `encode_aggregate3`."""
    body = calldata[4:]
    count = int.from_bytes(body[32:64])
    calls: list[Call] = []
    for place in range(count):
        start = 64 + int.from_bytes(body[64 + 32 * place : 96 + 32 * place])
        length = int.from_bytes(body[start + 96 : start + 128])
        calls.append(
            Call(Address(f"0x{body[start + 12 : start + 32].hex()}"), body[start + 128 : start + 128 + length])
        )
    return calls


def encode_results(results: Sequence[CallResult]) -> bytes:
    """Results as Multicall3 would have answered them in one piece: the inverse of `decode_aggregate3`."""
    offsets: list[bytes] = []
    bodies: list[bytes] = []
    offset = 32 * len(results)
    for success, data in results:
        body = b"".join((int(success).to_bytes(32), _WORD_64, len(data).to_bytes(32), data, bytes(-len(data) % 32)))
        offsets.append(offset.to_bytes(32))
        bodies.append(body)
        offset += len(body)
    return b"".join((_WORD_32, len(results).to_bytes(32), *offsets, *bodies))


def decode_aggregate3(answer: bytes, count: int) -> list[CallResult]:
    """The results of `count` calls, in order.

    Takes only what Multicall3 itself encodes, back to back and whole. Raises ProtocolError for anything else: an answer
    that is cut or shifted would give one account the numbers of another.
    """
    first = 64 + 32 * count
    if len(answer) < first or answer[:32] != _WORD_32 or int.from_bytes(answer[32:64]) != count:
        raise ProtocolError(f"Multicall3 did not answer with {count} results ({len(answer)} bytes)")
    quarters = unpack_from(f">{4 * count}Q", answer, 64)
    if any(quarters[0::4]) or any(quarters[1::4]) or any(quarters[2::4]):
        raise ProtocolError("Multicall3's answer points outside of itself")
    results: list[CallResult] = []
    # Not by the constructor of a named tuple, which is Python and takes as long as all the rest here.
    new, unpack_head = tuple[bool, bytes].__new__, _unpack_head
    cursor, end = first, len(answer)
    for offset in quarters[3::4]:
        if offset + 64 != cursor or cursor + 96 > end:
            raise ProtocolError(f"result {len(results)} of {count} in Multicall3's answer is not where it should be")
        head, length = unpack_head(answer, cursor)
        if head == _SUCCESS_HEAD:
            success = True
        elif head == _FAILURE_HEAD:
            success = False
        else:
            raise ProtocolError(f"result {len(results)} of {count} in Multicall3's answer is not a result")
        start = cursor + 96
        cursor = start + (length + 31) // 32 * 32
        if cursor > end:
            raise ProtocolError(f"Multicall3's answer ends inside result {len(results)} of {count}")
        results.append(new(CallResult, (success, answer[start : start + length])))
    if cursor != end:
        raise ProtocolError(f"Multicall3's answer has {end - cursor} bytes too many")
    return results


# Several answers to one read ------------------------------------------------------------------------------------------

_SEVERAL = bytes(32)
"""What bytes begin with that hold several answers. One of Multicall3 begins with the number 32."""


def join_answers(answers: Sequence[bytes]) -> bytes:
    """What endpoints answered that do not agree, as one; of a single answer that itself."""
    if len(answers) == 1:
        return answers[0]
    return b"".join((_SEVERAL, *(part for answer in answers for part in (len(answer).to_bytes(32), answer))))


def split_answers(joined: bytes) -> list[bytes]:
    """The inverse of `join_answers`."""
    if not joined.startswith(_SEVERAL):
        return [joined]
    answers: list[bytes] = []
    start = len(_SEVERAL)
    while start < len(joined):
        length = int.from_bytes(joined[start : start + 32])
        answers.append(joined[start + 32 : start + 32 + length])
        start += 32 + length
    return answers

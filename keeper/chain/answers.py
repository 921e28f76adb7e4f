"""What nodes answer, as values of ours; whatever does not fit is the node's fault and is named so."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

from keeper.core.intent import Receipt
from keeper.core.snapshot import Block
from keeper.core.units import Address
from keeper.errors import BadAnswer
from keeper.protocols.base import Log


@dataclass(frozen=True, slots=True)
class MinedTransaction:
    """A receipt with its events."""

    receipt: Receipt
    logs: tuple[Log, ...]


@dataclass(frozen=True, slots=True)
class KnownTransaction:
    """A transaction as the node has it, in its pool or in a block."""

    hash: str
    nonce: int
    block_hash: str | None
    """None while it waits in the pool."""


@dataclass(frozen=True, slots=True)
class FeeHistory:
    """What was paid in the last blocks, oldest first, wei per gas."""

    base_fees_wei: tuple[int, ...]
    """One more than blocks: the last is the next block's."""
    tips_wei: tuple[tuple[int, ...], ...]
    """Per block, at the percentiles asked for."""


@dataclass(frozen=True, slots=True)
class SimulatedCall:
    sender: Address
    to: Address
    data: bytes
    gas: int


@dataclass(frozen=True, slots=True)
class SimulatedResult:
    succeeded: bool
    data: bytes
    """Returned, or reverted with."""
    gas_used: int
    reason: str
    """The node's words when it did not succeed."""


@dataclass(frozen=True, slots=True)
class StateOverride:
    """What to pretend about one account in a call."""

    code: bytes | None = None
    balance_wei: int | None = None
    slots: Mapping[int, int] = field(default_factory=dict[int, int])

    def as_json(self) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        if self.code is not None:
            shown["code"] = to_hex(self.code)
        if self.balance_wei is not None:
            shown["balance"] = hex(self.balance_wei)
        if self.slots:
            shown["stateDiff"] = {f"0x{slot:064x}": f"0x{value:064x}" for slot, value in self.slots.items()}
        return shown


# Answers ------------------------------------------------------------------------------------------------------------


def block_from_json(answer: object) -> Block:
    """A header as nodes write it, from a request or a subscription."""
    fields = as_object(answer)
    if fields.get("baseFeePerGas") is None:
        raise BadAnswer("The block has no base fee; the keeper needs a chain with EIP-1559.")
    return Block(
        number=_as_uint64(fields.get("number")),
        hash=as_hex(fields.get("hash")).lower(),
        parent_hash=as_hex(fields.get("parentHash")).lower(),
        timestamp=_as_uint64(fields.get("timestamp")),
        base_fee_wei=as_int(fields.get("baseFeePerGas")),
        gas_limit=_as_uint64(fields.get("gasLimit")),
    )


def mined_from_json(answer: object, hash: str) -> MinedTransaction:
    """A receipt, which must be that of `hash`."""
    fields = as_object(answer)
    if as_hex(fields.get("transactionHash")).lower() != hash.lower():
        raise BadAnswer(f"The node answered with the receipt of another transaction than {hash}.")
    receipt = Receipt(
        hash=hash,
        block_number=as_int(fields.get("blockNumber")),
        block_hash=as_hex(fields.get("blockHash")).lower(),
        succeeded=as_int(fields.get("status")) == 1,
        gas_used=as_int(fields.get("gasUsed")),
        gas_price_wei=as_int(fields.get("effectiveGasPrice")),
        # The OP stack names what it took for the bytes; on Arbitrum that is part of the gas.
        data_fee_wei=0 if fields.get("l1Fee") is None else as_int(fields.get("l1Fee")),
    )
    return MinedTransaction(receipt, logs_from_json(fields.get("logs")))


def known_from_json(answer: object, hash: str) -> KnownTransaction:
    fields = as_object(answer)
    block_hash = fields.get("blockHash")
    return KnownTransaction(
        hash, as_int(fields.get("nonce")), None if block_hash is None else as_hex(block_hash).lower()
    )


def fee_history_from_json(answer: object, percentiles: int) -> FeeHistory:
    fields = as_object(answer)
    base_fees = tuple(as_int(fee) for fee in as_list(fields.get("baseFeePerGas")))
    tips = tuple(tuple(as_int(tip) for tip in as_list(row)) for row in as_list(fields.get("reward") or []))
    if not base_fees or any(len(row) != percentiles for row in tips):
        raise BadAnswer("The node answered eth_feeHistory with gaps.")
    return FeeHistory(base_fees, tips)


def logs_from_json(answer: object) -> tuple[Log, ...]:
    return tuple(log_from_json(item) for item in as_list(answer))


def log_from_json(item: object) -> Log:
    fields = as_object(item)
    return Log(
        address=Address(as_hex(fields.get("address")).lower()),
        topics=tuple(as_bytes(topic) for topic in as_list(fields.get("topics"))),
        data=as_bytes(fields.get("data")),
    )


def simulation_from_json(answer: object, calls: int) -> tuple[SimulatedResult, ...]:
    """The one block of `eth_simulateV1` with so many calls."""
    blocks = as_list(answer)
    results = as_list(as_object(blocks[0]).get("calls")) if len(blocks) == 1 else []
    if len(results) != calls:
        raise BadAnswer(f"The node simulated {len(results)} of {calls} calls.")
    return tuple(simulated_from_json(result) for result in results)


def simulated_from_json(answer: object) -> SimulatedResult:
    result = as_object(answer)
    error = result.get("error")
    return SimulatedResult(
        succeeded=as_int(result.get("status")) == 1,
        # geth puts revert data into the error, others into returnData.
        data=revert_data(as_object(error).get("data")) or as_bytes(result.get("returnData"))
        if error is not None
        else as_bytes(result.get("returnData")),
        gas_used=as_int(result.get("gasUsed")),
        reason="" if error is None else str(as_object(error).get("message", "")),
    )


def revert_data(value: object) -> bytes:
    """Revert data in whatever form: plain, as `Reverted 0x…`, or as an object around it."""
    if isinstance(value, dict):
        value = cast(dict[str, Any], value).get("data")
    if not isinstance(value, str):
        return b""
    _, _, digits = value.partition("0x")
    try:
        return bytes.fromhex(digits)
    except ValueError:
        return b""


# JSON to values -----------------------------------------------------------------------------------------------------

RECURSION_LIMIT = 1000
"""Python's own. A library that web3 brings along raises it to 100,000, and then an answer of nothing but brackets takes
the whole process down instead of being an error."""


def parse_json(text: str | bytes) -> object:
    """Raises ValueError for what is no JSON, or is nested deeper than any answer of a node."""
    if sys.getrecursionlimit() > RECURSION_LIMIT:
        sys.setrecursionlimit(RECURSION_LIMIT)
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


class Hex(str):
    """Text in which JSON finds nothing to escape: a read's calldata is long, and looking for it takes milliseconds."""

    __slots__ = ()


def to_hex(data: bytes) -> Hex:
    return Hex(f"0x{data.hex()}")


@lru_cache(maxsize=4)
def prebuilt_hex(data: bytes) -> Hex:
    """The same, kept: for what is sent again and again."""
    return to_hex(data)


def to_json(request: Mapping[str, Any]) -> bytes:
    """A JSON-RPC request as it is sent."""
    call = request["params"][0] if request["params"] else None
    data = cast(dict[str, Any], call).get("data") if isinstance(call, dict) else None
    if not isinstance(data, Hex):
        return json.dumps(request).encode()
    params = [{**cast(dict[str, Any], call), "data": _PLACE}, *request["params"][1:]]
    before, _, after = json.dumps({**request, "params": params}).encode().partition(_PLACE.encode())
    return b"".join((before, data.encode(), after))


_PLACE = "the data comes here"


def as_int(value: object) -> int:
    try:
        return int(as_hex(value), 16)
    except ValueError:
        raise BadAnswer(f"The node answered {value!r:.80} where a number belongs.") from None


def _as_uint64(value: object) -> int:
    """What a header holds in 64 bits: more would not even fit into a float."""
    number = as_int(value)
    if not 0 <= number < 2**64:
        raise BadAnswer(f"The node answered {value!r:.80} where a number of a block belongs.")
    return number


def as_bytes(value: object) -> bytes:
    try:
        return bytes.fromhex(as_hex(value).removeprefix("0x"))
    except ValueError:
        raise BadAnswer(f"The node answered {value!r:.80} where bytes belong.") from None


def as_hex(value: object) -> str:
    if not isinstance(value, str) or not value.startswith("0x"):
        raise BadAnswer(f"The node answered {value!r:.80} where a hexadecimal string belongs.")
    return value


def as_list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise BadAnswer(f"The node answered {value!r:.80} where a list belongs.")
    return cast(list[Any], value)


def as_object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadAnswer(f"The node answered {value!r:.80} where an object belongs.")
    return cast(dict[str, Any], value)

"""What a node's refusal means: nodes have many words and codes for the same thing, and here they become our faults."""

from collections.abc import Callable, Mapping
from typing import Any, cast

from web3.types import RPCResponse

from keeper.chain.answers import revert_data
from keeper.errors import BlockGone, CallReverted, ChainError, NodeRefused
from keeper.protocols.abi import explain_revert

BLOCK_GONE_WORDS = (
    "resource not found",
    "header not found",
    "header for hash not found",
    "not currently canonical",
    "block not found",
    "unknown block",
    "blockoutofrange",
    "could not find block",
)
"""How geth, reth, erigon, nethermind, besu and anvil say that a block is not in their chain."""

SEND = "eth_sendRawTransaction"
RESOURCE_NOT_FOUND = -32001
"""By EIP-1474; besu says that a nonce is too low with it."""
REVERTED_WORDS = ("execution reverted", "vm execution error", "reverted")


def fault_in(answer: RPCResponse, method: str, label: str, redact: Callable[[str], str]) -> ChainError | None:
    """The error in an answer as a fault of ours, without what is secret about the endpoint; None if there is none."""
    if answer.get("error") is None:
        return None
    error = cast(Mapping[str, Any], answer.get("error"))
    code = error.get("code")
    code = code if isinstance(code, int) else 0
    reason = redact(str(error.get("message", ""))) or "no reason given"
    data = revert_data(error.get("data"))
    lower = reason.lower()
    if code == 3 or (method in ("eth_call", "eth_estimateGas") and any(words in lower for words in REVERTED_WORDS)):
        return CallReverted(f"A call reverted: {explain_revert(data)}.", data)
    if (code == RESOURCE_NOT_FOUND and method != SEND) or any(words in lower for words in BLOCK_GONE_WORDS):
        return BlockGone(f"{label} does not have the block asked for ({method}: {reason}).", code, reason, data)
    return NodeRefused(f"{label} refused {method}: {reason} (code {code}).", code, reason, data)

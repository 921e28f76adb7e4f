"""What a node means when it does not take a transaction.

There is no standard for it: codes are all alike and every client has its own words. What is not recognised counts as
unknown, and then the transaction counts as one that may land.
"""

from enum import Enum


class SendError(Enum):
    ALREADY_KNOWN = "already known"
    """It was sent before: as good as accepted."""
    NONCE_TOO_LOW = "nonce too low"
    """The nonce is used: by this transaction, by another of ours, or by somebody else with the key."""
    NONCE_TOO_HIGH = "nonce too high"
    """The node has no transaction with a nonce before it and keeps none that has to wait."""
    UNDERPRICED = "underpriced"
    """Another transaction with this nonce is in the pool and pays more, or the pool wants more than was offered."""
    FEE_BELOW_BASE = "fee below the base fee"
    INSUFFICIENT_FUNDS = "insufficient funds"
    FEE_ABOVE_CAP = "fee above the node's cap"
    """Gas times the fee offered is more than this node passes on (geth: `--rpc.txfeecap`, 1 ether unless set)."""
    POOL_FULL = "pool full"
    """Later it may take it."""
    INVALID = "invalid"
    """No node will ever take it."""
    UNKNOWN = "unknown"


_WORDS: tuple[tuple[SendError, tuple[str, ...]], ...] = (
    (
        SendError.ALREADY_KNOWN,
        # geth, erigon / anvil / nethermind, besu / openethereum / reth
        ("already known", "already imported", "alreadyknown", "known transaction", "already exists", "in the pool"),
    ),
    (
        SendError.NONCE_TOO_LOW,
        ("nonce too low", "nonce is too low", "oldnonce", "nonce_too_low", "nonce already used", "invalid nonce"),
    ),
    (
        SendError.FEE_BELOW_BASE,
        (
            "less than block base fee",
            "fee cap less than",
            "below the base fee",
            "lower than the current base fee",
            "maxfeepergas less than",
            "feecaptoolow",
            "gas price below current base fee",
        ),
    ),
    (
        SendError.UNDERPRICED,
        (
            "underpriced",
            "feetoolow",
            "fee too low",
            "gas price too low",
            "replacement not allowed",
            "replacementnotallowed",
            "too low to compete",
            "would not be mined",
        ),
    ),
    (
        SendError.INSUFFICIENT_FUNDS,
        ("insufficient funds", "insufficientfunds", "insufficient balance", "upfront cost exceeds", "exceeds balance"),
    ),
    # geth, erigon: "tx fee (1.05 ether) exceeds the configured cap (1.00 ether)"
    (SendError.FEE_ABOVE_CAP, ("exceeds the configured cap",)),
    (SendError.POOL_FULL, ("pool is full", "pool full", "txpool full", "mempool is full", "too many transactions")),
    (
        SendError.INVALID,
        (
            "chain id",
            "chainid",
            "intrinsic gas",
            "exceeds block gas limit",
            "gas limit too high",
            "gas limit is too high",
            "exceeds maximum",
            "exceeds the cap",
            "higher than max fee",
            "invalid sender",
            "invalid signature",
            "oversized",
            "rlp",
        ),
    ),
)


def classify_send_error(reason: str) -> SendError:
    """By a node's words, whichever comes first in the order of the table."""
    lower = reason.lower()
    return next((error for error, words in _WORDS if any(word in lower for word in words)), SendError.UNKNOWN)

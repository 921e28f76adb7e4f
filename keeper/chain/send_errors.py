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
    """The node has no transaction with a nonce before it, and keeps none that has to wait."""
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


_WORDS: tuple[tuple[str, SendError], ...] = (
    # Before what they contain.
    ("insufficient funds for gas", SendError.INSUFFICIENT_FUNDS),  # geth core/error.go; anvil; reth; nethermind
    ("intrinsic gas too low", SendError.INVALID),  # geth core/error.go; anvil; reth RpcInvalidTransactionError
    ("intrinsic gas too high", SendError.INVALID),  # anvil eth/error.go; reth
    ("higher than max fee", SendError.INVALID),  # geth ErrTipAboveFeeCap; anvil; reth
    ("max priority fee per gas exceeds max fee", SendError.INVALID),  # besu RpcErrorType
    # Known already
    ("already known", SendError.ALREADY_KNOWN),  # geth txpool/errors.go; erigon; reth; nethermind from 1.32
    ("alreadyknown", SendError.ALREADY_KNOWN),  # nethermind AcceptTxResult to 1.31
    ("already imported", SendError.ALREADY_KNOWN),  # anvil PoolError; openethereum
    ("known transaction", SendError.ALREADY_KNOWN),  # besu; geth to 1.9
    ("existing txn with same hash", SendError.ALREADY_KNOWN),  # erigon DiscardReason DuplicateHash
    ("existing tx with same hash", SendError.ALREADY_KNOWN),  # erigon 2, and so Ankr
    ("already_exists", SendError.ALREADY_KNOWN),  # erigon over gRPC, and so Ankr and Alchemy on some chains
    ("already exists", SendError.ALREADY_KNOWN),
    ("already in mempool", SendError.ALREADY_KNOWN),
    ("already in the pool", SendError.ALREADY_KNOWN),
    # Nonces
    ("nonce too low", SendError.NONCE_TOO_LOW),  # geth; erigon; reth; besu; anvil; nethermind; Infura, QuickNode
    ("nonce is too low", SendError.NONCE_TOO_LOW),  # openethereum
    ("oldnonce", SendError.NONCE_TOO_LOW),  # nethermind to 1.31
    ("nonce_too_low", SendError.NONCE_TOO_LOW),
    ("nonce already used", SendError.NONCE_TOO_LOW),
    ("invalid transaction nonce", SendError.NONCE_TOO_LOW),  # arbitrum classic
    ("nonce too high", SendError.NONCE_TOO_HIGH),  # geth; besu; anvil; arbitrum nitro; nethermind from 1.32
    ("noncegap", SendError.NONCE_TOO_HIGH),  # nethermind to 1.31
    ("nonce is too distant", SendError.NONCE_TOO_HIGH),  # besu NONCE_TOO_FAR_IN_FUTURE_FOR_SENDER
    ("nonce too far in future", SendError.NONCE_TOO_HIGH),  # nethermind NonceTooFarInFuture
    ("gapped-nonce", SendError.NONCE_TOO_HIGH),  # geth ErrOutOfOrderTxFromDelegated, and so Alchemy
    ("lower nonce exists", SendError.NONCE_TOO_HIGH),  # besu LOWER_NONCE_INVALID_TRANSACTION_EXISTS
    ("future transaction tries to replace pending", SendError.NONCE_TOO_HIGH),  # geth ErrFutureReplacePending
    # The base fee
    ("less than block base fee", SendError.FEE_BELOW_BASE),  # geth ErrFeeCapTooLow; anvil; reth; erigon
    ("below chain minimum", SendError.FEE_BELOW_BASE),  # reth pool ProtocolFeeCapTooLow
    ("below current base fee", SendError.FEE_BELOW_BASE),  # besu
    ("below the base fee", SendError.FEE_BELOW_BASE),
    ("lower than the current base fee", SendError.FEE_BELOW_BASE),
    ("feecaptoolow", SendError.FEE_BELOW_BASE),
    ("maxfeepergas too low", SendError.FEE_BELOW_BASE),  # nethermind FeeTooLow, detail
    # Fees of others, and of the pool
    ("underpriced", SendError.UNDERPRICED),  # geth; erigon; reth; besu; nethermind from 1.32
    ("gas price to replace", SendError.UNDERPRICED),  # anvil PoolError; reth pool
    ("could not replace existing tx", SendError.UNDERPRICED),  # erigon NotReplaced, and so Ankr
    ("replacementnotallowed", SendError.UNDERPRICED),  # nethermind to 1.31
    ("replacement not allowed", SendError.UNDERPRICED),
    ("feetoolow", SendError.UNDERPRICED),  # nethermind to 1.31, FeeTooLowToCompete as well
    ("fee too low", SendError.UNDERPRICED),  # erigon FeeTooLow; optimism
    ("gas price too low", SendError.UNDERPRICED),  # arbitrum
    ("below configured minimum gas price", SendError.UNDERPRICED),  # besu
    ("gas price below minimum", SendError.UNDERPRICED),  # geth ErrTxGasPriceTooLow; bor, BNB chain
    ("below minimum required priority fee", SendError.UNDERPRICED),  # reth PriorityFeeBelowMinimum
    ("less than gas price minimum", SendError.UNDERPRICED),
    ("too low to compete", SendError.UNDERPRICED),
    ("would not be mined", SendError.UNDERPRICED),
    # The balance
    ("insufficient funds", SendError.INSUFFICIENT_FUNDS),  # erigon; geth for transfers; optimism with the data fee
    ("insufficientfunds", SendError.INSUFFICIENT_FUNDS),  # nethermind to 1.31
    ("insufficient balance", SendError.INSUFFICIENT_FUNDS),
    ("upfront cost exceeds", SendError.INSUFFICIENT_FUNDS),  # besu
    ("not enough funds", SendError.INSUFFICIENT_FUNDS),  # arbitrum classic
    ("overdraws from account", SendError.INSUFFICIENT_FUNDS),  # reth pool Overdraft
    ("would cause overdraft", SendError.INSUFFICIENT_FUNDS),  # geth, sum over the pool
    ("exceeds balance", SendError.INSUFFICIENT_FUNDS),
    # A cap of the node's own
    ("exceeds the configured cap", SendError.FEE_ABOVE_CAP),  # geth, erigon, reth internal/ethapi
    ("fee cap exceeded", SendError.FEE_ABOVE_CAP),  # besu TX_FEECAP_EXCEEDED
    # Not now
    ("pool is full", SendError.POOL_FULL),  # geth ErrTxPoolOverflow; erigon's three sub-pools
    ("pool full", SendError.POOL_FULL),  # arbitrum sequencer
    ("queue full", SendError.POOL_FULL),  # arbitrum sequencer
    ("pool overflow", SendError.POOL_FULL),
    ("pool size constraints", SendError.POOL_FULL),  # reth pool DiscardedOnInsert
    ("spammer", SendError.POOL_FULL),  # erigon; reth pool SpammerExceededCapacity: too many of one sender wait
    ("in-flight transaction limit", SendError.POOL_FULL),  # geth ErrInflightTxLimitReached, and so Alchemy
    ("already reserved", SendError.POOL_FULL),  # geth ErrAlreadyReserved: a blob of the same key waits
    ("conflicts with existing transaction", SendError.POOL_FULL),  # reth pool, the same
    ("initial sync is still in progress", SendError.POOL_FULL),  # besu CHAIN_HEAD_WORLD_STATE_NOT_AVAILABLE
    ("too many transactions", SendError.POOL_FULL),  # openethereum
    ("account limit exceeded", SendError.POOL_FULL),  # geth ErrAccountLimitExceeded
    ("pool not enabled", SendError.POOL_FULL),  # besu, not in sync
    ("syncing", SendError.POOL_FULL),  # nethermind Syncing
    # Never
    ("chain id", SendError.INVALID),  # geth, anvil, reth
    ("chainid", SendError.INVALID),  # besu
    ("intrinsic gas", SendError.INVALID),  # besu
    ("intrinsicgas", SendError.INVALID),  # erigon
    ("block gas limit", SendError.INVALID),  # geth ErrGasLimit; besu; anvil TxGasLimitGreaterThanCap
    ("block's gas limit", SendError.INVALID),  # reth pool ExceedsGasLimit
    ("gas limit cap exceeded", SendError.INVALID),  # besu EXCEEDS_TRANSACTION_GAS_LIMIT
    ("greater than the allowed max", SendError.INVALID),  # Linea's sequencer, gas limit and calldata
    ("gas limit too high", SendError.INVALID),  # geth ErrGasLimitTooHigh, EIP-7825; reth
    ("gas limit is too high", SendError.INVALID),  # erigon
    ("gas limit reached", SendError.INVALID),  # nethermind from 1.32
    ("gaslimitexceeded", SendError.INVALID),  # nethermind to 1.31
    ("exceeds maximum", SendError.INVALID),
    ("exceeds the cap", SendError.INVALID),
    ("invalid sender", SendError.INVALID),  # geth; erigon
    ("failed to recover sender", SendError.INVALID),  # nethermind
    ("invalid signature", SendError.INVALID),  # besu
    ("not an eoa", SendError.INVALID),  # geth, anvil, reth: somebody put code at the hot key's address
    ("not authorized", SendError.INVALID),  # besu TX_SENDER_NOT_AUTHORIZED
    ("input data too large", SendError.INVALID),  # reth pool OversizedData
    ("maxtxsizeexceeded", SendError.INVALID),  # nethermind to 1.31
    ("cost overflow", SendError.INVALID),  # nethermind Int256Overflow
    ("transaction invalid", SendError.INVALID),  # nethermind Invalid
    ("oversized", SendError.INVALID),  # geth; erigon
    ("rlp", SendError.INVALID),  # all, for bytes that are no transaction
)
"""Words in lower case and what they mean, the first that occurs counts; behind each where they come from."""


def classify_send_error(reason: str) -> SendError:
    """By a node's words."""
    lower = reason.lower()
    return next((error for words, error in _WORDS if words in lower), SendError.UNKNOWN)

"""Words of real nodes."""

import pytest

from keeper.chain.send_errors import SendError, classify_send_error


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ("already known", SendError.ALREADY_KNOWN),  # geth, reth
        ("gapped-nonce tx from delegated accounts", SendError.NONCE_TOO_HIGH),  # geth, Alchemy
        ("in-flight transaction limit reached for delegated accounts", SendError.POOL_FULL),  # geth, Alchemy
        ("address already reserved", SendError.POOL_FULL),  # geth
        ("transaction gas price below minimum: gas tip cap 1, minimum needed 25", SendError.UNDERPRICED),  # geth, bor
        ("transaction overdraws from account", SendError.INSUFFICIENT_FUNDS),  # reth's pool
        ("[0xab]: transaction discarded outright due to pool size constraints", SendError.POOL_FULL),  # reth's pool
        ("[0xab]: rejected due to 0xcd being identified as a spammer", SendError.POOL_FULL),  # reth's pool
        ("[0xab]: transaction type 2 conflicts with existing transaction for 0xcd", SendError.POOL_FULL),  # reth's pool
        ("transaction's gas limit 31 exceeds block's gas limit 30", SendError.INVALID),  # reth's pool
        ("input data too large", SendError.INVALID),  # reth's pool
        ("Transaction gas limit cap exceeded", SendError.INVALID),  # besu, with -32005
        ("Initial sync is still in progress", SendError.POOL_FULL),  # besu
        ("Gas limit of transaction is greater than the allowed max of 24000000", SendError.INVALID),  # Linea
        ("MaxTxSizeExceeded", SendError.INVALID),  # nethermind to 1.31
        ("transaction cost overflow", SendError.INVALID),  # nethermind
        ("AlreadyKnown", SendError.ALREADY_KNOWN),  # nethermind
        ("transaction already imported", SendError.ALREADY_KNOWN),  # anvil
        ("Known transaction", SendError.ALREADY_KNOWN),  # besu
        ("nonce too low: next nonce 5, tx nonce 4", SendError.NONCE_TOO_LOW),  # geth
        ("nonce too low", SendError.NONCE_TOO_LOW),  # anvil, erigon
        ("OldNonce", SendError.NONCE_TOO_LOW),  # nethermind
        ("Nonce too low", SendError.NONCE_TOO_LOW),  # besu
        ("replacement transaction underpriced", SendError.UNDERPRICED),  # geth, anvil, reth
        ("transaction underpriced: tip needed 1, tip permitted 0", SendError.UNDERPRICED),  # geth
        ("could not replace existing tx: replacement transaction underpriced", SendError.UNDERPRICED),  # erigon
        ("ReplacementNotAllowed", SendError.UNDERPRICED),  # nethermind
        ("FeeTooLowToCompete", SendError.UNDERPRICED),  # nethermind
        ("max fee per gas less than block base fee", SendError.FEE_BELOW_BASE),  # geth, anvil
        ("fee cap less than block base fee", SendError.FEE_BELOW_BASE),  # erigon
        ("insufficient funds for gas * price + value: balance 0, tx cost 1", SendError.INSUFFICIENT_FUNDS),  # geth
        ("Insufficient funds for gas * price + value", SendError.INSUFFICIENT_FUNDS),  # anvil
        ("Upfront cost exceeds account balance", SendError.INSUFFICIENT_FUNDS),  # besu
        ("tx fee (1.05 ether) exceeds the configured cap (1.00 ether)", SendError.FEE_ABOVE_CAP),  # geth
        ("txpool is full", SendError.POOL_FULL),  # geth
        ("invalid chain id for signer: have 1 want 10", SendError.INVALID),  # geth
        ("invalid chain id for signer", SendError.INVALID),  # anvil
        ("intrinsic gas too low: gas 1, minimum needed 21000", SendError.INVALID),  # geth
        ("intrinsic gas too high -- tx.gas_limit > env.block.gas_limit", SendError.INVALID),  # anvil
        ("exceeds block gas limit", SendError.INVALID),  # geth
        ("transaction gas limit too high (cap: 16777216, tx: 20000000)", SendError.INVALID),  # geth, EIP-7825
        ("max priority fee per gas higher than max fee per gas", SendError.INVALID),  # geth, anvil
        ("ALREADY_EXISTS: already known", SendError.ALREADY_KNOWN),  # erigon over gRPC, Ankr
        ("INTERNAL_ERROR: existing tx with same hash", SendError.ALREADY_KNOWN),  # erigon over gRPC, Ankr
        ("existing txn with same hash", SendError.ALREADY_KNOWN),  # erigon 3
        ("Tx: [0xab] already Imported", SendError.ALREADY_KNOWN),  # anvil's pool
        ("OldNonce, Current nonce: 12, nonce of rejected tx: 11", SendError.NONCE_TOO_LOW),  # nethermind to 1.31
        ("INTERNAL_ERROR: nonce too low", SendError.NONCE_TOO_LOW),  # erigon over gRPC
        ("nonce too high", SendError.NONCE_TOO_HIGH),  # geth, nitro, nethermind from 1.32
        ("Nonce too high", SendError.NONCE_TOO_HIGH),  # besu, anvil
        ("NonceGap, Future nonce. Expected nonce: 7", SendError.NONCE_TOO_HIGH),  # nethermind to 1.31
        ("Transaction nonce is too distant from current sender nonce", SendError.NONCE_TOO_HIGH),  # besu
        ("An invalid transaction with a lower nonce exists", SendError.NONCE_TOO_HIGH),  # besu
        ("future transaction tries to replace pending", SendError.NONCE_TOO_HIGH),  # geth
        ("Tx: [0xab] insufficient gas price to replace existing transaction", SendError.UNDERPRICED),  # anvil's pool
        ("INTERNAL_ERROR: could not replace existing tx", SendError.UNDERPRICED),  # erigon over gRPC, Ankr
        ("Replacement transaction underpriced", SendError.UNDERPRICED),  # besu
        ("Gas price below configured minimum gas price", SendError.UNDERPRICED),  # besu
        ("transaction priority fee below minimum required priority fee 5", SendError.UNDERPRICED),  # reth
        ("FeeTooLow, EffectivePriorityFeePerGas too low 1 < 2, BaseFee: 3", SendError.UNDERPRICED),  # nethermind
        ("Gas price below current base fee", SendError.FEE_BELOW_BASE),  # besu
        ("[0xab]: Transaction feeCap 7 below chain minimum.", SendError.FEE_BELOW_BASE),  # reth's pool
        ("max fee per gas less than block base fee: address 0x1, maxFeePerGas: 1", SendError.FEE_BELOW_BASE),  # nitro
        ("InsufficientFunds, Account balance: 1, cumulative cost: 2", SendError.INSUFFICIENT_FUNDS),  # nethermind
        ("transaction would cause overdraft", SendError.INSUFFICIENT_FUNDS),  # geth
        ("insufficient funds for gas * price + value: have 1 want 2", SendError.INSUFFICIENT_FUNDS),  # reth
        ("Transaction fee cap exceeded", SendError.FEE_ABOVE_CAP),  # besu
        ("pending sub-pool is full", SendError.POOL_FULL),  # erigon
        ("sequencer pending tx pool full, please try again", SendError.POOL_FULL),  # nitro
        ("account limit exceeded: pooled 4 txs", SendError.POOL_FULL),  # geth
        ("Transaction gas limit exceeds block gas limit", SendError.INVALID),  # besu
        ("gas limit too high", SendError.INVALID),  # reth
        ("gas limit is too high", SendError.INVALID),  # erigon
        ("GasLimitExceeded, Gas limit: 1, gas limit of rejected tx: 2", SendError.INVALID),  # nethermind to 1.31
        ("Wrong chainId", SendError.INVALID),  # besu
        ("Max priority fee per gas exceeds max fee per gas", SendError.INVALID),  # besu
        ("sender not an eoa", SendError.INVALID),  # geth
        ("something that nobody has seen before", SendError.UNKNOWN),
        ("", SendError.UNKNOWN),
    ],
)
def test_a_node_s_words_are_understood(words: str, meaning: SendError) -> None:
    assert classify_send_error(words) is meaning

"""Words of real nodes."""

import pytest

from keeper.chain.send_errors import SendError, classify_send_error


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ("already known", SendError.ALREADY_KNOWN),  # geth, reth
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
        ("something that nobody has seen before", SendError.UNKNOWN),
        ("", SendError.UNKNOWN),
    ],
)
def test_a_node_s_words_are_understood(words: str, meaning: SendError) -> None:
    assert classify_send_error(words) is meaning

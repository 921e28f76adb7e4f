"""What a rollup charges for the bytes of a transaction."""

from dataclasses import dataclass

ENVELOPE_BYTES = 120
"""What an EIP-1559 transaction has around its calldata: fees, nonce, address, signature."""


@dataclass(frozen=True, slots=True)
class DataFee:
    """What a rollup charges for a transaction's bytes on the chain below it; nothing on a chain that is no rollup."""

    wei_per_kilobyte: int = 0
    """Paid beside the gas (OP stack)."""
    gas_per_kilobyte: int = 0
    """Paid as gas of the transaction itself, which its limit has to hold (Arbitrum)."""

    def wei(self, size: int) -> int:
        """For a signed transaction of `size` bytes."""
        return -(-self.wei_per_kilobyte * size // 1_000)

    def gas(self, size: int) -> int:
        return -(-self.gas_per_kilobyte * size // 1_000)


NO_DATA_FEE = DataFee()

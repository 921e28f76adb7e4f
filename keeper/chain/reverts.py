"""What revert data says: one classifier for every call, so that no caller guesses from a node's wording.

Nodes differ in their messages and agree on the data.
"""

from dataclasses import dataclass

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

ERROR_STRING = bytes.fromhex("08c379a0")
"""`Error(string)`: require and revert with a message."""
PANIC = bytes.fromhex("4e487b71")
"""`Panic(uint256)`: assert, overflow and their like."""

PANICS = {
    0x01: "an assertion failed",
    0x11: "arithmetic overflowed",
    0x12: "division by zero",
    0x21: "an enum value does not exist",
    0x22: "storage is corrupt",
    0x31: "pop from an empty array",
    0x32: "an array index is out of bounds",
    0x41: "too much memory was needed",
    0x51: "an uninitialised function was called",
}
"""Solidity documentation, "Panic via assert and error via require"; other codes exist and are shown as numbers."""


@dataclass(frozen=True, slots=True)
class Revert:
    """Revert data by its kind; `selector` is that of a custom error, for whoever knows its contract's interface."""

    data: bytes
    message: str | None
    """Of `Error(string)`."""
    panic: int | None
    """Of `Panic(uint256)`."""

    @property
    def selector(self) -> bytes | None:
        return self.data[:4] if len(self.data) >= 4 and self.message is None and self.panic is None else None

    def __str__(self) -> str:
        if self.message is not None:
            return self.message or "reverted with an empty message"
        if self.panic is not None:
            return PANICS.get(self.panic, f"panic 0x{self.panic:02x}")
        if self.selector is not None:
            return f"custom error 0x{self.selector.hex()}"
        return "reverted without a reason" if not self.data else f"reverted with 0x{self.data.hex()}"


def classify_revert(data: bytes) -> Revert:
    """Never raises: data that pretends to be a known kind and is not counts as a custom error."""
    selector, body = data[:4], data[4:]
    if selector == PANIC and len(body) == 32:
        return Revert(data, None, int.from_bytes(body))
    if selector == ERROR_STRING:
        try:
            (message,) = decode(["string"], body)
        except (DecodingError, OverflowError, UnicodeDecodeError):
            return Revert(data, None, None)
        return Revert(data, str(message), None)
    return Revert(data, None, None)

"""Integer arithmetic with the rounding in the name.

Every number that decides about safety or a size is an integer; a value is WAD (18 decimals) in a stated unit of
account, an amount is in a token's raw units.
"""

from typing import NewType

Address = NewType("Address", str)
"""A 20-byte address as 0x and 40 lower-case hex digits; checksummed only where a person reads it."""

Wad = int
"""A number with 18 decimals."""

WAD = 10**18
BPS = 10_000
INFINITE_HEALTH = 2**128 - 1
"""The health of a subaccount without debt; the guard uses the same number (`type(uint128).max`)."""

YEAR_SECONDS = 365 * 24 * 3600


def mul_div_down(a: int, b: int, divisor: int) -> int:
    """floor(a * b / divisor) for non-negative arguments."""
    return a * b // divisor


def mul_div_up(a: int, b: int, divisor: int) -> int:
    """ceil(a * b / divisor) for non-negative arguments."""
    return -(-(a * b) // divisor)

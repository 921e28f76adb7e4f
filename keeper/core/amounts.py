"""Amounts for people, the same everywhere: six significant digits, at most six decimals, thousands separated."""

from keeper.core.snapshot import Token

SIGNIFICANT = 6
DECIMALS_MAX = 6
"""A millionth of any token that people borrow against is less than what moving it costs."""


def amount_text(amount_raw: int, token: Token, *, is_rounded_up: bool = False) -> str:
    """`1.24 WETH`; rounded up where doing what it says has to be enough."""
    return f"{figure(amount_raw, token.decimals, is_rounded_up=is_rounded_up)} {token.symbol}"


def exact_text(amount_raw: int, token: Token) -> str:
    """All digits, for what somebody signs."""
    return f"{_decimal(amount_raw, token.decimals)} {token.symbol}"


def figure(amount_raw: int, decimals: int, *, is_rounded_up: bool = False) -> str:
    """The number alone; whole digits always stand."""
    dropped = min(max(len(str(amount_raw)) - SIGNIFICANT, decimals - DECIMALS_MAX, 0), decimals)
    unit = 10**dropped
    rounded = (amount_raw + (unit - 1 if is_rounded_up else unit // 2)) // unit * unit
    if amount_raw > 0 and rounded == 0:
        return f"less than {_decimal(unit, decimals)}"
    return _decimal(rounded, decimals)


def _decimal(amount_raw: int, decimals: int) -> str:
    whole, part = divmod(amount_raw, 10**decimals)
    return f"{whole:,}.{part:0{decimals}}".rstrip("0") if part else f"{whole:,}"

"""What one subaccount could give or lacks at this block, looked at alone: for people; a plan asks its own book."""

from keeper.core.sizing import largest, smallest
from keeper.core.snapshot import Subaccount, Unknown
from keeper.core.units import WAD, Address, Wad

TIMES_HELD_MAX = 1_000
"""What would take more than so many times what is there is not worth a number."""


def spare_raw(subaccount: Subaccount, token: Address, keep: Wad, *, is_let_out: bool = True) -> int:
    """The largest amount of a token, raw units, that may leave while health stays at `keep` or above and the protocol
    lets it leave; 0 when it cannot give at all or is not known.

    Without `is_let_out` the protocol's own check on what leaves, which may be stricter than its line, is not asked.
    """
    line = subaccount.line(token)
    if line is None or subaccount.cannot_give is not None or isinstance(subaccount.reading, Unknown):
        return 0
    available = min(line.movable_raw_max, line.amount_raw)
    if not subaccount.has_debt:
        return available

    def slacks(amount: int) -> list[int]:
        risk = subaccount.margin.risk({token: -amount})
        left = [risk.collateral_value * WAD - risk.debt_value * keep]
        return [*left, risk.initial_collateral_value - risk.initial_debt_value] if is_let_out else left

    return largest(slacks, available)


def shortage_raw(subaccount: Subaccount, token: Address, target: Wad) -> int | None:
    """The smallest amount of a token, raw units, that brings its health to `target`; None when that token cannot, or
    nothing is known. 0 at the target or above."""
    line = subaccount.line(token)
    if line is None or not line.amount_raw or isinstance(subaccount.reading, Unknown):
        return None

    def slack(amount: int) -> int:
        risk = subaccount.margin.risk({token: amount})
        return risk.collateral_value * WAD - risk.debt_value * target

    return smallest(slack, line.amount_raw, TIMES_HELD_MAX * line.amount_raw)

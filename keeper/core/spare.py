"""What one subaccount could give at this block, looked at alone: for people; a plan asks its own book."""

from keeper.core.sizing import largest
from keeper.core.snapshot import Subaccount, Unknown
from keeper.core.units import WAD, Address, Wad


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

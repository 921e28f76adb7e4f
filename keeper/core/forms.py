"""A token is held in forms: in the wallet, in Morpho, as an aToken, as a vault's share.

Between two accounts that hold it in one form it is passed on as it is; to any other it has to be withdrawn and
supplied, for which its protocol may have less liquidity, or less room under a cap.
"""

from collections.abc import Sequence
from dataclasses import replace

from keeper.core.snapshot import CollateralLine, Subaccount
from keeper.core.units import Address


def across_protocols(subaccounts: Sequence[Subaccount]) -> list[Subaccount]:
    """The same, each line with what may leave its protocol or arrive from outside, unless it never has to.

    A token that all hold in one form, and nobody owes, is only ever passed on. Any other is taken to be withdrawn and
    supplied, which is right or too careful.
    """
    forms: dict[Address, set[Address | None]] = {}
    for subaccount in subaccounts:
        for line in subaccount.collateral:
            forms.setdefault(line.token.address, set()).add(line.form)
        for debt in subaccount.debts:
            forms.setdefault(debt.token.address, set()).add(None)
    return [
        replace(
            subaccount,
            collateral=tuple(
                line if forms[line.token.address] == {line.form} else _from_outside(line)
                for line in subaccount.collateral
            ),
        )
        if any(line.withdrawable_raw_max is not None for line in subaccount.collateral)
        or any(line.suppliable_raw_max is not None for line in subaccount.collateral)
        else subaccount
        for subaccount in subaccounts
    ]


def _from_outside(line: CollateralLine) -> CollateralLine:
    leaving, arriving = line.withdrawable_raw_max, line.suppliable_raw_max
    return replace(
        line,
        movable_raw_max=line.movable_raw_max if leaving is None else min(line.movable_raw_max, leaving),
        receivable_raw_max=line.receivable_raw_max if arriving is None else min(line.receivable_raw_max, arriving),
    )

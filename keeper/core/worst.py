"""What to go by when endpoints contradict each other: of each account the worst that any of them says."""

from collections.abc import Sequence
from dataclasses import replace

from keeper.core.snapshot import Snapshot, Subaccount, Unknown
from keeper.core.units import Wad


def worst_of(snapshots: Sequence[Snapshot]) -> Snapshot:
    """Of the same portfolio at the same block, at least one. What is not about an account is as the first says it.

    An account that one of them cannot read is unknown. Else the lowest health counts, and of those that owe nothing
    the one with the least to give.
    """
    first = snapshots[0]
    if len(snapshots) == 1:
        return first
    versions = zip(*(snapshot.subaccounts for snapshot in snapshots), strict=True)
    balances = [snapshot.keeper_balance_wei for snapshot in snapshots if snapshot.keeper_balance_wei is not None]
    return replace(
        first,
        subaccounts=tuple(min(each, key=_soundness) for each in versions),
        keeper_balance_wei=min(balances, default=None),
    )


def _soundness(subaccount: Subaccount) -> tuple[bool, Wad, int]:
    if isinstance(subaccount.reading, Unknown):
        return False, 0, 0
    movable_raw = sum(line.movable_raw_max for line in subaccount.collateral)
    return True, subaccount.margin.risk().health_factor, movable_raw

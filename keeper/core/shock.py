"""A snapshot as it would be after prices moved: what `plan --shock` plans for.

Only the margins change; a shocked snapshot is for looking at, its amounts and its guard are those of the block.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from keeper.core.risk import Risk
from keeper.core.snapshot import NOTHING, NOW, CollateralLine, Horizon, Margin, Snapshot, Subaccount
from keeper.core.units import BPS, Address


@dataclass(frozen=True, slots=True)
class ShockedMargin:
    """A margin whose collateral prices fell by `base_falls_bps` already (negative: rose)."""

    margin: Margin
    base_falls_bps: Mapping[Address, int]

    def risk(
        self,
        deltas: Mapping[Address, int] = NOTHING,
        horizon: Horizon = NOW,
        falls_bps: Mapping[Address, int] = NOTHING,
    ) -> Risk:
        tokens = self.base_falls_bps.keys() | falls_bps.keys()
        falls = {
            token: BPS - (BPS - self.base_falls_bps.get(token, 0)) * (BPS - falls_bps.get(token, 0)) // BPS
            for token in tokens
        }
        return self.margin.risk(deltas, horizon, falls)


def after_shock(snapshot: Snapshot, changes_bps: Mapping[str, int]) -> Snapshot:
    """The snapshot after tokens changed in price, by symbol, in basis points (-1200: fell by 12 %).

    A collateral that falls and a debt that falls weigh against each other; rounded towards less health.
    """
    return replace(
        snapshot,
        subaccounts=tuple(_shocked(subaccount, changes_bps) for subaccount in snapshot.subaccounts),
        usd_per_unit={
            token: price * (BPS + _change_of(snapshot, token, changes_bps)) // BPS
            for token, price in snapshot.usd_per_unit.items()
        },
    )


def _shocked(subaccount: Subaccount, changes_bps: Mapping[str, int]) -> Subaccount:
    unit_change = changes_bps.get(subaccount.unit.symbol, 0) if subaccount.unit else 0
    falls = {
        line.token.address: BPS - (BPS + changes_bps.get(line.token.symbol, 0)) * BPS // (BPS + unit_change)
        for line in subaccount.collateral
    }
    if not any(falls.values()):
        return subaccount
    return replace(
        subaccount,
        margin=ShockedMargin(subaccount.margin, falls),
        collateral=tuple(_repriced(line, falls[line.token.address]) for line in subaccount.collateral),
    )


def _repriced(line: CollateralLine, fall_bps: int) -> CollateralLine:
    return replace(line, price=line.price * (BPS - fall_bps) // BPS)


def _change_of(snapshot: Snapshot, token: Address, changes_bps: Mapping[str, int]) -> int:
    for subaccount in snapshot.subaccounts:
        for known in (*(line.token for line in subaccount.collateral), subaccount.unit):
            if known is not None and known.address == token:
                return changes_bps.get(known.symbol, 0)
    return 0

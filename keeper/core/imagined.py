"""A snapshot as it would be after prices moved or collateral did: what people ask for who want to know what if.

Only the margins, the amounts and the guard's caps change; everything else is that of the block.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from keeper.core.plan import Transfer
from keeper.core.risk import Risk
from keeper.core.snapshot import (
    NOTHING,
    NOW,
    CollateralLine,
    Horizon,
    Margin,
    SecondPrice,
    Snapshot,
    Subaccount,
    SubaccountId,
)
from keeper.core.units import BPS, Address, mul_div_up


@dataclass(frozen=True, slots=True)
class ImaginedMargin:
    """A margin in which something happened already."""

    margin: Margin
    falls_bps: Mapping[Address, int]
    """How far prices fell in the unit of account (negative: rose)."""
    moved_raw: Mapping[Address, int]
    """What of its collateral came in (negative: left)."""
    repaid_raw: Mapping[Address, int] = field(default_factory=dict[Address, int])
    """What of its debt was repaid."""

    def risk(
        self,
        deltas: Mapping[Address, int] = NOTHING,
        horizon: Horizon = NOW,
        falls_bps: Mapping[Address, int] = NOTHING,
        repaid: Mapping[Address, int] = NOTHING,
    ) -> Risk:
        falls = {
            token: BPS - (BPS - self.falls_bps.get(token, 0)) * (BPS - falls_bps.get(token, 0)) // BPS
            for token in self.falls_bps.keys() | falls_bps.keys()
        }
        return self.margin.risk(_sum(self.moved_raw, deltas), horizon, falls, _sum(self.repaid_raw, repaid))


def _sum(some: Mapping[Address, int], others: Mapping[Address, int]) -> dict[Address, int]:
    return {token: some.get(token, 0) + others.get(token, 0) for token in some.keys() | others.keys()}


# Prices ---------------------------------------------------------------------------------------------------------------


def after_shock(snapshot: Snapshot, changes_bps: Mapping[str, int]) -> Snapshot:
    """The snapshot after tokens changed in price, by symbol, in basis points (-1200: fell by 12 %).

    A collateral that falls and a debt that falls weigh against each other; rounded towards less health. The native coin
    moves with the token that it is wrapped into, and gas with it.
    """
    usd_per_native = snapshot.usd_per_native
    if usd_per_native is not None and snapshot.native_symbol is not None:
        usd_per_native = usd_per_native * (BPS + changes_bps.get(snapshot.native_symbol, 0)) // BPS
    return replace(
        snapshot,
        usd_per_native=usd_per_native,
        subaccounts=tuple(_shocked(subaccount, changes_bps) for subaccount in snapshot.subaccounts),
        usd_per_unit={
            token: price * (BPS + _change_of(snapshot, token, changes_bps)) // BPS
            for token, price in snapshot.usd_per_unit.items()
        },
        second_prices=tuple(_seen_by_others(one, snapshot, changes_bps) for one in snapshot.second_prices),
    )


def _seen_by_others(second: SecondPrice, snapshot: Snapshot, changes_bps: Mapping[str, int]) -> SecondPrice:
    """A move that is imagined is one that everybody sees."""
    if second.price is None:
        return second
    quoted = 0 if second.quote is None else _change_of(snapshot, second.quote, changes_bps)
    return replace(second, price=second.price * (BPS + changes_bps.get(second.token.symbol, 0)) // (BPS + quoted))


def _shocked(subaccount: Subaccount, changes_bps: Mapping[str, int]) -> Subaccount:
    unit_change = changes_bps.get(subaccount.unit.symbol, 0) if subaccount.unit else 0
    falls = {
        one.token.address: BPS - (BPS + changes_bps.get(one.token.symbol, 0)) * BPS // (BPS + unit_change)
        for one in (*subaccount.debts, *subaccount.collateral)
    }
    if not any(falls.values()):
        return subaccount
    return replace(
        subaccount,
        margin=ImaginedMargin(subaccount.margin, falls, NOTHING),
        collateral=tuple(
            replace(line, price=line.price * (BPS - falls[line.token.address]) // BPS) for line in subaccount.collateral
        ),
        debts=tuple(
            replace(debt, price=mul_div_up(debt.price, BPS - falls[debt.token.address], BPS))
            for debt in subaccount.debts
        ),
    )


def _change_of(snapshot: Snapshot, token: Address, changes_bps: Mapping[str, int]) -> int:
    for subaccount in snapshot.subaccounts:
        for known in (*(line.token for line in subaccount.collateral), subaccount.unit):
            if known is not None and known.address == token:
                return changes_bps.get(known.symbol, 0)
    return 0


# Transfers ------------------------------------------------------------------------------------------------------------

Moved = Mapping[tuple[SubaccountId, Address], int]
"""What came in (negative: left), raw units by subaccount and token."""


def moved_by(transfers: Iterable[Transfer]) -> Moved:
    """What transfers do to collateral, at both ends; a repayment arrives at none."""
    moved: dict[tuple[SubaccountId, Address], int] = {}
    for transfer in transfers:
        token, amount = transfer.token.address, transfer.amount_raw
        arrived = 0 if transfer.is_repayment else amount
        for id, change in ((transfer.donor, -amount), (transfer.recipient, arrived)):
            moved[id, token] = moved.get((id, token), 0) + change
    return moved


def repaid_by(transfers: Iterable[Transfer]) -> Moved:
    """What transfers repay."""
    repaid: dict[tuple[SubaccountId, Address], int] = {}
    for transfer in (transfer for transfer in transfers if transfer.is_repayment):
        at = transfer.recipient, transfer.token.address
        repaid[at] = repaid.get(at, 0) + transfer.amount_raw
    return repaid


def after_transfers(snapshot: Snapshot, transfers: Iterable[Transfer]) -> Snapshot:
    """The snapshot after these took effect in its block: amounts moved, the guard's caps used up by as much."""
    transfers = tuple(transfers)
    moved, repaid = moved_by(transfers), repaid_by(transfers)
    guard = snapshot.guard
    if guard is not None:
        left = dict(guard.remaining_cap_raw)
        for transfer in transfers:
            left[transfer.token.address] = left.get(transfer.token.address, 0) - transfer.amount_raw
        guard = replace(guard, remaining_cap_raw=left)
    after = tuple(_after(subaccount, moved, repaid) for subaccount in snapshot.subaccounts)
    return replace(snapshot, subaccounts=after, guard=guard)


def _after(subaccount: Subaccount, moved: Moved, repaid: Moved) -> Subaccount:
    changes = _of(subaccount, moved, (line.token.address for line in subaccount.collateral))
    repayments = _of(subaccount, repaid, (debt.token.address for debt in subaccount.debts))
    if not changes and not repayments:
        return subaccount
    return replace(
        subaccount,
        margin=ImaginedMargin(subaccount.margin, NOTHING, changes, repayments),
        collateral=tuple(_with(line, changes.get(line.token.address, 0)) for line in subaccount.collateral),
        debts=tuple(
            replace(debt, amount_raw=debt.amount_raw - repayments.get(debt.token.address, 0))
            for debt in subaccount.debts
        ),
    )


def _of(subaccount: Subaccount, amounts: Moved, tokens: Iterable[Address]) -> dict[Address, int]:
    found = {token: amounts.get((subaccount.id, token), 0) for token in tokens}
    return {token: amount for token, amount in found.items() if amount}


def _with(line: CollateralLine, change_raw: int) -> CollateralLine:
    # What arrived may leave again only as far as its protocol and permissions let it.
    return replace(
        line,
        amount_raw=line.amount_raw + change_raw,
        movable_raw_max=max(line.movable_raw_max + change_raw, 0),
        receivable_raw_max=line.receivable_raw_max - change_raw,
    )

"""After the storm: what would have to move for accounts to hold again what they held before rescues moved it.

A decision for the owner alone: the hot key can fill only who is in need. Nothing goes back but what came by a rescue
and is still there, nobody gets more than it had, no giver ends below its floor, and no account with debt gives while
what its collateral is worth is in doubt.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from keeper.core.imagined import Moved, after_transfers
from keeper.core.plan import Kind, Transfer
from keeper.core.policy import Policy
from keeper.core.sizing import largest
from keeper.core.snapshot import Snapshot, Stale, Subaccount, SubaccountId, Token, Unknown
from keeper.core.units import BPS, WAD, Address, Wad

ROUNDING_SHARE = 1_000
"""Less than a thousandth of what was moved is rounding and interest, and not worth a transaction."""

NO_DOUBTS: Mapping[SubaccountId, str] = {}

Place = tuple[SubaccountId, Address]
"""A subaccount and a token."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What rescues that took effect did to collateral; raw units by subaccount and token."""

    moved_raw: Moved = field(default_factory=dict[Place, int])
    """What came in, net (negative: left)."""
    before_raw: Mapping[Place, int] = field(default_factory=dict[Place, int])
    """What was there before the first rescue that touched it."""


@dataclass(frozen=True, slots=True)
class Return:
    giver: SubaccountId
    taker: SubaccountId
    token: Token
    amount_raw: int

    @property
    def transfer(self) -> Transfer:
        return Transfer(Kind.CROSS, self.giver, self.taker, self.token, self.amount_raw)


@dataclass(frozen=True, slots=True)
class Kept:
    """What would go back and cannot now."""

    giver: SubaccountId
    token: Token
    amount_raw: int
    reason: str


@dataclass(frozen=True, slots=True)
class Returning:
    returns: tuple[Return, ...]
    """In the order in which they are to be made; each giver's own ones one after the other."""
    kept: tuple[Kept, ...]


def plan_return(
    snapshot: Snapshot, policy: Policy, ledger: Ledger, doubts: Mapping[SubaccountId, str] = NO_DOUBTS
) -> Returning:
    """The fewest moves that restore as much as can be: the largest goes to whoever misses most.

    `doubts`: why what is read of an account is not to be relied on.
    """
    returns: list[Return] = []
    kept: list[Kept] = []
    for token in _tokens(snapshot, ledger):
        missing = _open(snapshot, ledger, token, sign=-1)
        for giver, extra in _open(snapshot, ledger, token, sign=1).items():
            wanted = min(extra, sum(missing.values()))
            subaccount = after_transfers(snapshot, [one.transfer for one in returns]).subaccount(giver)
            can, reason = _spare(subaccount, token, policy, wanted, doubts.get(giver))
            if wanted - can > _rounding(ledger, giver, token):
                kept.append(Kept(giver, token, wanted - can, reason))
            if can <= _rounding(ledger, giver, token):
                continue
            for taker in sorted(missing, key=lambda one: (-missing[one], str(one))):
                amount = min(can, missing[taker])
                if amount > 0:
                    returns.append(Return(giver, taker, token, amount))
                    can, missing[taker] = can - amount, missing[taker] - amount
    return Returning(tuple(returns), tuple(kept))


def _tokens(snapshot: Snapshot, ledger: Ledger) -> list[Token]:
    """Those that were moved, in the order of the snapshot; what no subaccount holds any more cannot be moved back."""
    moved = {token for (_, token), amount in ledger.moved_raw.items() if amount}
    lines = (line for each in snapshot.subaccounts for line in each.collateral)
    return list(dict.fromkeys(line.token for line in lines if line.token.address in moved))


def _open(snapshot: Snapshot, ledger: Ledger, token: Token, *, sign: int) -> dict[SubaccountId, int]:
    """What each still has too much (1) or too little (-1) of, largest first."""
    found: dict[SubaccountId, int] = {}
    for each in snapshot.subaccounts:
        place = each.id, token.address
        line = each.line(token.address)
        changed = (0 if line is None else line.amount_raw) - ledger.before_raw.get(place, 0)
        amount = min(sign * ledger.moved_raw.get(place, 0), sign * changed)
        if amount > _rounding(ledger, each.id, token):
            found[each.id] = amount
    return dict(sorted(found.items(), key=lambda item: (-item[1], str(item[0]))))


def _rounding(ledger: Ledger, id: SubaccountId, token: Token) -> int:
    return abs(ledger.moved_raw.get((id, token.address), 0)) // ROUNDING_SHARE


def _spare(subaccount: Subaccount, token: Token, policy: Policy, most: int, doubt: str | None) -> tuple[int, str]:
    """How much of `most` the owner may take out, and why not all. The guard's permissions are not asked: it is not the
    guard that moves it."""
    if not subaccount.has_debt:
        return most, ""
    doubt = subaccount.reading.reason if isinstance(subaccount.reading, Unknown | Stale) else doubt
    if doubt is not None:
        return 0, f"its health is not known well enough: {doubt}"
    floor = policy.subaccounts[subaccount.id].thresholds.floor
    can = largest(lambda amount: _slacks(subaccount, token, floor, amount), most)
    if can < most:
        # Interest runs until the owner has signed.
        can = can * (BPS - policy.amount_margin_bps) // BPS
    return can, "it would end below its floor"


def _slacks(subaccount: Subaccount, token: Token, floor: Wad, amount_raw: int) -> list[int]:
    risk = subaccount.margin.risk({token.address: -amount_raw})
    return [
        risk.collateral_value * WAD - risk.debt_value * floor,
        risk.initial_collateral_value - risk.initial_debt_value,
    ]

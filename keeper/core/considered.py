"""What else a rescue could have been made of, and why it was not: what `plan` tells beside its choice.

On the ways that were taken, who else could have given; of the other ways, what each would have taken.
"""

from dataclasses import dataclass

from keeper.core.book import Account, Book
from keeper.core.imagined import after_transfers
from keeper.core.plan import History, Plan, Rescue
from keeper.core.policy import DonorsOrder, Policy
from keeper.core.snapshot import (
    NOTHING,
    CollateralLine,
    FreshnessUnverified,
    Snapshot,
    Stale,
    Subaccount,
    SubaccountId,
    Token,
    Unknown,
)
from keeper.core.spare import spare_raw
from keeper.core.units import Wad
from keeper.core.urgency import limits_now


@dataclass(frozen=True, slots=True)
class Rejected:
    """A holder of what a recipient takes that gave nothing to it."""

    subaccount: SubaccountId
    token: Token
    spare_raw: int
    """What it could still give above its floor once the plan is carried out; 0 when it may not give at all."""
    reason: str


@dataclass(frozen=True, slots=True)
class RejectedWay:
    """Another collateral, or the repayment of a debt, that nothing was taken of."""

    token: Token
    is_repayment: bool
    need_raw: int
    """What would have brought it alone to where the rescue does."""
    spare_raw: int
    """What others could still give of it above their floors once the plan is carried out."""

    @property
    def is_enough(self) -> bool:
        return self.spare_raw >= self.need_raw


def rejected_ways(
    rescue: Rescue, plan: Plan, snapshot: Snapshot, policy: Policy, history: History
) -> tuple[RejectedWay, ...]:
    """Those of the recipient's ways whose token somebody else holds, and that the rescue does not take."""
    recipient, guard = snapshot.subaccount(rescue.recipient), snapshot.guard
    index = recipient.guard_index
    enrolled = None if guard is None or index is None else guard.account(index)
    if guard is None or enrolled is None:
        return ()
    settings = policy.subaccounts[recipient.id]
    account = Account(recipient, settings, settings.thresholds, NOTHING, frozenset(enrolled.assets))
    book = Book((), guard.remaining_cap_raw, policy.inclusion, policy.amount_margin_bps)
    after = after_transfers(snapshot, (transfer for each in plan.rescues for transfer in each.transfers))
    used = {(transfer.token, transfer.is_repayment) for transfer in rescue.transfers}
    found: list[RejectedWay] = []
    for way in account.ways:
        token = way.token.address
        holders = [
            other
            for other in after.subaccounts
            if other.id != recipient.id and (held := other.line(token)) is not None and held.amount_raw
        ]
        need = book.need(account, way, rescue.effect.after)
        if (way.token, way.is_repayment) in used or not holders or not need:
            continue
        able = [other for other in holders if _obstacle(other, recipient.id, plan, snapshot, policy, history) is None]
        spare = sum(spare_raw(other, token, _floor(other, plan, snapshot, policy, history)) for other in able)
        found.append(RejectedWay(way.token, way.is_repayment, need, min(spare, max(book.cap(token), 0))))
    return tuple(found)


def rejected(rescue: Rescue, plan: Plan, snapshot: Snapshot, policy: Policy, history: History) -> tuple[Rejected, ...]:
    """All other holders of what the recipient gets, in the snapshot's order."""
    recipient = snapshot.subaccount(rescue.recipient)
    after = after_transfers(snapshot, (transfer for each in plan.rescues for transfer in each.transfers))
    used = {(transfer.donor, transfer.token.address) for transfer in rescue.transfers}
    givers = {transfer.donor for each in plan.rescues for transfer in each.transfers}
    is_from_debt_free = not any(snapshot.subaccount(one.donor).has_debt for one in rescue.transfers)
    is_debt_free_first = is_from_debt_free and policy.donors_order is DonorsOrder.DEBT_FREE_FIRST
    found: list[Rejected] = []
    for token in dict.fromkeys(transfer.token for transfer in rescue.transfers):
        for other in snapshot.subaccounts:
            held = other.line(token.address)
            if held is None or not held.amount_raw or other.id == recipient.id or (other.id, token.address) in used:
                continue
            reason = _obstacle(other, recipient.id, plan, snapshot, policy, history)
            floor = _floor(other, plan, snapshot, policy, history)
            spare = 0 if reason else spare_raw(after.subaccount(other.id), token.address, floor)
            if reason is None and not spare:
                reason = _nothing_left(held, gave=other.id in givers)
            moved = sum(one.amount_raw for one in rescue.transfers if one.token.address == token.address)
            if reason is None and other.has_debt and is_debt_free_first:
                reason = "who owes nothing gives first"
            if reason is None and len(rescue.transfers) == 1 and spare < moved:
                reason = "that alone is not enough: a second transfer would cost more gas"
            found.append(Rejected(other.id, token, spare, reason or "others fitted better"))
    return tuple(found)


def _nothing_left(held: CollateralLine, *, gave: bool) -> str:
    if gave:
        return "what it has to spare goes to others"
    return "it has nothing to spare above its floor" if held.movable_raw_max else "nothing of it may leave"


def _obstacle(
    account: Subaccount, recipient: SubaccountId, plan: Plan, snapshot: Snapshot, policy: Policy, history: History
) -> str | None:
    settings = policy.subaccounts.get(account.id)
    if account.guard_index is None or settings is None:
        return "it is not enrolled in the guard"
    if isinstance(account.reading, Unknown):
        return f"it is unknown: {account.reading.reason}"
    if account.cannot_give is not None:
        return account.cannot_give
    if settings.never_donate:
        return "it never donates, says the configuration"
    if account.has_debt and history.protect_only:
        return "only those without debt give at present"
    if account.has_debt and snapshot.sequencer_problem is not None:
        return f"only those without debt give: {snapshot.sequencer_problem}"
    if account.has_debt and (account.id in plan.disputes or recipient in plan.disputes):
        return "only those without debt give on a disputed price"
    is_unverified = isinstance(account.reading, FreshnessUnverified) and not settings.accept_unchecked_age
    if account.has_debt and (is_unverified or isinstance(account.reading, Stale)):
        return "it has debt and its price cannot be trusted"
    if any(rescue.recipient == account.id for rescue in plan.rescues):
        return "it is rescued itself"
    return None


def _floor(account: Subaccount, plan: Plan, snapshot: Snapshot, policy: Policy, history: History) -> Wad:
    if account.id not in policy.subaccounts:
        return 0
    return limits_now(account, snapshot, policy, history, is_widened=plan.is_widened).floor

"""Who else could have given to a rescue, and why nothing came from there: what `plan` tells beside its choice."""

from dataclasses import dataclass

from keeper.core.imagined import after_transfers
from keeper.core.plan import History, Plan, Rescue
from keeper.core.policy import Policy, enforced
from keeper.core.snapshot import (
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


@dataclass(frozen=True, slots=True)
class Rejected:
    """A holder of what a recipient takes that gave nothing to it."""

    subaccount: SubaccountId
    token: Token
    spare_raw: int
    """What it could still give above its floor once the plan is carried out; 0 when it may not give at all."""
    reason: str


def rejected(rescue: Rescue, plan: Plan, snapshot: Snapshot, policy: Policy, history: History) -> tuple[Rejected, ...]:
    """All other holders of what the recipient takes, in the snapshot's order."""
    recipient = snapshot.subaccount(rescue.recipient)
    after = after_transfers(snapshot, (transfer for each in plan.rescues for transfer in each.transfers))
    used = {(transfer.donor, transfer.token.address) for transfer in rescue.transfers}
    givers = {transfer.donor for each in plan.rescues for transfer in each.transfers}
    found: list[Rejected] = []
    for token in (line.token for line in recipient.collateral):
        for other in snapshot.subaccounts:
            held = other.line(token.address)
            if held is None or not held.amount_raw or other.id == recipient.id or (other.id, token.address) in used:
                continue
            reason = _obstacle(other, plan, policy, history)
            floor = _floor(other, snapshot, policy)
            spare = 0 if reason else spare_raw(after.subaccount(other.id), token.address, floor)
            if reason is None and not spare:
                reason = _nothing_left(held, gave=other.id in givers)
            moved = sum(one.amount_raw for one in rescue.transfers if one.token.address == token.address)
            if reason is None and len(rescue.transfers) == 1 and spare < moved:
                reason = "that alone is not enough: a second transfer would cost more gas"
            found.append(Rejected(other.id, token, spare, reason or "others fitted better"))
    return tuple(found)


def _nothing_left(held: CollateralLine, *, gave: bool) -> str:
    if gave:
        return "what it has to spare goes to others"
    return "it has nothing to spare above its floor" if held.movable_raw_max else "nothing of it may leave"


def _obstacle(account: Subaccount, plan: Plan, policy: Policy, history: History) -> str | None:
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
        return "only those without debt give while the keeper is paused so"
    is_unverified = isinstance(account.reading, FreshnessUnverified) and not settings.accept_unchecked_age
    if account.has_debt and (is_unverified or isinstance(account.reading, Stale)):
        return "it has debt and its price cannot be trusted"
    if any(rescue.recipient == account.id for rescue in plan.rescues):
        return "it is rescued itself"
    return None


def _floor(account: Subaccount, snapshot: Snapshot, policy: Policy) -> int:
    settings = policy.subaccounts.get(account.id)
    return 0 if settings is None else enforced(settings.thresholds, snapshot.guard, account.guard_index).floor

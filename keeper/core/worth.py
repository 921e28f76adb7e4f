"""Which routine rescues are worth their gas now: what does not pay is left out, what can wait for company waits.

Pays: P(liquidation within `DEFERRAL_SECONDS`) x what it takes > min_benefit_multiple x its gas.

Waits: a batch has a price of its own. If all of it is routine, and another account may need one soon, it is sent with
that one, as long as

    P(another is due within it) x cost of BATCH_GAS > min_benefit_multiple x P(liquidation within it) x what it takes

over all rescues in it, and for no longer than `WAIT_SECONDS_MAX` since the first of them was due.
"""

from collections.abc import Iterable, Sequence

from keeper.core import economics
from keeper.core.plan import History, Lane, Rescue
from keeper.core.policy import Policy
from keeper.core.snapshot import Snapshot, SubaccountId
from keeper.core.units import BPS, WAD, Wad
from keeper.core.urgency import volatility_of
from keeper.core.verdict import Uneconomic, Waiting

WAIT_SECONDS_MAX = 300
"""Gas dearer by then, or a second rescue for who fell on, would cost more than a batch's share."""
NOT_JUDGED = (
    "no USD price for the native coin ([prices] native): whether routine rescues pay for their gas is not judged"
)


def uneconomic(
    rescues: Sequence[Rescue], snapshot: Snapshot, policy: Policy, history: History
) -> dict[SubaccountId, Uneconomic]:
    """The routine rescues that cost more than they save.

    All in a batch share its fixed cost; one that is sent anyway carries its own.
    """
    is_sent_anyway = any(rescue.lane is Lane.CRITICAL for rescue in rescues)
    sharing = 0 if is_sent_anyway else len(rescues)
    found: dict[SubaccountId, Uneconomic] = {}
    for rescue in rescues:
        cost = economics.gas_cost_usd(
            snapshot,
            history,
            economics.rescue_gas(rescue) + _share(economics.BATCH_GAS, sharing),
            economics.rescue_bytes(rescue) + _share(economics.BATCH_BYTES, sharing),
        )
        benefit = _expected_loss(rescue, snapshot, policy, history, economics.DEFERRAL_SECONDS)
        if not economics.is_worth_it(rescue.lane, benefit, cost, policy.min_benefit_multiple):
            found[rescue.recipient] = Uneconomic(cost or 0, benefit or 0, policy.min_benefit_multiple)
    return found


def waiting(
    rescues: Sequence[Rescue],
    others: Iterable[tuple[SubaccountId, Wad, Wad]],
    snapshot: Snapshot,
    policy: Policy,
    history: History,
) -> dict[SubaccountId, Waiting]:
    """All of these rescues, when they had better wait, else none. `others` are not due yet: id, health, trigger."""
    now = snapshot.block.timestamp
    until = min((history.waiting_since.get(rescue.recipient, now) for rescue in rescues), default=0) + WAIT_SECONDS_MAX
    if until <= now or not rescues or any(rescue.lane is Lane.CRITICAL for rescue in rescues):
        return {}
    seconds = until - now
    cost = economics.gas_cost_usd(snapshot, history, economics.BATCH_GAS, economics.BATCH_BYTES)
    losses = [_expected_loss(rescue, snapshot, policy, history, seconds) for rescue in rescues]
    known = [loss for loss in losses if loss is not None]
    if not cost or len(known) < len(losses):
        return {}
    # They fall together, so that the nearest alone counts; a chance is rounded up, which here has to be undone.
    company_bps = max((_chance_bps(one, snapshot, policy, history, seconds) - 1 for one in others), default=0)
    saved = cost * max(company_bps, 0) // BPS
    if saved <= max(policy.min_benefit_multiple, 1) * sum(known):
        return {}
    return {rescue.recipient: Waiting(until) for rescue in rescues}


def _chance_bps(
    other: tuple[SubaccountId, Wad, Wad], snapshot: Snapshot, policy: Policy, history: History, seconds: int
) -> int:
    """That its health falls to its trigger."""
    id, health, trigger = other
    volatility = volatility_of(snapshot.subaccount(id), policy, history)
    return economics.probability_bps(health * WAD // trigger, volatility.bps, seconds)


def _expected_loss(rescue: Rescue, snapshot: Snapshot, policy: Policy, history: History, seconds: int) -> Wad | None:
    recipient = snapshot.subaccount(rescue.recipient)
    volatility = volatility_of(recipient, policy, history)
    return economics.expected_loss_usd(snapshot, recipient, rescue.effect.before, volatility.bps, seconds)


def _share(fixed: int, sharing: int) -> int:
    return -(-fixed // sharing) if sharing else 0

"""What if prices move step by step: who lives, who is rescued and who dies, with the keeper and without.

Every step is a block: prices jump, whoever is below the line is liquidated at once, and only then does the keeper
act. So an account that falls through its whole cushion within one step dies with a keeper too; finer steps are a slower
fall. Who died gives and needs nothing any more, and the guard's caps are used up without a new window. Interest, gas
and what liquidations do to prices are left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from keeper.core.economics import loss_usd
from keeper.core.imagined import after_shock, after_transfers
from keeper.core.plan import History, Plan, Rescue, Transfer
from keeper.core.planner import make_plan
from keeper.core.policy import Policy
from keeper.core.snapshot import Snapshot, Subaccount, SubaccountId, Unknown
from keeper.core.units import BPS, INFINITE_HEALTH, Wad
from keeper.core.verdict import Blocked, Unfunded

Changes = Mapping[str, int]
"""How far prices moved from where they are, basis points by symbol (-1200: fell by 12 %)."""


@dataclass(frozen=True, slots=True)
class Death:
    """A liquidation; the account takes no more part, also where its protocol leaves some of it at once."""

    subaccount: SubaccountId
    loss_usd: Wad | None
    """What it takes from the owner at once, rounded up; None without a price in USD."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a walk."""

    changes_bps: Changes
    healths: Mapping[SubaccountId, Wad]
    """Of those with debt that still live, once the keeper has acted."""
    deaths: tuple[Death, ...]
    """Of this step."""
    rescues: tuple[Rescue, ...]
    unhelped: tuple[SubaccountId, ...] = ()
    """Who lives below its critical, and the keeper can do nothing for it."""

    @property
    def lowest(self) -> Wad:
        """The lowest health; `INFINITE_HEALTH` when nobody with debt is left."""
        return min(self.healths.values(), default=INFINITE_HEALTH)


def walk(
    snapshot: Snapshot, path: Sequence[Changes], policy: Policy, history: History, *, has_keeper: bool
) -> tuple[Step, ...]:
    """What becomes of the wallet at each step of a path, whose changes are all counted from the snapshot's prices.

    What cannot be read takes no part: nobody knows what becomes of it.
    """
    known = tuple(each for each in snapshot.subaccounts if not isinstance(each.reading, Unknown))
    living = replace(snapshot, subaccounts=known)
    # No time passes on a path: nothing jumps between its steps, and who waits would wait to its end.
    waiting_since = dict.fromkeys((each.id for each in known), 0)
    history = replace(history, in_flight=None, prices={}, waiting_since=waiting_since)
    made: list[Transfer] = []
    steps: list[Step] = []
    for changes in path:
        now = after_shock(after_transfers(living, made), changes)
        deaths = tuple(Death(each.id, loss_usd(now, each)) for each in now.subaccounts if _is_liquidated(each))
        dead = {death.subaccount for death in deaths}
        living, now = _without(living, dead), _without(now, dead)
        plan = make_plan(now, policy, history) if has_keeper else None
        rescues = () if plan is None else plan.rescues
        transfers = [transfer for rescue in rescues for transfer in rescue.transfers]
        made += transfers
        after = after_transfers(now, transfers)
        healths = {each.id: each.margin.risk().health_factor for each in after.subaccounts if each.has_debt}
        unhelped = () if plan is None else tuple(_unhelped(plan, healths, policy))
        steps.append(Step(changes, healths, deaths, rescues, unhelped))
    return tuple(steps)


def _unhelped(plan: Plan, healths: Mapping[SubaccountId, Wad], policy: Policy) -> Iterator[SubaccountId]:
    for id, decided in plan.verdicts.items():
        if isinstance(decided, Unfunded | Blocked) and healths[id] < policy.subaccounts[id].thresholds.critical:
            yield id


def first_to_die(snapshot: Snapshot, to: Changes) -> tuple[Changes, SubaccountId] | None:
    """Where on the straight way from today's prices `to` others the first account dies if nobody acts, to a ten
    thousandth of the way, and which; None when all of them live there too."""
    found: tuple[int, SubaccountId] | None = None
    for subaccount in snapshot.subaccounts:
        if isinstance(subaccount.reading, Unknown):
            continue
        alone = replace(snapshot, subaccounts=(subaccount,))

        def dies_at(share_bps: int, alone: Snapshot = alone) -> bool:
            return _is_liquidated(after_shock(alone, _share(to, share_bps)).subaccounts[0])

        low, high = -1, BPS
        if not dies_at(high):
            continue
        # By halving: on a straight way the value of any collateral in any debt is a linear share of a linear share, so
        # a health only rises or only falls.
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if dies_at(middle) else (middle, high)
        found = min(found or (high, subaccount.id), (high, subaccount.id))
    return None if found is None else (_share(to, found[0]), found[1])


def _share(changes: Changes, share_bps: int) -> dict[str, int]:
    """A part of the way; rounded down, which for a fall is further than the part."""
    return {symbol: change * share_bps // BPS for symbol, change in changes.items()}


def _is_liquidated(subaccount: Subaccount) -> bool:
    return subaccount.has_debt and subaccount.is_liquidatable


def _without(snapshot: Snapshot, dead: set[SubaccountId]) -> Snapshot:
    living = tuple(each for each in snapshot.subaccounts if each.id not in dead)
    return replace(snapshot, subaccounts=living)

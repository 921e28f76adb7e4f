"""How near in time liquidation is, and what that does to the owner's thresholds.

A health says how far prices may fall; how soon they may is a matter of how much they move and of how long a transaction
takes to be included. Two things follow, neither of which ever lowers a threshold:

*Critical* is whoever may be liquidated within `INCLUSIONS` inclusion times, with a chance of one in a hundred, whatever
the thresholds say: there may be no second try. Where chances are stated as a health, that is

    exp(2.5759 x volatility x sqrt(INCLUSIONS x inclusion))

*Trigger, target and floor* count in the day's deviation that they were made for. When prices move more than that, their
distances from the line grow by the same factor, so that quiet markets leave capital working and storms build buffers
early: the storms of 2020-03-12 and 2021-05-19 were half a day old when the crash came. The factor is the same for all
three, and none uses up its room to where the guard refuses: the trigger keeps a quarter of that to the rescue ceiling,
because a price that rises until inclusion would make the rescue revert, and the target half of that to its maximum.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from keeper.core.economics import IMMINENT_BPS, health_touched_within, pair_volatility_bps, probability_bps
from keeper.core.plan import History
from keeper.core.policy import Policy, Thresholds, enforced
from keeper.core.snapshot import NOTHING, Block, Horizon, Snapshot, Subaccount
from keeper.core.units import WAD, Wad

INCLUSIONS = 4
"""A transaction, one that replaces it, one for what moved meanwhile, and one to spare."""
INCLUSION_SECONDS_MAX = 3_600
"""What a stuck transaction is believed to say about the next one, at most."""
AHEAD_SECONDS_MAX = 30 * 86_400
"""Further ahead nobody knows what prices do."""


# How much prices move -------------------------------------------------------------------------------------------------


class Source(Enum):
    """Where a volatility comes from."""

    MEASURED = "measured on its feeds' answers in the journal"
    MINIMUM = "volatility_min of the configuration, as less was measured"
    ASSUMED = "half of its shock, as not every feed behind it was measured"
    TOGETHER = "half of its shock, as its two sides move together and their feeds say nothing about the pair"


@dataclass(frozen=True, slots=True)
class Volatility:
    """A day's deviation of an account's collateral in its debt."""

    bps: int
    source: Source


def volatility_of(subaccount: Subaccount, policy: Policy, history: History) -> Volatility:
    settings = policy.subaccounts[subaccount.id]
    usual = settings.usual_volatility_bps
    if settings.moves_together:
        return Volatility(usual, Source.TOGETHER)
    measured = pair_volatility_bps(subaccount, history.volatility_bps_per_day)
    if measured is None:
        return Volatility(usual, Source.ASSUMED)
    # Where the owner expects less than the minimum, the minimum alone is no storm.
    least = min(policy.volatility_min_bps, usual)
    return Volatility(measured, Source.MEASURED) if measured >= least else Volatility(least, Source.MINIMUM)


# How long a transaction takes -----------------------------------------------------------------------------------------


def inclusion_seconds(policy: Policy, history: History, block: Block) -> int:
    """How long a transaction sent now is expected to take.

    As long as configured, once more for each time that the base fee doubled within the hour (fees that were offered are
    outbid), and no less than what transactions took lately, or wait for by now.
    """
    times = max(block.base_fee_wei, 1) // max(history.base_fee_low_wei, 1) if history.base_fee_low_wei else 1
    doublings = max(times, 1).bit_length() - 1
    expected = max(policy.inclusion.seconds * (1 + doublings), history.inclusion_delay_seconds)
    return min(expected, max(INCLUSION_SECONDS_MAX, policy.inclusion.seconds))


def soon_seconds(policy: Policy, history: History, block: Block) -> int:
    """Who may be liquidated within so long is critical."""
    return INCLUSIONS * inclusion_seconds(policy, history, block)


# How soon -------------------------------------------------------------------------------------------------------------


def seconds_to_liquidation(subaccount: Subaccount, volatility_bps: int, rate_margin: Wad) -> int | None:
    """The time within which its chance of liquidation reaches `IMMINENT_BPS`, seconds, rounded down; 0 at the line or
    below, or where its health protects it from nothing; None when that is further off than `AHEAD_SECONDS_MAX` or it
    owes nothing.

    By diffusion, by a jump, and by interest: the distance is what is left of it at the end of the time, at the last
    rate seen and `rate_margin` (WAD a year). What collateral earns is not counted.
    """
    if not subaccount.has_debt:
        return None
    if subaccount.forced_liquidation is not None:
        return 0

    def is_imminent(seconds: int) -> bool:
        health = subaccount.margin.risk(NOTHING, Horizon(seconds, rate_margin)).health_factor
        return probability_bps(health, volatility_bps, seconds) >= IMMINENT_BPS

    if not is_imminent(AHEAD_SECONDS_MAX):
        return None
    low, high = -1, AHEAD_SECONDS_MAX
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_imminent(middle) else (middle, high)
    return max(low, 0)


# What that does to thresholds -----------------------------------------------------------------------------------------


def limits_now(
    subaccount: Subaccount, snapshot: Snapshot, policy: Policy, history: History, *, is_widened: bool
) -> Thresholds:
    """The thresholds to plan with: the stricter of the file's and the guard's, raised by what prices do now."""
    settings = policy.subaccounts[subaccount.id]
    limits = enforced(settings.thresholds, snapshot.guard, subaccount.guard_index)
    if not subaccount.has_debt:
        return limits
    volatility = volatility_of(subaccount, policy, history)
    if is_widened:
        limits = widened(limits, settings.usual_volatility_bps, volatility.bps)
    soon = soon_seconds(policy, history, snapshot.block)
    return hurried(limits, health_touched_within(soon, volatility.bps))


def widened(limits: Thresholds, usual_bps: int, volatility_bps: int) -> Thresholds:
    """With trigger, target and floor as far from the line as a volatility asks for, which is never less than usual."""
    ceiling = min(limits.rescue_ceiling, limits.target)
    room = ceiling - (ceiling - limits.trigger) // 4 - WAD
    if volatility_bps <= usual_bps or limits.trigger >= ceiling:
        return limits

    def further(health: Wad) -> Wad:
        distance = health - WAD
        by_volatility = -(-distance * volatility_bps // usual_bps)
        by_ceiling = distance * room // (limits.trigger - WAD)
        return WAD + min(by_volatility, by_ceiling)

    target = min(further(limits.target), (limits.target + limits.max_after) // 2)
    return replace(limits, trigger=further(limits.trigger), target=target, floor=further(limits.floor))


def hurried(limits: Thresholds, imminent: Wad) -> Thresholds:
    """With everybody critical who is below a health, as far as the guard lets it be helped."""
    if imminent <= limits.critical:
        return limits
    critical = max(limits.critical, min(imminent, limits.rescue_ceiling, limits.target))
    return replace(limits, critical=critical, trigger=max(limits.trigger, critical))


# In words -------------------------------------------------------------------------------------------------------------


def widenings(snapshot: Snapshot, policy: Policy, history: History) -> Sequence[str]:
    """What is widened now, one sentence for all accounts for which it is by the same volatility; empty in a calm."""
    found: dict[tuple[int, int], list[str]] = {}
    for subaccount in snapshot.subaccounts:
        settings = policy.subaccounts.get(subaccount.id)
        if settings is None or not subaccount.has_debt:
            continue
        bps, usual = volatility_of(subaccount, policy, history).bps, settings.usual_volatility_bps
        if bps <= usual:
            continue
        limits = enforced(settings.thresholds, snapshot.guard, subaccount.guard_index)
        if widened(limits, usual, bps) != limits:
            found.setdefault((bps, usual), []).append(subaccount.label)
    return [
        f"trigger, target and floor of {', '.join(labels)} are widened, as far as the guard lets them: prices move "
        f"{_percent(bps)} a day, and they were made for {_percent(usual)}"
        for (bps, usual), labels in found.items()
    ]


def _percent(bps: int) -> str:
    return f"{bps / 100:.1f} %"

"""What in a cycle a person has to be told: alarms as values, each with a subject and a sentence."""

from collections.abc import Iterator, Mapping
from typing import assert_never

from keeper.alerts import Alarm, Raised
from keeper.core import verdict
from keeper.core.coins import coin_text
from keeper.core.disputes import silent_seconds, worst_of
from keeper.core.economics import USUAL_RESCUE_BYTES, USUAL_RESCUE_GAS
from keeper.core.fees import Market, rescues_affordable
from keeper.core.plan import Lane, Plan
from keeper.core.policy import Policy, SubaccountPolicy
from keeper.core.snapshot import FreshnessUnverified, GuardState, Snapshot, Stale, Subaccount
from keeper.core.units import Address
from keeper.core.verdict import Verdict
from keeper.protocols.wallet import NAME as WALLET
from keeper.report import counted, health_text, name_of, verdict_text

GAS_LOW_RESCUES = 10
"""With less gas money than for so many rescues in a storm somebody is told."""


def alarms_in(snapshot: Snapshot, plan: Plan, policy: Policy, hot_key: Address | None) -> Iterator[Raised]:
    """All alarms that hold at this block; whoever raises them leaves out what was said a moment ago.

    `hot_key`: who signs here; None in a dry run without a key.
    """
    if snapshot.guard is None:
        yield Alarm.GUARD_PROBLEM, "guard", _sentence(snapshot.guard_problem or "no guard is configured")
    else:
        yield from _guard(snapshot.guard, snapshot, hot_key)
    for subaccount in snapshot.subaccounts:
        settings = policy.subaccounts.get(subaccount.id)
        yield from _subaccount(subaccount, plan.verdicts[subaccount.id], settings)
    yield from _prices(snapshot, plan)


def _prices(snapshot: Snapshot, plan: Plan) -> Iterator[Raised]:
    if snapshot.sequencer_problem is not None:
        says = f"{snapshot.sequencer_problem}; only those without debt give"
        yield Alarm.SEQUENCER_DOWN, "sequencer", _sentence(says[0].upper() + says[1:])
    for id, dispute in plan.disputes.items():
        subaccount = snapshot.subaccount(id)
        worst = health_text(worst_of(subaccount, dispute).margin.risk().health_factor)
        says = (
            f"{name_of(subaccount)}: {dispute}; at the worst of it its health is {worst}, and only those without debt"
        )
        yield Alarm.PRICE_DISPUTED, str(id), f"{says} give to it."
    for second, problem in silent_seconds(snapshot):
        says = f"The price of {second.token.symbol} is not checked by {second.source}: {problem}"
        yield Alarm.PRICE_UNCHECKED, second.token.symbol, _sentence(says)


def _guard(guard: GuardState, snapshot: Snapshot, hot_key: Address | None) -> Iterator[Raised]:
    if hot_key is not None and guard.keeper != hot_key:
        says = f"The guard's keeper is {guard.keeper}, not this hot key {hot_key}; the owner sends setKeeper."
        yield Alarm.GUARD_PROBLEM, "keeper", says
    if guard.is_paused:
        yield Alarm.GUARD_PROBLEM, "guard", "The guard is paused, nothing can be moved; only the owner can unpause it."
    symbols = {line.token.address: line.token.symbol for each in snapshot.subaccounts for line in each.collateral}
    for token, left in guard.remaining_cap_raw.items():
        if left == 0 and token in symbols:
            says = "its cap in the guard is not set or used up; the owner raises it, or its window passes."
            yield Alarm.PERMISSION_LOW, symbols[token], f"No {symbols[token]} may move: {says}"


def _subaccount(subaccount: Subaccount, decided: Verdict, settings: SubaccountPolicy | None) -> Iterator[Raised]:
    id, name = str(subaccount.id), name_of(subaccount)
    alarm = _alarm_of(decided, subaccount.has_debt)
    if alarm is not None:
        by_hand = f"; `keeper explain {id}` says what its owner can do" if alarm is Alarm.UNKNOWN else ""
        yield alarm, id, _sentence(f"{name} is {verdict_text(decided)}{by_hand}")
    if subaccount.guard_index is not None and subaccount.cannot_give is not None:
        yield Alarm.PERMISSION_LOW, id, _sentence(f"{name} cannot give: {subaccount.cannot_give}")
    elif subaccount.guard_index is not None and subaccount.id.protocol == WALLET:
        yield from _wallet(subaccount)
    is_accepted = settings is not None and settings.accept_unchecked_age
    if isinstance(subaccount.reading, Stale) or (
        isinstance(subaccount.reading, FreshnessUnverified) and not is_accepted
    ):
        yield Alarm.STALE_PRICE, id, _sentence(f"{name}: {subaccount.reading.reason}")
    if subaccount.is_liquidatable:
        why = "" if subaccount.forced_liquidation is None else f": {subaccount.forced_liquidation}"
        yield Alarm.LIQUIDATABLE, id, _sentence(f"{name} can be liquidated now{why}")


def _wallet(wallet: Subaccount) -> Iterator[Raised]:
    """What the wallet has and cannot give: its allowance is used up or revoked, or nobody knows."""
    for line in wallet.collateral:
        if line.amount_raw > 0 and line.movable_raw_max == 0:
            symbol = line.token.symbol
            says = f"No {symbol} can be given by the {wallet.label}: the guard's allowance is missing or used up, or "
            yield Alarm.PERMISSION_LOW, f"{wallet.id} {symbol}", f"{says}{symbol} is not enrolled; see `keeper check`."
    for problem in wallet.unread:
        yield Alarm.UNKNOWN, str(wallet.id), _sentence(f"{name_of(wallet)}: {problem}")


def _alarm_of(decided: Verdict, has_debt: bool) -> Alarm | None:
    match decided:
        case verdict.Unfunded():
            return Alarm.UNFUNDED
        case verdict.Blocked():
            return Alarm.BLOCKED
        case verdict.Unknown():
            return Alarm.UNKNOWN
        case verdict.NotProtected():
            return Alarm.NOT_PROTECTED if has_debt else None
        case verdict.Healthy() | verdict.Watching() | verdict.Rescue():
            return None
        case verdict.Uneconomic() | verdict.Waiting() | verdict.CoolingDown():
            return None
        case _:
            assert_never(decided)


def gas_alarms(balance_wei: int | None, market: Market, storm: Market, coin: str) -> Iterator[Raised]:
    """What the hot key has of the chain's own coin (None: not known), by today's fees and by those of a storm."""
    if balance_wei is None:
        return
    today, in_a_storm = (
        rescues_affordable(fees, balance_wei, USUAL_RESCUE_GAS, USUAL_RESCUE_BYTES) for fees in (market, storm)
    )
    if in_a_storm < GAS_LOW_RESCUES:
        says = f"The hot key has {coin_text(balance_wei, coin)} left for gas, enough for {counted(today, 'rescue')}"
        yield Alarm.GAS_LOW, "keeper", f"{says} at today's fees and {in_a_storm} in a storm; send it some."


def budget_alarms(left_wei: Mapping[Lane, int], market: Market, coin: str) -> Iterator[Raised]:
    """What is left of the day's budget, by lane, and does not last for another rescue."""
    for lane, left in left_wei.items():
        if not rescues_affordable(market, left, USUAL_RESCUE_GAS, USUAL_RESCUE_BYTES):
            says = f"Of the day's gas budget {coin_text(left, coin)} is left for {lane.value} rescues"
            yield Alarm.BUDGET_LOW, lane.value, f"{says}, less than one costs now; raise [fees] daily_budget."


def _sentence(text: str) -> str:
    """With its full stop, whatever it ended with."""
    return text.rstrip(". ") + "."

"""A rescue as sentences: who, why now, from where, how much, and what it leaves behind."""

from keeper.core.amounts import amount_text
from keeper.core.economics import IMMINENT_BPS
from keeper.core.imagined import after_transfers
from keeper.core.plan import Effect, Lane, Rescue, Stage
from keeper.core.policy import Policy, Thresholds
from keeper.core.snapshot import Snapshot
from keeper.core.urgency import seconds_to_liquidation
from keeper.report import age_text, health_text, name_of, percent_text, usd_text, within_text


def rescue_paragraph(rescue: Rescue, snapshot: Snapshot, policy: Policy) -> str:
    """Who, why now, from where, how much, and what it leaves behind."""
    return " ".join(rescue_sentences(rescue, snapshot, policy))


def rescue_sentences(rescue: Rescue, snapshot: Snapshot, policy: Policy) -> list[str]:
    """The first says who and why, each further one a part of what is done and what comes of it."""
    recipient = snapshot.subaccount(rescue.recipient)
    limits = policy.subaccounts[rescue.recipient].thresholds
    sentences = [
        f"Rescue {name_of(recipient)}: health {health_text(rescue.effect.before)} {_crossed(rescue, limits)}.",
        _why_now(rescue, snapshot, policy),
        *_transfer_sentences(rescue, snapshot),
        (
            f"{_effect_sentence('It', rescue.effect)}; the guard lets it happen only if it ends at "
            f"{health_text(rescue.min_health_after)} or more."
        ),
        *(
            f"{_effect_sentence(f'Donor {name_of(snapshot.subaccount(donor.subaccount))}', donor)}."
            for donor in rescue.donors
        ),
    ]
    if rescue.stage is Stage.LAST_STAND:
        sentences.append("This is a last stand: donors go below their floor and share their cushion with it.")
    if rescue.loss_avoided_usd is not None:
        sentences.append(f"A liquidation would take about {usd_text(rescue.loss_avoided_usd)}.")
    return sentences


def _crossed(rescue: Rescue, limits: Thresholds) -> str:
    """What made it due: the owner's thresholds, or what prices and transactions do now."""
    if rescue.effect.before < limits.critical:
        return f"is below its critical of {health_text(limits.critical)}"
    if rescue.lane is Lane.CRITICAL:
        return f"may be gone within {age_text(rescue.urgency.soon_seconds)}, too soon for a second try"
    if rescue.effect.before < limits.trigger:
        return f"is below its trigger of {health_text(limits.trigger)}"
    return f"is below its trigger, widened from {health_text(limits.trigger)} to {health_text(rescue.urgency.trigger)}"


def _why_now(rescue: Rescue, snapshot: Snapshot, policy: Policy) -> str:
    """`Why now: prices move 5 % a day, so the chance that it is liquidated reaches 1 % within 8 h, …`"""
    volatility_bps, rate_margin = rescue.urgency.volatility_bps, policy.inclusion.rate_margin
    before, after = (
        seconds_to_liquidation(each.subaccount(rescue.recipient), volatility_bps, rate_margin)
        for each in (snapshot, after_transfers(snapshot, rescue.transfers))
    )
    chance = (
        "it can be liquidated at any moment"
        if before == 0
        else f"the chance that it is liquidated reaches {percent_text(IMMINENT_BPS)} {within_text(before)}"
    )
    moves = f"prices move {percent_text(volatility_bps)} a day"
    return f"Why now: {moves}, so {chance}, after the rescue {within_text(after)}."


def _transfer_sentences(rescue: Rescue, snapshot: Snapshot) -> list[str]:
    """`Repay 1,200 USDC of its debt from wallet.` and `Move 1.2 WETH from wallet.`"""
    repaid: list[str] = []
    moved: list[str] = []
    for transfer in rescue.transfers:
        amount = amount_text(transfer.amount_raw, transfer.token)
        donor = name_of(snapshot.subaccount(transfer.donor))
        if transfer.is_repayment:
            repaid.append(f"{amount} of its debt from {donor}")
        else:
            moved.append(f"{amount} from {donor}")
    return [f"{verb} {', '.join(parts)}." for verb, parts in (("Repay", repaid), ("Move", moved)) if parts]


def _effect_sentence(who: str, effect: Effect) -> str:
    after_shock = f"{health_text(effect.after_shock)} after its shock"
    return f"{who} goes {health_text(effect.before)} → {health_text(effect.after)} ({after_shock})"

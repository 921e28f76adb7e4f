"""What people read as tables, for programs: plain dicts for `--json`, the journal and the webhook.

Ids and addresses are whole, amounts and WADs are decimal strings (they do not fit a float), times are unix seconds.
"""

from collections.abc import Mapping
from typing import Any

from keeper.core.disputes import worst_of
from keeper.core.plan import Dispute, Effect, Plan, Rescue
from keeper.core.policy import Policy, SubaccountPolicy
from keeper.core.risk import cushion
from keeper.core.snapshot import FeedRound, GuardState, SecondPrice, Snapshot, Subaccount, SubaccountId, Unknown
from keeper.core.units import INFINITE_HEALTH, Address, Wad
from keeper.core.verdict import Verdict
from keeper.report import liquidation_price, reading_text, shortages, verdict_text

Document = dict[str, Any]

BEFORE_TRIAL = "before_trial"
"""Where a recorded plan has the decision as it was before it was tried out."""


def block_document(snapshot: Snapshot) -> Document:
    block = snapshot.block
    return {
        "chain_id": snapshot.chain_id,
        "number": block.number,
        "hash": block.hash,
        "timestamp": block.timestamp,
        "base_fee_wei": str(block.base_fee_wei),
    }


def health_document(health: Wad) -> str | None:
    """None without debt: no number is larger than every other."""
    return None if health >= INFINITE_HEALTH else str(health)


def subaccount_document(
    subaccount: Subaccount,
    settings: SubaccountPolicy | None,
    verdict: Verdict | None,
    spare_raw: Mapping[Address, int],
    dispute: Dispute | None = None,
) -> Document:
    lacking = shortages(subaccount, settings)
    document: Document = {
        "id": str(subaccount.id),
        "label": subaccount.label,
        "holder": subaccount.holder,
        "guard_index": subaccount.guard_index,
        "reading": reading_text(subaccount.reading),
        "collateral": [
            {
                "token": line.token.address,
                "symbol": line.token.symbol,
                "decimals": line.token.decimals,
                "amount_raw": str(line.amount_raw),
                "price_wad": str(line.price),
                "spare_raw": str(spare_raw.get(line.token.address, 0)),
                "needs_raw": str(lacking.get(line.token.address, 0)),
            }
            for line in subaccount.collateral
        ],
        "debts": [
            {
                "token": debt.token.address,
                "symbol": debt.token.symbol,
                "decimals": debt.token.decimals,
                "amount_raw": str(debt.amount_raw),
                "price_wad": str(debt.price),
            }
            for debt in subaccount.debts
        ],
        "verdict": None if verdict is None else type(verdict).__name__,
        "verdict_reason": None if verdict is None else verdict_text(verdict),
        "cannot_give": subaccount.cannot_give,
        "cannot_receive": subaccount.cannot_receive,
        "disputed": None if dispute is None else str(dispute),
    }
    if not isinstance(subaccount.reading, Unknown):
        health = subaccount.margin.risk().health_factor
        at = liquidation_price(subaccount)
        document["health_wad"] = health_document(health)
        if dispute is not None:
            worst = worst_of(subaccount, dispute).margin.risk().health_factor
            document["worst_health_wad"] = health_document(worst)
        document["liquidatable"] = subaccount.is_liquidatable
        document["forced_liquidation"] = subaccount.forced_liquidation
        document["liquidation_price_wad"] = None if at is None else str(at)
        if settings is not None:
            document["cushion_wad"] = health_document(cushion(health, settings.shock_bps))
    if settings is not None:
        document["policy"] = policy_document(settings)
    return document


def policy_document(settings: SubaccountPolicy) -> Document:
    limits = settings.thresholds
    return {
        "hard_floor": str(limits.hard_floor),
        "survive": str(limits.survive),
        "critical": str(limits.critical),
        "trigger": str(limits.trigger),
        "rescue_ceiling": str(limits.rescue_ceiling),
        "target": str(limits.target),
        "floor": str(limits.floor),
        "max_after": str(limits.max_after),
        "shock_bps": settings.shock_bps,
        "priority": settings.priority,
        "never_donate": settings.never_donate,
        "accept_unchecked_age": settings.accept_unchecked_age,
        "why": settings.why,
    }


def rescue_document(rescue: Rescue) -> Document:
    return {
        "recipient": str(rescue.recipient),
        "stage": rescue.stage.value,
        "lane": rescue.lane.value,
        "min_health_after": str(rescue.min_health_after),
        "effect": _effect(rescue.effect),
        "donors": [_effect(donor) for donor in rescue.donors],
        "loss_avoided_usd_wad": None if rescue.loss_avoided_usd is None else str(rescue.loss_avoided_usd),
        "urgency": {
            "volatility_bps_per_day": rescue.urgency.volatility_bps,
            "trigger": str(rescue.urgency.trigger),
            "critical_within_seconds": rescue.urgency.soon_seconds,
        },
        "transfers": [
            {
                "kind": transfer.kind.name.lower(),
                "donor": str(transfer.donor),
                "token": transfer.token.address,
                "symbol": transfer.token.symbol,
                "amount_raw": str(transfer.amount_raw),
            }
            for transfer in rescue.transfers
        ],
    }


def _effect(effect: Effect) -> Document:
    return {
        "subaccount": str(effect.subaccount),
        "health_before_wad": health_document(effect.before),
        "health_after_wad": health_document(effect.after),
        "health_after_shock_wad": health_document(effect.after_shock),
    }


def guard_document(guard: GuardState | None, problem: str | None) -> Document | None:
    if guard is None:
        return None if problem is None else {"problem": problem}
    return {
        "address": guard.address,
        "owner": guard.owner,
        "keeper": guard.keeper,
        "paused": guard.is_paused,
        "last_sequence": guard.last_sequence,
        "accounts": [
            {"index": account.index, "holder": account.holder, "key": account.key, "live": account.is_live}
            for account in guard.accounts
        ],
        "remaining_cap_raw": {token: str(amount) for token, amount in guard.remaining_cap_raw.items()},
    }


def feed_document(feed: FeedRound, now: int) -> Document:
    return {
        "feed": feed.feed,
        "name": feed.name,
        "answer": str(feed.answer),
        "decimals": feed.decimals,
        "age_seconds": now - feed.updated_at,
        "heartbeat_seconds": feed.heartbeat_seconds,
    }


def second_document(second: SecondPrice) -> Document:
    return {
        "token": second.token.address,
        "symbol": second.token.symbol,
        "source": second.source,
        "quote": second.quote,
        "price_wad": None if second.price is None else str(second.price),
        "problem": second.problem or None,
    }


def plan_document(plan: Plan, snapshot: Snapshot) -> Document:
    return {
        "block": block_document(snapshot),
        "lane": plan.lane.value,
        "rescues": [rescue_document(rescue) for rescue in plan.rescues],
        "verdicts": {
            str(id): {"verdict": type(verdict).__name__, "reason": verdict_text(verdict)}
            for id, verdict in plan.verdicts.items()
        },
        "notes": list(plan.notes),
    }


def recorded_plan(sent: Plan, decided: Plan, snapshot: Snapshot) -> Document:
    """What the journal keeps: the plan that was sent, and what had been decided where its own trial left some out."""
    document = plan_document(sent, snapshot)
    return document if sent == decided else {**document, BEFORE_TRIAL: plan_document(decided, snapshot)}


def status_document(
    snapshot: Snapshot, policy: Policy, plan: Plan, spare_raw: Mapping[SubaccountId, Mapping[Address, int]]
) -> Document:
    now = snapshot.block.timestamp
    return {
        "block": block_document(snapshot),
        "guard": guard_document(snapshot.guard, snapshot.guard_problem),
        "keeper_balance_wei": None if snapshot.keeper_balance_wei is None else str(snapshot.keeper_balance_wei),
        "feeds": [feed_document(feed, now) for feed in snapshot.feeds],
        "second_prices": [second_document(second) for second in snapshot.second_prices],
        "sequencer_problem": snapshot.sequencer_problem,
        "subaccounts": [
            subaccount_document(
                subaccount,
                policy.subaccounts.get(subaccount.id),
                plan.verdicts.get(subaccount.id),
                spare_raw.get(subaccount.id, {}),
                plan.disputes.get(subaccount.id),
            )
            for subaccount in snapshot.subaccounts
        ],
    }

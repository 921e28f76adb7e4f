"""What to do with an intent now: from what was seen of the chain to an event, and from there by `intent.TABLE`.

Nonces are given out here as well: who may take whose, and what has to be outbid with it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from keeper.core.fees import FeePolicy, Fees, Market, TooExpensive
from keeper.core.intent import (
    Abandoned,
    Effect,
    Event,
    Included,
    Intent,
    Receipt,
    Refused,
    Reverted,
    State,
    transition,
)
from keeper.core.plan import Lane


@dataclass(frozen=True, slots=True)
class View:
    """What was seen of the chain. Ask for the nonce before the receipts, or a batch mined in between looks lost."""

    block_number: int
    market: Market
    receipts: Mapping[str, Receipt | None] = field(default_factory=dict[str, "Receipt | None"])
    """By hash: None means asked and not there; a hash that was not asked for is absent."""
    chain_nonce: int | None = None
    """The next nonce that the chain takes from the keeper (a receipt for nonce n proves n + 1); None: not known."""
    free_nonce: int = 2**64
    """The lowest nonce that neither the chain nor anything of ours uses."""
    final_number: int | None = None
    """The last block that the chain calls final; None on one that calls none so: then blocks on top are counted."""
    is_start: bool = False
    """Whether this process has not looked after anything yet: what it finds another one left."""


# Steps ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sign:
    """Sign with these fees (the first time, or as a replacement), write the bytes down, then broadcast them."""

    fees: Fees


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Send these same bytes (again)."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class Reconsider:
    """Note that it is doubted and try these bytes out: `reconsidered` says what follows."""

    raw: bytes
    why: Event


@dataclass(frozen=True, slots=True)
class Wait:
    why: Event


@dataclass(frozen=True, slots=True)
class Abandon:
    """Stop working on it. Unless the nonce is spent, the next intent takes it over and must outbid its fees."""

    reason: str
    why: Event = Event.HOPELESS


@dataclass(frozen=True, slots=True)
class Settle:
    """A receipt decides; `is_final` once no reorganisation takes it away any more."""

    outcome: Included | Reverted
    is_final: bool


Step = Sign | Broadcast | Reconsider | Wait | Abandon | Settle


def next_step(intent: Intent, view: View, now: int, policy: FeePolicy) -> Step:
    """What to do with an intent now (`now` and deadlines in unix seconds)."""
    event = seen(intent, view, now, policy)
    effect, _ = transition(intent, event)
    match effect:
        case Effect.NOTHING:
            return Wait(event)
        case Effect.OFFER:
            return Broadcast(intent.attempts[-1].raw)
        case Effect.RECONSIDER:
            return Reconsider(intent.attempts[-1].raw, event)
        case Effect.STOP:
            return Abandon(_reason(intent, event, view, policy), event)
        case Effect.TELL:
            return Settle(_outcome(intent, view), is_final=event is Event.FINALISED)
        case Effect.SIGN:
            fees = intent.next_fees(view.market, policy)
            if isinstance(fees, TooExpensive):
                raise ValueError(f"plan {intent.plan_id} is signed only where fees were found")
            return Sign(fees)


def reconsidered(intent: Intent, *, succeeds: bool) -> Broadcast | Abandon:
    """What follows from whether every rescue of its latest bytes would still succeed: the same bytes again, or nothing
    and the next cycle plans anew."""
    return Broadcast(intent.attempts[-1].raw) if succeeds else Abandon("it would not succeed any more")


def after(intent: Intent, step: Abandon | Settle | Reconsider) -> Intent:
    """The intent after a step that needs no bytes; signing and sending have `Intent.signed` and `Intent.broadcast`.

    Raises ValueError for a step that its state does not know.
    """
    match step:
        case Abandon(reason, event):
            return replace(intent.moved(event), outcome=Abandoned(reason))
        case Settle(outcome, is_final):
            return replace(intent.moved(Event.FINALISED if is_final else Event.INCLUDED), outcome=outcome)
        case Reconsider(_, event):
            return replace(intent.moved(event), outcome=None)


def seen(intent: Intent, view: View, now: int, policy: FeePolicy) -> Event:
    """The first event, in their order, that holds for an intent."""
    if intent.state is State.FINAL:
        return Event.SETTLED
    receipt = _receipt(intent, view)
    if receipt is not None:
        if _is_final(receipt, view, policy):
            return Event.FINALISED
        is_known = intent.state is State.MINED and intent.receipt == receipt
        return Event.SETTLED if is_known else Event.INCLUDED
    if intent.is_given_up:
        return Event.QUIET
    if _is_nonce_spent(intent, view):
        return Event.SPENT
    if intent.state is State.MINED and not _is_reorganised_away(intent, view):
        return Event.QUIET
    if now >= intent.deadline:
        return Event.LATE
    if intent.state is State.MINED:
        return Event.GONE
    if view.free_nonce < intent.nonce:
        return Event.GAP
    if intent.state is State.DOUBTED:
        return Event.UNPROVEN
    if view.is_start:
        return Event.FOUND
    if not intent.attempts:
        return Event.DUE if isinstance(intent.next_fees(view.market, policy), Fees) else Event.DEAR
    return _of_sent(intent, view, now, policy)


def _of_sent(intent: Intent, view: View, now: int, policy: FeePolicy) -> Event:
    latest = intent.attempts[-1]
    if latest.sent_at == now:
        return Event.QUIET
    if is_stuck(intent, now, policy) and isinstance(intent.next_fees(view.market, policy), Fees):
        return Event.STUCK
    if latest.sent_at is None or now - latest.sent_at >= policy.resend_after_seconds:
        return Event.UNHEARD
    # So far only the private relay has it.
    was_private = intent.is_private(latest.sent_at, policy)
    return Event.UNHEARD if was_private and not intent.is_private(now, policy) else Event.QUIET


def _receipt(intent: Intent, view: View) -> Receipt | None:
    found = (view.receipts.get(attempt.hash) for attempt in intent.attempts)
    return next((receipt for receipt in found if receipt is not None), None)


def _outcome(intent: Intent, view: View) -> Included | Reverted:
    receipt = _receipt(intent, view)
    if receipt is None:
        raise ValueError(f"plan {intent.plan_id} is settled only by a receipt")
    return Included(receipt) if receipt.succeeded else Reverted(receipt)


def _is_final(receipt: Receipt, view: View, policy: FeePolicy) -> bool:
    if view.final_number is not None:
        return receipt.block_number <= view.final_number
    return view.block_number - receipt.block_number >= policy.final_after_blocks


_NOT_ASKED = object()


def _is_nonce_spent(intent: Intent, view: View) -> bool:
    """Only when every receipt was asked for: a nonce that moved on with an unseen receipt is most likely our own."""
    return (
        view.chain_nonce is not None
        and view.chain_nonce > intent.nonce
        and all(view.receipts.get(attempt.hash, _NOT_ASKED) is None for attempt in intent.attempts)
    )


def _is_reorganised_away(intent: Intent, view: View) -> bool:
    """Whether the receipt that was seen is asked for and gone; one that was not asked for proves nothing."""
    return intent.receipt is not None and view.receipts.get(intent.receipt.hash, _NOT_ASKED) is None


def _reason(intent: Intent, event: Event, view: View, policy: FeePolicy) -> str:
    match event:
        case Event.SPENT:
            return f"another transaction used nonce {intent.nonce}"
        case Event.LATE:
            return "its deadline passed before it was included"
        case Event.GAP:
            return f"nothing of ours uses nonce {view.free_nonce} any more, and without it nonce {intent.nonce} waits"
        case Event.FOUND:
            return "it was never signed"
        case _:
            return _too_dear(intent.next_fees(view.market, policy))


def _too_dear(fees: Fees | TooExpensive) -> str:
    match fees:
        case TooExpensive(needed, ceiling, is_for_bump=True):
            allowed = f"and at most {ceiling} wei are allowed"
            return f"what was sent before with its nonce is outbid by {needed} wei, {allowed}"
        case TooExpensive(needed, ceiling):
            return f"gas costs {needed} wei and the value at risk justifies {ceiling} wei"
        case Fees():
            raise ValueError("what can be paid is not too dear")


# Nonces ---------------------------------------------------------------------------------------------------------------


def is_stuck(intent: Intent, now: int, policy: FeePolicy) -> bool:
    """Whether it was neither included nor made dearer for `replace_after_seconds` (`now` in unix seconds)."""
    return intent.is_live and now - intent.attempts[-1].signed_at >= policy.replace_after_seconds


def may_replace(
    in_flight: Intent, lane: Lane, now: int, policy: FeePolicy, *, differs: bool, serves_more: bool
) -> bool:
    """Whether a new batch takes over the nonce of the one in flight (`now` in unix seconds).

    A critical one does from a routine one, always, and from a critical one when it `serves_more`: somebody critical
    whom that one leaves alone. Within a lane one that `differs` materially does when the other is stuck: what is to
    be made dearer is planned anew where the chain has moved on. A routine one never does from a critical one.
    """
    if not in_flight.is_live:
        return False
    if lane is not in_flight.lane:
        return lane is Lane.CRITICAL
    return (serves_more and lane is Lane.CRITICAL) or (differs and is_stuck(in_flight, now, policy))


def fee_floor(nonce: int, earlier: Iterable[Intent]) -> Fees | None:
    """The highest fees of any bytes with a nonce that a node may have; None without any. `earlier` may hold any
    intents. What every node refused is in no pool and need not be outbid."""
    floor: Fees | None = None
    for intent in earlier:
        highest = intent.highest_fees if intent.nonce == nonce and not isinstance(intent.outcome, Refused) else None
        if highest is not None:
            floor = highest if floor is None else floor.at_least(highest)
    return floor


def taken_fees(nonce: int, intents: Iterable[Intent]) -> list[Fees]:
    """The fees of all bytes with a nonce that a node was seen to take."""
    return [
        attempt.fees
        for intent in intents
        for attempt in intent.attempts
        if attempt.nonce == nonce and attempt.sent_at is not None
    ]

"""The life of one batch on its way to the chain, as a state machine on plain data.

```
PLANNED ──► SIGNED ──► BROADCAST ──► MINED ──► FINAL
   │           │          │  ▲─────────┘ reorganised away
   └───────────┴──────────┴──► ABANDONED (deadline, cost) or REPLACED (by a critical batch with the same nonce)
```

`next_step` says what to do with what is seen; whoever does it journals the new intent *before* acting. Nothing here
sends, signs or reads a clock. Whatever an intent's state, a receipt of any attempt ever made decides over it: bytes
that were sent can land as long as their nonce is open.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from fractions import Fraction

from keeper.core.plan import Lane

BUMP = Fraction(9, 8)
"""Geth accepts a replacement only at +10 % on both fee fields, others at +12.5 %."""


class State(Enum):
    PLANNED = "planned"
    """Decided and written down; no bytes exist."""
    SIGNED = "signed"
    """Bytes exist and are durable; whether any node has them is not known."""
    BROADCAST = "broadcast"
    MINED = "mined"
    """A receipt exists, and the block under it may still go away."""
    FINAL = "final"
    REPLACED = "replaced"
    """Another intent took over its nonce; its bytes may still land in that one's place."""
    ABANDONED = "abandoned"
    """Nothing more is done for it; its bytes may still land."""


@dataclass(frozen=True, slots=True)
class Fees:
    """The two fee fields of a transaction, wei per gas."""

    max_fee_wei: int
    tip_wei: int

    def bumped(self) -> "Fees":
        """The least that every node accepts as a replacement: 9/8 of both, rounded up, and more by one wei at least."""
        return Fees(_bumped(self.max_fee_wei), _bumped(self.tip_wei))

    def at_least(self, other: "Fees") -> "Fees":
        """The larger of each field."""
        return Fees(max(self.max_fee_wei, other.max_fee_wei), max(self.tip_wei, other.tip_wei))


@dataclass(frozen=True, slots=True)
class TooExpensive:
    """No fees are both acceptable to the nodes and below the ceiling."""

    needed_wei: int
    ceiling_wei: int
    is_for_bump: bool = False
    """Whether only earlier bytes with the same nonce make it so dear."""


@dataclass(frozen=True, slots=True)
class Market:
    """What gas costs at the moment, wei per gas."""

    base_fee_wei: int
    """Of the next block."""
    tip_routine_wei: int
    tip_critical_wei: int

    def tip_wei(self, lane: Lane) -> int:
        return self.tip_critical_wei if lane is Lane.CRITICAL else self.tip_routine_wei


@dataclass(frozen=True, slots=True)
class FeePolicy:
    """How fees are chosen and when a transaction counts as stuck; the ceiling belongs to each intent."""

    base_fee_multiple: int = 2
    """Headroom over the base fee, which moves at most 12.5 % per block: x2 lasts for six full blocks."""
    replace_after_seconds: int = 24
    """A transaction that was not included for so long after signing is replaced by a dearer one."""
    resend_after_seconds: int = 12
    """Nodes drop transactions and restart: the same bytes are offered again after so long."""
    final_after_blocks: int = 8
    """Blocks on top of the receipt's after which it is not looked at any more; seven were reorganised away once."""
    max_fee_wei: int = 0
    """The most per gas, whatever is at risk: how far above an intent's own ceiling the bump rule alone may lift it."""


@dataclass(frozen=True, slots=True)
class Receipt:
    hash: str
    block_number: int
    block_hash: str
    succeeded: bool
    gas_used: int
    gas_price_wei: int
    """The effective one."""

    @property
    def cost_wei(self) -> int:
        return self.gas_used * self.gas_price_wei


# Outcomes -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Included:
    """The batch took effect, at least one rescue of it; its events say which."""

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Reverted:
    """Included, paid for, and nothing happened."""

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Refused:
    """Never sent: a simulation or every node refused it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Abandoned:
    """Given up after it may have been sent."""

    reason: str


Outcome = Included | Reverted | Refused | Abandoned


# The intent -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attempt:
    """One signed transaction for an intent; all attempts of an intent carry the same calldata and nonce."""

    hash: str
    raw: bytes
    nonce: int
    fees: Fees
    signed_at: int
    sent_at: int | None = None
    """Unix seconds of the last time that a node accepted it; None: not known to have been sent."""


@dataclass(frozen=True, slots=True)
class Intent:
    """One batch that is to take effect at most once: the guard takes a plan id once, the chain a nonce once."""

    plan_id: str
    lane: Lane
    nonce: int
    deadline: int
    """Unix seconds; the guard refuses the batch in a block after it."""
    fee_ceiling_wei: int
    """The most it may pay per gas, from the value at risk."""
    fee_floor: Fees | None = None
    """The highest fees of earlier intents' bytes with this nonce, which the first attempt must outbid."""
    state: State = State.PLANNED
    attempts: tuple[Attempt, ...] = ()
    outcome: Outcome | None = None

    @property
    def is_live(self) -> bool:
        """Whether it holds the dispatcher: something is signed or sent and not settled."""
        return self.state in (State.SIGNED, State.BROADCAST)

    @property
    def highest_fees(self) -> Fees | None:
        """The highest fees that any bytes with its nonce carry; None if there are none."""
        highest = self.fee_floor
        for attempt in self.attempts:
            highest = attempt.fees if highest is None else highest.at_least(attempt.fees)
        return highest

    @property
    def was_taken(self) -> bool:
        """Whether a node ever said that it has bytes of it."""
        return any(attempt.sent_at is not None for attempt in self.attempts)

    def next_fees(self, market: "Market", policy: "FeePolicy") -> Fees | TooExpensive:
        """For its next bytes. Only its first may the bump rule lift above its ceiling, because of earlier intents':
        after them there are bytes of its own to be kept alive, and no node can drive it up."""
        most = self.fee_ceiling_wei if self.attempts else max(self.fee_ceiling_wei, policy.max_fee_wei)
        return next_nonce_fees(market, self.lane, policy, self.fee_ceiling_wei, self.highest_fees, most)

    def signed(self, attempt: Attempt) -> "Intent":
        """With new bytes, to be journalled before they are sent. Raises ValueError for another nonce."""
        if attempt.nonce != self.nonce:
            raise ValueError(f"attempt with nonce {attempt.nonce} for an intent with nonce {self.nonce}")
        return replace(self, state=State.SIGNED, attempts=(*self.attempts, attempt), outcome=None)

    def broadcast(self, now: int) -> "Intent":
        """After a node accepted its latest bytes (or said that it knows them). Raises ValueError without any."""
        if not self.attempts:
            raise ValueError(f"plan {self.plan_id} was never signed")
        latest = replace(self.attempts[-1], sent_at=now)
        return replace(self, state=State.BROADCAST, attempts=(*self.attempts[:-1], latest), outcome=None)

    def refused(self, reason: str) -> "Intent":
        """Before anything was sent. Raises ValueError when something may have been."""
        if self.was_taken:
            raise ValueError(f"plan {self.plan_id} was sent and cannot count as refused any more")
        return replace(self, state=State.ABANDONED, outcome=Refused(reason))

    def replaced(self, by_plan_id: str) -> "Intent":
        """After another intent took over its nonce."""
        return replace(self, state=State.REPLACED, outcome=Abandoned(f"replaced by plan {by_plan_id}"))


@dataclass(frozen=True, slots=True)
class View:
    """What was seen of the chain. Ask for the nonce before the receipts, or a batch mined in between looks lost."""

    block_number: int
    market: Market
    receipts: Mapping[str, Receipt | None] = field(default_factory=dict[str, "Receipt | None"])
    """By hash: None means asked and not there; a hash that was not asked for is absent."""
    chain_nonce: int | None = None
    """The next nonce that the chain takes from the keeper (a receipt for nonce n proves n + 1); None: not known."""


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
class Wait:
    reason: str


@dataclass(frozen=True, slots=True)
class Abandon:
    """Stop working on it. Unless the nonce is spent, the next intent takes it over and must outbid these fees."""

    reason: str
    is_nonce_spent: bool = False


@dataclass(frozen=True, slots=True)
class Settle:
    """A receipt decides; `is_final` once enough blocks are on top of it."""

    outcome: Included | Reverted
    is_final: bool


Step = Sign | Broadcast | Wait | Abandon | Settle


def next_step(intent: Intent, view: View, now: int, policy: FeePolicy) -> Step:
    """What to do with an intent now (`now` and deadlines in unix seconds)."""
    if intent.state is State.FINAL:
        return Wait("settled")
    settled = _settle(intent, view, policy)
    if settled is not None:
        return settled
    if intent.state in (State.REPLACED, State.ABANDONED):
        return Wait("given up; only a receipt changes that")
    if _is_nonce_spent(intent, view):
        return Abandon(f"another transaction used nonce {intent.nonce}", is_nonce_spent=True)
    if intent.state is State.MINED and not _is_reorganised_away(intent, view):
        return Wait("waiting for blocks on top")
    if now >= intent.deadline:
        return Abandon("its deadline passed before it was included")
    if not intent.attempts:
        return _first(intent.next_fees(view.market, policy))
    latest = intent.attempts[-1]
    if intent.state is State.MINED:
        return Broadcast(latest.raw)
    if now - latest.signed_at >= policy.replace_after_seconds:
        fees = intent.next_fees(view.market, policy)
        if isinstance(fees, Fees):
            return Sign(fees)
    if latest.sent_at is None or now - latest.sent_at >= policy.resend_after_seconds:
        return Broadcast(latest.raw)
    return Wait("sent; no receipt yet")


def after(intent: Intent, step: Abandon | Settle) -> Intent:
    """The intent after a step that needs no bytes; signing and sending have `Intent.signed` and `Intent.broadcast`."""
    match step:
        case Abandon():
            return replace(intent, state=State.ABANDONED, outcome=Abandoned(step.reason))
        case Settle():
            return replace(intent, state=State.FINAL if step.is_final else State.MINED, outcome=step.outcome)


def resolve_on_start(intent: Intent, view: View, now: int, policy: FeePolicy, still_simulates: bool) -> Step:
    """What a new process does with an unfinished intent; `view` must hold the nonce and an answer for every receipt.

    A receipt settles it. Bytes whose deadline has not passed and that still simulate with every rescue succeeding are
    sent again as they are; everything else is abandoned, its nonce and fee floor kept, and the next cycle plans anew.
    """
    step = next_step(intent, view, now, policy)
    if isinstance(step, Settle | Abandon) or not (intent.is_live or intent.state in (State.PLANNED, State.MINED)):
        return step
    if not intent.attempts:
        return Abandon("it was never signed")
    if intent.state is State.MINED and isinstance(step, Wait):
        return step
    if not still_simulates:
        return Abandon("found at start, and it would not succeed any more")
    return Broadcast(intent.attempts[-1].raw)


# Nonce and fees -------------------------------------------------------------------------------------------------------


def may_replace(in_flight: Intent, lane: Lane, fee_ceiling_wei: int | None, now: int, policy: FeePolicy) -> bool:
    """Whether a new batch takes over the nonce of the one in flight (`now` in unix seconds).

    Only a critical one does: from a routine one at any time, from another critical one that is stuck when its own
    ceiling is higher (None: not known yet, taken to be so). Stuck is what was neither included nor made dearer for
    `replace_after_seconds`: what is at risk does not justify today's fees for it, and others must not wait for that.
    """
    if not in_flight.is_live or lane is not Lane.CRITICAL:
        return False
    if in_flight.lane is Lane.ROUTINE:
        return True
    is_stuck = now - in_flight.attempts[-1].signed_at >= policy.replace_after_seconds
    return is_stuck and (fee_ceiling_wei is None or fee_ceiling_wei > in_flight.fee_ceiling_wei)


def fee_floor(nonce: int, earlier: Iterable[Intent]) -> Fees | None:
    """The highest fees of any bytes with a nonce that a node may have; None without any. `earlier` may hold any
    intents. What every node refused is in no pool and need not be outbid."""
    floor: Fees | None = None
    for intent in earlier:
        highest = intent.highest_fees if intent.nonce == nonce and not isinstance(intent.outcome, Refused) else None
        if highest is not None:
            floor = highest if floor is None else floor.at_least(highest)
    return floor


def leanest_fees(market: Market, lane: Lane, nonce: int, intents: Iterable[Intent]) -> Fees:
    """For a node that takes no more, because of the balance or a cap of its own: what the next block takes for
    certain, and the least above what a node was seen to take with this nonce."""
    tip = market.tip_wei(lane)
    fees = Fees(market.base_fee_wei + tip, tip)
    for intent in intents:
        for attempt in intent.attempts:
            if attempt.nonce == nonce and attempt.sent_at is not None:
                fees = fees.at_least(attempt.fees.bumped())
    return fees


def next_nonce_fees(
    market: Market,
    lane: Lane,
    policy: FeePolicy,
    ceiling_wei: int,
    floor: Fees | None,
    bumped_wei_max: int | None = None,
) -> Fees | TooExpensive:
    """Fees at which a transaction with this nonce is accepted and likely included, at most `ceiling_wei` per gas.

    Both fields are at least 9/8 of `floor` (earlier bytes with the same nonce) and never below the market: a
    replacement that only satisfies the bump rule would be as stuck as what it replaces. Where the bump rule demands
    more than the ceiling and the market does not, the fee goes up to `bumped_wei_max`: what is paid is the market's
    base fee and the tip, not the fee that is offered.
    """
    tip = market.tip_wei(lane)
    wanted = Fees(market.base_fee_wei * policy.base_fee_multiple + tip, tip)
    # Below base fee + 1 wei of tip no block takes it; below the bump no node does.
    least = Fees(market.base_fee_wei + 1, 0)
    if floor is not None:
        bumped = floor.bumped()
        wanted, least = wanted.at_least(bumped), least.at_least(bumped)
    needed = max(least.max_fee_wei, least.tip_wei)
    if needed > ceiling_wei:
        paid = market.base_fee_wei + max(least.tip_wei, 1)
        if paid > ceiling_wei:
            return TooExpensive(paid, ceiling_wei)
        most = ceiling_wei if bumped_wei_max is None else bumped_wei_max
        if needed > most:
            return TooExpensive(needed, most, is_for_bump=True)
        return Fees(needed, min(wanted.tip_wei, max(ceiling_wei - market.base_fee_wei, least.tip_wei)))
    max_fee = min(max(wanted.max_fee_wei, wanted.tip_wei), ceiling_wei)
    return Fees(max_fee, min(wanted.tip_wei, max_fee))


_NOT_ASKED = object()


def _bumped(wei: int) -> int:
    return max(-(-wei * BUMP.numerator // BUMP.denominator), wei + 1)


def _first(fees: Fees | TooExpensive) -> Step:
    match fees:
        case Fees():
            return Sign(fees)
        case TooExpensive(needed, ceiling, is_for_bump=True):
            return Abandon(
                f"what was sent before with its nonce is outbid by {needed} wei, and at most {ceiling} wei are allowed"
            )
        case TooExpensive(needed, ceiling):
            return Abandon(f"gas costs {needed} wei and the value at risk justifies {ceiling} wei")


def _settle(intent: Intent, view: View, policy: FeePolicy) -> Step | None:
    for attempt in intent.attempts:
        receipt = view.receipts.get(attempt.hash)
        if receipt is None:
            continue
        outcome = Included(receipt) if receipt.succeeded else Reverted(receipt)
        is_final = view.block_number - receipt.block_number >= policy.final_after_blocks
        if intent.state is State.MINED and intent.outcome == outcome and not is_final:
            return Wait("waiting for blocks on top")
        return Settle(outcome, is_final)
    return None


def _is_nonce_spent(intent: Intent, view: View) -> bool:
    """Only when every receipt was asked for: a nonce that moved on with an unseen receipt is most likely our own."""
    return (
        view.chain_nonce is not None
        and view.chain_nonce > intent.nonce
        and all(view.receipts.get(attempt.hash, _NOT_ASKED) is None for attempt in intent.attempts)
    )


def _is_reorganised_away(intent: Intent, view: View) -> bool:
    """Whether the receipt that was seen is asked for and gone; one that was not asked for proves nothing."""
    match intent.outcome:
        case Included(receipt) | Reverted(receipt):
            return view.receipts.get(receipt.hash, _NOT_ASKED) is None
        case _:
            return False

"""The life of one batch on its way to the chain: a state machine on plain data, and `TABLE` is all of it.

```
PLANNED ──► SIGNED ──► BROADCAST ──► MINED ──► FINAL
   │           │        ▲ │            │
   │           └──► DOUBTED ◄──────────┘ reorganised away, or left by another process
   └───────────────────┴──► ABANDONED (deadline, cost, nonce) or REPLACED (by another batch with the same nonce)
```

`keeper.core.steps` finds out which event happened; whoever carries out its effect journals the new intent *before*
acting. Nothing here sends, signs or reads a clock. Whatever an intent's state, a receipt of any attempt ever made
decides over it: bytes that were sent can land as long as their nonce is open.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from keeper.core.fees import FeePolicy, Fees, Market, TooExpensive, next_nonce_fees
from keeper.core.plan import Lane

# States, events, effects ----------------------------------------------------------------------------------------------


class State(Enum):
    PLANNED = "planned"
    """Decided and written down; no bytes exist."""
    SIGNED = "signed"
    """Bytes exist and are durable; whether any node has them is not known."""
    BROADCAST = "broadcast"
    """A node took its bytes."""
    DOUBTED = "doubted"
    """Bytes exist, and whether they still make sense has to be tried out before they are offered again."""
    MINED = "mined"
    """A receipt exists, and the block under it may still go away."""
    FINAL = "final"
    REPLACED = "replaced"
    """Another intent took over its nonce; its bytes may still land in that one's place."""
    ABANDONED = "abandoned"
    """Nothing more is done for it; its bytes may still land."""


FINISHED = (State.FINAL, State.REPLACED, State.ABANDONED)
"""Nothing is to be done in them."""


class Event(Enum):
    """What can happen to an intent. Those that are seen come first, in the order in which they count."""

    FINALISED = "a receipt that no reorganisation takes away any more"
    INCLUDED = "a receipt that was not known, or another one than was known"
    SETTLED = "the receipt that was known"
    SPENT = "its nonce is used, and by none of its own bytes"
    LATE = "its deadline passed"
    GONE = "the receipt that was known is there no more"
    GAP = "a lower nonce is used by nothing of ours any more, so that its own cannot be"
    UNPROVEN = "whether its bytes still succeed is not known"
    FOUND = "another process left it"
    DUE = "it has no bytes"
    DEAR = "it has no bytes, and none are worth their price"
    STUCK = "it was not included in time, and dearer bytes are worth their price"
    UNHEARD = "no node is known to have its bytes, or not for some time"
    QUIET = "nothing new"

    SIGNED = "bytes were made for it"
    ACCEPTED = "a node has its bytes"
    REFUSED = "no node can have any of its bytes"
    OUTBID = "another intent takes its nonce"
    HOPELESS = "it would not succeed, or the signer or the nodes refuse it, and a node may have bytes of it"


class Effect(Enum):
    """What has to be done, once the new state is durable."""

    NOTHING = "nothing"
    SIGN = "sign it, with fees for today"
    OFFER = "offer its latest bytes to nodes"
    RECONSIDER = "try out whether its latest bytes still succeed, then offer them or give it up"
    STOP = "do no more for it"
    TELL = "tell what became of it"


Transition = tuple[Effect, State]

TABLE: Mapping[State, Mapping[Event, Transition]] = {
    State.PLANNED: {
        Event.SPENT: (Effect.STOP, State.ABANDONED),
        Event.LATE: (Effect.STOP, State.ABANDONED),
        Event.GAP: (Effect.STOP, State.ABANDONED),
        Event.FOUND: (Effect.STOP, State.ABANDONED),
        Event.DUE: (Effect.SIGN, State.PLANNED),
        Event.DEAR: (Effect.STOP, State.ABANDONED),
        Event.SIGNED: (Effect.OFFER, State.SIGNED),
        Event.REFUSED: (Effect.STOP, State.ABANDONED),
    },
    State.SIGNED: {
        Event.FINALISED: (Effect.TELL, State.FINAL),
        Event.INCLUDED: (Effect.TELL, State.MINED),
        Event.SPENT: (Effect.STOP, State.ABANDONED),
        Event.LATE: (Effect.STOP, State.ABANDONED),
        Event.GAP: (Effect.STOP, State.ABANDONED),
        Event.FOUND: (Effect.RECONSIDER, State.DOUBTED),
        Event.STUCK: (Effect.SIGN, State.SIGNED),
        Event.UNHEARD: (Effect.OFFER, State.SIGNED),
        Event.QUIET: (Effect.NOTHING, State.SIGNED),
        Event.SIGNED: (Effect.OFFER, State.SIGNED),
        Event.ACCEPTED: (Effect.NOTHING, State.BROADCAST),
        Event.REFUSED: (Effect.STOP, State.ABANDONED),
        Event.OUTBID: (Effect.NOTHING, State.REPLACED),
        Event.HOPELESS: (Effect.STOP, State.ABANDONED),
    },
    State.BROADCAST: {
        Event.FINALISED: (Effect.TELL, State.FINAL),
        Event.INCLUDED: (Effect.TELL, State.MINED),
        Event.SPENT: (Effect.STOP, State.ABANDONED),
        Event.LATE: (Effect.STOP, State.ABANDONED),
        Event.GAP: (Effect.STOP, State.ABANDONED),
        Event.FOUND: (Effect.RECONSIDER, State.DOUBTED),
        Event.STUCK: (Effect.SIGN, State.BROADCAST),
        Event.UNHEARD: (Effect.OFFER, State.BROADCAST),
        Event.QUIET: (Effect.NOTHING, State.BROADCAST),
        Event.SIGNED: (Effect.OFFER, State.SIGNED),
        Event.ACCEPTED: (Effect.NOTHING, State.BROADCAST),
        Event.OUTBID: (Effect.NOTHING, State.REPLACED),
        Event.HOPELESS: (Effect.STOP, State.ABANDONED),
    },
    State.DOUBTED: {
        Event.FINALISED: (Effect.TELL, State.FINAL),
        Event.INCLUDED: (Effect.TELL, State.MINED),
        Event.SPENT: (Effect.STOP, State.ABANDONED),
        Event.LATE: (Effect.STOP, State.ABANDONED),
        Event.GAP: (Effect.STOP, State.ABANDONED),
        Event.UNPROVEN: (Effect.RECONSIDER, State.DOUBTED),
        Event.SIGNED: (Effect.OFFER, State.SIGNED),
        Event.ACCEPTED: (Effect.NOTHING, State.BROADCAST),
        Event.OUTBID: (Effect.NOTHING, State.REPLACED),
        Event.REFUSED: (Effect.STOP, State.ABANDONED),
        Event.HOPELESS: (Effect.STOP, State.ABANDONED),
    },
    State.MINED: {
        Event.FINALISED: (Effect.TELL, State.FINAL),
        Event.INCLUDED: (Effect.TELL, State.MINED),
        Event.SETTLED: (Effect.NOTHING, State.MINED),
        Event.SPENT: (Effect.STOP, State.ABANDONED),
        Event.LATE: (Effect.STOP, State.ABANDONED),
        Event.GONE: (Effect.RECONSIDER, State.DOUBTED),
        Event.QUIET: (Effect.NOTHING, State.MINED),
    },
    State.FINAL: {
        Event.SETTLED: (Effect.NOTHING, State.FINAL),
    },
    State.REPLACED: {
        Event.FINALISED: (Effect.TELL, State.FINAL),
        Event.INCLUDED: (Effect.TELL, State.MINED),
        Event.QUIET: (Effect.NOTHING, State.REPLACED),
    },
    State.ABANDONED: {
        Event.FINALISED: (Effect.TELL, State.FINAL),
        Event.INCLUDED: (Effect.TELL, State.MINED),
        Event.QUIET: (Effect.NOTHING, State.ABANDONED),
    },
}
"""What has to be done in which state when something happens, and the state after it. What is not in it cannot be."""


# Outcomes -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Receipt:
    hash: str
    block_number: int
    block_hash: str
    succeeded: bool
    gas_used: int
    gas_price_wei: int
    """The effective one."""
    data_fee_wei: int = 0
    """What a rollup took besides for the transaction's bytes."""

    @property
    def cost_wei(self) -> int:
        return self.gas_used * self.gas_price_wei + self.data_fee_wei


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
    """The highest fees of other intents' bytes with this nonce, which its next bytes must outbid."""
    state: State = State.PLANNED
    attempts: tuple[Attempt, ...] = ()
    outcome: Outcome | None = None

    @property
    def is_live(self) -> bool:
        """Whether it holds the dispatcher: something is signed or sent and not settled."""
        return self.state in (State.SIGNED, State.BROADCAST, State.DOUBTED)

    @property
    def is_given_up(self) -> bool:
        """Whether only a receipt changes anything about it."""
        return self.state in (State.REPLACED, State.ABANDONED)

    @property
    def receipt(self) -> Receipt | None:
        """The one that was seen last, if it still holds."""
        return self.outcome.receipt if isinstance(self.outcome, Included | Reverted) else None

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

    def next_fees(self, market: Market, policy: FeePolicy) -> Fees | TooExpensive:
        """For its next bytes. Only its first may the bump rule lift above its ceiling, because of earlier intents':
        after them there are bytes of its own to be kept alive, and no node can drive it up."""
        most = self.fee_ceiling_wei if self.attempts else max(self.fee_ceiling_wei, policy.max_fee_wei)
        return next_nonce_fees(market, self.lane, policy, self.fee_ceiling_wei, self.highest_fees, most)

    def is_private(self, now: int, policy: FeePolicy) -> bool:
        """Whether its bytes are for the private relay alone: for some time from its first signature."""
        since = self.attempts[0].signed_at if self.attempts else now
        return now < since + policy.private_seconds(self.lane)

    def signed(self, attempt: Attempt) -> "Intent":
        """With new bytes, to be journalled before they are sent. Raises ValueError for another nonce."""
        if attempt.nonce != self.nonce:
            raise ValueError(f"attempt with nonce {attempt.nonce} for an intent with nonce {self.nonce}")
        return replace(self.moved(Event.SIGNED), attempts=(*self.attempts, attempt), outcome=None)

    def broadcast(self, now: int) -> "Intent":
        """After a node accepted its latest bytes (or said that it knows them)."""
        moved = self.moved(Event.ACCEPTED)
        latest = replace(self.attempts[-1], sent_at=now)
        return replace(moved, attempts=(*self.attempts[:-1], latest), outcome=None)

    def refused(self, reason: str) -> "Intent":
        """Before anything was sent. Raises ValueError when something may have been."""
        if self.was_taken:
            raise ValueError(f"plan {self.plan_id} was sent and cannot count as refused any more")
        return replace(self.moved(Event.REFUSED), outcome=Refused(reason))

    def replaced(self, by_plan_id: str) -> "Intent":
        """After another intent took over its nonce."""
        return replace(self.moved(Event.OUTBID), outcome=Abandoned(f"replaced by plan {by_plan_id}"))

    def moved(self, event: Event) -> "Intent":
        """In the state after an event. Raises ValueError for one that cannot happen in its state."""
        _, state = transition(self, event)
        return replace(self, state=state)


def transition(intent: Intent, event: Event) -> Transition:
    """What `TABLE` says. Raises ValueError for an event that cannot happen in the intent's state."""
    found = TABLE[intent.state].get(event)
    if found is None:
        raise ValueError(f"plan {intent.plan_id} is {intent.state.value}, and then this cannot be: {event.value}")
    return found

"""Everything that was signed and may still land, or whose block may still go away; and whose each nonce is."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Protocol

from keeper.chain.answers import MinedTransaction
from keeper.chain.batch import Change
from keeper.core.fees import Fees
from keeper.core.intent import Intent, Refused, State
from keeper.core.snapshot import Block
from keeper.core.steps import Abandon, after, fee_floor, taken_fees

Mined = Mapping[str, MinedTransaction | None]
"""Receipts by hash; None for a transaction that no block has."""


class IntentJournal(Protocol):
    """What of `Journal` it takes."""

    def save_intent(self, intent: Intent, now: int) -> None: ...
    def open_intents(self) -> tuple[Intent, ...]: ...
    def intents_from_nonce(self, nonce: int) -> tuple[Intent, ...]: ...
    def final_nonce(self) -> int: ...
    def untold_intents(self) -> tuple[Intent, ...]: ...
    def spent_since(self, since: int) -> int: ...


class Watched:
    """The intents that are looked after, oldest first; what changes in them is durable before it is acted on."""

    def __init__(self, journal: IntentJournal) -> None:
        self._journal = journal
        self._intents: dict[str, Intent] = {}
        self._refused: set[str] = set()
        """The hashes, of these, that the nodes refused and that are in no pool therefore."""
        self._final_nonce = 0
        """The one after the last that is used for good."""
        self.chain_nonce = 0
        """The next that the chain takes, as far as is known."""
        self.untold: set[str] = set()
        """The plans whose receipt another process saw and did not live to tell."""

    def take_up(self, count: int) -> None:
        """All that another process left; `count`: how many transactions of the keeper the chain has."""
        untold = self._journal.untold_intents()
        self._final_nonce = self._journal.final_nonce()
        found = {intent.plan_id: intent for intent in self._journal.open_intents()}
        # Not from `count`: what was given up may have landed while nobody looked.
        found |= {intent.plan_id: intent for intent in self._journal.intents_from_nonce(self._final_nonce)}
        self.untold = {intent.plan_id for intent in untold}
        found |= {intent.plan_id: intent for intent in untold}
        self._intents = {
            id: intent
            for id, intent in found.items()
            if (intent.state is not State.FINAL or id in self.untold) and not isinstance(intent.outcome, Refused)
        }
        self.count(count)

    def count(self, count: int) -> None:
        """What a node counts; one that lags behind what is final is not believed."""
        self.chain_nonce = max(count, self._final_nonce)

    def __iter__(self) -> Iterator[Intent]:
        return iter(tuple(self._intents.values()))

    def get(self, plan_id: str) -> Intent | None:
        return self._intents.get(plan_id)

    @property
    def in_flight(self) -> Intent | None:
        """What is signed or sent and not settled."""
        return next((intent for intent in reversed(self._intents.values()) if intent.is_live), None)

    @property
    def free_nonce(self) -> int:
        """The first that the chain has not used and that nothing of ours holds."""
        held = {intent.nonce for intent in self if intent.is_live or intent.state is State.MINED}
        nonce = self.chain_nonce
        while nonce in held:
            nonce += 1
        return nonce

    def floor(self, nonce: int) -> Fees | None:
        return fee_floor(nonce, self)

    def outbidding(self, intent: Intent) -> Intent:
        """The intent with the fees that its next bytes must outbid: those of others with its nonce as well, which may
        have come after it. A reorganisation brings back one that was included while they lost."""
        floor = self.floor(intent.nonce)
        return intent if floor is None or floor == intent.highest_fees else replace(intent, fee_floor=floor)

    def taken(self, nonce: int) -> list[Fees]:
        return taken_fees(nonce, self)

    def save(self, intent: Intent, block: Block) -> Intent:
        self._journal.save_intent(intent, block.timestamp)
        self._intents[intent.plan_id] = intent
        if intent.receipt is not None:
            self.chain_nonce = max(self.chain_nonce, intent.nonce + 1)
        if intent.state is State.FINAL:
            self._final_nonce = max(self._final_nonce, intent.nonce + 1)
        return intent

    def refuse(self, intent: Intent, reason: str, block: Block) -> Change:
        """It is not sent, and no node can have any bytes of it."""
        return Change(self.save(intent.refused(reason), block), f"refused: {reason}")

    def stop(self, intent: Intent, step: Abandon, block: Block) -> Change:
        """No more for this intent: refused if no node can have any bytes of it, else given up."""
        if self.is_nowhere(intent):
            return self.refuse(intent, step.reason, block)
        return Change(self.save(after(intent, step), block), f"given up: {step.reason}")

    def was_refused(self, hash: str) -> None:
        self._refused.add(hash)

    def is_nowhere(self, intent: Intent) -> bool:
        """Whether no node can have any bytes of it."""
        return not intent.was_taken and all(attempt.hash in self._refused for attempt in intent.attempts)

    def may_land(self, intent: Intent) -> bool:
        """Whether any node may have bytes of it that are not settled for good, with a nonce that is open."""
        return intent.nonce >= self.chain_nonce and _is_unsettled(intent)

    def is_unexplained(self, intent: Intent) -> bool:
        """Whether its nonce is used and nothing of ours is known to have used it: one endpoint may count a transaction
        before another shows its receipt."""
        return (
            self._final_nonce <= intent.nonce < self.chain_nonce
            and _is_unsettled(intent)
            and all(each.nonce != intent.nonce or each.state is not State.MINED for each in self)
        )

    def forget(self, now: int) -> None:
        """Lets go of what can neither land nor be undone any more; what is not explained has until its deadline."""
        undecided = {intent.nonce for intent in self if intent.state is State.MINED}
        self._intents = {
            intent.plan_id: intent
            for intent in self
            if intent.is_live
            or intent.state is State.MINED
            or self.may_land(intent)
            or (intent.nonce in undecided and _is_unsettled(intent))
            or (now < intent.deadline and self.is_unexplained(intent))
        }
        self._refused &= {attempt.hash for intent in self for attempt in intent.attempts}


def _is_unsettled(intent: Intent) -> bool:
    return bool(intent.attempts) and intent.state is not State.FINAL and not isinstance(intent.outcome, Refused)


def settled_first(intents: Iterable[Intent], mined: Mined) -> list[Intent]:
    """Those with a receipt before the others: whoever used a nonce decides about whoever else wanted it."""
    return sorted(intents, key=lambda intent: not has_receipt(intent, mined))


def has_receipt(intent: Intent, mined: Mined) -> bool:
    return any(mined.get(attempt.hash) is not None for attempt in intent.attempts)


def until(block: Block, mined: Mined) -> Mined:
    """Only what was included by `block`."""
    return {
        hash: None if found is None or found.receipt.block_number > block.number else found
        for hash, found in mined.items()
    }

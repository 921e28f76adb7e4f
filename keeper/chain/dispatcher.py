"""Gets one batch at a time onto the chain, and knows what became of every transaction that it ever signed.

`core/intent.py` decides what to do with what is seen; this carries it out, in an order that survives a crash at any
point: bytes are durable in the journal before a node is given them, and a nonce is given up only when its bytes cannot
land any more. Time here is the chain's: `now` is the timestamp of the newest block, as in the guard's own deadline.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from keeper.chain.answers import MinedTransaction
from keeper.chain.fees import FeeOracle
from keeper.chain.send_errors import SendError, classify_send_error
from keeper.chain.signer import Signer, Transaction, decode_signed
from keeper.core.intent import (
    Abandon,
    Attempt,
    Broadcast,
    FeePolicy,
    Fees,
    Included,
    Intent,
    Receipt,
    Refused,
    Reverted,
    Settle,
    Sign,
    State,
    Step,
    View,
    Wait,
    after,
    fee_floor,
    leanest_fees,
    may_replace,
    next_step,
    resolve_on_start,
)
from keeper.core.plan import Lane
from keeper.core.snapshot import Block
from keeper.core.units import Address
from keeper.errors import ChainError, NodeRefused, SigningRefused
from keeper.protocols.base import Log
from keeper.protocols.guard_batch import pause_calldata

SIGNATURES_PER_STEP_MAX = 3
"""How often fees are raised at once when a node says that they are too low; after that the next block decides."""
BUDGET_WINDOW_SECONDS = 86_400
TOO_CHEAP = (SendError.UNDERPRICED, SendError.FEE_BELOW_BASE)
TOO_DEAR = (SendError.INSUFFICIENT_FUNDS, SendError.FEE_ABOVE_CAP)


@dataclass(frozen=True, slots=True)
class Batch:
    """A plan as bytes, ready to be signed."""

    plan_id: str
    lane: Lane
    calldata: bytes
    gas: int
    deadline: int
    """Unix seconds, the same as in the calldata."""
    fee_ceiling_wei: int
    """The most per gas that the value at risk justifies."""

    @property
    def is_pause(self) -> bool:
        """Whether it is the guard's own `pause`: nothing here holds that back."""
        return self.calldata == pause_calldata()


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to an intent, for the log and for whoever waits for it."""

    intent: Intent
    did: str
    """A clause: `sent as 0x…`, `included in block 17`."""
    logs: tuple[Log, ...] = ()
    """Its events, when a receipt came in."""
    is_first: bool = False
    """Whether a receipt came in that was not seen before, whatever the new state: of its first inclusion, or of one in
    another block after a reorganisation."""


class TransactionNode(Protocol):
    """What of `Rpc` it takes."""

    async def transaction_count(self, account: Address) -> int: ...
    async def receipt(self, hash: str) -> MinedTransaction | None: ...
    async def send_raw(self, raw: bytes) -> str: ...


class IntentJournal(Protocol):
    """What of `Journal` it takes."""

    def save_intent(self, intent: Intent, now: int) -> None: ...
    def open_intents(self) -> tuple[Intent, ...]: ...
    def intents_from_nonce(self, nonce: int) -> tuple[Intent, ...]: ...
    def spent_since(self, since: int) -> int: ...


StillSucceeds = Callable[[bytes, int], Awaitable[bool]]
"""Whether every rescue of a batch with this calldata and gas limit succeeds now."""


class Dispatcher:
    """Serial: one batch on its way, unless a critical one takes the nonce of a routine one."""

    def __init__(
        self,
        node: TransactionNode,
        signer: Signer,
        journal: IntentJournal,
        fees: FeeOracle,
        policy: FeePolicy,
        *,
        chain_id: int,
        guard: Address,
        daily_budget_wei: int,
    ) -> None:
        self._node = node
        self._signer = signer
        self._journal = journal
        self._fees = fees
        self._policy = policy
        self._chain_id = chain_id
        self._guard = guard
        self._daily_budget_wei = daily_budget_wei
        self._chain_nonce = 0
        self._now = 0
        """The timestamp of the newest block that was looked at."""
        self._watched: dict[str, Intent] = {}
        """All whose bytes may still land or whose block may still go away, oldest first."""
        self._refused: set[str] = set()
        """The hashes, of these, that the node refused and that are in no pool therefore."""

    @property
    def in_flight(self) -> Intent | None:
        """What is signed or sent and not settled; while there is one only a critical batch is taken."""
        return next((intent for intent in reversed(self._watched.values()) if intent.is_live), None)

    def takes(self, lane: Lane, fee_ceiling_wei: int | None = None) -> bool:
        """Whether `submit` would take a batch of this lane now; without its ceiling, whether it may at all.

        The guard's own pause is always taken.
        """
        return self.in_flight is None or may_replace(self.in_flight, lane, fee_ceiling_wei, self._now, self._policy)

    # Start ------------------------------------------------------------------------------------------------------------

    async def start(self, block: Block, still_succeeds: StillSucceeds, *, may_send: bool = True) -> list[Change]:
        """Takes up what an earlier process left: call it before anything else, and again until it raises no ChainError.

        `may_send` is that of `advance`.
        """
        self._now = block.timestamp
        # The nonce first: a batch that is mined in between then shows as a receipt and not as lost.
        self._chain_nonce = await self._node.transaction_count(self._signer.address)
        found = {intent.plan_id: intent for intent in self._journal.open_intents()}
        found |= {intent.plan_id: intent for intent in self._journal.intents_from_nonce(self._chain_nonce)}
        self._watched = {
            id: intent
            for id, intent in found.items()
            if intent.state is not State.FINAL and not isinstance(intent.outcome, Refused)
        }
        mined = await self._receipts(self._watched.values())
        changes: list[Change] = []
        for intent in _settled_first(self._watched.values(), mined):
            if intent.state in (State.REPLACED, State.ABANDONED):
                step = next_step(intent, self._view(block, mined), block.timestamp, self._policy)
            else:
                step = await self._resolve(intent, block, mined, still_succeeds)
            if _is_allowed(intent, step, may_send=may_send):
                changes += await self._act(intent, step, block, mined)
        self._forget()
        return changes

    async def _resolve(
        self, intent: Intent, block: Block, mined: Mapping[str, MinedTransaction | None], still_succeeds: StillSucceeds
    ) -> Step:
        view = self._view(block, mined)
        # One that is settled or too late needs no simulation.
        step = resolve_on_start(intent, view, block.timestamp, self._policy, still_simulates=True)
        if not isinstance(step, Broadcast):
            return step
        signed = decode_signed(step.raw)
        succeeds = await still_succeeds(signed.data, signed.gas)
        return resolve_on_start(intent, view, block.timestamp, self._policy, succeeds)

    # Every block ------------------------------------------------------------------------------------------------------

    async def advance(self, block: Block, *, blocks_may_be_gone: bool = False, may_send: bool = True) -> list[Change]:
        """Looks after everything that was ever sent: once per block. Raises ChainError.

        One receipt request per live hash. What is mined is asked for again when it may be final, or when
        `blocks_may_be_gone`: after a reorganisation, or when heads were missed. Without `may_send` nothing is offered
        to a node again and nothing is replaced, except the guard's own pause: the keeper's pause holds for what is on
        its way as well.
        """
        self._now = block.timestamp
        asked = [intent for intent in self._watched.values() if blocks_may_be_gone or self._is_asked_for(intent, block)]
        # Included after `block`, it is still on its way in what `block` shows: settled now, it would be planned again.
        mined = _until(block, await self._receipts(asked))
        if any(intent.state is State.MINED and not _has_receipt(intent, mined) for intent in asked):
            # A block with one of ours is gone: the nonce that we know is as well. The nonce first, as at the start.
            self._chain_nonce = await self._node.transaction_count(self._signer.address)
            asked = list(self._watched.values())
            mined = await self._receipts(asked)
        changes: list[Change] = []
        for intent in _settled_first(asked, mined):
            step = next_step(intent, self._view(block, mined), block.timestamp, self._policy)
            if _is_allowed(intent, step, may_send=may_send):
                changes += await self._act(intent, step, block, mined)
        self._forget()
        return changes

    def _is_asked_for(self, intent: Intent, block: Block) -> bool:
        receipt = _receipt(intent)
        if intent.state is State.MINED and receipt is not None:
            return block.number - receipt.block_number >= self._policy.final_after_blocks
        return intent.is_live or (intent.nonce >= self._chain_nonce and _may_land(intent))

    # Sending ----------------------------------------------------------------------------------------------------------

    async def submit(self, batch: Batch, block: Block) -> list[Change]:
        """Signs, writes down and sends a batch; one request when all is well.

        What keeps it from being sent is a `Refused` outcome of its intent. The batch that it takes the nonce of comes
        back as replaced. Raises ValueError while one is in flight that it may not replace: ask `takes` first. The
        guard's own pause replaces whatever is in flight, and no budget holds it back.
        """
        self._now = block.timestamp
        replaced = self.in_flight
        if replaced is not None and not batch.is_pause and not self.takes(batch.lane, batch.fee_ceiling_wei):
            raise ValueError(f"plan {replaced.plan_id} is still on its way")
        known = self._watched.get(batch.plan_id)
        if known is not None and known.attempts:
            return [Change(known, "not sent again: this very plan was tried before, and the next block plans anew")]
        nonce = self._next_nonce() if replaced is None else replaced.nonce
        floor = fee_floor(nonce, self._watched.values())
        intent = Intent(batch.plan_id, batch.lane, nonce, batch.deadline, batch.fee_ceiling_wei, floor)
        over_budget = None if batch.is_pause else self._over_budget(batch, block)
        if over_budget is not None:
            return [self._refuse(intent, over_budget, block)]
        step = next_step(intent, self._view(block, {}), block.timestamp, self._policy)
        if isinstance(step, Abandon):
            return [self._refuse(intent, step.reason, block)]
        if not isinstance(step, Sign):
            raise ValueError(f"a new intent is signed or refused, not {step}")
        changes: list[Change] = []
        if replaced is not None:
            # Before the new bytes exist: a crash in between leaves nobody who resends the old ones.
            replaced = self._save(replaced.replaced(batch.plan_id), block)
            changes.append(Change(replaced, f"gives its nonce {nonce} to plan {batch.plan_id}"))
        transaction = Transaction(self._chain_id, nonce, self._guard, batch.calldata, batch.gas, step.fees)
        return [*changes, *await self._sign_and_send(intent, transaction, block)]

    def _over_budget(self, batch: Batch, block: Block) -> str | None:
        market = self._fees.market(block)
        expected_wei = batch.gas * (market.base_fee_wei + market.tip_wei(batch.lane))
        spent_wei = self._journal.spent_since(block.timestamp - BUDGET_WINDOW_SECONDS)
        if spent_wei + expected_wei <= self._daily_budget_wei:
            return None
        return (
            f"it would cost up to {expected_wei} wei, {spent_wei} wei were spent in 24 hours, and the budget is "
            f"{self._daily_budget_wei} wei; raise [fees] daily_budget"
        )

    async def _sign_and_send(self, intent: Intent, transaction: Transaction, block: Block) -> list[Change]:
        """New bytes for an intent: signed, durable, then offered; with other fees when a node finds them wrong."""
        for _ in range(SIGNATURES_PER_STEP_MAX - 1):
            intent, changes, error = await self._sign_and_offer(intent, transaction, block)
            fees = self._other_fees(intent, error, block)
            if fees is None:
                return changes
            transaction = replace(transaction, fees=fees)
        _, changes, _ = await self._sign_and_offer(intent, transaction, block)
        return changes

    async def _sign_and_offer(
        self, intent: Intent, transaction: Transaction, block: Block
    ) -> tuple[Intent, list[Change], SendError | None]:
        try:
            signed = await self._signer.sign(transaction)
        except SigningRefused as refusal:
            return intent, [self._stop(intent, str(refusal), block)], None
        attempt = Attempt(signed.hash, signed.raw, transaction.nonce, transaction.fees, block.timestamp)
        intent = self._save(intent.signed(attempt), block)
        return intent, *await self._offer(intent, block, is_new=True)

    def _other_fees(self, intent: Intent, error: SendError | None, block: Block) -> Fees | None:
        """What to sign instead of the latest bytes, which the node refused for their fees; None when nothing helps."""
        market = self._fees.market(block)
        if error in TOO_CHEAP:
            fees = intent.next_fees(market, self._policy)
            return fees if isinstance(fees, Fees) else None
        if error in TOO_DEAR:
            leanest = leanest_fees(market, intent.lane, intent.nonce, self._watched.values())
            return leanest if leanest.max_fee_wei < intent.attempts[-1].fees.max_fee_wei else None
        return None

    async def _offer(
        self, intent: Intent, block: Block, *, is_new: bool = False
    ) -> tuple[list[Change], SendError | None]:
        """Hands the latest bytes to the node; `is_new` when no node can have them yet."""
        attempt = intent.attempts[-1]
        try:
            await self._node.send_raw(attempt.raw)
        except NodeRefused as refusal:
            error = classify_send_error(refusal.reason)
            if is_new and error in (*TOO_CHEAP, *TOO_DEAR, SendError.INVALID):
                self._refused.add(attempt.hash)
            return await self._refused_by_node(intent, error, refusal.reason, block), error
        except ChainError as fault:
            # It may have arrived all the same: it stays signed, and the same bytes are offered again next block.
            return [Change(intent, f"not known to be sent: {fault}")], None
        return [Change(self._save(intent.broadcast(block.timestamp), block), f"sent as {attempt.hash}")], None

    async def _refused_by_node(self, intent: Intent, error: SendError, reason: str, block: Block) -> list[Change]:
        match error:
            case SendError.ALREADY_KNOWN:
                known = self._save(intent.broadcast(block.timestamp), block)
                return [Change(known, f"sent before as {intent.attempts[-1].hash}")]
            case SendError.NONCE_TOO_LOW:
                return await self._resync(intent, block)
            case SendError.INSUFFICIENT_FUNDS | SendError.FEE_ABOVE_CAP | SendError.INVALID:
                return [self._stop(intent, f"the node refuses it: {reason}", block)]
            case SendError.UNDERPRICED | SendError.FEE_BELOW_BASE | SendError.POOL_FULL | SendError.UNKNOWN:
                return [Change(intent, f"not taken by the node: {reason}")]

    async def _resync(self, intent: Intent, block: Block) -> list[Change]:
        """The node says that the nonce is used: by these bytes, by others of ours, or by somebody else with the key."""
        self._chain_nonce = await self._node.transaction_count(self._signer.address)
        same_nonce = [each for each in self._watched.values() if each.nonce == intent.nonce]
        mined = await self._receipts(same_nonce)
        changes: list[Change] = []
        for each in _settled_first(same_nonce, mined):
            step = next_step(each, self._view(block, mined), block.timestamp, self._policy)
            if isinstance(step, Abandon | Settle):
                changes += await self._act(each, step, block, mined)
        return changes or [Change(intent, f"waits: the node says that nonce {intent.nonce} is used")]

    # Carrying out -----------------------------------------------------------------------------------------------------

    async def _act(
        self, intent: Intent, step: Step, block: Block, mined: Mapping[str, MinedTransaction | None]
    ) -> list[Change]:
        match step:
            case Wait():
                return []
            case Sign(fees):
                signed = decode_signed(intent.attempts[-1].raw)
                return await self._sign_and_send(intent, replace(signed, fees=fees), block)
            case Broadcast(raw):
                changes, error = await self._offer(intent, block)
                fees = self._other_fees(intent, error, block)
                if fees is None:
                    return changes
                return await self._sign_and_send(intent, replace(decode_signed(raw), fees=fees), block)
            case Abandon(reason):
                return [self._stop(intent, reason, block)]
            case Settle(outcome, is_final):
                receipt, known = outcome.receipt, _receipt(intent)
                self._chain_nonce = max(self._chain_nonce, intent.nonce + 1)
                settled = self._save(after(intent, step), block)
                found = mined.get(receipt.hash)
                did = "final" if is_final else "included" if receipt.succeeded else "reverted"
                logs = () if found is None else found.logs
                is_first = known is None or (known.hash, known.block_hash) != (receipt.hash, receipt.block_hash)
                return [Change(settled, f"{did} in block {receipt.block_number} as {receipt.hash}", logs, is_first)]

    def _refuse(self, intent: Intent, reason: str, block: Block) -> Change:
        return Change(self._save(intent.refused(reason), block), f"refused: {reason}")

    def _stop(self, intent: Intent, reason: str, block: Block) -> Change:
        """No more for this intent: refused if the node refused all of its bytes, else given up."""
        if not intent.was_taken and all(attempt.hash in self._refused for attempt in intent.attempts):
            return self._refuse(intent, reason, block)
        return Change(self._save(after(intent, Abandon(reason)), block), f"given up: {reason}")

    def _save(self, intent: Intent, block: Block) -> Intent:
        self._journal.save_intent(intent, block.timestamp)
        self._watched[intent.plan_id] = intent
        return intent

    async def _receipts(self, intents: Iterable[Intent]) -> dict[str, MinedTransaction | None]:
        hashes = [attempt.hash for intent in intents for attempt in intent.attempts]
        answers = await asyncio.gather(*(self._node.receipt(hash) for hash in hashes))
        return dict(zip(hashes, answers, strict=True))

    def _view(self, block: Block, mined: Mapping[str, MinedTransaction | None]) -> View:
        receipts = {hash: None if found is None else found.receipt for hash, found in mined.items()}
        return View(block.number, self._fees.market(block), receipts, self._chain_nonce)

    def _next_nonce(self) -> int:
        """The first that the chain has not used and that nothing of ours holds."""
        held = {intent.nonce for intent in self._watched.values() if intent.is_live or intent.state is State.MINED}
        nonce = self._chain_nonce
        while nonce in held:
            nonce += 1
        return nonce

    def _forget(self) -> None:
        """Lets go of what can neither land nor be undone any more."""
        undecided = {intent.nonce for intent in self._watched.values() if intent.state is State.MINED}
        self._watched = {
            id: intent
            for id, intent in self._watched.items()
            if intent.is_live
            or intent.state is State.MINED
            or (_may_land(intent) and (intent.nonce >= self._chain_nonce or intent.nonce in undecided))
        }
        self._refused &= {attempt.hash for intent in self._watched.values() for attempt in intent.attempts}


def _is_allowed(intent: Intent, step: Step, *, may_send: bool) -> bool:
    """Whether a step may be carried out; without `may_send` nothing reaches a node but the guard's own pause."""
    if may_send or not isinstance(step, Sign | Broadcast):
        return True
    return bool(intent.attempts) and decode_signed(intent.attempts[-1].raw).data == pause_calldata()


def _may_land(intent: Intent) -> bool:
    """Whether any node may have bytes of it that are not settled for good."""
    return bool(intent.attempts) and intent.state is not State.FINAL and not isinstance(intent.outcome, Refused)


def _receipt(intent: Intent) -> Receipt | None:
    return intent.outcome.receipt if isinstance(intent.outcome, Included | Reverted) else None


def _until(block: Block, mined: Mapping[str, MinedTransaction | None]) -> dict[str, MinedTransaction | None]:
    return {
        hash: None if found is None or found.receipt.block_number > block.number else found
        for hash, found in mined.items()
    }


def _settled_first(intents: Iterable[Intent], mined: Mapping[str, MinedTransaction | None]) -> list[Intent]:
    """Those with a receipt before the others: whoever used a nonce decides about whoever else wanted it."""
    return sorted(intents, key=lambda intent: not _has_receipt(intent, mined))


def _has_receipt(intent: Intent, mined: Mapping[str, MinedTransaction | None]) -> bool:
    return any(mined.get(attempt.hash) is not None for attempt in intent.attempts)

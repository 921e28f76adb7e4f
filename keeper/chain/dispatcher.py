"""Gets one batch at a time onto the chain, and knows what became of every transaction that it ever signed.

`core/intent.py` decides what to do with what is seen; this carries it out, in an order that survives a crash at any
point: bytes are durable in the journal before a node is given them, and a nonce is given up only when its bytes cannot
land any more. Time here is the chain's: `now` is the timestamp of the newest block, as in the guard's own deadline.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Protocol

from keeper.chain.answers import MinedTransaction
from keeper.chain.batch import Batch, Change, told
from keeper.chain.fees import FeeOracle
from keeper.chain.offering import Offered, Offering
from keeper.chain.outlet import Outlet, Sender
from keeper.chain.signer import Signer, Transaction, decode_signed
from keeper.chain.watched import IntentJournal, Mined, Watched, has_receipt, settled_first, until
from keeper.core.fees import Budget, FeePolicy, Fees
from keeper.core.intent import Event, Intent, State
from keeper.core.plan import Lane
from keeper.core.snapshot import Block
from keeper.core.steps import (
    Abandon,
    Broadcast,
    Reconsider,
    Settle,
    Sign,
    Step,
    View,
    Wait,
    after,
    is_stuck,
    may_replace,
    next_step,
    reconsidered,
)
from keeper.core.units import Address
from keeper.protocols.guard_batch import pause_calldata

BLOCKS_BETWEEN_FINAL = 8
"""How often the chain is asked what is final, while something waits for it."""


class TransactionNode(Sender, Protocol):
    """What of `Rpc` it takes."""

    async def transaction_count(self, account: Address) -> int: ...
    async def receipt(self, hash: str) -> MinedTransaction | None: ...
    async def finalized_number(self) -> int | None: ...


StillSucceeds = Callable[[bytes, int, Block], Awaitable[bool]]
"""Whether every rescue of a batch with this calldata and gas limit succeeds on top of a block. Raises ChainError."""


class Dispatcher:
    """Serial: one batch on its way, unless another one takes its nonce."""

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
        budget: Budget,
        still_succeeds: StillSucceeds,
        relay: Sender | None = None,
    ) -> None:
        self._node = node
        self._signer = signer
        self._fees = fees
        self._policy = policy
        self._chain_id = chain_id
        self._guard = guard
        self._still_succeeds = still_succeeds
        self._watched = Watched(journal)
        self._offering = Offering(Outlet(node, relay), signer, journal, self._watched, fees, policy, budget)
        self._now = 0
        """The timestamp of the newest block that was looked at."""
        self._is_start = True
        self._blocks_may_be_gone = False
        self._final_number: int | None = None
        self._final_asked_at: int | None = None

    @property
    def in_flight(self) -> Intent | None:
        """What is signed or sent and not settled."""
        return self._watched.in_flight

    def budget_left(self, block: Block) -> dict[Lane, int]:
        """What each lane may still spend today, wei."""
        return self._offering.budget_left(block)

    @property
    def is_stuck(self) -> bool:
        """Whether what is in flight was not included in time, at the newest block that was looked at."""
        return self.in_flight is not None and is_stuck(self.in_flight, self._now, self._policy)

    def takes(
        self, lane: Lane, fees: tuple[int, Block] | None = None, *, differs: bool = True, serves_more: bool = False
    ) -> bool:
        """Whether `submit` would take a batch of this lane now: when nothing is in flight, or `steps.may_replace`.

        `fees`: its ceiling, wei per gas, and the block, to judge whether it can outbid what is in flight; without,
        that is not judged. The guard's own pause is always taken, and no rescue takes its place.
        """
        in_flight = self.in_flight
        if in_flight is None:
            return True
        if _is_pause(in_flight) or not may_replace(
            in_flight, lane, self._now, self._policy, differs=differs, serves_more=serves_more
        ):
            return False
        if fees is None:
            return True
        ceiling_wei, block = fees
        floor = self._watched.floor(in_flight.nonce)
        new = Intent("", lane, in_flight.nonce, in_flight.deadline, ceiling_wei, floor)
        return isinstance(new.next_fees(self._fees.market(block), self._policy), Fees)

    # Start ------------------------------------------------------------------------------------------------------------

    async def start(self, block: Block, *, may_send: bool = True) -> list[Change]:
        """Takes up what an earlier process left: call it before anything else, and again until it raises no ChainError.

        `may_send` is that of `advance`.
        """
        self._now = block.timestamp
        self._is_start = True
        # The nonce first: a batch that is mined in between then shows as a receipt and not as lost.
        self._watched.take_up(await self._node.transaction_count(self._signer.address))
        await self._ask_what_is_final(block)
        mined = await self._receipts(self._watched)
        changes = await self._look_after(self._watched, block, mined, may_send=may_send, may_reprice=False)
        changes = [*changes, *self._untold(mined, {change.intent.plan_id for change in changes})]
        self._is_start = False
        self._watched.forget(block.timestamp)
        return changes

    def _untold(self, mined: Mined, but: set[str]) -> list[Change]:
        """The receipts that another process saw and did not live to tell, with what they were."""
        changes: list[Change] = []
        for intent in self._watched:
            found = None if intent.receipt is None else mined.get(intent.receipt.hash)
            if intent.plan_id in self._watched.untold - but and found is not None:
                changes.append(told(intent, found, is_first=True))
        self._watched.untold.clear()
        return changes

    # Every block ------------------------------------------------------------------------------------------------------

    async def advance(
        self, block: Block, *, blocks_may_be_gone: bool = False, may_send: bool = True, may_reprice: bool = True
    ) -> list[Change]:
        """Looks after everything that was ever sent: once per block. Raises ChainError.

        One receipt request per live hash. What is mined is asked for again when it may be final, or when
        `blocks_may_be_gone`: after a reorganisation, or when heads were missed. Without `may_send` nothing is offered
        to a node again and nothing is replaced, except the guard's own pause: the keeper's pause holds for what is on
        its way as well. Without `may_reprice` nothing is made dearer: `reprice` does that once the block is planned.
        """
        self._now = block.timestamp
        self._blocks_may_be_gone |= blocks_may_be_gone
        await self._ask_what_is_final(block)
        everything = self._blocks_may_be_gone
        asked = [intent for intent in self._watched if everything or self._is_asked_for(intent, block)]
        # Included after `block`, it is still on its way in what `block` shows: settled now, it would be planned again.
        mined = until(block, await self._receipts(asked))
        if any(intent.state is State.MINED and not has_receipt(intent, mined) for intent in asked):
            # A block with one of ours is gone: the nonce that we know is as well. The nonce first, as at the start.
            await self._count()
            asked = list(self._watched)
            mined = until(block, await self._receipts(asked))
        self._blocks_may_be_gone = False
        changes = await self._look_after(asked, block, mined, may_send=may_send, may_reprice=may_reprice)
        self._watched.forget(block.timestamp)
        return changes

    async def reprice(self, block: Block) -> list[Change]:
        """Makes what is on its way dearer where it is stuck: after the block was planned and still wants it."""
        changes: list[Change] = []
        for intent in map(self._watched.outbidding, self._watched):
            step = next_step(intent, self._view(block, {}), block.timestamp, self._policy)
            if isinstance(step, Sign):
                changes += await self._act(intent, step, block, {})
        return changes

    async def _look_after(
        self, intents: Iterable[Intent], block: Block, mined: Mined, *, may_send: bool, may_reprice: bool
    ) -> list[Change]:
        changes: list[Change] = []
        for intent in settled_first(map(self._watched.outbidding, intents), mined):
            step = next_step(intent, self._view(block, mined), block.timestamp, self._policy)
            doubted = intent
            if isinstance(step, Reconsider):
                doubted = self._watched.save(after(intent, step), block)
            if _is_allowed(doubted, step, may_send=may_send, may_reprice=may_reprice):
                changes += await self._act(doubted, step, block, mined)
        return changes

    def _is_asked_for(self, intent: Intent, block: Block) -> bool:
        receipt = intent.receipt
        if intent.state is State.MINED and receipt is not None:
            if self._final_number is not None:
                return receipt.block_number <= self._final_number
            return block.number - receipt.block_number >= self._policy.final_after_blocks
        return intent.is_live or self._watched.may_land(intent) or self._watched.is_unexplained(intent)

    async def _ask_what_is_final(self, block: Block) -> None:
        """Only while something waits for it; a chain that calls nothing final has none, and blocks are counted."""
        waiting = [
            intent.receipt
            for intent in self._watched
            if intent.state is State.MINED
            and intent.receipt is not None
            and block.number - intent.receipt.block_number >= self._policy.final_after_blocks
        ]
        asked_at = self._final_asked_at
        if waiting and (asked_at is None or abs(block.number - asked_at) >= BLOCKS_BETWEEN_FINAL):
            self._final_asked_at = block.number
            self._final_number = await self._node.finalized_number()

    # Sending ----------------------------------------------------------------------------------------------------------

    async def submit(self, batch: Batch, block: Block, *, serves_more: bool = False) -> list[Change]:
        """Signs, writes down and sends a batch; one request when all is well. `serves_more` is that of `takes`.

        What keeps it from being sent is a `Refused` outcome of its intent. The batch that it takes the nonce of comes
        back as replaced. Raises ValueError while one is in flight that it may not replace: ask `takes` first. The
        guard's own pause replaces whatever is in flight, and no budget holds it back.
        """
        self._now = block.timestamp
        replaced = self.in_flight
        if replaced is not None and not batch.is_pause and not self.takes(batch.lane, serves_more=serves_more):
            raise ValueError(f"plan {replaced.plan_id} is still on its way")
        known = self._watched.get(batch.plan_id)
        if known is not None and known.attempts:
            return [Change(known, "not sent again: this very plan was tried before, and the next block plans anew")]
        nonce = self._watched.free_nonce if replaced is None else replaced.nonce
        floor = self._watched.floor(nonce)
        intent = Intent(batch.plan_id, batch.lane, nonce, batch.deadline, batch.fee_ceiling_wei, floor)
        step = next_step(intent, self._view(block, {}), block.timestamp, self._policy)
        if isinstance(step, Abandon):
            return [self._watched.refuse(intent, step.reason, block)]
        if not isinstance(step, Sign):
            raise ValueError(f"a new intent is signed or refused, not {step}")
        transaction = Transaction(self._chain_id, nonce, self._guard, batch.calldata, batch.gas, step.fees)
        objection = self._offering.objection(batch.lane, transaction, block)
        if objection is not None:
            return [self._watched.refuse(intent, objection, block)]
        changes: list[Change] = []
        if replaced is not None:
            # Before the new bytes exist: a crash in between leaves nobody who resends the old ones.
            replaced = self._watched.save(replaced.replaced(batch.plan_id), block)
            changes.append(Change(replaced, f"gives its nonce {nonce} to plan {batch.plan_id}"))
        return [*changes, *await self._settled(await self._offering.sign_and_send(intent, transaction, block), block)]

    async def _settled(self, offered: Offered, block: Block) -> list[Change]:
        """What became of bytes, and of others with their nonce where a node finds that one wrong."""
        return await self._resync(offered, block) if offered.has_wrong_nonce else [offered.change]

    async def _resync(self, offered: Offered, block: Block) -> list[Change]:
        """The node says that the nonce is used, by these bytes, by others of ours or by somebody else with the key; or
        that those before it are not. What is mined below it is looked at with the next block."""
        self._blocks_may_be_gone = True
        await self._count()
        same_nonce = [each for each in self._watched if each.nonce == offered.intent.nonce]
        mined = await self._receipts(same_nonce)
        changes: list[Change] = []
        for each in settled_first(same_nonce, mined):
            step = next_step(each, self._view(block, mined), block.timestamp, self._policy)
            if isinstance(step, Abandon | Settle):
                changes += await self._act(each, step, block, mined)
        return changes or [offered.change]

    # Carrying out -----------------------------------------------------------------------------------------------------

    async def _act(self, intent: Intent, step: Step, block: Block, mined: Mined) -> list[Change]:
        match step:
            case Wait():
                return []
            case Sign(fees):
                transaction = replace(decode_signed(intent.attempts[-1].raw), fees=fees)
                objection = self._offering.objection(intent.lane, transaction, block)
                if objection is not None:
                    return [Change(intent, f"not made dearer: {objection}")]
                return await self._settled(await self._offering.sign_and_send(intent, transaction, block), block)
            case Broadcast(raw):
                return await self._settled(await self._offering.offer_again(intent, raw, block), block)
            case Reconsider(raw):
                signed = decode_signed(raw)
                succeeds = await self._still_succeeds(signed.data, signed.gas, block)
                return await self._act(intent, reconsidered(intent, succeeds=succeeds), block, mined)
            case Abandon():
                if step.why is Event.LATE:
                    # Nothing took it for so long: perhaps its nonce is not what the chain waits for.
                    await self._count()
                return [self._watched.stop(intent, step, block)]
            case Settle(outcome, is_final):
                receipt, known = outcome.receipt, intent.receipt
                settled = self._watched.save(after(intent, step), block)
                is_known = known is not None and (known.hash, known.block_hash) == (receipt.hash, receipt.block_hash)
                is_first = not is_known or intent.plan_id in self._watched.untold
                return [told(settled, mined.get(receipt.hash), is_first=is_first, is_final=is_final)]

    async def _count(self) -> None:
        self._watched.count(await self._node.transaction_count(self._signer.address))

    async def _receipts(self, intents: Iterable[Intent]) -> Mined:
        hashes = [attempt.hash for intent in intents for attempt in intent.attempts]
        answers = await asyncio.gather(*(self._node.receipt(hash) for hash in hashes))
        return dict(zip(hashes, answers, strict=True))

    def _view(self, block: Block, mined: Mined) -> View:
        return View(
            block.number,
            self._fees.market(block),
            {hash: None if found is None else found.receipt for hash, found in mined.items()},
            self._watched.chain_nonce,
            self._watched.free_nonce,
            self._final_number,
            self._is_start,
        )


def _is_allowed(intent: Intent, step: Step, *, may_send: bool, may_reprice: bool) -> bool:
    """Whether a step may be carried out now; the guard's own pause always goes on."""
    match step:
        case Sign():
            is_allowed = may_send and may_reprice
        case Broadcast() | Reconsider():
            is_allowed = may_send
        case Wait() | Abandon() | Settle():
            return True
    return is_allowed or _is_pause(intent)


def _is_pause(intent: Intent) -> bool:
    """Whether it is the guard's own pause."""
    return bool(intent.attempts) and decode_signed(intent.attempts[-1].raw).data == pause_calldata()

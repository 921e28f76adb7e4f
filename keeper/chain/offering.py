"""New bytes for a batch: signed, durable in the journal, and only then handed to nodes; and what nodes say to them.

Fees that a node finds wrong are changed at once, a bounded number of times and as far as the day's budget lets them.
What else it says of them is an `Offered`, for the dispatcher to act on.
"""

from dataclasses import dataclass, replace

from keeper.chain.batch import Change
from keeper.chain.fees import FeeOracle
from keeper.chain.outlet import Outlet
from keeper.chain.send_errors import SendError, classify_send_error
from keeper.chain.signer import Signer, Transaction, decode_signed
from keeper.chain.watched import IntentJournal, Watched
from keeper.core.data_fee import ENVELOPE_BYTES
from keeper.core.fees import Budget, FeePolicy, Fees, expected_cost_wei, leanest_fees
from keeper.core.intent import Attempt, Intent
from keeper.core.plan import Lane
from keeper.core.snapshot import Block
from keeper.core.steps import Abandon
from keeper.errors import ChainError, NodeRefused, SigningRefused
from keeper.protocols.guard_batch import pause_calldata

SIGNATURES_PER_STEP_MAX = 3
"""How often fees are raised at once when a node says that they are too low; after that the next block decides."""
BUDGET_WINDOW_SECONDS = 86_400
TOO_CHEAP = (SendError.UNDERPRICED, SendError.FEE_BELOW_BASE)
TOO_DEAR = (SendError.INSUFFICIENT_FUNDS, SendError.FEE_ABOVE_CAP)
WRONG_NONCE = (SendError.NONCE_TOO_LOW, SendError.NONCE_TOO_HIGH)


@dataclass(frozen=True, slots=True)
class Offered:
    """What became of bytes that were to be sent."""

    intent: Intent
    """As it was offered, before what came of it."""
    change: Change
    error: SendError | None = None
    """What every node means that refused them; None when one took them, or nobody knows."""

    @property
    def has_wrong_nonce(self) -> bool:
        """Whether what is known of nonces is to be looked at again."""
        return self.error in WRONG_NONCE


class Offering:
    def __init__(
        self,
        outlet: Outlet,
        signer: Signer,
        journal: IntentJournal,
        watched: Watched,
        fees: FeeOracle,
        policy: FeePolicy,
        budget: Budget,
    ) -> None:
        self._outlet = outlet
        self._signer = signer
        self._journal = journal
        self._watched = watched
        self._fees = fees
        self._policy = policy
        self._budget = budget

    def budget_left(self, block: Block) -> dict[Lane, int]:
        """What each lane may still spend today, wei."""
        spent_wei = self._journal.spent_since(block.timestamp - BUDGET_WINDOW_SECONDS)
        return {lane: self._budget.left_wei(lane, spent_wei) for lane in Lane}

    def objection(self, lane: Lane, transaction: Transaction, block: Block) -> str | None:
        """Why the day's budget does not let it be sent. The guard's own pause it always lets."""
        if transaction.data == pause_calldata():
            return None
        market = self._fees.market(block)
        size = len(transaction.data) + ENVELOPE_BYTES
        cost_wei = expected_cost_wei(market, self._policy, transaction.fees, transaction.gas, size)
        spent_wei = self._journal.spent_since(block.timestamp - BUDGET_WINDOW_SECONDS)
        return self._budget.objection(lane, cost_wei, spent_wei)

    async def sign_and_send(self, intent: Intent, transaction: Transaction, block: Block) -> Offered:
        """New bytes for an intent, and others with other fees when a node finds them wrong."""
        for _ in range(SIGNATURES_PER_STEP_MAX - 1):
            offered = await self._sign_and_offer(intent, transaction, block)
            other = self._cheaper_or_dearer(offered, transaction, block)
            if other is None:
                return offered
            intent, transaction = offered.intent, other
        return await self._sign_and_offer(intent, transaction, block)

    async def offer_again(self, intent: Intent, raw: bytes, block: Block) -> Offered:
        """The same bytes, or others when a node finds their fees wrong."""
        offered = await self._offer(intent, block)
        other = self._cheaper_or_dearer(offered, decode_signed(raw), block)
        return offered if other is None else await self.sign_and_send(intent, other, block)

    async def _sign_and_offer(self, intent: Intent, transaction: Transaction, block: Block) -> Offered:
        try:
            signed = await self._signer.sign(transaction)
        except SigningRefused as refusal:
            return Offered(intent, self._watched.stop(intent, Abandon(str(refusal)), block))
        attempt = Attempt(signed.hash, signed.raw, transaction.nonce, transaction.fees, block.timestamp)
        intent = self._watched.save(intent.signed(attempt), block)
        return await self._offer(intent, block, is_new=True)

    def _cheaper_or_dearer(self, offered: Offered, transaction: Transaction, block: Block) -> Transaction | None:
        """What to sign instead of bytes that a node refused for their fees; None when nothing helps, or nothing that
        the budget lets be sent."""
        fees = self._other_fees(offered, block)
        if fees is None:
            return None
        other = replace(transaction, fees=fees)
        return other if self.objection(offered.intent.lane, other, block) is None else None

    def _other_fees(self, offered: Offered, block: Block) -> Fees | None:
        market, intent = self._fees.market(block), offered.intent
        if offered.error in TOO_CHEAP:
            fees = intent.next_fees(market, self._policy)
            return fees if isinstance(fees, Fees) else None
        if offered.error in TOO_DEAR:
            leanest = leanest_fees(market, intent.lane, self._watched.taken(intent.nonce))
            return leanest if leanest.max_fee_wei < intent.attempts[-1].fees.max_fee_wei else None
        return None

    async def _offer(self, intent: Intent, block: Block, *, is_new: bool = False) -> Offered:
        """Hands the latest bytes to the nodes; `is_new` when none can have them yet."""
        attempt = intent.attempts[-1]
        try:
            await self._outlet.offer(attempt.raw, is_private=intent.is_private(block.timestamp, self._policy))
        except NodeRefused as refusal:
            error = classify_send_error(refusal.reason)
            if is_new and error in (*TOO_CHEAP, *TOO_DEAR, SendError.INVALID):
                self._watched.was_refused(attempt.hash)
            return Offered(intent, self._refused(intent, error, refusal.reason, block), error)
        except ChainError as fault:
            # It may have arrived all the same: it stays signed, and the same bytes are offered again next block.
            return Offered(intent, Change(intent, f"not known to be sent: {fault}"))
        sent = self._watched.save(intent.broadcast(block.timestamp), block)
        return Offered(intent, Change(sent, f"sent as {attempt.hash}"))

    def _refused(self, intent: Intent, error: SendError, reason: str, block: Block) -> Change:
        match error:
            case SendError.ALREADY_KNOWN:
                known = self._watched.save(intent.broadcast(block.timestamp), block)
                return Change(known, f"sent before as {intent.attempts[-1].hash}")
            case SendError.NONCE_TOO_LOW | SendError.NONCE_TOO_HIGH:
                return Change(intent, f"waits with nonce {intent.nonce}: the node says {reason}")
            case SendError.INSUFFICIENT_FUNDS | SendError.FEE_ABOVE_CAP | SendError.INVALID:
                return self._watched.stop(intent, Abandon(f"the node refuses it: {reason}"), block)
            case SendError.UNDERPRICED | SendError.FEE_BELOW_BASE | SendError.POOL_FULL | SendError.UNKNOWN:
                return Change(intent, f"not taken by the node: {reason}")

"""The dispatcher against a model of a chain and its transaction pool, in any order of what can happen.

Between a block and the next anything goes: batches come, nodes refuse or lose what they are given, blocks include
any variant that was ever sent, are reorganised away, become final; the process dies. The dispatcher must never let an
intent take effect twice, skip a nonce, or bid less than the bump rule; and once the faults end, all that it holds
comes to an end.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from eth_account import Account
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from keeper.chain import signer
from keeper.chain.answers import MinedTransaction
from keeper.chain.batch import Batch, Change
from keeper.chain.dispatcher import Dispatcher
from keeper.chain.fees import FeeOracle
from keeper.chain.signer import KeystoreSigner, Scope, Transaction
from keeper.core.fees import Budget, FeePolicy
from keeper.core.intent import FINISHED, Included, Intent, Receipt, Reverted, State
from keeper.core.plan import Lane
from keeper.core.snapshot import Block
from keeper.core.units import Address
from keeper.errors import ChainError, NodeUnreachable
from keeper.protocols.abi import interface
from tests.builders import GUARD
from tests.fakes import FakeFees, a_block, refused_by_node, transaction_hash

GWEI = 10**9
KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
POLICY = FeePolicy(
    replace_after_seconds=36,
    resend_after_seconds=24,
    final_after_blocks=6,
    max_fee_wei=10_000 * GWEI,
    private_routine_seconds=24,
)
DEADLINE_BLOCKS = 12
REORGANISED_BLOCKS_MAX = 4
FAULTS: tuple[str, ...] = (
    "replacement transaction underpriced",
    "max fee per gas less than block base fee",
    "txpool is full",
    "nonce too high",
    "insufficient funds for gas * price + value",
    "who knows",
)


@cache
def decode_signed(raw: bytes) -> Transaction:
    return signer.decode_signed(raw)


@dataclass
class Memory:
    """A journal that survives the process and nothing else: what it holds is checked against the chain."""

    intents: dict[str, Intent] = field(default_factory=dict[str, Intent])
    told: set[Receipt | None] = field(default_factory=lambda: {None})

    def save_intent(self, intent: Intent, now: int) -> None:  # noqa: ARG002
        before = self.intents.get(intent.plan_id)
        if before is not None:
            assert [each.raw for each in before.attempts] == [
                each.raw for each in intent.attempts[: len(before.attempts)]
            ], "bytes that were written down are never lost"
        self.intents[intent.plan_id] = intent

    def open_intents(self) -> tuple[Intent, ...]:
        return tuple(intent for intent in self.intents.values() if intent.state not in FINISHED)

    def intents_from_nonce(self, nonce: int) -> tuple[Intent, ...]:
        return tuple(intent for intent in self.intents.values() if intent.nonce >= nonce)

    def final_nonce(self) -> int:
        return max((intent.nonce + 1 for intent in self.intents.values() if intent.state is State.FINAL), default=0)

    def untold_intents(self) -> tuple[Intent, ...]:
        return tuple(intent for intent in self.intents.values() if intent.receipt not in self.told)

    def spent_since(self, since: int) -> int:  # noqa: ARG002
        return 0


class ModelChain:
    """Blocks, and all transactions that any node ever took: each of them may still be included while its nonce is open.

    A node replaces at +12.5 % on both fields, the strictest rule that there is.
    """

    def __init__(self) -> None:
        self.blocks: list[list[bytes]] = []
        """The transactions of each block since number 100."""
        self.fork = 0
        self.forks: list[int] = []
        self.ever: list[bytes] = []
        self.pool: dict[int, bytes] = {}
        self.journal = Memory()
        self.faults: deque[str] = deque()
        self.is_down = False
        self.loses_answers = False

    @property
    def head(self) -> Block:
        return self.block(99 + len(self.blocks))

    def block(self, number: int) -> Block:
        fork = self.forks[number - 100] if number >= 100 else 0
        return a_block(number, fork=f"{fork}", base_fee_wei=GWEI)

    @property
    def nonce(self) -> int:
        return sum(len(block) for block in self.blocks)

    def mine(self, *raws: bytes) -> None:
        self.blocks.append(list(raws))
        self.forks.append(self.fork)
        for raw in raws:
            if decode_signed(raw).nonce in self.pool:
                del self.pool[decode_signed(raw).nonce]

    def includable(self) -> list[bytes]:
        """Every variant with the next nonce, also one that the pool replaced: another node may have kept it."""
        return [raw for raw in self.ever if decode_signed(raw).nonce == self.nonce]

    async def transaction_count(self, account: Address) -> int:  # noqa: ARG002
        self._answer()
        return self.nonce

    async def receipt(self, hash: str) -> MinedTransaction | None:
        self._answer()
        for offset, block in enumerate(self.blocks):
            if hash in map(transaction_hash, block):
                at = self.block(100 + offset)
                return MinedTransaction(Receipt(hash, at.number, at.hash, True, 200_000, GWEI), ())
        return None

    async def finalized_number(self) -> int | None:
        self._answer()
        return self.head.number - REORGANISED_BLOCKS_MAX

    async def send_raw(self, raw: bytes) -> str:
        written = [attempt.raw for intent in self.journal.intents.values() for attempt in intent.attempts]
        assert raw in written, "bytes are durable before a node sees them"
        self._answer()
        if self.faults:
            raise refused_by_node(self.faults.popleft())
        self._take(raw, decode_signed(raw))
        if self.loses_answers:
            raise NodeUnreachable("the connection is gone.")
        return transaction_hash(raw)

    def _take(self, raw: bytes, signed: Transaction) -> None:
        if signed.nonce < self.nonce:
            raise refused_by_node("nonce too low")
        if raw == self.pool.get(signed.nonce):
            raise refused_by_node("already known")
        waiting = self.pool.get(signed.nonce)
        if waiting is not None:
            fees = decode_signed(waiting).fees
            if 8 * signed.fees.max_fee_wei < 9 * fees.max_fee_wei or 8 * signed.fees.tip_wei < 9 * fees.tip_wei:
                raise refused_by_node("replacement transaction underpriced")
        self.pool[signed.nonce] = raw
        if raw not in self.ever:
            self.ever.append(raw)

    def _answer(self) -> None:
        if self.is_down:
            raise NodeUnreachable("no node.")


class Relay:
    """Takes what it is given, or nothing; what it took may be included all the same."""

    def __init__(self, chain: ModelChain) -> None:
        self._chain = chain
        self.is_down = False

    async def send_raw(self, raw: bytes) -> str:
        if self.is_down:
            raise NodeUnreachable("no relay.")
        if raw not in self._chain.ever:
            self._chain.ever.append(raw)
        return transaction_hash(raw)


class DispatcherAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.chain = ModelChain()
        self.relay = Relay(self.chain)
        self.signed: list[Transaction] = []
        """Everything that this key ever signed, in order."""
        self.plans = 0
        self.succeeds = True
        self.is_started = False

    def teardown(self) -> None:
        try:
            self._come_to_an_end()
        finally:
            self.loop.close()

    def run(self, work: Coroutine[Any, Any, list[Change]]) -> list[Change]:
        """What changed, with every change written down; a node's fault costs the block and nothing else."""
        try:
            changes = self.loop.run_until_complete(work)
        except ChainError:
            return []
        for change in changes:
            if change.is_first:
                self.chain.journal.told.add(change.intent.receipt)
        return changes

    @initialize()
    def begin(self) -> None:
        self.chain.mine()
        self.restart()

    # What can happen --------------------------------------------------------------------------------------------------

    @rule()
    def restart(self) -> None:
        """A process of its own on the same journal."""

        async def still_succeeds(_calldata: bytes, _gas: int, _block: Block) -> bool:
            return self.succeeds

        scope = Scope(1, GUARD, max_fee_wei_max=10**16)
        self.dispatcher = Dispatcher(
            self.chain,
            KeystoreSigner(Account.from_key(KEY), scope),
            self.chain.journal,
            FeeOracle(FakeFees(), GWEI),
            POLICY,
            chain_id=1,
            guard=GUARD,
            budget=Budget(10**24),
            still_succeeds=still_succeeds,
            relay=self.relay,
        )
        self.is_started = False

    @rule(lane=st.sampled_from(Lane), ceiling_gwei=st.sampled_from([2, 10, 1_000]), serves_more=st.booleans())
    def submit(self, lane: Lane, ceiling_gwei: int, *, serves_more: bool) -> None:
        ceiling = ceiling_gwei * GWEI
        if not self._start() or not self.dispatcher.takes(lane, (ceiling, self.chain.head), serves_more=serves_more):
            return
        self.plans += 1
        block = self.chain.head
        deadline = block.timestamp + 12 * DEADLINE_BLOCKS
        calldata = interface("MarginGuard")["rebalance"].encode(self.plans.to_bytes(32), deadline, [])
        batch = Batch(f"{self.plans}", lane, calldata, 300_000, deadline, ceiling)
        self.run(self.dispatcher.submit(batch, block, serves_more=serves_more))

    @rule(includes=st.integers(0, 3), looks=st.booleans())
    def mine(self, includes: int, looks: bool) -> None:
        """A block, with nothing of ours or with any variant of the next nonce."""
        candidates = self.chain.includable()
        chosen = [candidates[includes % len(candidates)]] if candidates and includes else []
        self.chain.mine(*chosen)
        if looks:
            self.look()

    @rule()
    def look(self) -> None:
        if self._start():
            self.run(self.dispatcher.advance(self.chain.head))

    @precondition(lambda self: len(self.chain.blocks) > REORGANISED_BLOCKS_MAX + 1)
    @rule(depth=st.integers(1, REORGANISED_BLOCKS_MAX), is_kept=st.booleans())
    def reorganise(self, depth: int, is_kept: bool) -> None:
        """The last blocks are others now, and one more; what was in them is in the pool again, or forgotten."""
        gone = self.chain.blocks[-depth:]
        del self.chain.blocks[-depth:], self.chain.forks[-depth:]
        self.chain.fork += 1
        for raw in [raw for block in gone for raw in block if is_kept]:
            self.chain.pool[decode_signed(raw).nonce] = raw
        for _ in range(depth + 1):
            self.chain.mine()
        if self._start():
            self.run(self.dispatcher.advance(self.chain.head, blocks_may_be_gone=True))

    @rule(reasons=st.lists(st.sampled_from(FAULTS), min_size=1, max_size=3))
    def node_refuses(self, reasons: list[str]) -> None:
        self.chain.faults.extend(reasons)

    @rule(is_down=st.booleans(), loses_answers=st.booleans(), relay_is_down=st.booleans(), succeeds=st.booleans())
    def weather(self, is_down: bool, loses_answers: bool, relay_is_down: bool, succeeds: bool) -> None:
        self.chain.is_down, self.chain.loses_answers = is_down, loses_answers
        self.relay.is_down, self.succeeds = relay_is_down, succeeds

    @rule()
    def pool_forgets(self) -> None:
        self.chain.pool.clear()

    # What must hold ---------------------------------------------------------------------------------------------------

    @invariant()
    def nothing_takes_effect_twice(self) -> None:
        included = [decode_signed(raw).data for block in self.chain.blocks for raw in block]
        assert len(included) == len(set(included))

    @invariant()
    def no_nonce_is_skipped(self) -> None:
        """All that was signed uses a nonce that the chain had reached, or the one after something of ours."""
        nonces = [attempt.nonce for intent in self.chain.journal.intents.values() for attempt in intent.attempts]
        assert set(nonces) == set(range(max(nonces, default=-1) + 1))

    @invariant()
    def no_bump_is_below_the_floor(self) -> None:
        """Whatever a node took of one nonce, the next that is signed for it outbids; the leanest outbid it as well."""
        for intent in self.chain.journal.intents.values():
            for earlier, later in zip(intent.attempts, intent.attempts[1:], strict=False):
                if earlier.sent_at is not None:
                    assert 8 * later.fees.max_fee_wei >= 9 * earlier.fees.max_fee_wei
                    assert 8 * later.fees.tip_wei >= 9 * earlier.fees.tip_wei

    @invariant()
    def no_fee_is_above_its_ceiling_but_to_outbid(self) -> None:
        for intent in self.chain.journal.intents.values():
            for attempt in intent.attempts[1:]:
                assert attempt.fees.max_fee_wei <= max(intent.fee_ceiling_wei, intent.attempts[0].fees.max_fee_wei)

    def _come_to_an_end(self) -> None:
        """Once the faults are over: every intent ends, and as the chain says."""
        self.chain.faults.clear()
        self.chain.is_down = self.chain.loses_answers = self.relay.is_down = False
        for _ in range(DEADLINE_BLOCKS + 2 * REORGANISED_BLOCKS_MAX + 10):
            self.chain.mine()
            if self._start():
                self.run(self.dispatcher.advance(self.chain.head, blocks_may_be_gone=True))
        assert self.dispatcher.in_flight is None
        included = {transaction_hash(raw) for block in self.chain.blocks for raw in block}
        for intent in self.chain.journal.intents.values():
            landed = {attempt.hash for attempt in intent.attempts} & included
            assert isinstance(intent.outcome, Included | Reverted) is bool(landed)
            assert intent.state in FINISHED
            assert (intent.state is State.FINAL) is bool(landed)
            assert intent.receipt in self.chain.journal.told, "what landed was told"

    def _start(self) -> bool:
        if not self.is_started:
            try:
                changes = self.loop.run_until_complete(self.dispatcher.start(self.chain.head))
            except ChainError:
                return False
            self.chain.journal.told |= {change.intent.receipt for change in changes if change.is_first}
            self.is_started = True
        return True


TestDispatcherAgainstModel = DispatcherAgainstModel.TestCase
TestDispatcherAgainstModel.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)

"""What must hold at every block, whatever happens: each rule with a name, judged from outside of the keeper.

The judge knows the model's true state and what the keeper put on the wire, wrote down and said; it never asks the
keeper how it is.

Patience: a need is urgent when an account is below its critical health, and a rescue of it is feasible when the
wallet's own tokens and accounts without debt could bring everybody in need to the target, gas and caps allowing. It has
to be included within B blocks that were good throughout: a quorum of endpoints honest and in order, the process up,
fresh prices. B by kind of day:

    calm     1   the next block
    network  3   after a bad spell heads are asked for again within a block, and a request that hangs takes 5 s to fail
    chain    8   a dropped or passed-over transaction is offered again after a block (chance of either below 0.2 each
                 time), and base fees that grew while it waited take two blocks until they are outbid
    liars    3   as network: whoever lies is found out by the first answer that another one contradicts
    kills    8   as chain: what was on its way is taken up again by the first cycle
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from keeper.chain.signer import decode_signed
from keeper.core import verdict
from keeper.core.intent import Included, Intent, Reverted
from keeper.core.intent import State as Stage
from keeper.core.snapshot import Fresh, Subaccount
from keeper.protocols.guard_batch import TRANSACTION_GAS_MAX, keeper_selectors
from keeper.telling import CycleReport
from scripts.simulation.chain import Block, Chain, Sent
from scripts.simulation.contracts import GUARD
from scripts.simulation.endpoint import CHAIN_ID
from scripts.simulation.ledger import NO_DEBT, WAD, WETH, Market, State
from scripts.simulation.wallet import CRITICAL, HEARTBEAT_SECONDS, HEARTBEAT_SLACK_SECONDS, LIMITS, TARGET, TRIGGER
from scripts.simulation.weather import Level

PATIENCE = {Level.CALM: 1, Level.NETWORK: 3, Level.CHAIN: 8, Level.LIARS: 3, Level.KILLS: 8}
HEAD_SECONDS_MAX = 60
"""[chain] head_age_max by default."""
SILENCE_SECONDS_MAX = HEAD_SECONDS_MAX + 30
"""From the last view to the alarm: the age, a block until the next chance, and requests that fail slowly."""
LATE_SECONDS_MAX = 45
"""How long after its deadline bytes may arrive: the newest block may be two old, and a request takes up to 5 s."""
DAY_SECONDS = 86_400
MAX_FEE_WEI = 3_000 * 10**9
GAS_OF_A_RESCUE = 500_000


class Rule(Enum):
    """What is never broken."""

    SCOPE = "nothing but a batch or a pause for the guard is ever signed"
    BUMP = "a replacement is at least an eighth dearer than what a node took before with its nonce"
    DEADLINE = "nothing is offered to a node after its deadline"
    BUDGET = "no more is spent on gas in 24 hours than the budget"
    TRUTH = "what a cycle takes for read at a block is what the chain held there"
    UNKNOWN = "what is unknown, stale or in need is never called healthy"
    OLD_HEAD = "no cycle decides on an old block"
    STALE_PRICE = "nothing leaves an account with debt on a stale price"
    CUSHION = "no donor ends with a smaller cushion than the account that it saved"
    TWICE = "the same need is not met twice"
    LEFT_TO_DIE = "a feasible urgent rescue is included in time"
    SILENCE = "no fresh view for too long is told"
    FAULT = "no fault of the keeper's own"
    FORGOTTEN = "every transaction on the chain is known to the journal and settled there"
    BELIEVED = "what the journal calls final is on the chain"


@dataclass(frozen=True, slots=True)
class Violation:
    rule: Rule
    at: float
    """Seconds since the beginning."""
    says: str

    def __str__(self) -> str:
        return f"{self.at:7.1f} s  {self.rule.name}: {self.says}  ({self.rule.value})"


@dataclass(slots=True)
class Judge:
    """Of one simulation."""

    chain: Chain
    level: Level
    daily_budget_wei: int
    violations: list[Violation] = field(default_factory=list[Violation])
    _waited: dict[str, int] = field(default_factory=dict[str, int])
    """Good blocks since a feasible rescue became urgent, by market."""
    _taken: dict[int, list[Sent]] = field(default_factory=dict[int, list[Sent]])
    """What some node took, by nonce."""
    _told_blind_at: float = -1.0

    def _find(self, rule: Rule, at: float, says: str) -> None:
        self.violations.append(Violation(rule, at, says))

    # On the wire ------------------------------------------------------------------------------------------------------

    def sent(self, at: float, sent: Sent, refusal: str | None) -> None:
        """A node was given a transaction."""
        signed = decode_signed(sent.raw)
        is_in_scope = (
            signed.to == GUARD
            and signed.value_wei == 0
            and signed.chain_id == CHAIN_ID
            and signed.data[:4] in keeper_selectors()
            and signed.gas <= TRANSACTION_GAS_MAX
            and signed.fees.tip_wei <= signed.fees.max_fee_wei <= MAX_FEE_WEI
        )
        if not is_in_scope:
            self._find(Rule.SCOPE, at, f"{sent.hash} is {signed}")
        deadline = int.from_bytes(signed.data[36:68])
        if self.chain.head.timestamp > deadline + LATE_SECONDS_MAX:
            self._find(Rule.DEADLINE, at, f"{sent.hash} came {self.chain.head.timestamp - deadline} s late")
        earlier = [each for each in self._taken.get(sent.nonce, []) if each.hash != sent.hash]
        for each in earlier:
            if 8 * sent.fees.max_fee_wei < 9 * each.fees.max_fee_wei or 8 * sent.fees.tip_wei < 9 * each.fees.tip_wei:
                known = [one.hash for one in self._taken[sent.nonce]]
                # Bytes that were outbid already may be offered again: to a node that does not know the dearer ones.
                if sent.hash not in known:
                    self._find(Rule.BUMP, at, f"{sent.fees} after {each.fees} with nonce {sent.nonce}")
                break
        if refusal is None and sent not in self._taken.setdefault(sent.nonce, []):
            self._taken[sent.nonce].append(sent)

    # In a cycle -------------------------------------------------------------------------------------------------------

    def cycle(self, at: float, now: float, report: CycleReport, *, is_honest: bool) -> None:
        """A cycle came to its end; `is_honest`: a quorum of endpoints was."""
        snapshot = report.snapshot
        block = self.chain.blocks.get(snapshot.block.hash)
        if block is None:
            self._find(Rule.TRUTH, at, f"there is no block {snapshot.block.hash}")
            return
        if now - block.timestamp > HEAD_SECONDS_MAX + 30:
            self._find(Rule.OLD_HEAD, at, f"block {block.number} was {now - block.timestamp:.0f} s old")
        state = block.state
        for market in self.chain.guard.markets:
            subaccount = next(each for each in snapshot.subaccounts if each.id.key == market.id)
            self._account(at, state, market, subaccount, report, is_honest=is_honest)
        if report.batch is None or not is_stale(state):
            return
        indebted = {market.id for market in self.chain.guard.markets if state.positions[market.id].borrow_shares}
        for rescue in report.plan.rescues:
            for transfer in rescue.transfers:
                if transfer.donor.key in indebted:
                    self._find(Rule.STALE_PRICE, at, f"{transfer} at block {block.number}")

    def _account(
        self, at: float, state: State, market: Market, account: Subaccount, report: CycleReport, *, is_honest: bool
    ) -> None:
        decided = report.plan.verdicts[account.id]
        calls_it_fine = isinstance(decided, verdict.Healthy | verdict.Watching)
        if state.positions[market.id].borrow_shares == 0:
            return
        if state.is_oracle_mute:
            if calls_it_fine:
                self._find(Rule.UNKNOWN, at, f"{market.id} without a price is {type(decided).__name__}")
            return
        true = state.health(market)
        if isinstance(account.reading, Fresh):
            seen = account.margin.risk().health_factor
            if is_honest and seen != true:
                self._find(Rule.TRUTH, at, f"{market.id} is at {true}, read as {seen}")
            if is_stale(state):
                self._find(Rule.UNKNOWN, at, f"the price of {market.id} is stale, read as fresh")
        if is_honest and calls_it_fine and true < TRIGGER - WAD // 10**6:
            self._find(Rule.UNKNOWN, at, f"{market.id} at {true} is {type(decided).__name__}")

    # On the chain -----------------------------------------------------------------------------------------------------

    def block(self, at: float, block: Block, gone: Sequence[Block], *, is_good: bool) -> None:
        """A block became the newest; `is_good`: nothing kept the keeper from acting since the one before."""
        if gone:
            self._waited.clear()
        rescued = {self.chain.guard.markets[move.recipient - 1].id for move in block.moves}
        for market in self.chain.guard.markets:
            is_urgent = is_good and market.id not in rescued and self._is_feasible(block.state, market, block)
            self._waited[market.id] = self._waited.get(market.id, 0) + 1 if is_urgent else 0
            if self._waited[market.id] > PATIENCE[self.level]:
                health = block.state.health(market) / WAD
                self._find(Rule.LEFT_TO_DIE, at, f"{market.id} waits at {health:.4f} for {self._waited[market.id]}")
                self._waited[market.id] = 0
        self._cushions(at, block)
        self._met_twice(at, block)
        spent = self._spent(block)
        if spent > self.daily_budget_wei:
            self._find(Rule.BUDGET, at, f"{spent} wei of {self.daily_budget_wei} are spent")

    def _is_feasible(self, state: State, market: Market, block: Block) -> bool:
        """Whether its rescue is urgent and could be paid for by who owes nothing, with all others in need."""
        if is_stale(state) or state.is_paused or not max(WAD, market.lltv + 1) <= state.health(market) < CRITICAL:
            return False
        needs = 0
        for each in self.chain.guard.markets:
            if (health := state.health(each)) < TARGET:
                needs += state.positions[each.id].collateral * (TARGET * 103 // 100 - health) // health
        given = min(state.balances[WETH], state.allowances[WETH]) + sum(
            state.positions[each.id].collateral for each in self.chain.guard.markets if state.health(each) == NO_DEBT
        )
        fee = block.base_fee_wei * 3
        cost = GAS_OF_A_RESCUE * fee
        # A fifth of a penalty of at least 4 % of the debt, in wei.
        stake = state.debt(market) * 10**20 // state.eth.answer // 25 // 5
        is_paid = cost < min(stake, state.gas_money // 2, self.daily_budget_wei - self._spent(block))
        return is_paid and needs <= min(given, state.caps[WETH].remaining(state.now))

    def _spent(self, head: Block) -> int:
        return sum(
            each.ran.gas_used * each.gas_price_wei
            for block in self._with_transactions(head)
            if block.timestamp > head.timestamp - DAY_SECONDS
            for each in block.included
        )

    def _with_transactions(self, head: Block) -> list[Block]:
        return [block for block in self.chain.with_transactions() if self.chain.contains(head, block)]

    def _cushions(self, at: float, block: Block) -> None:
        markets = self.chain.guard.markets
        for move in block.moves:
            state = move.state
            for donor in move.donors:
                if donor == 0 or (left := state.health(markets[donor - 1])) == NO_DEBT:
                    continue
                saved = state.health(markets[move.recipient - 1])
                if left < LIMITS.hard_floor or left < saved - saved // 500:
                    self._find(Rule.CUSHION, at, f"donor {donor} is left at {left}, {move.recipient} saved to {saved}")

    def _met_twice(self, at: float, block: Block) -> None:
        for move in block.moves:
            for earlier in reversed(self._with_transactions(block)):
                before = [each for each in earlier.moves if each.recipient == move.recipient]
                if earlier is block or not before:
                    continue
                since = (
                    block.ancestor(number).state.eth.answer for number in range(earlier.number + 1, block.number + 1)
                )
                # What was due at the lowest price since then may be included after the price is back.
                if before[-1].after >= TRIGGER and min(since) >= earlier.state.eth.answer:
                    says = f"{move.recipient} was brought to {before[-1].after} in block {earlier.number}, then again"
                    self._find(Rule.TWICE, at, says)
                break

    # What it says -----------------------------------------------------------------------------------------------------

    def heard(self, at: float, alarm: str, says: str) -> None:
        """An alarm that was not held back."""
        if alarm == "cycle_failed":
            self._find(Rule.FAULT, at, says)
        if alarm == "no_fresh_view":
            self._told_blind_at = at

    def blind(self, at: float, since: float) -> None:
        """The process runs and has seen nothing new since then."""
        if at - since > SILENCE_SECONDS_MAX and self._told_blind_at < since:
            self._find(Rule.SILENCE, at, f"nothing was seen for {at - since:.0f} s and nobody told")
            self._told_blind_at = at

    # At the end -------------------------------------------------------------------------------------------------------

    def end(self, at: float, intents: Sequence[Intent]) -> None:
        """All is quiet; what does the journal hold?"""
        head = self.chain.head
        owner = {attempt.hash: intent for intent in intents for attempt in intent.attempts}
        for block in self._with_transactions(head):
            for each in block.included:
                intent = owner.get(each.sent.hash)
                if intent is None:
                    self._find(Rule.FORGOTTEN, at, f"{each.sent.hash} in block {block.number} is unknown")
                    continue
                outcome = intent.outcome
                match outcome:
                    case Included(receipt) | Reverted(receipt):
                        is_settled = (
                            receipt.hash == each.sent.hash
                            and receipt.block_hash == block.hash
                            and isinstance(outcome, Included) == each.ran.succeeded
                            and intent.state is Stage.FINAL
                        )
                    case _:
                        is_settled = False
                if not is_settled:
                    says = f"{each.sent.hash} in block {block.number} is {intent.state.value}: {outcome}"
                    self._find(Rule.FORGOTTEN, at, says)
        for intent in intents:
            receipt = intent.receipt if intent.state is Stage.FINAL else None
            if receipt is not None and self.chain.find(receipt.hash, head) is None:
                self._find(Rule.BELIEVED, at, f"{intent.plan_id} is final as {receipt}")


def is_stale(state: State) -> bool:
    return state.is_oracle_mute or state.now - state.eth.updated_at > HEARTBEAT_SECONDS + HEARTBEAT_SLACK_SECONDS

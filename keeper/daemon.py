"""One wallet's keeper: a cycle for each new block, each of them the steps of one picture in their order.

    read ─► decode ─► plan ─► encode ─► simulate ─► sign, send ─► record

Every step takes the value before it; what a transaction did is learnt from the chain, never assumed.
"""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from keeper.alerts import Alarm, Alerts
from keeper.chain.dispatcher import Batch, Change, Dispatcher
from keeper.chain.simulate import Simulator
from keeper.core.economics import fee_ceiling_wei, plan_gas
from keeper.core.intent import Abandoned, Included, Refused, Reverted, State
from keeper.core.plan import History, InFlight, Lane, Plan
from keeper.core.planner import make_plan
from keeper.core.policy import Policy
from keeper.core.snapshot import Block, Snapshot, SubaccountId, Unknown
from keeper.core.verdict import Blocked, Unfunded
from keeper.documents import plan_document
from keeper.errors import KeeperError
from keeper.history import history_from_journal
from keeper.journal import CycleRecord, Journal, PlanRecord, RescueOutcome, VerdictNote
from keeper.pausing import Mode, PauseFile
from keeper.protocols.guard import Rescued, RescueFailed, decode_events, explain_guard_revert
from keeper.protocols.guard_batch import (
    TRANSACTION_GAS_MAX,
    encode_rebalance,
    pause_calldata,
    plan_id,
    rescue_gas,
    simulated_gas,
    transaction_gas,
)
from keeper.records import history_to_json, policy_to_json
from keeper.report import health_text, name_of, rescue_paragraph, verdict_text
from keeper.session import Session
from keeper.telemetry import Metrics, Vitals
from keeper.watch import alarms_in

log = structlog.stdlib.get_logger(__name__)

DEADLINE_BLOCKS = 25
"""After so many blocks a batch is worth less than a new plan, and the guard refuses it."""
DEADLINE_SECONDS_MIN = 60
PAUSE_GAS = 100_000
"""It takes 30,000; there is nothing in it that could take more."""
IN_FLIGHT = "waits for the batch in flight"


@dataclass(frozen=True, slots=True)
class CycleReport:
    """What one cycle saw, decided and did."""

    snapshot: Snapshot
    plan: Plan
    policy: Policy
    batch: Batch | None = None
    """What was proven by simulation, or None when there was nothing to send."""
    is_sent: bool = False
    outcome: str = ""
    """What became of the batch, as a sentence; empty without one."""

    is_refused: bool = False
    """Whether the batch could not be sent."""

    @property
    def has_failed(self) -> bool:
        """Whether a rescue was due that did not go out."""
        return self.is_refused or any(isinstance(each, Blocked | Unfunded) for each in self.plan.verdicts.values())


@dataclass(frozen=True, slots=True)
class Proven:
    """A plan whose every rescue succeeded in a simulation, as the transaction that carries it out."""

    plan: Plan
    history: History
    batch: Batch | None
    waits: str = ""
    """Why a plan with rescues was not tried out, when it is for another cycle to send."""


class Keeper:
    """Runs cycles. Without a dispatcher it goes the same way and stops before signing: a dry run."""

    def __init__(
        self,
        session: Session,
        simulator: Simulator,
        dispatcher: Dispatcher | None,
        journal: Journal,
        alerts: Alerts,
        metrics: Metrics,
        vitals: Vitals,
    ) -> None:
        self._session = session
        self._simulator = simulator
        self._dispatcher = dispatcher
        self._journal = journal
        self._alerts = alerts
        self._metrics = metrics
        self._vitals = vitals
        self._pause = PauseFile(session.config.journal.path)
        self._recipients: dict[str, tuple[SubaccountId, ...]] = {}
        """By plan id. A batch found at start has none here: that it takes effect once is the guard's business."""
        self._unnoted: list[Change] = []
        """What happened to batches and is not told yet; a read that fails in between loses nothing of it."""
        self._topology = session.portfolio.to_json()
        self._history = history_from_journal(journal, (), 0)

    async def run_cycle(self, head: Block, *, blocks_may_be_gone: bool = False) -> CycleReport:
        """One block from its reading to its record; `blocks_may_be_gone` after a reorganisation or missed heads.

        Raises ChainError, ProtocolError and JournalError: the next cycle begins from the chain again.
        """
        settling = asyncio.create_task(self._look_after_sent(head, blocks_may_be_gone=blocks_may_be_gone))
        try:
            answer = await self._session.reader.read(self._session.portfolio.calldata, head)
        finally:
            await settling
        snapshot = self._session.portfolio.decode(head, answer)
        self._vitals.saw(head.hash)
        self._note_sent(snapshot)
        proven = await self._prove(snapshot)
        report = await self._dispatch(snapshot, proven)
        self._record(answer, report, proven.history)
        self._tell(report)
        return report

    async def resume(self, snapshot: Snapshot) -> None:
        """Takes up what an earlier process left on its way; once, before the first cycle."""
        if self._dispatcher is None:
            return

        async def still_succeeds(calldata: bytes, gas: int) -> bool:
            in_next_block = snapshot.block.timestamp + self._block_seconds
            return await self._simulator.still_succeeds(calldata, gas, snapshot.block, in_next_block)

        for change in await self._dispatcher.start(snapshot.block, still_succeeds):
            self._note(change, snapshot)

    async def pause_guard(self, block: Block) -> Change:
        """Sends the guard's own `pause`, which only the owner can undo. Raises KeeperError when nothing can be sent."""
        if self._dispatcher is None:
            raise KeeperError("The guard cannot be paused from here: this is a dry run, or no [signer] is configured.")
        if not self._dispatcher.takes(Lane.CRITICAL):
            raise KeeperError("A critical batch is on its way; pause the guard again once it is included.")
        deadline = block.timestamp + self._deadline_seconds
        ceiling = self._session.config.fees.max_fee
        batch = Batch(f"pause-{block.number}", Lane.CRITICAL, pause_calldata(), PAUSE_GAS, deadline, ceiling)
        return (await self._dispatcher.submit(batch, block))[-1]

    # Deciding ---------------------------------------------------------------------------------------------------------

    async def _prove(self, snapshot: Snapshot) -> Proven:
        """Plans, and tries the plan out; a rescue that fails there is dropped alone and the others are kept."""
        history = self._history_at(snapshot)
        plan = make_plan(snapshot, self._session.policy, history)
        hold = self._reason_to_hold(snapshot)
        if hold is not None:
            return Proven(plan.held(hold), history, None)
        if not plan.rescues:
            return Proven(plan, history, None)
        if self._dispatcher is not None and not self._dispatcher.takes(plan.lane):
            return Proven(plan, history, None, IN_FLIGHT)
        id = self._plan_id(plan, snapshot)
        deadline = snapshot.block.timestamp + self._deadline_seconds

        def encode(places: Sequence[int], budgets: Sequence[int]) -> tuple[bytes, int]:
            part = plan.only(places)
            calldata = encode_rebalance(part, snapshot, id, deadline, budgets)
            return calldata, transaction_gas(calldata, part, budgets)

        rehearsal = await self._simulator.rehearse(
            len(plan.rescues),
            lambda places: encode(places, [simulated_gas(plan.rescues[place]) for place in places]),
            snapshot.block,
            snapshot.block.timestamp + self._block_seconds,
        )
        passed = list(rehearsal.passed)
        calldata, gas = b"", 0
        while passed:
            calldata, gas = encode(passed, [rescue_gas(rehearsal.results[place].gas_used) for place in passed])
            if gas <= TRANSACTION_GAS_MAX:
                break
            rehearsal.refused[passed.pop()] = (
                "the batch takes more gas than a transaction may have; it is in the next one"
            )
        refused = {plan.rescues[place].recipient: reason for place, reason in rehearsal.refused.items()}
        proven = plan.only(passed).blocked(refused)
        if not passed:
            return Proven(proven, history, None)
        fees = self._session.config.fees
        ceiling = fee_ceiling_wei(
            snapshot, proven.rescues, plan_gas(proven.rescues), fees.fee_share_of_value, fees.max_fee
        )
        return Proven(proven, history, Batch("0x" + id.hex(), proven.lane, calldata, gas, deadline, ceiling))

    @property
    def _block_seconds(self) -> int:
        return max(1, self._session.config.chain.block_time // 1000)

    @property
    def _deadline_seconds(self) -> int:
        return max(DEADLINE_SECONDS_MIN, DEADLINE_BLOCKS * self._block_seconds)

    def _history_at(self, snapshot: Snapshot) -> History:
        config = self._session.config
        in_flight = None if self._dispatcher is None else self._dispatcher.in_flight
        return replace(
            self._history,
            in_flight=None
            if in_flight is None
            else InFlight(in_flight.plan_id, in_flight.lane, frozenset(self._recipients.get(in_flight.plan_id, ()))),
            gas_price_wei=snapshot.block.base_fee_wei + config.fees.tip,
            protect_only=self._pause.read() is Mode.PROTECT_ONLY,
        )

    def _reason_to_hold(self, snapshot: Snapshot) -> str | None:
        """Why nothing at all may be sent now, whatever the plan."""
        if self._pause.read() is Mode.PAUSED:
            return "the keeper is paused (`keeper resume` undoes it)"
        if self._journal.is_out_of_space:
            return "the journal's disk is full; free some space and start the keeper again"
        hot_key = self._session.portfolio.topology.keeper
        if snapshot.guard is not None and hot_key is not None and snapshot.guard.keeper != hot_key:
            return f"the guard's keeper is {snapshot.guard.keeper}, not this hot key {hot_key} (`keeper setup`)"
        if self._dispatcher is not None and self._dispatcher.in_flight is None and snapshot.keeper_balance_wei == 0:
            return f"the hot key {hot_key} has nothing to pay gas with; send it some"
        return None

    def _plan_id(self, plan: Plan, snapshot: Snapshot) -> bytes:
        """The guard's next sequence number and a digest of what is to be done."""
        if snapshot.guard is None:
            raise ValueError("a plan with rescues needs a guard")
        document = json.dumps(plan_document(plan, snapshot), sort_keys=True)
        return plan_id(snapshot.guard.last_sequence + 1, hashlib.sha256(document.encode()).digest())

    # Sending ----------------------------------------------------------------------------------------------------------

    async def _dispatch(self, snapshot: Snapshot, proven: Proven) -> CycleReport:
        report = CycleReport(snapshot, proven.plan, self._session.policy, proven.batch, outcome=proven.waits)
        if proven.batch is None:
            return report
        if self._dispatcher is None:
            return replace(report, outcome="dry run: proven by simulation, neither signed nor sent")
        if not self._dispatcher.takes(proven.batch.lane):
            return replace(report, outcome=IN_FLIGHT)
        self._recipients[proven.batch.plan_id] = tuple(rescue.recipient for rescue in proven.plan.rescues)
        changes = await self._dispatcher.submit(proven.batch, snapshot.block)
        for change in changes:
            self._note(change, snapshot)
        last = changes[-1]
        is_refused = isinstance(last.intent.outcome, Refused | Abandoned)
        return replace(report, is_sent=not is_refused, is_refused=is_refused, outcome=last.did)

    async def settle(self, snapshot: Snapshot) -> None:
        """Looks after the batches sent earlier, without a cycle."""
        await self._look_after_sent(snapshot.block)
        self._note_sent(snapshot)

    async def _look_after_sent(self, head: Block, *, blocks_may_be_gone: bool = False) -> None:
        """Beside the read, because neither needs the other and a receipt is a request more to wait for."""
        if self._dispatcher is None:
            return
        may_send = self._pause.read() is not Mode.PAUSED
        changes = await self._dispatcher.advance(head, blocks_may_be_gone=blocks_may_be_gone, may_send=may_send)
        self._unnoted += changes

    def _note_sent(self, snapshot: Snapshot) -> None:
        changes, self._unnoted = self._unnoted, []
        for change in changes:
            self._note(change, snapshot)

    def _note(self, change: Change, snapshot: Snapshot) -> None:
        """One line in the log for whatever happens to a batch, and an alarm for what a person has to know."""
        intent = change.intent
        log.info("batch", did=change.did, plan_id=intent.plan_id, lane=intent.lane.value, nonce=intent.nonce)
        match intent.outcome:
            case Included(receipt) if intent.state is State.MINED:
                self._metrics.gas_spent_wei.inc(receipt.cost_wei)
                self._metrics.transactions.labels("included").inc()
                self._note_rescues(change, snapshot)
            case Reverted(receipt) if intent.state is State.MINED:
                self._metrics.gas_spent_wei.inc(receipt.cost_wei)
                self._metrics.transactions.labels("reverted").inc()
                says = f"The batch {receipt.hash} reverted and moved nothing; the next cycle plans anew."
                self._alerts.raise_alarm(Alarm.RESCUE_FAILED, intent.plan_id, says)
            case Refused(reason):
                self._metrics.transactions.labels("refused").inc()
                says = f"A batch was not sent: {reason}."
                self._alerts.raise_alarm(Alarm.RESCUE_FAILED, "batch", says)
            case Abandoned(reason):
                self._metrics.transactions.labels("abandoned").inc()
                says = f"A batch was given up: {reason}; the next cycle plans anew."
                self._alerts.raise_alarm(Alarm.TRANSACTION_STUCK, intent.plan_id, says)
            case _:
                pass

    def _note_rescues(self, change: Change, snapshot: Snapshot) -> None:
        """What the rescues of an included batch did, by the guard's own events."""
        if snapshot.guard is None or not change.logs:
            return
        plan_id = change.intent.plan_id
        by_index = {each.guard_index: each for each in snapshot.subaccounts}
        recipients = self._recipients.get(plan_id, ())
        outcomes: list[RescueOutcome] = []
        for event in decode_events(snapshot.guard.address, change.logs):
            match event:
                case Rescued(_, index, before, after) if index in by_index:
                    rescued = by_index[index]
                    outcomes.append(RescueOutcome(str(rescued.id), True, before, after))
                    self._metrics.rescues.labels("succeeded").inc()
                    says = f"{name_of(rescued)} was rescued: health {health_text(before)} → {health_text(after)}."
                    self._alerts.raise_alarm(Alarm.RESCUED, f"{rescued.id} {plan_id}", says)
                case RescueFailed(_, place, revert):
                    who = str(recipients[place]) if place < len(recipients) else f"rescue {place}"
                    reason = explain_guard_revert(revert)
                    outcomes.append(RescueOutcome(who, False, 0, 0, reason))
                    self._metrics.rescues.labels("failed").inc()
                    self._alerts.raise_alarm(
                        Alarm.RESCUE_FAILED, f"{who} {plan_id}", f"The rescue of {who} failed: {reason}."
                    )
                case _:
                    pass
        self._journal.record_rescues(plan_id, outcomes, snapshot.block.timestamp)

    # Telling ----------------------------------------------------------------------------------------------------------

    def _record(self, answer: bytes, report: CycleReport, history: History) -> None:
        """Into the journal, after the batch is on its way: what it takes to make the same decision again."""
        snapshot, plan = report.snapshot, report.plan
        now = snapshot.block.timestamp
        healths = {
            each.id: None if isinstance(each.reading, Unknown) else each.margin.risk().health_factor
            for each in snapshot.subaccounts
        }
        record = None
        if report.batch is not None and report.is_sent:
            record = PlanRecord(
                report.batch.plan_id,
                report.batch.lane,
                policy_to_json(report.policy),
                history_to_json(history),
                json.dumps(plan_document(plan, snapshot)),
                tuple(rescue_paragraph(rescue, snapshot, report.policy) for rescue in plan.rescues),
            )
        self._journal.record_cycle(
            CycleRecord(
                snapshot.block,
                hashlib.sha256(answer).hexdigest(),
                self._topology,
                answer,
                snapshot.feeds,
                {
                    str(id): VerdictNote(type(decided).__name__, verdict_text(decided, now), healths[id])
                    for id, decided in plan.verdicts.items()
                },
                record,
            )
        )
        self._journal.prune(now)
        self._history = history_from_journal(self._journal, (feed.feed for feed in snapshot.feeds), now)
        self._metrics.set_subaccounts(
            {str(id): type(decided).__name__ for id, decided in plan.verdicts.items()},
            {str(id): health for id, health in healths.items() if health is not None},
        )
        self._metrics.head_block.set(snapshot.block.number)
        if snapshot.keeper_balance_wei is not None:
            self._metrics.balance_wei.set(snapshot.keeper_balance_wei)

    def _tell(self, report: CycleReport) -> None:
        """Alarms for all that a person has to know; repeated ones are held back by `Alerts`."""
        hot_key = self._session.portfolio.topology.keeper
        for alarm, subject, sentence in alarms_in(report.snapshot, report.plan, report.policy, hot_key):
            self._alerts.raise_alarm(alarm, subject, sentence)
        if self._journal.is_out_of_space:
            says = "The journal's disk is full; free some space and start the keeper again."
            self._alerts.raise_alarm(Alarm.DISK_FULL, "journal", says)

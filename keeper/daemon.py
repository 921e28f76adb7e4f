"""One wallet's keeper: a cycle for each new block, each of them the steps of one picture in their order.

    read ─► decode ─► plan ─► encode ─► simulate ─► sign, send ─► record

Every step takes the value before it; what a transaction did is learnt from the chain, never assumed.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, replace

import structlog

from keeper.alerts import Alarm, Alerts
from keeper.chain.batch import Batch, Change
from keeper.chain.dispatcher import Dispatcher
from keeper.chain.fees import FeeOracle
from keeper.chain.reader import Reading
from keeper.chain.simulate import Simulator
from keeper.core.intent import Abandoned, Refused, State
from keeper.core.plan import History, Lane, Plan
from keeper.core.planner import make_plan
from keeper.core.snapshot import Block, Snapshot, SubaccountId
from keeper.errors import ChainError, KeeperError
from keeper.history import history_from_journal
from keeper.journal import Journal
from keeper.noting import Notes
from keeper.pausing import Mode, PauseFile
from keeper.protocols.guard_batch import pause_calldata
from keeper.proving import Terms, try_out
from keeper.session import Session
from keeper.succession import Succession
from keeper.telemetry import Metrics, Vitals
from keeper.telling import CycleReport, Telling

log = structlog.stdlib.get_logger(__name__)

DEADLINE_BLOCKS = 25
"""After so many blocks a batch is worth less than a new plan, and the guard refuses it."""
DEADLINE_SECONDS_MIN = 60
PAUSE_GAS = 100_000
"""It takes 30,000; there is nothing in it that could take more."""
PAUSE = "pause-"
"""How the plan id of a batch begins that pauses the guard; a block number follows."""
PAUSED = "the keeper is paused (`keeper resume` undoes it)"
IN_FLIGHT = "waits for the batch in flight"


@dataclass(frozen=True, slots=True)
class Proven:
    """A plan whose every rescue succeeded in a simulation, as the transaction that carries it out."""

    plan: Plan
    before_trial: Plan
    history: History
    batch: Batch | None
    waits: str = ""
    """Why a plan with rescues was not tried out, when it is for another cycle to send."""
    waiting: tuple[SubaccountId, ...] = ()
    """Whose rescues are due and go out later."""
    is_held: bool = False
    """Whether nothing at all may be sent, not even what is on its way made dearer."""


class Keeper:
    """Runs cycles. Without a dispatcher it goes the same way and stops before signing: a dry run."""

    def __init__(
        self,
        session: Session,
        simulator: Simulator,
        dispatcher: Dispatcher | None,
        fees: FeeOracle,
        journal: Journal,
        alerts: Alerts,
        metrics: Metrics,
        vitals: Vitals,
    ) -> None:
        self._session = session
        self._simulator = simulator
        self._dispatcher = dispatcher
        self._fees = fees
        self._journal = journal
        self._alerts = alerts
        self._metrics = metrics
        self._vitals = vitals
        self._pause = PauseFile(session.config.journal.path)
        self._mode = Mode.ACTIVE
        """The owner's switch as this cycle read it last: what it was held to."""
        self._notes = Notes(journal, alerts, metrics)
        self._succession = None if dispatcher is None else Succession(dispatcher, journal)
        self._is_taken_up = dispatcher is None
        """Whether what an earlier process left on its way is known; until then nothing new is sent."""
        self._blocks_may_be_gone = False
        """Until what was sent was looked after once: a fault on the way must not make it forgotten."""
        self._unnoted: deque[Change] = deque()
        """What happened to batches and is not told yet; a read that fails in between loses nothing of it."""
        self._telling = Telling(session, journal, alerts, metrics, self._notes, dispatcher, fees)
        self.is_outdated = False
        """Whether the last cycle met with something that is read rarely and has changed."""
        self._history = history_from_journal(journal, (), 0, session.policy.prices.memory_seconds)

    @property
    def session(self) -> Session:
        return self._session

    def adopt(self, session: Session) -> None:
        """From the next cycle on; not in the middle of one."""
        self._session = session
        self._telling.adopt(session)
        self.is_outdated = False

    async def run_cycle(self, head: Block, *, blocks_may_be_gone: bool = False) -> CycleReport:
        """One block from its reading to its record; `blocks_may_be_gone` after a reorganisation or missed heads.

        Raises ChainError, ProtocolError and JournalError: the next cycle begins from the chain again.
        """
        self._journal.make_room()
        self._blocks_may_be_gone |= blocks_may_be_gone
        settling = asyncio.create_task(self._look_after_sent(head))
        try:
            reading = await self._session.reader.read(self._session.portfolio, head)
        except ChainError:
            await settling
            await self._reprice_blindly(head)
            raise
        finally:
            await settling
        snapshot = self._session.portfolio.decode(head, reading.answer)
        self.is_outdated = snapshot.is_outdated
        self._vitals.saw(head.hash)
        self._note_sent(snapshot)
        history = self._history_at(snapshot, reading)
        plan = make_plan(snapshot, self._session.policy, history)
        try:
            proven = await self._prove(snapshot, plan, history)
            report = await self._dispatch(snapshot, proven)
            report = replace(report, mode=self._mode, quorum_problem=reading.problem)
        except KeeperError as fault:
            # What was seen is told all the same: a node that cannot simulate must not keep a liquidation quiet.
            blind = CycleReport(snapshot, plan.held(str(fault).rstrip(". ")), self._session.policy)
            self._telling.tell(blind, reading)
            if isinstance(fault, ChainError):
                await self._reprice(snapshot, plan)
            raise
        self._telling.tell(report, reading)
        self._telling.record(reading.answer, report, history)
        self._remember(snapshot)
        return report

    async def pause_guard(self, block: Block) -> Change:
        """Sends the guard's own `pause`, which only the owner can undo. Raises KeeperError when nothing can be sent."""
        if self._dispatcher is None:
            raise KeeperError("The guard cannot be paused from here: this is a dry run, or no [signer] is configured.")
        if not self._is_taken_up:
            await self._look_after_sent(block)
        if not self._is_taken_up:
            raise KeeperError("What was sent earlier cannot be looked up, so no nonce is known; pause the guard again.")
        in_flight = self._dispatcher.in_flight
        if in_flight is not None and in_flight.plan_id.startswith(PAUSE):
            return Change(in_flight, "on its way already")
        deadline = block.timestamp + self._deadline_seconds
        ceiling = self._session.config.fees.max_fee
        batch = Batch(f"{PAUSE}{block.number}", Lane.CRITICAL, pause_calldata(), PAUSE_GAS, deadline, ceiling)
        changes = await self._dispatcher.submit(batch, block)
        self._unnoted.extend(changes)
        return changes[-1]

    # Deciding ---------------------------------------------------------------------------------------------------------

    async def _prove(self, snapshot: Snapshot, plan: Plan, history: History) -> Proven:
        """Tries the plan out; a rescue that fails there is dropped alone and the others are kept."""
        hold = self._reason_to_hold(snapshot)
        if hold is not None:
            return Proven(plan.held(hold), plan, history, None, is_held=True)
        if not plan.rescues:
            return Proven(plan, plan, history, None)
        if self._succession is not None and not self._succession.takes_over(plan):
            return _behind(self._succession.behind(plan), plan, history)
        chain, fees = self._session.config.chain, self._session.config.fees
        terms = Terms(
            self._deadline_seconds,
            max(1, chain.block_time // 1000),
            fees.fee_share_of_value,
            fees.max_fee,
            history.data_fee,
        )
        trial = await try_out(plan, snapshot, self._simulator, terms)
        return Proven(trial.plan, plan, history, trial.batch, waiting=trial.left_over)

    @property
    def _deadline_seconds(self) -> int:
        return max(DEADLINE_SECONDS_MIN, DEADLINE_BLOCKS * max(1, self._session.config.chain.block_time // 1000))

    def _history_at(self, snapshot: Snapshot, reading: Reading) -> History:
        config = self._session.config
        return replace(
            self._history,
            in_flight=None if self._succession is None else self._succession.in_flight(),
            gas_price_wei=snapshot.block.base_fee_wei + config.fees.tip,
            data_fee=self._fees.market(snapshot.block).data_fee,
            # What fewer endpoints say than have to agree is no reason to take anything from an account with debt.
            protect_only=self._read_mode() is Mode.PROTECT_ONLY or reading.problem is not None,
        )

    def _remember(self, snapshot: Snapshot) -> None:
        """What the next cycle is to know of this one and those before it."""
        now, memory_seconds = snapshot.block.timestamp, self._session.policy.prices.memory_seconds
        self._history = history_from_journal(self._journal, (feed.feed for feed in snapshot.feeds), now, memory_seconds)

    def _reason_to_hold(self, snapshot: Snapshot) -> str | None:
        """Why nothing at all may be sent now, whatever the plan."""
        if self._read_mode() is Mode.PAUSED:
            return PAUSED
        if self._journal.is_out_of_space:
            return "the journal's disk is full; free some space"
        if not self._is_taken_up:
            return "what was sent earlier cannot be looked up yet"
        hot_key = self._session.portfolio.topology.keeper
        if snapshot.guard is not None and hot_key is not None and snapshot.guard.keeper != hot_key:
            return f"the guard's keeper is {snapshot.guard.keeper}, not this hot key {hot_key} (`keeper setup`)"
        if self._dispatcher is not None and self._dispatcher.in_flight is None and snapshot.keeper_balance_wei == 0:
            return f"the hot key {hot_key} has nothing to pay gas with; send it some"
        return None

    # Sending ----------------------------------------------------------------------------------------------------------

    async def _dispatch(self, snapshot: Snapshot, proven: Proven) -> CycleReport:
        report = CycleReport(
            snapshot,
            proven.plan,
            self._session.policy,
            proven.before_trial,
            proven.batch,
            outcome=proven.waits,
            waiting=proven.waiting,
        )
        if proven.batch is None:
            if not proven.is_held:
                await self._reprice(snapshot, proven.plan)
            return report
        if self._dispatcher is None or self._succession is None:
            return replace(report, outcome="dry run: proven by simulation, neither signed nor sent")
        if not self._succession.takes_over(proven.plan, (proven.batch.fee_ceiling_wei, snapshot.block)):
            await self._reprice(snapshot, proven.plan)
            behind = _behind(self._succession.behind(proven.plan), proven.before_trial, proven.history)
            return replace(report, plan=behind.plan, outcome=behind.waits, waiting=behind.waiting + proven.waiting)
        switched = self._switched_since(proven.history)
        if switched is not None:
            return replace(report, plan=proven.plan.held(switched), batch=None)
        self._notes.expect(proven.batch.plan_id, (rescue.recipient for rescue in proven.plan.rescues))
        changes = await self._dispatcher.submit(
            proven.batch, snapshot.block, serves_more=self._succession.serves_more(proven.plan)
        )
        for change in changes:
            self._notes.note(change, snapshot)
        last = changes[-1]
        # A nonce that turns out to be used settles other batches beside this one.
        intent = next((each.intent for each in changes if each.intent.plan_id == proven.batch.plan_id), last.intent)
        is_refused = isinstance(intent.outcome, Refused | Abandoned)
        return replace(
            report,
            is_signed=not is_refused and intent.attempts[0].signed_at == snapshot.block.timestamp,
            is_sent=intent.state in (State.BROADCAST, State.MINED, State.FINAL),
            is_refused=is_refused,
            outcome=last.did,
        )

    async def _reprice(self, snapshot: Snapshot, plan: Plan) -> None:
        """What is stuck is made dearer, while anybody whom it serves is still in need of it."""
        if self._dispatcher is None or self._succession is None or self._pause.read() is Mode.PAUSED:
            return
        if self._succession.is_wanted(plan):
            for change in await self._dispatcher.reprice(snapshot.block):
                self._notes.note(change, snapshot)

    async def _reprice_blindly(self, head: Block) -> None:
        """Where nothing can be read, what was decided before holds."""
        if self._dispatcher is not None and self._is_taken_up and self._pause.read() is not Mode.PAUSED:
            self._unnoted.extend(await self._dispatcher.reprice(head))

    def _read_mode(self) -> Mode:
        self._mode = self._pause.read()
        return self._mode

    def _switched_since(self, history: History) -> str | None:
        """The owner's switch is read again last of all: `keeper pause` may have come while the plan was tried out."""
        mode = self._read_mode()
        if mode is Mode.PAUSED:
            return PAUSED
        if mode is Mode.PROTECT_ONLY and not history.protect_only:
            return "from now on only debt-free donors may give; the next block plans anew"
        return None

    async def settle(self, snapshot: Snapshot) -> None:
        """Looks after the batches sent earlier, without a cycle; at first takes up what another process left."""
        await self._look_after_sent(snapshot.block, may_reprice=True)
        self._note_sent(snapshot)

    async def _look_after_sent(self, head: Block, *, may_reprice: bool = False) -> None:
        """Beside the read, because neither needs the other and a receipt is a request more to wait for.

        A node that does not tell is an alarm and no reason not to plan: what is on its way stays so.
        """
        if self._dispatcher is None:
            return
        may_send = self._pause.read() is not Mode.PAUSED
        try:
            if self._is_taken_up:
                changes = await self._dispatcher.advance(
                    head,
                    blocks_may_be_gone=self._blocks_may_be_gone,
                    may_send=may_send,
                    may_reprice=may_reprice,
                )
            else:
                changes = await self._dispatcher.start(head, may_send=may_send)
                self._is_taken_up = True
        except ChainError as fault:
            self._alerts.raise_alarm(Alarm.NODE_FAILING, self._session.rpc.label, str(fault))
            return
        self._blocks_may_be_gone = False
        self._unnoted.extend(changes)

    def _note_sent(self, snapshot: Snapshot) -> None:
        while self._unnoted:
            self._notes.note(self._unnoted.popleft(), snapshot)


def _behind(plan: Plan, before_trial: Plan, history: History) -> Proven:
    waiting = tuple(rescue.recipient for rescue in plan.rescues)
    return Proven(plan, before_trial, history, None, IN_FLIGHT if waiting else "", waiting)

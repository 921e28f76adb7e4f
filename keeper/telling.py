"""What a cycle saw, decided and did, and how that is told: to the journal, as metrics, and as alarms."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from keeper.alerts import Alarm, Alerts, Raised
from keeper.chain.batch import Batch
from keeper.chain.dispatcher import Dispatcher
from keeper.chain.fees import FeeOracle
from keeper.chain.reader import Reading
from keeper.core.disputes import last_said, worth_noting
from keeper.core.plan import History, Plan
from keeper.core.policy import Policy
from keeper.core.snapshot import Snapshot, SubaccountId, Unknown
from keeper.core.units import Wad
from keeper.core.verdict import Blocked, Unfunded
from keeper.documents import Document, plan_document, recorded_plan
from keeper.errors import JournalError
from keeper.journal import CycleRecord, Journal, PlanRecord, VerdictNote
from keeper.noting import Notes, journal_alarm
from keeper.pausing import Mode
from keeper.records import history_to_json, policy_to_json
from keeper.report import verdict_text
from keeper.report_rescue import rescue_paragraph
from keeper.session import Session
from keeper.telemetry import Metrics
from keeper.watch import alarms_in, budget_alarms, gas_alarms


@dataclass(frozen=True, slots=True)
class CycleReport:
    """What one cycle saw, decided and did."""

    snapshot: Snapshot
    plan: Plan
    policy: Policy
    before_trial: Plan | None = None
    """What was decided, before its own trial left rescues out; None when the cycle ended before."""
    batch: Batch | None = None
    """What was proven by simulation, or None when there was nothing to send."""
    is_signed: bool = False
    """Whether bytes of it exist since this cycle, which may land whether or not a node said that it took them."""
    is_sent: bool = False
    """Whether a node took them."""
    outcome: str = ""
    """What became of the batch, as a sentence; empty without one."""
    is_refused: bool = False
    """Whether the batch could not be sent."""
    waiting: tuple[SubaccountId, ...] = ()
    """Whose rescues are due and go out after this batch, or after the one in flight."""
    mode: Mode = Mode.ACTIVE
    """The owner's switch as it stood at the end of the cycle."""
    quorum_problem: str | None = None
    """Why fewer endpoints agree on the snapshot than must, as a sentence; None: enough do."""

    @property
    def has_failed(self) -> bool:
        """Whether a rescue was due that did not go out."""
        return self.is_refused or any(isinstance(each, Blocked | Unfunded) for each in self.plan.verdicts.values())


def held_back(mode: Mode, quorum_problem: str | None) -> list[str]:
    """Why less may be sent than could be, whatever is due: the owner's switch, and endpoints that do not agree."""
    lines: list[str] = []
    if mode is not Mode.ACTIVE:
        means = ", only debt-free donors give" if mode is Mode.PROTECT_ONLY else ""
        lines.append(f"MODE: {mode.value.upper()}{means}; `keeper resume` undoes it")
    if quorum_problem is not None:
        lines.append(f"QUORUM LOST: {lost_quorum_text(quorum_problem)}")
    return lines


def lost_quorum_text(problem: str) -> str:
    """What endpoints do not agree on, and what it holds back."""
    return f"{problem} Until they do, only debt-free donors give."


def cycle_document(report: CycleReport) -> Document:
    return {
        **plan_document(report.plan, report.snapshot),
        "mode": report.mode.value,
        "quorum_problem": report.quorum_problem,
        "outcome": report.outcome,
        "failed": report.has_failed,
    }


class Telling:
    """One keeper's, cycle by cycle."""

    def __init__(
        self,
        session: Session,
        journal: Journal,
        alerts: Alerts,
        metrics: Metrics,
        notes: Notes,
        dispatcher: Dispatcher | None,
        fees: FeeOracle,
    ) -> None:
        self._journal = journal
        self._alerts = alerts
        self._metrics = metrics
        self._notes = notes
        self._dispatcher = dispatcher
        self._fees = fees
        self.adopt(session)

    def adopt(self, session: Session) -> None:
        """What is the same in each cycle that looks through this session is written as JSON once."""
        self._topology = session.portfolio.to_json()
        self._policy = policy_to_json(session.policy)
        self._hot_key = session.portfolio.topology.keeper
        self._coin = session.config.chain.coin

    def record(self, answer: bytes, report: CycleReport, history: History) -> None:
        """Into the journal, after the batch is on its way: what it takes to make the same decision again."""
        snapshot, plan = report.snapshot, report.plan
        healths = _healths(snapshot)
        record = None
        if report.batch is not None and report.is_signed:
            record = PlanRecord(
                report.batch.plan_id,
                report.batch.lane,
                self._policy,
                history_to_json(history),
                json.dumps(recorded_plan(plan, report.before_trial or plan, snapshot)),
                tuple(rescue_paragraph(rescue, snapshot, report.policy) for rescue in plan.rescues),
            )
        cycle = CycleRecord(
            snapshot.block,
            hashlib.sha256(answer).hexdigest(),
            self._topology,
            answer,
            snapshot.feeds,
            {
                str(id): VerdictNote(type(decided).__name__, verdict_text(decided), healths[id])
                for id, decided in plan.verdicts.items()
            },
            record,
            worth_noting(snapshot) if report.policy.prices.memory_seconds else {},
            last_said(snapshot, plan.disputes, history),
        )
        try:
            self._journal.record_cycle(cycle)
            self._journal.prune(snapshot.block.timestamp)
        except JournalError as fault:
            # A cycle that is not in the journal is no reason to give up the next; what has to be there is the batch.
            self._alerts.raise_alarm(journal_alarm(fault), "journal", str(fault))

    def tell(self, report: CycleReport, reading: Reading) -> None:
        """Metrics, and alarms for all that a person has to know; repeated ones are held back by `Alerts`."""
        snapshot, plan = report.snapshot, report.plan
        self._metrics.set_subaccounts(
            {str(id): type(decided).__name__ for id, decided in plan.verdicts.items()},
            {str(id): health for id, health in _healths(snapshot).items() if health is not None},
        )
        self._metrics.head_block.set(snapshot.block.number)
        raised = [*_contested(reading), *self._alarms_of(report)]
        if self._dispatcher is not None:
            market, storm = self._fees.market(snapshot.block), self._fees.storm(snapshot.block)
            left = self._dispatcher.budget_left(snapshot.block)
            self._metrics.set_gas(snapshot.keeper_balance_wei, market, storm, left)
            raised += gas_alarms(snapshot.keeper_balance_wei, market, storm, self._coin)
            raised += budget_alarms(left, market, self._coin)
        self._alerts.raise_held(raised)

    def _alarms_of(self, report: CycleReport) -> Iterator[Raised]:
        yield from alarms_in(report.snapshot, report.plan, report.policy, self._hot_key)
        in_flight = None if self._dispatcher is None else self._dispatcher.in_flight
        yield from self._notes.overdue(in_flight, report.waiting, report.snapshot.block)
        if self._journal.is_out_of_space:
            yield Alarm.DISK_FULL, "journal", "The journal's disk is full; nothing new is sent until it has space."


def _contested(reading: Reading) -> Iterator[Raised]:
    if reading.problem is not None:
        yield Alarm.QUORUM_LOST, "endpoints", lost_quorum_text(reading.problem)


def _healths(snapshot: Snapshot) -> dict[SubaccountId, Wad | None]:
    """None for what is not known."""
    return {
        each.id: None if isinstance(each.reading, Unknown) else each.margin.risk().health_factor
        for each in snapshot.subaccounts
    }

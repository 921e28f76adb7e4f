"""What is told once something happened to a batch: to the log, the metrics, the journal and whoever is on call.

A receipt is told when it is first seen, whatever its batch is by then; and a rescue that waits is told while it waits.
"""

from collections.abc import Iterable, Iterator, Sequence

import structlog

from keeper.alerts import Alarm, Alerts, Raised
from keeper.chain.batch import Change
from keeper.core.intent import Abandoned, Included, Intent, Refused, Reverted, State
from keeper.core.snapshot import Block, Snapshot, SubaccountId
from keeper.core.units import Address
from keeper.errors import JournalError, JournalFull
from keeper.journal import Journal, RescueOutcome
from keeper.protocols.guard import Rescued, RescueFailed, decode_events, explain_guard_revert
from keeper.report import health_text, name_of
from keeper.telemetry import Metrics

log = structlog.stdlib.get_logger(__name__)

WAITING_BLOCKS_MAX = 2
"""A rescue that waits longer has failed for now, whatever becomes of it: so long is an inclusion expected to take."""
REMEMBERED_BATCHES = 64
BATCH = "batch"
"""The subject of an alarm about a batch whose recipients are not known: it was found at the start."""


def journal_alarm(fault: JournalError) -> Alarm:
    return Alarm.DISK_FULL if isinstance(fault, JournalFull) else Alarm.JOURNAL_FAILING


class Notes:
    """One keeper's, from what it sends to what became of it."""

    def __init__(self, journal: Journal, alerts: Alerts, metrics: Metrics) -> None:
        self._journal = journal
        self._alerts = alerts
        self._metrics = metrics
        self._recipients: dict[str, tuple[SubaccountId, ...]] = {}
        """By plan id. A batch found at start has none here: that it takes effect once is the guard's business."""
        self._waiting_since: dict[str, int] = {}
        """Block numbers by subject: since when a rescue is signed, or planned behind a batch on its way."""
        self._last: Change | None = None
        self._signatures: dict[str, int] = {}
        """How many of each batch were counted."""

    def expect(self, plan_id: str, recipients: Iterable[SubaccountId]) -> None:
        """A batch is about to be sent for them."""
        self._recipients[plan_id] = tuple(recipients)
        if len(self._recipients) > REMEMBERED_BATCHES:
            del self._recipients[next(iter(self._recipients))]

    def recipients(self, plan_id: str) -> tuple[SubaccountId, ...]:
        return self._recipients.get(plan_id, ())

    def note(self, change: Change, snapshot: Snapshot) -> None:
        """One line in the log for whatever happens to a batch, and an alarm for what a person has to know."""
        intent = change.intent
        self._last = change
        self._count_signatures(intent)
        log.info("batch", did=change.did, plan_id=intent.plan_id, lane=intent.lane.value, nonce=intent.nonce)
        match intent.outcome:
            case Included(receipt) if change.is_first and self._still_holds(intent):
                self._metrics.gas_spent_wei.inc(receipt.cost_wei)
                self._metrics.transactions.labels("included").inc()
                if snapshot.guard is not None:
                    self._record(intent, self._tell_rescues(change, snapshot, snapshot.guard.address), snapshot)
            case Reverted(receipt) if change.is_first and self._still_holds(intent):
                self._metrics.gas_spent_wei.inc(receipt.cost_wei)
                self._metrics.transactions.labels("reverted").inc()
                says = f"The batch {receipt.hash} reverted and moved nothing; the next cycle plans anew."
                self._alerts.raise_alarm(Alarm.RESCUE_FAILED, intent.plan_id, says)
                self._record(intent, (), snapshot)
            case Refused(reason):
                self._metrics.transactions.labels("refused").inc()
                for who in self._subjects(intent):
                    says = f"{_rescue_of(who)} was not sent: {reason}."
                    self._alerts.raise_alarm(Alarm.RESCUE_FAILED, who, says)
            case Abandoned() if intent.state is State.REPLACED:
                self._metrics.transactions.labels("replaced").inc()
            case Abandoned(reason):
                self._metrics.transactions.labels("abandoned").inc()
                says = f"A batch was given up: {reason}; the next cycle plans anew."
                self._alerts.raise_alarm(Alarm.TRANSACTION_STUCK, intent.plan_id, says)
            case _:
                pass
        if intent.state is State.FINAL or isinstance(intent.outcome, Refused):
            self._recipients.pop(intent.plan_id, None)

    def _count_signatures(self, intent: Intent) -> None:
        known = self._signatures.get(intent.plan_id, 0)
        for place in range(known, len(intent.attempts)):
            self._metrics.signatures.labels("replacement" if place else "first").inc()
        self._signatures[intent.plan_id] = len(intent.attempts)
        if len(self._signatures) > REMEMBERED_BATCHES:
            del self._signatures[next(iter(self._signatures))]

    def overdue(self, in_flight: Intent | None, behind: Iterable[SubaccountId], block: Block) -> Iterator[Raised]:
        """Rescues that wait for longer than they may: signed and not included, or planned `behind` such a batch.

        Call it once for each cycle. What no node has taken a block later is overdue at once.
        """
        waits = {str(id): "the batch before it is not included" for id in behind}
        is_taken = True
        if in_flight is not None:
            is_taken = in_flight.was_taken
            last = self._last if self._last and self._last.intent.plan_id == in_flight.plan_id else None
            why = "it is not included" if is_taken else "no node has taken it" if last is None else last.did
            waits |= dict.fromkeys(self._subjects(in_flight), why)
        self._waiting_since = {who: self._waiting_since.get(who, block.number) for who in waits}
        for who, why in waits.items():
            blocks = block.number - self._waiting_since[who]
            if blocks > (WAITING_BLOCKS_MAX if is_taken else 0):
                since = f"{_rescue_of(who)} has waited since block {self._waiting_since[who]}"
                yield Alarm.RESCUE_FAILED, who, f"{since}: {why.rstrip('.')}."

    def _subjects(self, intent: Intent) -> list[str]:
        return [str(id) for id in self.recipients(intent.plan_id)] or [BATCH]

    def _still_holds(self, intent: Intent) -> bool:
        """A block may be reorganised away before its receipt is told; mined again, it is told then."""
        recorded = self._journal.intent(intent.plan_id)
        return recorded is not None and recorded.outcome == intent.outcome

    def _record(self, intent: Intent, rescues: Sequence[RescueOutcome], snapshot: Snapshot) -> None:
        """That it was told, last of all: killed before, the next process tells it."""
        try:
            self._journal.record_rescues(intent.plan_id, rescues, snapshot.block.timestamp)
        except JournalError as fault:
            self._alerts.raise_alarm(journal_alarm(fault), "journal", str(fault))

    def _tell_rescues(self, change: Change, snapshot: Snapshot, guard: Address) -> list[RescueOutcome]:
        """What the rescues of an included batch did, by the guard's own events."""
        plan_id = change.intent.plan_id
        by_index = {each.guard_index: each for each in snapshot.subaccounts}
        labels = {str(each.id): each.label for each in snapshot.subaccounts}
        recipients = self.recipients(plan_id)
        outcomes: list[RescueOutcome] = []
        for event in decode_events(guard, change.logs):
            match event:
                case Rescued(_, index, before, after) if index in by_index:
                    rescued = by_index[index]
                    outcomes.append(RescueOutcome(str(rescued.id), True, before, after, label=rescued.label))
                    self._metrics.rescues.labels("succeeded").inc()
                    says = f"{name_of(rescued)} was rescued: health {health_text(before)} → {health_text(after)}."
                    self._alerts.raise_alarm(Alarm.RESCUED, f"{rescued.id} {plan_id}", says)
                case RescueFailed(_, place, revert):
                    who = str(recipients[place]) if place < len(recipients) else f"rescue {place}"
                    reason = explain_guard_revert(revert)
                    outcomes.append(RescueOutcome(who, False, 0, 0, reason, labels.get(who, "")))
                    self._metrics.rescues.labels("failed").inc()
                    self._alerts.raise_alarm(
                        Alarm.RESCUE_FAILED, f"{who} {plan_id}", f"The rescue of {who} failed: {reason}."
                    )
                case _:
                    pass
        return outcomes


def _rescue_of(subject: str) -> str:
    return "A batch" if subject == BATCH else f"The rescue of {subject}"

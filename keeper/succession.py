"""Which plan takes the place of the batch in flight, which waits for it, and whether that batch is still wanted."""

from keeper.chain.dispatcher import Dispatcher
from keeper.core.intent import Intent
from keeper.core.plan import InFlight, Lane, Plan
from keeper.core.replanning import Moves, differs, moves, recipients
from keeper.core.snapshot import Block, SubaccountId
from keeper.core.verdict import Healthy, Watching
from keeper.journal_reader import JournalReader
from keeper.sent import sent_moves


class Succession:
    """What is in flight is known by the journal, so also to a process that did not send it."""

    def __init__(self, dispatcher: Dispatcher, journal: JournalReader) -> None:
        self._dispatcher = dispatcher
        self._journal = journal
        self._sent: tuple[str, Moves] = "", {}
        """The last batch that was looked up, and what it moves."""

    def in_flight(self) -> InFlight | None:
        """For the planner."""
        intent, dispatcher = self._dispatcher.in_flight, self._dispatcher
        if intent is None:
            return None
        may_be_replaced = dispatcher.takes(Lane.CRITICAL)
        return InFlight(intent.plan_id, intent.lane, self._served(), may_be_replaced, dispatcher.is_stuck)

    def takes_over(self, plan: Plan, fees: tuple[int, Block] | None = None) -> bool:
        """Whether the plan may be sent now, in the place of what is in flight if anything is; `fees` is that of
        `Dispatcher.takes`."""
        intent = self._dispatcher.in_flight
        if intent is None:
            return True
        is_other = differs(moves(plan.rescues), self._moves_of(intent))
        return self._dispatcher.takes(plan.lane, fees, differs=is_other, serves_more=self.serves_more(plan))

    def serves_more(self, plan: Plan) -> bool:
        """Whether it rescues anybody critical whom what is in flight leaves alone."""
        served = self._served()
        return any(rescue.lane is Lane.CRITICAL and rescue.recipient not in served for rescue in plan.rescues)

    def behind(self, plan: Plan) -> Plan:
        """A plan that waits: whom the batch in flight serves is on its way, what is left of it comes after that."""
        return plan.waiting(self._served())

    def is_wanted(self, plan: Plan) -> bool:
        """Whether anybody whom the batch in flight serves is in need of it, by this plan's verdicts; who is not known
        may be."""
        served = self._served()
        return not served or not all(isinstance(plan.verdicts.get(id), Healthy | Watching) for id in served)

    def _served(self) -> frozenset[SubaccountId]:
        intent = self._dispatcher.in_flight
        return frozenset() if intent is None else recipients(self._moves_of(intent))

    def _moves_of(self, intent: Intent) -> Moves:
        if self._sent[0] != intent.plan_id or not self._sent[1]:
            self._sent = intent.plan_id, sent_moves(self._journal, intent.plan_id)
        return self._sent[1]

"""Known bugs, put back into the keeper from outside: whoever trusts a simulation has to see it find something.

Each is a way in which keepers have failed, as a patch of a named function for as long as a simulation runs; the product
has no switch for any of them.
"""

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from keeper.chain import dispatcher
from keeper.chain.clock import SystemClock
from keeper.chain.dispatcher import Dispatcher
from keeper.chain.heads import Heads
from keeper.chain.outlet import Outlet
from keeper.core import steps
from keeper.core.fees import Fees
from keeper.core.intent import Intent
from keeper.core.snapshot import Fresh, Reading, Subaccount, Unknown
from keeper.errors import NodeRefused, NodeUnreachable
from keeper.journal import Journal
from keeper.protocols import portfolio
from keeper.protocols.morpho.adapter import Market, MorphoBlue
from scripts.simulation.judge import Rule
from scripts.simulation.trial import simulate
from scripts.simulation.weather import Level

Patches = Callable[[], Iterable[Any]]


@dataclass(frozen=True, slots=True)
class Bug:
    """One bug, where to look for it and how it shows."""

    name: str
    level: Level
    rules: frozenset[Rule]
    """Which of them it breaks; one of them is enough to be found."""
    seeds: int
    """Within so many from 0 on it is found."""
    patches: Patches

    def first_found(self) -> int | None:
        """The first seed whose simulation breaks one of the rules; None when none does."""
        with in_place(self):
            for seed in range(self.seeds):
                found = {violation.rule for violation in simulate(seed, level=self.level).violations}
                if found & self.rules:
                    return seed
        return None


@contextmanager
def in_place(bug: Bug) -> Generator[None]:
    """The keeper has the bug for as long as the block runs."""
    patches = list(bug.patches())
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in reversed(patches):
            each.stop()


# Each of them ---------------------------------------------------------------------------------------------------------


def _restart_forgets() -> Iterable[Any]:
    """A new process knows nothing of what is on its way, and uses its nonce again."""
    yield patch.object(Journal, "open_intents", lambda _: ())
    yield patch.object(Journal, "intents_from_nonce", lambda _self, _nonce: ())
    yield patch.object(Journal, "untold_intents", lambda _: ())


def _only_the_latest_hash() -> Iterable[Any]:
    """Of a transaction that was made dearer only the last bytes are watched."""
    receipts = Dispatcher._receipts  # noqa: SLF001

    async def latest(self: Dispatcher, intents: Iterable[Intent]) -> Any:
        return await receipts(self, [replace(each, attempts=each.attempts[-1:]) for each in intents])

    yield patch.object(Dispatcher, "_receipts", latest)


def _unknown_is_as_before() -> Iterable[Any]:
    """An account that cannot be read is taken to be as it was when it last could."""
    decode = MorphoBlue._subaccount  # noqa: SLF001
    known: dict[str, Subaccount] = {}

    def remembering(self: MorphoBlue, market: Market, *more: Any) -> Subaccount:
        read = decode(self, market, *more)
        if isinstance(read.reading, Unknown):
            return known.get(market.id, read)
        known[market.id] = read
        return read

    yield patch.object(MorphoBlue, "_subaccount", remembering)


def _cheap_bump() -> Iterable[Any]:
    """A replacement is a twentieth dearer."""
    yield patch.object(Fees, "bumped", lambda fees: Fees(fees.max_fee_wei * 21 // 20, fees.tip_wei * 21 // 20))


def _sent_before_written() -> Iterable[Any]:
    """The node has the bytes before the journal has."""

    original = Dispatcher._sign_and_offer  # noqa: SLF001

    async def sign_and_offer(self: Any, signing: Intent, transaction: Any, block: Any) -> Any:
        save = self._watched.save
        unwritten: list[Intent] = []

        def remember(changed: Intent, _block: Any) -> Intent:
            unwritten.append(changed)
            return changed

        with patch.object(self._watched, "save", remember):
            result = await original(self, signing, transaction, block)
        for changed in unwritten:
            save(changed, block)
        return result

    yield patch.object(Dispatcher, "_sign_and_offer", sign_and_offer)


def _reorganisation_ignored() -> Iterable[Any]:
    """A receipt is believed for good, whatever became of its block."""
    advance = Dispatcher.advance

    async def believing(self: Dispatcher, block: Any, *, blocks_may_be_gone: bool = False, **more: Any) -> Any:  # noqa: ARG001
        return await advance(self, block, **more)

    yield patch.object(Dispatcher, "advance", believing)
    yield patch.object(steps, "_is_final", lambda *_: True)


def _old_head() -> Iterable[Any]:
    """The age of a head is not looked at."""
    report = Heads._next  # noqa: SLF001

    async def ageless(self: Heads) -> Any:
        with patch.object(SystemClock, "now", lambda _: 0.0):
            return await report(self)

    yield patch.object(Heads, "_next", ageless)


def _no_deadline() -> Iterable[Any]:
    """A batch is sent again and again, long after the guard would refuse it."""

    decide = dispatcher.next_step
    yield patch.object(dispatcher, "next_step", lambda one, *more: decide(replace(one, deadline=2**40), *more))


def _no_budget() -> Iterable[Any]:
    """What gas costs is nobody's business."""
    yield patch.object(Dispatcher, "_objection", lambda *_: None)


def _stale_is_fresh() -> Iterable[Any]:
    """The age of a price is not looked at."""
    judge = portfolio.judge

    def trusting(*arguments: Any) -> Reading:
        judged = judge(*arguments)
        return Fresh() if type(judged).__name__ == "Stale" else judged

    yield patch.object(portfolio, "judge", trusting)


def _lost_answer_is_a_refusal() -> Iterable[Any]:
    """A connection that breaks while sending is taken for a no: the intent is dropped, though its bytes may land."""
    offer = Outlet.offer

    async def doubting(self: Outlet, raw: bytes, **more: Any) -> None:
        try:
            await offer(self, raw, **more)
        except NodeUnreachable as fault:
            raise NodeRefused(str(fault), reason="exceeds maximum") from fault

    yield patch.object(Outlet, "offer", doubting)


def _silent_silence() -> Iterable[Any]:
    """A node that stands still is waited for, quietly."""
    yield patch.object(Heads, "_hints_until", _waits_longer(Heads._hints_until))  # noqa: SLF001


def _waits_longer(wait: Callable[..., Any]) -> Callable[..., Any]:
    async def waits(self: Any, deadline: float) -> Any:
        self._next_silence_at = float("inf")
        return await wait(self, min(deadline, self._poll_at))

    return waits


BUGS = (
    Bug("restart forgets", Level.KILLS, frozenset({Rule.BUMP, Rule.FORGOTTEN, Rule.TWICE}), 40, _restart_forgets),
    Bug("only the latest hash", Level.CHAIN, frozenset({Rule.FORGOTTEN}), 40, _only_the_latest_hash),
    Bug("unknown is as before", Level.CHAIN, frozenset({Rule.UNKNOWN}), 10, _unknown_is_as_before),
    Bug("cheap bump", Level.CHAIN, frozenset({Rule.BUMP}), 40, _cheap_bump),
    Bug("sent before written", Level.KILLS, frozenset({Rule.FORGOTTEN}), 60, _sent_before_written),
    Bug("reorganisation ignored", Level.CHAIN, frozenset({Rule.BELIEVED, Rule.FORGOTTEN}), 40, _reorganisation_ignored),
    Bug("old head", Level.NETWORK, frozenset({Rule.OLD_HEAD}), 40, _old_head),
    Bug("no deadline", Level.CHAIN, frozenset({Rule.DEADLINE}), 60, _no_deadline),
    Bug("no budget", Level.CHAIN, frozenset({Rule.BUDGET}), 60, _no_budget),
    Bug("stale is fresh", Level.CHAIN, frozenset({Rule.UNKNOWN}), 60, _stale_is_fresh),
    Bug("lost answer is a refusal", Level.NETWORK, frozenset({Rule.FORGOTTEN, Rule.BUMP}), 60, _lost_answer_is_a_refusal),
    Bug("silent silence", Level.NETWORK, frozenset({Rule.SILENCE}), 40, _silent_silence),
)

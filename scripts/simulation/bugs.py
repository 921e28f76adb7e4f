"""Known bugs, put back into the keeper from outside: whoever trusts a simulation has to see it find something.

Each is a way in which keepers have failed, as a patch of a named function for as long as a simulation runs; the product
has no switch for any of them.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from keeper.chain import connect, dispatcher
from keeper.chain.clock import SystemClock
from keeper.chain.dispatcher import Dispatcher
from keeper.chain.heads import Heads
from keeper.chain.offering import Offering
from keeper.chain.outlet import Outlet
from keeper.core import steps
from keeper.core.fees import Fees
from keeper.core.intent import Intent
from keeper.core.snapshot import Fresh, Reading, Stale, Subaccount, Unknown
from keeper.errors import NodeRefused, NodeUnreachable
from keeper.journal import Journal
from keeper.protocols import portfolio
from keeper.protocols.morpho.adapter import Market, MorphoBlue
from scripts.simulation.endpoint import Fault, Spell
from scripts.simulation.judge import Rule
from scripts.simulation.trial import simulate
from scripts.simulation.wallet import BLOCK_SECONDS
from scripts.simulation.weather import NEVER, Kill, Level, Span, Weather

Patches = Callable[[], Iterable[Any]]

SEEDS = 20
"""Within so many from 0 on each is found: on some of them no rescue is ever due."""


@dataclass(frozen=True, slots=True)
class Bug:
    """One bug, where to look for it and how it shows."""

    name: str
    level: Level
    rules: AbstractSet[Rule]
    """Which of them it breaks; one of them is enough to be found."""
    day: Callable[[Weather], Weather]
    """The day on which it shows, out of any."""
    patches: Patches

    def first_found(self) -> int | None:
        """The first seed whose simulation breaks one of the rules; None when none within `SEEDS` does."""
        with in_place(self):
            for seed in range(SEEDS):
                found = {violation.rule for violation in simulate(seed, level=self.level, turn=self.day).violations}
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


def _instead(place: Any, name: str, make: Callable[[Any], Callable[..., Any]]) -> Any:
    """A patch of one function; `make` is given the original."""
    return patch.object(place, name, make(getattr(place, name)))


def _always(answer: Any) -> Callable[[Any], Callable[..., Any]]:
    def make(_original: Any) -> Callable[..., Any]:
        return lambda *_arguments, **_more: answer

    return make


def _restart_forgets() -> Iterable[Any]:
    """A new process knows nothing of what is on its way, and uses its nonce again."""
    for name in ("open_intents", "intents_from_nonce", "untold_intents"):
        yield _instead(Journal, name, _always(()))


def _only_the_latest_hash() -> Iterable[Any]:
    """Of a transaction that was made dearer only the last bytes are watched."""

    def make(receipts: Any) -> Callable[..., Any]:
        async def latest(self: Dispatcher, intents: Iterable[Intent]) -> Any:
            return await receipts(self, [replace(each, attempts=each.attempts[-1:]) for each in intents])

        return latest

    yield _instead(Dispatcher, "_receipts", make)


def _unknown_is_as_before() -> Iterable[Any]:
    """An account that cannot be read is taken to be as it was when it last could."""
    known: dict[str, Subaccount] = {}

    def make(decode: Any) -> Callable[..., Any]:
        def remembering(self: MorphoBlue, market: Market, *more: Any) -> Subaccount:
            read: Subaccount = decode(self, market, *more)
            if isinstance(read.reading, Unknown):
                return known.get(market.id, read)
            known[market.id] = read
            return read

        return remembering

    yield _instead(MorphoBlue, "_subaccount", make)


def _cheap_bump() -> Iterable[Any]:
    """A replacement is a twentieth dearer."""

    def bumped(fees: Fees) -> Fees:
        return Fees(fees.max_fee_wei * 21 // 20, fees.tip_wei * 21 // 20)

    yield patch.object(Fees, "bumped", bumped)


def _sent_before_written() -> Iterable[Any]:
    """The node has the bytes before the journal has."""

    def make(sign_and_offer: Any) -> Callable[..., Any]:
        async def hasty(self: Any, signing: Intent, transaction: Any, block: Any) -> Any:
            save = self._watched.save
            unwritten: list[Intent] = []

            def remember(changed: Intent, _block: Any) -> Intent:
                unwritten.append(changed)
                return changed

            with patch.object(self._watched, "save", remember):
                result = await sign_and_offer(self, signing, transaction, block)
            for changed in unwritten:
                save(changed, block)
            return result

        return hasty

    yield _instead(Offering, "_sign_and_offer", make)


def _reorganisation_ignored() -> Iterable[Any]:
    """A receipt is believed for good, whatever becomes of its block."""

    def make(advance: Any) -> Callable[..., Any]:
        async def believing(self: Dispatcher, block: Any, *, blocks_may_be_gone: bool = False, **more: Any) -> Any:  # noqa: ARG001
            return await advance(self, block, **more)

        return believing

    yield _instead(Dispatcher, "advance", make)
    yield _instead(steps, "_is_final", _always(True))


def _old_head() -> Iterable[Any]:
    """The age of a head is not looked at."""

    def make(report: Any) -> Callable[..., Any]:
        async def ageless(self: Heads) -> Any:
            with _instead(SystemClock, "now", _always(0.0)):
                return await report(self)

        return ageless

    yield _instead(Heads, "_next", make)


def _no_deadline() -> Iterable[Any]:
    """A batch is sent again and again, long after the guard would refuse it."""

    def make(decide: Any) -> Callable[..., Any]:
        def forever(intent: Intent, *more: Any) -> Any:
            return decide(replace(intent, deadline=2**40), *more)

        return forever

    yield _instead(dispatcher, "next_step", make)


def _no_budget() -> Iterable[Any]:
    """What gas costs is nobody's business."""
    yield _instead(Offering, "objection", _always(None))


def _stale_is_fresh() -> Iterable[Any]:
    """The age of a price is not looked at."""

    def make(judge: Any) -> Callable[..., Any]:
        def trusting(*arguments: Any) -> Reading:
            judged: Reading = judge(*arguments)
            return Fresh() if isinstance(judged, Stale) else judged

        return trusting

    yield _instead(portfolio, "judge", make)


def _lost_answer_is_a_refusal() -> Iterable[Any]:
    """A connection that breaks while sending is taken for a no: the intent is dropped, though its bytes may land."""

    def make(offer: Any) -> Callable[..., Any]:
        async def doubting(self: Outlet, raw: bytes, **more: Any) -> None:
            try:
                await offer(self, raw, **more)
            except NodeUnreachable as fault:
                raise NodeRefused(str(fault), reason="exceeds maximum") from fault

        return doubting

    yield _instead(Outlet, "offer", make)


def _silent_silence() -> Iterable[Any]:
    """A node that stands still is waited for, quietly."""

    def make(wait: Any) -> Callable[..., Any]:
        async def patient(self: Any, deadline: float) -> Any:
            self._next_silence_at = float("inf")
            return await wait(self, min(deadline, self._poll_at))

        return patient

    yield _instead(Heads, "_hints_until", make)


def _quorum_of_one() -> Iterable[Any]:
    """The first endpoint that answers is believed, whatever the others say."""

    def make(quorum_rpc: Any) -> Callable[..., Any]:
        def trusting(pool: Any, _quorum: int, **more: Any) -> Any:
            return quorum_rpc(pool, 1, **more)

        return trusting

    yield _instead(connect, "QuorumRpc", make)


def _sent_to_nobody() -> Iterable[Any]:
    """What is signed counts as sent and reaches no node."""

    async def offer(_self: Outlet, _raw: bytes, **_more: Any) -> None:
        return None

    yield patch.object(Outlet, "offer", offer)


# The days on which they show ----------------------------------------------------------------------------------------

QUIET = {"frozen": NEVER, "mute": NEVER, "censored": NEVER, "daily_budget_wei": 10**18}
"""What could keep a rescue from being due or sent, left out."""
LONG = 10_000.0


def _any_day(weather: Weather) -> Weather:
    return weather


def _stubborn_builders(weather: Weather) -> Weather:
    """Four of six slots are without ours, and the others have the first bytes only."""
    every = range(weather.slots)
    closed = frozenset(slot for slot in every if slot % 6 < 4)
    return replace(weather, **{**QUIET, "passed_over": closed, "behind": frozenset(every)})


def _death_after_sending(weather: Weather) -> Weather:
    """Both endpoints have what was sent and nobody was told; no block has it before the next process begins."""
    kills = {2: Kill("eth_sendRawTransaction", 3, 20.0)}
    spells: list[Sequence[Spell]] = [[], []]
    return replace(_stubborn_builders(weather), behind=frozenset[int](), kills=kills, spells=spells)


def _restless_chain(weather: Weather) -> Weather:
    """Every fifth block takes the place of three."""
    return replace(weather, **{**QUIET, "reorgs": dict.fromkeys(range(8, weather.slots, 5), 3)})


def _mute_oracle(weather: Weather) -> Weather:
    return replace(weather, **{**QUIET, "mute": Span(20, 30)})


def _frozen_feed(weather: Weather) -> Weather:
    return replace(weather, **{**QUIET, "frozen": Span(5, weather.slots)})


def _shut_out(weather: Weather) -> Weather:
    """No block ever has ours."""
    return replace(weather, **{**QUIET, "censored": Span(0, weather.slots)})


def _poor_day(weather: Weather) -> Weather:
    """A budget that no rescue fits into."""
    return replace(weather, **{**QUIET, "daily_budget_wei": 10**15})


def _one_endpoint(fault: Fault, since: float = 0.0, until: float = LONG) -> Callable[[Weather], Weather]:
    def turn(weather: Weather) -> Weather:
        spells = [[Spell(fault, since, min(until, weather.slots * float(BLOCK_SECONDS)))]]
        return replace(weather, endpoints=1, quorum=1, spells=spells)

    return turn


LOSES_ANSWERS = _one_endpoint(Fault.LOSES_SENDS)
STANDS_STILL = _one_endpoint(Fault.STALE, 100, 400)
CATCHES_UP = _one_endpoint(Fault.LAGS)

BUGS = (
    Bug("restart forgets", Level.KILLS, {Rule.BUMP, Rule.FORGOTTEN}, _death_after_sending, _restart_forgets),
    Bug("only the latest hash", Level.CHAIN, {Rule.FORGOTTEN}, _stubborn_builders, _only_the_latest_hash),
    Bug("unknown is as before", Level.CHAIN, {Rule.UNKNOWN}, _mute_oracle, _unknown_is_as_before),
    Bug("cheap bump", Level.CHAIN, {Rule.BUMP}, _stubborn_builders, _cheap_bump),
    Bug("sent before written", Level.KILLS, {Rule.BUMP, Rule.FORGOTTEN}, _death_after_sending, _sent_before_written),
    Bug(
        "reorganisation ignored", Level.CHAIN, {Rule.BELIEVED, Rule.FORGOTTEN}, _restless_chain, _reorganisation_ignored
    ),
    Bug("old head", Level.NETWORK, {Rule.OLD_HEAD}, CATCHES_UP, _old_head),
    Bug("no deadline", Level.CHAIN, {Rule.DEADLINE}, _shut_out, _no_deadline),
    Bug("no budget", Level.CHAIN, {Rule.BUDGET}, _poor_day, _no_budget),
    Bug("stale is fresh", Level.CHAIN, {Rule.UNKNOWN}, _frozen_feed, _stale_is_fresh),
    Bug(
        "lost answer is a refusal", Level.NETWORK, {Rule.FORGOTTEN, Rule.BUMP}, LOSES_ANSWERS, _lost_answer_is_a_refusal
    ),
    Bug("quorum of one", Level.LIARS, {Rule.TRUTH, Rule.BELIEVED}, _any_day, _quorum_of_one),
    Bug("sent to nobody", Level.CALM, {Rule.LEFT_TO_DIE}, _any_day, _sent_to_nobody),
    Bug("silent silence", Level.NETWORK, {Rule.SILENCE}, STANDS_STILL, _silent_silence),
)

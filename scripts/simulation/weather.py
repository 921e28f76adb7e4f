"""How bad a day is: what a seed does to endpoints, blocks, feeds and processes, and how much of it a keeper must stand.

Everything is drawn before the first block, so that what the keeper does never changes what happens to it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from random import Random

from scripts.simulation.endpoint import LIES, Fault, Spell
from scripts.simulation.paths import Crash, some_crashes
from scripts.simulation.wallet import BLOCK_SECONDS

SLOTS, LONG_SLOTS = 70, 360
REORG_DEPTH_MAX = 7
FREEZE_SLOTS = 300
"""60 minutes without an answer of the ETH feed."""
SURGE_SLOTS = 200
"""40 minutes in which the base fee grows twentyfold."""
STALL_SLOTS = 150
"""30 minutes without finality."""
CENSORED_SLOTS = 40
"""Longer than a batch is good for."""
NETWORK_FAULTS = tuple(fault for fault in Fault if fault not in LIES)


class Level(Enum):
    """What kind of day it is."""

    CALM = "calm"
    NETWORK = "network"
    """Endpoints are slow, hang, reset, limit, answer wrongly or fall behind; a quorum is left mostly, not always."""
    CHAIN = "chain"
    """Reorganisations, drops, missed slots, full blocks, feeds that freeze or fail, finality that stalls."""
    LIARS = "liars"
    """Half of the endpoints down, one of the others lying."""
    KILLS = "kills"
    """The process is killed again and again, in the middle of everything that network and chain do."""


@dataclass(frozen=True, slots=True)
class Span:
    """Slots, the last one not included."""

    first: int
    end: int

    def __contains__(self, slot: int) -> bool:
        return self.first <= slot < self.end


NEVER = Span(0, 0)


@dataclass(frozen=True, slots=True)
class Kill:
    """The process dies at one of its requests, before or after the node did what was asked for."""

    method: str
    """Empty: any."""
    checkpoints: int
    """How many such moments are let pass."""
    down_seconds: float


@dataclass(frozen=True, slots=True)
class Weather:
    """One day, slot by slot."""

    level: Level
    slots: int
    """With something going on; a quiet end follows."""
    endpoints: int
    quorum: int
    crashes: Sequence[Crash]
    spells: Sequence[Sequence[Spell]]
    """Of each endpoint."""
    missed: frozenset[int] = frozenset()
    reorgs: dict[int, int] = field(default_factory=dict[int, int])
    """Depth by slot."""
    drops: frozenset[int] = frozenset()
    """Slots in which nodes forget what waits."""
    passed_over: frozenset[int] = frozenset()
    """Slots whose block does without our transactions."""
    censored: Span = NEVER
    """Nobody includes ours."""
    behind: frozenset[int] = frozenset()
    """Slots whose builder has earlier bytes of ours and not those that replaced them."""
    frozen: Span = NEVER
    mute: Span = NEVER
    """The oracle reverts."""
    surge: Span = NEVER
    full: Span = NEVER
    stalled: Span = NEVER
    kills: dict[int, "Kill"] = field(default_factory=dict[int, "Kill"])
    """By the slot from which on it is to happen."""
    daily_budget_wei: int = 10**18


def weather_of(level: Level, random: Random, *, is_short: bool = False) -> Weather:
    """`is_short`: a third as long, and none of the long spans."""
    slots = SLOTS // 3 if is_short else SLOTS
    match level:
        case Level.CALM:
            return Weather(level, slots, 1, 1, some_crashes(random, slots), [[]])
        case Level.NETWORK:
            count = random.choice((1, 3))
            spells = [_spells(random, slots, NETWORK_FAULTS) for _ in range(count)]
            if count == 1 and random.random() < 0.3:
                # What is behind from the start is no older than anything seen before it.
                spells[0].insert(0, Spell(Fault.LAGS, 0, random.uniform(200, 400)))
            return Weather(level, slots, count, min(count, 2), some_crashes(random, slots), spells)
        case Level.LIARS:
            return _liars(random, slots)
        case Level.CHAIN:
            is_long = not is_short and random.random() < 0.1
            return _chain(random, level, LONG_SLOTS if is_long else slots, [[]])
        case Level.KILLS:
            spells = [_spells(random, slots, NETWORK_FAULTS, often=600) for _ in range(2)]
            return _chain(random, level, slots, spells)


def _liars(random: Random, slots: int) -> Weather:
    until = slots * BLOCK_SECONDS
    lying = [Spell(fault, 0, until) for fault in random.sample(sorted(LIES, key=str), 2)]
    down = [Spell(random.choice((Fault.HANGS, Fault.RESETS)), 0, until)]
    spells: list[Sequence[Spell]] = [[], lying, [], down, down]
    random.shuffle(spells)
    return Weather(Level.LIARS, slots, 5, 2, some_crashes(random, slots), spells)


def _chain(random: Random, level: Level, slots: int, spells: Sequence[Sequence[Spell]]) -> Weather:
    is_long = slots == LONG_SLOTS
    every = range(2, slots)

    def some(chance: float) -> frozenset[int]:
        return frozenset(slot for slot in every if random.random() < chance)

    crashes = some_crashes(random, slots)
    kills = {random.choice(every): _kill(random) for _ in range(random.randint(2, 7) if level is Level.KILLS else 0)}
    return Weather(
        level,
        slots,
        len(spells),
        1,
        crashes,
        spells,
        missed=some(0.05),
        reorgs={slot: random.randint(1, REORG_DEPTH_MAX) for slot in sorted(_near(random, crashes, some(0.04)))},
        drops=some(0.08),
        passed_over=_streaks(random, _near(random, crashes, some(0.02))),
        censored=Span(crashes[0].at + 2, crashes[0].at + 2 + CENSORED_SLOTS) if random.random() < 0.25 else NEVER,
        behind=some(0.4),
        frozen=_span(random, slots, FREEZE_SLOTS if is_long else 45, 0.4),
        mute=_span(random, slots, random.randint(2, 15), 0.4),
        surge=_span(random, slots, SURGE_SLOTS if is_long else 40, 0.5),
        full=_span(random, slots, random.randint(3, 12), 0.4),
        stalled=_span(random, slots, STALL_SLOTS if is_long else 40, 0.5),
        kills=kills,
        daily_budget_wei=random.choice((10**18, 2 * 10**16)),
    )


def _kill(random: Random) -> Kill:
    """Half of them where it hurts most."""
    method = random.choice(("", "", "eth_sendRawTransaction", "eth_sendRawTransaction", "eth_simulateV1"))
    return Kill(method, random.randrange(4 if method else 60), random.uniform(1, 40))


def _near(random: Random, crashes: Iterable[Crash], slots: frozenset[int]) -> frozenset[int]:
    """Those slots and some in which a rescue is likely on its way or just included: there it hurts."""
    return slots | {crash.at + random.randrange(1, 10) for crash in crashes if random.random() < 0.6}


def _streaks(random: Random, slots: frozenset[int]) -> frozenset[int]:
    """Each of the slots and two to five more after it."""
    return frozenset(each for slot in sorted(slots) for each in range(slot, slot + random.randint(3, 6)))


def _span(random: Random, slots: int, length: int, chance: float) -> Span:
    if random.random() >= chance:
        return NEVER
    first = random.randrange(max(1, slots - length))
    return Span(first, first + length)


def _spells(random: Random, slots: int, faults: Sequence[Fault], often: float = 240) -> list[Spell]:
    """One after the other, with good times between them."""
    spells: list[Spell] = []
    at = random.uniform(0, often)
    while at < slots * BLOCK_SECONDS:
        until = at + random.uniform(3, 60) * random.choice((1, 1, 4))
        spells.append(Spell(random.choice(faults), at, min(until, slots * BLOCK_SECONDS)))
        at = until + random.uniform(10, often)
    return spells

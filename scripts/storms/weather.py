"""What a seed brings: for each block the mood of every endpoint, and what befalls the chain and the process."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from scripts.storms.endpoint import (
    CALM,
    DOWN,
    FLAKY,
    FORGETFUL,
    HANGING,
    LAGGING,
    LIAR,
    LIMITED,
    MISSHAPEN,
    STALLED,
    STORMY,
    KillPoint,
    Mood,
)

DISHONEST = (LIAR, LAGGING, DOWN, HANGING, MISSHAPEN, STORMY, LIMITED)
"""What an endpoint may be while two others are honest."""
HONEST = (CALM, FLAKY, FORGETFUL, STALLED)
REORG_DEPTH_MAX = 7
PHASE_BLOCKS = 6
FROZEN_BLOCKS, FROZEN_SECONDS = 12, 300
"""An hour."""


@dataclass(frozen=True, slots=True)
class Weather:
    """One block's."""

    moods: Sequence[Mood]
    """Of each endpoint."""
    reorg_depth: int = 0
    """So many blocks go away after it."""
    killed_at: KillPoint | None = None
    """Where the keeper's process is killed, from this block on until it was; then it is started again."""
    drops_pool: bool = False
    """Whether the node forgets what waits."""
    foreign_nonce: int | None = None
    """Somebody else sends with the hot key: with its next nonce (0), or with a later one, which waits for the gap."""
    frozen_blocks: int = 0
    """So many blocks, each of FROZEN_SECONDS, follow in which no price is updated."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What kind of weather it is."""

    name: str
    endpoints: int = 3
    quorum: int = 2
    reorgs: int = 0
    kills: int = 0
    drops: int = 0
    foreign: int = 0
    freezes: int = 0
    base_fee_times: int = 1
    """What the base fee of the crash is multiplied by at its worst."""
    bad: Sequence[Mood] = DISHONEST
    bad_endpoints: int = 1
    honest: Sequence[Mood] = HONEST
    always: Sequence[Mood] = field(default=())
    """These moods for the last endpoints, all the time."""


NODES = Forecast("nodes that misbehave")
CHAIN = Forecast("blocks that go away", reorgs=3, drops=3, foreign=2, bad=(CALM,), honest=(CALM, STALLED))
MARKET = Forecast("dear gas and a frozen oracle", freezes=1, base_fee_times=4, bad=(CALM,), honest=(CALM,))
KILLS = Forecast("a process that is killed", kills=4, bad=(CALM,), honest=(CALM, FLAKY))
HALF_DOWN = Forecast(
    "half of the endpoints down and one lying", endpoints=6, bad_endpoints=0, always=(DOWN, DOWN, DOWN, LIAR)
)
ALL = Forecast("everything at once", reorgs=2, kills=2, drops=2, foreign=1, base_fee_times=4)
FORECASTS = (NODES, CHAIN, MARKET, KILLS, HALF_DOWN, ALL)


def weather(forecast: Forecast, seed: int, blocks: int) -> list[Weather]:
    """The same numbers on every machine."""
    chance = random.Random(f"{forecast.name} {seed}")
    reorgs = {at: chance.randint(1, REORG_DEPTH_MAX) for at in chance.sample(range(blocks), forecast.reorgs)}
    kills = {at: chance.choice([*KillPoint]) for at in chance.sample(range(blocks), forecast.kills)}
    drops = set(chance.sample(range(blocks), forecast.drops))
    foreign = {at: chance.randint(0, 1) for at in chance.sample(range(blocks), forecast.foreign)}
    freezes = set(chance.sample(range(blocks // 2), forecast.freezes))
    found: list[Weather] = []
    moods: list[Mood] = []
    for block in range(blocks):
        if block % PHASE_BLOCKS == 0:
            changing = forecast.endpoints - len(forecast.always)
            bad = set(chance.sample(range(changing), forecast.bad_endpoints))
            moods = [chance.choice(forecast.bad if each in bad else forecast.honest) for each in range(changing)]
            moods += forecast.always
        frozen = FROZEN_BLOCKS if block in freezes else 0
        now = Weather(tuple(moods), reorgs.get(block, 0), kills.get(block), block in drops, foreign.get(block), frozen)
        found.append(now)
    return found

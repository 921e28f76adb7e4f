"""Prices over time, from a seed: a drift that changes its mind, and crashes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

DEVIATION_BPS = 50
"""A feed answers anew when the price moved by so much, or its heartbeat is over."""


@dataclass(frozen=True, slots=True)
class Crash:
    """A fall of the price by a share of it, over so many blocks."""

    at: int
    blocks: int
    fall: float


@dataclass(frozen=True, slots=True)
class Path:
    """The price at each block time since the beginning, with the feed's decimals."""

    prices: tuple[int, ...]

    def at(self, slot: int) -> int:
        return self.prices[min(max(slot, 0), len(self.prices) - 1)]


def a_path(random: Random, start: int, slots: int, crashes: Sequence[Crash]) -> Path:
    """A random walk of 0.15 % a block with the crashes in it, and a recovery of half of each now and then."""
    logs = [math.log(start)]
    for slot in range(1, slots):
        step = random.gauss(0, 0.0015)
        for crash in crashes:
            if crash.at <= slot < crash.at + crash.blocks:
                step += math.log(1 - crash.fall) / crash.blocks
            elif crash.at + crash.blocks <= slot < crash.at + 2 * crash.blocks and crash.blocks % 2:
                step -= math.log(1 - crash.fall / 2) / crash.blocks
        logs.append(logs[-1] + step)
    return Path(tuple(round(math.exp(one)) for one in logs))


def some_crashes(random: Random, slots: int) -> list[Crash]:
    """One to three, of which the sum brings somebody near liquidation nearly always."""
    return [
        Crash(random.randrange(5, max(6, slots - 15)), random.randrange(3, 16), random.uniform(0.04, 0.22))
        for _ in range(random.randint(1, 3))
    ]

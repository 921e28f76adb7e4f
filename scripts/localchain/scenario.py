"""The crash of the demo: a seed becomes a price of every feed for every block. Integers only, so a seed is a path.

ETH falls about 28 % over 25 blocks, one of them exactly -9 %; it bounces, and settles. BTC falls with it, less. Gas
grows dear while prices fall, as it does, never faster than a base fee can move.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from scripts.localchain import world
from scripts.localchain.node import GWEI

FALL_BLOCKS, BOUNCE_BLOCKS, SETTLE_BLOCKS = 25, 6, 9
JUMP_PERCENT = 9
BASE_FEE_WEI = GWEI
PPM = 1_000_000
BTC_SHARE_PERCENT = 62
"""How much of ETH's move BTC makes."""


@dataclass(frozen=True, slots=True)
class Tick:
    """What one block brings."""

    answers: dict[str, int]
    """By feed, in its decimals."""
    base_fee_wei: int


def crash(seed: int) -> tuple[Tick, ...]:
    """The path of a seed: the same numbers on every machine."""
    random_numbers = random.Random(seed)
    start = {spec.name: spec.answer for spec in world.FEEDS}
    eth_path = [*_fall(random_numbers, start["ETH/USD"])]
    eth_path += _recovery(random_numbers, start["ETH/USD"], eth_path[-1])
    ticks: list[Tick] = []
    eth, btc, base_fee = start["ETH/USD"], start["BTC/USD"], BASE_FEE_WEI
    for number, price in enumerate(eth_path):
        btc = btc + btc * (price - eth) * BTC_SHARE_PERCENT // (eth * 100)
        eth = price
        base_fee = base_fee * 107 // 100 if number < FALL_BLOCKS else base_fee * 95 // 100
        answers = {
            "ETH/USD": eth,
            "BTC/USD": btc,
            "USDC/USD": _near(random_numbers, start["USDC/USD"], 400),
            "DAI/USD": _near(random_numbers, start["DAI/USD"], 600),
            "wstETH/ETH": _near(random_numbers, start["wstETH/ETH"], 200),
        }
        ticks.append(Tick(answers, base_fee))
    return tuple(ticks)


def _near(random_numbers: random.Random, value: int, ppm: int) -> int:
    return value + value * random_numbers.randint(-ppm, ppm) // PPM


def _fall(random_numbers: random.Random, start: int) -> list[int]:
    """25 blocks down to 27.5-28.5 % below the start. No block but the one that jumps falls by more than 2 %."""
    end = start * (10_000 - random_numbers.randint(2_750, 2_850)) // 10_000
    jump_at = random_numbers.randint(8, 18)
    weights = [random_numbers.randint(400, 1_600) for _ in range(FALL_BLOCKS)]

    def path(pace_ppm: int) -> Iterator[int]:
        price = start
        for block, weight in enumerate(weights):
            if block == jump_at:
                price = price * (100 - JUMP_PERCENT) // 100
            else:
                price = price * (PPM * 1_000 - pace_ppm * weight) // (PPM * 1_000)
            yield price

    slow, fast = 0, PPM // 10
    while fast - slow > 1:
        pace = (slow + fast) // 2
        if [*path(pace)][-1] < end:
            fast = pace
        else:
            slow = pace
    return [*path(fast)]


def _recovery(random_numbers: random.Random, start: int, bottom: int) -> Iterator[int]:
    """Back up by a quarter to two fifths of the fall, then to and fro around that."""
    gain = (start - bottom) * random_numbers.randint(25, 40) // 100
    for block in range(1, BOUNCE_BLOCKS + 1):
        yield bottom + gain * block // BOUNCE_BLOCKS
    for _ in range(SETTLE_BLOCKS):
        yield _near(random_numbers, bottom + gain, 4_000)

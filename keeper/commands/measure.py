"""What `keeper init` measures before it proposes anything: how much prices move, and how often a block comes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from keeper.core.economics import DAY_SECONDS, volatility_bps_per_day
from keeper.core.snapshot import Block
from keeper.core.units import Address
from keeper.errors import ChainError, ProtocolError
from keeper.protocols.abi import interface, word_int
from keeper.protocols.base import Call, CallResult
from keeper.protocols.oracles import Feed, round_calls

ROUNDS_MAX = 200
"""Of each feed: about a week of one that answers every hour, in one read."""
VOLATILITY_BPS_MIN, VOLATILITY_BPS_MAX = 300, 1_000
"""A calm week must not make thresholds narrow, nor a wild one make them so wide that nothing may be borrowed."""
BLOCKS_LOOKED_BACK = 100
BLOCKS_MIN = 20
"""Fewer blocks than this say nothing about how often one comes."""
BLOCK_MS_MIN, BLOCK_MS_MAX = 250, 12_000


class ReadsMany(Protocol):
    async def aggregate(self, calls: Sequence[Call], block: Block, /) -> list[CallResult]: ...


class ReadsBlocks(Protocol):
    async def block(self, which: int, /) -> Block: ...


@dataclass(frozen=True, slots=True)
class Volatility:
    """How much a price pair moves in a day, basis points."""

    measured_bps: int

    @property
    def bps(self) -> int:
        """Within what is sane."""
        return min(max(self.measured_bps, VOLATILITY_BPS_MIN), VOLATILITY_BPS_MAX)

    def __str__(self) -> str:
        """What was done with the measurement, the end of a sentence."""
        measured = f"measured {self.measured_bps / 100:g} % a day on its feeds' own past rounds"
        if self.bps > self.measured_bps:
            return f"{measured}, and no less than {self.bps / 100:g} % is taken: the next week may be another one"
        if self.bps < self.measured_bps:
            return f"{measured}, and no more than {self.bps / 100:g} % is taken: look whether so much may be borrowed"
        return measured


async def feed_volatilities(reader: ReadsMany, feeds: Sequence[Feed], block: Block) -> Mapping[Address, int]:
    """Basis points a day of each feed whose past rounds can be read and reach back a day; the others are left out."""
    try:
        latest = await reader.aggregate(round_calls(feeds), block)
        asked = [
            (feed.address, id)
            for feed, result in zip(feeds, latest, strict=True)
            if result.success and len(result.data) == 160
            for id in _last_rounds(int.from_bytes(result.data[:32]))
        ]
        get_round = interface("Aggregator")["getRoundData"]
        results = await reader.aggregate([Call(feed, get_round.encode(id)) for feed, id in asked], block)
    except (ChainError, ProtocolError):
        # A node may not grant the gas for so much, and the assumed volatility is good enough to go on with.
        return {}
    rounds: dict[Address, list[tuple[int, int]]] = {feed.address: [] for feed in feeds}
    for (feed, _), result in zip(asked, results, strict=True):
        point = _point(result)
        if point is not None:
            rounds[feed].append(point)
    measured = {feed: _volatility(sorted(set(points))) for feed, points in rounds.items()}
    return {feed: bps for feed, bps in measured.items() if bps is not None}


def _last_rounds(latest: int) -> range:
    """A proxy's round id carries its phase in the upper bits; rounds of an earlier phase are not asked for."""
    in_phase = latest & 0xFFFF_FFFF_FFFF_FFFF
    return range(latest - min(in_phase, ROUNDS_MAX) + 1, latest + 1)


def _point(result: CallResult) -> tuple[int, int] | None:
    if not result.success or len(result.data) != 160:
        return None
    answer, updated_at = word_int(result.data[32:64]), int.from_bytes(result.data[96:128])
    return (updated_at, answer) if answer > 0 and updated_at > 0 else None


def _volatility(rounds: Sequence[tuple[int, int]]) -> int | None:
    if not rounds or rounds[-1][0] - rounds[0][0] < DAY_SECONDS:
        return None
    return volatility_bps_per_day(rounds)


def pair_volatility(feeds: Sequence[Address], measured: Mapping[Address, int]) -> Volatility | None:
    """Of all its feeds together, as if they were independent; None when one of them was not measured."""
    if not feeds or any(feed not in measured for feed in feeds):
        return None
    return Volatility(math.isqrt(sum(measured[feed] ** 2 for feed in feeds) - 1) + 1)


async def block_milliseconds(rpc: ReadsBlocks, head: Block) -> int | None:
    """The usual time between two blocks, to a twentieth of a second; None on a chain too young to tell."""
    blocks = min(head.number, BLOCKS_LOOKED_BACK)
    if blocks < BLOCKS_MIN:
        return None
    earlier = await rpc.block(head.number - blocks)
    milliseconds = (head.timestamp - earlier.timestamp) * 1_000 // blocks
    return min(max(50 * round(milliseconds / 50), BLOCK_MS_MIN), BLOCK_MS_MAX)

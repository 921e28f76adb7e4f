"""What `init` measures: volatility on a feed's own rounds, within what is sane, and the time between two blocks."""

from collections.abc import Mapping, Sequence

import pytest

from keeper.commands.measure import (
    ROUNDS_MAX,
    Volatility,
    block_milliseconds,
    feed_volatilities,
    pair_volatility,
)
from keeper.core.snapshot import Block
from keeper.core.units import Address
from keeper.errors import ChainError
from keeper.protocols.abi import interface
from keeper.protocols.base import Call, CallResult
from keeper.protocols.oracles import Feed
from tests.fakes import a_block

ETH = Address("0x" + "e1" * 20)
USDC = Address("0x" + "c1" * 20)
FEEDS = [Feed(ETH, "ETH/USD", 8, None), Feed(USDC, "USDC/USD", 8, None)]
PHASE = 6 << 64
HOUR = 3_600
NOON = 1_700_000_000


class FakeFeeds:
    """Answers for the rounds of some feeds: (answer, updated at), the first with round id 1 of its phase."""

    def __init__(self, rounds: Mapping[Address, Sequence[tuple[int, int]]], phase: int = PHASE) -> None:
        self._rounds = rounds
        self._phase = phase
        self.asked = 0

    async def aggregate(self, calls: Sequence[Call], _: Block) -> list[CallResult]:
        self.asked = max(self.asked, len(calls))
        return [self._answer(call) for call in calls]

    def _answer(self, call: Call) -> CallResult:
        rounds = self._rounds[call.to]
        if call.data[:4] == interface("Aggregator")["latestRoundData"].selector:
            number = len(rounds)
        else:
            number = int.from_bytes(call.data[4:]) - self._phase
        if not 1 <= number <= len(rounds):
            return CallResult(False, b"")
        answer, at = rounds[number - 1]
        words = (self._phase + number, answer, at, at, self._phase + number)
        return CallResult(True, b"".join(word.to_bytes(32, signed=True) for word in words))


class FaultyReader:
    async def aggregate(self, calls: Sequence[Call], block: Block) -> list[CallResult]:
        raise ChainError(f"no gas for {len(calls)} calls at {block.number}")


async def measured(rounds: Mapping[Address, Sequence[tuple[int, int]]]) -> Mapping[Address, int]:
    return await feed_volatilities(FakeFeeds(rounds), FEEDS, a_block())


def swinging(count: int, seconds: int = 2 * HOUR) -> list[tuple[int, int]]:
    """Up and down by one percent."""
    return [((2_525 if number % 2 else 2_500) * 10**8, NOON + number * seconds) for number in range(count)]


def still(count: int) -> list[tuple[int, int]]:
    return [(10**8, NOON + number * 24 * HOUR) for number in range(count)]


async def test_one_percent_every_two_hours_is_3_45_percent_a_day() -> None:
    """ln(1.01) x sqrt(12) = 0.034469, rounded up to whole basis points."""
    assert await measured({ETH: swinging(40), USDC: still(20)}) == {ETH: 345, USDC: 0}


@pytest.mark.parametrize(
    ("count", "seconds", "is_enough"),
    [(12, 2 * HOUR, False), (13, 2 * HOUR, True), (14, 2 * HOUR, True), (40, HOUR // 2, False), (49, HOUR // 2, True)],
    ids=["11 moves", "12 moves and exactly a day", "13 moves", "40 moves in less than a day", "48 moves in a day"],
)
async def test_too_few_rounds_and_too_short_a_time_are_no_measurement(
    count: int, seconds: int, is_enough: bool
) -> None:
    found = await measured({ETH: swinging(count, seconds), USDC: []})
    assert (ETH in found) is is_enough


async def test_only_the_last_rounds_of_the_present_phase_are_asked_for() -> None:
    feeds = FakeFeeds({ETH: swinging(1_000), USDC: still(3)})
    assert await feed_volatilities(feeds, FEEDS, a_block()) == {ETH: 345}
    assert feeds.asked == ROUNDS_MAX + 3


async def test_rounds_of_nonsense_are_left_out() -> None:
    rounds = swinging(40)
    rounds[7], rounds[9] = (0, rounds[7][1]), (rounds[9][0], 0)
    found = await measured({ETH: rounds, USDC: []})
    assert found[ETH] < 345


async def test_a_node_that_refuses_so_large_a_read_leaves_everything_assumed() -> None:
    assert await feed_volatilities(FaultyReader(), FEEDS, a_block()) == {}


def test_a_pair_moves_by_all_of_its_feeds_together() -> None:
    assert pair_volatility([ETH, USDC], {ETH: 345, USDC: 0}) == Volatility(345)
    assert pair_volatility([ETH, USDC], {ETH: 300, USDC: 400}) == Volatility(500)
    assert pair_volatility([ETH, USDC], {ETH: 100, USDC: 100}) == Volatility(142)


def test_with_a_feed_that_was_not_measured_a_pair_is_not() -> None:
    assert pair_volatility([ETH, USDC], {ETH: 345}) is None
    assert pair_volatility([], {ETH: 345}) is None


@pytest.mark.parametrize(
    ("measured_bps", "taken_bps", "says"),
    [
        (
            0,
            300,
            "measured 0 % a day on its feeds' own past rounds, and no less than 3 % is taken: the next week may be",
        ),
        (
            299,
            300,
            "measured 2.99 % a day on its feeds' own past rounds, and no less than 3 % is taken: the next week may",
        ),
        (300, 300, "measured 3 % a day on its feeds' own past rounds"),
        (1_000, 1_000, "measured 10 % a day on its feeds' own past rounds"),
        (
            1_001,
            1_000,
            "measured 10.01 % a day on its feeds' own past rounds, and no more than 10 % is taken: look whether",
        ),
    ],
)
def test_what_is_taken_is_sane_and_said(measured_bps: int, taken_bps: int, says: str) -> None:
    volatility = Volatility(measured_bps)
    assert volatility.bps == taken_bps
    assert str(volatility).startswith(says)
    assert ("," in str(volatility)) is (taken_bps != measured_bps)


class FakeBlocks:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def block(self, which: int) -> Block:
        return self.at(which)

    def at(self, number: int) -> Block:
        return a_block(number, timestamp=int(NOON + number * self._seconds))


@pytest.mark.parametrize(
    ("seconds", "milliseconds"),
    [(0, 250), (0.25, 250), (1, 1_000), (2, 2_000), (2.02, 2_000), (12, 12_000), (3_600, 12_000)],
)
async def test_the_time_between_blocks_is_measured_and_kept_within_what_is_sane(
    seconds: float, milliseconds: int
) -> None:
    blocks = FakeBlocks(seconds)
    assert await block_milliseconds(blocks, blocks.at(5_000)) == milliseconds


@pytest.mark.parametrize(("number", "found"), [(19, None), (20, 2_000), (21, 2_000)])
async def test_a_young_chain_says_nothing(number: int, found: int | None) -> None:
    blocks = FakeBlocks(2)
    assert await block_milliseconds(blocks, blocks.at(number)) == found

"""How fast an endpoint is asked, and how that follows what it puts up with."""

import asyncio

import pytest

from keeper.chain.pace import Limits, Pace, Traffic
from tests.fakes import FakeClock


def a_pace(clock: FakeClock) -> Pace:
    return Pace(Limits(), clock)


def test_a_refusal_for_the_rate_halves_it_down_to_a_sixteenth() -> None:
    clock = FakeClock()
    pace = a_pace(clock)
    shares: list[float] = []
    for _ in range(6):
        clock.advance(1)
        pace.refused(clock.monotonic(), None)
        shares.append(pace.share)
    assert shares == [0.5, 0.25, 0.125, 0.0625, 0.0625, 0.0625]


def test_requests_that_were_under_way_together_halve_it_once() -> None:
    clock = FakeClock()
    pace = a_pace(clock)
    clock.advance(1)
    for _ in range(10):
        pace.refused(1.0, None)
    assert pace.share == 0.5
    clock.advance(1)
    pace.refused(1.0, None)
    assert pace.share == 0.5, "asked before the rate was halved"
    pace.refused(2.0, None)
    assert pace.share == 0.25


def test_every_answer_gives_back_a_little_of_it() -> None:
    clock = FakeClock()
    pace = a_pace(clock)
    pace.refused(0.0, None)
    for _ in range(16):
        pace.answered()
    assert pace.share == 0.75
    for _ in range(100):
        pace.answered()
    assert pace.share == 1.0


@pytest.mark.parametrize(("told", "rests"), [(None, 0), (0, 0), (7, 7), (30, 30), (86_400, 30)])
def test_a_rest_that_is_asked_for_is_kept_for_half_a_minute_at_the_most(told: float | None, rests: float) -> None:
    clock = FakeClock()
    pace = a_pace(clock)
    pace.refused(0.0, told)
    assert pace.rest_seconds == rests
    clock.advance(rests)
    assert pace.rest_seconds == 0


async def test_a_lane_at_half_of_its_rate_takes_twice_as_long() -> None:
    pace = Pace(Limits(requests_per_second=250), FakeClock())
    pace.refused(0.0, None)
    loop = asyncio.get_running_loop()
    started = loop.time()
    # 40 at once; the rest only when the window of 0.2 s, now 0.4 s, has passed.
    for _ in range(41):
        async with pace.lane(Traffic.READ):
            pass
    assert loop.time() - started >= 0.4

"""A seed is a course of events, the same on every machine and within the bounds of its forecast."""

import pytest

from scripts.storms.endpoint import CALM, DOWN, LIAR
from scripts.storms.weather import ALL, CHAIN, FORECASTS, HALF_DOWN, HONEST, KILLS, MARKET, NODES, Forecast, weather

BLOCKS = 50


@pytest.mark.parametrize("forecast", FORECASTS, ids=lambda each: each.name)
def test_a_seed_is_one_course_of_events(forecast: Forecast) -> None:
    assert weather(forecast, 7, BLOCKS) == weather(forecast, 7, BLOCKS)
    assert any(weather(forecast, 7, BLOCKS) != weather(forecast, seed, BLOCKS) for seed in (8, 9, 10))


@pytest.mark.parametrize("forecast", FORECASTS, ids=lambda each: each.name)
def test_as_many_endpoints_as_the_quorum_are_honest_at_any_time(forecast: Forecast) -> None:
    for now in weather(forecast, 3, BLOCKS):
        assert len(now.moods) == forecast.endpoints
        assert sum(mood in HONEST for mood in now.moods) >= forecast.quorum


@pytest.mark.parametrize(
    ("forecast", "reorgs", "kills", "drops", "foreign", "freezes"),
    [
        (NODES, 0, 0, 0, 0, 0),
        (CHAIN, 3, 0, 3, 2, 0),
        (MARKET, 0, 0, 0, 0, 1),
        (KILLS, 0, 4, 0, 0, 0),
        (HALF_DOWN, 0, 0, 0, 0, 0),
        (ALL, 2, 2, 2, 1, 0),
    ],
    ids=lambda each: each.name if isinstance(each, Forecast) else str(each),
)
def test_what_befalls_the_chain_and_the_process_is_counted(
    forecast: Forecast, reorgs: int, kills: int, drops: int, foreign: int, freezes: int
) -> None:
    found = weather(forecast, 5, BLOCKS)
    assert sum(now.reorg_depth > 0 for now in found) == reorgs
    assert max(now.reorg_depth for now in found) <= 7
    assert sum(now.killed_at is not None for now in found) == kills
    assert sum(now.drops_pool for now in found) == drops
    assert sum(now.foreign_nonce is not None for now in found) == foreign
    assert sum(now.frozen_blocks > 0 for now in found) == freezes


def test_half_of_the_endpoints_are_down_and_one_lies_all_the_time() -> None:
    for now in weather(HALF_DOWN, 1, BLOCKS):
        assert now.moods[-4:] == (DOWN, DOWN, DOWN, LIAR)
        assert CALM not in now.moods[-4:]

"""The real daemon in a crash on a real chain, in the worst kinds of weather: nothing that it promises is broken."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from scripts.localchain.screen import Screen
from scripts.storms.storm import storm
from scripts.storms.weather import ALL, HALF_DOWN, Forecast

pytestmark = pytest.mark.devnet


@pytest.mark.parametrize("forecast", [HALF_DOWN, ALL], ids=lambda each: each.name)
def test_no_promise_is_broken(tmp_path: Path, forecast: Forecast) -> None:
    result = storm(tmp_path, forecast, 1, Screen(Console(file=io.StringIO())))
    assert result.broken == []
    assert result.keeper is not None
    assert result.keeper.rescues

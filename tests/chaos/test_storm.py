"""The real daemon in a crash on a real chain, in the worst of weather: nothing that it promises is broken."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from scripts.localchain.screen import Screen
from scripts.storms.storm import storm
from scripts.storms.weather import ALL

pytestmark = pytest.mark.devnet


def test_no_promise_is_broken_when_everything_happens_at_once(tmp_path: Path) -> None:
    result = storm(tmp_path, ALL, 1, Screen(Console(file=io.StringIO())))
    assert result.broken == []
    assert result.keeper is not None
    assert result.keeper.rescues

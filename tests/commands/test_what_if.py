"""How the paths of `keeper what-if` are written, and what is wrong with those that it does not take."""

import sys
from pathlib import Path

import pytest

from keeper.commands.frontier import draw
from keeper.commands.plan import parse_gas, parse_shock
from keeper.commands.what_if import changes_text, parse_grid
from keeper.errors import ConfigError
from tests.builders import a_snapshot


@pytest.mark.parametrize(
    ("grid", "path"),
    [
        ("WETH=-10%..0%:5%", [{"WETH": 0}, {"WETH": -500}, {"WETH": -1_000}]),
        ("WETH=0%..-10%:5%", [{"WETH": 0}, {"WETH": -500}, {"WETH": -1_000}]),
        ("WETH=0%..+10%:5%", [{"WETH": 0}, {"WETH": 500}, {"WETH": 1_000}]),
        (" WETH = -1 % .. 0 % : 0.5 % ", [{"WETH": 0}, {"WETH": -50}, {"WETH": -100}]),
        ("WETH=-10%..0%:10%,WBTC=-8%..0%:8%", [{"WETH": 0, "WBTC": 0}, {"WETH": -1_000, "WBTC": -800}]),
        ("WETH=-99.99%..0%:99.99%", [{"WETH": 0}, {"WETH": -9_999}]),
    ],
)
def test_a_path_leads_from_todays_prices_outwards(grid: str, path: list[dict[str, int]]) -> None:
    assert parse_grid(grid) == path


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        ("", "--grid is empty; say for example WETH=-50%..0%:5%."),
        ("WETH=-50%", "--grid 'WETH=-50%' is not of the form WETH=-50%..0%:5%."),
        ("WETH=-50..0:5", "--grid 'WETH=-50..0:5' is not of the form WETH=-50%..0%:5%."),
        ("WETH=-50%..-5%:5%", "one end must be 0%, because prices start where they are."),
        ("WETH=-50%..0%:7%", "its step must divide its range."),
        ("WETH=-50%..0%:0%", "its step must divide its range."),
        ("WETH=0%..0%:5%", "its step must divide its range."),
        ("WETH=-100%..0%:5%", "a price cannot fall by 100 % or more."),
        ("WETH=-50%..0%:0.001%", "this is finer than the keeper counts."),
        ("WETH=0%..201%:1%", "has 201 steps; 200 are the most."),
        ("WETH=-10%..0%:5%,WETH=-8%..0%:4%", "--grid names WETH twice."),
        ("WETH=-10%..0%:5%,WBTC=-8%..0%:8%", "all need as many steps: WETH has 2, WBTC has 1."),
    ],
)
def test_what_is_no_path_is_refused_in_a_sentence(grid: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_grid(grid)
    assert str(refused.value).endswith(says)


def test_two_hundred_steps_are_taken() -> None:
    assert len(parse_grid("WETH=0%..200%:1%")) == 201


def test_changes_are_told_with_their_signs() -> None:
    assert changes_text({"WETH": -1_250, "WBTC": 300, "DAI": 0}) == "WETH -12.5 %, WBTC +3 %, DAI 0 %"


def test_without_the_library_that_draws_it_is_said_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigError, match=r"--plot needs matplotlib; .*: pip install 'margin-keeper\[plot\]'"):
        draw(a_snapshot(), (), (), tmp_path / "f.png")


@pytest.mark.parametrize(
    ("shock", "says"),
    [("", "--shock is empty; say for example WETH=-12%."), ("WETH=-12%,WETH=-5%", "--shock names WETH twice.")],
)
def test_a_shock_that_says_nothing_or_two_things_is_refused(shock: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_shock(shock)
    assert str(refused.value) == says


def test_a_price_of_gas_has_a_unit() -> None:
    assert parse_gas("200gwei") == 200 * 10**9
    with pytest.raises(ConfigError, match="--gas '200': expected an amount with its unit"):
        parse_gas("200")

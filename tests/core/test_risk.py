"""Health, falls and cushions: the numbers that every decision compares."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.risk import Risk, cushion, health_at_cushion, survivable_fall
from keeper.core.units import INFINITE_HEALTH, WAD, mul_div_down, mul_div_up
from tests.builders import wad


def a_risk(collateral: int, debt: int) -> Risk:
    return Risk(collateral, debt, collateral, debt)


@pytest.mark.parametrize(
    ("collateral", "debt", "health", "is_liquidatable"),
    [
        (99, 100, "0.99", True),
        (100, 100, "1", False),
        (101, 100, "1.01", False),
        (0, 1, "0", True),
    ],
)
def test_health_is_collateral_over_debt_and_the_line_itself_is_not_liquidatable(
    collateral: int, debt: int, health: str, is_liquidatable: bool
) -> None:
    risk = a_risk(collateral, debt)
    assert risk.health_factor == wad(health)
    assert risk.is_liquidatable is is_liquidatable


def test_health_is_rounded_down_and_infinite_without_debt() -> None:
    assert a_risk(2, 3).health_factor == 666_666_666_666_666_666
    assert a_risk(0, 0).health_factor == INFINITE_HEALTH
    assert a_risk(10**60, 1).health_factor == INFINITE_HEALTH


@pytest.mark.parametrize(("collateral", "expected"), [(114, False), (115, True), (116, True)])
def test_thresholds_are_compared_without_division(collateral: int, expected: bool) -> None:
    assert a_risk(collateral, 100).is_at_least(wad("1.15")) is expected


def test_free_collateral_is_what_stands_above_each_requirement() -> None:
    risk = Risk(150, 100, 120, 100)
    assert (risk.free_collateral, risk.initial_free_collateral, risk.lets_collateral_leave) == (50, 20, True)
    short = Risk(150, 100, 99, 100)
    assert (short.free_collateral, short.initial_free_collateral, short.lets_collateral_leave) == (50, 0, False)
    assert a_risk(90, 100).free_collateral == 0


@pytest.mark.parametrize(
    ("health", "fall"),
    [("0.5", "0"), ("1", "0"), ("1.25", "0.2"), ("2", "0.5"), ("1.6", "0.375")],
)
def test_the_fall_survived_is_one_minus_one_over_health(health: str, fall: str) -> None:
    assert survivable_fall(wad(health)) == wad(fall)


def test_without_debt_every_fall_is_survived() -> None:
    assert survivable_fall(INFINITE_HEALTH) == WAD
    assert cushion(INFINITE_HEALTH, 1000) == INFINITE_HEALTH


@pytest.mark.parametrize(
    ("health", "shock_bps", "expected"),
    [("1.25", 1000, "2"), ("1.25", 2000, "1"), ("1.6", 1000, "3.75"), ("0.9", 1000, "0")],
)
def test_a_cushion_counts_shocks(health: str, shock_bps: int, expected: str) -> None:
    assert cushion(wad(health), shock_bps) == wad(expected)


@pytest.mark.parametrize(
    ("shocks", "shock_bps", "health"),
    [("0", 1000, "1"), ("2", 1000, "1.25"), ("1", 2000, "1.25"), ("3.75", 1000, "1.6")],
)
def test_the_health_at_a_cushion_is_the_inverse(shocks: str, shock_bps: int, health: str) -> None:
    assert health_at_cushion(wad(shocks), shock_bps) == wad(health)


def test_no_finite_health_survives_the_loss_of_everything() -> None:
    assert health_at_cushion(10 * WAD, 1000) == INFINITE_HEALTH
    assert health_at_cushion(wad("9.9"), 1000) == wad("100")


@given(st.integers(0, 5 * WAD), st.integers(1, 1999))
def test_the_health_at_a_cushion_has_at_least_that_cushion(wanted: int, shock_bps: int) -> None:
    assert cushion(health_at_cushion(wanted, shock_bps), shock_bps) >= wanted


def test_rounding_is_in_the_name() -> None:
    assert mul_div_down(7, 3, 2) == 10
    assert mul_div_up(7, 3, 2) == 11
    assert mul_div_up(6, 2, 3) == mul_div_down(6, 2, 3) == 4

"""Amounts found with nothing but a monotone slack."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.sizing import largest, smallest

MOST = 2**128 - 1


@pytest.mark.parametrize(("need", "expected"), [(-1, 0), (0, 0), (1, 1), (7, 4), (8, 4), (9, 5), (10**6 + 1, 500_001)])
def test_the_smallest_amount_that_suffices_is_found_to_the_unit(need: int, expected: int) -> None:
    assert smallest(lambda amount: 2 * amount - need, 1000, MOST) == expected


def test_what_no_amount_can_reach_is_none() -> None:
    assert smallest(lambda _: -1, 1000, MOST) is None
    assert smallest(lambda amount: amount - 11, 1000, 10) is None
    assert smallest(lambda amount: amount - 10, 1000, 10) == 10
    assert smallest(lambda amount: amount - 10, 1000, 0) is None


@pytest.mark.parametrize(("has", "expected"), [(-1, 0), (0, 0), (1, 0), (2, 1), (199, 99), (200, 100), (201, 100)])
def test_the_largest_amount_that_is_spared_is_found_to_the_unit(has: int, expected: int) -> None:
    assert largest(lambda amount: [has - 2 * amount], 100) == expected


def test_the_strictest_of_several_conditions_decides() -> None:
    assert largest(lambda amount: [1000 - amount, 77 - amount, 5000 - 10 * amount], 900) == 77
    assert largest(lambda amount: [1000 - amount, -1], 900) == 0
    assert largest(lambda _: [0], 0) == 0


@given(st.integers(1, 10**24), st.integers(1, 10**9), st.integers(1, 10**24))
def test_a_stair_is_climbed_to_the_first_step_that_suffices(need: int, stair: int, probe: int) -> None:
    """Contracts round: value goes up in stairs. The answer holds, and 2^-30 less does not."""

    def slack(amount: int) -> int:
        return amount // stair * stair - need

    found = smallest(slack, max(probe, stair), MOST)
    assert found is not None
    assert slack(found) >= 0
    assert slack(found - max(found >> 29, 1)) < 0


def bent(amount: int) -> int:
    return amount if amount < 1000 else 1000 + (amount - 1000) // 50


def square(amount: int) -> int:
    return amount * amount


def triple(amount: int) -> int:
    return 3 * amount


@pytest.mark.parametrize("curve", [bent, square, triple])
def test_a_slack_that_is_no_straight_line_is_solved_all_the_same(curve: Callable[[int], int]) -> None:
    found = smallest(lambda amount: curve(amount) - 5000, 10, MOST)
    assert found is not None
    assert curve(found) >= 5000 > curve(found - 1)
    held = largest(lambda amount: [5000 - curve(amount)], 10**9)
    assert curve(held) <= 5000 < curve(held + 1)


def test_few_evaluations_suffice_for_a_straight_line() -> None:
    asked: list[int] = []

    def slack(amount: int) -> int:
        asked.append(amount)
        return amount * 1_720_000_000 // 10**18 - 123_456_789

    assert smallest(slack, 10**18, MOST) is not None
    assert len(asked) <= 8

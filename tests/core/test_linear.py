"""Prices of rows that give at most 1: what one more of a row would save."""

import pytest

from keeper.core.linear import Column, prices


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ([Column(-3, [(0, 1)])], [3, 0]),  # all that one row holds is worth it
        ([Column(3, [(0, 1)])], [0, 0]),  # nothing is
        ([Column(-3, [(0, 1)]), Column(-5, [(0, 1)])], [5, 0]),  # the better of two
        ([Column(-3, [(0, 1), (1, 0.5)])], [3, 0]),  # half of the second row is left
        ([Column(-3, [(0, 1), (1, 2)])], [0, 1.5]),  # half of the first one is
        ([Column(-3, [(0, 1)]), Column(-5, [(0, 1), (1, 2)])], [3, 1]),  # the second row limits the better one
    ],
)
def test_what_is_scarce_has_a_price(columns: list[Column], expected: list[float]) -> None:
    assert prices(columns, 2) == pytest.approx(expected)


def test_nothing_to_choose_from_leaves_everything_free() -> None:
    assert prices([], 2) == [0, 0]


def test_no_row_that_limits_a_column_is_no_endless_loop() -> None:
    assert prices([Column(-1, [])], 1) == [0]

"""Plans held against the optimum that an integer program proves, on the published set of books."""

from math import inf

import pytest

from keeper.core.plan import History
from keeper.core.planner import make_plan
from scripts.benchmarks.books import instance
from scripts.benchmarks.oracle import avoided_loss, least_gas, least_loss, transfer_gas

BOOKS = range(200)
PARTS = 20
"""So that a failure names ten books, not two hundred."""


@pytest.mark.parametrize("part", range(PARTS))
def test_a_plan_avoids_all_the_loss_that_can_be_avoided_and_takes_no_more_gas_than_that_needs(part: int) -> None:
    compared = 0
    for seed in BOOKS[part::PARTS]:
        book = instance(seed, 4 + seed % 9)
        plan = make_plan(book.snapshot, book.policy, History())
        best = least_loss(book)
        assert best is not None, seed
        avoided = avoided_loss(book, plan)
        for tier, most in best.items():  # the highest first: only with the same there does the next one count
            assert avoided[tier] == pytest.approx(most, rel=1e-5, abs=0.01), seed
        least = least_gas(book, plan)
        if least.gas == inf:
            # A last stand drew further on who gave before: nothing holds all demands at once, and sources stay.
            continue
        assert transfer_gas(plan) == least.gas, seed
        compared += 1
    assert compared >= 6

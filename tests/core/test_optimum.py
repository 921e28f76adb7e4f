"""Plans held against the optimum that an integer program proves, on the published set of books."""

from dataclasses import replace
from math import inf

import pytest

from keeper.core.plan import History
from keeper.core.planner import make_plan
from keeper.core.policy import DonorsOrder
from scripts.benchmarks.books import Instance, instance
from scripts.benchmarks.oracle import ROUNDING, avoided_loss, indebted_capital, least_cost, least_loss, transfer_gas

BOOKS = range(200)
PARTS = 20
"""So that a failure names ten books, not two hundred."""


def ordered(seed: int, order: DonorsOrder, *, has_several_ways: bool = False) -> Instance:
    book = instance(seed, 4 + seed % 9, has_several_ways=has_several_ways)
    return replace(book, policy=replace(book.policy, donors_order=order))


@pytest.mark.parametrize("part", range(PARTS))
def test_a_plan_avoids_all_loss_that_can_be_avoided_and_its_sources_cost_no_more_than_that_needs(part: int) -> None:
    compared = 0
    for seed in BOOKS[part::PARTS]:
        # Both orders of donors, with one way to help and with several, in turns.
        order = (DonorsOrder.DEBT_FREE_FIRST, DonorsOrder.LEAST_GAS)[seed % 2]
        book = ordered(seed, order, has_several_ways=seed // 2 % 2 == 1)
        plan = make_plan(book.snapshot, book.policy, History())
        best = least_loss(book)
        assert best is not None, seed
        avoided = avoided_loss(book, plan)
        for tier, most in best.items():  # the highest first: only with the same there does the next one count
            assert avoided[tier] == pytest.approx(most, rel=1e-5, abs=0.01), seed
        least = least_cost(book, plan)
        if least.gas == inf:
            # A last stand drew further on who gave before: nothing holds all demands at once, and sources stay.
            continue
        if order is DonorsOrder.DEBT_FREE_FIRST:
            assert indebted_capital(book, plan) <= least.indebted * (1 + 1e-5) + ROUNDING, seed
        assert transfer_gas(plan) <= least.gas, seed
        compared += 1
    assert compared >= 6

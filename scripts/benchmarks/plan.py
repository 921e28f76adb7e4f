"""How good plans are and how long they take: on the published set, against the proven optimum and two greedy ways."""

import statistics
import time
from dataclasses import dataclass
from math import inf

from keeper.core.plan import History, Plan
from keeper.core.planner import make_plan
from keeper.core.policy import DonorsOrder
from scripts.benchmarks.books import Instance, instance
from scripts.benchmarks.oracle import (
    ROUNDING,
    Greedy,
    avoided_loss,
    greedy,
    indebted_capital,
    least_cost,
    least_loss,
    transfer_gas,
)

PROVEN_TO = 24
"""To so many subaccounts a plan must be the optimum; beyond, within BEYOND of what less is impossible than."""
BEYOND = 1.15
TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class PlanQuality:
    """Sums over the books of one size; gas is that of transfers."""

    subaccounts: int
    has_several_ways: bool
    books: int
    avoids_all: int
    """Books in which no plan avoids more loss."""
    unproven: int
    """Books whose optimum, of loss or of gas, the time did not suffice to prove."""
    gas_compared: int
    """Books whose gas can be compared: something moves, and all that it demands can be held at once."""
    gas_optimal: int
    """Those of them for which less from donors with debt, and then less gas, is proven impossible."""
    gas: int
    gas_bound: float
    """Less is impossible."""
    best_fit: Greedy
    largest_first: Greedy
    seconds_median: float
    """Processor time of a plan."""
    seconds_worst: float

    @property
    def is_good(self) -> bool:
        if self.subaccounts > PROVEN_TO:
            return self.gas <= self.gas_bound * BEYOND
        return self.avoids_all == self.books and self.gas_optimal == self.gas_compared


def measure_plans(
    subaccounts: int, books: int, seconds: float, *, has_several_ways: bool, first_seed: int = 0
) -> PlanQuality:
    """`seconds`: how long the solver may take for one proof."""
    times: list[float] = []
    avoids_all = unproven = compared = optimal = gas = 0
    bound = 0.0
    best_fit = largest_first = Greedy(0, 0)
    for seed in range(first_seed, first_seed + books):
        book = instance(seed, subaccounts, has_several_ways=has_several_ways)
        plan, taken = _timed(book)
        times.append(taken)
        most = least_loss(book, seconds)
        avoided = avoided_loss(book, plan)
        is_proven = most is not None
        avoids_all += most is None or all(avoided[tier] >= loss * (1 - TOLERANCE) - 0.01 for tier, loss in most.items())
        if plan.rescues:
            least = least_cost(book, plan, seconds)
            if least.gas < inf:
                compared += 1
                optimal += transfer_gas(plan) <= least.gas and _takes_no_more(book, plan, least.indebted)
                is_proven = is_proven and least.gas - least.bound < 1
                gas += transfer_gas(plan)
                bound += least.bound
                best_fit += greedy(book, plan, is_best_fit=True)
                largest_first += greedy(book, plan, is_best_fit=False)
        unproven += not is_proven
    return PlanQuality(
        subaccounts,
        has_several_ways,
        books,
        avoids_all,
        unproven,
        compared,
        optimal,
        gas,
        bound,
        best_fit,
        largest_first,
        statistics.median(times),
        max(times),
    )


def _takes_no_more(book: Instance, plan: Plan, indebted: float) -> bool:
    if book.policy.donors_order is DonorsOrder.LEAST_GAS:
        return True
    return indebted_capital(book, plan) <= indebted * (1 + TOLERANCE) + ROUNDING


def _timed(book: Instance) -> tuple[Plan, float]:
    start = time.thread_time()
    plan = make_plan(book.snapshot, book.policy, History())
    return plan, time.thread_time() - start

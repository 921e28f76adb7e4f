"""What is offered, what it costs, and who may still spend."""

from dataclasses import replace

import pytest

from keeper.core.data_fee import DataFee
from keeper.core.fees import (
    Budget,
    Fees,
    Lately,
    Market,
    TooExpensive,
    expected_cost_wei,
    leanest_fees,
    next_nonce_fees,
    rescues_affordable,
)
from keeper.core.intent import Attempt, State
from keeper.core.plan import Lane
from keeper.core.steps import taken_fees
from tests.core.intents import CALM, GWEI, PLENTY_WEI, POLICY, an_attempt, an_intent


@pytest.mark.parametrize(
    ("before", "bumped"),
    [
        (Fees(8, 8), Fees(9, 9)),
        (Fees(9, 1), Fees(11, 2)),
        (Fees(1, 0), Fees(2, 1)),
        (Fees(10**18 + 1, 7), Fees(1_125_000_000_000_000_002, 8)),
    ],
)
def test_a_bump_is_rounded_up_and_never_nothing(before: Fees, bumped: Fees) -> None:
    assert before.bumped() == bumped


def test_a_floor_above_the_ceiling_says_what_it_would_take() -> None:
    fees = next_nonce_fees(CALM, Lane.CRITICAL, POLICY, 44 * GWEI, Fees(40 * GWEI, 4 * GWEI))
    assert fees == TooExpensive(45 * GWEI, 44 * GWEI, is_for_bump=True)


@pytest.mark.parametrize(
    ("base_gwei", "most_gwei", "expected"),
    [
        (5, 68, Fees(67_500_000_000, 2_250_000_000)),
        (5, 67, TooExpensive(67_500_000_000, 67 * GWEI, is_for_bump=True)),
        (57, 68, Fees(67_500_000_000, 2_250_000_000)),
        (58, 68, TooExpensive(60_250_000_000, 60 * GWEI)),
    ],
)
def test_above_its_ceiling_a_fee_is_offered_where_only_the_bump_demands_it_and_the_market_pays_less(
    base_gwei: int, most_gwei: int, expected: object
) -> None:
    """Bytes at 60 gwei with a tip of 2 were given up; the value at risk still justifies 60."""
    market = Market(base_gwei * GWEI, GWEI, 2 * GWEI)
    floor = Fees(60 * GWEI, 2 * GWEI)
    fees = next_nonce_fees(market, Lane.CRITICAL, POLICY, 60 * GWEI, floor, most_gwei * GWEI)
    assert fees == expected


def test_a_tip_of_the_market_s_takes_no_more_than_the_ceiling_leaves() -> None:
    market = Market(50 * GWEI, GWEI, 90 * GWEI)
    fees = next_nonce_fees(market, Lane.CRITICAL, POLICY, 60 * GWEI, Fees(60 * GWEI, GWEI), 100 * GWEI)
    assert fees == Fees(67_500_000_000, 10 * GWEI)


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        ((), Fees(13 * GWEI, 3 * GWEI)),
        ((an_attempt(sent_at=None, fees=Fees(40 * GWEI, 4 * GWEI)),), Fees(13 * GWEI, 3 * GWEI)),
        ((an_attempt(fees=Fees(16 * GWEI, 2 * GWEI)),), Fees(18 * GWEI, 3 * GWEI)),
        ((replace(an_attempt(fees=Fees(40 * GWEI, 4 * GWEI)), nonce=8),), Fees(13 * GWEI, 3 * GWEI)),
    ],
)
def test_the_leanest_fees_outbid_what_a_node_took_with_this_nonce_and_nothing_else(
    attempts: tuple[Attempt, ...], expected: Fees
) -> None:
    taken = taken_fees(7, [an_intent(State.SIGNED, *attempts)])
    assert leanest_fees(CALM, Lane.CRITICAL, taken) == expected


def test_the_tip_never_exceeds_the_fee() -> None:
    greedy = Market(1, 50 * GWEI, 50 * GWEI)
    fees = next_nonce_fees(greedy, Lane.ROUTINE, POLICY, 20 * GWEI, None)
    assert fees == Fees(20 * GWEI, 20 * GWEI)


# What it costs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("blocks", "expected"), [(1, 1_000), (2, 1_125), (3, 1_266), (7, 2_031)])
def test_a_base_fee_is_projected_an_eighth_dearer_for_each_block(blocks: int, expected: int) -> None:
    assert Market(1_000, 0, 0).projected_wei(blocks) == expected


def test_where_inclusion_takes_longer_than_the_headroom_lasts_more_is_offered() -> None:
    slow = replace(POLICY, inclusion_blocks=9)
    assert next_nonce_fees(CALM, Lane.ROUTINE, slow, PLENTY_WEI, None) == Fees(26_657_845_143, GWEI)


@pytest.mark.parametrize(
    ("max_fee_gwei", "expected_gwei"), [(50, 100_000 * 14), (14, 100_000 * 14), (12, 100_000 * 12)]
)
def test_what_a_transaction_costs_is_the_base_fee_of_its_expected_block_and_its_tip(
    max_fee_gwei: int, expected_gwei: int
) -> None:
    """10 gwei in the next block, 11.25 at most in the one after it, and 2.75 of tip; never more than it offers."""
    fees = Fees(max_fee_gwei * GWEI, 2_750_000_000)
    assert expected_cost_wei(CALM, POLICY, fees, gas=100_000, size=500) == expected_gwei * GWEI


def test_a_rollup_s_fee_for_the_bytes_comes_on_top_and_is_rounded_up() -> None:
    rollup = replace(CALM, data_fee=DataFee(wei_per_kilobyte=1_001, gas_per_kilobyte=7))
    assert rollup.data_fee.wei(500) == 501
    assert rollup.data_fee.gas(500) == 4
    fees = Fees(50 * GWEI, 2_750_000_000)
    assert expected_cost_wei(rollup, POLICY, fees, gas=100_000, size=500) == 1_400_000 * GWEI + 501


@pytest.mark.parametrize(
    ("lane", "spent", "cost", "is_sent"),
    [
        (Lane.ROUTINE, 50, 20, True),
        (Lane.ROUTINE, 50, 21, False),
        (Lane.CRITICAL, 50, 50, True),
        (Lane.CRITICAL, 50, 51, False),
        (Lane.ROUTINE, 80, 0, False),
        (Lane.CRITICAL, 80, 20, True),
    ],
)
def test_the_emergency_reserve_is_for_the_critical_lane_alone(lane: Lane, spent: int, cost: int, is_sent: bool) -> None:
    objection = Budget(daily_wei=100, reserve_wei=30).objection(lane, cost, spent)
    assert (objection is None) is is_sent


def test_what_is_over_the_budget_says_what_it_would_cost_and_what_there_is() -> None:
    budget = Budget(daily_wei=10**17, reserve_wei=3 * 10**16, coin="POL")
    assert budget.objection(Lane.ROUTINE, 21 * 10**15 + 10**12, 5 * 10**16) == (
        "it would cost up to 0.021001 POL, 0.05 POL were spent in 24 hours, and the budget is 0.07 POL without the "
        "emergency reserve; raise [fees] daily_budget"
    )
    assert [budget.left_wei(lane, 8 * 10**16) for lane in (Lane.ROUTINE, Lane.CRITICAL)] == [0, 2 * 10**16]


@pytest.mark.parametrize(("balance_gwei", "rescues"), [(1_424_999, 0), (1_425_000, 1), (2_849_999, 1), (2_850_000, 2)])
def test_gas_money_lasts_for_so_many_rescues_at_today_s_fees(balance_gwei: int, rescues: int) -> None:
    """100,000 gas at 11.25 gwei, the most in two blocks, and the critical lane's 3 gwei of tip."""
    assert rescues_affordable(CALM, balance_gwei * GWEI, 100_000, 500) == rescues


QUIET = Market(2 * GWEI, GWEI, 3 * GWEI, DataFee(1_000, 50_000))
HOUR = 3_600


@pytest.mark.parametrize(
    ("seen_gwei", "storm_gwei"),
    [
        ([], 40),  # of today's alone
        ([1, 2, 3], 20),
        ([4, 5], 40),
        ([1, 90], 90),  # dearer than twenty times the least
    ],
)
def test_in_a_storm_gas_costs_the_most_lately_and_at_least_twenty_times_the_least(
    seen_gwei: list[int], storm_gwei: int
) -> None:
    lately = Lately()
    for fee in seen_gwei:
        lately = lately.and_saw(1_000, [replace(QUIET, base_fee_wei=fee * GWEI)])
    assert lately.storm(QUIET).base_fee_wei == storm_gwei * GWEI


def test_in_a_storm_bytes_are_dearer_as_well_and_tips_are_the_most_lately() -> None:
    lately = Lately().and_saw(1_000, [replace(QUIET, tip_critical_wei=9 * GWEI, data_fee=DataFee(30_000, 10_000))])
    assert lately.storm(QUIET) == Market(40 * GWEI, 9 * GWEI, 9 * GWEI, DataFee(30_000, 200_000))


@pytest.mark.parametrize(("hours", "storm_gwei"), [(23, 90), (24, 40)])
def test_a_storm_is_remembered_for_a_day(hours: int, storm_gwei: int) -> None:
    lately = Lately().and_saw(10 * HOUR, [replace(QUIET, base_fee_wei=90 * GWEI)]).and_saw((10 + hours) * HOUR, [QUIET])
    assert lately.storm(QUIET).base_fee_wei == storm_gwei * GWEI


def test_on_a_rollup_gas_money_is_spent_on_bytes_as_well() -> None:
    rollup = replace(CALM, data_fee=DataFee(wei_per_kilobyte=2_850_000 * GWEI))
    assert rescues_affordable(rollup, 2_850_000 * GWEI, 100_000, 500) == 1
    assert rescues_affordable(Market(0, 0, 0), 10, 100_000, 500) == 10

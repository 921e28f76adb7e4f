"""What a rescue is worth and what it may cost, in integers that err on the side of acting."""

import math
from dataclasses import replace

import pytest

from keeper.core.data_fee import DataFee
from keeper.core.economics import (
    expected_loss_usd,
    fee_ceiling_wei,
    gas_cost_usd,
    is_worth_it,
    liquidation_probability,
    loss_usd,
    pair_volatility_bps,
    plan_bytes,
    plan_gas,
    probability_bps,
    rescue_gas,
    taken_share_bps,
    volatility_bps_per_day,
)
from keeper.core.plan import History, Kind, Lane, Rescue
from keeper.core.planner import make_plan
from keeper.core.snapshot import WHOLE, Snapshot, Strike, Subaccount, SubaccountId
from keeper.core.units import WAD, Address
from keeper.protocols.guard_batch import encode_rebalance
from tests.builders import USD, USDC, WETH, a_policy, a_snapshot, a_subaccount, a_wallet, wad

HOUR = 3600
DAY = 86_400


# Volatility -----------------------------------------------------------------------------------------------------------


def test_a_price_that_moves_one_percent_every_hour_moves_by_the_root_of_24_percent_a_day() -> None:
    rounds = [(hour * HOUR, 200_000 if hour % 2 else 202_000) for hour in range(48)]
    assert volatility_bps_per_day(rounds) == 488


def test_a_still_price_has_no_volatility() -> None:
    assert volatility_bps_per_day([(hour * HOUR, 2000) for hour in range(48)]) == 0


@pytest.mark.parametrize(("moves", "is_known"), [(11, False), (12, True), (13, True)])
def test_a_dozen_moves_are_a_measurement(moves: int, is_known: bool) -> None:
    rounds = [(hour * HOUR, 2000 + hour) for hour in range(moves + 1)]
    assert (volatility_bps_per_day(rounds) is not None) is is_known


def test_a_storm_today_counts_for_more_than_one_last_week() -> None:
    calm = [(hour * HOUR, 2000 + hour % 2) for hour in range(168)]
    stormy = [2000 if hour % 2 else 2100 for hour in range(24)]
    late = calm[:144] + [((144 + hour) * HOUR, price) for hour, price in enumerate(stormy)]
    early = [(hour * HOUR, price) for hour, price in enumerate(stormy)] + calm[24:]
    measured_late, measured_early = volatility_bps_per_day(late), volatility_bps_per_day(early)
    assert measured_late is not None
    assert measured_early is not None
    assert measured_late > 5 * measured_early


def test_rounds_out_of_order_and_prices_of_zero_are_passed_over() -> None:
    good = [(hour * HOUR, 2000 + hour) for hour in range(20)]
    disturbed = [*good[:10], (9 * HOUR, 1), (9 * HOUR, 0), *good[10:]]
    assert volatility_bps_per_day([(0, 0)] * 30) is None
    assert volatility_bps_per_day(disturbed) is not None


# Probability ----------------------------------------------------------------------------------------------------------


def test_at_the_line_liquidation_is_certain_and_without_debt_impossible() -> None:
    assert liquidation_probability(0, 0.05, DAY) == 1
    assert liquidation_probability(1, 0.05, DAY) == 0
    assert probability_bps(WAD, 500, DAY) == 10_000
    assert probability_bps(wad("0.9"), 500, DAY) == 10_000


def test_the_first_passage_is_twice_the_tail_of_the_normal_distribution() -> None:
    """A fall of 1 - e^-0.05 is one deviation: twice 15.87 %, plus a jump of 2 % x e^(-4.877/8)."""
    assert liquidation_probability(1 - math.exp(-0.05), 0.05, DAY) == pytest.approx(0.3173 + 0.6827 * 0.0108, abs=2e-4)


def test_a_quiet_price_leaves_the_chance_of_a_jump() -> None:
    assert liquidation_probability(0.16, 0.0, DAY) == pytest.approx(0.02 * math.exp(-2), rel=0.01)
    assert probability_bps(wad("1.25"), 1, DAY) == 17


@pytest.mark.parametrize(
    ("fall", "seen_per_year"),
    [
        pytest.param(0.16, 4 / 7, id="what ETH lost within six minutes in four storms of seven years"),
        pytest.param(0.20, 1 / 7, id="and in one of them"),
    ],
)
def test_quick_falls_are_counted_with_more_often_than_they_were_seen(fall: float, seen_per_year: float) -> None:
    per_year = 365 * liquidation_probability(fall, 0.0, DAY)
    assert seen_per_year < per_year < 1


def test_the_chance_grows_with_time_and_volatility_and_falls_with_health() -> None:
    assert probability_bps(wad("1.1"), 500, DAY) > probability_bps(wad("1.1"), 500, HOUR)
    assert probability_bps(wad("1.1"), 600, DAY) > probability_bps(wad("1.1"), 500, DAY)
    assert probability_bps(wad("1.1"), 500, DAY) > probability_bps(wad("1.12"), 500, DAY)


# Dollars and gas ------------------------------------------------------------------------------------------------------


def rescued(*donors: Subaccount, health: str = "1.1") -> tuple[Snapshot, Rescue]:
    book = (a_subaccount("r", health=health), *donors)
    snapshot = a_snapshot(*book)
    (rescue,) = make_plan(snapshot, a_policy(*book), History()).rescues
    return snapshot, rescue


def test_gas_counts_every_rescue_and_every_transfer_by_its_kind() -> None:
    _, native = rescued(a_subaccount("d"))
    _, cross = rescued(a_wallet())
    _, both = rescued(a_wallet("0.5"), a_subaccount("d", weth="1"))
    assert (rescue_gas(native), rescue_gas(cross), rescue_gas(both)) == (205_000, 160_000, 245_000)
    assert (plan_gas([]), plan_gas([native]), plan_gas([native, cross])) == (0, 235_000, 395_000)


def between(donor: str, recipient: str) -> Rescue:
    """One transfer from another protocol, or from another pool."""
    _, rescue = rescued(a_subaccount("d"))
    of, to = SubaccountId.parse(donor), SubaccountId.parse(recipient)
    transfer = replace(rescue.transfers[0], kind=Kind.CROSS, donor=of, recipient=to)
    return replace(rescue, recipient=to, transfers=(transfer,))


def test_a_batch_enters_each_protocol_once() -> None:
    aave_to_euler, aave_to_morpho = between("aave:0xa", "euler:1"), between("aave:0xb", "morpho:0x1")
    assert (rescue_gas(aave_to_euler), rescue_gas(aave_to_morpho)) == (530_000, 400_000)
    assert plan_gas([aave_to_euler]) == 560_000
    assert plan_gas([aave_to_euler, aave_to_morpho]) == 560_000 + 400_000 - 125_000
    assert plan_gas([aave_to_euler] * 3) == 560_000 + 2 * (530_000 - 125_000 - 70_000)


def test_two_pools_of_a_protocol_are_entered_one_by_one() -> None:
    within, across = between("venus:0xc/0xa", "venus:0xc/0xb"), between("venus:0xc/0xa", "venus:0xd/0xa")
    assert plan_gas([within]) == 30_000 + 245_000 + 305_000 + 270_000
    assert plan_gas([across]) == plan_gas([within, across]) - 305_000 - 270_000 == 30_000 + 2 * 245_000 + 575_000


def test_a_protocol_not_known_costs_as_much_as_the_dearest() -> None:
    assert plan_gas([between("other:1", "other:2")]) == plan_gas([between("venus:0xc/0xa", "venus:0xc/0xb")])


def test_the_loss_is_the_penalty_on_the_debt_rounded_up() -> None:
    account = a_subaccount("r", debt="10000.000001", penalty_bps=438)
    snapshot = a_snapshot(account)
    assert loss_usd(snapshot, account) == 438_000_000_043_800_000_000
    assert loss_usd(snapshot, a_subaccount("free")) == 0
    assert loss_usd(a_snapshot(account, usd={}), account) is None


def test_gas_costs_what_the_native_coin_costs() -> None:
    history = History(gas_price_wei=20 * 10**9)
    assert gas_cost_usd(a_snapshot(), history, 250_000, 800) == wad("10")
    assert gas_cost_usd(a_snapshot(usd_per_native=None), history, 250_000, 800) is None
    assert gas_cost_usd(a_snapshot(usd_per_native=1, base_fee_wei=1), History(), 1, 800) == 1


@pytest.mark.parametrize(
    ("data_fee", "dollars"),
    [
        (DataFee(wei_per_kilobyte=10**15), "11.6"),  # 0.0008 ETH for the bytes
        (DataFee(gas_per_kilobyte=125_000), "14"),  # 100,000 gas for them
        (DataFee(wei_per_kilobyte=10**15, gas_per_kilobyte=125_000), "15.6"),
    ],
    ids=["OP stack", "Arbitrum", "both"],
)
def test_what_a_rollup_charges_for_bytes_is_part_of_the_cost(data_fee: DataFee, dollars: str) -> None:
    history = History(gas_price_wei=20 * 10**9, data_fee=data_fee)
    assert gas_cost_usd(a_snapshot(), history, 250_000, 800) == wad(dollars)


def test_a_transactions_size_is_that_of_its_words() -> None:
    snapshot, one = rescued(a_wallet())
    _, two = rescued(a_wallet("0.5"), a_subaccount("d", weth="1"))
    assert (plan_bytes([]), plan_bytes([one]), plan_bytes([one, two])) == (0, 604, 1_116)
    plan = make_plan(snapshot, a_policy(*snapshot.subaccounts), History())
    assert plan.rescues == (one,)
    assert len(encode_rebalance(plan, snapshot, bytes(32), 0, [600_000])) + 120 == 604


def test_the_expected_loss_is_chance_times_loss() -> None:
    account = a_subaccount("r", debt="10000", penalty_bps=500)
    assert expected_loss_usd(a_snapshot(account), account, WAD, 500) == wad("500")
    assert expected_loss_usd(a_snapshot(account, usd={}), account, WAD, 500) is None


def test_volatility_of_a_pair_is_that_of_all_its_feeds_together() -> None:
    one, other = feeds = (Address("0x" + "f1" * 20), Address("0x" + "f2" * 20))
    account = a_subaccount("r", feeds=feeds)
    assert pair_volatility_bps(account, {one: 300, other: 400}) == 500
    assert pair_volatility_bps(account, {one: 300}) is None
    assert pair_volatility_bps(a_subaccount("r"), {one: 300}) is None


@pytest.mark.parametrize(
    ("lane", "benefit", "cost", "expected"),
    [
        (Lane.ROUTINE, 299, 100, False),
        (Lane.ROUTINE, 300, 100, False),
        (Lane.ROUTINE, 301, 100, True),
        (Lane.CRITICAL, 0, 100, True),
        (Lane.ROUTINE, None, 100, True),
        (Lane.ROUTINE, 0, None, True),
    ],
)
def test_a_routine_rescue_must_save_three_times_its_gas_and_a_critical_one_nothing(
    lane: Lane, benefit: int | None, cost: int | None, expected: bool
) -> None:
    assert is_worth_it(lane, benefit, cost, 3) is expected


def test_the_fee_ceiling_is_a_share_of_the_loss_avoided_and_never_over_the_owners() -> None:
    """781.82 USD at stake are 0.39091 native coins; a fifth of that over 250,000 gas is 312.7 gwei."""
    snapshot, rescue = rescued(a_subaccount("d"))
    assert rescue.loss_avoided_usd == 781_818_181_800_000_000_000
    assert fee_ceiling_wei(snapshot, [rescue], 250_000, 2000, 10**12) == 312_727_272_720
    assert fee_ceiling_wei(snapshot, [rescue], 250_000, 2000, 50 * 10**9) == 50 * 10**9


def test_an_unknown_stake_leaves_the_owners_ceiling() -> None:
    book = (a_subaccount("r", health="1.1"), a_subaccount("d"))
    usd = {token: price for token, price in USD.items() if token != USDC.address}
    unpriced = a_snapshot(*book, usd=usd)
    (rescue,) = make_plan(unpriced, a_policy(*book), History()).rescues
    assert rescue.loss_avoided_usd is None
    assert fee_ceiling_wei(unpriced, [rescue], 250_000, 2000, 7) == 7
    assert WETH.address in usd


@pytest.mark.parametrize(
    ("strike", "health", "taken_bps"),
    [
        (WHOLE, "1", 1_000),
        (WHOLE, "0.5", 1_000),
        (Strike(5_000, wad("0.95") + 1), "0.950000000000000001", 500),
        (Strike(5_000, wad("0.95") + 1), "0.95", 1_000),
        (Strike(least_bps=100), "1", 100),
        (Strike(least_bps=100), "0.9902", 100),  # 0.9897 % under water
        (Strike(least_bps=100), "0.99", 102),
        (Strike(least_bps=100), "0.95", 527),
        (Strike(least_bps=100), "0.9", 1_000),
        (Strike(least_bps=100), "0", 1_000),
    ],
)
def test_a_liquidation_takes_what_its_protocol_lets_it_take_at_that_depth(
    strike: Strike, health: str, taken_bps: int
) -> None:
    account = replace(a_subaccount("a", debt="1000", penalty_bps=1_000), strike=strike)
    assert taken_share_bps(account, wad(health)) == taken_bps


def test_what_is_lost_is_counted_at_the_line_until_it_is_passed() -> None:
    """1,000 USDC with a penalty of 10 %: half of it at once above 0.95, all of it below."""
    strike = Strike(5_000, wad("0.95"))
    above = replace(a_subaccount("a", debt="1000", penalty_bps=1_000), strike=strike)
    below = replace(a_subaccount("a", weth="0.5525", debt="1000", penalty_bps=1_000), strike=strike)
    deep = replace(a_subaccount("a", weth="0.55", debt="1000", penalty_bps=1_000), strike=strike)
    assert [one.margin.risk().health_factor // 10**14 for one in (below, deep)] == [9_503, 9_460]
    losses = [loss_usd(a_snapshot(one), one) for one in (above, below, deep)]
    assert losses == [wad("50"), wad("50"), wad("100")]


def test_a_liquidation_takes_no_more_than_the_equity_that_there_is() -> None:
    """10 WETH at 1,000 against 9,900 USDC: a penalty of 5 % would be 495, and 100 is all that there is to lose."""
    account = a_subaccount("a", debt="9900", prices={WETH: "1000"}, penalty_bps=500)
    assert loss_usd(a_snapshot(account), account) == wad("100")
    under_water = a_subaccount("a", debt="10100", prices={WETH: "1000"}, penalty_bps=500)
    assert loss_usd(a_snapshot(under_water), under_water) == 0

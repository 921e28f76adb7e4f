"""Aave's arithmetic against rows whose numbers were worked out by hand, and against plain rational arithmetic."""

from collections.abc import Mapping
from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.snapshot import Horizon
from keeper.core.units import INFINITE_HEALTH, WAD, Address
from keeper.protocols.aave.math import AaveMargin, Holding, compounded_up, linear_weight
from keeper.protocols.aave.versions import RAY, SPECK_RAW, VERSIONS

WETH, USDC, WBTC = Address("0x" + "e1" * 20), Address("0x" + "e2" * 20), Address("0x" + "e3" * 20)
V30, V36 = 1, 10
BOTH = pytest.mark.parametrize("revision", [V30, V36])
YEAR = 31_536_000


def weth(
    supplied: int = 10 * 10**18,
    *,
    price: int = 2_500 * 10**8,
    index: int = RAY,
    threshold_bps: int = 8_300,
    in_use: bool = True,
    used_on_arrival: bool = False,
    blocks_others: bool = False,
) -> Holding:
    return Holding(
        WETH, 10**18, price, supplied, index, 0, RAY, 0, threshold_bps, in_use, used_on_arrival, blocks_others
    )


def wbtc(supplied: int = 0, *, in_use: bool = True, blocks_others: bool = False, threshold_bps: int = 7_500) -> Holding:
    return Holding(WBTC, 10**8, 60_000 * 10**8, supplied, RAY, 0, RAY, 0, threshold_bps, in_use, False, blocks_others)


def usdc(
    owed: int = 16_600 * 10**6, *, index: int = RAY, rate: int = 0, supplied: int = 0, used: bool = False
) -> Holding:
    return Holding(USDC, 10**6, 10**8, supplied, RAY, owed, index, rate, 7_800, used, False, False)


def a_margin(*holdings: Holding, revision: int = V36) -> AaveMargin:
    """10 WETH at 2,500 USD, of which 83 % count, against 16,600 USDC."""
    return AaveMargin(revision, 10**10, holdings or (weth(), usdc()))


# At the block ---------------------------------------------------------------------------------------------------------


@BOTH
def test_health_is_what_counts_over_what_is_owed(revision: int) -> None:
    margin = a_margin(revision=revision)
    risk = margin.risk()
    assert risk.collateral_value == 20_750 * 10**18
    assert risk.debt_value == 16_600 * 10**18
    assert risk.health_factor == margin.pool_health() == 1_250_000_000_000_000_000
    assert (risk.initial_collateral_value, risk.initial_debt_value) == (risk.collateral_value, risk.debt_value)


@pytest.mark.parametrize(
    ("revision", "owed", "health", "is_liquidatable"),
    [
        (V36, 20_749_999_999, 1_000_000_000_048_192_771, False),
        (V36, 20_750_000_000, 1_000_000_000_000_000_000, False),  # exactly on the line is healthy
        (V36, 20_750_000_001, 999_999_999_951_807_228, True),
        (V30, 20_749_999_999, 1_000_000_000_048_192_771, False),
        (V30, 20_750_000_000, 1_000_000_000_000_000_000, False),
        (V30, 20_750_000_001, 999_999_999_951_807_229, True),
    ],
)
def test_the_liquidation_line(revision: int, owed: int, health: int, is_liquidatable: bool) -> None:
    margin = a_margin(weth(), usdc(owed), revision=revision)
    assert margin.risk().is_liquidatable is is_liquidatable
    assert margin.risk().health_factor == margin.pool_health() == health


def test_all_collateral_counts_together_each_at_its_own_threshold() -> None:
    # 20,750 of WETH, 0.5 * 60,000 * 75 % = 22,500 of WBTC, and 1,000 * 78 % = 780 of USDC that is owed as well.
    margin = a_margin(weth(), wbtc(5 * 10**7), usdc(20_000 * 10**6, supplied=1_000 * 10**6, used=True))
    assert margin.risk().collateral_value == 44_030 * 10**18
    assert margin.risk().health_factor == 2_201_500_000_000_000_000


@pytest.mark.parametrize(
    ("revision", "held", "owed", "debt_value", "left"),
    [
        # 7 scaled at 1.1: 7.7 is 7 in version 3.6 and 8 in 3.0; a debt of 7.7 is 8 in both, worth 1.6 base units. Of
        # the 7 scaled a transfer of 3 takes 3 / 1.1 = 2.73: 3 in both; a transfer of 1 takes 0.91: 1 in both.
        (V36, 7, 8, 2, 4),
        (V30, 8, 8, 1, 4),
    ],
)
def test_the_versions_round_differently(revision: int, held: int, owed: int, debt_value: int, left: int) -> None:
    version, index = VERSIONS[revision], 11 * RAY // 10
    assert version.held_raw(7, index) == held
    assert version.owed_raw(7, index) == owed
    assert version.debt_value(8, 2, 10) == debt_value
    assert 7 - version.leaving_scaled(3, index) == left


def test_a_debt_is_rounded_up_in_one_version_and_to_the_nearest_in_the_other() -> None:
    # 4 scaled at 1.1 are 4.4.
    assert [VERSIONS[revision].owed_raw(4, 11 * RAY // 10) for revision in (V36, V30)] == [5, 4]
    # Of it 3 are repaid, 2.73 scaled.
    assert [VERSIONS[revision].repaid_scaled(3, 11 * RAY // 10) for revision in (V36, V30)] == [2, 3]
    # 3 supplied are 2.73 scaled, 3 taken out are 2.73 as well.
    assert [VERSIONS[revision].arriving_scaled(3, 11 * RAY // 10) for revision in (V36, V30)] == [2, 3]
    assert [VERSIONS[revision].leaving_scaled(2, 11 * RAY // 10) for revision in (V36, V30)] == [2, 2]


@pytest.mark.parametrize(
    ("revision", "counted_bps", "health"),
    [
        # 3 at 80 % and 4 at 75 % are 5.4 of 7. Version 3.0 floors the average to 77.14 %, and its share of 7 to 5.
        (V36, 54_000, 2_700_000_000_000_000_000),
        (V30, 50_000, 2_500_000_000_000_000_000),
    ],
)
def test_one_version_sums_the_thresholds_and_the_other_averages_them(
    revision: int, counted_bps: int, health: int
) -> None:
    version = VERSIONS[revision]
    assert version.counted_bps(7, 3 * 8_000 + 4 * 7_500) == counted_bps
    assert version.health(counted_bps, 2) == health


@pytest.mark.parametrize(
    ("revision", "value", "threshold_bps", "owed", "health"),
    [
        # Exactly 1.0398620466390999739999…
        (V36, 629_259_264_617_049, 1, 60_513_725_513, 1_039_862_046_639_099_974),
        # Exactly 0.9166254155669296214…, times 10^18 with a fraction of a half or more
        (V30, 614_318_115_807, 10_000, 670_195_376_840, 916_625_415_566_929_622),
    ],
)
def test_half_a_wei_of_health_is_rounded_up_as_the_pool_does(
    revision: int, value: int, threshold_bps: int, owed: int, health: int
) -> None:
    collateral = Holding(WETH, 1, 1, value, RAY, 0, RAY, 0, threshold_bps, True, False, False)
    debt = Holding(USDC, 1, 1, 0, RAY, owed, RAY, 0, 0, False, False, False)
    margin = a_margin(collateral, debt, revision=revision)
    assert value * threshold_bps * WAD // (owed * 10_000) == health - 1
    assert margin.pool_health() == margin.risk().health_factor == health


def test_what_is_not_in_use_does_not_count() -> None:
    margin = a_margin(weth(in_use=False), usdc())
    assert margin.risk().collateral_value == 0
    assert margin.risk().health_factor == 0
    assert linear_weight(weth(in_use=False), 10**10) == 0


@BOTH
def test_without_debt_health_is_infinite_and_no_price_is_needed(revision: int) -> None:
    margin = a_margin(weth(price=0), usdc(0), revision=revision)
    assert margin.risk().health_factor == INFINITE_HEALTH
    assert margin.pool_health() == 2**256 - 1
    assert margin.risk({WETH: -(10**18)}).lets_collateral_leave


# What moves -----------------------------------------------------------------------------------------------------------


@BOTH
def test_collateral_leaves_down_to_the_line_and_not_a_wei_further(revision: int) -> None:
    margin = a_margin(revision=revision)
    assert margin.risk({WETH: -2 * 10**18}).health_factor == 10**18
    assert margin.risk({WETH: -2 * 10**18}).lets_collateral_leave
    # Half a cent less collateral: the oracle's eight decimals do not see a single wei.
    assert not margin.risk({WETH: -2 * 10**18 - 4 * 10**6}).lets_collateral_leave


@BOTH
def test_all_of_it_may_leave_and_one_more_may_not(revision: int) -> None:
    margin = a_margin(weth(7, index=11 * RAY // 10), usdc(0), revision=revision)
    held = margin.held_raw(margin.holdings[0])
    assert margin.risk({WETH: -held}).collateral_value == 0
    with pytest.raises(ValueError, match=r"1 raw units of 0xe1e1.* more than there are"):
        margin.risk({WETH: -held - 1})


def test_what_arrives_is_rounded_as_a_supply() -> None:
    # 10^18 at an index of 1.1: 909090909090909090 scaled, worth 999999999999999999 and at 2,500 a hair less than that.
    margin = a_margin(weth(0, index=11 * RAY // 10), usdc())
    assert margin.risk({WETH: 10**18}).collateral_value == 2_074_999_999_991_700_000_000


def test_what_arrives_counts_only_where_it_is_switched_on() -> None:
    for used, counted in ((False, 0), (True, 2_075 * 10**18)):
        margin = a_margin(weth(0, in_use=False, used_on_arrival=used), usdc())
        assert margin.risk({WETH: 10**18}).collateral_value == counted


def test_switching_on_counts_what_was_there_before() -> None:
    margin = a_margin(weth(10**15, in_use=False, used_on_arrival=True), usdc())
    assert margin.risk().collateral_value == 0
    assert margin.risk({WETH: 10**18}).collateral_value == 2_077_075 * 10**15


@pytest.mark.parametrize(
    ("arrives", "counted"), [(255 * 10**15 - 1, False), (255 * 10**15, False), (255 * 10**15 + 1, True)]
)
def test_beside_dust_only_what_must_be_switched_on_is_counted(arrives: int, counted: bool) -> None:
    """Eight transfers of which each doubles what is there come to 255 times as much, and none is more than it."""
    margin = a_margin(weth(10**15, in_use=False, used_on_arrival=True), usdc())
    assert (margin.risk({WETH: arrives}).collateral_value > 0) is counted


def test_an_asset_that_is_not_in_use_may_leave_a_sinking_account() -> None:
    margin = a_margin(weth(), wbtc(10**8, in_use=False), usdc(30_000 * 10**6))
    assert margin.risk().is_liquidatable
    assert margin.risk({WBTC: -(10**8)}).lets_collateral_leave
    assert not margin.risk({WETH: -1}).lets_collateral_leave
    assert not margin.risk({WETH: -1, WBTC: -1}).lets_collateral_leave
    assert not margin.risk().lets_collateral_leave


@pytest.mark.parametrize(
    ("deltas", "may_leave"),
    [
        ({WETH: -1}, False),  # WBTC has an LTV of 0: it must leave first
        ({WBTC: -1}, True),
        ({WBTC: -(10**8)}, True),
        ({WBTC: -(10**8), WETH: -1}, True),  # in this order
        ({WBTC: -(10**8) + 1, WETH: -1}, False),
        ({WETH: 1}, True),
    ],
)
def test_collateral_with_an_ltv_of_zero_must_leave_first(deltas: Mapping[Address, int], may_leave: bool) -> None:
    margin = a_margin(weth(), wbtc(10**8, blocks_others=True), usdc(1_000 * 10**6))
    assert margin.risk(deltas).lets_collateral_leave is may_leave
    without_debt = a_margin(weth(), wbtc(10**8, blocks_others=True), usdc(0))
    assert without_debt.risk(deltas).lets_collateral_leave


def test_a_repayment_takes_from_its_own_debt_and_no_more() -> None:
    margin = a_margin()
    assert margin.risk(repaid={USDC: 6_600 * 10**6}).debt_value == 10_000 * 10**18
    assert margin.risk(repaid={USDC: 16_600 * 10**6}).health_factor == INFINITE_HEALTH
    with pytest.raises(ValueError, match=r"1 raw units of 0xe2e2.* more than is owed"):
        margin.risk(repaid={USDC: 16_600 * 10**6 + 1})
    with pytest.raises(ValueError, match="nothing to do with 0xe3e3"):
        margin.risk(repaid={WBTC: 1})
    with pytest.raises(ValueError, match="nothing to do with 0xe3e3"):
        margin.risk({WBTC: 1})


# Prices and time ------------------------------------------------------------------------------------------------------


def test_a_price_falls_on_both_sides() -> None:
    margin = a_margin(weth(), usdc(16_600 * 10**6, supplied=1_000 * 10**6, used=True))
    risk = margin.risk(falls_bps={USDC: 1_000})
    assert risk.debt_value == 14_940 * 10**18
    assert risk.collateral_value == 20_750 * 10**18 + 702 * 10**18
    assert margin.risk(falls_bps={WETH: 2_000}).collateral_value == 16_600 * 10**18 + 780 * 10**18
    assert margin.risk(falls_bps={WETH: -2_000}).collateral_value == 24_900 * 10**18 + 780 * 10**18


def test_interest_to_the_horizon_is_the_rate_seen_and_the_margin() -> None:
    # 6 % and 4 % a year for a tenth of it: e^0.01 to the third term, 1.010050166…
    margin = a_margin(weth(), usdc(10_000 * 10**6, rate=6 * RAY // 100))
    owed = margin.risk(horizon=Horizon(YEAR // 10, 4 * WAD // 100)).debt_value
    assert owed == 10_100_501_667 * 10**12
    assert margin.risk(horizon=Horizon(0, WAD)).debt_value == 10_000 * 10**18


@given(rate=st.integers(0, 4 * RAY), before=st.integers(0, YEAR), after=st.integers(0, YEAR))
def test_two_accruals_add_at_least_as_much_as_the_pools_one(rate: int, before: int, after: int) -> None:
    def pools(seconds: int) -> int:  # MathUtils.calculateCompoundedInterest
        x = rate * seconds // YEAR
        inner = x // 2 + (x * (x // 6) + RAY // 2) // RAY
        return RAY + x + (x * inner + RAY // 2) // RAY

    assert (pools(before) + 1) * compounded_up(rate, after) // RAY >= pools(before + after)


# Properties -----------------------------------------------------------------------------------------------------------

INDEXES = st.integers(RAY, 3 * RAY)


@BOTH
@given(
    supplied=st.integers(0, 2**90), index=INDEXES, owed=st.integers(10**6, 2**60), debt_index=INDEXES,
    price=st.integers(1, 10**13),
)  # fmt: skip
def test_health_is_the_pools_to_the_wei(
    revision: int, supplied: int, index: int, owed: int, debt_index: int, price: int
) -> None:
    """From one unit of account of debt on; and near plain rational arithmetic."""
    margin = a_margin(weth(supplied, price=price, index=index), usdc(owed, index=debt_index), revision=revision)
    assert margin.risk().health_factor == min(margin.pool_health(), INFINITE_HEALTH)
    assert margin.risk().is_liquidatable is (margin.pool_health() < WAD)
    exact_debt = Fraction(owed * debt_index * 100, RAY)
    exact = Fraction(supplied * index * price * 8_300, RAY * 10**18 * 10_000) / exact_debt
    rounding = Fraction(4 * (price // 10**18 + 2) * 10**18, floor(exact_debt)) * (1 + exact)
    assert abs(margin.pool_health() - exact * WAD) <= rounding + 2 + exact * WAD * 100 / exact_debt


@BOTH
@given(supplied=st.integers(1, 2**80), owed=st.integers(0, 10**5), price=st.integers(1, 10**13))
def test_of_a_debt_below_one_unit_health_is_never_more_than_the_pools(
    revision: int, supplied: int, owed: int, price: int
) -> None:
    margin = a_margin(weth(supplied, price=price), usdc(owed), revision=revision)
    pools = min(margin.pool_health(), INFINITE_HEALTH)
    assert pools - 1 <= margin.risk().health_factor <= pools


@BOTH
@given(supplied=st.integers(1, 2**80), index=INDEXES, part=st.integers(0, 2**80))
def test_taking_out_and_putting_back_gains_nothing(revision: int, supplied: int, index: int, part: int) -> None:
    version = VERSIONS[revision]
    amount = part % (version.held_raw(supplied, index) + 1)
    leaving, arriving = version.leaving_scaled(amount, index), version.arriving_scaled(amount, index)
    assert arriving <= leaving <= arriving + 1
    assert leaving <= supplied


@pytest.mark.parametrize(("revision", "paid_out"), [(V36, 8), (V30, 6)])
def test_of_what_a_transfer_brings_one_version_may_book_a_unit_less_than_was_asked_for(
    revision: int, paid_out: int
) -> None:
    """7 at an index of 1.6 are 4.375 scaled: 5 are 8, and 4 are 6.4."""
    version, index = VERSIONS[revision], 16 * RAY // 10
    assert version.held_raw(version.leaving_scaled(7, index), index) == paid_out
    assert version.needs_speck is (paid_out < 7)


@pytest.mark.parametrize(
    ("index", "missing"),
    [
        # One ETH, at 3 % a year on an index of 1.05, in the first block, three blocks later, and in the next.
        (1_050_000_000_000_000_000_000_000_000, 0),
        (1_050_000_035_958_904_109_589_039_573, 1),
        (1_050_000_047_945_205_479_452_054_794, 0),
    ],
)
def test_no_amount_is_safe_from_that_in_every_block(index: int, missing: int) -> None:
    version, amount = VERSIONS[V30], 10**18
    assert amount - version.held_raw(version.leaving_scaled(amount, index), index) == missing


@BOTH
@given(amount=st.integers(1, 2**90), left_at=st.integers(RAY, 20 * RAY), growth=st.integers(0, 19 * RAY))
def test_with_a_speck_left_beside_it_whatever_a_transfer_brings_is_paid_out_and_the_speck_is_still_there(
    revision: int, amount: int, left_at: int, growth: int
) -> None:
    """AaveV3.withdraw, contracts/src/protocols: aTokens to the guard, and as much out of the pool at the same index."""
    version, index = VERSIONS[revision], left_at + growth
    kept = version.arriving_scaled(SPECK_RAW, left_at) if version.needs_speck else 0
    brought = version.leaving_scaled(amount, index)
    assert version.held_raw(kept + brought, index) >= amount, "ValidationLogic.validateWithdraw"
    assert kept + brought - version.leaving_scaled(amount, index) == kept


@BOTH
@given(supplied=st.integers(1, 2**80), index=INDEXES, more=st.integers(1, 10**20))
def test_less_collateral_is_never_healthier(revision: int, supplied: int, index: int, more: int) -> None:
    margin = a_margin(weth(supplied, index=index), usdc(), revision=revision)
    amount = more % (margin.held_raw(margin.holdings[0]) + 1)
    after = margin.risk({WETH: -amount})
    assert after.health_factor <= margin.risk().health_factor <= margin.risk({WETH: more}).health_factor

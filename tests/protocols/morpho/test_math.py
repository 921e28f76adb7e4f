"""Morpho's arithmetic against rows whose numbers were worked out by hand, and against plain rational arithmetic."""

from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.snapshot import Horizon
from keeper.core.units import INFINITE_HEALTH, WAD, Address
from keeper.protocols.morpho.math import MorphoMargin, penalty_bps, rate_seen, taylor_compounded_up

COLLATERAL, LOAN, OTHER = (Address("0x" + two * 20) for two in ("c0", "a0", "d0"))
YEAR = 31_536_000


def a_margin(
    *,
    collateral_raw: int = 10 * 10**18,
    borrow_shares: int = 17_200 * 10**12,
    total_borrow_assets: int = 10**12,
    total_borrow_shares: int = 10**18,
    price: int = 2_500 * 10**24,
    lltv: int = 86 * 10**16,
    value_scale: int = 10**12,
    rate: int = 0,
) -> MorphoMargin:
    """10 WETH at 2,500 USDC against 17,200 USDC of the million that the market has lent."""
    totals = (total_borrow_assets, total_borrow_shares)
    return MorphoMargin(COLLATERAL, LOAN, collateral_raw, borrow_shares, *totals, price, lltv, value_scale, rate)


# At the block ---------------------------------------------------------------------------------------------------------


def test_health_is_what_may_be_borrowed_over_what_is_owed() -> None:
    risk = a_margin().risk()
    assert risk.collateral_value == 21_500 * 10**18
    assert risk.debt_value == 17_200 * 10**18
    assert risk.health_factor == 1_250_000_000_000_000_000
    assert (risk.initial_collateral_value, risk.initial_debt_value) == (risk.collateral_value, risk.debt_value)


@pytest.mark.parametrize(
    ("collateral_raw", "is_liquidatable"),
    [
        (
            7_999_999_999_999_999_999,
            True,
        ),  # 7.999… * 2500 * 0.86 is a hair less than 17,200 USDC: floored, one unit less
        (8_000_000_000_000_000_000, False),  # exactly on the line is healthy
        (8_000_000_000_000_000_001, False),
    ],
)
def test_the_liquidation_line(collateral_raw: int, is_liquidatable: bool) -> None:
    assert a_margin(collateral_raw=collateral_raw).risk().is_liquidatable is is_liquidatable


def test_debt_rounds_up_and_collateral_rounds_down_twice() -> None:
    # One share of a market with 10^12 + 1 virtual assets on 10^18 + 10^6 virtual shares is a millionth of a raw unit.
    margin = a_margin(collateral_raw=3, borrow_shares=1, price=5 * 10**35, lltv=9 * 10**17, value_scale=1)
    assert margin.borrowed_raw() == 1
    # 3 * 0.5 = 1.5 → 1; 1 * 0.9 = 0.9 → 0. Rounding once would give 1.35 → 1.
    assert margin.risk().collateral_value == 0


def test_without_debt_health_is_infinite_and_no_price_is_needed() -> None:
    risk = a_margin(borrow_shares=0, price=0).risk()
    assert risk.health_factor == INFINITE_HEALTH
    assert not risk.is_liquidatable


def test_without_a_price_an_account_with_debt_has_no_health() -> None:
    assert a_margin(price=0).risk().health_factor == 0


@given(
    collateral=st.integers(0, 2**100),
    shares=st.integers(1, 2**100),
    assets=st.integers(0, 2**100),
    extra_shares=st.integers(0, 2**100),
    price=st.integers(1, 2**150),
    lltv=st.integers(1, WAD - 1),
    decimals=st.integers(0, 18),
)
def test_the_margin_is_the_contracts_in_rational_arithmetic(
    collateral: int, shares: int, assets: int, extra_shares: int, price: int, lltv: int, decimals: int
) -> None:
    scale = 10 ** (18 - decimals)
    total_shares = shares + extra_shares
    risk = MorphoMargin(COLLATERAL, LOAN, collateral, shares, assets, total_shares, price, lltv, scale, 0).risk()
    quoted = floor(Fraction(collateral) * Fraction(price, 10**36))
    may_borrow = floor(quoted * Fraction(lltv, 10**18))
    owed = ceil(Fraction(shares, total_shares + 10**6) * (assets + 1))
    assert risk.collateral_value == may_borrow * scale
    assert risk.debt_value == owed * scale
    assert risk.is_liquidatable is (may_borrow < owed)
    assert risk.health_factor == min(floor(Fraction(may_borrow, owed) * 10**18), 2**128 - 1)


# Changes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delta", "health"),
    [
        (0, 1_250_000_000_000_000_000),
        (-2 * 10**18, 1_000_000_000_000_000_000),
        (-2 * 10**18 - 1, 999_999_999_941_860_465),  # one raw USDC less: 17,199.999999 over 17,200, floored
        (2 * 10**18, 1_500_000_000_000_000_000),
        (-10 * 10**18, 0),
    ],
)
def test_collateral_that_leaves_or_arrives(delta: int, health: int) -> None:
    assert a_margin().risk({COLLATERAL: delta}).health_factor == health


def test_more_than_there_is_cannot_leave() -> None:
    with pytest.raises(ValueError, match="1 raw units more than there are"):
        a_margin().risk({COLLATERAL: -10 * 10**18 - 1})


def test_another_token_can_neither_leave_nor_arrive() -> None:
    with pytest.raises(ValueError, match=OTHER):
        a_margin().risk({OTHER: 1})


@pytest.mark.parametrize(
    ("fall_bps", "health"),
    [
        (0, 1_250_000_000_000_000_000),
        (1_000, 1_125_000_000_000_000_000),
        (2_000, 1_000_000_000_000_000_000),
        (2_001, 999_875_000_000_000_000),
        (-1_000, 1_375_000_000_000_000_000),
    ],
)
def test_a_price_that_falls_or_rises(fall_bps: int, health: int) -> None:
    assert a_margin().risk(falls_bps={COLLATERAL: fall_bps}).health_factor == health


def test_the_fall_of_another_token_changes_nothing() -> None:
    assert a_margin().risk(falls_bps={OTHER: 5_000}) == a_margin().risk()


@pytest.mark.parametrize(
    ("repaid_raw", "debt_raw"),
    [
        (0, 17_200_000_000),
        (1, 17_199_999_999),
        (1_720 * 10**6, 15_480_000_000),
        # To the last share: nothing is owed, and a debt without shares asks for no price.
        (17_200 * 10**6, 0),
    ],
)
def test_a_repayment_takes_its_amount_off_the_debt(repaid_raw: int, debt_raw: int) -> None:
    risk = a_margin().risk(repaid={LOAN: repaid_raw})
    assert risk.debt_value == debt_raw * 10**12


def test_no_more_is_repaid_than_is_owed_and_only_in_the_token_that_is_owed() -> None:
    with pytest.raises(ValueError, match="more than what is owed"):
        a_margin().risk(repaid={LOAN: 17_200 * 10**6 + 2})
    with pytest.raises(ValueError, match="loans are of"):
        a_margin().risk(repaid={COLLATERAL: 1})


# Interest -------------------------------------------------------------------------------------------------------------


def test_debt_grows_to_the_horizon_at_the_rate_seen() -> None:
    # 10^-9 a second for 1000 s: 10^-6 of 10^12 lent is 10^6, and the square term adds 0.5 to be rounded up.
    margin = a_margin(rate=10**9)
    assert margin.risk(horizon=Horizon(0)).debt_value == 17_200 * 10**18
    assert margin.borrowed_raw(Horizon(1_000)) == 17_200_017_201


def test_debt_grows_by_the_configured_margin_where_no_rate_was_seen() -> None:
    # 31.536 % a year is 10^-8 a second: 10^-6 in 100 s.
    horizon = Horizon(100, 31_536 * 10**13)
    assert a_margin().borrowed_raw(horizon) == 17_200_017_201


def test_the_rate_and_its_margin_add_up() -> None:
    both = a_margin(rate=10**9).borrowed_raw(Horizon(100, 31_536 * 10**13))
    assert both == 17_200_018_921


@pytest.mark.parametrize(
    ("before", "after", "elapsed", "rate"),
    [
        (10**12, 10**12 + 999, 10, 100_000_000),  # (999 + 1) * 10^18 / (10^12 * 10)
        (10**12, 10**12 + 1_000, 10, 100_100_000),
        (3, 4, 7, 95_238_095_238_095_239),  # 2 * 10^18 / 21, rounded up
        (10**12, 10**12, 10, 100_000),  # less than one raw unit, which is all that is known
        (0, 0, 10, 0),
        (10**12, 10**12 + 5, 0, 0),
    ],
)
def test_the_rate_is_what_the_accrual_showed(before: int, after: int, elapsed: int, rate: int) -> None:
    assert rate_seen(before, after, elapsed) == rate


def taylor_of_the_contract(rate: int, seconds: int) -> int:
    first = rate * seconds
    second = floor(Fraction(first * first, 2 * 10**18))
    return first + second + floor(Fraction(second * first, 3 * 10**18))


@given(
    total=st.integers(10**6, 2**100),
    rate=st.integers(0, 10 * WAD // YEAR),
    before=st.integers(1, 7 * 86_400),
    later=st.integers(1, 86_400),
    shares=st.integers(1, 2**80),
)
def test_debt_at_inclusion_is_never_more_than_foretold(
    total: int, rate: int, before: int, later: int, shares: int
) -> None:
    """The chain accrues once from the last update; we saw the accrual to the pinned block and extend it from there."""
    accrued = total + floor(Fraction(total * taylor_of_the_contract(rate, before), 10**18))
    at_inclusion = total + floor(Fraction(total * taylor_of_the_contract(rate, before + later), 10**18))
    total_shares = max(shares, 2**60)
    margin = a_margin(
        borrow_shares=shares,
        total_borrow_assets=accrued,
        total_borrow_shares=total_shares,
        rate=rate_seen(total, accrued, before),
    )
    owed = ceil(Fraction(shares, total_shares + 10**6) * (at_inclusion + 1))
    assert margin.borrowed_raw(Horizon(later)) >= owed


@given(st.integers(0, WAD // YEAR * 10), st.integers(0, 10 * 86_400))
def test_compounding_rounds_up_by_no_more_than_its_three_terms(rate: int, seconds: int) -> None:
    assert 0 <= taylor_compounded_up(rate, seconds) - taylor_of_the_contract(rate, seconds) <= 3


# Liquidation ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lltv_percent", "bps"),
    [
        ("98", 61),  # 1 / (1 - 0.3 * 0.02) = 1.00603… → 60.4 bp, rounded up
        ("94.5", 168),
        ("91.5", 262),
        ("86", 439),
        ("77", 742),
        ("62.5", 1_268),
        ("38.5", 1_500),  # capped at 15 %
    ],
)
def test_the_penalty_follows_from_the_lltv(lltv_percent: str, bps: int) -> None:
    assert penalty_bps(int(Fraction(lltv_percent) * 10**16)) == bps

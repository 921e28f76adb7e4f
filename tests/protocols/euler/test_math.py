"""Euler's arithmetic by hand: shares, ramps, quotes, and the two edges at which C equals L."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.risk import Risk
from keeper.core.snapshot import Horizon
from keeper.core.units import INFINITE_HEALTH, WAD, YEAR_SECONDS
from keeper.protocols.euler.math import (
    INTEREST_RATE_MAX,
    PROBE,
    RAY,
    EulerMargin,
    Exchange,
    Holding,
    Ltv,
    Owed,
    Price,
    Sides,
    account,
    agrees,
    penalty_bps,
    quote,
)
from tests.protocols.fakes import address

WETH, USDC, WSTETH = address(1), address(2), address(3)
E_WETH, E_WSTETH, E_USDC = address(11), address(13), address(12)
EVEN = Exchange(10**24, 10**24)
"""A share is worth one unit."""
LTV = Ltv(8_000, 8_500, 0, 1, 0)
NOW = 1_000


def a_price(mid: int, bid: int | None = None, ask: int | None = None) -> Price:
    """Raw units of the unit of account for one raw unit."""
    return Price((mid * PROBE,), ((mid if bid is None else bid) * PROBE,), ((mid if ask is None else ask) * PROBE,))


TEN, ONE = a_price(10), a_price(1)


def a_holding(
    shares: int = 100, price: Price | None = TEN, ltv: Ltv | None = LTV, exchange: Exchange = EVEN
) -> Holding:
    return Holding(E_WETH, WETH, WETH, shares, exchange, ltv, price)


def another(shares: int = 100, price: Price | None = TEN, ltv: Ltv | None = LTV) -> Holding:
    return Holding(E_WSTETH, WSTETH, WSTETH, shares, EVEN, ltv, price)


def an_account(*holdings: Holding, owed: int = 500, price: Price | None = ONE, rate: int = 0) -> EulerMargin:
    """100 shares worth 1,000 (800 to borrow on, 850 at liquidation), if not said otherwise, that owe 500."""
    return EulerMargin(holdings or (a_holding(),), Owed(USDC, owed, rate, price) if owed else None, NOW)


# Shares ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("assets", "shares", "amount", "worth", "deposited", "withdrawn"),
    [
        (0, 0, 7, 7, 7, 7),  # the virtual deposit makes an empty vault even
        (1_000_000, 0, 7, 14, 3, 4),
        (2_000_000, 1_000_000, 7, 10, 4, 5),
        (1_000_000, 2_000_000, 7, 4, 10, 11),
    ],
)
def test_shares_and_assets_by_the_virtual_deposit(
    assets: int, shares: int, amount: int, worth: int, deposited: int, withdrawn: int
) -> None:
    exchange = Exchange(assets, shares)
    assert exchange.assets_down(amount) == worth
    assert exchange.shares_down(amount) == deposited
    assert exchange.shares_up(amount) == withdrawn


amounts = st.integers(0, 2**100)


@given(amounts, amounts, amounts)
def test_whoever_goes_in_and_out_never_gains(assets: int, shares: int, amount: int) -> None:
    exchange = Exchange(assets, shares)
    assert exchange.assets_down(exchange.shares_down(amount)) <= amount
    assert exchange.shares_up(exchange.assets_down(amount)) <= amount
    assert 0 <= exchange.shares_up(amount) - exchange.shares_down(amount) <= 1


# Quotes and LTVs ------------------------------------------------------------------------------------------------------


def test_each_adapter_floors() -> None:
    """10 by 0.35 is 3, and 3 by 7 is 21; at once it would be 24."""
    assert quote(10, (35 * PROBE // 100, 7 * PROBE)) == 21
    assert quote(10, ()) == 10


@pytest.mark.parametrize(
    ("timestamp", "ltv"),
    [(1_000, 8_500), (1_001, 8_495), (1_050, 8_250), (1_099, 8_005), (1_100, 8_000), (2_000, 8_000)],
)
def test_a_lowered_liquidation_ltv_comes_down_in_a_line(timestamp: int, ltv: int) -> None:
    """From 85 to 80 % between 1,000 and 1,100."""
    ramp = Ltv(7_500, 8_000, 8_500, 1_100, 100)
    assert ramp.liquidation(timestamp) == ltv


@pytest.mark.parametrize("initial", [0, 8_000, 7_000])
def test_a_raised_liquidation_ltv_holds_at_once(initial: int) -> None:
    assert Ltv(7_500, 8_000, initial, 1_100, 100).liquidation(1_000) == 8_000


def test_a_ramp_longer_than_it_says_is_no_ramp_beyond_its_start() -> None:
    assert Ltv(7_500, 8_000, 8_500, 2_000, 0).liquidation(1_000) == 8_500


@pytest.mark.parametrize(("discount", "penalty"), [(0, 0), (1_500, 1_765), (2_000, 2_500), (1, 2)])
def test_a_discount_is_more_of_the_debt_than_of_the_collateral(discount: int, penalty: int) -> None:
    assert penalty_bps(discount) == penalty


def test_a_sub_account_differs_from_its_owner_in_the_last_byte() -> None:
    owner = address(0xA11CE)
    assert account(owner, 0) == owner
    assert account(owner, 3) == address(0xA11CD)
    assert account(owner, 255) == address(0xA1131)


# The margin -----------------------------------------------------------------------------------------------------------


def test_values_at_both_requirements() -> None:
    assert an_account().risk() == Risk(850, 500, 800, 501)


def test_collateral_goes_by_bid_and_debt_by_ask_where_something_is_to_leave() -> None:
    margin = an_account(a_holding(price=a_price(10, bid=9)), price=a_price(2, ask=3))
    assert margin.risk() == Risk(850, 1_000, 720, 1_501)


def test_each_collateral_is_floored_at_its_ltv() -> None:
    margin = an_account(a_holding(7, a_price(1)), another(7, a_price(1)))
    assert margin.own() == Sides(10, 500, 10, 500)  # 5.95 and 5.6, twice


@pytest.mark.parametrize(
    ("owed", "is_liquidatable", "health"),
    [
        (849, False, 1_001_177_856_301_531_213),
        (850, True, 998_824_911_868_390_129),  # of one more: the contract says 1.0 and liquidates
        (851, True, 998_824_911_868_390_129),
    ],
)
def test_equality_at_the_liquidation_ltv_is_liquidatable(owed: int, is_liquidatable: bool, health: int) -> None:
    risk = an_account(owed=owed).risk()
    assert risk.is_liquidatable is is_liquidatable
    assert risk.health_factor == health
    assert risk.is_at_least(WAD) is not is_liquidatable


def test_at_equality_health_is_off_by_a_wei_in_values_of_the_usual_size() -> None:
    margin = an_account(a_holding(100 * WAD), owed=850 * WAD)
    assert margin.risk().health_factor == WAD - 1


@pytest.mark.parametrize(("owed", "lets_leave"), [(799, True), (800, False), (801, False)])
def test_equality_at_the_borrow_ltv_lets_nothing_leave(owed: int, lets_leave: bool) -> None:
    margin = an_account(owed=owed)
    assert margin.risk().lets_collateral_leave is lets_leave
    assert margin.lets_shares_leave(E_WETH, 0) is lets_leave


def test_values_are_scaled_and_the_edges_stay_one_unit_wide() -> None:
    margin = replace(an_account(owed=800), value_scale=10**12)
    assert margin.risk() == Risk(850 * 10**12, 800 * 10**12, 800 * 10**12, 800 * 10**12 + 1)
    assert not margin.risk().lets_collateral_leave


def test_without_debt_nothing_is_liquidatable_and_everything_may_leave() -> None:
    risk = an_account(owed=0).risk({WETH: -100})
    assert risk == Risk(0, 0, 0, 0)
    assert risk.health_factor == INFINITE_HEALTH
    assert risk.lets_collateral_leave


def test_a_debt_without_a_price_is_never_healthy() -> None:
    risk = an_account(price=None).risk()
    assert risk.health_factor == 0
    assert risk.is_liquidatable
    assert not risk.lets_collateral_leave


def test_a_debt_too_small_to_have_a_value_still_forbids_to_leave_bare() -> None:
    """The contract asks for C > 0 then: LiquidityUtils.checkLiquidity passes only without any debt."""
    dust = Price((PROBE // 10,), (PROBE // 10,), (PROBE // 10,))
    margin = an_account(owed=9, price=dust)
    assert not margin.risk().is_liquidatable
    assert margin.risk({WETH: -99}).lets_collateral_leave
    assert not margin.risk({WETH: -100}).lets_collateral_leave
    assert not margin.lets_shares_leave(E_WETH, 100)


# Changes --------------------------------------------------------------------------------------------------------------


def test_what_leaves_burns_shares_rounded_up_and_what_arrives_mints_them_rounded_down() -> None:
    """A share is worth two: 3 units out are 2 shares, 3 units in are 1."""
    margin = an_account(a_holding(exchange=Exchange(3 * 10**6, 10**6)), owed=0)
    assert margin.risk().initial_collateral_value == 1_600
    assert margin.risk({WETH: -3}).initial_collateral_value == 1_568
    assert margin.risk({WETH: 3}).initial_collateral_value == 1_616


def test_more_than_there_is_cannot_leave() -> None:
    an_account(owed=0).risk({WETH: -100})
    with pytest.raises(ValueError, match="1 shares more than there are"):
        an_account(owed=0).risk({WETH: -101})
    with pytest.raises(ValueError, match=f"no shares of a vault of {USDC}"):
        an_account().risk({USDC: 1})


def test_repaying_lessens_the_debt_down_to_nothing() -> None:
    margin = an_account()
    assert margin.risk(repaid={USDC: 100}) == Risk(850, 400, 800, 401)
    assert margin.risk(repaid={USDC: 500}) == Risk(850, 0, 800, 0)
    for amount, token in ((501, USDC), (-1, USDC), (1, WETH)):
        with pytest.raises(ValueError, match=r"repaid|owes no"):
            margin.risk(repaid={token: amount})


def test_interest_is_repaid_with_the_rest() -> None:
    margin = an_account(rate=RAY // 1_000)
    assert margin.risk(horizon=Horizon(1), repaid={USDC: 501}).debt_value == 0
    with pytest.raises(ValueError, match="502 raw units cannot be repaid of 501"):
        margin.risk(horizon=Horizon(1), repaid={USDC: 502})


def test_prices_fall_on_the_side_on_which_the_token_is() -> None:
    margin = an_account()
    assert margin.risk(falls_bps={WETH: 1_000}) == Risk(765, 500, 720, 501)
    assert margin.risk(falls_bps={USDC: 1_000}) == Risk(850, 450, 800, 451)
    assert margin.risk(falls_bps={WETH: -1_000}) == Risk(935, 500, 880, 501)
    assert margin.risk(falls_bps={WSTETH: 1_000}) == margin.risk()


def test_a_fall_rounds_collateral_down_and_debt_up() -> None:
    margin = an_account(a_holding(1, a_price(999)), owed=999)
    assert margin.risk(falls_bps={WETH: 5_000}).collateral_value == 424  # 499 at 85 %
    assert margin.risk(falls_bps={USDC: 5_000}).debt_value == 500


def test_a_debt_in_the_unit_of_account_never_falls() -> None:
    unit = Price((), (), ())
    assert an_account(price=unit).risk(falls_bps={USDC: 5_000}).debt_value == 500
    in_unit = an_account(a_holding(1_000, unit))
    assert in_unit.risk(falls_bps={WETH: 1_000}).collateral_value == 765  # whoever says so means against the debt
    assert in_unit.risk(falls_bps={WETH: -1_000}).collateral_value == 850


def test_the_ltv_is_the_one_at_inclusion() -> None:
    ramp = Ltv(8_000, 8_000, 8_500, NOW + 100, 100)
    margin = an_account(a_holding(1_000, ltv=ramp))
    assert margin.risk().collateral_value == 8_500
    assert margin.risk(horizon=Horizon(50)).collateral_value == 8_250
    assert margin.risk(horizon=Horizon(100)).collateral_value == 8_000


@given(st.integers(1, 10**15), st.integers(0, INTEREST_RATE_MAX), st.integers(1, 60), st.integers(0, WAD))
def test_interest_is_a_bound_and_a_close_one(owed: int, rate: int, seconds: int, margin: int) -> None:
    grown = Owed(USDC, owed, rate, None).at(Horizon(seconds, margin))
    a_second = 1 + Fraction(rate, RAY) + Fraction(margin, WAD * YEAR_SECONDS)
    assert owed * a_second**seconds <= grown <= owed * (a_second + Fraction(2, RAY)) ** seconds + 1


# What the vault said itself -------------------------------------------------------------------------------------------


def test_what_the_vault_said_holds_until_something_changes() -> None:
    margin = replace(an_account(), reported=Sides(849, 501, 799, 501))
    assert margin.risk() == Risk(849, 501, 799, 502)
    assert margin.risk({WETH: 0}) == margin.risk()


def test_what_changes_keeps_the_proportion_and_gives_up_a_little() -> None:
    margin = replace(
        an_account(a_holding(10**9), owed=10**9), reported=Sides(8_499_999_990, 10**9 + 10, 8 * 10**9 - 10, 10**9 + 10)
    )
    half = margin.risk({WETH: -5 * 10**8})
    assert half.collateral_value == 4_249_991_495  # 4,249,999,995 less 8,499 and 1
    assert half.debt_value == 10**9 + 10
    repaid = margin.risk(repaid={USDC: 5 * 10**8})
    assert repaid.debt_value == 500_001_006  # 500,000,005 and 1,000 and 1
    assert margin.risk(repaid={USDC: 10**9}).debt_value == 0
    assert margin.risk({WETH: -(10**9)}).collateral_value == 0


@pytest.mark.parametrize(("off", "agree"), [(0, True), (101, True), (102, False), (-101, True), (-102, False)])
def test_a_millionth_and_a_unit_are_rounding_and_more_is_not(off: int, agree: bool) -> None:
    theirs = Sides(10**8, 10**8, 10**8, 10**8)
    assert agrees(Sides(10**8 + off, 10**8, 10**8, 10**8), theirs) is agree
    assert agrees(Sides(10**8, 10**8, 10**8, 10**8 + off), theirs) is agree


# The status check -----------------------------------------------------------------------------------------------------


def test_the_check_stops_at_the_first_collateral_that_covers_the_debt() -> None:
    margin = an_account(a_holding(), another(price=None))
    assert margin.largest_leaving(E_WETH) == 37  # 63 shares are 504 at the borrow LTV, 62 are 496
    assert margin.lets_shares_leave(E_WETH, 37)
    assert not margin.lets_shares_leave(E_WETH, 38)
    assert margin.largest_leaving(E_WSTETH) == 100


def test_a_check_that_comes_to_a_collateral_without_a_price_fails() -> None:
    margin = an_account(another(price=None), a_holding())
    assert not margin.lets_shares_leave(E_WETH, 0)
    assert margin.lets_shares_leave(E_WSTETH, 100)  # an empty balance is not asked for


def test_a_collateral_without_a_borrow_ltv_may_leave_whole_if_the_others_cover_the_debt() -> None:
    zero = Ltv(0, 8_500, 0, 1, 0)
    assert an_account(a_holding(), another(ltv=zero, price=None)).largest_leaving(E_WSTETH) == 100
    assert an_account(a_holding(), another(ltv=zero), owed=800).largest_leaving(E_WSTETH) == 0


def test_shares_that_do_not_count_leave_only_from_an_account_that_passes() -> None:
    assert an_account(a_holding(), another(ltv=None), owed=799).largest_leaving(E_WSTETH) == 100
    assert not an_account(a_holding(), another(ltv=None), owed=800).lets_shares_leave(E_WSTETH, 0)


def test_more_shares_than_there_are_never_leave() -> None:
    margin = an_account(owed=0)
    assert margin.lets_shares_leave(E_WETH, 100)
    assert not margin.lets_shares_leave(E_WETH, 101)
    assert not margin.lets_shares_leave(E_USDC, 0)


@given(
    st.integers(0, 10**12),
    st.integers(0, 10**12),
    st.integers(0, 10**12),
    st.integers(0, 10_000),
    st.integers(1, 10**6),
    st.integers(1, 10**13),
)
def test_units_of_the_underlying_and_shares_agree_on_what_may_leave(
    assets: int, total: int, shares: int, borrow: int, price: int, owed: int
) -> None:
    """What passes as shares passes as the assets they are worth, and one unit more takes a share more."""
    exchange = Exchange(assets, total)
    margin = an_account(a_holding(shares, a_price(price), Ltv(borrow, 10_000, 0, 1, 0), exchange), owed=owed)
    largest = margin.largest_leaving(E_WETH)
    if not margin.lets_shares_leave(E_WETH, 0):
        assert largest == 0
        assert not margin.risk().lets_collateral_leave
        return
    worth = exchange.assets_down(largest)
    assert margin.risk({WETH: -worth}).lets_collateral_leave
    assert margin.moved({E_WETH: -largest}).risk().lets_collateral_leave
    if largest < shares:
        assert not margin.moved({E_WETH: -largest - 1}).risk().lets_collateral_leave
        if exchange.shares_up(worth + 1) <= shares:
            assert not margin.risk({WETH: -worth - 1}).lets_collateral_leave


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 10_000), st.integers(0, 100), st.integers(0, 500))
def test_nothing_that_weakens_an_account_makes_it_look_better(
    out: int, more: int, fall: int, seconds: int, repaid: int
) -> None:
    margin = an_account(a_holding(200), owed=500, rate=RAY // 100_000)
    out = min(out, 200)
    weaker, stronger = margin.risk({WETH: -out}, falls_bps={WETH: fall}), margin.risk()
    assert weaker.health_factor <= stronger.health_factor <= margin.risk({WETH: more}).health_factor
    assert margin.risk(horizon=Horizon(seconds)).health_factor <= stronger.health_factor
    assert margin.risk(repaid={USDC: repaid}).health_factor >= stronger.health_factor

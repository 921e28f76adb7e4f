"""The arithmetic of Venus's pools against rows whose numbers were worked out by hand, and what must hold of any."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.snapshot import Horizon
from keeper.core.units import INFINITE_HEALTH, WAD, Address
from keeper.protocols.venus.math import Holding, VenusMargin

WETH, USDC = Address("0x" + "e1" * 20), Address("0x" + "e2" * 20)
YEAR = 31_536_000
GRAIN = 10**10
"""What the smallest part of a vToken of WETH is worth at first, raw."""


def weth(
    tokens: int = 10 * 10**8, *, rate: int = GRAIN * WAD, price: int = 2_500, is_entered: bool = True
) -> Holding:  # fmt: skip
    """10 vTokens of one WETH each; 80 % count for who borrows, 85 % for who may be liquidated."""
    return Holding(
        WETH, tokens, rate, 0, 0, YEAR, price * WAD, 80 * 10**16, 85 * 10**16, is_entered
    )  # fmt: skip


def usdc(owed: int = 17_000 * 10**6, *, rate: int = 0, slots: int = YEAR, tokens: int = 0) -> Holding:
    return Holding(USDC, tokens, 10**16, owed, rate, slots, 10**30, 80 * 10**16, 84 * 10**16, True)


def a_margin(*holdings: Holding) -> VenusMargin:
    """10 WETH at 2,500 USD, of which 85 % count, against 17,000 USDC."""
    return VenusMargin(holdings or (weth(), usdc()))


# At the block ---------------------------------------------------------------------------------------------------------


def test_health_is_what_counts_over_what_is_owed() -> None:
    risk = a_margin().risk()
    assert (risk.collateral_value, risk.debt_value) == (21_250 * WAD, 17_000 * WAD)
    assert (risk.initial_collateral_value, risk.initial_debt_value) == (20_000 * WAD, 17_000 * WAD)
    assert risk.health_factor == 1_250_000_000_000_000_000
    assert a_margin().liquidity() == (4_250 * WAD, 0)


@pytest.mark.parametrize(("owed", "is_liquidatable"), [(21_250, False), (21_251, True)])
def test_equality_is_not_liquidatable(owed: int, is_liquidatable: bool) -> None:
    assert a_margin(weth(), usdc(owed * 10**6)).risk().is_liquidatable is is_liquidatable


def test_what_is_missing_is_said_where_it_is() -> None:
    assert a_margin(weth(), usdc(21_251 * 10**6)).liquidity() == (0, WAD)


def test_what_is_not_entered_does_not_count() -> None:
    risk = a_margin(weth(is_entered=False), usdc()).risk()
    assert (risk.collateral_value, risk.initial_collateral_value) == (0, 0)


def test_without_debt_health_has_no_end() -> None:
    assert a_margin(weth(), usdc(0)).risk().health_factor == INFINITE_HEALTH


# Changes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("amount", "tokens"), [(1, 1), (GRAIN, 1), (GRAIN + 1, 2)])
def test_what_leaves_takes_whole_parts_of_a_vtoken(amount: int, tokens: int) -> None:
    left = a_margin().risk({WETH: -amount})
    assert left.collateral_value == 21_250 * WAD - tokens * 21_250 * 10**9


@pytest.mark.parametrize(("amount", "tokens"), [(GRAIN - 1, 0), (GRAIN, 1), (2 * GRAIN - 1, 1)])
def test_what_arrives_brings_whole_parts_of_a_vtoken(amount: int, tokens: int) -> None:
    assert a_margin().risk({WETH: amount}).collateral_value == 21_250 * WAD + tokens * 21_250 * 10**9


@pytest.mark.parametrize(("amount", "may_leave"), [(15 * 10**17, True), (15 * 10**17 + 1, False), (2 * 10**18, False)])
def test_the_collateral_factors_say_what_may_leave(amount: int, may_leave: bool) -> None:
    """20,000 count of 10 WETH; 8.5 WETH cover 17,000."""
    assert a_margin().risk({WETH: -amount}).lets_collateral_leave is may_leave


def test_what_is_not_entered_leaves_whatever_the_health() -> None:
    margin = a_margin(weth(is_entered=False), usdc())
    assert not margin.risk().lets_collateral_leave
    assert margin.risk({WETH: -(10**18)}).lets_collateral_leave


def test_no_more_leaves_than_there_is() -> None:
    assert a_margin(weth(), usdc(0)).risk({WETH: -(10**19)}).collateral_value == 0
    with pytest.raises(ValueError, match="1 vTokens more than there are"):
        a_margin().risk({WETH: -(10**19) - 1})


def test_no_more_is_repaid_than_is_owed() -> None:
    assert a_margin().risk(repaid={USDC: 17_000 * 10**6}).debt_value == 0
    with pytest.raises(ValueError, match=r"1 raw units .* more than is owed"):
        a_margin().risk(repaid={USDC: 17_000 * 10**6 + 1})


def test_a_token_that_has_no_market_here_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to do with 0xother"):
        a_margin().risk({Address("0xother"): 1})


def test_prices_fall_on_both_sides() -> None:
    risk = a_margin(weth(), usdc(tokens=1_000 * 10**8)).risk(falls_bps={WETH: 1_000, USDC: 100})
    assert risk.debt_value == 16_830 * WAD
    assert risk.collateral_value == (19_125 * 1_000 + 8_316 * 100) * WAD // 1_000


# Later ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slots", "seconds", "owed"),
    [
        (YEAR, 100, 1_000_000_000 + 1 + 1_001),  # 100 slots of 10^-8 each, rounded up, and one for what was rounded
        (2_628_000, 120, 1_000_000_000 + 1 + 111),  # ten blocks and one more
        (2_628_000, 1, 1_000_000_000 + 1 + 21),
    ],
)
def test_a_debt_grows_by_the_slot(slots: int, seconds: int, owed: int) -> None:
    holding = usdc(10**9, rate=10**10, slots=slots)
    assert holding.owed_at(Horizon(seconds)) == owed


def test_a_margin_on_the_rate_counts_by_the_year() -> None:
    assert usdc(10**9).owed_at(Horizon(YEAR, WAD // 10)) == 1_100_000_002
    assert usdc(0).owed_at(Horizon(YEAR, WAD // 10)) == 0


@given(
    tokens=st.integers(0, 10**12),
    rate=st.integers(10**24, 10**30),
    amount=st.integers(1, 10**24),
)
def test_what_the_guard_takes_is_worth_the_amount_and_less_than_a_part_more(
    tokens: int, rate: int, amount: int
) -> None:  # fmt: skip
    holding = weth(tokens, rate=rate)
    taken = holding.tokens_up(amount)
    assert holding.worth_raw(taken) >= amount
    assert holding.worth_raw(taken) < amount + holding.grain_raw
    assert holding.worth_raw(holding.tokens_down(amount)) <= amount
    assert holding.tokens_up(holding.held_raw) <= tokens  # all that there is can be taken

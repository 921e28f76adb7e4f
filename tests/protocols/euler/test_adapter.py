"""The adapter on hand-made states; what it makes of recorded ones is in `test_euler_recorded`."""

import re
from collections.abc import Callable

import pytest
from eth_abi.abi import encode

from keeper.core.snapshot import (
    Debt,
    Fresh,
    FreshnessUnverified,
    Horizon,
    Reading,
    Stale,
    Strike,
    Subaccount,
    SubaccountId,
    Token,
    Unknown,
)
from keeper.core.units import INFINITE_HEALTH
from keeper.protocols.base import CallResult
from keeper.protocols.euler.math import PROBE
from tests.protocols.euler.fakes import (
    E_USDC,
    E_WETH,
    EVC,
    FRESH_FEEDS,
    NO_LIABILITY,
    NOT_CONTROLLER,
    OF_EVC,
    OF_ORACLE,
    OF_VAULT,
    ROUTER,
    SUB_0,
    SUB_3,
    USD,
    WAD,
    an_euler_chain,
    found,
    read,
    set_collaterals,
    set_controllers,
    set_debt,
    set_liquidity,
    set_ltv,
    set_quote,
    set_totals,
)
from tests.protocols.fakes import ETH_FEED, NOW, USDC, USDC_FEED, WETH, FakeChain, address

ID_0, ID_3 = SubaccountId("euler", "0"), SubaccountId("euler", "3")
OF_WETH, OF_USDC = Token(WETH, "WETH", 18), Token(USDC, "USDC", 6)
KEY_3 = "0x" + "3".zfill(64)
SECOND = address(0xE4E3)
FOUND_LATER = "which it did not have when the keeper started; the daemon finds out anew within a minute or two"


def is_never_healthy(subaccount: Subaccount) -> bool:
    risk = subaccount.margin.risk()
    return risk.health_factor == 0 and risk.is_liquidatable and subaccount.has_debt


# Reading --------------------------------------------------------------------------------------------------------------


def test_an_account_with_debt_is_read_to_the_wei() -> None:
    one = read(an_euler_chain())
    (line,) = one.collateral
    assert (one.id, one.label, one.holder) == (ID_3, "euler 3 WETH/USDC", SUB_3)
    assert (line.token, line.amount_raw, line.movable_raw_max) == (OF_WETH, 11 * WAD, 11 * WAD)
    assert line.receivable_raw_max == 2**112 - 1 - 11 * WAD
    assert (line.price, line.maintenance_weight, line.initial_weight) == (2_500 * WAD, 2_125 * WAD, 2_000 * WAD)
    assert one.debts == (Debt(OF_USDC, 20_000 * 10**6, WAD + 1, E_USDC),)
    assert one.margin.risk().health_factor == 1_168_750_000_000_000_000
    assert one.margin.risk().initial_free_collateral == 2_000 * WAD - 1
    assert (one.penalty_bps, one.strike) == (1_765, Strike(least_bps=100))
    assert one.unit == Token(USD, "USD", 18)
    assert one.feeds == (ETH_FEED, USDC_FEED)
    assert (one.reading, one.cannot_give, one.notes) == (Fresh(), None, ())


def test_an_account_without_debt_needs_neither_price_nor_its_age() -> None:
    chain = an_euler_chain()
    chain.revert(ROUTER, OF_ORACLE["getQuote"], PROBE, WETH, USD)
    one = read(chain, 0, feeds={ETH_FEED: Unknown("broken"), USDC_FEED: Stale("old")})
    assert one.reading == Fresh()
    assert one.debts == ()
    assert one.margin.risk().health_factor == INFINITE_HEALTH
    assert one.collateral[0].movable_raw_max == 5_500_000_000_000_000_000
    assert one.cannot_give is None
    assert one.unit is None


def test_bid_and_ask_judge_what_leaves_and_mid_who_is_liquidated() -> None:
    chain = an_euler_chain()
    set_quote(chain, ROUTER, WETH, USD, 2_500 * PROBE, (2_400 * PROBE, 2_600 * PROBE))
    set_quote(chain, ROUTER, USDC, USD, PROBE * 10**12, (99 * PROBE * 10**10, 101 * PROBE * 10**10))
    set_liquidity(chain, SUB_3, (23_375 * WAD, 20_000 * WAD), (21_120 * WAD, 20_200 * WAD))
    risk = read(chain).margin.risk()
    assert (risk.collateral_value, risk.debt_value) == (23_375 * WAD, 20_000 * WAD)
    assert (risk.initial_collateral_value, risk.initial_debt_value) == (21_120 * WAD, 20_200 * WAD + 1)


def test_the_rate_of_the_block_runs_on_to_inclusion() -> None:
    chain = an_euler_chain()
    chain.answer(E_USDC, OF_VAULT["interestRate"], returns=[10**18])  # a billionth a second
    assert read(chain).margin.risk(horizon=Horizon(100)).debt_value == 20_000_002_001 * 10**12


def test_a_liquidation_ltv_that_comes_down_is_what_it_is_now() -> None:
    """From 85 to 80 % in 100 seconds, 40 of them left: 82 %."""
    chain = an_euler_chain()
    set_ltv(chain, E_USDC, E_WETH, 8_000, 8_000, 8_500, NOW + 40, 100)
    set_liquidity(chain, SUB_3, (22_550 * WAD, 20_000 * WAD), (22_000 * WAD, 20_000 * WAD))
    margin = read(chain).margin
    assert margin.risk().collateral_value == 22_550 * WAD
    assert margin.risk(horizon=Horizon(20)).collateral_value == 22_275 * WAD
    assert margin.risk(horizon=Horizon(40)).collateral_value == 22_000 * WAD


def test_an_oracle_that_rounds_in_its_own_way_gives_bounds() -> None:
    """The vault says a wei less than we do: that is its health, and a change gives up a millionth."""
    chain = an_euler_chain()
    set_liquidity(chain, SUB_3, (23_375 * WAD - 1, 20_000 * WAD), (22_000 * WAD, 20_000 * WAD))
    one = read(chain)
    assert one.margin.risk().collateral_value == 23_375 * WAD - 1
    assert "an oracle rounds in its own way: what a change would do is a bound, not exact" in one.notes
    after = one.margin.risk({WETH: -WAD}).collateral_value
    assert 21_250 * WAD * (1 - 2e-6) < after < 21_250 * WAD


@pytest.mark.parametrize("liquidity", [(23_374 * WAD, 20_000 * WAD), (23_375 * WAD, 20_001 * WAD)])
def test_a_vault_that_says_something_else_altogether_is_not_understood(liquidity: tuple[int, int]) -> None:
    chain = an_euler_chain()
    set_liquidity(chain, SUB_3, liquidity, (22_000 * WAD, 20_000 * WAD))
    one = read(chain)
    assert isinstance(one.reading, Unknown)
    assert "eUSDC values euler 3 WETH/USDC in a way that is not understood" in one.reading.reason
    assert is_never_healthy(one)


@pytest.mark.parametrize(
    ("eth", "usdc", "reading"),
    [
        (Fresh(), Fresh(), Fresh()),
        (Fresh(), FreshnessUnverified("no heartbeat"), FreshnessUnverified("no heartbeat")),
        (Stale("old"), FreshnessUnverified("no heartbeat"), Stale("old")),
        (Stale("old"), Unknown("zero"), Unknown("zero")),
    ],
)
def test_an_account_with_debt_is_known_as_well_as_its_worst_feed(eth: Reading, usdc: Reading, reading: Reading) -> None:
    assert read(an_euler_chain(), feeds={ETH_FEED: eth, USDC_FEED: usdc}).reading == reading


# What cannot be read --------------------------------------------------------------------------------------------------


def unlisted_collateral(chain: FakeChain) -> None:
    chain.revert(EVC, OF_EVC["getCollaterals"], SUB_3)


def cut_list(chain: FakeChain) -> None:
    data = OF_EVC["getControllers"].encode(SUB_3)
    chain.answer_raw(EVC, data, CallResult(True, encode(["address[]"], [[E_USDC]])[:-1]))


def unread_balance(chain: FakeChain) -> None:
    chain.revert(E_WETH, OF_VAULT["balanceOf"], SUB_3)


def unread_debt(chain: FakeChain) -> None:
    chain.answer_raw(E_USDC, OF_VAULT["debtOf"].encode(SUB_3), CallResult(True, b""))


def not_the_controller(chain: FakeChain) -> None:
    chain.revert(E_USDC, OF_VAULT["accountLiquidity"], SUB_3, True, data=NOT_CONTROLLER)


def no_liability_of_a_controlled_account(chain: FakeChain) -> None:
    chain.revert(E_USDC, OF_VAULT["accountLiquidity"], SUB_3, True, data=NO_LIABILITY)


def half_a_liquidity(chain: FakeChain) -> None:
    chain.answer_raw(E_USDC, OF_VAULT["accountLiquidity"].encode(SUB_3, False), CallResult(True, bytes(32)))


def a_debt_of_nothing_that_has_a_value(chain: FakeChain) -> None:
    set_debt(chain, SUB_3, 0)


def two_controllers(chain: FakeChain) -> None:
    set_controllers(chain, SUB_3, [E_USDC, E_WETH])


def another_controller(chain: FakeChain) -> None:
    set_controllers(chain, SUB_3, [address(0xBAD)])


def another_collateral(chain: FakeChain) -> None:
    set_collaterals(chain, SUB_3, [E_WETH, address(0xBAD)])


def reverting_price(chain: FakeChain) -> None:
    chain.revert(ROUTER, OF_ORACLE["getQuote"], PROBE, WETH, USD)


def price_of_zero(chain: FakeChain) -> None:
    set_quote(chain, ROUTER, USDC, USD, 0)


def bid_above_ask(chain: FakeChain) -> None:
    set_quote(chain, ROUTER, WETH, USD, 2_500, (2_501, 2_502))


def nonsense_totals(chain: FakeChain) -> None:
    set_totals(chain, E_WETH, 2**112, 1)


def nonsense_rate(chain: FakeChain) -> None:
    chain.answer(E_USDC, OF_VAULT["interestRate"], returns=[291_867_278_914_945_094_176])


def nonsense_ltv(chain: FakeChain) -> None:
    set_ltv(chain, E_USDC, E_WETH, 8_000, 10_001)


@pytest.mark.parametrize(
    ("breaks", "reason"),
    [
        (unlisted_collateral, "the collateral of euler 3 WETH/USDC cannot be read: stale"),
        (cut_list, "the controller of euler 3 WETH/USDC cannot be read: 95 bytes instead of a list"),
        (unread_balance, "the balance of eWETH cannot be read: stale"),
        (unread_debt, "the debt of euler 3 WETH/USDC to eUSDC cannot be read: 0 bytes instead of a number"),
        (not_the_controller, "eUSDC does not value euler 3 WETH/USDC: E_NotController()"),
        (no_liability_of_a_controlled_account, "eUSDC does not value euler 3 WETH/USDC: E_NoLiability()"),
        (half_a_liquidity, "eUSDC does not value euler 3 WETH/USDC: 32 bytes instead of two values"),
        (a_debt_of_nothing_that_has_a_value, "eUSDC values a debt of euler 3 WETH/USDC and says that there is none"),
        (two_controllers, "euler 3 WETH/USDC has 2 controllers at once"),
        (
            another_controller,
            f"euler 3 WETH/USDC has the controller 0x0000…0bad, {FOUND_LATER}",
        ),
        (
            another_collateral,
            f"euler 3 WETH/USDC has 0x0000…0bad as collateral, {FOUND_LATER}",
        ),
        (reverting_price, "the price of eWETH in eUSDC cannot be read from oracle 0x0000…0040: stale"),
        (price_of_zero, "the price of eUSDC in eUSDC cannot be read from oracle 0x0000…0040: it quotes zero"),
        (bid_above_ask, "the price of eWETH in eUSDC is nonsense: bid 2501, mid 2500, ask 2502"),
        (
            nonsense_totals,
            "what eWETH holds is answered as 5192296858534827628530496329220096, which is nonsense",
        ),
        (nonsense_rate, "the interest rate of eUSDC is answered as 291867278914945094176, which is nonsense"),
        (nonsense_ltv, "the LTV of eWETH in eUSDC cannot be read: 160 bytes instead of an LTV"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_what_cannot_be_read_is_named_and_never_healthy(breaks: Callable[[FakeChain], None], reason: str) -> None:
    chain = an_euler_chain()
    breaks(chain)
    one = read(chain)
    assert one.reading == Unknown(reason, is_outdated=reason.endswith(FOUND_LATER))
    assert one.cannot_give == reason
    assert is_never_healthy(one)
    assert one.debts[0].token == OF_USDC
    assert all(line.movable_raw_max == 0 for line in one.collateral)


@pytest.mark.parametrize(
    "breaks", [unlisted_collateral, cut_list, unread_balance, unread_debt, not_the_controller, two_controllers]
)
def test_what_goes_wrong_in_one_account_is_its_own_problem(breaks: Callable[[FakeChain], None]) -> None:
    chain = an_euler_chain()
    breaks(chain)
    assert read(chain, 0) == read(an_euler_chain(), 0)


@pytest.mark.parametrize(
    ("refusal", "words"),
    [(NOT_CONTROLLER, "E_NotController()"), (b"", "reverted without a reason"), (NO_LIABILITY[:3], "reverted with")],
)
def test_only_no_liability_says_that_nothing_is_owed(refusal: bytes, words: str) -> None:
    chain = an_euler_chain()
    chain.revert(E_USDC, OF_VAULT["accountLiquidity"], SUB_0, True, data=refusal)
    one = read(chain, 0)
    assert isinstance(one.reading, Unknown)
    assert one.reading.reason.startswith(
        "euler 0 WETH has no controller, but that it owes nothing is not said: eUSDC does not value euler 0 WETH: "
    )
    assert words in one.reading.reason
    assert is_never_healthy(one)


def test_nothing_at_all_is_answered_and_nothing_raises() -> None:
    one = read(FakeChain())
    assert is_never_healthy(one)
    assert one.collateral == ()


def test_a_balance_that_counts_for_nothing_may_be_missing() -> None:
    chain = an_euler_chain()
    chain.revert(E_USDC, OF_VAULT["balanceOf"], SUB_3)
    one = read(chain)
    assert one.reading == Fresh()
    assert one.unread == ("the balance of eUSDC cannot be read: stale",)
    assert one.margin.risk() == read(an_euler_chain()).margin.risk()


def test_a_debt_free_account_gives_what_can_be_read_of_it() -> None:
    chain = an_euler_chain()
    chain.revert(E_USDC, OF_VAULT["balanceOf"], SUB_0)
    one = read(chain, 0)
    assert one.reading == Fresh()
    assert one.unread == ("the balance of eUSDC cannot be read: stale",)
    assert one.collateral[0].movable_raw_max == 5_500_000_000_000_000_000


def test_where_each_number_comes_from() -> None:
    adapter = found(an_euler_chain())
    said = [(one.what, one.contract, one.function) for one in adapter.sources(ID_3)]
    assert ("debt to eUSDC", E_USDC, f"debtOf({SUB_3})") in said
    assert ("values at the liquidation LTV", E_USDC, f"accountLiquidity({SUB_3}, true)") in said
    assert ("LTVs of eWETH", E_USDC, f"LTVFull({E_WETH})") in said
    assert ("price", ROUTER, f"getQuotes(10^30, {WETH}, {USD})") in said
    assert not any("debt" in one.what for one in adapter.sources(ID_0))
    assert adapter.sources(SubaccountId("euler", "7")) == []


def test_the_list_of_calls_is_fixed() -> None:
    """2 for the owner, 6 for each vault, an LTV, 2 for each route; 3 for each account, 2 for each vault, 3 a lender."""
    adapter = found(an_euler_chain())
    assert len(adapter.read_calls()) == 2 + 12 + 1 + 4 + 2 * (3 + 4 + 3)
    assert len(found(an_euler_chain(), guard=None).read_calls()) == 2 + 12 + 1 + 4 + 2 * (3 + 2 + 3)
    assert adapter.read_calls() == adapter.read_calls()


def test_reasons_name_an_unknown_error_by_its_bytes() -> None:
    chain = an_euler_chain()
    chain.revert(E_USDC, OF_VAULT["accountLiquidity"], SUB_3, True, data=bytes.fromhex("deadbeef"))
    reading = read(chain, feeds=FRESH_FEEDS).reading
    assert isinstance(reading, Unknown)
    assert re.search("reverted with 0xdeadbeef$", reading.reason)

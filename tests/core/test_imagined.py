"""A snapshot after prices or collateral moved, and what an account could spare in it."""

from dataclasses import replace

import pytest

from keeper.core.disputes import disputes_in
from keeper.core.imagined import after_shock, after_transfers
from keeper.core.plan import History, Kind, Transfer
from keeper.core.planner import make_plan
from keeper.core.policy import PriceLimits
from keeper.core.snapshot import SecondPrice, Snapshot, Subaccount, SubaccountId, Unknown
from keeper.core.spare import spare_raw
from keeper.core.units import Address
from keeper.core.verdict import Healthy, Rescue, Unfunded
from tests.builders import DAI, USDC, WBTC, WETH, WSTETH, a_policy, a_snapshot, a_subaccount, a_wallet, raw, wad

A = SubaccountId("morpho", "a")


def health(snapshot: Snapshot) -> int:
    """Of the first subaccount, in basis points, rounded down."""
    return snapshot.subaccounts[0].margin.risk().health_factor // 10**14


# Shock ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 15_000),
        ({"WETH": -1200}, 13_200),
        ({"WETH": 1000}, 16_500),
        ({"WETH": -10_000}, 0),
        ({"USDC": -100}, 15_151),
        ({"WETH": -1000, "USDC": -1000}, 15_000),
        ({"WBTC": -5000}, 15_000),
    ],
)
def test_collateral_that_falls_and_debt_that_falls_weigh_against_each_other(
    changes: dict[str, int], expected: int
) -> None:
    snapshot = a_snapshot(a_subaccount("a", health="1.5"))
    assert health(after_shock(snapshot, changes)) == expected


def test_a_shock_on_both_sides_of_a_correlated_pair_changes_nothing() -> None:
    pair = a_subaccount("a", collateral={WSTETH: "10"}, debt_token=WETH, lltv="0.945", health="1.1")
    assert health(after_shock(a_snapshot(pair), {"wstETH": -3000, "WETH": -3000})) == 11_000


def test_a_shocked_account_is_tested_against_its_own_shock_on_top() -> None:
    """Down by 10 %, and by 10 % again: 19 % in all."""
    shocked = after_shock(a_snapshot(a_subaccount("a", health="1.5")), {"WETH": -1000})
    account = shocked.subaccounts[0]
    assert account.margin.risk(falls_bps={WETH.address: 1000}).health_factor // 10**14 == 12_150


def test_prices_for_people_and_in_dollars_move_along() -> None:
    shocked = after_shock(a_snapshot(a_subaccount("a", health="1.5")), {"WETH": -1000})
    assert shocked.usd_per_unit[WETH.address] == wad("1800")
    assert shocked.usd_per_unit[USDC.address] == wad("1")
    assert shocked.subaccounts[0].collateral[0].price == wad("1800")


@pytest.mark.parametrize(("native_symbol", "dollars"), [("WETH", "1800"), ("WBTC", "2000"), (None, "2000")])
def test_the_coin_that_pays_for_gas_falls_with_the_token_that_it_is_wrapped_into(
    native_symbol: str | None, dollars: str
) -> None:
    snapshot = replace(a_snapshot(a_subaccount("a", health="1.5")), native_symbol=native_symbol)
    assert after_shock(snapshot, {"WETH": -1000}).usd_per_native == wad(dollars)
    assert after_shock(replace(snapshot, usd_per_native=None), {"WETH": -1000}).usd_per_native is None


@pytest.mark.parametrize(
    ("quote", "changes", "price"),
    [
        (USDC.address, {"WETH": -5_000}, "1000"),
        (USDC.address, {"WETH": -5_000, "USDC": -2_000}, "1250"),
        (None, {"WETH": -5_000, "USDC": -2_000}, "1000"),
        (USDC.address, {"WBTC": -5_000}, "2000"),
    ],
)
def test_a_move_that_is_imagined_is_one_that_second_sources_see(
    quote: Address | None, changes: dict[str, int], price: str
) -> None:
    snapshot = a_snapshot(a_subaccount("a", health="1.5"))
    silent = SecondPrice(USDC, "a feed", None, None, "it is old")
    snapshot = replace(snapshot, second_prices=(SecondPrice(WETH, "the pool", quote, wad("2000")), silent))
    moved = after_shock(snapshot, changes)
    assert moved.second_prices == (SecondPrice(WETH, "the pool", quote, wad(price)), silent)
    assert disputes_in(moved, PriceLimits(), History()) == {}


def test_a_plan_can_be_made_of_it() -> None:
    book = (a_subaccount("a", health="1.3"), a_wallet())
    policy = a_policy(*book, min_benefit_multiple=0)
    snapshot = a_snapshot(*book)
    assert make_plan(snapshot, policy, History()).verdicts[A] == Healthy()
    assert make_plan(after_shock(snapshot, {"WETH": -1500}), policy, History()).verdicts[A] == Rescue()
    alone = a_snapshot(book[0])
    assert isinstance(make_plan(after_shock(alone, {"WETH": -1500}), policy, History()).verdicts[A], Unfunded)


# Transfers ------------------------------------------------------------------------------------------------------------


def a_transfer(donor: Subaccount, recipient: Subaccount, weth: str) -> Transfer:
    return Transfer(Kind.NATIVE, donor.id, recipient.id, WETH, raw(WETH, weth))


def test_transfers_change_both_ends_their_margins_and_the_caps() -> None:
    recipient, donor = a_subaccount("a", debt="10000"), a_subaccount("b", weth="20", receivable="5")
    after = after_transfers(
        a_snapshot(recipient, donor, caps={WETH: "7"}),
        [a_transfer(donor, recipient, "2"), a_transfer(donor, recipient, "3")],
    )
    assert [account.collateral[0].amount_raw for account in after.subaccounts] == [raw(WETH, "15"), raw(WETH, "15")]
    assert after.subaccounts[1].collateral[0].movable_raw_max == raw(WETH, "15")
    assert after.subaccounts[1].collateral[0].receivable_raw_max == raw(WETH, "10")
    # 15 WETH at 2000 count 25,800 against 10,000 of debt.
    assert health(after) == 25_800
    assert after.guard is not None
    assert after.guard.remaining_cap_raw == {WETH.address: raw(WETH, "2")}


def test_a_repayment_takes_off_the_debt_and_adds_no_collateral() -> None:
    """10 WETH count 17,200 against 10,000 of debt, of which 2,000 are repaid."""
    recipient, wallet = a_subaccount("a", debt="10000"), a_wallet(collateral={USDC: "3000"})
    repayment = Transfer(Kind.REPAY, wallet.id, recipient.id, USDC, raw(USDC, "2000"))
    after = after_transfers(a_snapshot(recipient, wallet, caps={USDC: "2500"}), [repayment])
    assert after.subaccounts[0].debts[0].amount_raw == raw(USDC, "8000")
    assert after.subaccounts[0].collateral == recipient.collateral
    assert after.subaccounts[0].margin.risk().health_factor == wad("2.15")
    assert after.subaccounts[1].collateral[0].amount_raw == raw(USDC, "1000")
    assert after.guard is not None
    assert after.guard.remaining_cap_raw == {USDC.address: raw(USDC, "500")}
    again = after_transfers(after, [repayment])
    assert again.subaccounts[0].margin.risk().health_factor == wad("2.866666666666666666")


def test_who_took_no_part_in_a_transfer_is_as_before() -> None:
    recipient, donor, other = a_subaccount("a"), a_subaccount("b"), a_subaccount("c", health="1.2")
    before = a_snapshot(recipient, donor, other)
    assert after_transfers(before, [a_transfer(donor, recipient, "1")]).subaccounts[2] is before.subaccounts[2]


def test_prices_move_on_top_of_transfers() -> None:
    """15 WETH at 1800 count 23,220; one more of them and a further fall of 10 %, 22,291.2."""
    recipient, donor = a_subaccount("a", debt="10000"), a_subaccount("b", weth="20")
    moved = after_transfers(a_snapshot(recipient, donor), [a_transfer(donor, recipient, "5")])
    after = after_shock(moved, {"WETH": -1000})
    assert health(after) == 23_220
    margin = after.subaccounts[0].margin
    assert margin.risk({WETH.address: raw(WETH, "1")}, falls_bps={WETH.address: 1000}).health_factor // 10**14 == 22_291


def test_more_than_there_is_cannot_have_moved() -> None:
    recipient, donor = a_subaccount("a", debt="10000"), a_subaccount("b", weth="20", debt="1")
    after = after_transfers(a_snapshot(recipient, donor), [a_transfer(donor, recipient, "5")])
    with pytest.raises(ValueError, match="than there is"):
        after.subaccounts[1].margin.risk({WETH.address: -raw(WETH, "15") - 1})


# Spare ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("keep", "expected"), [("1.0", "5"), ("1.6", "2"), ("2.0", "0"), ("2.1", "0")])
def test_a_spare_is_what_leaves_the_health_that_is_to_be_kept(keep: str, expected: str) -> None:
    """Ten WETH at health 2: half of them would leave it at the line."""
    account = a_subaccount("a", weth="10", debt="8600")
    assert spare_raw(account, WETH.address, wad(keep)) == raw(WETH, expected)


@pytest.mark.parametrize(
    ("account", "expected"),
    [
        (a_subaccount("a", weth="10"), "10"),
        (a_subaccount("a", weth="10", movable="3"), "3"),
        (a_subaccount("a", weth="10", debt="8600", movable="3"), "3"),
        (a_subaccount("a", weth="10", debt="8600", initial_lltv="0.43"), "0"),
        (a_subaccount("a", weth="10", cannot_give="not authorised"), "0"),
        (a_subaccount("a", weth="10", reading=Unknown("no answer")), "0"),
        (a_subaccount("a", collateral={WBTC: "1"}), "0"),
        (a_subaccount("a", collateral={DAI: "1", WETH: "2"}), "2"),
    ],
)
def test_a_spare_is_never_more_than_what_may_leave(account: Subaccount, expected: str) -> None:
    assert spare_raw(account, WETH.address, wad("1")) == raw(WETH, expected)

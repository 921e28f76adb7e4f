"""A snapshot after prices moved, and what an account could spare in it: for people who ask what if."""

import pytest

from keeper.core.plan import History
from keeper.core.planner import make_plan
from keeper.core.shock import after_shock
from keeper.core.snapshot import Snapshot, Subaccount, SubaccountId, Unknown
from keeper.core.spare import spare_raw
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


def test_a_plan_can_be_made_of_it() -> None:
    book = (a_subaccount("a", health="1.3"), a_wallet())
    policy = a_policy(*book, min_benefit_multiple=0)
    snapshot = a_snapshot(*book)
    assert make_plan(snapshot, policy, History()).verdicts[A] == Healthy()
    assert make_plan(after_shock(snapshot, {"WETH": -1500}), policy, History()).verdicts[A] == Rescue()
    alone = a_snapshot(book[0])
    assert isinstance(make_plan(after_shock(alone, {"WETH": -1500}), policy, History()).verdicts[A], Unfunded)


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

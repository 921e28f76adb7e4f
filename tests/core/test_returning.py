"""After the storm: what came by a rescue goes back as far as it can be spared, and nothing else."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from keeper.core.disputes import disputes_in, doubts
from keeper.core.imagined import after_transfers
from keeper.core.plan import History, Kind, Transfer
from keeper.core.returning import Kept, Ledger, Return, Returning, plan_return
from keeper.core.snapshot import SecondPrice, Snapshot, Stale, Subaccount, SubaccountId
from tests.builders import USDC, WBTC, WETH, Token, a_policy, a_snapshot, a_subaccount, a_wallet, raw, wad

A, B, C, WALLET = (*(SubaccountId("morpho", key) for key in "abc"), SubaccountId("wallet"))


def a_ledger(moved: Mapping[SubaccountId, str], before: Mapping[SubaccountId, str], token: Token = WETH) -> Ledger:
    """Whole tokens."""
    return Ledger(
        {(id, token.address): raw(token, amount) for id, amount in moved.items()},
        {(id, token.address): raw(token, amount) for id, amount in before.items()},
    )


def returning(ledger: Ledger, *subaccounts: Subaccount) -> Returning:
    return plan_return(a_snapshot(*subaccounts), a_policy(*subaccounts), ledger)


def moves(plan: Returning) -> list[tuple[SubaccountId, SubaccountId, str]]:
    return [(one.giver, one.taker, f"{one.amount_raw / 10**one.token.decimals:g}") for one in plan.returns]


# `a` got 3 WETH from `b`, and holds 13 of which 10 were its own.
RESCUED = a_ledger({A: "3", B: "-3"}, {A: "10", B: "20"})


def test_what_came_by_a_rescue_goes_back_when_it_can_be_spared() -> None:
    plan = returning(RESCUED, a_subaccount("a", weth="13", health="2"), a_subaccount("b", weth="17", health="2"))
    assert plan == Returning((Return(A, B, WETH, raw(WETH, "3")),), ())


def test_without_a_rescue_nothing_goes_back() -> None:
    assert returning(Ledger(), a_subaccount("a"), a_subaccount("b")) == Returning((), ())


def test_a_giver_whose_price_is_disputed_gives_nothing() -> None:
    """The protocol would let it go, and so would the floor by the protocol's own price."""
    accounts = a_subaccount("a", weth="13", health="2"), a_subaccount("b", weth="17", health="2")
    pool = SecondPrice(WETH, "a pool", USDC.address, wad("1500"))
    for price, is_disputed in (("1500", True), ("1900", False)):
        snapshot = replace(a_snapshot(*accounts), second_prices=(replace(pool, price=wad(price)),))
        policy = a_policy(*accounts)
        found = doubts(snapshot, disputes_in(snapshot, policy.prices, History()))
        plan = plan_return(snapshot, policy, RESCUED, found)
        assert bool(plan.returns) is not is_disputed
        if is_disputed:
            says = "disputed: WETH is 2,000 USDC by its oracle and 1,500 by a pool"
            reason = f"its health is not known well enough: {says}"
            assert plan.kept == (Kept(A, WETH, raw(WETH, "3"), reason),)


def test_while_the_sequencer_is_down_no_account_with_debt_gives() -> None:
    accounts = a_subaccount("a", weth="13", health="2"), a_subaccount("b", weth="17", health="2")
    snapshot = replace(a_snapshot(*accounts), sequencer_problem="the chain's sequencer is down")
    plan = plan_return(snapshot, a_policy(*accounts), RESCUED, doubts(snapshot, {}))
    assert [one.reason for one in plan.kept] == ["its health is not known well enough: the chain's sequencer is down"]


def test_a_giver_without_debt_gives_whatever_its_price_is() -> None:
    accounts = a_subaccount("a", weth="13"), a_subaccount("b", weth="17", health="2")
    snapshot = replace(a_snapshot(*accounts), sequencer_problem="the chain's sequencer is down")
    assert moves(plan_return(snapshot, a_policy(*accounts), RESCUED, doubts(snapshot, {}))) == [(A, B, "3")]


@pytest.mark.parametrize(
    ("health", "goes"),
    [
        ("1.29", []),  # below its floor of 1.30 already
        ("1.30", []),
        ("1.68", [(A, B, "2.94018")]),  # 13 x 1.30 / 1.68 have to stay, and a ten-thousandth of the rest
        ("1.69", [(A, B, "3")]),
        ("1.70", [(A, B, "3")]),
    ],
)
def test_a_giver_keeps_its_floor(health: str, goes: list[object]) -> None:
    plan = returning(RESCUED, a_subaccount("a", weth="13", health=health), a_subaccount("b", weth="17", health="2"))
    assert moves(plan) == goes
    if not goes:
        assert plan.kept == (Kept(A, WETH, raw(WETH, "3"), "it would end below its floor"),)


def test_a_giver_whose_price_is_stale_gives_nothing() -> None:
    stale = a_subaccount("a", weth="13", health="2", reading=Stale("ETH/USD is old"))
    plan = returning(RESCUED, stale, a_subaccount("b", weth="17"))
    assert plan.returns == ()
    assert plan.kept[0].reason == "its health is not known well enough: ETH/USD is old"


@pytest.mark.parametrize(
    ("holds", "misses", "goes"),
    [
        ("13", "17", [(A, B, "3")]),
        ("11", "17", [(A, B, "1")]),  # the owner took 2 out of it
        ("13", "19", [(A, B, "1")]),  # the owner put 2 in already
        ("20", "10", [(A, B, "3")]),  # what the owner did besides is his own business
        ("10", "17", []),
        ("13", "20", []),
        ("10.002", "17", []),  # less than a thousandth is rounding and interest
    ],
)
def test_nobody_gets_more_than_it_had_nor_gives_what_it_has_no_more(
    holds: str, misses: str, goes: list[object]
) -> None:
    plan = returning(RESCUED, a_subaccount("a", weth=holds, health="5"), a_subaccount("b", weth=misses, health="5"))
    assert moves(plan) == goes


def test_what_passed_through_an_account_goes_back_in_one_move() -> None:
    # 2 went from `c` to `b`, and later 2 from `b` to `a`.
    ledger = a_ledger({A: "2", B: "0", C: "-2"}, {A: "10", B: "10", C: "10"})
    plan = returning(ledger, a_subaccount("a", weth="12"), a_subaccount("b"), a_subaccount("c", weth="8"))
    assert moves(plan) == [(A, C, "2")]


def test_several_givers_go_first_to_whoever_misses_most() -> None:
    ledger = a_ledger({A: "3", B: "1", C: "-1", WALLET: "-3"}, {A: "10", B: "10", C: "10", WALLET: "5"})
    plan = returning(
        ledger,
        a_subaccount("a", weth="13"),
        a_subaccount("b", weth="11"),
        a_subaccount("c", weth="9"),
        a_wallet("2"),
    )
    assert moves(plan) == [(A, WALLET, "3"), (B, C, "1")]


def test_a_giver_of_two_tokens_keeps_its_floor_over_both() -> None:
    moved = {(A, WETH.address): raw(WETH, "3"), (B, WETH.address): -raw(WETH, "3")}
    moved |= {(A, WBTC.address): raw(WBTC, "0.1"), (B, WBTC.address): -raw(WBTC, "0.1")}
    before = {(A, WETH.address): raw(WETH, "7"), (B, WETH.address): raw(WETH, "5")}
    before |= {(A, WBTC.address): raw(WBTC, "0.1"), (B, WBTC.address): raw(WBTC, "0.2")}
    # 20,000 of WETH and 12,000 of WBTC at 1.6: without 6,000 of WETH and 3/20 of the rest it is at its floor.
    giver = a_subaccount("a", collateral={WETH: "10", WBTC: "0.2"}, health="1.45")
    plan = returning(Ledger(moved, before), giver, a_subaccount("b", collateral={WETH: "2", WBTC: "0.1"}, health="3"))
    transfers = (Transfer(Kind.CROSS, one.giver, one.taker, one.token, one.amount_raw) for one in plan.returns)
    after = after_transfers(a_snapshot(giver), transfers).subaccount(A).margin.risk()
    assert after.health_factor >= 1_300_000_000_000_000_000
    assert {one.token for one in plan.kept} == {WETH, WBTC}


def test_planning_on_the_result_plans_nothing() -> None:
    subaccounts = (a_subaccount("a", weth="13", health="1.5"), a_subaccount("b", weth="17", health="2"))
    first = returning(RESCUED, *subaccounts)
    assert first.returns
    transfers = (Transfer(Kind.CROSS, one.giver, one.taker, one.token, one.amount_raw) for one in first.returns)
    result: Snapshot = after_transfers(a_snapshot(*subaccounts), transfers)
    assert plan_return(result, a_policy(*subaccounts), RESCUED).returns == ()

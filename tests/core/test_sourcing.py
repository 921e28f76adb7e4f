"""Who gives: the least gas first, then whom it leaves best off. A native transfer counts 85,000, a wallet's 40,000."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

import pytest

from keeper.core.economics import transfer_gas
from keeper.core.plan import History, Plan
from keeper.core.planner import make_plan
from keeper.core.policy import DonorsOrder
from keeper.core.risk import Risk
from keeper.core.snapshot import NOTHING, NOW, Horizon, Margin, Subaccount
from keeper.core.units import Address
from keeper.core.verdict import Blocked
from tests.builders import WBTC, WETH, a_policy, a_snapshot, a_subaccount, a_wallet, raw


def planned(*book: Subaccount, order: DonorsOrder = DonorsOrder.DEBT_FREE_FIRST) -> Plan:
    policy = a_policy(*book, min_benefit_multiple=0, donors_order=order)
    return make_plan(a_snapshot(*book), policy, History())


@dataclass(frozen=True, slots=True)
class WorthlessDebt:
    """It owes something whose value is 0."""

    straight: Margin

    def risk(
        self,
        deltas: Mapping[Address, int] = NOTHING,
        horizon: Horizon = NOW,
        falls_bps: Mapping[Address, int] = NOTHING,
        repaid: Mapping[Address, int] = NOTHING,
    ) -> Risk:
        return self.straight.risk(deltas, horizon, falls_bps, repaid)._replace(debt_value=0, initial_debt_value=0)


def gas(plan: Plan) -> int:
    return sum(transfer_gas(one.donor, one.kind) for rescue in plan.rescues for one in rescue.transfers)


def givers(plan: Plan) -> dict[str, list[str]]:
    """By recipient."""
    return {
        rescue.recipient.key: [transfer.donor.key or "wallet" for transfer in rescue.transfers]
        for rescue in plan.rescues
    }


@pytest.mark.parametrize(
    ("held", "who", "least"),
    [
        ("1.3", ["d"], 85_000),  # the wallet alone is not enough: 1.37 are missing
        ("1.4", ["wallet"], 40_000),
    ],
)
def test_one_transfer_is_cheaper_than_two_and_a_wallets_is_the_cheapest(held: str, who: list[str], least: int) -> None:
    plan = planned(a_subaccount("r", health="1.1"), a_subaccount("d"), a_wallet(held))
    assert givers(plan) == {"r": who}
    assert gas(plan) == least


@pytest.mark.parametrize(
    ("order", "who", "least"),
    [
        (DonorsOrder.DEBT_FREE_FIRST, {"e", "f"}, 170_000),
        (DonorsOrder.LEAST_GAS, {"d"}, 85_000),
    ],
)
def test_two_donors_without_debt_come_before_one_with_debt_unless_gas_counts_most(
    order: DonorsOrder, who: set[str], least: int
) -> None:
    """1.37 WETH are missing; two accounts without debt have 0.7 each, one with debt could give all of it."""
    e, f = a_subaccount("e", weth="0.7"), a_subaccount("f", weth="0.7")
    plan = planned(a_subaccount("r", health="1.1"), a_subaccount("d", health="2"), e, f, order=order)
    assert set(givers(plan)["r"]) == who
    assert gas(plan) == least


@pytest.mark.parametrize(
    ("held", "who"),
    [
        ("0.013", ["d"]),  # less than a hundredth of the 1.37 that are missing
        ("0.014", ["wallet", "d"]),
        ("1.3", ["wallet", "d"]),
        ("1.4", ["wallet"]),
    ],
)
def test_debt_free_first_takes_from_a_donor_with_debt_what_others_cannot_give(held: str, who: list[str]) -> None:
    assert givers(planned(a_subaccount("r", health="1.1"), a_subaccount("d", health="2"), a_wallet(held)))["r"] == who


def test_debt_free_first_holds_for_all_rescues_together() -> None:
    """2.73 and 0.27 WETH are missing and the wallet has 2.8: it gives all of it, in whatever parts."""
    plan = planned(
        a_subaccount("a", weth="20", health="1.1"),
        a_subaccount("b", weth="2", health="1.1"),
        a_subaccount("d", health="2"),
        a_wallet("2.8"),
    )
    given = sum(
        each.amount_raw for rescue in plan.rescues for each in rescue.transfers if each.donor.protocol == "wallet"
    )
    assert given == raw(WETH, "2.8")


def test_an_account_with_two_collaterals_leaves_the_one_that_another_needs() -> None:
    """0.61 WETH save the one that takes nothing else; the other, which takes both, makes do with WBTC."""
    either = a_subaccount("either", collateral={WETH: "5", WBTC: "0.16"}, health="0.98")
    only = a_subaccount("only", weth="10", health="0.98")
    plan = planned(either, only, a_wallet(collateral={WETH: "0.62", WBTC: "0.02"}))
    moved = {
        (rescue.recipient.key, each.token.symbol): each.amount_raw
        for rescue in plan.rescues
        for each in rescue.transfers
    }
    assert moved["only", "WETH"] > raw(WETH, "0.6")
    assert moved["either", "WBTC"] > raw(WBTC, "0.019")


def test_an_account_with_two_collaterals_is_served_by_both_when_neither_is_enough() -> None:
    either = a_subaccount("either", collateral={WETH: "5", WBTC: "0.16"}, health="1.1")
    plan = planned(either, a_wallet(collateral={WETH: "0.8", WBTC: "0.025"}))
    assert {each.token.symbol for each in plan.rescues[0].transfers} == {"WETH", "WBTC"}


def test_the_wallet_serves_as_many_as_it_can_and_another_donor_who_needs_most() -> None:
    """Missing are 2.73, 0.27 and 0.27 WETH, and the wallet has 2.8: the two small ones, not the large one."""
    plan = planned(
        a_subaccount("a", weth="20", health="1.1"),
        a_subaccount("b", weth="2", health="1.1"),
        a_subaccount("c", weth="2", health="1.1"),
        a_subaccount("d"),
        a_wallet("2.8"),
    )
    assert givers(plan) == {"a": ["d"], "b": ["wallet"], "c": ["wallet"]}
    assert gas(plan) == 165_000


def test_of_donors_that_take_the_same_gas_the_one_gives_whom_it_leaves_best_off() -> None:
    """1.37 WETH from 20 at 1.8 leave 1.68, from 10 at 2 leave 1.73, from 30 at 1.9 leave 1.81."""
    plan = planned(
        a_subaccount("r", health="1.1"),
        a_subaccount("a", weth="20", health="1.8"),
        a_subaccount("b", weth="10", health="2"),
        a_subaccount("c", weth="30", health="1.9"),
    )
    assert givers(plan) == {"r": ["c"]}


def test_two_donors_are_emptied_before_a_third_is_touched() -> None:
    """3.5 WETH are missing; the donors can give 2.31, 1.54 and 1.15: the first two are enough, in two transfers."""
    plan = planned(
        a_subaccount("r", weth="25.5", health="1.1"),
        a_subaccount("a", weth="10", health="1.69"),
        a_subaccount("b", weth="10", health="1.537"),
        a_subaccount("c", weth="10", health="1.469"),
    )
    assert gas(plan) == 170_000
    assert Counter(givers(plan)["r"]) == {"a": 1, "b": 1}


@pytest.mark.parametrize("short", [0, 1])
def test_a_wallet_that_is_short_by_one_unit_gives_all_and_nobody_else_is_asked_for_it(short: int) -> None:
    recipient, donor = a_subaccount("r", health="1.1"), a_subaccount("d", health="2")
    need = planned(recipient, a_wallet("100")).rescues[0].transfers[0].amount_raw
    plan = planned(recipient, donor, a_wallet(f"{Decimal(need - short) / 10**18:f}"))
    assert givers(plan) == {"r": ["wallet"]}
    assert plan.rescues[0].transfers[0].amount_raw == need - short


def test_a_donor_that_can_nearly_be_emptied_keeps_its_floor_and_another_gives() -> None:
    """11.27452 WETH are needed, and b has 11.27454 that may move; down to its floor of 1.3 only 11.27401 may leave."""
    need, other = (
        a_subaccount("a", weth="50", health="1.02"),
        a_subaccount("c", protocol="venus", weth="200", health="3"),
    )
    plan = planned(need, a_subaccount("b", weth="20", health="2.97960266", movable="11.27453936"), other)
    assert givers(plan) == {"a": ["c"]}


def test_who_owes_what_is_worth_nothing_may_give_and_breaks_no_plan() -> None:
    """Aave 3.0 rounds the value of a debt down, so what is left after a repayment may be worth 0."""
    dusty = a_subaccount("b", health="4")
    dusty = replace(dusty, margin=WorthlessDebt(dusty.margin))
    assert givers(planned(a_subaccount("a", health="1.03"), dusty)) == {"a": ["b"]}


def test_a_donor_that_is_rich_in_two_tokens_gives_both() -> None:
    """Each at 85,000 gas; from others it would be 155,000."""
    rich = a_subaccount("d", collateral={WETH: "1000", WBTC: "40"}, health="6")
    book = (
        a_subaccount("a", weth="50", health="1.03"),
        a_subaccount("b", collateral={WBTC: "2"}, health="1.03"),
        rich,
        a_subaccount("e", protocol="aave", weth="60", health="4"),
        a_subaccount("f", protocol="aave", collateral={WBTC: "2.5"}, health="4"),
    )
    assert givers(planned(*book)) == {"a": ["d"], "b": ["d"]}


def test_of_equal_donors_the_first_gives() -> None:
    donors = [a_subaccount(key, health="2") for key in "dcba"]
    assert givers(planned(a_subaccount("r", health="1.1"), *donors)) == {"r": ["a"]}


def test_of_seventeen_who_are_due_those_that_would_die_are_not_the_ones_to_wait() -> None:
    """Sixteen fit into a batch; the one with the least to lose is the only one below the line."""
    due = [a_subaccount(f"{number:02}", health="1.1", penalty_bps=900) for number in range(16)]
    dying = a_subaccount("last", weth="0.1", health="0.99", penalty_bps=300)
    plan = planned(*due, dying, a_wallet("100"))
    assert dying.id in {rescue.recipient for rescue in plan.rescues}
    assert [type(found) for found in plan.verdicts.values()].count(Blocked) == 1
    assert len(plan.rescues) == 16

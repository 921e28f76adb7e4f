"""Who else could have given to a rescue, and why nothing came from there."""

from dataclasses import replace

import pytest

from keeper.core.considered import Rejected, RejectedWay, rejected, rejected_ways
from keeper.core.plan import History, Rescue
from keeper.core.planner import make_plan
from keeper.core.policy import AccountSettings
from keeper.core.snapshot import FreshnessUnverified, SecondPrice, Snapshot, Stale, Subaccount, Unknown
from tests.builders import USDC, WBTC, WETH, a_policy, a_snapshot, a_subaccount, a_wallet, raw, wad

NEEDY = a_subaccount("a", health="1.1")


def others(snapshot: Snapshot, history: History | None = None, **said: AccountSettings) -> tuple[Rejected, ...]:
    """The rejected of the one rescue of a plan."""
    overrides = {f"morpho:{key}": settings for key, settings in said.items()}
    policy, history = a_policy(*snapshot.subaccounts, overrides=overrides), history or History()
    plan = make_plan(snapshot, policy, history)
    rescue: Rescue = plan.rescues[0]
    return rejected(rescue, plan, snapshot, policy, history)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (a_subaccount("b", health="1.29"), "it has nothing to spare above its floor"),
        (a_subaccount("b", health="1.1", penalty_bps=400), "it is rescued itself"),
        (a_subaccount("b", reading=Unknown("it reverts")), "it is unknown: it reverts"),
        (a_subaccount("b", health="2", reading=Stale("3 h old")), "it has debt and its price cannot be trusted"),
        (
            a_subaccount("b", health="2", reading=FreshnessUnverified("?")),
            "it has debt and its price cannot be trusted",
        ),
        (a_subaccount("b", cannot_give="it is frozen"), "it is frozen"),
        (a_subaccount("b", movable="0"), "nothing of it may leave"),
        (a_subaccount("b", is_enrolled=False), "it is not enrolled in the guard"),
    ],
)
def test_each_reason_is_named(other: Subaccount, reason: str) -> None:
    (one,) = others(a_snapshot(NEEDY, a_wallet(), other))
    assert one == Rejected(other.id, WETH, 0, reason)


def test_who_never_donates_does_not_though_it_could() -> None:
    (one,) = others(a_snapshot(NEEDY, a_wallet(), a_subaccount("b")), b=AccountSettings(never_donate=True))
    assert one.reason == "it never donates, says the configuration"


def test_in_protect_only_those_with_debt_do_not_give() -> None:
    (one,) = others(a_snapshot(NEEDY, a_wallet(), a_subaccount("b", health="2")), History(protect_only=True))
    assert one.reason == "only those without debt give at present"


def test_on_a_disputed_price_those_with_debt_do_not_give() -> None:
    """The donor's own protocol takes WETH for what the pool says: it is the recipient's price that is disputed."""
    second = (SecondPrice(WETH, "the pool", USDC.address, wad("2900")),)
    donor = a_subaccount("b", prices={WETH: "2900"}, health="2")
    (one,) = others(replace(a_snapshot(NEEDY, a_wallet(), donor), second_prices=second))
    assert one.reason == "only those without debt give on a disputed price"


def test_while_the_sequencer_is_down_those_with_debt_do_not_give() -> None:
    snapshot = a_snapshot(NEEDY, a_wallet(), a_subaccount("b", health="2"))
    (one,) = others(replace(snapshot, sequencer_problem="the sequencer is down"))
    assert one.reason == "only those without debt give: the sequencer is down"


def test_who_could_have_given_is_named_with_how_much() -> None:
    """At a health of 2.6 half of 10 WETH may leave before the floor of 1.3, less a rounding."""
    (one,) = others(a_snapshot(NEEDY, a_wallet(), a_subaccount("b", health="2.6")))
    assert one.reason == "who owes nothing gives first"
    assert raw(WETH, "4.99") < one.spare_raw <= raw(WETH, "5")


def test_who_gave_all_it_had_to_another_rescue_is_named_so() -> None:
    """The donor with debt is enough for one of the two; the other takes the wallet's last WETH as well."""
    first, second = a_subaccount("a", health="1.1", penalty_bps=900), a_subaccount("c", health="1.1")
    snapshot = a_snapshot(first, second, a_wallet("1"), a_subaccount("b", health="1.6"))
    policy = a_policy(*snapshot.subaccounts)
    plan = make_plan(snapshot, policy, History())
    found = {
        (rescue.recipient.key, one.subaccount.key): one.reason
        for rescue in plan.rescues
        for one in rejected(rescue, plan, snapshot, policy, History())
    }
    assert found["c", ""] == "what it has to spare goes to others"


def test_who_alone_is_not_enough_is_named_so() -> None:
    """1.37 WETH are missing: the wallet's one and the rest from another would cost two transfers."""
    snapshot = a_snapshot(a_subaccount("r", health="1.1"), a_wallet("1"), a_subaccount("b"))
    (one,) = others(snapshot)
    assert (one.subaccount.key, one.reason) == ("", "that alone is not enough: a second transfer would cost more gas")


def test_who_holds_nothing_that_the_recipient_takes_is_not_spoken_of() -> None:
    strangers = a_subaccount("b", collateral={WBTC: "1"}), a_subaccount("c", collateral={USDC: "5"})
    assert others(a_snapshot(NEEDY, a_wallet(), *strangers)) == ()


def test_donors_and_recipient_are_not_among_the_rejected() -> None:
    assert others(a_snapshot(NEEDY, a_wallet())) == ()


def test_a_spare_is_what_is_left_once_the_plan_is_carried_out() -> None:
    """8 WETH in the wallet, some of it given: the wallet itself is a donor, so only the other account is judged."""
    snapshot = a_snapshot(NEEDY, a_wallet("8"), a_subaccount("b"))
    (one,) = others(snapshot)
    assert one.spare_raw == wad("10")


def other_ways(snapshot: Snapshot) -> tuple[RejectedWay, ...]:
    policy, history = a_policy(*snapshot.subaccounts, inclusion_seconds=0), History()
    plan = make_plan(snapshot, policy, history)
    return rejected_ways(plan.rescues[0], plan, snapshot, policy, history)


def test_what_repaying_would_have_taken_is_told_with_what_there_is() -> None:
    """Repaid would be 1,876.36 of the 15,636.36 USDC that it owes."""
    (one,) = other_ways(a_snapshot(NEEDY, a_wallet(collateral={WETH: "10", USDC: "100"})))
    assert (one.token, one.is_repayment, one.spare_raw, one.is_enough) == (USDC, True, raw(USDC, "100"), False)
    assert raw(USDC, "1876.3") < one.need_raw < raw(USDC, "1876.4")


def test_what_collateral_would_have_taken_is_told_of_one_that_is_repaid() -> None:
    (one,) = other_ways(a_snapshot(NEEDY, a_wallet(collateral={WETH: "10", USDC: "5000"})))
    assert (one.token, one.is_repayment, one.is_enough) == (WETH, False, True)
    assert raw(WETH, "1.363") < one.need_raw < raw(WETH, "1.364")


def test_a_way_whose_token_nobody_else_holds_is_not_spoken_of() -> None:
    assert other_ways(a_snapshot(NEEDY, a_wallet())) == ()

"""When not everybody can be brought to its target: who is saved, and how far."""

from collections.abc import Mapping

from keeper.core.plan import History, Plan
from keeper.core.planner import make_plan
from keeper.core.policy import AccountSettings
from keeper.core.snapshot import Subaccount, SubaccountId
from keeper.core.verdict import Rescue, Unfunded
from tests.builders import USD, USDC, WBTC, WETH, a_policy, a_snapshot, a_subaccount, a_wallet, raw

A, B, C = (SubaccountId("morpho", key) for key in "abc")


def plan_for(
    *book: Subaccount,
    overrides: Mapping[str, AccountSettings] | None = None,
    is_usdc_priced: bool = True,
    last_stand: bool = False,
) -> Plan:
    policy = a_policy(*book, overrides=overrides, inclusion_seconds=0, last_stand=last_stand, min_benefit_multiple=0)
    usd = USD if is_usdc_priced else {token: price for token, price in USD.items() if token != USDC.address}
    return make_plan(a_snapshot(*book, usd=usd), policy, History())


def saved(plan: Plan) -> list[SubaccountId]:
    return sorted(rescue.recipient for rescue in plan.rescues)


def healths(plan: Plan) -> dict[str, int]:
    return {rescue.recipient.key: rescue.effect.after // 10**14 for rescue in plan.rescues}


def test_with_enough_for_all_everybody_reaches_its_target() -> None:
    plan = plan_for(a_subaccount("a", health="1.03"), a_subaccount("b", health="1.1"), a_wallet("4"))
    assert healths(plan) == {"a": 12_500, "b": 12_500}


def test_the_largest_loss_goes_first() -> None:
    plan = plan_for(
        a_subaccount("a", weth="10", health="1.1"), a_subaccount("b", weth="30", health="1.1"), a_wallet("9")
    )
    assert [rescue.recipient for rescue in plan.rescues] == [B, A]


def test_the_same_loss_goes_by_id() -> None:
    plan = plan_for(a_subaccount("b", health="1.1"), a_subaccount("a", health="1.1"), a_wallet("9"))
    assert [rescue.recipient for rescue in plan.rescues] == [A, B]


def test_priority_goes_before_loss() -> None:
    first = {"morpho:a": AccountSettings(priority=1)}
    book = (a_subaccount("a", health="1.1"), a_subaccount("b", weth="30", health="1.1"), a_wallet("9"))
    assert [rescue.recipient for rescue in plan_for(*book, overrides=first).rescues] == [A, B]


def test_without_a_usd_price_the_relative_loss_decides() -> None:
    """A penalty of 15 % on a little is more, in relation, than 2.62 % on much."""
    book = (
        a_subaccount("a", weth="10", health="1.1", penalty_bps=1500),
        a_subaccount("b", weth="30", health="1.1", penalty_bps=262),
        a_wallet("9"),
    )
    assert [rescue.recipient for rescue in plan_for(*book).rescues] == [A, B]
    larger = (
        a_subaccount("a", weth="1", health="1.1", penalty_bps=1500),
        a_subaccount("b", weth="30", health="1.1", penalty_bps=262),
        a_wallet("9"),
    )
    assert [rescue.recipient for rescue in plan_for(*larger).rescues] == [B, A]
    plan = plan_for(*larger, is_usdc_priced=False)
    assert [rescue.recipient for rescue in plan.rescues] == [A, B]
    assert plan.notes[0].startswith("no USD price for the debt of morpho:a, morpho:b")


def test_too_little_for_two_targets_is_shared() -> None:
    """Each needs 2.14 WETH for its target and 1.17 for its trigger; there are 3."""
    plan = plan_for(a_subaccount("a", health="1.03"), a_subaccount("b", health="1.03"), a_wallet("3"))
    assert saved(plan) == [A, B]
    assert all(health >= 11_500 for health in healths(plan).values())


def test_too_little_for_two_triggers_still_saves_both_lives() -> None:
    """1.03 to 1.04 takes 0.0971 WETH for each; there is 0.25."""
    plan = plan_for(a_subaccount("a", health="1.03"), a_subaccount("b", health="1.03"), a_wallet("0.25"))
    assert saved(plan) == [A, B]
    moved = sum(transfer.amount_raw for rescue in plan.rescues for transfer in rescue.transfers)
    assert raw(WETH, "0.235") < moved <= raw(WETH, "0.25")


def test_when_only_one_can_live_it_is_the_one_with_the_larger_loss() -> None:
    """0.0971 WETH would save b; a, with twice the debt, needs 0.1942."""
    book = (a_subaccount("a", weth="20", health="1.03"), a_subaccount("b", health="1.03"), a_wallet("0.2"))
    plan = plan_for(*book)
    assert saved(plan) == [A]
    assert isinstance(plan.verdicts[B], Unfunded)


def test_when_the_larger_cannot_be_saved_the_smaller_is() -> None:
    book = (a_subaccount("a", weth="20", health="1.03"), a_subaccount("b", health="1.03"), a_wallet("0.15"))
    plan = plan_for(*book)
    assert saved(plan) == [B]
    assert isinstance(plan.verdicts[A], Unfunded)


def test_two_small_ones_are_saved_rather_than_one_when_they_lose_more_together() -> None:
    """There is 0.2 WETH. a needs 0.175 and loses 1,503; b and c need 0.0971 each and lose 835 each."""
    book = (
        a_subaccount("a", weth="18", health="1.03"),
        a_subaccount("b", health="1.03"),
        a_subaccount("c", health="1.03"),
        a_wallet("0.2"),
    )
    plan = plan_for(*book)
    assert saved(plan) == [B, C]


def test_priority_outweighs_any_number_of_others() -> None:
    book = (
        a_subaccount("a", weth="18", health="1.03"),
        a_subaccount("b", health="1.03"),
        a_subaccount("c", health="1.03"),
        a_wallet("0.2"),
    )
    plan = plan_for(*book, overrides={"morpho:a": AccountSettings(priority=1)})
    assert saved(plan) == [A]


def test_a_routine_need_does_not_take_what_saves_a_life() -> None:
    """b is larger and first in rank, at 1.14; a is about to die, and 0.12 WETH are there."""
    book = (a_subaccount("a", health="1.03"), a_subaccount("b", health="1.14"), a_wallet("0.12"))
    plan = plan_for(*book, overrides={"morpho:b": AccountSettings(priority=1)})
    assert saved(plan) == [A]


def test_what_is_missing_in_one_token_does_not_lower_the_goal_in_another() -> None:
    """Two share 0.02 WBTC, which ends the need of both; that nobody has WETH for c is no reason to give all to one."""
    book = (
        a_subaccount("a", collateral={WBTC: "0.1"}, health="1.11"),
        a_subaccount("b", collateral={WBTC: "0.1"}, health="1.06"),
        a_subaccount("c", health="1.07"),
        a_wallet(collateral={WBTC: "0.02"}),
    )
    plan = plan_for(*book, last_stand=True)
    assert saved(plan) == [A, B]
    assert all(health >= 11_500 for health in healths(plan).values())


def test_who_gave_in_a_last_stand_is_not_filled_up_by_others_in_the_same_plan() -> None:
    """Five in need of the same token: who would die is saved by two that stand better; no more moves."""
    book = (
        a_subaccount("a", weth="5", health="1.08", movable="0.5"),
        a_subaccount("b", weth="20", health="1.04", movable="0.5"),
        a_subaccount("c", weth="2", health="1.10"),
        a_subaccount("d", weth="1", health="1.02"),
        a_subaccount("e", weth="1", health="1.06"),
    )
    plan = plan_for(*book, last_stand=True)
    (rescue,) = plan.rescues
    assert rescue.recipient.key == "d"
    assert rescue.effect.after // 10**14 == 10_497
    assert {transfer.donor.key for transfer in rescue.transfers} == {"a", "c"}
    assert {type(found) for found in plan.verdicts.values()} == {Rescue, Unfunded}


def test_in_a_last_stand_all_in_need_share_with_the_donor() -> None:
    """Three accounts of ten WETH at 1.03, 1.03 and 1.25: together 51,600 / 47,157.67 = 1.0942."""
    book = (a_subaccount("a", health="1.03"), a_subaccount("b", health="1.03"), a_subaccount("c", health="1.25"))
    plan = plan_for(*book, last_stand=True)
    assert saved(plan) == [A, B]
    assert all(10_850 < health < 11_050 for health in healths(plan).values())

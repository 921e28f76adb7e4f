"""The last stand: when nobody can spare anything, recipient and donors share one cushion."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest

from keeper.core.plan import History, Lane, LastRescue, Plan, Stage
from keeper.core.planner import make_plan
from keeper.core.policy import AccountSettings
from keeper.core.risk import Risk
from keeper.core.snapshot import NOTHING, NOW, Horizon, Stale, Subaccount, SubaccountId
from keeper.core.units import Address
from keeper.core.verdict import Rescue, Unfunded, Watching
from tests.builders import (
    USDC,
    WBTC,
    WETH,
    LinearMargin,
    a_policy,
    a_snapshot,
    a_subaccount,
    a_wallet,
    after_plan,
    raw,
    wad,
)

A, B, C = (SubaccountId("morpho", key) for key in "abc")


def plan_for(
    *book: Subaccount,
    last_stand: bool = True,
    overrides: Mapping[str, AccountSettings] | None = None,
    history: History | None = None,
    limits: Mapping[str, tuple[str, str, str]] | None = None,
) -> Plan:
    policy = a_policy(*book, last_stand=last_stand, inclusion_seconds=0, overrides=overrides)
    return make_plan(a_snapshot(*book, limits=limits), policy, history or History())


def healths(plan: Plan) -> dict[str, int]:
    """Health after each rescue in basis points, rounded down, by the account's key."""
    effects = [effect for rescue in plan.rescues for effect in (rescue.effect, *rescue.donors)]
    return {effect.subaccount.key: effect.after // 10**14 for effect in effects}


# Two accounts ---------------------------------------------------------------------------------------------------------


def test_two_equal_accounts_at_1_04_and_1_22_both_live_at_1_12() -> None:
    """Ten WETH each against debts of 16,538.46 and 14,098.36: together 34,400 / 30,636.82 = 1.12283."""
    plan = plan_for(a_subaccount("a", health="1.04"), a_subaccount("b", health="1.22"))
    (rescue,) = plan.rescues
    (transfer,) = rescue.transfers
    assert (transfer.donor, transfer.recipient, transfer.token) == (B, A, WETH)
    assert transfer.amount_raw // 10**12 == 796_399
    assert rescue.stage is Stage.LAST_STAND
    assert rescue.lane is Lane.CRITICAL
    assert rescue.effect.after // 10**13 == 112_282
    assert rescue.donors[0].after // 10**13 == 112_283
    assert rescue.donors[0].after >= rescue.effect.after
    assert rescue.min_health_after == wad("1.04")
    assert plan.verdicts == {A: Rescue(), B: Watching()}


def test_both_then_survive_the_fall_that_would_have_killed_one() -> None:
    """After a fall of 10 % untouched accounts stand at 0.936 and 1.098; shared, both at 1.0105."""
    (rescue,) = plan_for(a_subaccount("a", health="1.04"), a_subaccount("b", health="1.22")).rescues
    assert rescue.effect.after_shock // 10**14 == 10_105
    assert rescue.donors[0].after_shock // 10**14 == 10_105


def test_nothing_more_is_moved_afterwards() -> None:
    book = (a_subaccount("a", health="1.04"), a_subaccount("b", health="1.22"))
    snapshot, policy = a_snapshot(*book), a_policy(*book)
    plan = make_plan(snapshot, policy, History())
    assert plan.rescues
    assert make_plan(after_plan(snapshot, plan), policy, History()).rescues == ()


def test_it_can_be_switched_off() -> None:
    plan = plan_for(a_subaccount("a", health="1.04"), a_subaccount("b", health="1.22"), last_stand=False)
    assert plan.rescues == ()
    assert isinstance(plan.verdicts[A], Unfunded)


@pytest.mark.parametrize(("health", "is_rescued"), [("1.0799", True), ("1.08", False), ("1.0801", False)])
def test_it_is_for_critical_accounts_only(health: str, is_rescued: bool) -> None:
    plan = plan_for(a_subaccount("a", health=health), a_subaccount("b", health="1.29"))
    assert bool(plan.rescues) is is_rescued


@pytest.mark.parametrize(
    ("donor_health", "is_rescued"),
    # Debts of 17,200 / 1.03 and 17,200 / h: together at 1.04 when h is 1.05019.
    [("1.049", False), ("1.0501", False), ("1.0506", True), ("1.06", True)],
)
def test_a_rescue_that_would_end_below_survive_leaves_the_collateral_where_it_saves_somebody(
    donor_health: str, is_rescued: bool
) -> None:
    plan = plan_for(a_subaccount("a", health="1.03"), a_subaccount("b", health=donor_health))
    assert bool(plan.rescues) is is_rescued
    if is_rescued:
        assert plan.rescues[0].effect.after >= wad("1.04")
    else:
        assert isinstance(plan.verdicts[A], Unfunded)


def test_it_stops_at_the_recipients_target() -> None:
    """A large donor at 1.29 can spare nothing at its floor of 1.30, and more than enough above its hard floor."""
    plan = plan_for(a_subaccount("a", weth="1", health="1.05"), a_subaccount("b", weth="100", health="1.29"))
    assert plan.rescues[0].effect.after // 10**14 == 12_500
    assert healths(plan)["b"] == 12_875


def test_crumbs_are_not_passed_to_and_fro() -> None:
    """From 1.06 and 1.08 both would come to 1.0699: 0.09 of a shock for one, as much lost by the other."""
    assert plan_for(a_subaccount("a", health="1.06"), a_subaccount("b", health="1.08")).rescues == ()
    assert plan_for(a_subaccount("a", health="1.06"), a_subaccount("b", health="1.12")).rescues != ()


# Limits of donors -----------------------------------------------------------------------------------------------------


def test_a_donor_stops_at_its_hard_floor() -> None:
    raised = {
        "morpho:b": AccountSettings(
            hard_floor=wad("1.15"), survive=wad("1.15"), critical=wad("1.15"), trigger=wad("1.16")
        )
    }
    plan = plan_for(a_subaccount("a", health="1.04"), a_subaccount("b", health="1.22"), overrides=raised)
    assert healths(plan) == {"a": 10_996, "b": 11_500}
    assert plan.rescues[0].donors[0].after >= wad("1.15")


def test_a_donor_stops_at_the_guards_hard_floor() -> None:
    book = (a_subaccount("a", health="1.04"), a_subaccount("b", health="1.22"))
    plan = plan_for(*book, limits={"b": ("1.15", "1.15", "1.5")})
    assert healths(plan) == {"a": 10_996, "b": 11_500}


def test_a_donor_stops_where_its_protocol_lets_nothing_leave() -> None:
    stingy = a_subaccount("b", health="1.22", initial_lltv="0.76")
    plan = plan_for(a_subaccount("a", health="1.04"), stingy)
    assert healths(plan)["b"] == 11_315  # 0.86 / 0.76


def test_cushions_are_compared_not_healths() -> None:
    """The donor's price falls twice as far in a shock: it keeps twice the fall, 13.2 % against 6.6 %."""
    rough = {"morpho:b": AccountSettings(shock_bps=2000)}
    plan = plan_for(
        a_subaccount("a", health="1.03"),
        a_subaccount("b", health="1.2", debt_token=WBTC),
        overrides=rough,
    )
    assert healths(plan) == {"a": 10_708, "b": 11_524}


def test_nothing_leaves_an_account_with_debt_on_a_stale_price() -> None:
    assert (
        plan_for(a_subaccount("a", health="1.04", reading=Stale("old")), a_subaccount("b", health="1.22")).rescues == ()
    )
    assert (
        plan_for(a_subaccount("a", health="1.04"), a_subaccount("b", health="1.22", reading=Stale("old"))).rescues == ()
    )
    protect = History(protect_only=True)
    assert plan_for(a_subaccount("a", health="1.04"), a_subaccount("b", health="1.22"), history=protect).rescues == ()


def test_a_cooldown_does_not_mute_it() -> None:
    recently = History(last_rescues={A: LastRescue(1_799_999_999, wad("1.04"))})
    assert plan_for(a_subaccount("a", health="1.04"), a_subaccount("b", health="1.22"), history=recently).rescues


# Several donors -------------------------------------------------------------------------------------------------------


def test_several_donors_are_drawn_down_to_one_level() -> None:
    """25 WETH against debts of 16,538.46, 14,098.36 and 7,166.67: together 1.13746."""
    book = (
        a_subaccount("a", health="1.04"),
        a_subaccount("b", health="1.22"),
        a_subaccount("c", weth="5", health="1.2"),
    )
    plan = plan_for(*book)
    assert healths(plan) == {"a": 11_374, "b": 11_374, "c": 11_374}
    assert [transfer.donor for transfer in plan.rescues[0].transfers] == [B, C]


def test_whoever_stands_below_the_level_gives_nothing() -> None:
    book = (a_subaccount("a", health="1.04"), a_subaccount("b", health="1.22"), a_subaccount("c", health="1.1"))
    plan = plan_for(*book)
    assert [transfer.donor for transfer in plan.rescues[0].transfers] == [B]
    assert healths(plan) == {"a": 11_228, "b": 11_228}


def test_donors_without_debt_give_all_before_others_are_drawn_down() -> None:
    """With 0.5 WETH from the wallet: 20.5 WETH against 30,636.82, 1.15090, above the trigger."""
    plan = plan_for(a_subaccount("a", health="1.04"), a_subaccount("b", health="1.22"), a_wallet("0.5"))
    transfers = {transfer.donor.protocol: transfer.amount_raw for transfer in plan.rescues[0].transfers}
    assert transfers["wallet"] == raw(WETH, "0.5")
    assert healths(plan) == {"a": 11_508, "b": 11_509}


@dataclass(frozen=True, slots=True)
class BentMargin:
    """Loses more with the first tokens that leave than with the last, as an account with a tiered requirement does."""

    straight: LinearMargin

    def risk(
        self,
        deltas: Mapping[Address, int] = NOTHING,
        horizon: Horizon = NOW,
        falls_bps: Mapping[Address, int] = NOTHING,
        repaid: Mapping[Address, int] = NOTHING,
    ) -> Risk:
        whole = self.straight.risk(NOTHING, horizon, falls_bps, repaid)
        risk = self.straight.risk(deltas, horizon, falls_bps, repaid)
        lost = whole.collateral_value - risk.collateral_value
        value = risk.collateral_value - min(max(lost, 0), whole.collateral_value // 50)
        return risk._replace(collateral_value=value, initial_collateral_value=value)


def test_no_donor_ends_below_whom_it_saved_even_where_a_straight_line_misleads() -> None:
    straight = a_subaccount("b", health="1.22")
    assert isinstance(straight.margin, LinearMargin)
    bent = replace(straight, margin=BentMargin(straight.margin))
    plan = plan_for(a_subaccount("a", health="1.04"), bent)
    (rescue,) = plan.rescues
    assert rescue.donors[0].after >= rescue.effect.after >= wad("1.08")


def test_dust_is_given_when_it_decides() -> None:
    """From 1.03 to 1.04 it takes 0.0971 WETH; 0.0965 and 0.0009 may move."""
    book = (
        a_subaccount("a", health="1.03"),
        a_subaccount("b", health="1.29", movable="0.0965"),
        a_subaccount("c", health="1.29", movable="0.0009"),
    )
    assert [transfer.donor for transfer in plan_for(*book).rescues[0].transfers] == [B, C]
    more = (book[0], a_subaccount("b", health="1.29", movable="0.0975"), book[2])
    assert [transfer.donor for transfer in plan_for(*more).rescues[0].transfers] == [B]


def test_another_token_is_no_help() -> None:
    book = (a_subaccount("a", health="1.04"), a_subaccount("b", collateral={WBTC: "1"}, health="1.29"))
    assert plan_for(*book).rescues == ()


def test_an_account_with_two_collaterals_is_helped_in_both() -> None:
    """66,000 of collateral times 0.86 against debts of 48,464.31: together 1.17117."""
    both = a_subaccount("a", collateral={WETH: "5", WBTC: "0.2"}, health="1.04", debt_token=USDC)
    book = (both, a_subaccount("b", health="1.25"), a_subaccount("c", collateral={WBTC: "0.4"}, health="1.25"))
    plan = plan_for(*book)
    assert {transfer.token.symbol for transfer in plan.rescues[0].transfers} == {"WETH", "WBTC"}
    assert healths(plan) == {"a": 11_711, "b": 11_711, "c": 11_711}

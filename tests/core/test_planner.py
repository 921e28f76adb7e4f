"""One verdict for every subaccount: who is due, who is not, and who cannot be helped and why."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest

from keeper.core import verdict
from keeper.core.plan import History, InFlight, Kind, Lane, LastRescue, Plan, Stage
from keeper.core.planner import make_plan, shock
from keeper.core.policy import AccountSettings
from keeper.core.risk import Risk
from keeper.core.snapshot import (
    NOTHING,
    NOW,
    Fresh,
    FreshnessUnverified,
    Horizon,
    Margin,
    Reading,
    Stale,
    Subaccount,
    SubaccountId,
    Token,
    Unknown,
)
from keeper.core.units import Address
from tests.builders import (
    DAI,
    NOON,
    USD,
    USDC,
    WBTC,
    WETH,
    WSTETH,
    a_policy,
    a_snapshot,
    a_subaccount,
    a_wallet,
    raw,
    wad,
)

A, B, C = (SubaccountId("morpho", key) for key in "abc")
WALLET = SubaccountId("wallet")
UNCHECKED = AccountSettings(accept_unchecked_age=True)
NO_GAS_LIMIT = 0


def plan_for(
    *book: Subaccount,
    history: History | None = None,
    overrides: Mapping[str, AccountSettings] | None = None,
    last_stand: bool = True,
    min_benefit_multiple: int = NO_GAS_LIMIT,
    caps: Mapping[Token, str] | None = None,
) -> Plan:
    """Planned for right now: no interest until inclusion, so that a health in a test is the health that is judged."""
    policy = a_policy(
        *book,
        overrides=overrides,
        last_stand=last_stand,
        inclusion_seconds=0,
        min_benefit_multiple=min_benefit_multiple,
    )
    return make_plan(a_snapshot(*book, caps=caps), policy, history or History())


# Thresholds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("health", "expected"),
    [
        (None, verdict.Healthy()),
        ("3", verdict.Healthy()),
        ("1.25", verdict.Healthy()),
        ("1.2499", verdict.Watching()),
        ("1.15", verdict.Watching()),
        ("1.1499", verdict.Rescue()),
        ("1.01", verdict.Rescue()),
        ("0.99", verdict.Rescue()),
    ],
)
def test_health_decides_who_is_due(health: str | None, expected: verdict.Verdict) -> None:
    plan = plan_for(a_subaccount("a", health=health), a_wallet("100"))
    assert plan.verdicts == {A: expected, WALLET: verdict.Healthy()}
    assert bool(plan.rescues) is (expected == verdict.Rescue())


@pytest.mark.parametrize(
    ("health", "lane"), [("1.0799", Lane.CRITICAL), ("1.08", Lane.ROUTINE), ("1.0801", Lane.ROUTINE)]
)
def test_below_critical_a_rescue_is_urgent(health: str, lane: Lane) -> None:
    plan = plan_for(a_subaccount("a", health=health), a_wallet("100"))
    assert (plan.lane, plan.rescues[0].lane) == (lane, lane)


def test_interest_until_inclusion_counts() -> None:
    """At 1.1501 and 500 % a year (the margin's 10 % come on top) 36 seconds cost 6.7e-6, an hour 6.7e-4."""
    book = (a_subaccount("a", health="1.1501", rate="5"), a_wallet())
    for seconds, expected in ((36, verdict.Watching()), (3600, verdict.Rescue())):
        policy = a_policy(*book, inclusion_seconds=seconds, min_benefit_multiple=0)
        assert make_plan(a_snapshot(*book), policy, History()).verdicts[A] == expected


# Amounts --------------------------------------------------------------------------------------------------------------


def test_a_rescue_brings_the_recipient_to_its_target_and_says_what_it_does() -> None:
    """10 WETH at 1.1 owe 15,636.36: 1.25 takes 11.3636 WETH."""
    plan = plan_for(a_subaccount("a", health="1.1"), a_subaccount("b", health="2"))
    (rescue,) = plan.rescues
    (transfer,) = rescue.transfers
    assert (transfer.kind, transfer.donor, transfer.recipient, transfer.token) == (Kind.NATIVE, B, A, WETH)
    assert transfer.amount_raw // 10**12 == 1_363_636
    assert rescue.stage is Stage.NORMAL
    assert rescue.effect.subaccount == A
    assert (rescue.effect.before // 10**14, rescue.effect.after // 10**14) == (11_000, 12_500)
    assert rescue.effect.after >= wad("1.25")
    assert rescue.effect.after_shock // 10**14 == 11_250
    (donor,) = rescue.donors
    assert (donor.subaccount, donor.before // 10**14, donor.after // 10**14) == (B, 20_000, 17_272)
    assert donor.after_shock // 10**14 == 15_545
    assert rescue.loss_avoided_usd == wad("781.8181818")


def test_what_both_hold_in_one_form_moves_natively_and_in_two_forms_across() -> None:
    """Two vaults of one protocol may hold the same token."""
    needy, donor = a_subaccount("a", health="1.1", protocol="euler"), a_subaccount("b", protocol="euler")
    (line,) = donor.collateral
    in_another = replace(donor, collateral=(replace(line, form=Address("another vault")),))
    for giver, kind in ((donor, Kind.NATIVE), (in_another, Kind.CROSS)):
        (rescue,) = plan_for(needy, giver).rescues
        assert [transfer.kind for transfer in rescue.transfers] == [kind]


def test_the_guard_lets_a_whole_shock_pass_before_it_refuses_a_rescue() -> None:
    """A minimum right below the planned health would refuse rescues in the crash that they are for."""
    (to_target,) = plan_for(a_subaccount("a", health="1.1"), a_wallet()).rescues
    assert to_target.min_health_after // 10**14 == 11_248
    (to_less,) = plan_for(a_subaccount("a", health="1.03"), a_wallet("0.7")).rescues
    assert to_less.effect.after // 10**14 == 11_021
    assert to_less.min_health_after == wad("1.04")


@pytest.mark.parametrize(("token", "amount"), [(WBTC, "1"), (WETH, "10"), (DAI, "20000"), (USDC, "20000")])
def test_amounts_are_in_the_tokens_own_decimals(token: Token, amount: str) -> None:
    plan = plan_for(
        a_subaccount("a", collateral={token: amount}, health="1.1", debt_token=WSTETH),
        a_wallet(collateral={token: amount}),
    )
    share = plan.rescues[0].transfers[0].amount_raw * 10**6 // raw(token, amount)
    assert share == 136_363  # 1.25 / 1.1 - 1


def test_from_another_protocol_it_is_a_cross_transfer() -> None:
    plan = plan_for(a_subaccount("a", health="1.1"), a_wallet())
    assert [(transfer.kind, transfer.donor) for transfer in plan.rescues[0].transfers] == [(Kind.CROSS, WALLET)]
    assert plan.rescues[0].donors == ()


def test_one_wei_of_collateral_short_of_the_trigger_is_due() -> None:
    exact = a_subaccount("a", weth="11.5", debt="17200", prices={WETH: "2000"})
    short = a_subaccount("a", weth="11.499999999999999999", debt="17200", prices={WETH: "2000"})
    assert plan_for(exact, a_wallet()).verdicts[A] == verdict.Watching()
    assert plan_for(short, a_wallet()).verdicts[A] == verdict.Rescue()


# Donors ---------------------------------------------------------------------------------------------------------------


def test_donors_without_debt_go_first_and_the_smallest_that_suffices_is_taken() -> None:
    needs = a_subaccount("a", health="1.1")
    indebted = a_subaccount("b", weth="1000", health="5")
    plan = plan_for(needs, indebted, a_subaccount("c", weth="50"), a_wallet("1.5"))
    assert [transfer.donor for transfer in plan.rescues[0].transfers] == [WALLET]


def test_when_none_suffices_alone_the_largest_goes_first() -> None:
    plan = plan_for(a_subaccount("a", health="1.1"), a_wallet("0.5"), a_subaccount("b", weth="1"))
    largest, rest = plan.rescues[0].transfers
    assert (largest.donor, largest.amount_raw) == (B, raw(WETH, "1"))
    assert (rest.donor, rest.amount_raw // 10**12) == (WALLET, 363_636)


@pytest.mark.parametrize(
    ("health", "gives"),
    [("1.2999", False), ("1.31", True), ("1.6", True)],
)
def test_a_donor_with_debt_gives_down_to_its_floor(health: str, gives: bool) -> None:
    plan = plan_for(a_subaccount("a", health="1.14", weth="1"), a_subaccount("b", health=health), last_stand=False)
    assert bool(plan.rescues) is gives
    if gives:
        assert plan.rescues[0].donors[0].after >= wad("1.3")


def test_a_donor_also_keeps_its_trigger_after_its_shock() -> None:
    """With a shock of 20 % it needs 1.15 / 0.8 = 1.4375, which is more than its floor of 1.30."""
    tested = {key: AccountSettings(shock_bps=2000) for key in ("morpho:a", "morpho:b")}
    plan = plan_for(a_subaccount("a", health="1.14"), a_subaccount("b", health="1.5"), overrides=tested)
    (donor,) = plan.rescues[0].donors
    assert donor.after_shock >= wad("1.15")
    assert donor.after // 10**14 == 14_375


def test_a_little_is_kept_back_from_a_donors_maximum() -> None:
    """At 1.5 the floor leaves 1.33333 WETH, of which a basis point stays."""
    plan = plan_for(a_subaccount("a", weth="30", health="1.14"), a_subaccount("b", health="1.5"))
    assert plan.rescues[0].transfers[0].amount_raw // 10**12 == 1_333_199


def test_a_donor_keeps_a_larger_cushion_than_whom_it_saves_even_above_its_floor() -> None:
    """A target of 1.25 with a shock of 5 % is a cushion of 4; the donor must keep a fall of 40 %, 1.667."""
    calm = {"morpho:a": AccountSettings(shock_bps=500)}
    plan = plan_for(a_subaccount("a", health="1.149"), a_subaccount("b", health="1.7"), overrides=calm)
    (donor,) = plan.rescues[0].donors
    assert donor.after // 10**14 == 16_671


def test_the_requirement_on_leaving_limits_a_donor_below_its_initial_ltv() -> None:
    """At a borrow LTV of 80 % under a liquidation LTV of 86 %, health 1.075 is the least with which anything leaves."""
    stingy = a_subaccount("b", health="1.5", lltv="0.86", initial_lltv="0.6")
    plan = plan_for(a_subaccount("a", health="1.14", weth="30"), stingy)
    (donor,) = plan.rescues[0].donors
    assert donor.after // 10**14 == 14_333  # 0.86 / 0.6


@pytest.mark.parametrize(
    "unwilling",
    [
        a_subaccount("b", health="2", cannot_give="the guard is not authorised"),
        a_subaccount("b", health="2", movable="0"),
        a_subaccount("b", health="2", is_enrolled=False),
        a_subaccount("b", health="2", reading=Unknown("no answer")),
        a_subaccount("b", health="2", reading=Stale("feed is 3 hours old")),
        a_subaccount("b", health="2", reading=FreshnessUnverified("no heartbeat is known")),
        a_subaccount("b", reading=Unknown("no answer")),
        a_subaccount("b", collateral={WBTC: "1"}),
    ],
)
def test_who_may_not_give_does_not(unwilling: Subaccount) -> None:
    plan = plan_for(a_subaccount("a", health="1.1"), unwilling)
    assert plan.rescues == ()
    assert isinstance(plan.verdicts[A], verdict.Unfunded)


def test_never_donate_is_obeyed_with_and_without_debt() -> None:
    never = {"morpho:b": AccountSettings(never_donate=True), "wallet": AccountSettings(never_donate=True)}
    plan = plan_for(a_subaccount("a", health="1.03"), a_subaccount("b", health="3"), a_wallet(), overrides=never)
    assert plan.rescues == ()


def test_what_may_leave_and_what_may_arrive_are_kept() -> None:
    limited = plan_for(a_subaccount("a", health="1.1", receivable="0.6"), a_subaccount("b", movable="0.7"))
    assert limited.rescues[0].transfers[0].amount_raw == raw(WETH, "0.6")
    liquid = plan_for(a_subaccount("a", health="1.1"), a_subaccount("b", movable="0.7"))
    assert liquid.rescues[0].transfers[0].amount_raw == raw(WETH, "0.7")


def test_the_guards_cap_is_shared_by_the_whole_plan() -> None:
    book = (a_subaccount("a", health="1.1"), a_subaccount("b", health="1.1"), a_wallet("100"))
    plan = plan_for(*book, caps={WETH: "2"})
    assert sum(transfer.amount_raw for rescue in plan.rescues for transfer in rescue.transfers) <= raw(WETH, "2")
    assert len(plan.rescues) == 2


@dataclass(frozen=True, slots=True)
class CollapsingMargin:
    """An account that may give a little more than is asked, or nothing, and collapses in between: no honest search
    foresees it."""

    straight: Margin

    def risk(
        self,
        deltas: Mapping[Address, int] = NOTHING,
        horizon: Horizon = NOW,
        falls_bps: Mapping[Address, int] = NOTHING,
        repaid: Mapping[Address, int] = NOTHING,
    ) -> Risk:
        risk = self.straight.risk(deltas, horizon, falls_bps, repaid)
        is_between = any(0 < -change < 43 * 10**16 for change in deltas.values())
        return risk._replace(collateral_value=risk.collateral_value // 2) if is_between else risk


def test_a_rescue_that_fails_the_exact_check_is_dropped_alone() -> None:
    treacherous = a_subaccount("b", health="2.5", movable="0.5")
    treacherous = replace(treacherous, margin=CollapsingMargin(treacherous.margin))
    book = (
        a_subaccount("a", weth="2", health="1.03"),
        treacherous,
        a_subaccount("c", collateral={WBTC: "1"}, health="1.1"),
        a_wallet(collateral={WBTC: "1"}),
    )
    plan = plan_for(*book)
    assert [rescue.recipient for rescue in plan.rescues] == [C]
    blocked = plan.verdicts[A]
    assert isinstance(blocked, verdict.Blocked)
    assert blocked.reason.startswith("its rescue fails the exact check: morpho:b would end at 1.19")


# Protect-only ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reading", [Stale("old"), FreshnessUnverified("no heartbeat is known")])
def test_on_a_doubtful_price_only_donors_without_debt_give(reading: Reading) -> None:
    doubtful = a_subaccount("a", health="1.1", reading=reading)
    assert plan_for(doubtful, a_subaccount("b", health="3")).rescues == ()
    assert [transfer.donor for transfer in plan_for(doubtful, a_wallet()).rescues[0].transfers] == [WALLET]


def test_an_unchecked_age_can_be_accepted_a_stale_price_cannot() -> None:
    def gives(reading: Reading) -> bool:
        book = (a_subaccount("a", health="1.1"), a_subaccount("b", health="3", reading=reading))
        return bool(plan_for(*book, overrides={"morpho:b": UNCHECKED}).rescues)

    assert gives(Fresh())
    assert gives(FreshnessUnverified("no heartbeat is known"))
    assert not gives(Stale("old"))


def test_a_pause_that_protects_leaves_donors_without_debt() -> None:
    book = (a_subaccount("a", health="1.1"), a_subaccount("b", health="3"), a_wallet("1"))
    plan = plan_for(*book, history=History(protect_only=True), last_stand=True)
    assert {transfer.donor for rescue in plan.rescues for transfer in rescue.transfers} <= {WALLET}


# What stands in the way -----------------------------------------------------------------------------------------------


def test_unknown_is_never_healthy_whatever_else_is_known() -> None:
    unread = a_subaccount("a", health="3", reading=Unknown("the oracle reverts"))
    assert plan_for(unread, a_wallet()).verdicts[A] == verdict.Unknown("the oracle reverts")


def test_an_account_that_is_not_enrolled_is_not_protected_however_healthy() -> None:
    for health in ("1.01", "3", None):
        plan = plan_for(a_subaccount("a", health=health, is_enrolled=False), a_wallet())
        assert plan.verdicts[A] == verdict.NotProtected()


def test_an_account_without_thresholds_is_unknown() -> None:
    known, new = a_wallet(), a_subaccount("a", health="1.1")
    plan = make_plan(a_snapshot(new, known), a_policy(known), History())
    assert isinstance(plan.verdicts[A], verdict.Unknown)
    assert plan.rescues == ()


def reason(plan: Plan) -> str:
    found = plan.verdicts[A]
    assert isinstance(found, verdict.Blocked)
    assert plan.rescues == ()
    return found.reason


def test_what_blocks_a_rescue_is_named() -> None:
    book = (a_subaccount("a", health="1.1"), a_wallet())
    policy = a_policy(*book)
    paused = make_plan(a_snapshot(*book, is_paused=True), policy, History())
    assert reason(paused) == "the guard is paused; only its owner can unpause it"
    frozen = plan_for(a_subaccount("a", health="1.1", cannot_receive="the market is frozen"), a_wallet())
    assert reason(frozen) == "the market is frozen"
    assert "has no cap for WETH" in reason(plan_for(*book, caps={}))
    assert "cap for WETH is used up" in reason(plan_for(*book, caps={WETH: "0"}))


@pytest.mark.parametrize("health", ["1.1", "1.35", "2"])
def test_whoever_is_liquidated_whatever_its_health_is_never_healthy(health: str) -> None:
    forced = replace(a_subaccount("a", health=health), forced_liquidation="anybody may; repay it by hand")
    assert reason(plan_for(forced, a_wallet())) == "anybody may; repay it by hand"


def test_without_a_guard_only_those_in_need_are_blocked() -> None:
    book = (a_subaccount("a", health="1.1"), a_subaccount("b", health="2"))
    snapshot = replace(a_snapshot(*book), guard=None, guard_problem="there is no code at 0x9a9a")
    plan = make_plan(snapshot, a_policy(*book), History())
    assert reason(plan) == "there is no code at 0x9a9a"
    assert plan.verdicts[B] == verdict.Healthy()


@pytest.mark.parametrize(("ceiling", "is_blocked"), [("1.0999", True), ("1.1", True), ("1.1001", False)])
def test_nothing_is_planned_into_an_account_at_or_above_the_guards_ceiling(ceiling: str, is_blocked: bool) -> None:
    book = (a_subaccount("a", weth="11", debt="17200"), a_wallet())
    snapshot = a_snapshot(*book, limits={"a": ("1.02", "1.04", ceiling)})
    plan = make_plan(snapshot, a_policy(*book, min_benefit_multiple=0), History())
    assert bool(plan.rescues) is not is_blocked
    assert isinstance(plan.verdicts[A], verdict.Blocked) is is_blocked


def test_the_guards_stricter_minimum_is_planned_with() -> None:
    """0.7 WETH bring it to 1.1021: enough for the file's 1.04, too little for a guard that demands 1.12."""
    book = (a_subaccount("a", health="1.03"), a_wallet("0.7"))
    policy = a_policy(*book, inclusion_seconds=0)
    assert make_plan(a_snapshot(*book), policy, History()).rescues
    strict = make_plan(a_snapshot(*book, limits={"a": ("1.02", "1.12", "1.2")}), policy, History())
    assert strict.rescues == ()
    assert isinstance(strict.verdicts[A], verdict.Unfunded)


@pytest.mark.parametrize(
    ("health", "seconds_ago", "reached", "expected"),
    [
        ("1.149", 299, "1.15", verdict.CoolingDown(NOON + 1)),
        ("1.149", 300, "1.15", verdict.Rescue()),
        ("1.149", 0, "1.1499", verdict.Rescue()),
        ("1.149", 0, "1.1605", verdict.CoolingDown(NOON + 300)),
        ("1.149", 0, "1.1608", verdict.Rescue()),
        ("1.0799", 0, "1.15", verdict.Rescue()),
    ],
)
def test_a_cooldown_follows_a_rescue_that_ended_its_need_until_it_falls(
    health: str, seconds_ago: int, reached: str, expected: verdict.Verdict
) -> None:
    history = History(last_rescues={A: LastRescue(NOON - seconds_ago, wad(reached))})
    assert plan_for(a_subaccount("a", health=health), a_wallet(), history=history).verdicts[A] == expected


def test_what_is_on_its_way_is_not_planned_twice_unless_a_critical_batch_takes_its_place() -> None:
    routine = History(in_flight=InFlight("plan-1", Lane.ROUTINE, frozenset({A})))
    calm = plan_for(a_subaccount("a", health="1.1"), a_subaccount("b", health="1.1"), a_wallet("9"), history=routine)
    assert calm.verdicts[A] == verdict.Rescue(in_flight=True)
    assert [rescue.recipient for rescue in calm.rescues] == [B]
    urgent = plan_for(a_subaccount("a", health="1.1"), a_subaccount("b", health="1.05"), a_wallet("9"), history=routine)
    assert urgent.verdicts[A] == verdict.Rescue(in_flight=False)
    assert {rescue.recipient for rescue in urgent.rescues} == {A, B}
    critical = History(in_flight=InFlight("plan-1", Lane.CRITICAL, frozenset({A})))
    busy = plan_for(a_subaccount("a", health="1.1"), a_subaccount("b", health="1.05"), a_wallet("9"), history=critical)
    assert {rescue.recipient for rescue in busy.rescues} == {A, B}, "who is critical does not wait for another's batch"
    served = History(in_flight=InFlight("plan-1", Lane.CRITICAL, frozenset({A, B})))
    busy = plan_for(a_subaccount("a", health="1.1"), a_subaccount("b", health="1.05"), a_wallet("9"), history=served)
    assert {busy.verdicts[each] for each in (A, B)} == {verdict.Rescue(in_flight=True)}


@pytest.mark.parametrize(("is_stuck", "recipients"), [(False, {B}), (True, {A, B})])
def test_what_is_stuck_is_planned_for_again_with_who_is_due_since(
    is_stuck: bool, recipients: set[SubaccountId]
) -> None:
    in_flight = InFlight("plan-1", Lane.ROUTINE, frozenset({A}), may_be_replaced=True, is_stuck=is_stuck)
    routine = History(in_flight=in_flight)
    plan = plan_for(a_subaccount("a", health="1.1"), a_subaccount("b", health="1.1"), a_wallet("9"), history=routine)
    assert {rescue.recipient for rescue in plan.rescues} == recipients


@pytest.mark.parametrize(
    ("may_be_replaced", "others", "recipients"),
    [
        (True, "1.05", {A, B}),
        (True, "1.1", {A, B}),
        (True, "2", {A}),
        (False, "1.05", {A, B}),
        (False, "2", set[SubaccountId]()),
    ],
)
def test_a_critical_plan_serves_the_recipients_of_the_stuck_batch_whose_place_it_takes(
    may_be_replaced: bool, others: str, recipients: set[SubaccountId]
) -> None:
    stuck = History(in_flight=InFlight("plan-1", Lane.CRITICAL, frozenset({A}), may_be_replaced))
    book = (a_subaccount("a", health="1.05"), a_subaccount("b", health=others), a_wallet("9"))
    assert {rescue.recipient for rescue in plan_for(*book, history=stuck).rescues} == recipients


def test_a_routine_plan_never_takes_the_place_of_a_batch_in_flight() -> None:
    stuck = History(in_flight=InFlight("plan-1", Lane.CRITICAL, frozenset({A}), may_be_replaced=True))
    plan = plan_for(a_subaccount("a", health="1.1"), a_subaccount("b", health="1.1"), a_wallet("9"), history=stuck)
    assert plan.verdicts[A] == verdict.Rescue(in_flight=True)
    assert [rescue.recipient for rescue in plan.rescues] == [B]


def test_unfunded_says_how_much_is_missing_and_what_the_owner_can_do() -> None:
    plan = plan_for(a_subaccount("a", health="1.1"), a_wallet("0.1"))
    found = plan.verdicts[A]
    assert isinstance(found, verdict.Unfunded)
    assert found.need_raw // 10**12 == 1_363_636
    assert found.token_symbol == "WETH"
    assert found.reason == (
        "what may move brings it to 1.1110; it needs 1.2500: repay 1,876.37 USDC ($1,877), or deposit 1.36364 WETH "
        "($2,728)"
    )


@pytest.mark.parametrize(("amount", "is_rescued"), [("0.4545", False), ("0.4546", True)])
def test_a_routine_rescue_ends_the_need_or_waits(amount: str, is_rescued: bool) -> None:
    """From 1.1 to its trigger it takes 0.45455 WETH; less would have to be followed by another one soon."""
    plan = plan_for(a_subaccount("a", health="1.1"), a_wallet(amount))
    assert isinstance(plan.verdicts[A], verdict.Rescue if is_rescued else verdict.Unfunded)
    assert bool(plan.rescues) is is_rescued


def test_a_collateral_that_is_worth_nothing_leaves_it_to_the_owner() -> None:
    plan = plan_for(a_subaccount("a", weth="1", prices={WETH: "0"}, debt="100"), a_wallet())
    assert isinstance(plan.verdicts[A], verdict.Blocked)
    assert plan.rescues == ()


def test_a_batch_holds_sixteen_rescues_and_the_rest_is_told() -> None:
    book = [a_subaccount(f"{index:02}", weth="1", health="1.1") for index in range(17)]
    plan = plan_for(*book, a_wallet("1000"))
    assert len(plan.rescues) == 16
    left_out = [id for id, found in plan.verdicts.items() if isinstance(found, verdict.Blocked)]
    assert left_out == [SubaccountId("morpho", "16")]


def test_a_rescue_takes_from_eight_donors_at_most() -> None:
    """It needs 2.73 WETH, nine donors have 0.3 each: eight bring it to 1.232."""
    donors = [a_subaccount(f"d{index}", weth="0.3") for index in range(9)]
    (rescue,) = plan_for(a_subaccount("a", weth="20", health="1.1"), *donors).rescues
    assert len(rescue.transfers) == 8
    assert rescue.effect.after // 10**14 == 12_320


def test_dust_is_left_out_of_a_rescue_that_does_without() -> None:
    """Of the 1.364 WETH that it needs, a donor has 1.36 and another 0.01: one transfer brings it to 1.2496."""
    (rescue,) = plan_for(a_subaccount("a", health="1.1"), a_subaccount("b", weth="1.36"), a_wallet("0.01")).rescues
    assert [transfer.donor for transfer in rescue.transfers] == [B]
    assert rescue.effect.after // 10**14 == 12_496


# Economics ------------------------------------------------------------------------------------------------------------


def test_a_routine_rescue_that_costs_more_than_it_saves_is_uneconomic_and_a_critical_one_never_is() -> None:
    """0.01 WETH at 1.13 puts 0.76 USD at stake; 190,000 gas at 20 gwei cost 7.60 USD."""
    expensive = History(gas_price_wei=20 * 10**9)
    plan = plan_for(
        a_subaccount("a", weth="0.01", health="1.13"), a_wallet(), history=expensive, min_benefit_multiple=3
    )
    found = plan.verdicts[A]
    assert isinstance(found, verdict.Uneconomic)
    assert found.cost_usd == wad("7.6")
    assert found.benefit_usd < wad("0.05")
    assert plan.rescues == ()
    critical = plan_for(
        a_subaccount("a", weth="0.01", health="1.05"), a_wallet(), history=expensive, min_benefit_multiple=3
    )
    assert critical.verdicts[A] == verdict.Rescue()


def test_what_an_uneconomic_rescue_leaves_goes_to_the_next() -> None:
    tiny = a_subaccount("a", weth="0.01", health="1.13", penalty_bps=1500)
    plan = plan_for(
        tiny,
        a_subaccount("b", weth="100", health="1.13"),
        a_wallet("3"),
        history=History(gas_price_wei=20 * 10**9),
        min_benefit_multiple=3,
    )
    assert isinstance(plan.verdicts[A], verdict.Uneconomic)
    assert [rescue.recipient for rescue in plan.rescues] == [B]


def test_a_missing_price_is_said_and_nothing_is_judged_by_it() -> None:
    book = (a_subaccount("a", weth="0.01", health="1.13"), a_wallet())
    policy = a_policy(*book)
    without_native = make_plan(a_snapshot(*book, usd_per_native=None), policy, History(gas_price_wei=10**12))
    assert without_native.verdicts[A] == verdict.Rescue()
    assert any("whether routine rescues pay for their gas is not judged" in note for note in without_native.notes)
    usd = {token: price for token, price in USD.items() if token != USDC.address}
    without_debt_price = make_plan(a_snapshot(*book, usd=usd), policy, History(gas_price_wei=10**12))
    assert without_debt_price.rescues[0].loss_avoided_usd is None
    assert without_debt_price.notes == ("no USD price for the debt of morpho:a: losses are compared relatively",)


def test_measured_volatility_decides_what_a_rescue_is_worth() -> None:
    feed = Address("0x" + "fe" * 20)
    book = (a_subaccount("a", weth="1", health="1.13", feeds=(feed,)), a_wallet())

    def verdict_at(volatility_bps: int) -> verdict.Verdict:
        history = History(gas_price_wei=20 * 10**9, volatility_bps_per_day={feed: volatility_bps})
        return plan_for(*book, history=history, min_benefit_multiple=3).verdicts[A]

    assert isinstance(verdict_at(200), verdict.Uneconomic)
    assert verdict_at(2000) == verdict.Rescue()


@pytest.mark.parametrize(("price", "is_rescued"), [("1719.9", False), ("1720", False), ("1720.1", True)])
def test_an_account_worth_no_more_than_it_owes_is_not_paid_for(price: str, is_rescued: bool) -> None:
    """10 WETH against 17,200 USDC: at 1,720 its collateral is worth just its debt."""
    book = (a_subaccount("a", debt="17200", prices={WETH: price}), a_wallet("50"))
    plan = plan_for(*book)
    assert bool(plan.rescues) is is_rescued
    assert isinstance(plan.verdicts[A], verdict.Blocked) is not is_rescued


# The shock ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "owed", "is_tested"),
    [
        ("0", "0", True),  # what may still arrive
        ("10", "0", True),
        ("10", "4.3", True),  # 10 WETH count for 8.6
        ("10", "8.6", True),
        ("10", "8.600000000000000001", False),  # it owes more of it than counts: a fall would make it look better
        ("0", "1", False),
    ],
)
def test_an_account_is_tested_against_falls_of_what_it_has_more_of_than_it_owes(
    held: str, owed: str, is_tested: bool
) -> None:
    both = a_subaccount("a", collateral={WETH: held, WBTC: "1"}, debt=owed, debt_token=WETH)
    assert shock(both, 1_000) == {WBTC.address: 1_000} | ({WETH.address: 1_000} if is_tested else {})

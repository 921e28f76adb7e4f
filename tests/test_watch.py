"""What a person is told of a cycle: each alarm when its fact holds, and none when all is well."""

from dataclasses import replace

import pytest

from keeper.alerts import Alarm, Raised
from keeper.core.fees import Market
from keeper.core.plan import History, Lane
from keeper.core.planner import make_plan
from keeper.core.policy import AccountSettings
from keeper.core.snapshot import FreshnessUnverified, Reading, SecondPrice, Snapshot, Stale, Unknown
from keeper.core.units import Address
from keeper.watch import alarms_in, budget_alarms, gas_alarms
from tests.builders import KEEPER, USDC, WETH, a_policy, a_snapshot, a_subaccount, a_wallet

GWEI = 10**9
STRANGER = Address("0x" + "57" * 20)


def told(snapshot: Snapshot, hot_key: Address | None = KEEPER, settings: AccountSettings | None = None) -> list[Raised]:
    policy = a_policy(*snapshot.subaccounts, everywhere=settings)
    return list(alarms_in(snapshot, make_plan(snapshot, policy, History()), policy, hot_key))


def test_a_wallet_that_is_well_is_silent() -> None:
    assert told(a_snapshot(a_subaccount("a", health="2"), a_subaccount("b"), a_wallet())) == []


def test_a_rescue_that_is_planned_is_no_alarm() -> None:
    assert told(a_snapshot(a_subaccount("a", health="1.1"), a_wallet("100"))) == []


def test_an_account_that_nobody_can_save() -> None:
    ((alarm, subject, says),) = told(a_snapshot(a_subaccount("a", health="1.1")))
    assert (alarm, subject) == (Alarm.UNFUNDED, "morpho:a")
    assert says.startswith("morpho a (morpho:a) is unfunded: ")


@pytest.mark.parametrize(("debt", "is_told"), [("17199.99", False), ("17200", False), ("17200.01", True)])
def test_an_account_that_can_be_liquidated_now(debt: str, is_told: bool) -> None:
    """10 WETH at 2000 count 17,200 at an LLTV of 0.86."""
    raised = told(a_snapshot(a_subaccount("a", weth="10", debt=debt)))
    assert ((Alarm.LIQUIDATABLE, "morpho:a", "morpho a (morpho:a) can be liquidated now.") in raised) is is_told


def test_an_account_that_can_be_liquidated_whatever_its_health() -> None:
    forced = replace(a_subaccount("a", health="2"), forced_liquidation="anybody may; repay it by hand")
    assert told(a_snapshot(forced, a_wallet("100"))) == [
        (Alarm.BLOCKED, "morpho:a", "morpho a (morpho:a) is blocked: anybody may; repay it by hand."),
        (Alarm.LIQUIDATABLE, "morpho:a", "morpho a (morpho:a) can be liquidated now: anybody may; repay it by hand."),
    ]


def test_an_account_that_cannot_be_read_comes_with_the_way_to_its_owners_help() -> None:
    raised = told(a_snapshot(a_subaccount("a", debt="1", reading=Unknown("its oracle reverts"))))
    says = "morpho a (morpho:a) is unknown: its oracle reverts; `keeper explain morpho:a` says what its owner can do."
    assert raised == [(Alarm.UNKNOWN, "morpho:a", says)]


@pytest.mark.parametrize(("health", "is_told"), [("1.5", True), (None, False)])
def test_a_position_that_is_not_enrolled_is_an_alarm_when_it_owes(health: str | None, is_told: bool) -> None:
    raised = told(a_snapshot(a_subaccount("a", health=health, is_enrolled=False)))
    assert [alarm for alarm, _, _ in raised] == ([Alarm.NOT_PROTECTED] if is_told else [])


@pytest.mark.parametrize(
    ("reading", "oracle_age", "is_told"),
    [
        (Stale("ETH/USD is 2 d old"), None, True),
        (Stale("ETH/USD is 2 d old"), True, True),
        (FreshnessUnverified("no heartbeat"), None, True),
        (FreshnessUnverified("no heartbeat"), True, False),
    ],
)
def test_a_price_of_unknown_age_is_an_alarm_unless_the_owner_accepts_it(
    reading: Reading, oracle_age: bool | None, is_told: bool
) -> None:
    settings = AccountSettings(accept_unchecked_age=oracle_age)
    raised = told(a_snapshot(a_subaccount("a", health="2", reading=reading)), settings=settings)
    assert [alarm for alarm, _, _ in raised] == ([Alarm.STALE_PRICE] if is_told else [])


def test_a_disputed_price_is_told_with_the_worst_that_it_may_mean() -> None:
    second = SecondPrice(WETH, "the pool", USDC.address, 1_000 * 10**18)
    raised = told(replace(a_snapshot(a_subaccount("a", health="2.2"), a_wallet("100")), second_prices=(second,)))
    says = (
        "morpho a (morpho:a): WETH is 2,000 USDC by its oracle and 1,000 by the pool; at the worst of it its "
        "health is 1.1000, and only those without debt give to it."
    )
    assert raised == [(Alarm.PRICE_DISPUTED, "morpho:a", says)]


def test_a_second_source_that_says_nothing_is_told() -> None:
    second = SecondPrice(WETH, "the pool", USDC.address, None, "it reverts")
    raised = told(replace(a_snapshot(a_subaccount("a", health="2")), second_prices=(second,)))
    assert raised == [(Alarm.PRICE_UNCHECKED, "WETH", "The price of WETH is not checked by the pool: it reverts.")]


def test_a_sequencer_that_is_down() -> None:
    raised = told(replace(a_snapshot(a_subaccount("a", health="2")), sequencer_problem="the chain's sequencer is down"))
    says = "The chain's sequencer is down; only those without debt give."
    assert raised == [(Alarm.SEQUENCER_DOWN, "sequencer", says)]


def test_a_guard_that_is_paused() -> None:
    says = "The guard is paused, nothing can be moved; only the owner can unpause it."
    assert told(a_snapshot(a_wallet(), is_paused=True)) == [(Alarm.GUARD_PROBLEM, "guard", says)]


def test_a_guard_that_listens_to_somebody_else() -> None:
    says = f"The guard's keeper is {KEEPER}, not this hot key {STRANGER}; the owner sends setKeeper."
    assert told(a_snapshot(a_wallet()), STRANGER) == [(Alarm.GUARD_PROBLEM, "keeper", says)]
    assert told(a_snapshot(a_wallet()), None) == []


def test_no_guard_at_all() -> None:
    snapshot = replace(a_snapshot(a_wallet()), guard=None, guard_problem="there is none; `keeper setup` deploys it")
    assert told(snapshot) == [(Alarm.GUARD_PROBLEM, "guard", "there is none; `keeper setup` deploys it.")]


@pytest.mark.parametrize(("left", "is_told"), [("0", True), ("0.000000000000000001", False)])
def test_a_cap_that_is_used_up(left: str, is_told: bool) -> None:
    raised = told(a_snapshot(a_wallet(), caps={WETH: left}))
    assert [(alarm, subject) for alarm, subject, _ in raised] == ([(Alarm.PERMISSION_LOW, "WETH")] if is_told else [])


def test_a_permission_that_is_missing() -> None:
    raised = told(a_snapshot(a_subaccount("a", health="2", cannot_give="the guard is not authorised on Morpho")))
    says = "morpho a (morpho:a) cannot give: the guard is not authorised on Morpho."
    assert raised == [(Alarm.PERMISSION_LOW, "morpho:a", says)]


TODAY, STORM = Market(GWEI, 0, GWEI), Market(20 * GWEI, 0, GWEI)
IN_A_STORM = 235_000 * (22_500_000_000 + GWEI)
"""Of a rescue: 235,000 gas at 22.5 gwei, the most in two blocks, and 1 of tip."""


@pytest.mark.parametrize(
    ("balance_wei", "is_told"), [(10 * IN_A_STORM - 1, True), (10 * IN_A_STORM, False), (0, True), (None, False)]
)
def test_gas_for_fewer_than_ten_rescues_in_a_storm(balance_wei: int | None, is_told: bool) -> None:
    raised = list(gas_alarms(balance_wei, TODAY, STORM, "ETH"))
    assert [alarm for alarm, _, _ in raised] == ([Alarm.GAS_LOW] if is_told else [])


def test_gas_money_is_told_in_rescues_at_today_s_fees_and_at_a_storm_s() -> None:
    ((_, _, says),) = gas_alarms(5 * IN_A_STORM, TODAY, STORM, "POL")
    left = "The hot key has 0.027613 POL left for gas, enough for 55 rescues at today's fees"
    assert says == f"{left} and 5 in a storm; send it some."


def test_on_a_rollup_little_is_enough() -> None:
    """0.01 gwei, and 0.2 in a storm: 0.0006 lasts for eleven rescues."""
    today, storm = Market(GWEI // 100, 0, 0), Market(GWEI // 5, 0, 0)
    assert list(gas_alarms(6 * 10**14, today, storm, "ETH")) == []


@pytest.mark.parametrize(
    ("balance", "movable", "is_told"), [("10", "0", True), ("10", "0.000000000000000001", False), ("0", "0", False)]
)
def test_a_wallet_whose_allowance_is_gone(balance: str, movable: str, is_told: bool) -> None:
    wallet = a_subaccount("", weth=balance, movable=movable, protocol="wallet")
    says = (
        "No WETH can be given by the wallet: the guard's allowance is missing or used up, or WETH is not enrolled; "
        "see `keeper check`."
    )
    assert told(a_snapshot(wallet)) == ([(Alarm.PERMISSION_LOW, "wallet WETH", says)] if is_told else [])


def test_a_token_of_the_wallet_that_cannot_be_read_is_named() -> None:
    wallet = replace(a_wallet(), unread=("the balance of WBTC cannot be read: stale",))
    says = "wallet: the balance of WBTC cannot be read: stale."
    assert told(a_snapshot(wallet)) == [(Alarm.UNKNOWN, "wallet", says)]


@pytest.mark.parametrize(
    ("left_wei", "lanes"),
    [
        ((235_000 * 12 * GWEI, 235_000 * 12 * GWEI), []),
        ((235_000 * 12 * GWEI - 1, 235_000 * 12 * GWEI), ["routine"]),
        ((0, 0), ["routine", "critical"]),
    ],
)
def test_a_day_s_budget_that_does_not_last_for_another_rescue(left_wei: tuple[int, int], lanes: list[str]) -> None:
    """235,000 gas at 9 gwei, the most in two blocks, and 3 of tip."""
    left = dict(zip(Lane, left_wei, strict=True))
    raised = list(budget_alarms(left, Market(8 * GWEI, GWEI, 3 * GWEI), "ETH"))
    assert [(alarm, subject) for alarm, subject, _ in raised] == [(Alarm.BUDGET_LOW, lane) for lane in lanes]


def test_what_is_left_of_a_budget_is_said() -> None:
    ((_, _, says),) = budget_alarms({Lane.ROUTINE: 10**14}, Market(8 * GWEI, GWEI, 3 * GWEI), "BNB")
    left = "Of the day's gas budget 0.0001 BNB is left for routine rescues, less than one costs now"
    assert says == f"{left}; raise [fees] daily_budget."

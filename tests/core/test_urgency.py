"""How soon an account may be liquidated, and what storms and congestion do to its thresholds."""

from dataclasses import fields, replace

import pytest

from keeper.core import verdict
from keeper.core.plan import History, Lane, LastRescue, Plan
from keeper.core.planner import make_plan
from keeper.core.policy import AccountSettings, Pair, Policy, PolicySettings, Thresholds, resolve
from keeper.core.snapshot import Subaccount, SubaccountId
from keeper.core.units import WAD, Address
from keeper.core.urgency import (
    Source,
    Volatility,
    hurried,
    inclusion_seconds,
    limits_now,
    seconds_to_liquidation,
    volatility_of,
    widened,
)
from tests.builders import NOON, USDC, WETH, a_policy, a_snapshot, a_subaccount, a_wallet, wad

FEED = Address("0x" + "fe" * 20)
OTHER = Address("0x" + "fd" * 20)
A = SubaccountId("morpho", "a")
HOUR = 3600
GWEI = 10**9


def moving(bps: int) -> History:
    return History(volatility_bps_per_day={FEED: bps})


def an_account(health: str, key: str = "a", weth: str = "10") -> Subaccount:
    return a_subaccount(key, weth=weth, health=health, feeds=(FEED,))


def limits(*healths: str) -> Thresholds:
    return Thresholds(*(wad(health) for health in healths))


USUAL = limits("1.02", "1.04", "1.08", "1.15", "1.2", "1.25", "1.3", "1.4")


# Volatility -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({FEED: 300, OTHER: 400}, Volatility(500, Source.MEASURED)),
        ({FEED: 180, OTHER: 240}, Volatility(300, Source.MEASURED)),
        ({FEED: 180, OTHER: 238}, Volatility(300, Source.MINIMUM)),  # 299
        ({FEED: 900}, Volatility(500, Source.ASSUMED)),
        (dict[Address, int](), Volatility(500, Source.ASSUMED)),
    ],
)
def test_a_volatility_is_measured_on_every_feed_and_no_less_than_the_minimum(
    known: dict[Address, int], expected: Volatility
) -> None:
    account = a_subaccount("a", feeds=(FEED, OTHER))
    assert volatility_of(account, a_policy(account), History(volatility_bps_per_day=known)) == expected


def test_the_minimum_alone_is_no_storm_where_the_owner_expects_less() -> None:
    account = a_subaccount("a", health="1.2", feeds=(FEED,))
    policy = a_policy(account, everywhere=AccountSettings(shock_bps=300))
    assert volatility_of(account, policy, moving(100)) == Volatility(150, Source.MINIMUM)


def test_of_a_pair_that_moves_together_the_feeds_say_nothing() -> None:
    account = a_subaccount("a", health="1.02", feeds=(FEED,), lltv="0.945")
    policy = a_policy(account, lltv="0.945")
    assert volatility_of(account, policy, moving(3_000)) == Volatility(97, Source.TOGETHER)


# Inclusion ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base_fee", "low", "delay", "expected"),
    [
        (10, 0, 0, 36),
        (10, 10, 0, 36),
        (19, 10, 0, 36),
        (20, 10, 0, 72),
        (200, 10, 0, 180),  # twenty times as much in 40 minutes: 2021-05-19
        (5, 10, 0, 36),
        (20, 10, 71, 72),
        (20, 10, 73, 73),
        (10, 10, 5_000, 3_600),
    ],
)
def test_a_transaction_takes_longer_when_the_base_fee_doubled_or_the_last_ones_did(
    base_fee: int, low: int, delay: int, expected: int
) -> None:
    history = History(base_fee_low_wei=low * GWEI, inclusion_delay_seconds=delay)
    block = a_snapshot(base_fee_wei=base_fee * GWEI).block
    assert inclusion_seconds(a_policy(), history, block) == expected


# How soon -------------------------------------------------------------------------------------------------------------


def test_the_time_to_liquidation_shrinks_with_the_square_of_how_much_prices_move() -> None:
    """From 1.08 with 5 % a day it is 2.5758 deviations in 8.6 hours, from 1.08 with 20 % in half an hour; the chance
    of a jump, and rounding to whole hundredths of a per cent, make it a little less."""
    account = a_subaccount("a", health="1.08")
    hours = [(seconds_to_liquidation(account, bps, 0) or 0) / HOUR for bps in (500, 2_000)]
    assert hours == pytest.approx([7.90, 0.53], abs=0.01)


def test_without_a_day_of_wind_a_jump_is_what_remains() -> None:
    """Two in a hundred days, a third of them as large as 7.4 %: a chance of one in a hundred takes 30 hours."""
    found = seconds_to_liquidation(a_subaccount("a", health="1.08"), 1, 0)
    assert found is not None
    assert found / HOUR == pytest.approx(30.2, abs=0.5)


def test_interest_alone_liquidates_in_the_end() -> None:
    """At 100 % a year a debt grows by half a per cent in 44 hours; at a still price it is a jump that comes first."""
    at_rate = {rate: a_subaccount("a", health="1.005", rate=rate) for rate in ("0", "1", "10")}
    hours = [(seconds_to_liquidation(account, 1, 0) or 0) / HOUR for account in at_rate.values()]
    assert hours == pytest.approx([12.6, 12.2, 4.2], abs=0.3)
    assert seconds_to_liquidation(at_rate["0"], 1, 10 * WAD) == seconds_to_liquidation(at_rate["10"], 1, 0)


@pytest.mark.parametrize(("health", "expected"), [("1", 0), ("0.9", 0), ("20", None), (None, None)])
def test_at_the_line_there_is_no_time_left_and_far_from_it_no_end_in_sight(
    health: str | None, expected: int | None
) -> None:
    assert seconds_to_liquidation(a_subaccount("a", health=health), 500, 0) == expected


# Thresholds -----------------------------------------------------------------------------------------------------------


def test_where_health_protects_from_nothing_there_is_no_time_left() -> None:
    forced = replace(an_account("2"), forced_liquidation="anybody may")
    assert seconds_to_liquidation(forced, 300, 0) == 0


def test_in_a_calm_nothing_is_widened() -> None:
    assert widened(USUAL, 500, 500) == USUAL
    assert widened(USUAL, 500, 100) == USUAL


def test_distances_from_the_line_grow_with_the_volatility() -> None:
    expected = limits("1.02", "1.04", "1.08", "1.18", "1.2", "1.3", "1.36", "1.4")
    assert widened(USUAL, 500, 600) == expected


def test_the_trigger_keeps_a_quarter_of_its_room_and_the_target_half() -> None:
    expected = limits("1.02", "1.04", "1.08", "1.1875", "1.2", "1.3125", "1.375", "1.4")
    assert widened(USUAL, 500, 5_000) == expected
    full = replace(USUAL, max_after=wad("1.3"))
    assert widened(full, 500, 5_000).target == wad("1.275")


def test_a_trigger_at_the_ceiling_leaves_nothing_to_widen() -> None:
    tight = replace(USUAL, rescue_ceiling=USUAL.trigger)
    assert widened(tight, 500, 5_000) == tight


@pytest.mark.parametrize(
    ("imminent", "critical", "trigger"),
    [("1.0799", "1.08", "1.15"), ("1.1", "1.1", "1.15"), ("1.18", "1.18", "1.18"), ("1.3", "1.2", "1.2")],
)
def test_who_may_be_liquidated_soon_is_critical_as_far_as_the_guard_lets_it_be_helped(
    imminent: str, critical: str, trigger: str
) -> None:
    found = hurried(USUAL, wad(imminent))
    assert (found.critical, found.trigger) == (wad(critical), wad(trigger))


@pytest.mark.parametrize("volatility_bps", [0, 300, 500, 700, 1_000, 3_000, 20_000, 10**9])
def test_no_weather_lowers_a_threshold_or_puts_them_out_of_order(volatility_bps: int) -> None:
    account = an_account("1.1")
    snapshot, policy = a_snapshot(account), a_policy(account)
    found = limits_now(account, snapshot, policy, moving(volatility_bps), is_widened=True)
    for one in fields(Thresholds):
        assert getattr(found, one.name) >= getattr(USUAL, one.name)
    assert found.critical <= found.trigger <= found.rescue_ceiling <= found.target < found.floor
    assert found.target < found.max_after


def test_the_guards_own_ceiling_and_maximum_hold_in_a_storm() -> None:
    account = an_account("1.1")
    snapshot = a_snapshot(account, limits={"a": ("1.02", "1.04", "1.17", "1.3")})
    found = limits_now(account, snapshot, a_policy(account), moving(3_000), is_widened=True)
    assert (found.trigger, found.target) == (wad("1.165"), wad("1.275"))


# Plans ----------------------------------------------------------------------------------------------------------------


def plan_in(history: History, *book: Subaccount, policy: Policy | None = None, is_paused: bool = False) -> Plan:
    snapshot = a_snapshot(*book, is_paused=is_paused)
    return make_plan(snapshot, policy or a_policy(*book, min_benefit_multiple=0), history)


def test_a_storm_builds_buffers_early_and_says_so() -> None:
    book = (an_account("1.17"), a_wallet())
    calm, stormy = plan_in(moving(500), *book), plan_in(moving(700), *book)
    assert (calm.rescues, calm.notes) == ((), ())
    (rescue,) = stormy.rescues
    assert rescue.lane is Lane.ROUTINE
    assert rescue.effect.after // 10**14 == 13_125
    (note,) = stormy.notes
    assert note == (
        "trigger, target and floor of morpho a are widened, as far as the guard lets them: prices move 7.0 % a day, "
        "and they were made for 5.0 %"
    )


def test_a_storm_never_keeps_a_rescue_from_whom_the_owners_own_thresholds_would_help() -> None:
    """The donor is at 1.375: nothing to spare above a floor of 1.375, half a WETH above one of 1.3."""
    book = (an_account("1.14", weth="2"), an_account("1.375", "b"))
    assert [rescue.recipient for rescue in plan_in(moving(500), *book).rescues] == [A]
    stormy = plan_in(moving(1_000), *book)
    assert [rescue.recipient for rescue in stormy.rescues] == [A]
    assert not stormy.is_widened


def test_who_is_early_and_cannot_be_helped_is_watched_and_no_alarm() -> None:
    book = (an_account("1.17"), a_wallet("0.001"))
    assert plan_in(moving(1_000), *book).verdicts[A] == verdict.Watching()
    assert plan_in(moving(1_000), an_account("1.17"), is_paused=True).verdicts[A] == verdict.Watching()
    assert isinstance(plan_in(moving(1_000), an_account("1.14"), a_wallet("0.001")).verdicts[A], verdict.Unfunded)


def test_congestion_in_a_storm_makes_critical_what_a_calm_block_would_not() -> None:
    """At 45 % a day, one price in a hundred falls by 4.6 % within four inclusions of 36 seconds, and by 13.9 % within
    four of six minutes."""
    book = (an_account("1.14"), a_wallet())
    assert plan_in(moving(4_500), *book).lane is Lane.ROUTINE
    congested = replace(moving(4_500), inclusion_delay_seconds=360)
    assert plan_in(congested, *book).lane is Lane.CRITICAL


def test_narrow_thresholds_do_not_hide_that_liquidation_is_near() -> None:
    narrow = AccountSettings(
        hard_floor=wad("1.001"), survive=wad("1.001"), critical=wad("1.002"), trigger=wad("1.003"), shock_bps=1_000
    )
    book = (an_account("1.02"), a_wallet())
    policy = a_policy(*book, everywhere=narrow)
    assert plan_in(moving(500), *book, policy=policy).rescues == ()
    assert plan_in(moving(2_000), *book, policy=policy).lane is Lane.CRITICAL


def test_no_cooldown_mutes_who_may_be_liquidated_soon() -> None:
    """Rescued a second ago and hardly fallen since, above the owner's critical."""
    book = (an_account("1.12"), a_wallet())
    cooling = {A: LastRescue(NOON - 1, wad("1.15"))}
    fallen_little = replace(moving(500), last_rescues={A: LastRescue(NOON - 1, wad("1.1501"))})
    assert isinstance(plan_in(fallen_little, an_account("1.149"), a_wallet()).verdicts[A], verdict.CoolingDown)
    hurry = replace(moving(4_000), last_rescues=cooling, inclusion_delay_seconds=400)
    assert plan_in(hurry, *book).verdicts[A] == verdict.Rescue()


def test_correlated_pairs_keep_their_thresholds_in_the_storm_of_their_common_price() -> None:
    pair = Pair(A, wad("0.945"), "wstETH", "WETH")
    policy = resolve(PolicySettings(), [pair])
    account = a_subaccount("a", collateral={WETH: "10"}, debt_token=USDC, health="1.04", lltv="0.945", feeds=(FEED,))
    snapshot = a_snapshot(account)
    own = policy.subaccounts[A].thresholds
    assert limits_now(account, snapshot, policy, moving(3_000), is_widened=True) == own
    assert own.trigger < WAD * 103 // 100

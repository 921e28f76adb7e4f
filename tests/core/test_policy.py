"""Thresholds: their order, their defaults, the owner's overrides and the guard's stricter limits."""

from dataclasses import fields, replace

import pytest

from keeper.core.policy import (
    AccountSettings,
    Pair,
    PolicySettings,
    Thresholds,
    default_thresholds,
    disagreements,
    enforced,
    resolve,
)
from keeper.core.snapshot import SubaccountId
from keeper.core.units import WAD
from keeper.errors import ConfigError
from tests.builders import a_policy, a_snapshot, a_subaccount, a_wallet, wad

USUAL = Thresholds(
    hard_floor=wad("1.02"),
    survive=wad("1.04"),
    critical=wad("1.08"),
    trigger=wad("1.15"),
    rescue_ceiling=wad("1.20"),
    target=wad("1.25"),
    floor=wad("1.30"),
    max_after=wad("1.40"),
)
ETH = SubaccountId("morpho", "0x3a85")
BTC = SubaccountId("morpho", "0x3b01")
WALLET = SubaccountId("wallet")


# Order ----------------------------------------------------------------------------------------------------------------


def test_the_usual_thresholds_are_in_order() -> None:
    assert USUAL.problems() == ()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"hard_floor": "1"}, "hard_floor = 1.00 must be above 1, the liquidation line"),
        ({"hard_floor": "1.05"}, "survive = 1.04 must be at or above hard_floor = 1.05"),
        ({"survive": "1.09"}, "critical = 1.08 must be at or above survive = 1.09"),
        ({"critical": "1.15"}, "trigger = 1.15 must be above critical = 1.15"),
        ({"trigger": "1.21"}, "rescue_ceiling = 1.20 must be at or above trigger = 1.21"),
        ({"target": "1.19"}, "target = 1.19 must be at or above rescue_ceiling = 1.20"),
        ({"floor": "1.25"}, "floor = 1.25 must be above target = 1.25"),
        ({"max_after": "1.29"}, "max_after = 1.29 must be at or above floor = 1.30"),
    ],
)
def test_thresholds_out_of_order_are_named_with_their_values(changes: dict[str, str], problem: str) -> None:
    assert problem in replace(USUAL, **{key: wad(value) for key, value in changes.items()}).problems()


@pytest.mark.parametrize(
    "changes",
    [
        {"hard_floor": "1.000000000000000001"},
        {"hard_floor": "1.04"},
        {"survive": "1.08"},
        {"critical": "1.149999999999999999"},
        {"trigger": "1.20"},
        {"target": "1.20"},
        {"floor": "1.250000000000000001"},
        {"max_after": "1.30"},
    ],
)
def test_thresholds_that_just_fit_are_in_order(changes: dict[str, str]) -> None:
    assert replace(USUAL, **{key: wad(value) for key, value in changes.items()}).problems() == ()


# Defaults -------------------------------------------------------------------------------------------------------------


def test_a_volatile_pair_counts_in_days_of_volatility() -> None:
    default = default_thresholds(Pair(ETH, wad("0.86"), "WETH", "USDC"))
    assert default.thresholds == USUAL
    assert default.shock_bps == 1000
    assert "WETH/USDC moves by 5 % in a usual day (assumed" in default.why


def test_a_measured_volatility_takes_the_place_of_the_assumed_one() -> None:
    default = default_thresholds(Pair(ETH, wad("0.86"), "WETH", "USDC", volatility_bps_per_day=300))
    assert default.thresholds == Thresholds(
        wad("1.012"), wad("1.024"), wad("1.048"), wad("1.09"), wad("1.12"), wad("1.15"), wad("1.18"), wad("1.24")
    )
    assert default.shock_bps == 600
    assert "(measured)" in default.why


def test_a_correlated_pair_counts_in_shares_of_what_the_lltv_leaves() -> None:
    """An LLTV of 94.5 % leaves 5.82 %; a sixth of it, 97 basis points, is a step."""
    default = default_thresholds(Pair(ETH, wad("0.945"), "wstETH", "WETH"))
    assert default.thresholds == Thresholds(
        wad("1.00388"), wad("1.00776"), wad("1.01552"), wad("1.0291"), wad("1.0388"), wad("1.0485"), wad("1.0582"),
        wad("1.0776"),
    )  # fmt: skip
    assert default.shock_bps == 194
    assert "shares of the 5.82 % that an LLTV of 94.5 % leaves" in default.why


@pytest.mark.parametrize(("lltv", "is_tight"), [("0.909999", False), ("0.91", True), ("0.965", True), ("0.86", False)])
def test_an_lltv_of_91_percent_is_lent_only_on_pairs_that_move_together(lltv: str, is_tight: bool) -> None:
    assert (default_thresholds(Pair(ETH, wad(lltv))).shock_bps < 1000) is is_tight


def test_the_owner_can_say_that_a_pair_moves_together_or_does_not() -> None:
    assert default_thresholds(Pair(ETH, wad("0.915"), is_correlated=False)).shock_bps == 1000
    assert default_thresholds(Pair(ETH, wad("0.86"), is_correlated=True)).shock_bps == 542
    # Never wider than the volatile default: an LLTV of 50 % would leave 100 %.
    assert default_thresholds(Pair(ETH, wad("0.5"), is_correlated=True)).shock_bps == 1000


@pytest.mark.parametrize("lltv", ["0.1", "0.625", "0.77", "0.86", "0.915", "0.945", "0.965", "0.98", "0.9999"])
@pytest.mark.parametrize("volatility", [None, 1, 77, 500, 3000])
def test_every_default_is_in_order(lltv: str, volatility: int | None) -> None:
    assert default_thresholds(Pair(ETH, wad(lltv), volatility_bps_per_day=volatility)).thresholds.problems() == ()


# The owner's file -----------------------------------------------------------------------------------------------------


def resolved(**overrides: AccountSettings) -> dict[str, Thresholds]:
    settings = PolicySettings(overrides={key.replace("_", ":"): value for key, value in overrides.items()})
    policy = resolve(settings, [Pair(ETH, wad("0.86")), Pair(BTC, wad("0.86")), Pair(WALLET)])
    return {str(id): one.thresholds for id, one in policy.subaccounts.items()}


def test_an_override_holds_for_its_subaccount_and_leaves_the_rest_at_their_defaults() -> None:
    thresholds = resolved(morpho_0x3a=AccountSettings(trigger=wad("1.18")))
    assert thresholds["morpho:0x3a85"] == replace(USUAL, trigger=wad("1.18"))
    assert thresholds["morpho:0x3b01"] == USUAL


def test_what_is_said_of_one_goes_before_what_is_said_of_all_and_that_before_the_default() -> None:
    settings = PolicySettings(
        everywhere=AccountSettings(trigger=wad("1.16"), priority=2, never_donate=True),
        overrides={"wallet": AccountSettings(never_donate=False), "morpho:0x3a": AccountSettings(trigger=wad("1.18"))},
    )
    policy = resolve(settings, [Pair(ETH, wad("0.86")), Pair(WALLET)])
    assert policy.subaccounts[ETH].thresholds == replace(USUAL, trigger=wad("1.18"))
    assert (policy.subaccounts[ETH].priority, policy.subaccounts[ETH].never_donate) == (2, True)
    assert policy.subaccounts[WALLET].thresholds.trigger == wad("1.16")
    assert policy.subaccounts[WALLET].never_donate is False
    assert policy.subaccounts[ETH].why.startswith("trigger from the configuration; else: this account moves by 5 %")


def test_where_the_owner_said_everything_no_default_is_a_reason() -> None:
    said = AccountSettings(**{one.name: getattr(USUAL, one.name) for one in fields(USUAL)})
    pairs = [Pair(ETH, wad("0.86"))]
    without_shock = resolve(PolicySettings(said), pairs).subaccounts[ETH]
    assert without_shock.why.startswith(
        "hard_floor, survive, critical, trigger, rescue_ceiling, target, floor, max_after"
    )
    everything = resolve(PolicySettings(replace(said, shock_bps=900)), pairs).subaccounts[ETH]
    assert everything.why == "all from the configuration"


def test_the_numbers_of_the_file_reach_the_policy() -> None:
    settings = PolicySettings(
        last_stand=False, inclusion_seconds=24, rate_margin=wad("0.2"), amount_margin_bps=3, cooldown_seconds=60
    )
    policy = resolve(settings, [Pair(ETH, wad("0.86"))])
    assert (policy.last_stand, policy.inclusion.seconds, policy.inclusion.rate_margin) == (False, 24, wad("0.2"))
    assert (policy.amount_margin_bps, policy.cooldown_seconds, policy.min_benefit_multiple) == (3, 60, 3)


@pytest.mark.parametrize("key", ["morpho:0x3a85", "MORPHO:0x3A85", "morpho:0x3a", "morpho:0x3a…"])
def test_an_override_is_found_by_id_or_beginning(key: str) -> None:
    policy = resolve(
        PolicySettings(overrides={key: AccountSettings(priority=5)}), [Pair(ETH, wad("0.86")), Pair(BTC, wad("0.86"))]
    )
    assert [one.priority for one in policy.subaccounts.values()] == [5, 0]


def test_a_whole_id_that_is_also_a_beginning_means_itself() -> None:
    longer = SubaccountId("morpho", "0x3a8501")
    policy = resolve(
        PolicySettings(overrides={"morpho:0x3a85": AccountSettings(priority=5)}), [Pair(ETH), Pair(longer)]
    )
    assert [one.priority for one in policy.subaccounts.values()] == [5, 0]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"euler:3": AccountSettings()},
            r'\[policy.overrides."euler:3"\] names no subaccount; there are morpho:0x3a85, morpho:0x3b01.',
        ),
        (
            {"morpho:0x3": AccountSettings()},
            r'\[policy.overrides."morpho:0x3"\] could be morpho:0x3a85 or morpho:0x3b01; write more of the id.',
        ),
        (
            {"morpho:0x3a": AccountSettings(), "morpho:0x3a8": AccountSettings()},
            r'"morpho:0x3a8"\] and \[policy.overrides."morpho:0x3a"\] are the same subaccount morpho:0x3a85',
        ),
        (
            {"morpho:0x3a": AccountSettings(trigger=wad("1.22"))},
            r'"morpho:0x3a"\] together with \[policy\], for morpho:0x3a85: rescue_ceiling = 1.20 must be at or above',
        ),
    ],
)
def test_an_override_that_cannot_be_used_is_named(overrides: dict[str, AccountSettings], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve(PolicySettings(overrides=overrides), [Pair(ETH, wad("0.86")), Pair(BTC, wad("0.86"))])


def test_thresholds_for_all_that_are_out_of_order_are_named() -> None:
    with pytest.raises(ConfigError, match=r"^\[policy\], for morpho:0x3a85: target = 1.10 must be at or above"):
        resolve(PolicySettings(everywhere=AccountSettings(target=wad("1.1"))), [Pair(ETH, wad("0.86"))])


# The guard ------------------------------------------------------------------------------------------------------------


def test_the_stricter_limit_is_planned_with_whoever_set_it() -> None:
    snapshot = a_snapshot(
        a_subaccount("a"), a_subaccount("b"), limits={"a": ("1.03", "1.05", "1.18"), "b": ("1.01", "1.02", "1.30")}
    )
    strict = enforced(USUAL, snapshot.guard, 0)
    assert (strict.hard_floor, strict.survive, strict.rescue_ceiling) == (wad("1.03"), wad("1.05"), wad("1.18"))
    assert enforced(USUAL, snapshot.guard, 1) == USUAL


def test_a_guard_that_demands_more_than_the_target_moves_the_target() -> None:
    snapshot = a_snapshot(a_subaccount("a"), limits={"a": ("1.35", "1.35", "1.40")})
    strict = enforced(USUAL, snapshot.guard, 0)
    assert (strict.survive, strict.critical, strict.target, strict.floor) == (wad("1.35"),) * 4


@pytest.mark.parametrize(
    ("max_after", "target"),
    [
        ("1.250000000000000001", "1.25"),
        ("1.25", "1.145"),  # halfway between 1.04 and 1.25: prices may move both ways until a rescue is included
        ("1.20", "1.12"),
    ],
)
def test_a_guard_that_allows_no_more_than_the_target_moves_the_target(max_after: str, target: str) -> None:
    snapshot = a_snapshot(a_subaccount("a"), limits={"a": ("1.02", "1.04", "1.20", max_after)})
    strict = enforced(USUAL, snapshot.guard, 0)
    assert (strict.target, strict.max_after) == (wad(target), wad(max_after))


def test_the_room_above_the_floor_is_kept_when_the_floor_is_the_owners_own() -> None:
    settings = PolicySettings(AccountSettings(target=wad("1.5"), floor=wad("1.6")))
    assert resolve(settings, [Pair(ETH, wad("0.86"))]).subaccounts[ETH].thresholds.max_after == wad("1.7")


def test_without_guard_or_enrolment_the_file_holds() -> None:
    assert enforced(USUAL, None, 0) == USUAL
    assert enforced(USUAL, a_snapshot(a_subaccount("a")).guard, None) == USUAL
    assert enforced(USUAL, a_snapshot(a_subaccount("a")).guard, 5) == USUAL
    assert enforced(USUAL, a_snapshot(a_wallet()).guard, 0) == USUAL


def test_check_hears_of_every_limit_that_differs() -> None:
    book = (a_subaccount("a"), a_subaccount("b"), a_wallet(), a_subaccount("c", is_enrolled=False))
    snapshot = a_snapshot(*book, limits={"a": ("1.03", "1.04", "1.30", "1.40"), "b": ("1.02", "1.04", "1.20", "1.41")})
    assert snapshot.guard is not None
    found = disagreements(a_policy(*book), snapshot.guard, snapshot.subaccounts)
    assert [(str(one.subaccount), one.key, one.is_guard_stricter) for one in found] == [
        ("morpho:a", "hard_floor", True),
        ("morpho:a", "rescue_ceiling", False),
        ("morpho:b", "max_after", False),
    ]
    assert str(found[0]).startswith(
        "morpho:a: hard_floor is 1.02 in the file and 1.03 in the guard; the guard's is used"
    )
    assert "a stolen keeper key could go as far as the guard's" in str(found[1])
    assert found[1].guard == 13 * WAD // 10

"""What people read: numbers with sensible digits, times, names, the status table and the sentences of a plan."""

import io
import re
from dataclasses import replace
from typing import get_args

import pytest
from rich.console import Console, RenderableType

from keeper.core import verdict
from keeper.core.plan import History, Plan
from keeper.core.planner import make_plan
from keeper.core.snapshot import Fresh, FreshnessUnverified, Reading, Snapshot, Stale, Subaccount, Unknown
from keeper.core.units import INFINITE_HEALTH, WAD, Address, Wad
from keeper.core.verdict import Verdict
from keeper.report import (
    VERDICT_STYLE,
    age_text,
    counted,
    health_style,
    health_text,
    liquidation_price,
    liquidation_price_of,
    name_of,
    nearest_first,
    number_text,
    percent_text,
    reading_text,
    reasons,
    short,
    shortage_sentences,
    shortages,
    spares,
    status_table,
    time_text,
    usd_text,
    verdict_text,
    verdict_word,
    with_short_ids,
)
from tests.builders import NOON, USDC, WBTC, WETH, a_policy, a_snapshot, a_subaccount, a_wallet, raw, wad

LONG = "0x" + "3a85" + "0" * 56 + "1b2c"


# Numbers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("health", "text"),
    [
        ("0", "0.0000"),
        ("0.99999999", "0.9999"),
        ("1", "1.0000"),
        ("1.04009", "1.0400"),
        ("1.0401", "1.0401"),
        ("12.5", "12.5000"),
    ],
)
def test_a_health_has_four_decimals_and_is_rounded_down(health: str, text: str) -> None:
    assert health_text(wad(health)) == text


@pytest.mark.parametrize(("health", "text"), [(INFINITE_HEALTH, "no debt"), (INFINITE_HEALTH + 1, "no debt")])
def test_without_debt_there_is_no_number(health: Wad, text: str) -> None:
    assert health_text(health) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1, "1"),
        (1.5, "1.5"),
        (-1.5, "-1.5"),
        (999_999, "999,999"),
        (1_000_000, "1,000,000"),
        (1_234_567.8, "1,234,568"),
        (49_581.43, "49,581.4"),
        (2_049.418604, "2,049.42"),
        (0.28886583, "0.288866"),
        (0.0123456789, "0.0123457"),
        (0.000001, "0.000001"),
        (1e-18, "0.000000000000000001"),
    ],
)
def test_a_number_has_six_digits_and_never_an_exponent(value: float, text: str) -> None:
    assert number_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0", "$0.00"),
        ("1.005", "$1.00"),
        ("1547.48", "$1,547"),
        ("99999.99", "$100,000"),
        ("100000", "$100,000"),
        ("-3.5", "-$3.50"),
    ],
)
def test_dollars(value: str, text: str) -> None:
    assert usd_text(wad(value)) == text


@pytest.mark.parametrize(
    ("bps", "text"), [(0, "0 %"), (1, "0.01 %"), (50, "0.5 %"), (1_000, "10 %"), (1_802, "18.02 %")]
)
def test_percentages(bps: int, text: str) -> None:
    assert percent_text(bps) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 batches"), (1, "1 batch"), (2, "2 batches"), (1_200, "1,200 batches")]
)
def test_what_is_counted_has_its_plural(count: int, text: str) -> None:
    assert counted(count, "batch") == text
    assert counted(count, "failure") == text.replace("batches", "failures").replace("batch", "failure")


# Times ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "in the future"),
        (0, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7_199, "119 min"),
        (7_200, "2 h"),
        (172_799, "47 h"),
        (172_800, "2 d"),
    ],
)
def test_an_age_is_told_in_the_largest_unit_of_which_there_are_two(seconds: int, text: str) -> None:
    assert age_text(seconds) == text


def test_a_time_is_relative_and_absolute() -> None:
    assert time_text(1_767_323_045, 1_767_323_225) == "3 min ago (2026-01-02 03:04:05 UTC)"


# Names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("whole", "text"),
    [
        ("wallet", "wallet"),
        ("0x70997970c51812dc3a010c7d01b50e0d17dc79c8", "0x7099…79c8"),
        (f"morpho:{LONG}", "morpho:0x3a85…1b2c"),
        ("euler:3", "euler:3"),
        ("0x3a851b2c", "0x3a851b2c"),
    ],
)
def test_only_what_is_long_is_shortened(whole: str, text: str) -> None:
    assert short(whole) == text


def test_ids_in_a_sentence_are_shortened_and_hashes_are_not() -> None:
    assert with_short_ids(f"morpho:{LONG} was rescued by {LONG}") == f"morpho:0x3a85…1b2c was rescued by {LONG}"


def test_a_name_is_the_label_with_the_id_unless_they_are_the_same() -> None:
    assert name_of(a_subaccount(LONG)) == f"morpho {LONG} (morpho:0x3a85…1b2c)"
    assert name_of(a_wallet()) == "wallet"


# Verdicts and readings ------------------------------------------------------------------------------------------------

VERDICTS: list[tuple[Verdict, str, str]] = [
    (verdict.Healthy(), "healthy", "healthy"),
    (verdict.Watching(), "watching", "watching"),
    (verdict.Rescue(), "rescue", "rescue"),
    (verdict.Rescue(in_flight=True), "rescue on its way", "rescue on its way"),
    (verdict.Unfunded(1, "WETH", "deposit 1 WETH"), "unfunded", "unfunded: deposit 1 WETH"),
    (
        verdict.Uneconomic(2 * WAD, WAD, 3),
        "uneconomic",
        "uneconomic: costs $2.00, is expected to save $1.00 and would have to save more than 3 times its cost",
    ),
    (verdict.Waiting(NOON), "waiting", "waiting: until 08:00:00 UTC at most, for a fuller batch"),
    (verdict.CoolingDown(NOON + 240), "cooling down", "cooling down until 08:04:00 UTC"),
    (verdict.CoolingDown(NOON - 1), "cooling down", "cooling down until 07:59:59 UTC"),
    (verdict.Blocked("the guard is paused"), "blocked", "blocked: the guard is paused"),
    (verdict.Unknown("no answer: 3"), "unknown", "unknown: no answer: 3"),
    (verdict.NotProtected(), "not protected", "not protected: not enrolled in the guard"),
]


@pytest.mark.parametrize(("decided", "word", "text"), VERDICTS)
def test_a_verdict_is_a_word_in_a_table_and_a_phrase_elsewhere(decided: Verdict, word: str, text: str) -> None:
    assert verdict_word(decided) == word
    assert verdict_text(decided) == text


def test_every_kind_of_verdict_has_words_and_a_colour() -> None:
    assert {type(decided) for decided, _, _ in VERDICTS} == set(get_args(Verdict)) == set(VERDICT_STYLE)


@pytest.mark.parametrize(
    ("reading", "text"),
    [
        (Fresh(), "fresh"),
        (FreshnessUnverified("no heartbeat"), "age unverified: no heartbeat"),
        (Stale("2 d old"), "stale: 2 d old"),
        (Unknown("it reverts"), "unknown: it reverts"),
    ],
)
def test_readings(reading: Reading, text: str) -> None:
    assert reading_text(reading) == text


@pytest.mark.parametrize(
    ("health", "style"),
    [
        (wad("1.08") - 1, "bold red"),
        (wad("1.08"), "yellow"),
        (wad("1.15") - 1, "yellow"),
        (wad("1.15"), ""),
        (wad("1.25") - 1, ""),
        (wad("1.25"), "green"),
        (INFINITE_HEALTH, ""),
    ],
)
def test_a_health_is_coloured_by_its_own_thresholds(health: Wad, style: str) -> None:
    account = a_subaccount()
    assert health_style(health, a_policy(account), account.id) == style


# Prices ---------------------------------------------------------------------------------------------------------------


def test_the_liquidation_price_is_where_health_is_one_rounded_up() -> None:
    """10 WETH at 2000 count 17,200; 10,000 of debt is reached at 10,000 / (10 x 0.86) = 1162.790697...7."""
    account = a_subaccount(weth="10", debt="10000")
    assert liquidation_price(account) == 1_162_790_697_674_418_604_652


@pytest.mark.parametrize(
    "account",
    [
        a_subaccount(weth="10"),
        a_wallet(),
        a_subaccount(collateral={WETH: "1", WBTC: "1"}, debt="1000"),
        a_subaccount(debt="1000", reading=Unknown("it reverts")),
        a_subaccount(weth="0", debt="1000"),
    ],
    ids=["no debt", "wallet", "two collaterals", "unknown", "nothing left"],
)
def test_where_no_single_price_liquidates_there_is_none(account: Subaccount) -> None:
    assert liquidation_price(account) is None


@pytest.mark.parametrize(
    ("debt", "weth", "wbtc"),
    [("60000", "976.744186046511627907", "49767.441860465116279070"), ("51600", "0", "40000")],
)
def test_of_several_collaterals_each_has_its_price_while_the_others_stay(debt: str, weth: str, wbtc: str) -> None:
    """10 WETH at 2000 count 17,200 and 1 WBTC at 60,000 counts 51,600."""
    account = a_subaccount(collateral={WETH: "10", WBTC: "1"}, debt=debt)
    found = [liquidation_price_of(account, line) for line in account.collateral]
    assert found == [wad(weth), wad(wbtc)]


def test_what_is_spare_is_what_may_leave_before_the_floor() -> None:
    """At 2.0 with a floor of 1.3 not more than 35 % may leave, less what rounding takes."""
    account = a_subaccount(weth="10", health="2")
    spare = spares(a_snapshot(account), a_policy(account))[account.id][WETH.address]
    assert raw(WETH, "3.499") < spare <= raw(WETH, "3.5")


@pytest.mark.parametrize(
    ("health", "lacks"),
    [
        ("1.30", {}),
        ("1.25", {}),  # its target
        ("1.20", {WETH.address: "0.41666"}),  # 10 x 1.25 / 1.20 less the 10 that are there
        ("1.00", {WETH.address: "2.5"}),
    ],
)
def test_what_is_lacking_is_what_brings_it_to_its_target(health: str, lacks: dict[Address, str]) -> None:
    account = a_subaccount(weth="10", health=health)
    found = shortages(account, a_policy(account).subaccounts[account.id])
    assert found == {token: pytest.approx(raw(WETH, amount), rel=1e-4) for token, amount in lacks.items()}


def test_any_one_of_several_collaterals_suffices() -> None:
    """20,000 of WETH and 12,000 of WBTC at 1.0 lack a quarter: 8,000 of either."""
    account = a_subaccount("a", collateral={WETH: "10", WBTC: "0.2"}, health="1")
    snapshot = a_snapshot(account, a_wallet())
    (says,) = shortage_sentences(snapshot, a_policy(*snapshot.subaccounts))
    assert re.fullmatch(
        r"morpho a \(morpho:a\) needs (4|3\.9999\d*) WETH or 0\.13333\d? WBTC more to reach its target of 1\.2500", says
    )


def test_nobody_knows_what_the_unknown_lacks() -> None:
    account = a_subaccount("a", debt="1", reading=Unknown("it reverts"))
    assert shortages(account, a_policy(account).subaccounts[account.id]) == {}


# The status table -----------------------------------------------------------------------------------------------------


def plan_of(snapshot: Snapshot) -> Plan:
    return make_plan(snapshot, a_policy(*snapshot.subaccounts), History())


def printed(part: RenderableType) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=80).print(part)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_the_status_is_a_row_for_each_with_its_amounts_below_each_other() -> None:
    near = replace(a_subaccount(LONG, weth="16", debt="22000"), label="WETH/USDC 86%")
    far = replace(a_subaccount("0xb", weth="50", debt="30000"), label="WETH/USDC 77%")
    snapshot = a_snapshot(far, near, a_wallet(collateral={WETH: "2", WBTC: "0.3", USDC: "0"}))
    policy = a_policy(*snapshot.subaccounts)
    lines = printed(status_table(snapshot, policy, plan_of(snapshot), spares(snapshot, policy)))
    assert lines == [
        "                                      holds    price",
        "subaccount          health             owes  liq. at    can spare verdict",
        "WETH/USDC 86%       1.2509          16 WETH    2,000      nothing healthy",
        "morpho:0x3a85…1b2c         owes 22,000 USDC 1,598.84",
        "WETH/USDC 77%       2.8666          50 WETH    2,000 27.3256 WETH healthy",
        "morpho:0xb                 owes 30,000 USDC  697.674",
        "wallet             no debt           2 WETH                2 WETH healthy",
        "                                   0.3 WBTC              0.3 WBTC",
    ]


def test_who_is_unknown_comes_first_then_the_smallest_cushion() -> None:
    unknown = a_subaccount("unknown", debt="1", reading=Unknown("it reverts"))
    accounts = (
        a_wallet(),
        a_subaccount("far", health="1.5"),
        a_subaccount("near", health="1.1"),
        unknown,
    )
    ordered = nearest_first(a_snapshot(*accounts), a_policy(*accounts))
    assert [each.id.key for each in ordered] == ["unknown", "near", "far", ""]


def test_reasons_are_told_where_a_word_does_not_say_all() -> None:
    accounts = (
        a_subaccount("well", health="2"),
        a_subaccount("broken", debt="1", reading=Unknown("it reverts")),
        a_subaccount("alone", health="1.3", is_enrolled=False),
    )
    snapshot = a_snapshot(*accounts)
    assert reasons(snapshot, plan_of(snapshot)) == [
        "morpho broken (morpho:broken): unknown: it reverts",
        "morpho alone (morpho:alone) is not protected: not enrolled in the guard",
    ]


def test_whoever_is_liquidated_whatever_its_health_is_the_nearest_and_no_price_is_named_for_it() -> None:
    weak, forced = a_subaccount("a", health="1.01"), a_subaccount("b", health="2")
    assert liquidation_price(forced) is not None
    forced = replace(forced, forced_liquidation="anybody may")
    assert nearest_first(a_snapshot(weak, forced), a_policy(weak, forced))[0].id == forced.id
    assert liquidation_price(forced) is None


def test_below_the_line_the_lowest_health_is_the_nearest() -> None:
    """A cushion is nothing there for all of them."""
    low, lower = a_subaccount("a", health="0.9"), a_subaccount("b", health="0.8")
    assert nearest_first(a_snapshot(low, lower), a_policy(low, lower)) == list(a_snapshot(low, lower).subaccounts[::-1])

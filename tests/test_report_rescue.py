"""A rescue is told so that a person can follow it: who, why now, from where, how much, and what it leaves."""

from keeper.core.plan import History
from keeper.core.planner import make_plan
from keeper.core.units import Address
from keeper.report_rescue import rescue_paragraph, rescue_sentences
from tests.builders import USDC, WETH, a_policy, a_snapshot, a_subaccount, a_wallet

FEED = Address("0x" + "fe" * 20)


def test_a_rescue_is_told_as_who_why_whence_and_what_it_leaves() -> None:
    poor, rich = a_subaccount("poor", weth="10", health="1.1"), a_subaccount("rich", weth="40", health="3")
    snapshot = a_snapshot(poor, rich)
    policy = a_policy(poor, rich, rate_margin="0")
    (rescue,) = make_plan(snapshot, policy, History()).rescues
    sentences = rescue_sentences(rescue, snapshot, policy)
    assert sentences[0] == "Rescue morpho poor (morpho:poor): health 1.1000 is below its trigger of 1.1500."
    assert sentences[1] == (
        "Why now: prices move 5 % a day, so the chance that it is liquidated reaches 1 % within 11 h, after the rescue "
        "within 2 d."
    )
    assert sentences[2] == "Move 1.36364 WETH from morpho rich (morpho:rich)."
    assert sentences[3] == (
        "It goes 1.1000 → 1.2500 (1.1250 after its shock); the guard lets it happen only if it ends at 1.1248 or more."
    )
    assert sentences[4] == "Donor morpho rich (morpho:rich) goes 3.0000 → 2.8977 (2.6079 after its shock)."
    assert sentences[5].startswith("A liquidation would take about $")
    assert len(sentences) == 6
    assert rescue_paragraph(rescue, snapshot, policy) == " ".join(sentences)


def test_what_is_repaid_is_told_apart_from_what_is_moved() -> None:
    """1,876.36 USDC of debt are missing to its target; 938.18 are half of that, and 0.6818 WETH the other half."""
    poor, wallet = a_subaccount("poor", health="1.1"), a_wallet(collateral={WETH: "1", USDC: "938.18"})
    snapshot = a_snapshot(poor, wallet)
    policy = a_policy(poor, wallet, inclusion_seconds=0)
    (rescue,) = make_plan(snapshot, policy, History()).rescues
    assert rescue_sentences(rescue, snapshot, policy)[2:4] == [
        "Repay 938.18 USDC of its debt from wallet.",
        "Move 0.68182 WETH from wallet.",
    ]


def test_a_last_stand_is_said() -> None:
    """The two WETH accounts of 1.04 and 1.22 that both live at about 1.12."""
    poor, other = a_subaccount("poor", weth="10", health="1.04"), a_subaccount("other", weth="10", health="1.22")
    snapshot = a_snapshot(poor, other)
    policy = a_policy(poor, other)
    (rescue,) = make_plan(snapshot, policy, History()).rescues
    sentences = rescue_sentences(rescue, snapshot, policy)
    assert sentences[0].endswith(" is below its critical of 1.0800.")
    assert "This is a last stand: donors go below their floor and share their cushion with it." in sentences


def first_two(health: str, history: History) -> list[str]:
    poor, wallet = a_subaccount("poor", health=health, feeds=(FEED,)), a_wallet()
    snapshot, policy = a_snapshot(poor, wallet), a_policy(poor, wallet, rate_margin="0")
    (rescue,) = make_plan(snapshot, policy, history).rescues
    return rescue_sentences(rescue, snapshot, policy)[:2]


def test_a_storm_is_named_as_the_reason() -> None:
    first, second = first_two("1.17", History(volatility_bps_per_day={FEED: 800}))
    assert first == (
        "Rescue morpho poor (morpho:poor): health 1.1700 is below its trigger, widened from 1.1500 to 1.1875."
    )
    assert second == (
        "Why now: prices move 8 % a day, so the chance that it is liquidated reaches 1 % within 13 h, after the rescue "
        "within 39 h."
    )


def test_that_there_is_no_time_for_a_second_try_is_the_reason_whatever_the_thresholds_say() -> None:
    congested = History(volatility_bps_per_day={FEED: 4_500}, inclusion_delay_seconds=360)
    assert first_two("1.13", congested)[0] == (
        "Rescue morpho poor (morpho:poor): health 1.1300 may be gone within 24 min, too soon for a second try."
    )


def test_at_the_line_it_is_a_matter_of_moments() -> None:
    assert "so it can be liquidated at any moment, after the rescue within" in first_two("0.99", History())[1]

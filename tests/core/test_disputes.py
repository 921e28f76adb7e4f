"""A price that somebody disputes: nothing leaves an account with debt on it, and no account looks safer for it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keeper.core.disputes import disputes_in, last_said, opinion, prices_of, silent_seconds, worst_of, worth_noting
from keeper.core.plan import History, Plan, PriceOf, PriceSeen
from keeper.core.planner import make_plan
from keeper.core.policy import AccountSettings, Policy, PriceLimits
from keeper.core.snapshot import Disputed, SecondPrice, Snapshot, Stale, Subaccount, SubaccountId, Token, Unknown
from keeper.core.units import Address
from keeper.core.verdict import Rescue, Unfunded, Watching
from tests.builders import DAI, NOON, USDC, WETH, WSTETH, a_policy, a_snapshot, a_subaccount, a_wallet, wad

A = SubaccountId("morpho", "a")
POOL = "Uniswap v3 pool 0x88e6…5640 over 300 s"
TEN_PERCENT = PriceLimits()


def a_second(price: str | None, token: Token = WETH, quote: Token | None = USDC, problem: str = "") -> SecondPrice:
    return SecondPrice(
        token, POOL, None if quote is None else quote.address, None if price is None else wad(price), problem
    )


def seen_by(snapshot: Snapshot, *seconds: SecondPrice) -> Snapshot:
    return replace(snapshot, second_prices=seconds)


def with_limits(policy: Policy, limits: PriceLimits) -> Policy:
    return replace(policy, prices=limits)


def planned(snapshot: Snapshot, history: History | None = None, limits: PriceLimits = TEN_PERCENT) -> Plan:
    return make_plan(snapshot, with_limits(a_policy(*snapshot.subaccounts), limits), history or History())


def givers(plan: Plan) -> set[str]:
    return {str(transfer.donor) for rescue in plan.rescues for transfer in rescue.transfers}


# When a price is disputed ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("second", "is_disputed"),
    [
        ("2000", False),
        ("1800", False),  # a tenth of the higher
        ("1799.99", True),
        ("2222.22", False),
        ("2222.23", True),
    ],
)
def test_a_price_is_disputed_beyond_a_share_of_the_higher_one(second: str, is_disputed: bool) -> None:
    snapshot = seen_by(a_snapshot(a_subaccount("a", health="2")), a_second(second))
    assert (A in disputes_in(snapshot, TEN_PERCENT, History())) is is_disputed


@pytest.mark.parametrize(
    ("second", "says"),
    [
        (a_second("1400"), "1,400"),
        # Priced in USD, while USDC costs a dollar.
        (a_second("1400", quote=None), "1,400"),
        # In DAI, of which both the account and the pool know the dollars.
        (a_second("1400", quote=DAI), "1,400"),
    ],
)
def test_whatever_it_is_quoted_in_it_is_compared_in_the_accounts_own_unit(second: SecondPrice, says: str) -> None:
    snapshot = seen_by(a_snapshot(a_subaccount("a", health="2")), second)
    dispute = disputes_in(snapshot, TEN_PERCENT, History())[A]
    assert dispute.reasons == (f"WETH is 2,000 USDC by its oracle and {says} by {POOL}",)
    assert dispute.falls_bps == {WETH.address: 3_000}


@pytest.mark.parametrize(
    ("price", "second", "says"),
    [
        ("0.00001234567", "0.000009876543", "0.0000123456 USDC by its oracle and 0.00000987654"),
        (
            "0.000000000000000012",
            "0.000000000000000007",
            "0.000000000000000012 USDC by its oracle and 0.000000000000000007",
        ),
        ("0.9999999", "0.8", "0.999999 USDC by its oracle and 0.8"),
        ("1725.55999", "1400", "1,725.55 USDC by its oracle and 1,400"),
        ("1234567.9", "1000000", "1,234,567 USDC by its oracle and 1,000,000"),
    ],
)
def test_a_price_is_told_by_its_significant_digits(price: str, second: str, says: str) -> None:
    account = a_subaccount("a", weth="1000000", debt="0.000001", prices={WETH: price})
    dispute = disputes_in(seen_by(a_snapshot(account), a_second(second)), TEN_PERCENT, History())[A]
    assert dispute.reasons == (f"WETH is {says} by {POOL}",)


def test_a_unit_that_fell_is_not_taken_for_a_collateral_that_rose() -> None:
    """2,000 USD are 2,500 USDC at 0.80, by USDC's own second source; without one, by its feed."""
    snapshot = a_snapshot(a_subaccount("a", health="2", prices={WETH: "2500"}))
    assert opinion(a_second("2000", quote=None), snapshot.subaccounts[0], snapshot) == wad("2000")
    with_second = seen_by(snapshot, a_second("2000", quote=None), a_second("0.8", USDC, None))
    assert disputes_in(with_second, TEN_PERCENT, History()) == {}
    fallen = replace(snapshot, usd_per_unit={USDC.address: wad("0.8")}, second_prices=(a_second("2000", quote=None),))
    assert disputes_in(fallen, TEN_PERCENT, History()) == {}


def test_a_dispute_about_ether_is_none_about_what_is_measured_in_it() -> None:
    """wstETH/WETH rests on neither of the two prices of WETH in USD."""
    staked = a_subaccount("a", collateral={WSTETH: "10"}, debt="5", debt_token=WETH, lltv="0.945")
    snapshot = seen_by(a_snapshot(staked), a_second("1400", quote=None), a_second("1.2", WSTETH, WETH))
    assert disputes_in(snapshot, TEN_PERCENT, History()) == {}


def test_who_owes_nothing_or_is_not_known_disputes_nothing() -> None:
    unknown = a_subaccount("b", debt="1", reading=Unknown("its oracle reverts"))
    snapshot = seen_by(a_snapshot(a_subaccount("a"), unknown, a_wallet()), a_second("1"))
    assert disputes_in(snapshot, TEN_PERCENT, History()) == {}
    assert worth_noting(snapshot) == {}


def test_the_unit_itself_has_no_price_that_could_be_wrong() -> None:
    subaccount = a_subaccount("a", collateral={WETH: "1", USDC: "100", DAI: "0"}, health="2")
    assert prices_of(subaccount) == {WETH: wad("2000")}


# How bad it may be ----------------------------------------------------------------------------------------------------


def test_what_is_held_is_taken_for_the_lowest_and_what_is_owed_for_the_highest() -> None:
    long = a_subaccount("a", weth="10", health="1.5")
    short = a_subaccount("b", collateral={DAI: "40000"}, debt="10", debt_token=WETH)
    # Aave and Euler state a debt's price in a unit of its own.
    short = replace(short, unit=USDC, debts=(replace(short.debts[0], price=wad("2000")),))
    found = disputes_in(seen_by(a_snapshot(long, short), a_second("1500")), TEN_PERCENT, History())
    assert {id.key: dispute.falls_bps for id, dispute in found.items()} == {"a": {WETH.address: 2_500}, "b": {}}
    found = disputes_in(seen_by(a_snapshot(long, short), a_second("2500")), TEN_PERCENT, History())
    assert {id.key: dispute.falls_bps for id, dispute in found.items()} == {"a": {}, "b": {WETH.address: -2_500}}


def test_of_a_second_source_and_a_price_before_a_jump_the_worse_counts() -> None:
    snapshot = seen_by(a_snapshot(a_subaccount("a", health="2")), a_second("1700"))
    dispute = disputes_in(snapshot, JUMPY, seen((NOON - 24, "1500"), (NOON - 12, "1500")))[A]
    assert dispute.falls_bps == {WETH.address: 2_500}
    dispute = disputes_in(snapshot, JUMPY, seen((NOON - 24, "1900"), (NOON - 12, "1900")))[A]
    assert dispute.falls_bps == {WETH.address: 1_500}


def test_a_fall_is_rounded_against_the_account() -> None:
    snapshot = seen_by(a_snapshot(a_subaccount("a", health="2")), a_second("1333.3333"))
    dispute = disputes_in(snapshot, TEN_PERCENT, History())[A]
    assert dispute.falls_bps == {WETH.address: 3_334}  # 33.333335 %


@settings(deadline=None)
@given(
    own=st.integers(1, 10_000),
    other=st.integers(1, 10_000),
    before=st.lists(st.integers(1, 10_000), max_size=3),
    health=st.integers(101, 400),
)
def test_a_dispute_never_makes_an_account_look_safer(own: int, other: int, before: list[int], health: int) -> None:
    account = a_subaccount("a", weth="10", prices={WETH: str(own)}, health=f"{health / 100:.2f}")
    if not account.has_debt:
        return
    snapshot = seen_by(a_snapshot(account), a_second(str(other)))
    history = seen(*((NOON - 12 * place, str(price)) for place, price in enumerate(reversed(before))))
    limits = PriceLimits(500, 500, 600)
    for dispute in disputes_in(snapshot, limits, history).values():
        worst = worst_of(account, dispute).margin.risk()
        assert worst.health_factor <= account.margin.risk().health_factor
        assert worst.collateral_value <= account.margin.risk().collateral_value * other // own + 10**13 or other > own


# Jumps ----------------------------------------------------------------------------------------------------------------

JUMPY = PriceLimits(1_000, 1_500, 120)


def seen(*points: tuple[int, str]) -> History:
    prices: Mapping[PriceOf, Sequence[PriceSeen]] = {
        (A, WETH.address): tuple(PriceSeen(at, wad(price)) for at, price in sorted(points))
    }
    return History(prices=prices)


@pytest.mark.parametrize(
    ("before", "is_disputed"),
    [("2352.94", False), ("2352.95", True), ("1700", False), ("1699.99", True)],
)
def test_a_jump_is_disputed_beyond_a_share_of_the_higher_one(before: str, is_disputed: bool) -> None:
    snapshot = a_snapshot(a_subaccount("a", health="2"))
    found = disputes_in(snapshot, JUMPY, seen((NOON - 24, before), (NOON - 12, before)))
    assert (A in found) is is_disputed


@pytest.mark.parametrize(
    ("points", "is_disputed"),
    [
        # It held until 120 s ago, when another was seen.
        ([(NOON - 500, "3000"), (NOON - 120, "2000"), (NOON - 12, "2000")], True),
        ([(NOON - 500, "3000"), (NOON - 121, "2000"), (NOON - 12, "2000")], False),
        # Nobody looked since: whether it held longer is not known.
        ([(NOON - 500, "3000"), (NOON - 120, "3000")], True),
        ([(NOON - 500, "3000"), (NOON - 121, "3000")], False),
        # A wick that is over: which of the two prices was the wrong one nobody knows for a while.
        ([(NOON - 500, "2000"), (NOON - 60, "1400"), (NOON - 48, "2000"), (NOON - 12, "2000")], True),
        ([], False),
    ],
)
def test_a_jump_is_forgotten_after_its_window(points: list[tuple[int, str]], is_disputed: bool) -> None:
    snapshot = a_snapshot(a_subaccount("a", health="2"))
    assert (A in disputes_in(snapshot, JUMPY, seen(*points))) is is_disputed


def test_a_jump_that_a_second_source_saw_as_well_is_a_move() -> None:
    snapshot = a_snapshot(a_subaccount("a", health="2"))
    before = seen((NOON - 24, "3000"), (NOON - 12, "3000"))
    assert A not in disputes_in(seen_by(snapshot, a_second("1990")), JUMPY, before)


@pytest.mark.parametrize("seconds", [(), (a_second(None, problem="OLD"),)])
def test_a_jump_that_nobody_confirms_is_judged_by_the_worse_of_before_and_after(seconds: Sequence[SecondPrice]) -> None:
    snapshot = seen_by(a_snapshot(a_subaccount("a", health="2")), *seconds)
    dispute = disputes_in(snapshot, JUMPY, seen((NOON - 24, "1500"), (NOON - 12, "1500")))[A]
    says = "WETH went from 1,500 to 2,000 USDC within 120 s, and no second source confirms it"
    assert (dispute.reasons, dispute.falls_bps) == ((says,), {WETH.address: 2_500})
    dispute = disputes_in(snapshot, JUMPY, seen((NOON - 24, "3000"), (NOON - 12, "3000")))[A]
    assert dispute.falls_bps == {}


def test_jumps_are_believed_unless_the_owner_says_otherwise() -> None:
    snapshot = a_snapshot(a_subaccount("a", health="2"))
    assert disputes_in(snapshot, PriceLimits(), seen((NOON - 12, "9000"))) == {}
    assert (PriceLimits().memory_seconds, JUMPY.memory_seconds) == (0, 120)


# What is done then ----------------------------------------------------------------------------------------------------

RICH = a_subaccount("rich", weth="40", health="3")


def test_nothing_leaves_an_account_with_debt_on_a_disputed_price() -> None:
    """Its own oracle says 1,400 and it is really in danger by that; the pool still says 2,000."""
    poor, rich = a_subaccount("a", weth="10", health="1.05"), RICH
    undisputed = seen_by(a_snapshot(poor, rich), a_second("2000"))
    assert givers(planned(undisputed)) == {"morpho:rich"}
    plan = planned(seen_by(a_snapshot(poor, rich), a_second("2900")))
    assert plan.rescues == ()
    assert isinstance(plan.verdicts[A], Unfunded)
    says = f"disputed: WETH is 2,000 USDC by its oracle and 2,900 by {POOL}"
    assert plan.notes == (f"{says}; morpho a, morpho rich: gives nothing, and gets only from those without debt",)
    assert set(plan.disputes) == {A, rich.id}


def test_the_wallet_still_saves_who_is_in_danger_by_its_own_oracle() -> None:
    """The protocol liquidates at its own oracle's price, whatever a second source says."""
    plan = planned(seen_by(a_snapshot(a_subaccount("a", weth="10", health="1.05"), RICH, a_wallet()), a_second("2900")))
    assert givers(plan) == {"wallet"}
    (rescue,) = plan.rescues
    assert rescue.effect.before < wad("1.05")  # with interest until inclusion
    assert rescue.effect.after >= wad("1.25")


def test_accounts_without_a_part_in_the_dispute_go_on_as_always() -> None:
    poor = a_subaccount("a", collateral={DAI: "10000"}, health="1.05")
    rich = a_subaccount("b", collateral={DAI: "90000"}, health="3")
    plan = planned(seen_by(a_snapshot(poor, rich, RICH), a_second("900")))
    assert givers(plan) == {"morpho:b"}
    assert set(plan.disputes) == {RICH.id}


def test_neither_a_disputed_donor_nor_a_disputed_recipient_is_served_by_debt() -> None:
    """WETH is disputed for one of the two alone: the other's protocol takes it for what the pool says."""
    poor, other = a_subaccount("a", health="1.05"), a_subaccount("b", weth="40", prices={WETH: "2900"}, health="3")
    assert planned(seen_by(a_snapshot(poor, other), a_second("2900"))).rescues == ()
    poor, other = a_subaccount("a", prices={WETH: "2900"}, health="1.05"), RICH
    assert planned(seen_by(a_snapshot(poor, other), a_second("2900"))).rescues == ()


def test_who_is_in_need_by_the_second_source_alone_is_rescued_by_who_owes_nothing() -> None:
    """Its own oracle lags: 1.18 there, 0.97 of it by the pool is 1.1446."""
    limits = PriceLimits(disagreement_max_bps=200)
    snapshot = seen_by(a_snapshot(a_subaccount("a", weth="10", health="1.18"), RICH, a_wallet()), a_second("1940"))
    assert isinstance(planned(seen_by(snapshot, a_second("2000")), limits=limits).verdicts[A], Watching)
    plan = planned(snapshot, limits=limits)
    assert givers(plan) == {"wallet"}
    (rescue,) = plan.rescues
    assert wad("1.14") < rescue.effect.before < wad("1.1446")
    assert wad("1.25") <= rescue.effect.after < wad("1.2501")


def test_the_guard_would_not_let_in_what_is_in_need_by_the_second_source_alone_above_its_ceiling() -> None:
    """The guard measures by the protocol's own price: what it would refuse is not tried, and it is no alarm."""
    limits = {"a": ("1.02", "1.04", "1.20", "1.40")}
    for health, verdict in (("1.201", Watching), ("1.199", Rescue)):
        account = a_subaccount("a", weth="10", health=health)
        plan = planned(seen_by(a_snapshot(account, a_wallet(), limits=limits), a_second("1750")))
        assert isinstance(plan.verdicts[A], verdict)


def test_a_rescue_by_the_second_source_ends_below_what_the_guard_allows_by_the_oracle() -> None:
    """The target of 1.25 by a pool 15 % lower is 1.47 by the oracle; the guard refuses to end above 1.40."""
    account = a_subaccount("a", weth="10", health="1.199")
    limits = {"a": ("1.02", "1.04", "1.20", "1.40")}
    snapshot = seen_by(a_snapshot(account, a_wallet("100"), limits=limits), a_second("1700"))
    plan = planned(snapshot)
    (rescue,) = plan.rescues
    (transfer,) = rescue.transfers
    own = account.margin.risk({WETH.address: transfer.amount_raw}).health_factor
    assert wad("1.35") < own < wad("1.40")
    assert wad("1.15") < rescue.effect.after < wad("1.19")


def test_where_the_guard_leaves_no_room_at_all_the_oracle_alone_is_acted_on() -> None:
    """By a pool 40 % lower not even the trigger is within what the guard allows."""
    limits = {"a": ("1.02", "1.04", "1.20", "1.40")}
    account = a_subaccount("a", weth="10", health="1.18")
    plan = planned(seen_by(a_snapshot(account, RICH, a_wallet("100"), limits=limits), a_second("1200")))
    assert (plan.verdicts[A], plan.rescues) == (Watching(), ())
    assert A in plan.disputes
    poor = a_subaccount("a", weth="10", health="1.10")
    plan = planned(seen_by(a_snapshot(poor, RICH, a_wallet("100"), limits=limits), a_second("1200")))
    assert givers(plan) == {"wallet"}


def test_who_cannot_be_saved_by_the_worse_price_is_saved_by_its_own_oracles() -> None:
    """By the pool at 0.918, it comes with a wallet of 1.2 WETH to 1.029, below `survive`; by its oracle to 1.176."""
    account = a_subaccount("a", weth="10", health="1.05")
    plan = planned(seen_by(a_snapshot(account, RICH, a_wallet("1.2")), a_second("1750")))
    assert givers(plan) == {"wallet"}
    (rescue,) = plan.rescues
    assert wad("1.175") < rescue.effect.after < wad("1.176")
    # Who is in need by the pool alone is not made to be in need by its own oracle.
    fine = planned(seen_by(a_snapshot(a_subaccount("a", weth="10", health="1.16"), a_wallet("0.1")), a_second("1750")))
    assert (fine.verdicts[A], fine.rescues) == (Watching(), ())


def test_what_is_stale_or_accepted_unchecked_is_disputed_all_the_same() -> None:
    stale = a_subaccount("a", health="2", reading=Stale("3 h old"))
    dispute = disputes_in(seen_by(a_snapshot(stale), a_second("1400")), TEN_PERCENT, History())[A]
    assert worst_of(stale, dispute).reading == Disputed(str(dispute))
    snapshot = seen_by(a_snapshot(a_subaccount("a", health="1.05"), RICH), a_second("2900"))
    policy = a_policy(*snapshot.subaccounts, everywhere=AccountSettings(accept_unchecked_age=True))
    assert make_plan(snapshot, policy, History()).rescues == ()


# Silence --------------------------------------------------------------------------------------------------------------


def test_a_second_source_that_does_not_answer_is_named_and_stops_nothing() -> None:
    poor = a_subaccount("a", weth="10", health="1.05")
    silent = a_second(None, problem="it says nothing")
    plan = planned(seen_by(a_snapshot(poor, RICH), silent))
    assert givers(plan) == {"morpho:rich"}
    assert plan.notes == (f"nobody checks the price of WETH: {POOL}: it says nothing",)


SILENT = a_second(None, problem="it says nothing")


def after(history: History, snapshot: Snapshot) -> History:
    """With what one cycle adds."""
    return replace(history, last_said=last_said(snapshot, planned(snapshot, history).disputes, history))


def test_a_dispute_lasts_through_silence_until_the_two_agree() -> None:
    book = a_snapshot(a_subaccount("a", weth="10", health="1.05"), RICH, a_wallet("100"))
    history = after(History(), seen_by(book, a_second("1500")))
    assert history.last_said == {(A, WETH.address): wad("1500"), (RICH.id, WETH.address): wad("1500")}
    for _ in range(3):
        plan = planned(seen_by(book, SILENT), history)
        assert givers(plan) == {"wallet"}, "nobody with debt gives"
        assert str(plan.disputes[A]) == (
            f"WETH is 2,000 USDC by its oracle and was 1,500 by {POOL}, which has not answered since"
        )
        assert plan.disputes[A].falls_bps == {WETH.address: 2_500}
        history = after(history, seen_by(book, SILENT))
    history = after(history, seen_by(book, a_second("1900")))
    assert history.last_said == {}
    assert planned(seen_by(book, SILENT), history).disputes == {}, "silence alone disputes nothing"


def test_silence_is_no_agreement_when_the_oracle_comes_to_what_was_said_last() -> None:
    """Nobody knows where the second source would be by now."""
    history = after(History(), seen_by(a_snapshot(a_subaccount("a", health="2")), a_second("1500")))
    moved = a_subaccount("a", health="2", prices={WETH: "1500"})
    dispute = planned(seen_by(a_snapshot(moved), SILENT), history).disputes[A]
    assert (dispute.falls_bps, dispute.said) == ({}, {WETH.address: wad("1500")})


def test_what_is_disputed_of_an_account_that_cannot_be_read_for_a_while_is_not_forgotten() -> None:
    history = after(History(), seen_by(a_snapshot(a_subaccount("a", health="2")), a_second("1500")))
    unread = seen_by(a_snapshot(a_subaccount("a", health="2", reading=Unknown("its oracle reverts"))), a_second("2000"))
    assert after(history, unread).last_said == {(A, WETH.address): wad("1500")}


def test_what_ends_with_its_debt_or_its_second_source_is_forgotten() -> None:
    history = after(History(), seen_by(a_snapshot(a_subaccount("a", health="2")), a_second("1500")))
    assert after(history, seen_by(a_snapshot(a_subaccount("a")), SILENT)).last_said == {}
    assert after(history, a_snapshot(a_subaccount("a", health="2"))).last_said == {}


def test_a_second_source_that_cannot_be_compared_says_nothing() -> None:
    snapshot = a_snapshot(a_subaccount("a", health="2"), usd={})
    dollars = a_second("1400", quote=None)
    assert disputes_in(seen_by(snapshot, dollars), TEN_PERCENT, History()) == {}
    missing = "a price in USD is missing to compare it with what morpho a is priced by"
    assert list(silent_seconds(seen_by(snapshot, dollars))) == [(dollars, missing)]
    assert list(silent_seconds(seen_by(snapshot, a_second("1400")))) == []


# The sequencer --------------------------------------------------------------------------------------------------------


def test_while_the_sequencer_is_down_only_those_without_debt_give() -> None:
    poor = a_subaccount("a", weth="10", health="1.05")
    down = "the chain's sequencer is down since 60 s"
    plan = planned(replace(a_snapshot(poor, RICH), sequencer_problem=down))
    assert (plan.rescues, plan.notes) == ((), (f"{down}: nothing leaves an account with debt",))
    assert givers(planned(replace(a_snapshot(poor, RICH, a_wallet()), sequencer_problem=down))) == {"wallet"}


# The single bad venue of 2021-05-19 -----------------------------------------------------------------------------------

# Minutes from 13:07 UTC: the lowest of a perpetual future and of the spot market, in USD. The perpetual fell to
# 1,400.73 while nobody sold ether below 1,888.
PERPETUAL = (2_040.01, 1_907.77, 1_550.00, 1_400.73, 1_450.00, 1_910.33, 1_950.00)
SPOT = (2_117.00, 2_000.00, 1_920.00, 1_888.00, 1_977.52, 2_022.48, 2_020.00)


def the_book(price: float) -> tuple[Subaccount, ...]:
    """Accounts at their healths of 2,040 USD, when the oracle follows to `price`."""
    prices = {WETH: f"{price:.2f}"}
    poor, fine, rich = (
        a_subaccount(key, weth="10", prices=prices, debt=debt)
        for key, debt in (("a", "12500"), ("b", "9500"), ("c", "4000"))
    )
    return poor, fine, rich


def test_a_wick_on_a_single_venue_moves_nothing_out_of_an_account_with_debt() -> None:
    """The protocols' oracle follows the perpetual, a second source the spot market."""
    moved_before, disputed = False, 0
    for perpetual, spot in zip(PERPETUAL, SPOT, strict=True):
        snapshot = a_snapshot(*the_book(perpetual), a_wallet("0.2"))
        moved_before |= bool(givers(planned(snapshot)) - {"wallet"})
        plan = planned(seen_by(snapshot, a_second(f"{spot:.2f}", quote=None)))
        if plan.disputes:
            disputed += 1
            assert givers(plan) <= {"wallet"}
    assert moved_before, "without a second source the wick does take from accounts with debt"
    assert disputed == 3  # 1,550 against 1,920; 1,400.73 against 1,888; 1,450 against 1,977.52


def test_without_a_second_source_the_limit_on_jumps_stops_the_wick() -> None:
    limits, points = PriceLimits(1_000, 1_500, 120), list[tuple[int, str]]()
    for minute, perpetual in enumerate(PERPETUAL):
        at = NOON + 60 * minute
        snapshot = a_snapshot(*the_book(perpetual), a_wallet("0.2"), timestamp=at)
        history = everybody_saw(snapshot, points)
        plan = planned(snapshot, history, limits)
        if minute in (2, 3, 4, 5, 6):
            assert set(plan.disputes) == {A, SubaccountId("morpho", "b"), SubaccountId("morpho", "c")}
            assert givers(plan) <= {"wallet"}
        else:
            assert not plan.disputes
        points.append((at, f"{perpetual:.2f}"))


def everybody_saw(snapshot: Snapshot, points: Sequence[tuple[int, str]]) -> History:
    known = tuple(PriceSeen(at, wad(price)) for at, price in points)
    return History(prices={(each.id, Address(WETH.address)): known for each in snapshot.subaccounts if each.has_debt})


def test_the_crash_itself_is_not_disputed_by_the_mean_of_five_minutes() -> None:
    """The largest gap of that day: at 12:53 spot closed at 2,012.07, and the mean of five closes was 2,194.09."""
    prices = {WETH: "2012.07"}
    poor = a_subaccount("a", weth="10", prices=prices, health="1.05")
    rich = a_subaccount("rich", weth="40", prices=prices, health="3")
    assert givers(planned(seen_by(a_snapshot(poor, rich), a_second("2194.09")))) == {"morpho:rich"}

"""What becomes of a wallet as prices move step by step, with the keeper and without."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from keeper.core.plan import History, InFlight, Lane, PriceSeen
from keeper.core.policy import PriceLimits
from keeper.core.snapshot import Snapshot, SubaccountId, Unknown
from keeper.core.units import INFINITE_HEALTH
from keeper.core.what_if import Changes, Death, Step, first_to_die, walk
from tests.builders import DAI, NOON, USDC, WETH, a_policy, a_snapshot, a_subaccount, a_wallet, wad

A, B = SubaccountId("morpho", "a"), SubaccountId("morpho", "b")


def falls(*percents: int) -> list[Changes]:
    return [{"WETH": -100 * percent} for percent in percents]


def walked(snapshot: Snapshot, path: Sequence[Changes], *, has_keeper: bool) -> tuple[Step, ...]:
    return walk(snapshot, path, a_policy(*snapshot.subaccounts), History(), has_keeper=has_keeper)


@pytest.mark.parametrize(("percent", "lives"), [(19, True), (20, True), (21, False)])
def test_without_a_keeper_an_account_dies_once_it_is_below_the_line(percent: int, lives: bool) -> None:
    (step,) = walked(a_snapshot(a_subaccount("a", health="1.25"), a_wallet()), falls(percent), has_keeper=False)
    assert (A in step.healths) is lives
    assert step.deaths == (() if lives else (Death(A, step.deaths[0].loss_usd),))
    assert not step.rescues


def test_with_the_keeper_the_same_account_is_rescued_before_it_gets_there() -> None:
    snapshot = a_snapshot(a_subaccount("a", health="1.25"), a_wallet())
    steps = walked(snapshot, falls(0, 10, 20, 30), has_keeper=True)
    assert [len(step.rescues) for step in steps] == [0, 1, 1, 1]
    assert all(not step.deaths for step in steps)
    # Brought to its target at each step, at that step's prices.
    assert [step.lowest // 10**16 for step in steps] == [125, 125, 125, 125]


def test_a_fall_through_the_whole_cushion_in_one_step_kills_with_a_keeper_too() -> None:
    """Liquidators strike before the keeper can act."""
    (step,) = walked(a_snapshot(a_subaccount("a", health="1.25"), a_wallet()), falls(21), has_keeper=True)
    assert [death.subaccount for death in step.deaths] == [A]
    assert not step.rescues
    assert step.lowest == INFINITE_HEALTH


def test_who_died_gives_nothing_any_more_and_dies_once() -> None:
    snapshot = a_snapshot(a_subaccount("a", health="1.25"), a_subaccount("b", health="1.5", weth="100"))
    steps = walked(snapshot, falls(30, 35), has_keeper=True)
    assert [[death.subaccount for death in step.deaths] for step in steps] == [[A], [B]]


def test_what_was_moved_at_one_step_stays_moved_at_the_next() -> None:
    """The wallet has 3 WETH, and the first two steps take all of it."""
    snapshot = a_snapshot(a_subaccount("a", health="1.25"), a_wallet("3"))
    steps = walked(snapshot, falls(10, 20, 30, 40), has_keeper=True)
    moved = [sum(transfer.amount_raw for each in step.rescues for transfer in each.transfers) for step in steps]
    assert sum(moved) <= wad("3")
    assert moved[0] > 0
    assert moved[-1] == 0
    assert [bool(step.deaths) for step in steps] == [False, False, False, True]


def test_a_death_takes_the_penalty_at_the_prices_of_its_step() -> None:
    """Debt of 13,760 USDC; collateral of 10 WETH at 1,570 leaves more equity than the penalty of 5 % takes."""
    (step,) = walked(a_snapshot(a_subaccount("a", health="1.25")), [{"WETH": -2_150}], has_keeper=False)
    assert step.deaths == (Death(A, wad("688")),)


def test_a_batch_on_its_way_does_not_wait_for_ever() -> None:
    snapshot = a_snapshot(a_subaccount("a", health="1.14"), a_wallet())
    history = History(in_flight=InFlight("0xaa", Lane.CRITICAL, frozenset({A})))
    (step,) = walk(snapshot, falls(0), a_policy(*snapshot.subaccounts), history, has_keeper=True)
    assert len(step.rescues) == 1


def test_what_cannot_be_read_takes_no_part() -> None:
    snapshot = a_snapshot(a_subaccount("a", health="1.25", reading=Unknown("its oracle reverts")))
    (step,) = walked(snapshot, falls(50), has_keeper=False)
    assert (step.healths, step.deaths) == ({}, ())
    assert first_to_die(snapshot, {"WETH": -5_000}) is None


@pytest.mark.parametrize(
    ("to", "found"),
    [
        ({"WETH": -1_999}, None),
        ({"WETH": -2_001}, ({"WETH": -2_001}, A)),
        ({"WETH": -4_000}, ({"WETH": -2_001}, A)),
        ({"WETH": 4_000}, None),
        ({"USDC": 5_000}, ({"USDC": 2_500}, A)),
    ],
)
def test_the_first_to_die_is_found_to_a_ten_thousandth_of_the_way(
    to: dict[str, int], found: tuple[dict[str, int], SubaccountId] | None
) -> None:
    snapshot = a_snapshot(a_subaccount("a", health="1.25"), a_subaccount("b", health="2", debt_token=DAI))
    first = first_to_die(snapshot, to)
    if found is None:
        assert first is None
        return
    assert first is not None
    (symbol,) = to
    assert first[1] == found[1]
    assert abs(first[0][symbol] - found[0][symbol]) <= max(abs(to[symbol]) // 10_000, 1)


def test_a_debt_that_rises_kills_as_a_collateral_that_falls() -> None:
    """A stable collateral against a volatile debt falls the other way."""
    short = a_subaccount("a", collateral={USDC: "10000"}, debt_token=WETH, health="1.25")
    assert first_to_die(a_snapshot(short), {"WETH": -5_000}) is None
    first = first_to_die(a_snapshot(short), {"WETH": 5_000})
    assert first is not None
    assert 2_500 <= first[0]["WETH"] <= 2_505


@pytest.mark.parametrize(("percent", "unhelped"), [(5, []), (14, [A]), (19, [A]), (21, [])])
def test_who_is_critical_and_beyond_help_is_named_until_it_dies(percent: int, unhelped: list[SubaccountId]) -> None:
    """From 1.25 a fall of 14 % leads to 1.075, below its critical of 1.08, and one of 21 % below the line."""
    (step,) = walked(a_snapshot(a_subaccount("a", health="1.25"), a_wallet("0")), falls(percent), has_keeper=True)
    assert list(step.unhelped) == unhelped
    (without,) = walked(a_snapshot(a_subaccount("a", health="1.25")), falls(percent), has_keeper=False)
    assert without.unhelped == ()


def test_nobody_waits_for_company_on_a_path_on_which_no_time_passes() -> None:
    book = (a_subaccount("a", weth="190", health="1.2767"), a_subaccount("b", health="1.2779"), a_wallet("1000"))
    expensive = History(gas_price_wei=100 * 10**9)
    (step,) = walk(a_snapshot(*book), falls(10), a_policy(*book), expensive, has_keeper=True)
    assert [rescue.recipient for rescue in step.rescues] == [A]


def test_steps_are_no_moments_between_which_a_price_could_jump() -> None:
    snapshot = a_snapshot(a_subaccount("a", health="1.5"), a_subaccount("rich", weth="40", health="4"))
    seen = {(each.id, WETH.address): (PriceSeen(NOON - 12, 2_000 * 10**18),) for each in snapshot.subaccounts}
    policy = replace(a_policy(*snapshot.subaccounts), prices=PriceLimits(jump_max_bps=1_000))
    (step,) = walk(snapshot, falls(30), policy, History(prices=seen), has_keeper=True)
    assert [str(one.donor) for one in step.rescues[0].transfers] == ["morpho:rich"]

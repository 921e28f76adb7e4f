"""What a stolen hot key could move: the smaller of the cap and what donors can give before the guard's hard floors."""

from keeper.core.snapshot import GuardState, Snapshot
from keeper.exposure import grants, worst_cases
from tests.builders import WETH, a_snapshot, a_subaccount, a_wallet, raw

LIMITS = {"a": ("1.02", "1.04", "1.2")}


def guarded(snapshot: Snapshot) -> tuple[Snapshot, GuardState]:
    assert snapshot.guard is not None
    return snapshot, snapshot.guard


def test_each_account_is_listed_with_what_the_guard_lets_it_do() -> None:
    book = (a_subaccount("a", health="1.1"), a_wallet("2"))
    sentences = list(grants(*guarded(a_snapshot(*book, limits=LIMITS))))
    first, second = sentences
    assert first == (
        "morpho a (morpho:a) may receive while its health is below 1.2000, must then reach 1.0400, "
        "and may give down to 1.0200"
    )
    assert second == "wallet may give 2 WETH, as far as its allowances go"


def test_the_worst_is_bounded_by_what_donors_can_give() -> None:
    """10 WETH at 1.1 give down to 1.02: 10 * (1 - 1.02 / 1.1) = 0.7272 of them; the wallet gives its 2."""
    book = (a_subaccount("a", health="1.1"), a_wallet("2"))
    snapshot, guard = guarded(a_snapshot(*book, limits=LIMITS, caps={WETH: "50"}))
    (worst,) = worst_cases(snapshot, guard, {WETH.address: (raw(WETH, "50"), 86_400)})
    assert raw(WETH, "2.7272") < worst.in_window_raw < raw(WETH, "2.7273")
    assert worst.now_raw == worst.in_window_raw


def test_the_worst_is_bounded_by_the_cap_and_what_is_left_of_it() -> None:
    book = (a_subaccount("a", health="1.1"), a_wallet("9"))
    snapshot, guard = guarded(a_snapshot(*book, limits=LIMITS, caps={WETH: "3"}))
    (worst,) = worst_cases(snapshot, guard, {WETH.address: (raw(WETH, "5"), 86_400)})
    assert (worst.in_window_raw, worst.now_raw) == (raw(WETH, "5"), raw(WETH, "3"))
    assert str(worst) == "WETH: at most 5 WETH ($10,000) in any 24 h, right now 3 WETH ($6,000)"


def test_nothing_can_move_now_while_no_account_is_below_its_ceiling() -> None:
    book = (a_subaccount("a", health="1.3"), a_wallet("9"))
    snapshot, guard = guarded(a_snapshot(*book, limits=LIMITS, caps={WETH: "5"}))
    (worst,) = worst_cases(snapshot, guard, {WETH.address: (raw(WETH, "5"), 86_400)})
    assert (worst.in_window_raw, worst.now_raw) == (raw(WETH, "5"), 0)


def test_a_token_without_a_cap_cannot_move() -> None:
    snapshot, guard = guarded(a_snapshot(a_subaccount("a", health="1.1"), a_wallet("9"), limits=LIMITS, caps={}))
    (worst,) = worst_cases(snapshot, guard, {})
    assert str(worst) == "WETH: nothing"

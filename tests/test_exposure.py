"""What was granted, what the guard lets the keeper do, and the most that a stolen hot key could move."""

from dataclasses import replace

import pytest

from keeper.core.snapshot import GuardProtocol, GuardState, Snapshot, Unknown
from keeper.exposure import limits, permission_text, worst_cases
from keeper.protocols.permissions import Permission, Place
from tests.builders import MORPHO, OWNER, USDC, WETH, a_snapshot, a_subaccount, a_wallet, raw

LIMITS = {"a": ("1.02", "1.04", "1.2", "1.5")}
DAY = 86_400


def guarded(snapshot: Snapshot) -> tuple[Snapshot, GuardState]:
    assert snapshot.guard is not None
    return snapshot, snapshot.guard


# What was granted -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "amount_raw", "text"),
    [
        (GuardProtocol.WALLET, 3 * 10**17, "its allowance from 0x0e0e…0e0e is 0.3 WETH"),
        (GuardProtocol.WALLET, (1 << 128) - 1, "is 340,282,366,920,938,463,463 WETH"),
        (GuardProtocol.WALLET, 1 << 128, "its allowance of WETH from 0x0e0e…0e0e is unlimited"),
        (GuardProtocol.WALLET, None, "its allowance of WETH from 0x0e0e…0e0e cannot be read"),
        (GuardProtocol.MORPHO, 1, "0x0e0e…0e0e authorised it on Morpho"),
        (GuardProtocol.MORPHO, 0, "0x0e0e…0e0e has not authorised it on Morpho"),
        (GuardProtocol.MORPHO, None, "whether 0x0e0e…0e0e authorised it on Morpho"),
    ],
)
def test_a_permission_is_said_in_plain_words(kind: GuardProtocol, amount_raw: int | None, text: str) -> None:
    contract = WETH.address if kind is GuardProtocol.WALLET else MORPHO
    said = permission_text(Permission(Place(kind, contract, OWNER), amount_raw, True), {WETH.address: WETH})
    assert text in said


def test_the_allowance_of_a_token_that_is_not_known_is_in_raw_units() -> None:
    permission = Permission(Place(GuardProtocol.WALLET, USDC.address, OWNER), 7, True)
    assert "is 7 raw units of 0x" in permission_text(permission, {})


# What the guard allows ------------------------------------------------------------------------------------------------


def test_each_account_and_each_cap_is_listed_with_what_the_guard_allows() -> None:
    book = (a_subaccount("a", health="1.1"), a_wallet("2"))
    snapshot, guard = guarded(a_snapshot(*book, limits=LIMITS, caps={WETH: "3"}))
    caps = {WETH.address: (raw(WETH, "5"), DAY), USDC.address: (0, DAY)}
    position, wallet, cap = limits(snapshot, guard, caps)
    assert position == (
        "morpho a (morpho:a) may receive while its health is below 1.2000, must then end between 1.0400 and 1.5000, "
        "and may give down to 1.0200"
    )
    assert wallet == "wallet may give, as far as its allowances go"
    assert cap == "of WETH at most 5 WETH may move in any 24 h, 3 WETH of it now"


def test_an_account_that_is_not_in_the_file_is_listed_too() -> None:
    snapshot, guard = guarded(a_snapshot(a_subaccount("a", health="1.1"), limits=LIMITS))
    (sentence,) = limits(replace(snapshot, subaccounts=()), guard, {})
    assert sentence.startswith("account number 0 of 0x")
    assert "which is not in the file, may receive while its health is below 1.2000" in sentence


def test_an_account_that_was_retired_may_do_nothing() -> None:
    snapshot, guard = guarded(a_snapshot(a_subaccount("a", health="1.1"), limits=LIMITS))
    retired = replace(guard, accounts=(replace(guard.accounts[0], is_live=False),))
    assert list(limits(snapshot, retired, {})) == []
    (worst,) = worst_cases(snapshot, retired, {WETH.address: (raw(WETH, "5"), DAY)})
    assert (worst.displaced_raw, worst.now_raw) == (0, 0)


# The worst ------------------------------------------------------------------------------------------------------------


def test_the_worst_is_bounded_by_what_donors_can_give() -> None:
    """10 WETH at 1.1 give down to 1.02: 10 * (1 - 1.02 / 1.1) = 0.7272 of them; the wallet gives its 2.

    They also have room for it: 10 * (1.5 / 1.1 - 1) = 3.63.
    """
    book = (a_subaccount("a", health="1.1"), a_wallet("2"))
    snapshot, guard = guarded(a_snapshot(*book, limits=LIMITS, caps={WETH: "50"}))
    (worst,) = worst_cases(snapshot, guard, {WETH.address: (raw(WETH, "50"), DAY)})
    assert worst.cap_raw == raw(WETH, "50")
    assert raw(WETH, "2.7272") < worst.displaced_raw < raw(WETH, "2.7273")
    assert worst.now_raw == worst.displaced_raw


def test_right_now_it_is_bounded_by_what_accounts_can_take_up_to_their_maxima() -> None:
    """10 WETH at 1.1 take 10 * (1.5 / 1.1 - 1) = 3.6363 up to 1.5; another day, after a fall, they could take more."""
    book = (a_subaccount("a", health="1.1"), a_wallet("9"))
    snapshot, guard = guarded(a_snapshot(*book, limits=LIMITS, caps={WETH: "50"}))
    (worst,) = worst_cases(snapshot, guard, {WETH.address: (raw(WETH, "50"), DAY)})
    assert raw(WETH, "9.7272") < worst.displaced_raw < raw(WETH, "9.7273")
    assert raw(WETH, "3.6363") < worst.now_raw < raw(WETH, "3.6364")


def test_an_account_below_its_maximum_has_room_though_it_is_above_its_ceiling() -> None:
    """A thief may drain it below its ceiling first. b at 1.4 takes 10 * (1.5 / 1.4 - 1) = 0.7142 on top of a's."""
    book = (a_subaccount("a", health="1.1"), a_subaccount("b", health="1.4"), a_wallet("9"))
    limits = LIMITS | {"b": ("1.02", "1.04", "1.2", "1.5")}
    snapshot, guard = guarded(a_snapshot(*book, limits=limits, caps={WETH: "50"}))
    (worst,) = worst_cases(snapshot, guard, {WETH.address: (raw(WETH, "50"), DAY)})
    assert raw(WETH, "4.3506") < worst.now_raw < raw(WETH, "4.3507")


def test_the_worst_is_bounded_by_the_cap_and_what_is_left_of_it() -> None:
    book = (a_subaccount("a", health="1.1"), a_wallet("9"))
    snapshot, guard = guarded(a_snapshot(*book, limits=LIMITS, caps={WETH: "3"}))
    (worst,) = worst_cases(snapshot, guard, {WETH.address: (raw(WETH, "5"), DAY)})
    assert (worst.cap_raw, worst.displaced_raw, worst.now_raw) == (raw(WETH, "5"), raw(WETH, "5"), raw(WETH, "3"))
    assert str(worst) == (
        "WETH: at most 5 WETH ($10,000) in any 24 h, to and fro, of which 5 WETH ($10,000) could end up in another "
        "account; right now 3 WETH ($6,000)"
    )


@pytest.mark.parametrize(("health", "now"), [("1.1999", "3"), ("1.2", "0"), ("1.3", "0")])
def test_nothing_can_move_now_while_no_account_is_below_its_ceiling(health: str, now: str) -> None:
    book = (a_subaccount("a", weth="100", health=health), a_wallet("9"))
    snapshot, guard = guarded(a_snapshot(*book, limits=LIMITS, caps={WETH: "3"}))
    (worst,) = worst_cases(snapshot, guard, {WETH.address: (raw(WETH, "5"), DAY)})
    assert (worst.displaced_raw, worst.now_raw) == (raw(WETH, "5"), raw(WETH, now))


def test_nothing_can_move_now_while_the_guard_is_paused() -> None:
    snapshot, guard = guarded(a_snapshot(a_subaccount("a", health="1.1"), a_wallet("9"), limits=LIMITS))
    (worst,) = worst_cases(snapshot, replace(guard, is_paused=True), {WETH.address: (raw(WETH, "5"), DAY)})
    assert worst.now_raw == 0
    assert str(worst).endswith("right now nothing, for no account may receive it")


@pytest.mark.parametrize("is_in_file", [True, False])
def test_what_cannot_be_read_counts_as_the_whole_cap(is_in_file: bool) -> None:
    account = a_subaccount("a", health="1.1", reading=Unknown("it reverts"))
    snapshot, guard = guarded(a_snapshot(account, a_wallet("1"), limits=LIMITS, caps={WETH: "3"}))
    if not is_in_file:
        snapshot = replace(snapshot, subaccounts=snapshot.subaccounts[1:])
    (worst,) = worst_cases(snapshot, guard, {WETH.address: (raw(WETH, "5"), DAY)})
    assert (worst.displaced_raw, worst.now_raw) == (raw(WETH, "5"), raw(WETH, "3"))


def test_a_token_without_a_feed_of_its_own_is_worth_what_its_accounts_oracle_says() -> None:
    snapshot, guard = guarded(a_snapshot(a_subaccount("a", health="1.1"), limits=LIMITS, usd={USDC.address: 10**18}))
    (worst,) = worst_cases(snapshot, guard, {WETH.address: (raw(WETH, "5"), DAY)})
    assert worst.usd(raw(WETH, "1")) == 2_000 * 10**18
    (worst,) = worst_cases(replace(snapshot, usd_per_unit={}), guard, {WETH.address: (raw(WETH, "5"), DAY)})
    assert worst.usd(raw(WETH, "1")) is None


def test_a_token_without_a_cap_cannot_move() -> None:
    snapshot, guard = guarded(a_snapshot(a_subaccount("a", health="1.1"), a_wallet("9"), limits=LIMITS, caps={}))
    (worst,) = worst_cases(snapshot, guard, {})
    assert str(worst) == "WETH: nothing, for it has no cap"

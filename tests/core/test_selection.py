"""Which of those that would die are worth saving: 10 WETH at a health of 0.98 take 0.61 to `survive`."""

import pytest

from keeper.core.book import Account, Book
from keeper.core.selection import Dying, worth_most
from keeper.core.snapshot import NOTHING, FreshnessUnverified, Reading
from tests.builders import WETH, a_policy, a_subaccount, a_wallet, raw


def an_account(key: str, weth: str, reading: Reading | None = None) -> Account:
    subaccount = a_subaccount(key, weth=weth, health="0.98", reading=reading)
    settings = a_policy(subaccount).subaccounts[subaccount.id]
    return Account(subaccount, settings, settings.thresholds, NOTHING)


def chosen(held: str, *dying: Dying, cap: str = "1000") -> set[str]:
    wallet = a_wallet(held)
    settings = a_policy(wallet).subaccounts[wallet.id]
    donor = Account(wallet, settings, settings.thresholds, NOTHING)
    book = Book([donor], {WETH.address: raw(WETH, cap)}, a_policy().inclusion, 1)
    return {id.key for id in worth_most(book, dying, is_last_stand=True)}


LARGE = Dying(an_account("large", "40"), 0, 100)
"""Takes 2.45."""
SMALL = Dying(an_account("small", "2"), 0, 10)
"""Takes 0.12, and saves most for what it takes."""
HALF, OTHER_HALF = Dying(an_account("half", "20"), 0, 60), Dying(an_account("other", "20"), 0, 60)
"""Take 1.22 each."""
FIRST = Dying(an_account("first", "20"), 1, 1)
"""Of a higher tier, with next to nothing to lose."""


@pytest.mark.parametrize(
    ("held", "dying", "expected"),
    [
        ("0.1", [LARGE, SMALL], set[str]()),
        ("2.5", [LARGE, SMALL], {"large"}),  # the small one first would leave too little
        ("2.6", [LARGE, SMALL], {"large", "small"}),
        ("2.5", [LARGE, HALF, OTHER_HALF], {"half", "other"}),  # two halves are worth more than the largest
        ("2.4", [LARGE, HALF, OTHER_HALF, SMALL], {"half", "small"}),
        ("1.3", [FIRST, HALF], {"first"}),
        ("2.5", [FIRST, LARGE], {"first"}),
    ],
)
def test_the_subset_with_the_largest_loss_is_chosen(held: str, dying: list[Dying], expected: set[str]) -> None:
    assert chosen(held, *dying) == expected


def test_the_guards_cap_limits_what_donors_can_give() -> None:
    assert chosen("10", LARGE, SMALL, cap="2.5") == {"large"}
    assert chosen("10", LARGE, SMALL, cap="2.6") == {"large", "small"}


def test_whose_own_price_cannot_be_trusted_is_saved_by_donors_without_debt() -> None:
    unverified = Dying(an_account("unverified", "20", FreshnessUnverified("the feed's age")), 0, 60)
    assert chosen("1.3", unverified) == {"unverified"}

"""What may leave and arrive where a token would have to be withdrawn and supplied."""

from dataclasses import replace

import pytest

from keeper.core.forms import across_protocols
from keeper.core.snapshot import Subaccount
from keeper.core.units import Address
from tests.builders import USDC, WETH, a_subaccount, raw

POOL, OTHER_POOL = Address("0x" + "a1" * 20), Address("0x" + "a2" * 20)


def held_as(
    form: Address, key: str = "a", *, withdrawable: str | None = "3", suppliable: str | None = "2"
) -> Subaccount:
    """10 WETH, of which the form lets 3 be withdrawn and 2 be supplied, unless said."""
    account = a_subaccount(key, weth="10", receivable="100")
    (line,) = account.collateral
    line = replace(
        line,
        form=form,
        withdrawable_raw_max=None if withdrawable is None else raw(WETH, withdrawable),
        suppliable_raw_max=None if suppliable is None else raw(WETH, suppliable),
    )
    return replace(account, collateral=(line,))


def limits(subaccount: Subaccount) -> tuple[int, int]:
    (line,) = subaccount.collateral
    return line.movable_raw_max // 10**18, line.receivable_raw_max // 10**18


def test_in_one_form_a_token_is_passed_on_whatever_can_be_withdrawn() -> None:
    both = across_protocols([held_as(POOL, "a"), held_as(POOL, "b")])
    assert [limits(one) for one in both] == [(10, 100), (10, 100)]


def test_in_two_forms_it_has_to_be_withdrawn_and_supplied() -> None:
    one, other = across_protocols([held_as(POOL, "a"), held_as(OTHER_POOL, "b", withdrawable=None, suppliable=None)])
    assert limits(one) == (3, 2)
    assert limits(other) == (10, 100)  # nothing limits it but what did before


def test_what_somebody_owes_may_have_to_be_withdrawn_to_repay_it() -> None:
    owing = a_subaccount("b", collateral={USDC: "1000"}, debt="0.1", debt_token=WETH)
    holding, _ = across_protocols([held_as(POOL, "a"), owing])
    assert limits(holding) == (3, 2)


@pytest.mark.parametrize(("withdrawable", "movable"), [("0", 0), ("9", 9), ("10", 10), ("11", 10)])
def test_no_more_leaves_than_either_allows(withdrawable: str, movable: int) -> None:
    one, _ = across_protocols([held_as(POOL, "a", withdrawable=withdrawable), held_as(OTHER_POOL, "b")])
    assert limits(one)[0] == movable

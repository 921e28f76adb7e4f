"""When a plan made anew is another one."""

from dataclasses import replace

import pytest

from keeper.core.plan import Effect, Kind, Lane, Rescue, Stage, Transfer
from keeper.core.replanning import Move, differs, moves, recipients
from keeper.core.snapshot import SubaccountId
from keeper.core.units import WAD
from tests.builders import WETH

A, B, WALLET = SubaccountId("morpho", "a"), SubaccountId("morpho", "b"), SubaccountId.parse("wallet")
FROM_WALLET: Move = (A, WALLET, WETH.address, Kind.CROSS)
FROM_B: Move = (A, B, WETH.address, Kind.NATIVE)


@pytest.mark.parametrize(
    ("amount", "expected"), [(900, False), (899, True), (1_000, False), (1_111, False), (1_112, True), (0, True)]
)
def test_an_amount_that_differs_by_more_than_a_tenth_of_the_larger_is_another_one(amount: int, expected: bool) -> None:
    assert differs({FROM_WALLET: amount}, {FROM_WALLET: 1_000}) is expected
    assert differs({FROM_WALLET: 1_000}, {FROM_WALLET: amount}) is expected


def test_another_donor_or_recipient_is_another_plan() -> None:
    assert differs({FROM_WALLET: 1_000}, {FROM_B: 1_000})
    assert differs({FROM_WALLET: 1_000, FROM_B: 1}, {FROM_WALLET: 1_000})
    assert not differs({}, {})


def test_what_one_donor_gives_of_a_token_counts_together() -> None:
    transfer = Transfer(Kind.CROSS, WALLET, A, WETH, 400)
    effect = Effect(A, WAD, 2 * WAD, WAD)
    transfers = (transfer, replace(transfer, amount_raw=600))
    rescue = Rescue(A, transfers, Stage.NORMAL, Lane.ROUTINE, WAD, effect, (), None)
    assert moves([rescue]) == {FROM_WALLET: 1_000}
    assert recipients(moves([rescue])) == {A}

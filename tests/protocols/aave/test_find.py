"""What accounts do with an Aave pool, by its own lists, on answers that are written out."""

from collections.abc import Sequence

import pytest
from eth_abi.abi import encode

from keeper.core.units import Address
from keeper.errors import ProtocolError
from keeper.protocols.aave.find import PoolUse, Use, uses
from keeper.protocols.base import Call, CallResult

POOL, OWNER, OTHER = (Address("0x" + digits * 20) for digits in ("aa", "0e", "0f"))
WETH, USDC, DAI = (Address("0x" + digits * 20) for digits in ("01", "03", "04"))
LISTED = CallResult(True, encode(["address[]"], [[WETH, USDC, DAI]]))
FAILED = CallResult(False, b"")


def word(number: int) -> CallResult:
    return CallResult(True, number.to_bytes(32))


def a_reserve(id: int) -> CallResult:
    """Fifteen words, of which the eighth is its id and the ninth its aToken."""
    words = [bytes(32)] * 15
    words[7], words[8] = id.to_bytes(32), (0xA0 + id).to_bytes(32)
    return CallResult(True, b"".join(words))


RESERVES = [a_reserve(0), a_reserve(1), a_reserve(2)]


def found(rounds: Sequence[Sequence[CallResult]], accounts: Sequence[Address] = (OWNER,)) -> tuple[PoolUse, list[int]]:
    """What comes out of these answers, and how many calls each round made."""
    discovery = uses(POOL, accounts)
    calls: Sequence[Call] = next(discovery)
    asked: list[int] = []
    for results in rounds:
        asked.append(len(calls))
        try:
            calls = discovery.send(results)
        except StopIteration as end:
            return end.value, asked
    raise AssertionError("it asks for more")


def test_supplies_are_told_by_balances_and_debts_by_the_bitmap() -> None:
    flags = word(0b00_01_10)  # reserve 0 is collateral, reserve 1 is owed
    use, asked = found([[LISTED, flags], RESERVES, [word(5), word(0), word(7)]])
    assert use == PoolUse((WETH, USDC, DAI), (Use(OWNER, (WETH, DAI), (USDC,)),))
    assert asked == [2, 3, 3]


def test_several_accounts_are_asked_for_at_once() -> None:
    balances = [word(0), word(0), word(0), word(0), word(9), word(0)]
    use, asked = found([[LISTED, word(0), word(0)], RESERVES, balances], (OWNER, OTHER))
    assert use.accounts == (Use(OWNER, (), ()), Use(OTHER, (USDC,), ()))
    assert [each.is_any for each in use.accounts] == [False, True]
    assert asked == [3, 3, 6]


def test_a_reserve_that_does_not_answer_is_passed_over() -> None:
    use, _ = found([[LISTED, word(0)], [RESERVES[0], FAILED, RESERVES[2]], [word(1), FAILED]])
    assert use.accounts == (Use(OWNER, (WETH,), ()),)


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ([FAILED, word(0)], "is not an Aave v3 pool: it lists no reserves; correct its address"),
        ([CallResult(True, b""), CallResult(True, b"")], "is not an Aave v3 pool: it lists no reserves"),
        ([LISTED, FAILED], "does not say what the accounts use; correct its address"),
    ],
)
def test_what_is_no_pool_is_refused(answers: list[CallResult], says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        found([answers])

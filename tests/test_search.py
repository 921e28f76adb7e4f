"""What a stranger can do to a search: put collateral into markets of his own making, for anybody."""

from types import SimpleNamespace
from typing import Any, cast

from keeper.chain.reader import Reader
from keeper.core.units import Address
from keeper.errors import ProtocolError
from keeper.search import usable_markets
from tests.builders import OWNER
from tests.fakes import a_block

MORPHO = Address("0x" + "b1" * 20)
GOOD, STRANGE, GOOD_TOO = ("0x" + digits * 32 for digits in ("3a", "3b", "3c"))


class Node:
    """Discovers every market but the strange one, whose token says nothing."""

    def __init__(self) -> None:
        self._left = [GOOD, STRANGE, GOOD_TOO]

    async def discover(self, _discovery: object, _block: object) -> object:
        id = self._left.pop(0)
        if id == STRANGE:
            raise ProtocolError("the token 0x99 does not say its symbol")
        return SimpleNamespace(markets=(id,))


async def test_a_market_that_cannot_be_used_is_named_and_spoils_no_other() -> None:
    reader = cast(Reader, cast(Any, Node()))
    usable = await usable_markets(reader, a_block(100), MORPHO, OWNER, [GOOD, STRANGE, GOOD_TOO])
    assert usable.markets == (GOOD, GOOD_TOO)
    assert usable.problems == ("the token 0x99 does not say its symbol",)

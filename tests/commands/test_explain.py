"""What `explain` says of an account beyond its numbers."""

from dataclasses import replace

import pytest

from keeper.commands.explain import collateral_sentence, thresholds_text
from keeper.core.policy import Pair, default_thresholds
from keeper.core.snapshot import SubaccountId
from tests.builders import a_subaccount, a_wallet

FROM_THE_FILE = replace(default_thresholds(Pair(SubaccountId("wallet"))), why="all from the configuration")


def test_an_account_says_where_its_thresholds_come_from_and_a_wallet_that_it_has_none() -> None:
    assert thresholds_text(a_subaccount("a", health="1.3"), FROM_THE_FILE) == "all from the configuration"
    assert thresholds_text(a_wallet("2"), FROM_THE_FILE) == "none, for a wallet cannot owe anything"


@pytest.mark.parametrize(("movable", "says"), [("2", "all"), ("1.5", "1.5 WETH"), ("0", "0 WETH")])
def test_of_what_a_wallet_holds_it_is_said_how_much_may_be_moved(movable: str, says: str) -> None:
    wallet = a_subaccount("", weth="2", movable=movable, protocol="wallet")
    line = replace(wallet.collateral[0], price=0)
    assert collateral_sentence(wallet, line) == f"It holds 2 WETH, of which {says} may be moved."

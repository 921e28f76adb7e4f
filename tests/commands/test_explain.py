"""What `explain` says of an account beyond its numbers."""

from dataclasses import replace

from keeper.commands.explain import thresholds_text
from keeper.core.policy import Pair, default_thresholds
from keeper.core.snapshot import SubaccountId
from tests.builders import a_subaccount, a_wallet

FROM_THE_FILE = replace(default_thresholds(Pair(SubaccountId("wallet"))), why="all from the configuration")


def test_an_account_says_where_its_thresholds_come_from_and_a_wallet_that_it_has_none() -> None:
    assert thresholds_text(a_subaccount("a", health="1.3"), FROM_THE_FILE) == "all from the configuration"
    assert thresholds_text(a_wallet("2"), FROM_THE_FILE) == "none, for a wallet cannot owe anything"

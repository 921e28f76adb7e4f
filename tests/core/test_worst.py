"""What is gone by when endpoints contradict each other."""

from dataclasses import replace

import pytest

from keeper.core.snapshot import Subaccount, SubaccountId, Unknown
from keeper.core.worst import worst_of
from tests.builders import a_snapshot, a_subaccount, a_wallet


def healths(*versions: list[Subaccount]) -> list[int]:
    worst = worst_of([a_snapshot(*each) for each in versions])
    return [each.margin.risk().health_factor // 10**14 for each in worst.subaccounts]


def test_of_each_account_the_lowest_health_counts_whoever_says_it() -> None:
    one = [a_subaccount("a", health="1.5"), a_subaccount("b", health="1.1")]
    other = [a_subaccount("a", health="1.2"), a_subaccount("b", health="1.3")]
    assert healths(one, other) == healths(other, one) == [12_000, 11_000]


def test_what_one_cannot_read_is_unknown_however_healthy_another_one_says_it_is() -> None:
    read = a_subaccount("a", health="1.01")
    unread = replace(a_subaccount("a", health="1.5"), reading=Unknown("its oracle reverts"))
    for versions in ([read, unread], [unread, read]):
        worst = worst_of([a_snapshot(each) for each in versions])
        assert worst.subaccounts[0].reading == Unknown("its oracle reverts")


def test_of_who_owes_nothing_the_one_with_the_least_to_give_counts() -> None:
    worst = worst_of([a_snapshot(a_wallet("10")), a_snapshot(a_wallet("3")), a_snapshot(a_wallet("7"))])
    (wallet,) = worst.subaccounts
    assert [line.movable_raw_max for line in wallet.collateral] == [3 * 10**18]


@pytest.mark.parametrize(("balances", "least"), [((5, 3), 3), ((None, 3), 3), ((None, None), None)])
def test_the_hot_key_has_what_the_least_of_them_says(balances: tuple[int | None, ...], least: int | None) -> None:
    snapshots = [replace(a_snapshot(a_wallet("1")), keeper_balance_wei=balance) for balance in balances]
    assert worst_of(snapshots).keeper_balance_wei == least


def test_one_snapshot_is_itself() -> None:
    snapshot = a_snapshot(a_subaccount("a", health="1.5"), a_wallet("1"))
    assert worst_of([snapshot]).subaccount(SubaccountId("morpho", "a")) == snapshot.subaccounts[0]

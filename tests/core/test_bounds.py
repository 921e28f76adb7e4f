"""What sources cannot cost less than: 10 WETH at 1.1 lack 1.364 to their target, 2727.3 USD; a transfer of a wallet
counts 40,000, another's 85,000."""

from collections.abc import Sequence

import pytest

from keeper.core.book import Account, Book
from keeper.core.bounds import GasBound, Prices, best_prices, no_prices
from keeper.core.demands import UNIT, Demand, Served, demands_of, fulls_of
from keeper.core.plan import Kind, Stage, Transfer
from keeper.core.policy import DonorsOrder
from keeper.core.snapshot import NOTHING, Subaccount
from keeper.core.units import WAD
from tests.builders import USDC, WETH, a_policy, a_subaccount, a_wallet, raw, wad

TARGET = wad("1.25")


def an_account(subaccount: Subaccount) -> Account:
    settings = a_policy(subaccount).subaccounts[subaccount.id]
    return Account(subaccount, settings, settings.thresholds, NOTHING, frozenset({USDC.address}))


def demands(needy: Sequence[Subaccount], *donors: Subaccount, cap: str = "1000") -> tuple[list[Demand], dict[int, int]]:
    """Of rescues of these to their targets, in WETH that the first donor gave."""
    givers = [an_account(donor) for donor in donors]
    caps = {WETH.address: raw(WETH, cap), USDC.address: raw(USDC, "1000000")}
    book = Book(givers, caps, a_policy().inclusion, 1)
    rescues: list[Served] = []
    for account in map(an_account, needy):
        need = book.need(account, account.ways[0], TARGET)
        assert need is not None
        given = Transfer(Kind.NATIVE, givers[0].id, account.id, WETH, need)
        rescues.append(Served(account, Stage.NORMAL, (given,), TARGET))
    fulls = fulls_of(book, rescues)
    assert fulls is not None
    found = demands_of(book, rescues, fulls, {}, DonorsOrder.DEBT_FREE_FIRST, is_debt_free=False)
    return found, {arc.token: book.cap(arc.way.token.address) for demand in found for arc in demand.arcs}


def usd(prices: Prices) -> float:
    return round(prices.bound / UNIT / WAD, 1)


@pytest.mark.parametrize(
    ("held", "least"),
    [("0.1", 2527.3), ("0.8", 1127.3), ("1.4", 0.0)],
)
def test_what_the_wallet_does_not_hold_must_come_from_donors_with_debt(held: str, least: float) -> None:
    found = demands([a_subaccount("r", health="1.1")], a_subaccount("d", health="2"), a_wallet(held))
    assert usd(best_prices(*found)) == least


def test_the_guards_cap_limits_what_the_wallet_gives() -> None:
    needy = [a_subaccount("r", health="1.1"), a_subaccount("s", health="1.1")]
    rich = a_subaccount("d", health="3")
    assert usd(best_prices(*demands(needy, rich, a_wallet("3"), cap="3"))) == 0
    assert usd(best_prices(*demands(needy, rich, a_wallet("3"), cap="2.7"))) == 54.6


def test_two_ways_share_what_is_missing() -> None:
    """The wallet's WETH covers a part; its USDC repays a part of the rest, so that less comes from the other."""
    rich = a_subaccount("d", health="3")
    alone = best_prices(*demands([a_subaccount("r", health="1.1")], rich, a_wallet("0.8")))
    both = a_wallet(collateral={WETH: "0.8", USDC: "500"})
    assert 0 < usd(best_prices(*demands([a_subaccount("r", health="1.1")], rich, both))) < usd(alone) - 500


def test_what_is_left_of_a_pool_with_a_price_() -> None:
    found = demands([a_subaccount("r", health="1.1")], a_subaccount("d", health="2"), a_wallet("0.8"))
    prices = best_prices(*found)
    (pool,) = prices.free
    assert prices.is_nothing(pool, raw(WETH, "0.000049"))
    assert not prices.is_nothing(pool, raw(WETH, "0.000051"))


@pytest.mark.parametrize(
    ("held", "gas"),
    [
        ("1.2", 210_000),  # the wallet is emptied for one of them
        ("1.5", 165_000),  # for the one after it has served the other
        ("2.8", 80_000),  # nothing is emptied: it serves both
    ],
)
def test_a_wallet_that_is_not_enough_costs_a_transfer_besides_those_of_whom_it_does_not_serve(
    held: str, gas: int
) -> None:
    needy = [a_subaccount("r", health="1.1"), a_subaccount("s", health="1.1")]
    found, caps = demands(needy, a_subaccount("d", health="3"), a_wallet(held))
    assert GasBound(found, best_prices(found, caps)).least_from(0) == gas


def test_a_demand_that_no_donor_covers_alone_takes_as_many_as_it_needs() -> None:
    """1.364 are missing, and three donors have 0.6 each."""
    small = [a_subaccount(key, weth="0.6") for key in "abc"]
    found, _ = demands([a_subaccount("r", health="1.1")], *small)
    assert GasBound(found, no_prices(found)).least_from(0) == 255_000


def test_what_was_drawn_and_undone_leaves_the_bound_as_it_was() -> None:
    needy = [a_subaccount("r", health="1.1"), a_subaccount("s", health="1.1")]
    found, caps = demands(needy, a_subaccount("d", health="3"), a_wallet("1.5"))
    bound = GasBound(found, best_prices(found, caps))
    before = bound.least_from(0)
    wallet = next(arc for arc in found[0].arcs if arc.donor.id.protocol == "wallet")
    drawn = bound.draw(wallet, wallet.full_raw)
    assert bound.least_from(0) != before
    bound.undo(wallet, wallet.full_raw, drawn)
    assert bound.least_from(0) == before


def test_a_cheap_donor_counts_with_the_most_that_it_can_bring_to_any() -> None:
    """Another, in Aave, would be dearer. That the second takes no more than 0.02 does not limit what the first gets."""
    needy = [a_subaccount("r", health="1.1"), a_subaccount("s", weth="0.1", health="1.1", receivable="0.02")]
    found, _ = demands(needy, a_subaccount("d", health="2"), a_subaccount("e", protocol="aave", health="2"))
    assert GasBound(found, no_prices(found)).least_from(0) == 170_000

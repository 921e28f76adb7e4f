"""What the adapter makes of a pool's answers, good and bad."""

from collections.abc import Callable

import pytest

from keeper.core.snapshot import (
    Fresh,
    FreshnessUnverified,
    GuardAccount,
    GuardProtocol,
    Stale,
    Subaccount,
    SubaccountId,
    Unknown,
)
from keeper.core.units import Address
from keeper.errors import ProtocolError
from keeper.protocols.base import Call
from keeper.protocols.venus.adapter import NO_KEY, discover
from tests.protocols.fakes import ETH_FEED, GUARD, OWNER, USDC, WBTC, WETH, FakeChain, address
from tests.protocols.venus.fakes import (
    CHAINLINK,
    COMPTROLLER,
    FRESH,
    LEFT,
    MARKETS,
    OF_CHAINLINK,
    OF_MARKET,
    OF_ORACLE,
    OF_POOL,
    ORACLE,
    a_venus_chain,
    found,
    nonsense,
    read,
    set_account,
    set_balance,
    set_market,
)

HEALTH = 1_250_000_000_000_000_000


def line(subaccount: Subaccount, token: Address) -> tuple[int, int, int | None, int, int | None]:
    """Amount, movable, withdrawable, receivable, suppliable."""
    found = subaccount.line(token)
    assert found is not None
    return (
        found.amount_raw,
        found.movable_raw_max,
        found.withdrawable_raw_max,
        found.receivable_raw_max,
        found.suppliable_raw_max,
    )


def reason_of(subaccount: Subaccount) -> str:
    assert isinstance(subaccount.reading, Unknown), subaccount.reading
    assert subaccount.margin.risk().is_liquidatable
    assert all(one.movable_raw_max == 0 for one in subaccount.collateral)
    return subaccount.reading.reason


# Discovery ------------------------------------------------------------------------------------------------------------


def test_a_pool_is_found_in_four_rounds() -> None:
    adapter, rounds = a_venus_chain().run(discover(COMPTROLLER, (OWNER,), GUARD, [MARKETS[WETH]]))
    assert rounds == 4
    assert [market.token.symbol for market in adapter.pool.markets] == ["WETH", "USDC"]  # what it owes, too
    (account,) = adapter.pool.accounts
    assert account.label.endswith(" WETH/USDC")
    assert account.threshold == 85 * 10**16


def test_what_is_no_pool_is_refused() -> None:
    with pytest.raises(ProtocolError, match="is not the comptroller of a Venus pool"):
        found(FakeChain())


def test_a_market_of_another_pool_is_refused() -> None:
    chain = a_venus_chain()
    chain.answer(COMPTROLLER, OF_POOL["getAllMarkets"], returns=[[MARKETS[WETH], MARKETS[USDC]]])
    with pytest.raises(ProtocolError, match=f"has no market {MARKETS[WBTC]}"):
        found(chain)


def test_two_markets_of_one_token_are_refused() -> None:
    chain = a_venus_chain()
    chain.answer(MARKETS[WBTC], OF_MARKET["underlying"], returns=[WETH])
    with pytest.raises(ProtocolError, match="has two markets of"):
        found(chain)


def test_a_market_that_does_not_say_its_slots_is_refused() -> None:
    chain = a_venus_chain()
    chain.revert(MARKETS[WETH], OF_MARKET["blocksOrSecondsPerYear"])
    with pytest.raises(ProtocolError, match="does not say by what its interest runs"):
        found(chain)


def test_an_account_is_enrolled_with_the_markets_that_may_move() -> None:
    (enrolment,) = found(a_venus_chain()).enrolments()
    assert (enrolment.protocol, enrolment.holder, enrolment.target) == (GuardProtocol.VENUS, OWNER, COMPTROLLER)
    assert (enrolment.key, enrolment.assets) == (NO_KEY, (MARKETS[WETH], MARKETS[WBTC]))
    assert str(enrolment.subaccount) == f"venus:{COMPTROLLER}/{OWNER}"


# An account -----------------------------------------------------------------------------------------------------------


def test_an_account_is_read_with_its_collateral_and_debt() -> None:
    subaccount = read(a_venus_chain())
    assert isinstance(subaccount.reading, Fresh)
    assert subaccount.margin.risk().health_factor == HEALTH
    (debt,) = subaccount.debts
    assert (debt.token.symbol, debt.amount_raw, debt.form) == ("USDC", 17_000 * 10**6, MARKETS[USDC])
    assert (debt.price, subaccount.penalty_bps) == (10**18, 1_000)
    of_weth = subaccount.line(WETH)
    assert of_weth is not None
    assert (of_weth.price, of_weth.form) == (2_500 * 10**18, MARKETS[WETH])
    assert 10**19 * of_weth.maintenance_weight // 10**18 == 21_250 * 10**18
    assert 10**19 * of_weth.initial_weight // 10**18 == 20_000 * 10**18


def test_interest_is_accrued_and_prices_brought_up_to_date_before_anything_is_read() -> None:
    calls = found(a_venus_chain()).read_calls()
    accrue = OF_MARKET["accrueInterest"].encode()
    assert calls[:4] == [
        *(Call(MARKETS[asset], accrue) for asset in (WETH, WBTC, USDC)),
        Call(COMPTROLLER, OF_POOL["updatePrices"].encode(OWNER)),
    ]


def test_what_the_guard_may_take_moves() -> None:
    assert line(read(a_venus_chain()), WETH)[:3] == (10**19, 4 * 10**18, 4 * 10**18)


@pytest.mark.parametrize(("allowance", "movable"), [(100_000, 0), (100_001, 100_001 * 10**10)])
def test_less_than_a_hundred_thousand_parts_does_not_move(allowance: int, movable: int) -> None:
    """One part is taken for 10^10 and one, rounded up."""
    chain = a_venus_chain()
    set_balance(chain, WETH, tokens=10 * 10**8, allowance=allowance)
    assert line(read(chain), WETH)[1] == movable


def test_what_lies_in_a_market_that_was_not_entered_gives_and_does_not_receive() -> None:
    subaccount = read(a_venus_chain())
    amount, movable, _, receivable, _ = line(subaccount, WBTC)
    assert (amount, movable, receivable) == (5 * 10**7, 5 * 10**7, 0)
    assert any(note.startswith("WBTC does not count: the holder did not enter its market") for note in subaccount.notes)
    assert subaccount.margin.risk({WBTC: -(5 * 10**7)}).health_factor == HEALTH


@pytest.mark.parametrize(
    ("paused", "expected"),
    [
        (0, (4 * 10**18, 4 * 10**18, 0)),  # minting
        (1, (4 * 10**18, 0, None)),  # redeeming
        (6, (0, 0, None)),  # transfers
    ],
)
def test_a_paused_action_stops_what_it_is_needed_for(paused: int, expected: tuple[int, int, int | None]) -> None:
    chain = a_venus_chain()
    set_market(chain, WETH, paused=[paused])
    _, movable, withdrawable, receivable, suppliable = line(read(chain), WETH)
    assert (movable, withdrawable, suppliable) == expected
    assert receivable > 0


def test_what_cannot_be_told_to_be_open_counts_as_paused() -> None:
    chain = a_venus_chain()
    chain.revert(COMPTROLLER, OF_POOL["actionPaused"], MARKETS[WETH], 6)
    assert line(read(chain), WETH)[1] == 0


def test_a_cap_leaves_what_is_not_supplied_yet() -> None:
    chain = a_venus_chain()
    set_market(chain, WETH, cap=10_003 * 10**18)
    assert line(read(chain), WETH)[4] == 3 * 10**18


def test_what_is_lent_out_cannot_be_redeemed() -> None:
    chain = a_venus_chain()
    set_market(chain, WETH, cash=10**18)
    subaccount = read(chain)
    assert line(subaccount, WETH)[1:3] == (4 * 10**18, 10**18 - 10**10 - 1)
    assert any("the rest is lent out" in note for note in subaccount.notes)


def test_a_market_that_is_not_enrolled_does_not_move() -> None:
    enrolled = GuardAccount(
        7, GuardProtocol.VENUS, OWNER, COMPTROLLER, NO_KEY, (WBTC,), 0, 0, 0, 0, is_live=True, forms=(MARKETS[WBTC],)
    )
    subaccount = read(
        a_venus_chain(), enrolled={(GuardProtocol.VENUS, OWNER, COMPTROLLER, NO_KEY): enrolled}
    )  # fmt: skip
    assert subaccount.guard_index == 7
    assert line(subaccount, WETH)[1] == line(subaccount, WETH)[3] == 0
    assert any(note.startswith("WETH is not enrolled in the guard") for note in subaccount.notes)


def test_what_is_owed_may_be_liquidated_whatever_the_health_where_that_is_forced() -> None:
    chain = a_venus_chain()
    set_market(chain, USDC, is_forced=True)
    subaccount = read(chain)
    assert subaccount.margin.risk().health_factor == HEALTH
    assert subaccount.is_liquidatable
    assert subaccount.forced_liquidation == (
        "Venus lets anybody liquidate what is owed of USDC, whatever the health; repay it by hand"
    )


def test_that_it_is_forced_for_another_market_does_not_matter() -> None:
    chain = a_venus_chain()
    set_market(chain, WETH, is_forced=True)
    subaccount = read(chain)
    assert (subaccount.forced_liquidation, subaccount.is_liquidatable) == (None, False)


@pytest.mark.parametrize(("price", "is_whole"), [(10 * 10**18, True), (11 * 10**18, False)])
def test_a_small_account_would_be_liquidated_whole(price: int, is_whole: bool) -> None:
    chain = a_venus_chain()
    set_market(chain, WETH, price=price)
    set_balance(chain, USDC, owed=10**6)
    set_account(chain, (WETH, USDC), price * 85 // 10 - 10**18)
    assert any("liquidated as a whole" in note for note in read(chain).notes) is is_whole


# What is not known ----------------------------------------------------------------------------------------------------


def test_a_stale_feed_of_what_counts_is_said() -> None:
    subaccount = read(a_venus_chain(), feeds={**FRESH, ETH_FEED: Stale("too old")})
    assert subaccount.reading == Stale("too old")


@pytest.mark.parametrize("config", [[(WETH, [CHAINLINK, CHAINLINK, address(0)], [True, True, False], False)], None])
def test_a_price_of_several_oracles_or_set_by_hand_has_no_feed(config: list[object] | None) -> None:
    chain = a_venus_chain()
    if config is None:
        chain.answer(CHAINLINK, OF_CHAINLINK["prices"], WETH, returns=[1])
    else:
        chain.answer(ORACLE, OF_ORACLE["getTokenConfig"], WETH, returns=config)
    assert isinstance(read(chain).reading, FreshnessUnverified)


def test_a_pool_that_says_another_number_is_not_believed() -> None:
    chain = a_venus_chain()
    set_account(chain, (WETH, USDC), LEFT - 1)
    assert "the keeper does not know this pool well enough" in reason_of(read(chain))


@pytest.mark.parametrize(
    "name", ["exchangeRateStored", "borrowRatePerBlock", "getCash", "totalReserves", "totalSupply"]
)
def test_a_market_that_answers_nonsense_makes_who_entered_it_unknown(name: str) -> None:
    chain = a_venus_chain()
    adapter = found(chain)
    nonsense(WETH, name, chain)
    assert "Venus's market of WETH does not answer" in reason_of(read(chain, adapter))
    chain = a_venus_chain()
    nonsense(WBTC, name, chain)
    subaccount = read(chain, adapter)
    assert isinstance(subaccount.reading, Fresh)
    assert len(subaccount.unread) == 1


BREAKS: list[tuple[Callable[[FakeChain], None], str]] = [
    (lambda chain: chain.revert(MARKETS[WETH], OF_MARKET["accrueInterest"]), "cannot accrue interest"),
    (lambda chain: chain.revert(ORACLE, OF_ORACLE["getUnderlyingPrice"], MARKETS[WETH]), "has no price of WETH"),
    (lambda chain: set_market(chain, WETH, price=0), "has no price of WETH: it answers zero"),
    (lambda chain: set_market(chain, WETH, is_listed=False), "does not list its market of WETH any more"),
    (lambda chain: chain.revert(COMPTROLLER, OF_POOL["markets"], MARKETS[WETH]), "does not answer for WETH"),
    (
        lambda chain: chain.revert(COMPTROLLER, OF_POOL["isForcedLiquidationEnabled"], MARKETS[USDC]),
        "does not say whether anybody may liquidate what is owed of USDC",
    ),
    (lambda chain: chain.revert(COMPTROLLER, OF_POOL["getAssetsIn"], OWNER), "does not say what"),
    (lambda chain: chain.revert(COMPTROLLER, OF_POOL["getAccountLiquidity"], OWNER), "liquidity does not answer"),
    (
        lambda chain: chain.revert(MARKETS[WETH], OF_MARKET["getAccountSnapshot"], OWNER),
        "the WETH of venus 0x00…11ce WETH/USDC cannot be read",
    ),
]


@pytest.mark.parametrize(("break_it", "reason"), BREAKS)
def test_what_does_not_answer_is_named(break_it: Callable[[FakeChain], None], reason: str) -> None:
    chain = a_venus_chain()
    adapter = found(chain)
    break_it(chain)
    assert reason.lower() in reason_of(read(chain, adapter)).lower()


def test_whether_it_is_forced_is_needed_of_what_is_owed_alone() -> None:
    chain = a_venus_chain()
    adapter = found(chain)
    chain.revert(COMPTROLLER, OF_POOL["isForcedLiquidationEnabled"], MARKETS[WETH])
    subaccount = read(chain, adapter)
    assert isinstance(subaccount.reading, Fresh)
    assert subaccount.forced_liquidation is None


@pytest.mark.parametrize("asks", ["another oracle", "none"])
def test_a_pool_that_changed_is_found_out_anew(asks: str) -> None:
    chain = a_venus_chain()
    adapter = found(chain)
    if asks == "none":
        chain.revert(COMPTROLLER, OF_POOL["oracle"])
    else:
        chain.answer(COMPTROLLER, OF_POOL["oracle"], returns=[address(0x99)])
    subaccount = read(chain, adapter)
    assert isinstance(subaccount.reading, Unknown)
    assert subaccount.reading.is_outdated


def test_a_market_that_was_entered_later_is_found_out_anew() -> None:
    chain = a_venus_chain()
    adapter = found(chain, markets=(WETH,))
    set_account(chain, (WETH, USDC, WBTC), LEFT)
    subaccount = read(chain, adapter)
    assert isinstance(subaccount.reading, Unknown)
    assert subaccount.reading.is_outdated


def test_without_a_guard_nothing_may_leave() -> None:
    subaccount = read(a_venus_chain(), found(a_venus_chain(), guard=None))
    assert subaccount.cannot_give == "no guard is configured"
    assert subaccount.margin.risk().health_factor == HEALTH


def test_the_sources_of_another_account_are_none_of_ours() -> None:
    adapter = found(a_venus_chain())
    assert adapter.sources(adapter.enrolments()[0].subaccount)[0].function == f"getAssetsIn({OWNER})"
    assert adapter.sources(SubaccountId("venus", "0x/0x")) == []


def test_a_guard_that_cannot_be_used_is_asked_no_permission_for() -> None:
    one = read(a_venus_chain(), problem="it is another contract")
    assert one.cannot_give == "the guard cannot be used: it is another contract"
    assert not any(line.movable_raw_max for line in one.collateral)
    assert not any("approve" in note for note in one.notes)

from dataclasses import replace

import pytest

from keeper.core.snapshot import Fresh, FreshnessUnverified, Snapshot, Stale, SubaccountId, Token, Unknown
from keeper.core.units import Address
from keeper.errors import BadAnswer, ProtocolError
from keeper.protocols.abi import ZERO_ADDRESS, interface
from keeper.protocols.base import CallResult
from keeper.protocols.multicall import MULTICALL3
from keeper.protocols.portfolio import AaveSettings, Portfolio, WalletSettings, discover
from tests.protocols.aave.fakes import A_TOKENS, POOL, an_aave_chain
from tests.protocols.fakes import (
    BLOCK,
    ETH_FEED,
    GUARD,
    MARKET,
    NOW,
    ORACLE,
    OWNER,
    SETTINGS,
    USDC,
    USDC_FEED,
    WBTC,
    WETH,
    FakeChain,
    a_chain,
    aggregate_answer,
    set_guard,
    set_round,
)

MORPHO_ID, WALLET_ID = SubaccountId("morpho", MARKET), SubaccountId("wallet")
PORTFOLIO = a_chain().run(discover(SETTINGS))[0]


def read(chain: FakeChain, portfolio: Portfolio = PORTFOLIO) -> Snapshot:
    return portfolio.decode(BLOCK, chain.aggregate(portfolio.calls))


# The whole ------------------------------------------------------------------------------------------------------------


def test_everything_is_found_in_three_rounds() -> None:
    portfolio, rounds = a_chain().run(discover(SETTINGS))
    assert rounds == 3  # markets and the wallet's tokens; the markets' tokens and oracles; feeds
    assert [feed.name for feed in portfolio.topology.feeds] == ["ETH/USD", "USDC/USD"]
    assert portfolio.topology.usd_feeds == {WETH: ETH_FEED, USDC: USDC_FEED}


def test_one_read_has_it_all() -> None:
    snapshot = read(a_chain())
    assert snapshot.block == BLOCK
    assert [subaccount.id for subaccount in snapshot.subaccounts] == [MORPHO_ID, WALLET_ID]
    assert [subaccount.guard_index for subaccount in snapshot.subaccounts] == [1, 0]
    assert [subaccount.reading for subaccount in snapshot.subaccounts] == [Fresh(), Fresh()]
    assert snapshot.guard is not None
    assert snapshot.guard.last_sequence == 41
    assert snapshot.guard_problem is None
    assert [(round.name, round.answer) for round in snapshot.feeds] == [
        ("ETH/USD", 250_000_000_000),
        ("USDC/USD", 100_000_000),
    ]
    assert snapshot.usd_per_unit == {WETH: 2_500 * 10**18, USDC: 10**18}
    assert snapshot.usd_per_native == 2_500 * 10**18
    assert snapshot.keeper_balance_wei == 100_000_000_000_000_000


@pytest.mark.parametrize(
    ("usd_feeds", "symbol"),
    [({"USDC": USDC_FEED, "WETH": ETH_FEED}, "WETH"), ({"USDC": ETH_FEED}, "USDC"), (dict[str, Address](), "WETH")],
    ids=["by its feed", "whatever it is called", "by the name of the feed"],
)
def test_the_token_that_the_native_coin_is_wrapped_into_is_known(usd_feeds: dict[str, Address], symbol: str) -> None:
    chain = a_chain()
    portfolio, _ = chain.run(discover(replace(SETTINGS, usd_feeds=usd_feeds)))
    assert read(chain, portfolio).native_symbol == symbol


def test_the_list_of_calls_is_as_short_as_it_can_be() -> None:
    # The clock, the keeper's balance, the guard's state and three caps, two rounds, Morpho's six, the wallet's five.
    assert len(PORTFOLIO.calls) == 1 + 1 + 8 + 2 + 6 + 5


def test_enrolments_and_pairs_come_in_the_order_of_the_subaccounts() -> None:
    ids = [subaccount.id for subaccount in read(a_chain()).subaccounts]
    assert [enrolment.subaccount for enrolment in PORTFOLIO.enrolments()] == ids
    assert [pair.id for pair in PORTFOLIO.pairs()] == ids


# Aave -----------------------------------------------------------------------------------------------------------------

WITH_AAVE = replace(SETTINGS, protocols=(AaveSettings(POOL, (), (WETH,)), *SETTINGS.protocols))


def test_aave_is_read_beside_the_others_and_the_owners_account_unless_another_is_named() -> None:
    portfolio, rounds = an_aave_chain().run(discover(WITH_AAVE))
    assert rounds == 6  # the pool; its reserves; their tokens and sources; what is behind the sources, twice; feeds
    snapshot = read(an_aave_chain(), portfolio)
    assert [subaccount.id.protocol for subaccount in snapshot.subaccounts] == ["aave", "morpho", "wallet"]
    assert snapshot.subaccounts[0].id == SubaccountId("aave", OWNER)
    assert snapshot.subaccounts[0].reading == Fresh()
    assert portfolio.a_tokens() == {
        (POOL, WETH): Token(A_TOKENS[WETH], "aWETH", 18),
        (POOL, USDC): Token(A_TOKENS[USDC], "aUSDC", 6),
    }


def test_an_account_that_is_named_twice_is_refused() -> None:
    twice = replace(WITH_AAVE, protocols=(WITH_AAVE.protocols[0], *WITH_AAVE.protocols))
    with pytest.raises(ProtocolError, match=f"names aave:{OWNER} twice"):
        an_aave_chain().run(discover(twice))


def test_a_usd_is_worth_one_where_accounts_are_counted_in_it() -> None:
    portfolio, _ = an_aave_chain().run(discover(WITH_AAVE))
    assert read(an_aave_chain(), portfolio).usd_per_unit[ZERO_ADDRESS] == 10**18
    assert ZERO_ADDRESS not in read(a_chain()).usd_per_unit


def test_a_stored_topology_with_aave_reads_an_old_answer_to_the_same_snapshot() -> None:
    portfolio, _ = an_aave_chain().run(discover(WITH_AAVE))
    again = Portfolio.from_json(portfolio.to_json())
    assert again.topology == portfolio.topology
    assert again.calldata == portfolio.calldata
    assert read(an_aave_chain(), again) == read(an_aave_chain(), portfolio)


# The journal ----------------------------------------------------------------------------------------------------------


def test_a_stored_topology_reads_an_old_answer_to_the_same_snapshot() -> None:
    again = Portfolio.from_json(PORTFOLIO.to_json())
    assert again.topology == PORTFOLIO.topology
    assert again.calldata == PORTFOLIO.calldata
    assert again.to_json() == PORTFOLIO.to_json()
    assert read(a_chain(), again) == read(a_chain())


def test_a_topology_stays_the_same_when_it_was_used() -> None:
    read(a_chain())
    assert Portfolio.from_json(PORTFOLIO.to_json()).to_json() == PORTFOLIO.to_json()


@pytest.mark.parametrize("text", ["", "{}", '{"chain_id": "one"}'])
def test_a_topology_that_was_not_written_by_us_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match="the stored topology cannot be read"):
        Portfolio.from_json(text)


# Answers that cannot be believed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("answered_at", [NOW - 12, NOW + 1])
def test_an_answer_of_another_block_is_refused(answered_at: int) -> None:
    chain = a_chain()
    chain.answer(MULTICALL3, interface("Multicall3")["getCurrentBlockTimestamp"], returns=[answered_at])
    with pytest.raises(BadAnswer, match=f"answered for one of time {answered_at}"):
        read(chain)


def test_an_answer_that_is_cut_is_refused() -> None:
    with pytest.raises(ProtocolError):
        PORTFOLIO.decode(BLOCK, a_chain().aggregate(PORTFOLIO.calls)[:-32])


def test_every_call_may_fail_and_all_that_follows_is_named() -> None:
    """Only the clock must answer."""
    clock, *others = a_chain().results(PORTFOLIO.calls)
    for broken in (CallResult(False, b""), *(CallResult(True, bytes(length)) for length in (0, 31, 33))):
        snapshot = PORTFOLIO.decode(BLOCK, aggregate_answer([clock, *(broken for _ in others)]))
        assert all(isinstance(one.reading, Unknown) and one.reading.reason for one in snapshot.subaccounts)
        assert all(one.margin.risk().health_factor == 0 for one in snapshot.subaccounts)
        assert snapshot.guard is None
        assert snapshot.guard_problem
        assert snapshot.feeds == ()
        assert snapshot.usd_per_unit == {}
        assert snapshot.usd_per_native is None
        assert snapshot.keeper_balance_wei is None


def test_any_single_call_may_fail_without_an_exception() -> None:
    whole = read(a_chain())
    results = a_chain().results(PORTFOLIO.calls)
    for place in range(1, len(results)):
        for broken in (CallResult(False, b""), CallResult(True, b""), CallResult(True, b"\xff" * 31)):
            changed = [*results[:place], broken, *results[place + 1 :]]
            snapshot = PORTFOLIO.decode(BLOCK, aggregate_answer(changed))
            call = PORTFOLIO.calls[place]
            # accrueInterest answers nothing anyway, so only its revert is a failure.
            is_harmless = broken.success and call.data[:4] == interface("Morpho")["accrueInterest"].selector
            assert (snapshot == whole) is is_harmless, call


# Parts that fail ------------------------------------------------------------------------------------------------------


def test_a_guard_that_cannot_be_read_leaves_the_positions_readable() -> None:
    chain = a_chain()
    chain.revert(GUARD, interface("MarginGuard")["owner"], data=b"")
    snapshot = read(chain)
    assert snapshot.guard is None
    assert snapshot.guard_problem == f"what is at {GUARD} does not answer as a guard; correct its address"
    assert [subaccount.guard_index for subaccount in snapshot.subaccounts] == [None, None]
    assert [subaccount.reading for subaccount in snapshot.subaccounts] == [Fresh(), Fresh()]


def test_an_account_that_left_the_guard_has_no_index() -> None:
    chain = a_chain()
    set_guard(chain, retired=True)
    assert read(chain).subaccount(MORPHO_ID).guard_index is None


def test_without_guard_keeper_and_feeds_the_positions_are_still_read() -> None:
    settings = replace(SETTINGS, guard=None, keeper=None, feeds=(), usd_feeds={}, native_usd_feed=None)
    chain = a_chain()
    portfolio, _ = chain.run(discover(settings))
    snapshot = read(chain, portfolio)
    assert (snapshot.guard, snapshot.guard_problem, snapshot.keeper_balance_wei) == (None, None, None)
    assert snapshot.usd_per_unit == {}
    assert snapshot.usd_per_native is None
    reading = snapshot.subaccount(MORPHO_ID).reading
    assert isinstance(reading, FreshnessUnverified)
    assert "heartbeat of price feed ETH / USD" in reading.reason


def test_a_stale_feed_is_said_where_it_matters() -> None:
    chain = a_chain()
    set_round(chain, USDC_FEED, 10**8, NOW - 86_461)
    snapshot = read(chain)
    reading = snapshot.subaccount(MORPHO_ID).reading
    assert reading == Stale("price feed USDC/USD 0x0000…00f2 is 86461 s old, its heartbeat is 86400 s")
    assert snapshot.subaccount(WALLET_ID).reading == Fresh()
    assert snapshot.usd_per_unit == {WETH: 2_500 * 10**18}


def test_a_feed_that_reverts_is_absent_from_the_rounds() -> None:
    chain = a_chain()
    chain.revert(ETH_FEED, interface("Aggregator")["latestRoundData"])
    snapshot = read(chain)
    assert [round.name for round in snapshot.feeds] == ["USDC/USD"]
    assert snapshot.usd_per_native is None
    assert isinstance(snapshot.subaccount(MORPHO_ID).reading, Unknown)


@pytest.mark.parametrize("name", ["USDC", "usdc", USDC, USDC.upper().replace("0X", "0x")])
def test_usd_feeds_are_named_by_symbol_or_address(name: str) -> None:
    portfolio, _ = a_chain().run(discover(replace(SETTINGS, usd_feeds={name: USDC_FEED})))
    assert portfolio.topology.usd_feeds == {USDC: USDC_FEED}


def test_protocols_without_anything_to_ask_are_no_trouble() -> None:
    settings = replace(SETTINGS, protocols=(WalletSettings(()),), usd_feeds={}, native_usd_feed=None)
    portfolio, _ = a_chain().run(discover(settings))
    (wallet,) = read(a_chain(), portfolio).subaccounts
    assert wallet.collateral == ()


def test_a_broken_oracle_does_not_touch_the_wallet_nor_a_broken_token_the_market() -> None:
    whole, oracle, token = read(a_chain()), a_chain(), a_chain()
    oracle.revert(ORACLE, interface("MorphoOracle")["price"])
    token.revert(WBTC, interface("ERC20")["balanceOf"], OWNER)
    assert read(oracle).subaccount(WALLET_ID) == whole.subaccount(WALLET_ID)
    assert read(token).subaccount(MORPHO_ID) == whole.subaccount(MORPHO_ID)

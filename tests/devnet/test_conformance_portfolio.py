"""The whole wallet's single read, against what an independent reader sees at the same block."""

import pytest

from keeper.core.snapshot import Fresh, SubaccountId
from keeper.protocols.guard_setup import approve
from keeper.protocols.morpho.find import market_ids_in, position_log_filter
from keeper.protocols.multicall import MULTICALL3
from keeper.protocols.portfolio import Portfolio
from scripts.localchain import world
from scripts.localchain.devnet import Devnet
from scripts.localchain.observe import NO_DEBT
from scripts.localchain.world import KEEPER, OWNER
from tests.protocols.on_chain import as_address, portfolio_of, read_block, read_snapshot

pytestmark = pytest.mark.devnet


def test_the_snapshot_is_what_an_independent_reader_sees(devnet: Devnet) -> None:
    devnet.chain.set_price("WETH", "-7%")
    devnet.node.warp(86_000)
    devnet.chain.set_price("WBTC", "+3.21%")
    portfolio = portfolio_of(devnet)
    snapshot = read_snapshot(devnet.node, portfolio)
    seen = devnet.chain.observe(snapshot.block.number)
    assert snapshot.block.timestamp == seen.timestamp
    for name, position in seen.positions[OWNER.address].items():
        subaccount = snapshot.subaccount(SubaccountId("morpho", position.market.id))
        assert subaccount.label == name
        assert subaccount.collateral[0].amount_raw == position.collateral_raw
        assert sum(debt.amount_raw for debt in subaccount.debts) == position.debt_raw
        assert subaccount.margin.risk().health_factor == position.health
        assert subaccount.has_debt is (position.health != NO_DEBT)
    wallet = snapshot.subaccount(SubaccountId("wallet"))
    assert {line.token.symbol: line.amount_raw for line in wallet.collateral} == {
        symbol: seen.idle_raw[OWNER.address][symbol] for symbol in world.WALLET_RAW
    }
    assert {round.name: round.answer for round in snapshot.feeds} == seen.answers
    for token in portfolio.topology.adapters[0].tokens():
        if token.address in snapshot.usd_per_unit:
            assert snapshot.usd_per_unit[token.address] == seen.usd(token.symbol, 10**token.decimals)
    assert snapshot.keeper_balance_wei == devnet.node.balance(KEEPER.address, snapshot.block.number)
    assert all(subaccount.reading == Fresh() for subaccount in snapshot.subaccounts)
    assert all(subaccount.guard_index is not None for subaccount in snapshot.subaccounts)


def test_an_old_answer_is_decoded_again_from_the_stored_topology(devnet: Devnet) -> None:
    portfolio = portfolio_of(devnet)
    stored = portfolio.to_json()
    block = read_block(devnet.node)
    answer = devnet.node.call(MULTICALL3, portfolio.calldata, block.number)
    snapshot = portfolio.decode(block, answer)
    devnet.chain.set_price("WETH", "-20%")
    assert Portfolio.from_json(stored).decode(block, answer) == snapshot
    # The chain still answers for that block what it answered then.
    assert devnet.node.call(MULTICALL3, portfolio.calldata, block.number) == answer


@pytest.mark.parametrize(("allowance", "movable"), [(0, 0), (7, 7), (10**30, world.WALLET_RAW["WETH"])])
def test_the_wallet_gives_within_its_allowance(devnet: Devnet, allowance: int, movable: int) -> None:
    portfolio = portfolio_of(devnet)
    weth = next(token for token in portfolio.topology.adapters[0].tokens() if token.symbol == "WETH")
    call = approve(as_address(devnet.deployment.guard), weth, allowance)
    devnet.node.transact(OWNER.address, call.to, call.data)
    line = read_snapshot(devnet.node, portfolio).subaccount(SubaccountId("wallet")).line(weth.address)
    assert line is not None
    assert line.movable_raw_max == movable


def test_positions_are_found_in_the_logs(devnet: Devnet) -> None:
    wanted = position_log_filter(as_address(devnet.deployment.morpho), as_address(OWNER.address))
    logs = devnet.node.logs([wanted.address], list(wanted.topics))
    ids = market_ids_in(log["topics"] for log in logs)
    assert set(ids) == {devnet.deployment.markets[position.market].id for position in world.POSITIONS}

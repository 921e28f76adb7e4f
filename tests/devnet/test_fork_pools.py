"""The dress rehearsal of a wallet on Venus and Euler, and how their prices are made to fall."""

import json
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from keeper.core.snapshot import Unknown
from keeper.protocols.abi import short as shortened
from keeper.protocols.portfolio import EulerSettings, Portfolio, VenusSettings, discover
from scripts.localchain import euler, venus
from scripts.localchain.abi import encode_arguments
from scripts.localchain.devnet import Devnet, running
from scripts.localchain.euler import MAX_STALENESS_SECONDS, USD, EulerDeployment
from scripts.localchain.transact import create, send_as
from scripts.localchain.venus import VenusDeployment
from scripts.localchain.world import DEPLOYER, STRANGER
from scripts.rehearsal.falls import Falls
from scripts.rehearsal.oracles import Oracles, Price, prices_of
from tests.devnet.rehearsing import by_label, fork
from tests.protocols.on_chain import as_address, read_snapshot, run_discovery, settings_of

pytestmark = pytest.mark.devnet

WAD = 10**18
DEAD = bytes.fromhex("5f5ffd")
"""Code of an oracle that refuses whatever it is asked."""


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Generator[Devnet]:
    with running(tmp_path_factory.mktemp("live")) as devnet:
        devnet.node.let_anybody_send()
        yield devnet


@pytest.fixture(scope="module")
def pools(chain: Devnet) -> tuple[VenusDeployment, EulerDeployment]:
    """The stranger owes 15,000 USDC on Venus (10 WETH) and 25,000 to an Euler vault (10 WETH, 5 wstETH); 20 WETH are
    free in another sub-account."""
    node, deployment = chain.node, chain.deployment
    pool = venus.deploy(node, deployment.tokens, deployment.feeds)
    venus.open_account(node, pool, STRANGER, {"WETH": 10 * WAD}, {"USDC": 15_000 * 10**6})
    connector = euler.deploy(node, deployment.tokens, deployment.feeds)
    for number, symbol, amount in ((1, "WETH", 10), (1, "wstETH", 5), (3, "WETH", 20)):
        euler.deposit(node, connector, STRANGER, number, symbol, amount * WAD)
    euler.borrow(node, connector, STRANGER, 1, "USDC", 25_000 * 10**6, ("WETH", "wstETH"))
    return pool, connector


@pytest.fixture
def live(chain: Devnet) -> Generator[Devnet]:
    """As it was before the test."""
    snapshot = chain.node.snapshot()
    yield chain
    chain.node.revert(snapshot)


# The whole rehearsal --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result(chain: Devnet, pools: tuple[VenusDeployment, EulerDeployment]) -> dict[str, Any]:
    pool, connector = pools
    finished = fork(
        STRANGER.address,
        *("--venus-pool", pool.comptroller, "--evc", connector.evc),
        *("--fall", "WETH=-30%", "--steps", "6", "--json"),
        url=chain.url,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return json.loads(finished.stdout)


def test_what_venus_and_euler_would_have_taken_is_told_and_the_keeper_saves_it(result: dict[str, Any]) -> None:
    without, kept = result["without_keeper"], result["with_keeper"]
    assert without["liquidated_accounts"] == 2
    assert kept["liquidated_accounts"] == 0
    assert kept["rescues"] >= 2
    assert result["not_simulated"] == []
    (of_euler,), (of_venus,) = (
        by_label(without)[label]["liquidations"] for label in ("euler 1 WETH+wstETH/USDC", "venus 0x99…A4dc WETH/USDC")
    )
    assert (of_euler["step"], of_venus["step"]) == (6, 6)
    # A health of 0.9435: 10 WETH of 17,500 USD for as much less of the debt.
    assert int(of_euler["seized_usd_wad"]) == pytest.approx(17_500 * WAD, rel=1e-3)
    assert int(of_euler["lost_usd_wad"]) == pytest.approx(988 * WAD, rel=1e-2)
    # Half of 15,000 USDC for a tenth more.
    assert int(of_venus["seized_usd_wad"]) == pytest.approx(8_250 * WAD, rel=1e-3)
    assert int(of_venus["lost_usd_wad"]) == pytest.approx(750 * WAD, rel=1e-3)


def test_both_follow_the_feed_that_they_read(result: dict[str, Any]) -> None:
    assert result["falls_with"] == {"wstETH": "WETH"}
    assert result["scaled_feeds"] == ["ETH/USD"]
    assert result["scaled_oracles"] == []


# Prices that no feed moves --------------------------------------------------------------------------------------------


def portfolio_of(live: Devnet, protocol: VenusSettings | EulerSettings) -> Portfolio:
    settings = replace(settings_of(live), owner=as_address(STRANGER.address), guard=None, protocols=(protocol,))
    return run_discovery(live.node, discover(settings))


def of_venus(live: Devnet, pools: tuple[VenusDeployment, EulerDeployment]) -> Portfolio:
    comptroller, account = pools[0].comptroller, STRANGER.address
    return portfolio_of(live, VenusSettings(as_address(comptroller), (as_address(account),), ()))


def of_euler(live: Devnet, pools: tuple[VenusDeployment, EulerDeployment]) -> Portfolio:
    return portfolio_of(live, EulerSettings(as_address(pools[1].evc), ()))


def oracles_of(live: Devnet, portfolio: Portfolio, prices: Sequence[Price] | None = None) -> Oracles:
    """Ready for a fall of WETH by 30 % in three steps."""
    asked = tuple(prices or prices_of(portfolio.topology))
    oracles = Oracles(live.node, Falls({"WETH": -3_000}, 3), portfolio.topology.feeds, asked)
    oracles.prepare()
    return oracles


def health_changes(live: Devnet, portfolio: Portfolio, oracles: Oracles) -> list[float]:
    """Of the account that owes, as the keeper reads it, at every step; each is known."""
    found: list[float] = []
    for step in range(4):
        oracles.move(step)
        live.node.mine()
        (account,) = (each for each in read_snapshot(live.node, portfolio).subaccounts if each.has_debt)
        assert not isinstance(account.reading, Unknown), account.reading
        found.append(account.margin.risk().health_factor)
    return [health / found[0] for health in found]


def test_a_price_that_venus_was_told_by_hand_falls_at_its_oracle(
    live: Devnet, pools: tuple[VenusDeployment, EulerDeployment]
) -> None:
    pool = pools[0]
    send_as(live.node, DEPLOYER, pool.chainlink, "setDirectPrice(address,uint256)", pool.tokens["WETH"], 2_500 * WAD)
    portfolio = of_venus(live, pools)
    oracles = oracles_of(live, portfolio)
    assert oracles.scaled_oracles == [f"WETH/USD at {short(pool.oracle)}"]
    assert oracles.problems == []
    assert health_changes(live, portfolio, oracles) == pytest.approx([1, 0.9, 0.8, 0.7], rel=1e-4)


def test_a_price_behind_a_feed_that_does_not_say_what_it_prices_falls_at_eulers_router(
    live: Devnet, pools: tuple[VenusDeployment, EulerDeployment]
) -> None:
    """Of WETH alone: wstETH is priced by way of the adapter that was there before, and moves with its feed."""
    node, connector = live.node, pools[1]
    silent = create(node, "TestFeed", encode_arguments(["string", "uint8", "int256"], "a price", 8, 2_500 * 10**8))
    weth = connector.tokens["WETH"]
    adapter = create(
        node,
        "StandInAdapter",
        encode_arguments(["address", "address", "address", "uint256"], weth, USD, silent, MAX_STALENESS_SECONDS),
    )
    send_as(node, DEPLOYER, connector.router, "govSetConfig(address,address,address)", weth, USD, adapter)
    portfolio = of_euler(live, pools)
    oracles = oracles_of(live, portfolio)
    assert set(oracles.scaled_oracles) == {f"WETH/USD at {short(connector.router)}"}
    assert oracles.scaled_feeds == ["ETH/USD"]
    assert oracles.problems == []
    assert health_changes(live, portfolio, oracles) == pytest.approx([1, 0.9, 0.8, 0.7], rel=1e-4)


def test_a_price_that_cannot_be_read_or_does_not_fall_is_said(
    live: Devnet, pools: tuple[VenusDeployment, EulerDeployment]
) -> None:
    pool = pools[0]
    portfolio = of_venus(live, pools)
    send_as(live.node, DEPLOYER, pool.chainlink, "setDirectPrice(address,uint256)", pool.tokens["WETH"], 2_500 * WAD)
    # As if its factor did not reach what the pool asks for.
    prices = [replace(price, assets=(as_address(pool.markets["USDC"]),)) for price in prices_of(portfolio.topology)]
    oracles = oracles_of(live, portfolio, [price for price in prices if price.base == "WETH"])
    assert oracles.problems == [
        f"The price of WETH/USD at {short(pool.oracle)} moves by +0.0 % at the end and should by -30.0 %."
    ]
    live.node.set_code(pool.chainlink, DEAD)
    oracles = oracles_of(live, portfolio)
    assert (
        f"The price of WETH/USD at {short(pool.oracle)} cannot be read; whatever rests on it is not simulated."
        in oracles.problems
    )


def short(address: str) -> str:
    return shortened(as_address(address))

"""The demo's machinery without a keeper: the liquidator strikes behind the price; what is measured is the chain's."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from scripts.localchain import world
from scripts.localchain.abi import encode_call
from scripts.localchain.demo import Run, crash_run
from scripts.localchain.devnet import Devnet
from scripts.localchain.events import Liquidation, Move, Rescue, read_events
from scripts.localchain.liquidator import Liquidator
from scripts.localchain.measure import keeper_json, measure_keeper, measure_wallet, wallet_json
from scripts.localchain.scenario import Tick
from scripts.localchain.screen import Screen
from scripts.localchain.world import DEPLOYER, KEEPER, LIQUIDATOR, OWNER, STRANGER, UNPROTECTED, WAD

pytestmark = pytest.mark.devnet

RESCUES = "(uint16,uint128,uint32,(uint8,uint16,uint8,uint8,uint128)[])[]"
NATIVE, CROSS = 0, 1
WALLET, MAIN, DAI, _, DONOR = range(5)
"""Enrolment indexes: the wallet first, then the positions in their order."""


def quiet() -> Screen:
    return Screen(Console(file=io.StringIO()))


@pytest.fixture
def run(devnet: Devnet) -> Run:
    """The demo's clock on a chain that mines nothing by itself."""
    devnet.node.set_automine(False)
    started = Run(devnet, Liquidator(devnet.node, LIQUIDATOR.address, devnet.deployment.morpho), 0.0, quiet())
    started.observations.append(devnet.chain.observe())
    return started


@pytest.fixture
def without_maximum(devnet: Devnet) -> None:
    """As of an owner who lets rescues fill as far as they like: then a donor can be drawn down far."""
    limits = replace(world.VOLATILE, max_after="5")
    for index in (MAIN, DAI):
        signature = "setPolicy(uint16,(uint64,uint64,uint64,uint64))"
        devnet.chain.send(OWNER, devnet.deployment.guard, signature, index, world.guard_policy(limits))


def prices(**usd: int) -> Tick:
    """A tick that sets these prices, in whole USD by token."""
    return Tick({world.feed_for(symbol).name: price * 10**8 for symbol, price in usd.items()}, 3 * 10**9)


# The liquidator -------------------------------------------------------------------------------------------------------


def test_a_price_update_is_followed_by_the_liquidator_and_then_by_everybody_else(run: Run) -> None:
    node = run.devnet.node
    node.send(STRANGER.address, STRANGER.address, b"", fee_wei_max=500 * 10**9)
    run.tick(prices(WETH=2_400, WBTC=59_000))
    transactions = node.request("eth_getBlockByNumber", "latest", True)["transactions"]
    senders = [DEPLOYER, DEPLOYER, LIQUIDATOR, STRANGER]
    assert [transaction["from"] for transaction in transactions] == [person.address.lower() for person in senders]


def test_an_account_just_above_the_line_is_left_alone(run: Run) -> None:
    # 35,250 USDC of debt on 20 WETH at 86 %: the line is at 2,049.42.
    run.tick(prices(WETH=2_050))
    assert run.events == []


def test_an_account_just_below_the_line_loses_all_of_its_debt_in_the_block_of_the_price(run: Run) -> None:
    run.tick(prices(WETH=2_049))
    assert [(event.borrower, event.market) for event in run.events if isinstance(event, Liquidation)] == [
        (person.address.lower(), "WETH/USDC 86%")
        for person in sorted((OWNER, UNPROTECTED), key=lambda p: p.address.lower())
    ]
    for person in (OWNER, UNPROTECTED):
        after = run.observations[-1].positions[person.address]["WETH/USDC 86%"]
        assert after.debt_raw == 0
        # 35,250 / 0.958 (the incentive at 86 %) / 2,049 WETH are gone.
        assert after.collateral_raw / 10**18 == pytest.approx(20 - 17.957, abs=0.001)


def test_where_the_collateral_does_not_pay_the_debt_all_of_it_is_seized(run: Run) -> None:
    run.tick(prices(WETH=1_500))
    after = run.observations[-1].positions[UNPROTECTED.address]["WETH/USDC 86%"]
    assert (after.collateral_raw, after.debt_raw) == (0, 0)
    main = next(event for event in run.events if isinstance(event, Liquidation) and event.market == "WETH/USDC 86%")
    assert main.bad_debt_raw > 0


def test_it_finds_borrowers_that_came_later(run: Run) -> None:
    node, deployment = run.devnet.node, run.devnet.deployment
    market = deployment.markets["WETH/USDC 86%"]
    params = "(address,address,address,address,uint256)"
    for to, data in (
        (market.collateral, encode_call("mint(address,uint256)", STRANGER.address, WAD)),
        (market.collateral, encode_call("approve(address,uint256)", deployment.morpho, WAD)),
        (
            deployment.morpho,
            encode_call(
                f"supplyCollateral({params},uint256,address,bytes)", market.params, WAD, STRANGER.address, b""
            ),
        ),
        (
            deployment.morpho,
            encode_call(
                f"borrow({params},uint256,uint256,address,address)",
                market.params, 2_100 * 10**6, 0, STRANGER.address, STRANGER.address,
            ),
        ),
    ):  # fmt: skip
        node.transact(STRANGER.address, to, data)
    run.tick(prices(WETH=2_400))
    assert [event.borrower for event in run.events if isinstance(event, Liquidation)] == [STRANGER.address.lower()]


# The crash ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 4, 7, 10])
def test_without_a_keeper_every_crash_liquidates_at_least_twice(devnet: Devnet, seed: int) -> None:
    devnet.node.set_automine(False)
    run = crash_run(devnet, seed, 0.0, quiet(), None)
    for person in (OWNER, UNPROTECTED):
        result = measure_wallet(person.address, None, run.observations, run.events)
        assert result.liquidations >= 2
        # A solvent wallet loses what liquidators earn: 4.4 % of the debt at 86 %, 7.4 % at 77 %.
        assert 3_200 * WAD < result.loss_usd < 5_400 * WAD
        assert result.equity_after_usd > 100_000 * WAD
        assert result.block_ends_liquidatable == 0
        assert result.collateral_missing_raw == {"WETH": 0, "WBTC": 0, "wstETH": 0}


# Measurements ---------------------------------------------------------------------------------------------------------


def rescue(devnet: Devnet, sequence: int, recipient: int, *transfers: tuple[int, int, int, int, int]) -> None:
    """What a keeper would send, into the pool."""
    data = encode_call(
        f"rebalance(bytes32,uint256,{RESCUES})",
        (sequence << 192).to_bytes(32, "big"),
        devnet.node.timestamp() + 3_600,
        [(recipient, WAD, 600_000, list(transfers))],
    )
    devnet.node.send(KEEPER.address, devnet.deployment.guard, data, gas=1_500_000, fee_wei_max=100 * 10**9)


def test_a_rescue_is_measured_from_its_logs_and_its_block(run: Run) -> None:
    devnet = run.devnet
    run.tick(prices(WETH=2_350))  # 1.1467: below the trigger of 1.15
    run.tick(None)
    rescue(devnet, 1, MAIN, (NATIVE, DONOR, 0, 0, 2 * WAD), (CROSS, WALLET, 0, 0, WAD // 2))
    run.tick(prices(WETH=2_340))
    run.tick(None)
    (event,) = run.events
    assert isinstance(event, Rescue)
    assert (event.recipient, event.moves) == (
        "WETH/USDC 86%",
        (Move("WETH/USDC 77%", "WETH", 2 * WAD), Move("wallet", "WETH", WAD // 2)),
    )
    keeper = measure_keeper(devnet.node, OWNER.address, run.observations, run.events)
    (judged,) = keeper.rescues
    assert judged.blocks_to_inclusion == 2
    assert judged.donors_with_debt == ("WETH/USDC 77%",)
    assert judged.donors_below_floor == judged.donors_below_last_stand == ()
    receipt = devnet.node.receipt(devnet.node.block(event.block)["transactions"][-1])
    assert receipt is not None
    assert (keeper.transactions, keeper.transactions_reverted, keeper.gas_used) == (1, 0, receipt.gas_used)
    assert keeper.gas_cost_usd == receipt.gas_used * receipt.gas_price_wei * 2_340
    protected = measure_wallet(OWNER.address, devnet.deployment.guard, run.observations, run.events)
    assert protected.collateral_missing_raw == {"WETH": 0, "WBTC": 0, "wstETH": 0}
    assert protected.lowest_health == pytest.approx(1_146_666_666_666_666_667, rel=1e-4)
    assert keeper_json(keeper, protected)["blocks_to_inclusion"] == {"median": 2, "max": 2}
    assert wallet_json(protected)["liquidations"] == 0


@pytest.mark.usefixtures("without_maximum")
@pytest.mark.parametrize(
    ("taken", "below_floor", "below_last_stand"),
    [
        (24 * WAD, (), ()),  # the donor keeps 1.3347
        (25 * WAD, ("WETH/USDC 77%",), ("WETH/USDC 77%",)),  # 1.2833, while the recipient gets past 2
    ],
)
def test_a_donor_below_its_floor_is_told(
    run: Run, taken: int, below_floor: tuple[str, ...], below_last_stand: tuple[str, ...]
) -> None:
    run.tick(prices(WETH=2_440))  # the recipient at 1.1905: below its ceiling
    rescue(run.devnet, 1, MAIN, (NATIVE, DONOR, 0, 0, taken))
    run.tick(prices(WETH=2_400))
    (judged,) = measure_keeper(run.devnet.node, OWNER.address, run.observations, run.events).rescues
    assert (judged.donors_below_floor, judged.donors_below_last_stand) == (below_floor, below_last_stand)


@pytest.mark.usefixtures("without_maximum")
def test_a_donor_below_its_floor_but_no_nearer_to_liquidation_than_the_saved_one_is_a_last_stand(run: Run) -> None:
    rescue(run.devnet, 1, DAI, (NATIVE, DONOR, 0, 0, 18 * WAD))
    run.tick(prices(WETH=2_100))  # the donor keeps 1.437
    rescue(run.devnet, 2, MAIN, (NATIVE, DONOR, 0, 0, 4 * WAD))
    run.tick(None)  # the donor keeps 1.258, the recipient gets to 1.230
    first, second = measure_keeper(run.devnet.node, OWNER.address, run.observations, run.events).rescues
    assert (first.donors_below_floor, first.donors_below_last_stand) == ((), ())
    assert (second.donors_below_floor, second.donors_below_last_stand) == (("WETH/USDC 77%",), ())


def test_a_refused_rescue_is_counted_and_moves_nothing(run: Run) -> None:
    rescue(run.devnet, 1, MAIN, (NATIVE, DONOR, 0, 0, WAD))
    run.tick(None)  # 1.22 is above the ceiling of 1.20: the guard refuses, and with nothing done the whole reverts
    assert run.events == []
    keeper = measure_keeper(run.devnet.node, OWNER.address, run.observations, run.events)
    assert (keeper.transactions, keeper.transactions_reverted, len(keeper.rescues)) == (1, 1, 0)
    assert keeper.gas_used > 0


def test_events_of_other_blocks_are_not_read(run: Run) -> None:
    run.tick(prices(WETH=2_000))
    block = run.observations[-1].block
    run.tick(None)
    assert read_events(run.devnet.node, run.devnet.deployment, block + 1, block + 1) == []
    assert len(read_events(run.devnet.node, run.devnet.deployment, block, block)) == 2

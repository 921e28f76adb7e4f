"""Second sources on a real chain: our arithmetic is the pool's, and an oracle's wick takes nothing from a debtor."""

import math
import time
from pathlib import Path

import pytest

from keeper.protocols.uniswap_v3 import price_at_tick, sqrt_ratio_at_tick
from scripts.localchain import uniswap
from scripts.localchain.abi import encode_arguments
from scripts.localchain.devnet import Devnet
from scripts.localchain.transact import create
from scripts.localchain.uniswap import Pool
from scripts.localchain.world import DEPLOYER, OWNER, POSITIONS
from tests.commands.shell import Ran, keeper, keeper_process

pytestmark = pytest.mark.devnet

TICKS = (-700_000, -196_256, -51, -1, 0, 1, 50, 77_777, 196_256, 700_000)


@pytest.fixture(autouse=True)
def a_block_of_now(devnet: Devnet) -> None:
    """A chain that is put back stays behind by as much, and a node whose newest block is old is a fault of its own."""
    devnet.node.set_next_timestamp(max(int(time.time()), devnet.node.timestamp() + 1))
    devnet.node.mine()


def is_token0(devnet: Devnet) -> bool:
    """Whether WETH comes before USDC."""
    tokens = devnet.deployment.tokens
    return int(tokens["WETH"], 16) < int(tokens["USDC"], 16)


def tick_at(devnet: Devnet, dollars: int) -> int:
    """The tick of WETH/USDC nearest to so many USDC for a WETH: raw units, of which USDC has 10^12 times fewer."""
    tick = round(math.log(dollars / 10**12, 1.0001))
    return tick if is_token0(devnet) else -tick


def price_of_weth(devnet: Devnet, tick: int) -> int:
    return price_at_tick(tick, 18, 6, is_base_token0=is_token0(devnet))


def a_pool(devnet: Devnet, dollars: int) -> Pool:
    tokens = devnet.deployment.tokens
    return uniswap.deploy(devnet.node, tokens["WETH"], tokens["USDC"], tick_at(devnet, dollars))


def configured(devnet: Devnet, prices: str = "", *sections: str) -> Path:
    """keeper.toml with more keys in [prices] and more sections, beside the original."""
    path = devnet.folder / "second.toml"
    text = devnet.config.read_text().replace("[prices]\n", f"[prices]\n{prices}\n")
    path.write_text("\n".join([text, *sections]))
    return path


def with_pool(devnet: Devnet, pool: Pool) -> Path:
    second = f'[[prices.second]]\ntoken = "WETH"\nuniswap_v3 = "{pool.address}"\nwindow = "5m"\n'
    return configured(devnet, "", second)


def donors(ran: Ran) -> set[str]:
    return {transfer["donor"] for rescue in ran.document["rescues"] for transfer in rescue["transfers"]}


# The arithmetic -------------------------------------------------------------------------------------------------------


def test_a_ratio_is_the_first_of_its_tick_by_the_pools_own_arithmetic(devnet: Devnet) -> None:
    pool = uniswap.deploy(devnet.node, devnet.deployment.tokens["WETH"], devnet.deployment.tokens["DAI"], -800_000)
    for tick in TICKS:
        uniswap.move(devnet.node, pool, sqrt_ratio_at_tick(tick) - 1)
        assert uniswap.slot0(devnet.node, pool) == (sqrt_ratio_at_tick(tick) - 1, tick - 1)
        uniswap.move(devnet.node, pool, sqrt_ratio_at_tick(tick))
        assert uniswap.slot0(devnet.node, pool) == (sqrt_ratio_at_tick(tick), tick)


def test_the_mean_of_a_window_is_read_with_a_move_in_the_middle_of_it(devnet: Devnet) -> None:
    node, pool = devnet.node, a_pool(devnet, 2_500)
    before, after = tick_at(devnet, 2_500), tick_at(devnet, 1_900)
    node.warp(300)
    uniswap.move(node, pool, sqrt_ratio_at_tick(after))
    moved_at = node.timestamp()
    node.set_next_timestamp(moved_at + 101)
    node.mine()
    config = with_pool(devnet, pool)
    (second,) = keeper("status --json", config=config).document["second_prices"]
    assert (second["symbol"], second["problem"]) == ("WETH", None)
    assert second["quote"] == devnet.deployment.tokens["USDC"].lower()
    assert second["price_wad"] == str(price_of_weth(devnet, (199 * before + 101 * after) // 300))
    config.write_text(config.read_text().replace('window = "5m"', 'window = "1d"'))
    (second,) = keeper("status --json", config=config).document["second_prices"]
    assert second["price_wad"] is None
    assert "does not say its last 86400 s: OLD, so it remembers less" in second["problem"]


# The scenario ---------------------------------------------------------------------------------------------------------


def test_a_wick_of_the_oracle_that_the_pool_does_not_show_takes_nothing_from_an_account_with_debt(
    devnet: Devnet,
) -> None:
    markets = devnet.deployment.markets
    config = with_pool(devnet, a_pool(devnet, 2_500))
    devnet.node.warp(300)
    devnet.chain.set_price("WETH", "-20%")
    debtor, idle = (f"morpho:{markets[name].id}" for name in ("WETH/USDC 77%", "WETH/DAI 86%"))
    assert debtor in donors(keeper("plan --json", config=devnet.config)), "without a second source it is taken"
    planned = keeper("plan --json", config=config)
    assert donors(planned) <= {"wallet", idle}
    assert donors(planned)
    in_usdc, in_dai = planned.document["notes"]
    assert in_usdc.startswith("disputed: WETH is 2,000 USDC by its oracle and 2,")
    assert in_dai.startswith("disputed: WETH is 2,000 DAI by its oracle and 2,")

    before = devnet.chain.observe().positions[OWNER.address]
    ran = keeper_process("run --once", config=config)
    assert "price_disputed" in ran.out + ran.err
    after = devnet.chain.observe().positions[OWNER.address]
    owing = [position.market for position in POSITIONS if position.debt_raw]
    changes = [after[market].collateral_raw - before[market].collateral_raw for market in owing]
    assert min(changes) == 0
    assert max(changes) > 0, "those without debt save whom the protocol would liquidate"
    explained = keeper("explain", f"morpho:{markets['WETH/USDC 86%'].id}", config=config).out
    assert "It is judged by the worst of it, a health of " in explained
    checked = keeper("check --json", config=config).document["findings"]
    assert [one["subject"] for one in checked if one["says"].startswith("disputed: ")]


def test_what_a_rescue_moved_does_not_go_back_by_a_price_that_is_disputed(devnet: Devnet) -> None:
    config = with_pool(devnet, a_pool(devnet, 2_500))
    devnet.node.warp(300)
    devnet.chain.refresh_prices()
    devnet.chain.set_price("WETH", "-9%")
    ran = keeper_process("run --once", config=config)
    assert ran.code == 0, ran.err
    devnet.chain.set_price("WETH", "2900")
    assert keeper("plan --return --json", config=devnet.config).document["returns"], "without a second source"
    returned = keeper("plan --return", config=config)
    document = keeper("plan --return --json", config=config).document
    assert (document["returns"], document["transactions"]) == ([], [])
    assert {one["reason"] for one in document["kept"]}
    for one in document["kept"]:
        assert one["reason"].startswith("its health is not known well enough: disputed: WETH is 2,900 ")
    assert any(note.startswith("disputed: WETH is 2,900 USDC by its oracle ") for note in document["notes"])
    assert "nothing can be returned yet." in returned.out
    assert "that it got: its health is not known well enough: disputed: WETH is 2,900" in returned.out


def test_while_the_sequencer_feed_says_down_only_those_without_debt_give(devnet: Devnet) -> None:
    feed = create(devnet.node, "TestFeed", encode_arguments(["string", "uint8", "int256"], "uptime", 0, 1))
    config = configured(devnet, f'sequencer_feed = "{feed}"\nsequencer_grace = "10m"')
    devnet.chain.set_price("WETH", "-20%")
    idle = f"morpho:{devnet.deployment.markets['WETH/DAI 86%'].id}"
    planned = keeper("plan --json", config=config)
    assert donors(planned) <= {"wallet", idle}
    (note,) = planned.document["notes"]
    assert note.startswith("the chain's sequencer is down since ")
    devnet.chain.send(DEPLOYER, feed, "setAnswer(int256)", 0)
    devnet.node.warp(599)
    (note,) = keeper("plan --json", config=config).document["notes"]
    assert note.startswith("the chain's sequencer came back ")
    devnet.node.warp(30)
    assert keeper("plan --json", config=config).document["notes"] == []

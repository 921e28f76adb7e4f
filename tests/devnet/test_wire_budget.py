"""What a cycle asks a node for, counted on the wire: requests are what a keeper waits for and is billed for."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from keeper.chain.heads import Heads, NewHead
from keeper.config import load_config
from keeper.core.verdict import Rescue
from keeper.opening import Running, open_keeper
from keeper.telling import CycleReport
from scripts.localchain import daemon
from scripts.localchain.devnet import Devnet
from scripts.localchain.node import GWEI
from scripts.storms.wire import Wire, wire
from tests.fakes import FakeClock

pytestmark = pytest.mark.devnet

READ, TRY_OUT, SEND = "eth_call", "eth_simulateV1", "eth_sendRawTransaction"
RECEIPT, HEADER, FEES = "eth_getTransactionReceipt", "eth_getBlockByNumber", "eth_feeHistory"


def config_at(devnet: Devnet, url: str, block_time: str | None = None) -> Path:
    """The devnet's keeper.toml with the node reached through `url`, and another block time if there is one.

    Its transactions count as stuck after 40 seconds: no slow machine makes a test wait so long by accident.
    """
    changes = {"rpc_url": url, "bump_after": "40s"} | ({"block_time": block_time} if block_time else {})
    lines = devnet.config.read_text().splitlines()
    path = devnet.folder / "wired.toml"
    path.write_text("\n".join(_changed(line, changes) for line in lines))
    return path


def _changed(line: str, changes: dict[str, str]) -> str:
    key = line.partition(" = ")[0]
    return f'{key} = "{changes[key]}"' if key in changes else line


@asynccontextmanager
async def watched(devnet: Devnet) -> AsyncGenerator[tuple[Running, Wire]]:
    """The daemon's keeper, started, with the node behind a wire; the test says when a cycle runs."""
    async with (
        wire(devnet.url) as node,
        open_keeper(load_config(config_at(devnet, node.url)), is_dry_run=False) as running,
    ):
        yield running, node


async def cycle(running: Running, node: Wire) -> tuple[list[str], CycleReport]:
    """What one cycle at the newest head asks for, in order, and its report; the head itself is not counted."""
    head = await running.session.rpc.head()
    node.requests.clear()
    report = await running.cycle(head)
    return node.methods, report


def is_in_need(devnet: Devnet) -> None:
    """The accounts at 1.22 and 1.21 come below their trigger of 1.15, above `critical`."""
    devnet.chain.set_price("WETH", "-7%")


def is_held_up(devnet: Devnet, base_fee_wei: int) -> None:
    """A new block without the keeper's transaction, whose fee is too low for it."""
    devnet.node.set_next_base_fee(base_fee_wei)
    devnet.node.mine()


async def test_one_read_is_all_when_nothing_is_due(devnet: Devnet) -> None:
    async with watched(devnet) as (running, node):
        for _ in range(3):
            devnet.node.mine()
            asked, report = await cycle(running, node)
            assert asked == [READ]
            assert report.plan.rescues == ()


async def test_acting_takes_one_read_one_simulation_and_one_send(devnet: Devnet) -> None:
    async with watched(devnet) as (running, node):
        is_in_need(devnet)
        asked, report = await cycle(running, node)
        assert asked == [READ, TRY_OUT, SEND]
        assert report.is_sent


async def test_a_rescue_that_does_not_succeed_costs_one_simulation_and_no_send(devnet: Devnet) -> None:
    async with watched(devnet) as (running, node):
        is_in_need(devnet)
        reverted: dict[str, object] = {"status": "0x0", "returnData": "0x", "gasUsed": "0x5208", "logs": []}
        node.answers[TRY_OUT] = [{"calls": [reverted]}]
        asked, report = await cycle(running, node)
        assert asked == [READ, TRY_OUT]
        assert (len(report.plan.rescues), report.is_sent) == (0, False)


async def test_while_a_batch_is_on_its_way_its_receipt_is_asked_for_once_a_block(devnet: Devnet) -> None:
    async with watched(devnet) as (running, node):
        is_in_need(devnet)
        devnet.node.set_automine(False)
        await cycle(running, node)
        for _ in range(3):
            is_held_up(devnet, 5 * GWEI)
            asked, _ = await cycle(running, node)
            assert sorted(asked) == [READ, RECEIPT]


async def test_each_of_its_hashes_is_asked_for_after_it_was_replaced(devnet: Devnet) -> None:
    async with watched(devnet) as (running, node):
        is_in_need(devnet)
        devnet.node.set_automine(False)
        await cycle(running, node)
        devnet.node.request("evm_increaseTime", 40)
        is_held_up(devnet, 5 * GWEI)
        asked, _ = await cycle(running, node)
        assert sorted(asked) == [READ, RECEIPT, SEND]
        is_held_up(devnet, 30 * GWEI)
        asked, _ = await cycle(running, node)
        assert sorted(asked) == [READ, RECEIPT, RECEIPT]


async def test_what_waits_for_the_batch_on_its_way_is_not_tried_out(devnet: Devnet) -> None:
    async with watched(devnet) as (running, node):
        is_in_need(devnet)
        devnet.node.set_automine(False)
        await cycle(running, node)
        devnet.node.set_next_base_fee(5 * GWEI)
        devnet.chain.set_price("WBTC", "-7%")
        asked, report = await cycle(running, node)
        assert (len(report.plan.rescues), report.outcome) == (1, "waits for the batch in flight")
        assert sorted(asked) == [READ, RECEIPT]


async def test_after_inclusion_the_receipt_is_asked_for_once_more_when_the_chain_calls_it_final(devnet: Devnet) -> None:
    async with watched(devnet) as (running, node):
        is_in_need(devnet)
        await cycle(running, node)
        included_in = devnet.node.block_number()
        asked, _ = await cycle(running, node)
        assert sorted(asked) == [READ, RECEIPT]
        final_after = running.config.chain.finality_blocks
        for number in range(included_in + 1, included_in + final_after + 3):
            devnet.node.mine()
            asked, _ = await cycle(running, node)
            assert sorted(asked) == ([READ, HEADER] if number == included_in + final_after else [READ])
        # The local chain calls final what has 64 blocks on top.
        devnet.node.mine(64)
        asked, _ = await cycle(running, node)
        assert sorted(asked) == [READ, HEADER, RECEIPT]
        devnet.node.mine(8)
        asked, _ = await cycle(running, node)
        assert asked == [READ]


async def test_over_many_blocks_the_daemon_asks_for_fees_once_in_ten_and_for_no_header_that_the_socket_brings(
    devnet: Devnet,
) -> None:
    """The process as it runs for an owner; blocks come as soon as it is done with the one before."""
    async with wire(devnet.url) as node, asyncio.timeout(240):
        # So long that the socket never seems to be behind.
        running = daemon.start(config_at(devnet, node.url, block_time="600s"))
        try:
            await node.asked(FEES, 1)
            # Its first cycle is over when nothing of it is left to come; the second head comes over the socket.
            await one_more_cycle(devnet, node, running)
            await one_more_cycle(devnet, node, running)
            node.requests.clear()
            for _ in range(25):
                await one_more_cycle(devnet, node, running)
        finally:
            running.stop()
    assert node.methods.count(READ) == 25
    assert 2 <= node.methods.count(FEES) <= 3
    assert set(node.methods) == {READ, FEES}


async def test_a_receipt_of_a_later_block_than_the_one_looked_at_is_for_the_next_cycle(devnet: Devnet) -> None:
    """Else the rescue would be due in what was read and not on its way any more: it would be sent twice."""
    async with watched(devnet) as (running, node):
        is_in_need(devnet)
        devnet.node.set_automine(False)
        await cycle(running, node)
        (raw,) = node.requests[-1].params
        devnet.node.drop_pending()
        devnet.node.mine()
        head = await running.session.rpc.head()
        devnet.node.request("eth_sendRawTransaction", raw)
        devnet.node.mine()

        node.requests.clear()
        report = await running.cycle(head)
        assert sorted(node.methods) == [READ, RECEIPT]
        assert Rescue(in_flight=True) in report.plan.verdicts.values()
        _, report = await cycle(running, node)
        assert Rescue(in_flight=True) not in report.plan.verdicts.values()


class BlockClock(FakeClock):
    """Time that passes when somebody sleeps, and a chain that mines by it: a block every 12 seconds."""

    def __init__(self, devnet: Devnet) -> None:
        super().__init__()
        self._devnet = devnet
        self._mined = 0

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        while self._mined < self.monotonic() // 12:
            self._devnet.node.set_next_timestamp(self._devnet.node.timestamp() + 12)
            self._devnet.node.mine()
            self._mined += 1


async def test_without_a_socket_one_header_a_block_is_asked_for(devnet: Devnet) -> None:
    async with watched(devnet) as (running, node):
        clock = BlockClock(devnet)
        node.requests.clear()
        async for event in Heads(running.session.rpc, clock, block_seconds=12, silence_seconds=60):
            assert isinstance(event, NewHead)
            assert event.missed == 0
            await running.cycle(event.block)
            if node.count(READ) == 60:
                break
    # More only while the moment of the blocks is looked for, and about once in thirty blocks later on.
    assert node.count(HEADER) <= 64
    assert set(node.methods) == {READ, HEADER}


async def one_more_cycle(devnet: Devnet, node: Wire, running: daemon.Daemon) -> None:
    reads = node.count(READ)
    devnet.node.set_next_timestamp(devnet.node.timestamp() + 600)
    devnet.node.mine()
    while node.count(READ) == reads:
        running.check()
        await asyncio.sleep(0.01)

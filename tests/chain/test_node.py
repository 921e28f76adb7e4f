"""Pace, deadlines and the check of the chain, with a node of the test's own."""

import asyncio
import time

import pytest
from web3 import AsyncWeb3

from keeper.chain.pace import Limits, Traffic
from keeper.chain.pool import open_pool
from keeper.errors import BadAnswer, NodeUnreachable, WrongChain
from scripts.storms.wire import Fault, wire

pytestmark = pytest.mark.loopback

ANSWERS = {"eth_chainId": "0x7a69", "eth_gasPrice": "0x7", "eth_blockNumber": "0x10"}


async def test_the_chain_id_is_asked_once_per_connection() -> None:
    async with wire(answers=ANSWERS) as node, open_pool(node.url, 31337) as pool:
        for _ in range(3):
            await pool.request("eth_gasPrice", [])
        assert node.methods == ["eth_gasPrice", "eth_chainId", "eth_gasPrice", "eth_gasPrice"]


async def test_the_chain_id_is_asked_again_after_a_reconnect() -> None:
    async with wire(answers=ANSWERS) as node, open_pool(node.url, 31337) as pool:
        await pool.request("eth_gasPrice", [])
        node.drop_connections()
        await asyncio.sleep(0)
        await pool.request("eth_gasPrice", [])
        assert node.count("eth_chainId") == 2


async def test_a_pool_of_connections_that_grows_is_still_the_same_node() -> None:
    async with wire(answers=ANSWERS) as node, open_pool(node.url, 31337, Limits(requests_per_second=1000)) as pool:
        await pool.request("eth_gasPrice", [])
        await asyncio.gather(*(pool.request("eth_gasPrice", []) for _ in range(8)))
        assert len({request.connection for request in node.requests}) > 1
        assert node.count("eth_chainId") == 1


async def test_nothing_that_another_chain_answers_gets_out() -> None:
    async with wire(answers=ANSWERS) as node, open_pool(node.url, 1) as pool:
        for _ in range(2):
            with pytest.raises(WrongChain, match=r"is a node of chain 31337 and the configuration says 1; correct"):
                await pool.request("eth_gasPrice", [])


async def test_a_node_that_comes_back_as_another_chain_is_noticed() -> None:
    async with wire(answers=ANSWERS.copy()) as node, open_pool(node.url, 31337) as pool:
        await pool.request("eth_gasPrice", [])
        node.answers["eth_chainId"] = "0x1"
        node.drop_connections()
        await asyncio.sleep(0)
        with pytest.raises(WrongChain):
            await pool.request("eth_gasPrice", [])


async def test_a_node_without_a_chain_id_is_not_trusted() -> None:
    async with wire(answers=ANSWERS | {"eth_chainId": None}) as node, open_pool(node.url, 31337) as pool:
        with pytest.raises(BadAnswer, match="does not tell its chain id"):
            await pool.request("eth_gasPrice", [])


async def test_a_hanging_node_is_given_up_at_the_deadline() -> None:
    async with wire(answers=ANSWERS) as node, open_pool(node.url, 31337, Limits(timeout_seconds=0.1)) as pool:
        node.inject("eth_gasPrice", Fault.HANG)
        with pytest.raises(NodeUnreachable, match=r"did not answer eth_gasPrice within 0\.1 s"):
            await pool.request("eth_gasPrice", [])
        assert (await pool.request("eth_gasPrice", [])).get("result") == "0x7"


async def test_hanging_reads_do_not_hold_up_a_send() -> None:
    async with (
        wire(answers=ANSWERS) as node,
        open_pool(node.url, 31337, Limits(requests_per_second=1000, timeout_seconds=2, concurrent_reads_max=2)) as pool,
    ):
        await pool.request("eth_gasPrice", [])
        node.inject("eth_gasPrice", Fault.HANG, Fault.HANG, Fault.HANG)
        reads = [asyncio.create_task(pool.request("eth_gasPrice", [])) for _ in range(3)]
        async with asyncio.timeout(1):
            await pool.request("eth_blockNumber", [], Traffic.SEND)
        await node.asked("eth_gasPrice", 3)
        assert node.count("eth_gasPrice") == 3, "the third read waits for one of the two to end"
        for read in reads:
            read.cancel()
        await asyncio.gather(*reads, return_exceptions=True)


async def test_reads_are_spread_over_time() -> None:
    """Of 25 requests per second 20 are for reading: four at once and four more a fifth of a second later."""
    async with wire(answers=ANSWERS) as node, open_pool(node.url, 31337, Limits(requests_per_second=25)) as pool:
        started = time.monotonic()
        await asyncio.gather(*(pool.request("eth_gasPrice", []) for _ in range(5)))
        assert time.monotonic() - started >= 0.2
        assert node.count("eth_gasPrice") == 5


async def test_web3_over_the_pool_makes_one_request_per_call() -> None:
    """Its default middleware asks for the chain id before and after each."""
    async with wire(answers=ANSWERS) as node, open_pool(node.url, 31337) as pool:
        w3 = AsyncWeb3(pool, middleware=[])
        assert await w3.eth.block_number == 16
        assert await w3.eth.block_number == 16
        assert node.methods == ["eth_blockNumber", "eth_chainId", "eth_blockNumber"]

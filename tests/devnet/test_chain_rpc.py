"""The typed methods, the single read and the announcement of heads on a real node."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from web3 import WebSocketProvider
from web3.types import RPCEndpoint

from keeper.chain.answers import SimulatedCall, StateOverride
from keeper.chain.clock import SystemClock
from keeper.chain.heads import Heads, NewHead
from keeper.chain.newheads import NewHeads
from keeper.chain.pace import Limits
from keeper.chain.pool import open_pool
from keeper.chain.reader import Reader
from keeper.chain.rpc import Rpc
from keeper.core.units import Address
from keeper.errors import BlockGone, CallReverted, ChainError, NodeRefused, WrongChain
from keeper.protocols.base import Call
from keeper.protocols.multicall import MULTICALL3
from scripts.localchain.abi import encode_call
from scripts.localchain.devnet import Devnet
from scripts.localchain.world import KEEPER, STRANGER
from scripts.storms.wire import wire

pytestmark = pytest.mark.devnet

REVERTING = Address("0x" + "a1" * 20)
REVERTING_CODE = bytes.fromhex("602a5f5260205ffd")
"""Reverts with the word 42."""
LOOPING = Address("0x" + "a2" * 20)
LOOPING_CODE = bytes.fromhex("5b5f56")
CLOCK = Address("0x" + "a3" * 20)
CLOCK_CODE = bytes.fromhex("425f5260205ff3")
"""Returns block.timestamp."""
FAST = Limits(requests_per_second=1000)


@pytest.fixture
async def rpc(devnet: Devnet) -> AsyncGenerator[Rpc]:
    async with open_pool(devnet.url, 31337, FAST) as pool:
        yield Rpc(pool)


def codes(devnet: Devnet) -> None:
    for address, code in ((REVERTING, REVERTING_CODE), (LOOPING, LOOPING_CODE), (CLOCK, CLOCK_CODE)):
        devnet.node.set_code(address, code)
    devnet.node.mine()


def a_transaction(devnet: Devnet) -> None:
    """In a block of its own; a reorganisation drops it."""
    devnet.node.transact(STRANGER.address, STRANGER.address, b"", value_wei=1)


async def test_a_block_is_the_same_by_tag_number_and_hash(devnet: Devnet, rpc: Rpc) -> None:
    head = await rpc.head()
    assert head.number == devnet.node.block_number()
    assert await rpc.block(head.number) == await rpc.block(head.hash) == head
    assert (await rpc.block(head.number - 1)).hash == head.parent_hash


@pytest.mark.parametrize("which", [10**9, "0x" + "77" * 32])
async def test_a_block_that_is_not_there_is_named(rpc: Rpc, which: int | str) -> None:
    with pytest.raises(BlockGone):
        await rpc.block(which)


async def test_reads_are_pinned_to_their_block(devnet: Devnet, rpc: Rpc) -> None:
    codes(devnet)
    before = await rpc.head()
    devnet.node.mine()
    devnet.node.set_code(CLOCK, b"")
    devnet.node.set_balance(STRANGER.address, 7)
    devnet.node.mine()
    after = await rpc.head()
    stranger = Address(STRANGER.address.lower())
    assert int.from_bytes(await rpc.call(CLOCK, b"", before.hash)) == before.timestamp
    assert await rpc.call(CLOCK, b"", after.hash) == b""
    assert await rpc.code(CLOCK, before.hash) == CLOCK_CODE
    assert await rpc.balance(stranger, after.hash) == 7
    assert await rpc.balance(stranger, before.hash) > 7


async def test_a_read_at_a_block_that_was_reorganised_away_is_refused(devnet: Devnet, rpc: Rpc) -> None:
    a_transaction(devnet)
    gone = await rpc.head()
    devnet.node.request("anvil_reorg", 1, [])
    assert (await rpc.head()).hash != gone.hash
    with pytest.raises(BlockGone):
        await rpc.call(MULTICALL3, b"", gone.hash)


async def test_a_revert_carries_its_data(devnet: Devnet, rpc: Rpc) -> None:
    codes(devnet)
    with pytest.raises(CallReverted) as caught:
        await rpc.call(REVERTING, b"", (await rpc.head()).hash)
    assert caught.value.data == (42).to_bytes(32)


async def test_state_can_be_pretended(rpc: Rpc) -> None:
    head = await rpc.head()
    nowhere = Address("0x" + "a4" * 20)
    answer = await rpc.call(nowhere, b"", head.hash, overrides={nowhere: StateOverride(code=CLOCK_CODE)})
    assert int.from_bytes(answer) == head.timestamp


async def test_storage_is_read_by_slot(devnet: Devnet, rpc: Rpc) -> None:
    devnet.node.request("anvil_setStorageAt", CLOCK, "0x5", "0x" + f"{99:064x}")
    devnet.node.mine()
    head = await rpc.head()
    assert await rpc.storage(CLOCK, 5, head.hash) == 99
    assert await rpc.storage(CLOCK, 6, head.hash) == 0


async def test_a_block_is_simulated_with_its_own_time(devnet: Devnet, rpc: Rpc) -> None:
    codes(devnet)
    head = await rpc.head()
    keeper = Address(KEEPER.address.lower())
    clock, reverting = await rpc.simulate_v1(
        [SimulatedCall(keeper, CLOCK, b"", 100_000), SimulatedCall(keeper, REVERTING, b"", 100_000)],
        head.hash,
        head.timestamp + 1234,
    )
    assert clock.succeeded
    assert int.from_bytes(clock.data) == head.timestamp + 1234
    assert not reverting.succeeded
    assert reverting.data == (42).to_bytes(32)
    assert 21_000 < clock.gas_used < 22_000


async def test_a_method_that_the_node_does_not_have_is_refused_with_its_code(rpc: Rpc) -> None:
    with pytest.raises(NodeRefused) as caught:
        await rpc.logs(MULTICALL3, [], 10**9, 10**9)
    assert caught.value.code == -32602


async def test_fees_of_the_last_blocks(devnet: Devnet, rpc: Rpc) -> None:
    devnet.node.mine(3)
    fees = await rpc.fee_history(3, [10, 50])
    assert len(fees.base_fees_wei) == 4
    assert [len(row) for row in fees.tips_wei] == [2, 2, 2]


async def test_the_single_read_gives_each_call_its_own_result(devnet: Devnet, rpc: Rpc) -> None:
    codes(devnet)
    head = await rpc.head()
    calls = [Call(CLOCK, b""), Call(REVERTING, b""), Call(MULTICALL3, encode_call("getCurrentBlockTimestamp()"))]
    clock, reverting, block_time = await Reader(rpc).aggregate(calls, head)
    assert clock.success
    assert int.from_bytes(clock.data) == int.from_bytes(block_time.data) == head.timestamp
    assert reverting == (False, (42).to_bytes(32))


async def test_a_read_that_the_node_grants_too_little_gas_is_a_sentence(rpc: Rpc) -> None:
    with pytest.raises(ChainError, match="does not grant the gas for a read of"):
        await Reader(rpc, gas=25_000).aggregate([Call(MULTICALL3, b"")] * 100, await rpc.head())


async def test_a_call_that_burns_all_gas_leaves_no_answer_that_looks_whole(devnet: Devnet, rpc: Rpc) -> None:
    codes(devnet)
    head = await rpc.head()
    looping, clock = await Reader(rpc, gas=3_000_000).aggregate([Call(LOOPING, b""), Call(CLOCK, b"")], head)
    assert looping == (False, b"")
    assert clock.success


async def test_a_chain_without_multicall_is_named(devnet: Devnet, rpc: Rpc) -> None:
    devnet.node.set_code(MULTICALL3, b"")
    devnet.node.mine()
    with pytest.raises(ChainError, match="There is no Multicall3"):
        await Reader(rpc).aggregate([Call(CLOCK, b"")], await rpc.head())


async def test_the_wrong_chain_is_named_before_anything_is_answered(devnet: Devnet) -> None:
    async with open_pool(devnet.url, 1, FAST) as pool:
        with pytest.raises(WrongChain, match="is a node of chain 31337 and the configuration says 1"):
            await Rpc(pool).head()


async def test_a_read_is_one_request(devnet: Devnet) -> None:
    async with wire(devnet.url) as node, open_pool(node.url, 31337, FAST) as pool:
        rpc = Rpc(pool)
        head = await rpc.head()
        node.requests.clear()
        await Reader(rpc).aggregate([Call(MULTICALL3, encode_call("getCurrentBlockTimestamp()"))] * 50, head)
        assert node.methods == ["eth_call"]


async def test_an_announced_head_arrives_without_being_asked_for(devnet: Devnet) -> None:
    clock = SystemClock()
    async with (
        wire(devnet.url) as node,
        open_pool(node.url, 31337, FAST) as pool,
        NewHeads([devnet.url.replace("http", "ws")], 31337, clock) as hints,
        asyncio.timeout(60),
    ):
        heads = aiter(Heads(Rpc(pool), clock, block_seconds=3600, silence_seconds=3600, hints=hints))
        first = await anext(heads)
        assert isinstance(first, NewHead)
        await hints.arrived.wait()
        asked = node.count("eth_getBlockByNumber")
        devnet.node.mine()
        second = await anext(heads)
        assert isinstance(second, NewHead)
        assert second.block == await Rpc(pool).head()
        # Once for the block that may have come before the subscription, once by this test.
        assert node.count("eth_getBlockByNumber") <= asked + 2
        assert second.block.number == first.block.number + 1


async def test_a_reorganisation_is_reported(devnet: Devnet, rpc: Rpc) -> None:
    clock = SystemClock()
    async with asyncio.timeout(60):
        heads = aiter(Heads(rpc, clock, block_seconds=0.1, silence_seconds=3600))
        await anext(heads)
        a_transaction(devnet)
        second = await anext(heads)
        devnet.node.request("anvil_reorg", 1, [])
        third = await anext(heads)
    assert isinstance(second, NewHead)
    assert isinstance(third, NewHead)
    assert second.reorganised == 0
    assert third.reorganised == 1
    assert third.block.number == second.block.number


async def test_two_batches_at_once_over_a_socket_of_web3_are_mixed_up(devnet: Devnet) -> None:
    """Ours uses sockets for announcements alone; when this fails after an upgrade, that need not be so any more."""
    codes(devnet)
    provider = WebSocketProvider(devnet.url.replace("http", "ws"))
    await provider.connect()
    slow: tuple[RPCEndpoint, list[Any]] = (RPCEndpoint("eth_call"), [{"to": LOOPING, "gas": hex(20_000_000)}, "latest"])
    quick: tuple[RPCEndpoint, list[Any]] = (RPCEndpoint("eth_chainId"), [])
    of_slow, of_quick = await asyncio.gather(provider.make_batch_request([slow]), provider.make_batch_request([quick]))
    await provider.disconnect()
    assert isinstance(of_slow, list)
    assert isinstance(of_quick, list)
    assert of_slow[0].get("result") == "0x7a69"
    assert "error" in of_quick[0]

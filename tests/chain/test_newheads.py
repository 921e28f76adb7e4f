"""The subscription against sockets that fail in every way that sockets do."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs
from websockets.asyncio.server import ServerConnection, serve

from keeper.chain import newheads
from keeper.chain.newheads import HINTS_MAX, NewHeads
from keeper.core.snapshot import Block
from tests.fakes import FakeClock, a_block

pytestmark = pytest.mark.loopback

KEY = "s3cr3t-k3y-0123456789abcdef"
Script = Callable[[ServerConnection], Awaitable[None]]


@pytest.fixture(autouse=True)
def unconfigured_logs() -> None:
    structlog.reset_defaults()


def announcement(block: Block, **changed: Any) -> str:
    header = {
        "number": hex(block.number),
        "hash": block.hash,
        "parentHash": block.parent_hash,
        "timestamp": hex(block.timestamp),
        "baseFeePerGas": hex(block.base_fee_wei),
        "gasLimit": hex(block.gas_limit),
    }
    params = {"subscription": "0x1", "result": header | changed}
    return json.dumps({"jsonrpc": "2.0", "method": "eth_subscription", "params": params})


@asynccontextmanager
async def socket(*scripts: Script, chain_id: int = 1) -> AsyncGenerator[tuple[str, list[str]]]:
    """A node that answers the subscription and then follows one script per connection, the last one ever after."""
    asked: list[str] = []
    connections = 0

    async def handle(connection: ServerConnection) -> None:
        nonlocal connections
        script = scripts[min(connections, len(scripts) - 1)]
        connections += 1
        for result in (hex(chain_id), "0x1"):
            request = json.loads(await connection.recv())
            asked.append(request["method"])
            await connection.send(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}))
        await script(connection)

    async with serve(handle, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}/v3/{KEY}", asked


def says(*messages: str, then_closes: bool = False) -> Script:
    async def script(connection: ServerConnection) -> None:
        for message in messages:
            await connection.send(message)
        if not then_closes:
            await connection.wait_closed()

    return script


async def until(heads: NewHeads, wanted: Block | None) -> list[Block | None]:
    """Everything announced up to and with `wanted`."""
    seen: list[Block | None] = []
    async with asyncio.timeout(10):
        while wanted not in seen:
            await heads.arrived.wait()
            seen += heads.take()
    return seen


async def test_heads_come_with_their_headers() -> None:
    async with (
        socket(says(announcement(a_block(100)), announcement(a_block(101)))) as (url, asked),
        NewHeads([url], 1, FakeClock()) as heads,
    ):
        # First a hint without a header: blocks may have come before the subscription.
        assert await until(heads, a_block(101)) == [None, a_block(100), a_block(101)]
    assert asked == ["eth_chainId", "eth_subscribe"]


async def test_after_a_lost_connection_it_subscribes_anew_and_has_the_gap_looked_up() -> None:
    first, second = says(announcement(a_block(100)), then_closes=True), says(announcement(a_block(105)))
    async with socket(first, second) as (url, asked), NewHeads([url], 1, FakeClock()) as heads:
        assert await until(heads, a_block(105)) == [None, a_block(100), None, a_block(105)]
    assert asked.count("eth_subscribe") == 2


@pytest.mark.parametrize(
    "message",
    [
        '{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"subscription dropped"}}',
        "[]",
        "not JSON",
        "[" * 200_000,
    ],
)
async def test_a_stray_message_makes_it_connect_anew(message: str) -> None:
    async with (
        socket(says(message), says(announcement(a_block(105)))) as (url, _),
        NewHeads([url], 1, FakeClock()) as heads,
    ):
        assert a_block(105) in await until(heads, a_block(105))


async def test_what_several_nodes_announce_comes_together_and_one_that_is_lost_costs_nothing() -> None:
    async with (
        socket(says(announcement(a_block(100)))) as (first, _),
        socket(says(announcement(a_block(101)))) as (second, _),
        NewHeads([first, second, "ws://127.0.0.1:9"], 1, FakeClock()) as heads,
    ):
        seen: list[Block | None] = []
        while {a_block(100), a_block(101)} - {*seen}:
            await heads.arrived.wait()
            seen += heads.take()
        assert heads.is_subscribed


async def test_a_link_that_is_open_on_one_side_only_is_noticed_and_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    is_replaced = asyncio.Event()

    async def goes_deaf(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await is_replaced.wait()
        connection.transport.abort()

    monkeypatch.setattr(newheads, "PING_SECONDS", 0.02)
    async with (
        socket(goes_deaf, says(announcement(a_block(105)))) as (url, _),
        NewHeads([url], 1, FakeClock()) as heads,
    ):
        assert a_block(105) in await until(heads, a_block(105))
        is_replaced.set()


@pytest.mark.parametrize("field", [{"baseFeePerGas": None}, {"timestamp": hex(2**64)}, {"number": hex(10**400)}])
async def test_a_header_that_is_not_whole_or_of_no_chain_is_a_hint_only(field: dict[str, str | None]) -> None:
    messages = [announcement(a_block(100), **field), announcement(a_block(101))]
    async with socket(says(*messages)) as (url, _), NewHeads([url], 1, FakeClock()) as heads:
        assert await until(heads, a_block(101)) == [None, None, a_block(101)]


async def test_of_many_announcements_the_newest_are_kept() -> None:
    messages = [announcement(a_block(number)) for number in range(100, 200)]
    async with (
        socket(says(*messages, then_closes=True), says()) as (url, asked),
        NewHeads([url], 1, FakeClock()) as heads,
        asyncio.timeout(10),
    ):
        while asked.count("eth_subscribe") < 2 or not heads.is_subscribed:
            await heads.arrived.wait()
            heads.arrived.clear()
        kept = heads.take()
    assert len(kept) == HINTS_MAX
    assert kept[-2:] == [a_block(199), None]


async def test_a_socket_of_another_chain_is_never_listened_to() -> None:
    clock = FakeClock()
    async with socket(says(announcement(a_block(100))), chain_id=10) as (url, asked):
        with capture_logs() as logs:
            async with NewHeads([url], 1, clock) as heads, asyncio.timeout(10):
                while len(logs) < 2:
                    await asyncio.wait([asyncio.create_task(heads.arrived.wait())], timeout=0.01)
                assert heads.take() == []
    assert "is a node of another chain; correct [chain] ws_url" in logs[0]["reason"]
    assert "eth_subscribe" not in asked


async def test_it_waits_longer_and_longer_for_a_socket_that_is_not_there() -> None:
    slept: list[float] = []
    done = asyncio.Event()

    class Stopwatch(FakeClock):
        async def sleep(self, seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 9:
                done.set()
                await asyncio.Event().wait()
            await super().sleep(seconds)

    async with NewHeads(["ws://127.0.0.1:9"], 1, Stopwatch()), asyncio.timeout(10):
        await done.wait()
    assert slept == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


async def test_the_key_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    first, second = says("not JSON"), says(announcement(a_block(105)))
    with capture_logs() as logs:
        async with socket(first, second) as (url, _), NewHeads([url], 1, FakeClock()) as heads:
            await until(heads, a_block(105))
            assert KEY not in repr(heads)
    assert logs
    assert KEY not in str(logs)
    ours = [record for record in caplog.records if record.name.startswith("keeper")]
    assert ours
    assert not any(KEY in record.getMessage() for record in ours)

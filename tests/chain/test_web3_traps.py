"""What web3's own providers do that ours must not: when one of these fails after an upgrade, a work-around may go."""

import subprocess
import sys
from typing import Any

import pytest
from web3 import AsyncHTTPProvider, AsyncWeb3
from web3.types import RPCEndpoint

from keeper.chain.pace import Limits
from keeper.chain.pool import open_pool
from scripts.localchain.anvil import ROOT
from scripts.storms.wire import Fault, wire

pytestmark = pytest.mark.loopback

ANSWERS = {"eth_chainId": "0x1", "eth_blockNumber": "0x10", "eth_gasPrice": "0x7", "eth_call": "0x2a"}
CALL = {"to": "0x" + "11" * 20, "data": "0x"}

CANCELLED = """
import asyncio, os, random, sys
from web3 import AsyncHTTPProvider
from keeper.chain.provider import HttpProvider
from scripts.storms.wire import wire

async def main(make):
    async with wire(answers={"eth_gasPrice": "0x7"}) as node:
        provider = make(node.url)
        said = "answers"
        # Which moment it takes depends on how busy the machine is: longer and longer ones are tried.
        for longest in [0.005, 0.01, 0.02, 0.04] * 10:
            async def once():
                try:
                    await asyncio.wait_for(provider.make_request("eth_gasPrice", []), longest * random.random())
                except (TimeoutError, Exception):
                    pass
            await asyncio.gather(*(once() for _ in range(100)))
            try:
                async with asyncio.timeout(3):
                    await make(node.url).make_request("eth_gasPrice", [])
            except TimeoutError:
                said = "hangs"
                break
        print(said)
        sys.stdout.flush()
        os._exit(0)

random.seed(1)
asyncio.run(main(AsyncHTTPProvider if sys.argv[1] == "web3" else HttpProvider))
"""


@pytest.mark.parametrize(("whose", "what"), [("web3", "hangs"), ("ours", "answers")])
def test_cancelled_calls_hang_every_provider_of_web3_for_good(whose: str, what: str) -> None:
    """In a process of its own: the lock that is never given back belongs to the class."""
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CANCELLED, whose],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert finished.stdout.split() == [what], finished.stderr


async def test_a_connection_is_opened_for_every_request() -> None:
    async with wire(answers=ANSWERS) as node:
        theirs = AsyncHTTPProvider(node.url)
        for _ in range(3):
            await theirs.make_request(RPCEndpoint("eth_gasPrice"), [])
        await theirs.disconnect()
        assert len({request.connection for request in node.requests}) == 3
    async with wire(answers=ANSWERS) as node, open_pool(node.url, 1) as ours:
        for _ in range(3):
            await ours.make_request(RPCEndpoint("eth_gasPrice"), [])
        assert len({request.connection for request in node.requests}) == 1


async def test_a_call_makes_three_requests() -> None:
    async with wire(answers=ANSWERS) as node:
        theirs = AsyncHTTPProvider(node.url)
        await AsyncWeb3(theirs).eth.call(CALL)  # pyright: ignore[reportArgumentType]
        await theirs.disconnect()
        assert node.methods == ["eth_chainId", "eth_call", "eth_chainId"]
    async with wire(answers=ANSWERS) as node, open_pool(node.url, 1) as ours:
        w3 = AsyncWeb3(ours, middleware=[])
        await w3.eth.gas_price
        node.requests.clear()
        await w3.eth.call(CALL)  # pyright: ignore[reportArgumentType]
        assert node.methods == ["eth_call"]


async def test_an_answer_to_another_question_is_taken() -> None:
    """Ours names it: tests/chain/test_provider.py."""
    async with wire(answers=ANSWERS) as node:
        theirs = AsyncHTTPProvider(node.url)
        node.inject("eth_gasPrice", Fault.WRONG_ID)
        answer = await theirs.make_request(RPCEndpoint("eth_gasPrice"), [])
        await theirs.disconnect()
        assert answer.get("result") == "0x7"


async def test_a_batch_with_a_missing_answer_is_shifted() -> None:
    """Ours makes no batches: Multicall3 instead."""
    requests: list[tuple[RPCEndpoint, Any]] = [
        (RPCEndpoint("eth_gasPrice"), []),
        (RPCEndpoint("eth_blockNumber"), []),
    ]
    async with wire(answers=ANSWERS) as node:
        theirs = AsyncHTTPProvider(node.url)
        node.inject("batch", Fault.EMPTY)
        answers = await theirs.make_batch_request(requests)
        await theirs.disconnect()
    assert isinstance(answers, list)
    assert [answer.get("result") for answer in answers] == ["0x10"]
    async with wire(answers=ANSWERS) as node, open_pool(node.url, 1, Limits()) as ours:
        with pytest.raises(NotImplementedError):
            await ours.make_batch_request(requests)

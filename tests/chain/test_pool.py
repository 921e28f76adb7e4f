"""Several endpoints behind one question: who is asked, who is asked next, and what counts as an answer."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from keeper.chain.node import Node
from keeper.chain.pace import Limits
from keeper.chain.pool import SEND, Asked, EndpointPool, Event
from keeper.chain.provider import HttpProvider
from keeper.errors import BadAnswer, ChainError, NodeRefused, NodeUnreachable, RateLimited
from scripts.storms.wire import Fault, Refusal, Wire, wire

pytestmark = pytest.mark.loopback

LIMITS = Limits(requests_per_second=1000, timeout_seconds=1)
HASH = "0x" + "ab" * 32
REVERTED = Refusal(3, "execution reverted", "0x08c379a0")


@asynccontextmanager
async def endpoints(*names: str, limits: Limits = LIMITS) -> AsyncGenerator[tuple[EndpointPool, list[Wire]]]:
    """A pool of nodes that answer eth_gasPrice each with its own name."""
    async with AsyncExitStack() as stack:
        wires = [
            await stack.enter_async_context(wire(answers={"eth_chainId": "0x1", "eth_gasPrice": name, SEND: HASH}))
            for name in names
        ]
        pool = EndpointPool([Node(HttpProvider(each.url), 1, limits) for each in wires])
        yield await stack.enter_async_context(pool), wires


async def ask(pool: EndpointPool) -> object:
    return (await pool.request("eth_gasPrice", [])).get("result")


async def asked_for(pool: EndpointPool, times: int) -> set[object]:
    return {await ask(pool) for _ in range(times)}


# Which endpoint -------------------------------------------------------------------------------------------------------


async def test_the_first_endpoint_is_asked_as_long_as_it_answers() -> None:
    async with endpoints("a", "b") as (pool, (_, second)):
        assert await asked_for(pool, 5) == {"a"}
        assert second.requests == []


FAULTS = [fault for fault in Fault if fault not in (Fault.HANG, Fault.SWALLOWED)]


@pytest.mark.parametrize("fault", [*FAULTS, Refusal(-32601, "Method not found"), Refusal(-32000, "header not found")])
async def test_whatever_one_endpoint_does_another_one_answers(fault: Fault | Refusal) -> None:
    async with endpoints("a", "b") as (pool, (first, _)):
        first.inject("eth_gasPrice", fault)
        assert await ask(pool) == "b"


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.SWALLOWED])
async def test_an_endpoint_that_hangs_has_its_share_of_the_time_and_then_the_next_one_is_asked(fault: Fault) -> None:
    async with endpoints("a", "b", limits=Limits(requests_per_second=1000, timeout_seconds=0.2)) as (pool, (first, _)):
        first.inject("eth_gasPrice", fault)
        started = time.monotonic()
        assert await ask(pool) == "b"
        assert time.monotonic() - started >= 0.1, "half of the time for one of two"


async def test_an_endpoint_on_another_chain_is_passed_over() -> None:
    async with endpoints("a", "b") as (pool, (first, _)):
        first.answers["eth_chainId"] = "0x5"
        assert await asked_for(pool, 3) == {"b"}


async def test_a_call_that_reverts_is_an_answer_and_nobody_else_is_asked() -> None:
    async with endpoints("a", "b") as (pool, (first, second)):
        first.inject("eth_gasPrice", REVERTED)
        answer = await pool.request("eth_gasPrice", [])
        assert answer.get("error", {}) == {"code": 3, "message": "execution reverted", "data": "0x08c379a0"}
        assert second.requests == []


async def test_what_all_refuse_is_refused_with_the_words_of_the_first() -> None:
    async with endpoints("a", "b") as (pool, (first, second)):
        first.inject("eth_gasPrice", Refusal(-32000, "no"))
        second.inject("eth_gasPrice", Refusal(-32000, "never"))
        answer = await pool.request("eth_gasPrice", [])
        assert answer.get("error", {}) == {"code": -32000, "message": "no"}


async def test_when_none_answers_the_fault_of_the_first_is_told() -> None:
    async with endpoints("a", "b") as (pool, (first, second)):
        first.inject("eth_gasPrice", Fault.EMPTY)
        second.inject("eth_gasPrice", Fault.RESET)
        with pytest.raises(BadAnswer, match="with nothing"):
            await ask(pool)


async def test_when_all_hang_there_is_an_end_at_the_deadline() -> None:
    async with endpoints("a", "b", limits=Limits(requests_per_second=1000, timeout_seconds=0.2)) as (pool, nodes):
        for node in nodes:
            node.inject("eth_gasPrice", Fault.HANG)
        with pytest.raises(NodeUnreachable, match=r"did not answer eth_gasPrice within 0\.2 s"):
            await ask(pool)


async def test_whoever_answered_last_is_asked_first() -> None:
    async with endpoints("a", "b") as (pool, (first, second)):
        first.inject("eth_gasPrice", Fault.RESET)
        assert await asked_for(pool, 10) == {"b"}
        second.inject("eth_gasPrice", Fault.EMPTY)
        assert await asked_for(pool, 10) == {"a"}


async def test_an_endpoint_that_wants_to_be_left_alone_is_left_alone() -> None:
    async with endpoints("a", "b") as (pool, (first, second)):
        first.inject("eth_gasPrice", Fault.TOO_MANY)
        assert await asked_for(pool, 3) == {"b"}
        assert first.count("eth_gasPrice") == 1
        second.inject("eth_gasPrice", Fault.EMPTY)
        with pytest.raises(BadAnswer):
            await ask(pool)
        assert first.count("eth_gasPrice") == 1, "not even when nobody else answers, for three seconds"


async def test_every_request_is_told_with_the_endpoint_and_how_it_ended() -> None:
    heard: list[Event] = []
    async with wire(answers={"eth_chainId": "0x1"}) as first, wire(answers={"eth_chainId": "0x1", "a": 1}) as second:
        nodes = [Node(HttpProvider(each.url), 1, LIMITS) for each in (first, second)]
        async with EndpointPool(nodes, heard.append) as pool:
            await pool.request("a", [])
            second.inject("a", Fault.EMPTY)
            await pool.request("a", [])
    told = [(nodes.index(each.node), each.method, each.result) for each in heard if isinstance(each, Asked)]
    assert told == [(0, "a", "refused"), (1, "a", "answered"), (1, "a", "BadAnswer"), (0, "a", "refused")]


# Sending --------------------------------------------------------------------------------------------------------------


async def send(pool: EndpointPool) -> object:
    answer = await pool.request(SEND, ["0x01"])
    return answer.get("result") or answer.get("error", {}).get("message")


async def test_what_is_sent_goes_to_every_endpoint() -> None:
    async with endpoints("a", "b", "c") as (pool, nodes):
        assert await send(pool) == HASH
        for node in nodes:
            await node.asked(SEND, 1)


@pytest.mark.parametrize("fault", [Refusal(-32000, "nonce too low"), Fault.RESET, Fault.TOO_MANY, Fault.HANG])
async def test_taken_by_one_is_taken(fault: Fault | Refusal) -> None:
    async with endpoints("a", "b") as (pool, (first, _)):
        first.inject(SEND, fault)
        async with asyncio.timeout(0.5):
            assert await send(pool) == HASH


async def test_refused_is_what_all_refuse() -> None:
    async with endpoints("a", "b") as (pool, nodes):
        for node in nodes:
            node.inject(SEND, Refusal(-32000, "nonce too low"))
        assert await send(pool) == "nonce too low"


@pytest.mark.parametrize("fault", [Fault.TOO_MANY, Fault.UNAUTHORISED])
async def test_an_endpoint_that_turned_it_away_does_not_hide_that_the_others_refused(fault: Fault) -> None:
    async with endpoints("a", "b") as (pool, (first, second)):
        first.inject(SEND, fault)
        second.inject(SEND, Refusal(-32000, "nonce too low"))
        assert await send(pool) == "nonce too low"


async def test_an_endpoint_that_is_down_does_not_hide_that_the_others_refused() -> None:
    async with endpoints("a") as (_, (node,)):
        nodes = [Node(HttpProvider(url), 1, LIMITS) for url in ("http://127.0.0.1:9", node.url)]
        node.inject(SEND, Refusal(-32000, "nonce too low"))
        async with EndpointPool(nodes) as pool:
            assert await send(pool) == "nonce too low"


@pytest.mark.parametrize(
    ("fault", "expected"), [(Fault.LOST, NodeUnreachable), (Fault.CUT, BadAnswer), (Fault.HANG, NodeUnreachable)]
)
async def test_an_endpoint_that_may_have_taken_it_comes_before_one_that_refused(
    fault: Fault, expected: type[ChainError]
) -> None:
    async with endpoints("a", "b", limits=Limits(requests_per_second=1000, timeout_seconds=0.2)) as (pool, nodes):
        nodes[0].inject(SEND, Refusal(-32000, "nonce too low"))
        nodes[1].inject(SEND, fault)
        with pytest.raises(expected):
            await send(pool)


async def test_a_send_does_not_wait_for_an_endpoint_to_be_ready_again() -> None:
    async with endpoints("a") as (pool, (node,)):
        node.inject("eth_gasPrice", Fault.TOO_MANY)
        with pytest.raises(RateLimited):
            await ask(pool)
        with pytest.raises(RateLimited, match="wants to be left alone for 3 s more"):
            await ask(pool)
        assert await send(pool) == HASH


async def test_when_nobody_could_be_asked_the_first_one_s_fault_is_told() -> None:
    async with endpoints("a", "b") as (pool, nodes):
        for node, fault in zip(nodes, (Fault.UNAUTHORISED, Fault.TOO_MANY), strict=True):
            node.inject(SEND, fault)
        with pytest.raises((NodeRefused, RateLimited)):
            await send(pool)

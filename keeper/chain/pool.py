"""Endpoints, paced and bounded, behind one `request`.

A `Node` is one endpoint: it lets requests through at a rate, in two lanes of their own, each with a deadline, and lets
no answer out before the node at the other end of the present connection was asked for its chain id. The `EndpointPool`
is what the rest of the keeper talks to; it is itself a web3 provider, so that web3 code can run over the same limits.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Self, TypeAlias

from asyncio_throttle import Throttler
from web3.providers.async_base import AsyncJSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from keeper.chain.provider import HttpProvider
from keeper.errors import BadAnswer, ChainError, NodeUnreachable, WrongChain


class Traffic(Enum):
    """The two lanes of an endpoint; what is on its way to being sent never queues behind what is only looked at."""

    READ = "read"
    SEND = "send"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one endpoint may be asked."""

    requests_per_second: float = 25
    timeout_seconds: float = 5
    """From being asked to having answered, the wait for the endpoint's rate included."""
    concurrent_reads_max: int = 12
    concurrent_sends_max: int = 4


SEND_SHARE = 0.2
"""Of the permitted rate; a cycle sends two requests at most."""


class _Lane:
    def __init__(self, requests_per_second: float, burst: int, concurrent_max: int) -> None:
        # The window slides, so a short period spreads requests; `burst` is the least that a cycle needs at once.
        self._throttler = Throttler(rate_limit=burst, period=burst / requests_per_second)
        self._slots = asyncio.Semaphore(concurrent_max)

    async def __aenter__(self) -> None:
        await self._slots.acquire()
        try:
            await self._throttler.acquire()
        except BaseException:
            self._slots.release()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._slots.release()


class Node:
    """One endpoint on one chain."""

    def __init__(self, provider: HttpProvider, chain_id: int, limits: Limits) -> None:
        self.provider = provider
        self._chain_id = chain_id
        self._timeout_seconds = limits.timeout_seconds
        reads = limits.requests_per_second * (1 - SEND_SHARE)
        sends = limits.requests_per_second * SEND_SHARE
        self._lanes = {
            Traffic.READ: _Lane(reads, max(2, round(reads / 5)), limits.concurrent_reads_max),
            Traffic.SEND: _Lane(sends, max(4, round(sends)), limits.concurrent_sends_max),
        }
        self._verified_link = 0
        """The link of the provider at which the node told the right chain id."""
        self._verifying = asyncio.Lock()

    @property
    def label(self) -> str:
        return self.provider.label

    async def request(self, method: str, params: Any, traffic: Traffic) -> RPCResponse:
        """The node's answer, an error of its own included.

        Raises NodeUnreachable after the deadline, WrongChain, and what the provider raises.
        """
        try:
            async with asyncio.timeout(self._timeout_seconds), self._lanes[traffic]:
                answer = await self.provider.make_request(RPCEndpoint(method), params)
                # After the answer and not before the question: a connection is known to be new only once it was used.
                await self._verify()
                return answer
        except TimeoutError:
            pass
        raise NodeUnreachable(f"{self.label} did not answer {method} within {self._timeout_seconds:g} s.")

    async def _verify(self) -> None:
        if self._verified_link == self.provider.link:
            return
        async with self._verifying:
            link = self.provider.link
            if self._verified_link == link:
                return
            answer = await self.provider.make_request(RPCEndpoint("eth_chainId"), [])
            told = answer.get("result")
            if not isinstance(told, str) or not told.startswith("0x"):
                raise BadAnswer(f"{self.label} does not tell its chain id.")
            if int(told, 16) != self._chain_id:
                raise WrongChain(
                    f"{self.label} is a node of chain {int(told, 16)} and the configuration says {self._chain_id}; "
                    "correct [chain] rpc_url or chain_id."
                )
            self._verified_link = link


Observer: TypeAlias = Callable[[str, str], None]
"""Told of every request: its method, and `answered`, `refused` or the name of the fault."""


def ignore(_method: str, _result: str) -> None:
    pass


class EndpointPool(AsyncJSONBaseProvider):
    """All endpoints of the chain behind one `request`; as a web3 provider it serves `AsyncWeb3(pool, middleware=[])`.

    With one endpoint there is nothing to choose; what it takes to choose between several belongs here and nowhere else.
    """

    global_ccip_read_enabled = False

    def __init__(self, node: Node, observe: Observer = ignore) -> None:
        super().__init__()
        self._node = node
        self._observe = observe

    @property
    def label(self) -> str:
        """The endpoint as people may see it."""
        return self._node.label

    def redact(self, text: str) -> str:
        """`text`, on one line and bounded, without what is secret about the endpoint."""
        return self._node.provider.redact(text)

    async def request(self, method: str, params: Any, traffic: Traffic = Traffic.READ) -> RPCResponse:
        """As `Node.request`."""
        try:
            answer = await self._node.request(method, params, traffic)
        except ChainError as fault:
            self._observe(method, type(fault).__name__)
            raise
        self._observe(method, "refused" if answer.get("error") else "answered")
        return answer

    async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """web3's way in."""
        return await self.request(method, params, Traffic.SEND if method == "eth_sendRawTransaction" else Traffic.READ)

    async def disconnect(self) -> None:
        await self._node.provider.disconnect()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.disconnect()


def open_pool(url: str, chain_id: int, limits: Limits | None = None, observe: Observer = ignore) -> EndpointPool:
    """A pool of the one endpoint at `url`; nothing is opened before the first request. Closed by `disconnect`
    or on leaving it as a context manager."""
    return EndpointPool(Node(HttpProvider(url), chain_id, limits or Limits()), observe)

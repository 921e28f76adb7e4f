"""A node on the wire: a small HTTP server that records every JSON-RPC request and can misbehave on demand.

In front of a real node it forwards; without one it answers from a table.
"""

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, cast

import aiohttp
from aiohttp import web


class Fault(Enum):
    """What a node does instead of answering."""

    HANG = auto()
    """Accepts the request and never answers."""
    RESET = auto()
    """Closes the connection without a byte."""
    CUT = auto()
    """Announces a whole answer and closes in the middle of it."""
    TRUNCATED = auto()
    """Half of the JSON, correctly framed."""
    WRONG_ID = auto()
    HTML = auto()
    EMPTY = auto()
    TOO_MANY = auto()
    """HTTP 429 with `Retry-After: 3`."""
    LIMIT_EXCEEDED = auto()
    """-32005 inside HTTP 200."""
    BAD_GATEWAY = auto()
    UNAUTHORISED = auto()
    NO_RESULT = auto()
    BRACKETS = auto()
    """JSON that is nested 200,000 times."""
    LOST = auto()
    """Forwards the request, then closes without handing the answer back: it took effect and nobody was told."""
    SWALLOWED = auto()
    """Forwards the request, then never answers."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A JSON-RPC error of the test's choice."""

    code: int
    message: str
    data: Any = None


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    params: list[Any]
    connection: int
    """Which TCP connection it came over, counted from 0."""


@dataclass(slots=True)
class Wire:
    """Address it by `url`; look at `requests`; `inject` faults for the next requests of a method ("*": any)."""

    url: str = ""
    upstream: str | None = None
    answers: dict[str, Any] = field(default_factory=dict[str, Any])
    """Results by method; a callable is given the params. They go before the upstream."""
    requests: list[Request] = field(default_factory=list[Request])
    _faults: dict[str, deque[Fault | Refusal]] = field(
        default_factory=lambda: defaultdict[str, deque[Fault | Refusal]](deque)
    )
    _connections: list[asyncio.BaseTransport] = field(default_factory=list[asyncio.BaseTransport])
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _hanging: asyncio.Event = field(default_factory=asyncio.Event)
    session: aiohttp.ClientSession | None = None

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.requests]

    def count(self, method: str) -> int:
        return self.methods.count(method)

    async def asked(self, method: str, times: int) -> None:
        """Until that many requests of a method came in."""
        while self.count(method) < times:
            self._arrived.clear()
            await self._arrived.wait()

    def inject(self, method: str, *faults: Fault | Refusal) -> None:
        self._faults[method].extend(faults)

    def drop_connections(self) -> None:
        """Closes every connection from the node's side, as a restart of the node would."""
        for transport in self._connections:
            transport.close()

    def release(self) -> None:
        """Lets every hanging request end."""
        self._hanging.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        asked = json.loads(body)
        transport = request.transport
        assert transport is not None
        if transport not in self._connections:
            self._connections.append(transport)
        if isinstance(asked, list):
            return await self._batch(cast(list[dict[str, Any]], asked))
        method = asked["method"]
        self.requests.append(Request(method, asked["params"], self._connections.index(transport)))
        self._arrived.set()
        fault = self.next_fault(method)
        if fault is not None:
            return await self._misbehave(fault, asked, body, request, transport)
        return web.json_response(await self.answer(asked, body))

    def next_fault(self, method: str) -> Fault | Refusal | None:
        """What goes wrong with the next request of a method, if anything does."""
        for name in (method, "*"):
            if self._faults[name]:
                return self._faults[name].popleft()
        return None

    async def _batch(self, asked: list[dict[str, Any]]) -> web.StreamResponse:
        """As one request of the method `batch`; with a fault in its way the first answer is missing."""
        self.requests.append(Request("batch", [], -1))
        answers = [await self.answer(each, json.dumps(each).encode()) for each in asked]
        if self._faults["batch"]:
            self._faults["batch"].popleft()
            answers = answers[1:]
        return web.json_response(answers)

    async def answer(self, asked: dict[str, Any], body: bytes) -> Any:
        """The whole answer to a request that nothing goes wrong with."""
        if asked["method"] in self.answers:
            answer = self.answers[asked["method"]]
            result = answer(asked["params"]) if callable(answer) else answer
            if isinstance(result, Refusal):
                return _error(asked["id"], result)
            return {"jsonrpc": "2.0", "id": asked["id"], "result": result}
        if self.upstream is None:
            return _error(asked["id"], Refusal(-32601, "Method not found"))
        assert self.session is not None
        async with self.session.post(
            self.upstream, data=body, headers={"Content-Type": "application/json"}
        ) as response:
            return await response.json()

    async def _misbehave(
        self,
        fault: Fault | Refusal,
        asked: dict[str, Any],
        body: bytes,
        request: web.Request,
        transport: asyncio.BaseTransport,
    ) -> web.StreamResponse:
        match fault:
            case Refusal():
                return web.json_response(_error(asked["id"], fault))
            case Fault.HANG:
                await self._hanging.wait()
                return web.Response(status=503)
            case Fault.LOST:
                await self.answer(asked, body)
                transport.close()
                return web.Response()
            case Fault.RESET:
                transport.close()
                return web.Response()
            case Fault.SWALLOWED:
                await self.answer(asked, body)
                await self._hanging.wait()
                return web.Response(status=503)
            case Fault.CUT:
                text = json.dumps(await self.answer(asked, body)).encode()
                response = web.StreamResponse(headers={"Content-Length": str(len(text))})
                await response.prepare(request)
                await response.write(text[: len(text) // 2])
                transport.close()
                return response
            case Fault.TRUNCATED:
                text = json.dumps(await self.answer(asked, body))
                return web.Response(text=text[: len(text) // 2], content_type="application/json")
            case Fault.WRONG_ID:
                answer = await self.answer(asked, body)
                return web.json_response(answer | {"id": asked["id"] + 1})
            case Fault.HTML:
                return web.Response(text="<html><body>Just a moment…</body></html>", content_type="text/html")
            case Fault.EMPTY:
                return web.Response(text="")
            case Fault.TOO_MANY:
                return web.Response(status=429, headers={"Retry-After": "3"}, text="slow down")
            case Fault.LIMIT_EXCEEDED:
                return web.json_response(_error(asked["id"], Refusal(-32005, "limit exceeded")))
            case Fault.BAD_GATEWAY:
                return web.Response(status=502, text="<html>Bad Gateway</html>", content_type="text/html")
            case Fault.UNAUTHORISED:
                return web.Response(status=401, text="invalid project id")
            case Fault.BRACKETS:
                return web.Response(text="[" * 200_000, content_type="application/json")
            case Fault.NO_RESULT:
                return web.json_response({"jsonrpc": "2.0", "id": asked["id"]})


def _error(id: int, refusal: Refusal) -> dict[str, Any]:
    error = {"code": refusal.code, "message": refusal.message}
    if refusal.data is not None:
        error["data"] = refusal.data
    return {"jsonrpc": "2.0", "id": id, "error": error}


@asynccontextmanager
async def wire(
    upstream: str | None = None, answers: dict[str, Any] | None = None, path: str = "/"
) -> AsyncGenerator[Wire]:
    """A node that listens on loopback for as long as the block runs; `path` may carry a key."""
    proxy = Wire(upstream=upstream, answers=answers or {})
    async with served(proxy, path):
        yield proxy


@asynccontextmanager
async def served(proxy: Wire, path: str = "/") -> AsyncGenerator[None]:
    """Lets it listen on a free port of loopback, and tells it its URL."""
    app = web.Application(client_max_size=2**27)
    app.router.add_post("/{path:.*}", proxy.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    proxy.url = f"http://{host}:{port}{path}"
    try:
        async with aiohttp.ClientSession() as session:
            proxy.session = session
            yield
    finally:
        proxy.release()
        await runner.cleanup()

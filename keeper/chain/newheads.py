"""New heads as a node announces them over a WebSocket: a hint that saves asking, never the only source.

One socket for each subscription, supervised here: whatever happens to it, it is opened and subscribed anew. web3's
socket provider is not used: its listener spins while it waits, stops for good when its queue is full or an error
without an id arrives, does not subscribe again after a reconnect, and logs the whole URL.
"""

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Self, cast

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from keeper.chain.answers import block_from_json, parse_json
from keeper.chain.clock import Clock
from keeper.chain.redaction import RedactingFilter, Redactor
from keeper.core.snapshot import Block
from keeper.errors import BadAnswer, ChainError, WrongChain

HINTS_MAX = 16
"""The oldest is dropped: only the newest head matters, and what fell out is found by its number."""
MESSAGE_BYTES_MAX = 2**24
ANSWER_SECONDS_MAX = 10
PING_SECONDS = 5.0
"""A half-open link is noticed after twice as long, not after five minutes."""
RECONNECT_SECONDS_MIN = 0.5
RECONNECT_SECONDS_MAX = 30

SOCKET_LOG = logging.getLogger("keeper.chain.newheads.socket")


class NewHeads:
    """What one or several nodes announce; runs inside `async with`. `arrived` is set when `take` has something."""

    def __init__(self, urls: Sequence[str], chain_id: int, clock: Clock) -> None:
        self._hints: deque[Block | None] = deque(maxlen=HINTS_MAX)
        self._subscriptions = [_Subscription(url, chain_id, clock, self._hint) for url in urls]
        self._opened = AsyncExitStack()
        self.arrived = asyncio.Event()

    @property
    def is_subscribed(self) -> bool:
        """Whether any node announces its heads now."""
        return any(subscription.is_alive for subscription in self._subscriptions)

    def take(self) -> list[Block | None]:
        """The heads announced since the last call, oldest first; None for one whose header is not whole."""
        hints = list(self._hints)
        self._hints.clear()
        self.arrived.clear()
        return hints

    async def __aenter__(self) -> Self:
        for subscription in self._subscriptions:
            await self._opened.enter_async_context(subscription)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._opened.aclose()

    def _hint(self, block: Block | None) -> None:
        self._hints.append(block)
        self.arrived.set()


class _Subscription:
    """One socket to one node, opened anew whatever happens to it."""

    def __init__(self, url: str, chain_id: int, clock: Clock, hint: Callable[[Block | None], None]) -> None:
        self._url = url
        self._chain_id = chain_id
        self._clock = clock
        self._hint = hint
        self._redact = Redactor(url)
        self._log = structlog.get_logger(__name__).bind(endpoint=self._redact.label)
        self._task: asyncio.Task[None] | None = None
        self.is_alive = False
        self._filter = RedactingFilter(self._redact)

    def __repr__(self) -> str:
        return f"_Subscription({self._redact.label})"

    async def __aenter__(self) -> Self:
        SOCKET_LOG.addFilter(self._filter)
        self._task = asyncio.create_task(self._supervise())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        SOCKET_LOG.removeFilter(self._filter)

    async def _supervise(self) -> None:
        pause = RECONNECT_SECONDS_MIN
        while True:
            reason = "the node closed it"
            try:
                async with connect(
                    self._url,
                    logger=SOCKET_LOG,
                    proxy=None,
                    open_timeout=ANSWER_SECONDS_MAX,
                    ping_interval=PING_SECONDS,
                    ping_timeout=PING_SECONDS,
                    close_timeout=1,
                    max_size=MESSAGE_BYTES_MAX,
                ) as socket:
                    await self._subscribe(socket)
                    pause = RECONNECT_SECONDS_MIN
                    await self._listen(socket)
            except (WebSocketException, OSError, ChainError, ValueError) as problem:
                reason = self._redact(str(problem)) or type(problem).__name__
            finally:
                self.is_alive = False
            self._log.warning("heads.socket_lost", reason=reason, again_in_seconds=pause)
            await self._clock.sleep(pause)
            pause = min(2 * pause, RECONNECT_SECONDS_MAX)

    async def _subscribe(self, socket: ClientConnection) -> None:
        """Raises WrongChain, or BadAnswer when the node does not subscribe."""
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            told = await _ask(socket, 1, "eth_chainId", [])
            if not isinstance(told, str) or int(told, 16) != self._chain_id:
                raise WrongChain(f"{self._redact.label} is a node of another chain; correct [chain] ws_url.")
            await _ask(socket, 2, "eth_subscribe", ["newHeads"])
        self.is_alive = True
        # Blocks came while nobody listened: have the newest asked for.
        self._hint(None)

    async def _listen(self, socket: ClientConnection) -> None:
        async for text in socket:
            message = parse_json(text)
            if not isinstance(message, dict):
                raise BadAnswer("a message that is no JSON object")
            fields = cast(Mapping[str, Any], message)
            if fields.get("method") != "eth_subscription":
                # An error that belongs to no request: this subscription may be dead without another word.
                raise BadAnswer(f"an answer to no question: {fields.get('error', 'without an error')}")
            self._hint(self._header(fields))

    def _header(self, fields: Mapping[str, Any]) -> Block | None:
        params = fields.get("params")
        try:
            result = cast(Mapping[str, Any], params).get("result") if isinstance(params, dict) else None
            return block_from_json(result)
        except BadAnswer:
            return None


async def _ask(socket: ClientConnection, id: int, method: str, params: list[Any]) -> object:
    await socket.send(json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
    answer = parse_json(await socket.recv())
    fields = cast(dict[str, Any], answer) if isinstance(answer, dict) else dict[str, Any]()
    if fields.get("id") != id or fields.get("result") is None:
        raise BadAnswer(f"no answer to {method}: {fields.get('error', 'none given')}")
    return fields["result"]

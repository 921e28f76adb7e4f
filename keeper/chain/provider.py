"""One HTTP connection to one node, as a web3 provider.

web3's own provider can hang the whole process when a call is cancelled, opens a connection per request, retries what
must not be retried and accepts an answer to another question. This one keeps a session of its own, checks every
answer, and turns whatever goes wrong into one of our faults with the URL taken out. It does not retry, except where a
kept-alive connection turns out to have been closed by the other side while it was idle.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
from web3.providers.async_base import AsyncJSONBaseProvider
from web3.types import RPCEndpoint, RPCRequest, RPCResponse

from keeper.chain.answers import parse_json, to_json
from keeper.chain.redaction import Redactor
from keeper.errors import BadAnswer, ChainError, NodeRefused, NodeUnreachable, RateLimited

BODY_BYTES_MAX = 2**26
"""Larger answers are refused: nothing that the keeper asks for comes near."""
KEEP_ALIVE_SECONDS = 75
"""Longer than any chain's block time, so that no cycle pays for a new connection."""
READ_BYTES = 2**20
"""What may wait to be read: a hundred accounts are 400 kB of text, and with less the wire is stopped several times."""
CONNECT_SECONDS_MAX = 10
CONNECTIONS_MAX = 24
RATE_LIMIT_CODES = (-32005, -32029, 429)
"""EIP-1474 "limit exceeded", and what large providers answer instead of HTTP 429."""
RATE_LIMIT_WORDS = (
    "rate limit",  # Infura: "daily request count exceeded, request rate limited"
    "request rate exceeded",  # Infura: "project ID request rate exceeded"
    "too many requests",
    "request limit",  # QuickNode: "15/second request limit reached", with -32007
    "exceeded its compute units",  # Alchemy
    "throughput limit",  # Alchemy
    "capacity limit exceeded",  # Alchemy, for the month
)
OTHER_LIMIT_WORDS = (
    "gas limit",  # besu: "Transaction gas limit exceeds block gas limit", "Transaction gas limit cap exceeded"
    "query returned more than",  # Infura, of logs
    "range",  # besu: "Requested range exceeds maximum RPC range limit"
    "batch size",  # besu: "Number of requests exceeds max batch size"
    "response size",
    "subscriptions",  # besu: "Maximum number of active subscriptions exceeded"
    "filters",
)
"""Limits that have nothing to do with how often one asks, which nodes answer with the codes of those that have."""


@dataclass(slots=True)
class _Exchange:
    """How one request travelled; filled in by aiohttp's tracing."""

    is_reused: bool = False
    is_growth: bool = False
    """Whether it opens a connection only because the others are busy."""


@dataclass(frozen=True, slots=True)
class _Response:
    status: int
    retry_after_header: str
    body: bytes

    @property
    def retry_after(self) -> float | None:
        """Seconds, as told in the header."""
        return retry_after_seconds(self.retry_after_header)


class HttpProvider(AsyncJSONBaseProvider):
    """Speaks JSON-RPC to one URL over kept-alive connections. Close it with `disconnect`."""

    # CCIP-Read would let a contract's revert send us to a URL of its choice.
    global_ccip_read_enabled = False
    exception_retry_configuration = None

    def __init__(self, url: str, *, number: int | None = None) -> None:
        """`number`: shown beside the label, where several endpoints are of one host."""
        super().__init__()
        self.redact = Redactor(url)
        self.label = self.redact.label if number is None else f"{self.redact.label} ({number})"
        """The endpoint as people may see it."""
        self._address = _Url(url)
        self._session: aiohttp.ClientSession | None = None
        self.link = 0
        """How often the connections were lost and made anew: what was learnt about the node before may not hold."""
        self._travelling_on_old = 0
        """Requests under way over a connection that other requests used before."""

    def __repr__(self) -> str:
        return f"HttpProvider({self.label})"

    __str__ = __repr__

    async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """The node's answer, an error of its own included.

        Raises NodeUnreachable, RateLimited, BadAnswer or NodeRefused (credentials).
        """
        request_id = next(self.request_counter)
        request = RPCRequest(id=request_id, jsonrpc="2.0", method=method, params=params)
        response = await self._post(method, to_json(request))
        status = response.status
        if status == 429:
            raise RateLimited(f"{self.label} limits the rate of requests (HTTP 429 to {method}).", response.retry_after)
        if status in (401, 403):
            raise NodeRefused(
                f"{self.label} refuses access (HTTP {status} to {method}); check the key in its URL.", code=status
            )
        if status == 413:
            raise NodeRefused(f"{self.label} refuses {method}: the request is too large for it.", code=status)
        answer = self._parse(method, status, response.body)
        if answer.get("id") != request_id and not ("error" in answer and answer.get("id") is None):
            raise BadAnswer(f"{self.label} answered {method} with the id of another request.")
        error = answer.get("error")
        if error is None and "result" not in answer:
            raise BadAnswer(f"{self.label} answered {method} with neither a result nor an error.")
        if error is not None and not isinstance(error, dict):
            raise BadAnswer(f"{self.label} answered {method} with an error that is no JSON-RPC error.")
        if error is not None and _is_rate_limit(cast(dict[str, Any], error)):
            raise RateLimited(f"{self.label} limits the rate of requests ({method}).", response.retry_after)
        return cast(RPCResponse, answer)

    async def disconnect(self) -> None:
        """Closes every connection; the next request opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    # The wire ---------------------------------------------------------------------------------------------------------

    async def _post(self, method: str, payload: bytes) -> _Response:
        exchange = _Exchange()
        try:
            try:
                return await self._post_once(method, payload, exchange)
            except aiohttp.ServerDisconnectedError:
                if not exchange.is_reused:
                    raise
                # Closed while idle: the request never reached anybody, and every request here may be repeated anyway.
                return await self._post_once(method, payload, _Exchange())
        except (aiohttp.ClientError, OSError) as error:
            fault = self._fault(method, error)
        # Raised outside of the handler: the original, which prints the whole URL, is not even kept as the context.
        raise fault

    async def _post_once(self, method: str, payload: bytes, exchange: _Exchange) -> _Response:
        session = self._open()
        try:
            return await self._exchange(session, method, payload, exchange)
        finally:
            self._travelling_on_old -= exchange.is_reused

    async def _exchange(
        self, session: aiohttp.ClientSession, method: str, payload: bytes, exchange: _Exchange
    ) -> _Response:
        async with session.post(
            self._address.text,
            data=payload,
            headers={"Content-Type": "application/json"},
            trace_request_ctx=exchange,
            allow_redirects=False,
        ) as response:
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    raise BadAnswer(f"{self.label} answered {method} with more than {BODY_BYTES_MAX >> 20} MiB.")
            return _Response(response.status, response.headers.get("Retry-After", ""), bytes(body))

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_connection_create_start.append(self._connecting)
            trace.on_connection_create_end.append(self._connected)
            trace.on_connection_reuseconn.append(self._reused)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, keepalive_timeout=KEEP_ALIVE_SECONDS),
                # The deadline of a request belongs to its caller; only connecting has one here.
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS_MAX),
                read_bufsize=READ_BYTES,
                trace_configs=[trace],
            )
        return self._session

    async def _connecting(self, _session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any) -> None:
        context.trace_request_ctx.is_growth = self._travelling_on_old > 0

    async def _connected(self, _session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any) -> None:
        # With others under way over older connections the pool merely grew; it is the same node.
        if not context.trace_request_ctx.is_growth:
            self.link += 1

    async def _reused(self, _session: aiohttp.ClientSession, context: SimpleNamespace, _params: Any) -> None:
        context.trace_request_ctx.is_reused = True
        self._travelling_on_old += 1

    def _fault(self, method: str, error: Exception) -> ChainError:
        match error:
            case aiohttp.ClientPayloadError():
                return BadAnswer(f"{self.label} cut its answer to {method} short.")
            case aiohttp.ServerDisconnectedError():
                return NodeUnreachable(f"{self.label} closed the connection without an answer to {method}.")
            case aiohttp.ClientConnectorError():
                return NodeUnreachable(
                    f"{self.label} cannot be reached: {self.redact(error.strerror or 'no connection')}.",
                    was_asked=False,
                )
            case _:
                reason = self.redact(str(error)) or type(error).__name__
                return NodeUnreachable(f"{self.label} did not answer {method}: {reason}.")

    def _parse(self, method: str, status: int, body: bytes) -> dict[str, Any]:
        try:
            answer = parse_json(body)
        except ValueError:
            answer = None
        if isinstance(answer, dict):
            return cast(dict[str, Any], answer)
        if status in (502, 503, 504):
            raise NodeUnreachable(f"{self.label} has no node behind it at the moment (HTTP {status} to {method}).")
        what = (
            "nothing" if not body.strip() else "a web page" if body.lstrip()[:1] == b"<" else "no complete JSON object"
        )
        raise BadAnswer(f"{self.label} answered {method} with {what} (HTTP {status}, {len(body)} bytes).")


def retry_after_seconds(header: str) -> float | None:
    """From either form of `Retry-After` (RFC 9110, 10.2.3); None for anything else."""
    value = header.strip()
    if value.isascii() and value.isdecimal():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


class _Url:
    """A URL that does not show itself, not even where a debugger or a traceback prints local variables."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def _is_rate_limit(error: dict[str, Any]) -> bool:
    """By its words; only where they say nothing of any limit by its code."""
    message = str(error.get("message", "")).lower()
    if any(words in message for words in RATE_LIMIT_WORDS):
        return True
    return error.get("code") in RATE_LIMIT_CODES and not any(words in message for words in OTHER_LIMIT_WORDS)

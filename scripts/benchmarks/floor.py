"""The least that a cycle can take: its very bytes, replayed over one bare kept-alive socket.

A `Tap` between keeper and node keeps the requests of one cycle as they went over the wire, headers and all.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

CHUNK_BYTES = 2**16
CYCLE_METHODS = (b'"eth_call"', b'"eth_simulateV1"', b'"eth_sendRawTransaction"')


class Tap:
    """Forwards to a node and remembers each request, in order. Address it by `url`."""

    def __init__(self, node_url: str) -> None:
        parts = urlsplit(node_url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self.url = ""
        self.requests: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_node, to_node = await asyncio.open_connection(self._host, self._port)
        answering = asyncio.create_task(_forward(from_node, writer))
        try:
            while head := await _head(reader):
                request = head + await reader.readexactly(_content_length(head))
                self.requests.append(request)
                to_node.write(request)
        finally:
            answering.cancel()
            for stream in (to_node, writer):
                stream.close()


@asynccontextmanager
async def tapped(node_url: str) -> AsyncGenerator[Tap]:
    """A tap on a free port of loopback, for as long as the block runs."""
    tap = Tap(node_url)
    server = await asyncio.start_server(tap.serve, "127.0.0.1", 0)
    tap.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield tap


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK_BYTES):
        writer.write(data)


async def _head(reader: asyncio.StreamReader) -> bytes:
    """A request's line and headers; empty when the other side is done."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        return await reader.readuntil(b"\r\n\r\n")
    return b""


class BareSocket:
    """Sends requests that are bytes already and waits for each whole answer."""

    def __init__(self, node_url: str) -> None:
        parts = urlsplit(node_url)
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self._socket.close()

    def exchange(self, request: bytes) -> bytes:
        """The body of the answer."""
        self._socket.sendall(request)
        answer = b""
        while (end := answer.find(b"\r\n\r\n") + 4) < 4:
            answer += self._received()
        body, missing = bytearray(answer[end:]), _content_length(answer[:end])
        while len(body) < missing:
            body += self._received()
        return bytes(body)

    def _received(self) -> bytes:
        data = self._socket.recv(CHUNK_BYTES)
        if not data:
            raise ConnectionError("the node closed the connection in the middle of an answer")
        return data


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    return 0

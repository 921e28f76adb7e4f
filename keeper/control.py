"""How a person at the shell reaches a running daemon: JSON over a Unix socket that only the daemon's own user can open.

Requests are short and few; each is answered after it took effect, so `keeper pause` returns when nothing more will be
sent.
"""

import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from keeper.errors import KeeperError

Handler = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]

ANSWER_SECONDS_MAX = 60
UNIX_PATH_MAX = 100
"""The kernel allows 107 bytes; a longer path is refused with a sentence instead of an errno."""


class ControlServer:
    """Serves `handlers` by name at `path` between `start` and `stop`."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler]) -> None:
        self._path = path
        self._handlers = handlers
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Raises KeeperError when the path is too long or another process answers there."""
        if len(os.fsencode(self._path)) > UNIX_PATH_MAX:
            raise KeeperError(
                f"The socket path {self._path} is longer than {UNIX_PATH_MAX} bytes; set telemetry.socket."
            )
        if self._path.exists():
            if _answers(self._path):
                raise KeeperError(
                    f"Another daemon listens at {self._path}; stop it first, or give this one a journal of its own."
                )
            self._path.unlink()
        app = web.Application(client_max_size=2**16)
        app.router.add_post("/{verb}", self._handle)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        # The socket file is created with the process's umask: closed to everybody else from its first moment on.
        before = os.umask(0o177)
        try:
            await web.UnixSite(self._runner, str(self._path)).start()
        except OSError as error:
            await self._runner.cleanup()
            raise KeeperError(
                f"Nothing can listen at {self._path} ({error.strerror}); change [telemetry] socket."
            ) from None
        finally:
            os.umask(before)

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    async def _handle(self, request: web.Request) -> web.Response:
        handler = self._handlers.get(request.match_info["verb"])
        if handler is None:
            return web.json_response(
                {"error": f"The daemon knows no request {request.match_info['verb']!r}."}, status=404
            )
        try:
            return web.json_response(await handler(await request.json()))
        except KeeperError as fault:
            return web.json_response({"error": str(fault)}, status=409)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


async def ask_daemon(path: Path, verb: str, payload: Mapping[str, Any]) -> dict[str, Any] | None:
    """The daemon's answer, or None when no daemon listens at `path`.

    Raises KeeperError with the daemon's own sentence when it refused, or when it did not answer in time.
    """
    if not _answers(path):
        return None
    connector = aiohttp.UnixConnector(path=str(path))
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.post(f"http://daemon/{verb}", json=dict(payload)) as response,
        ):
            answer: dict[str, Any] = await response.json()
    except TimeoutError:
        raise KeeperError(
            f"The daemon at {path} did not answer within {ANSWER_SECONDS_MAX} s; look at its log."
        ) from None
    except (aiohttp.ClientError, ValueError):
        # It ended meanwhile, or was never a daemon.
        raise KeeperError(
            f"What listens at {path} did not answer as a daemon does; is another program behind it?"
        ) from None
    if "error" in answer:
        raise KeeperError(str(answer["error"]))
    return answer

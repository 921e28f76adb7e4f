"""The socket between the shell and a running daemon: who may open it, what it answers, and how it fails."""

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from keeper import control
from keeper.control import ControlServer, ask_daemon
from keeper.errors import KeeperError


async def echo(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {"heard": dict(payload)}


async def refuse(_: Mapping[str, Any]) -> dict[str, Any]:
    raise KeeperError("A critical batch is on its way; pause the guard again once it is included.")


def mode_of(path: Path) -> int | None:
    return path.stat().st_mode & 0o777 if path.exists() else None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keeper.sock"


async def test_a_request_is_answered_by_its_handler(path: Path) -> None:
    server = ControlServer(path, {"echo": echo})
    await server.start()
    try:
        assert await ask_daemon(path, "echo", {"mode": "paused"}) == {"heard": {"mode": "paused"}}
    finally:
        await server.stop()


async def test_nobody_else_can_open_it(path: Path) -> None:
    server = ControlServer(path, {"echo": echo})
    await server.start()
    try:
        assert mode_of(path) == 0o600
    finally:
        await server.stop()
    assert mode_of(path) is None


async def test_without_a_daemon_there_is_no_answer(path: Path) -> None:
    assert await ask_daemon(path, "echo", {}) is None


async def test_a_socket_that_a_killed_daemon_left_is_nobody_and_is_taken_over(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert await ask_daemon(path, "echo", {}) is None
    server = ControlServer(path, {"echo": echo})
    await server.start()
    try:
        assert await ask_daemon(path, "echo", {}) == {"heard": {}}
    finally:
        await server.stop()


async def test_a_second_daemon_at_the_same_socket_is_refused(path: Path) -> None:
    first = ControlServer(path, {"echo": echo})
    await first.start()
    try:
        with pytest.raises(KeeperError) as fault:
            await ControlServer(path, {}).start()
        assert str(fault.value) == (
            f"Another daemon listens at {path}; stop it first, or give this one a journal of its own."
        )
        assert await ask_daemon(path, "echo", {}) == {"heard": {}}, "the first one still answers"
    finally:
        await first.stop()


async def test_a_handlers_refusal_is_its_sentence(path: Path) -> None:
    server = ControlServer(path, {"pause": refuse})
    await server.start()
    try:
        with pytest.raises(KeeperError, match=r"^A critical batch is on its way; pause the guard again once "):
            await ask_daemon(path, "pause", {})
    finally:
        await server.stop()


async def test_a_request_that_it_does_not_know_is_named(path: Path) -> None:
    server = ControlServer(path, {"echo": echo})
    await server.start()
    try:
        with pytest.raises(KeeperError, match=r"^The daemon knows no request 'fly'\.$"):
            await ask_daemon(path, "fly", {})
    finally:
        await server.stop()


async def test_a_daemon_that_hangs_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "ANSWER_SECONDS_MAX", 0.05)
    released = asyncio.Event()

    async def hang(_: Mapping[str, Any]) -> dict[str, Any]:
        await released.wait()
        return {}

    server = ControlServer(path, {"hang": hang})
    await server.start()
    try:
        with pytest.raises(KeeperError) as fault:
            await ask_daemon(path, "hang", {})
        assert str(fault.value) == f"The daemon at {path} did not answer within 0.05 s; look at its log."
    finally:
        released.set()
        await server.stop()


async def test_what_is_no_daemon_is_named(path: Path) -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-type: text/plain\r\n\r\nhello")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_unix_server(nonsense, path)
    async with server:
        with pytest.raises(KeeperError, match=r" did not answer as a daemon does; is another program behind it\?$"):
            await ask_daemon(path, "echo", {})


@pytest.mark.parametrize(("length", "is_too_long"), [(99, False), (100, False), (101, True)])
async def test_a_path_that_the_kernel_would_refuse_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, length: int, is_too_long: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("s" * length)
    server = ControlServer(path, {"echo": echo})
    if is_too_long:
        with pytest.raises(KeeperError, match=r" is longer than 100 bytes; set telemetry\.socket\.$"):
            await server.start()
        assert await ask_daemon(path, "echo", {}) is None
        return
    await server.start()
    try:
        assert await ask_daemon(path, "echo", {}) == {"heard": {}}
    finally:
        await server.stop()


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "keeper.sock"
    with pytest.raises(KeeperError, match=rf"^Nothing can listen at {path} \(.*\); change \[telemetry\] socket\.$"):
        await ControlServer(path, {}).start()

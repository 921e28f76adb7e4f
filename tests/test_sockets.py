"""The rule of conftest.py holds: a test that could reach the network would hide a missing fake."""

import socket

import pytest

from tests.conftest import SocketForbiddenError


def test_a_unit_test_cannot_connect_even_to_this_machine() -> None:
    with socket.socket() as client, pytest.raises(SocketForbiddenError, match="mark the test loopback or devnet"):
        client.connect(("127.0.0.1", 9))


def test_a_unit_test_cannot_listen() -> None:
    with socket.socket() as server, pytest.raises(SocketForbiddenError):
        server.bind(("127.0.0.1", 0))


@pytest.mark.loopback
def test_a_loopback_test_reaches_its_own_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()


@pytest.mark.loopback
@pytest.mark.parametrize("host", ["192.0.2.1", "example.org"])
def test_a_loopback_test_reaches_nothing_else(host: str) -> None:
    with socket.socket() as client, pytest.raises(SocketForbiddenError, match="not on this machine"):
        client.connect((host, 80))

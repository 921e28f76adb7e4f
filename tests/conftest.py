"""No test reaches beyond this machine, and a unit test opens no network socket at all.

Tests that talk to a server of their own are marked `loopback`; tests on the local chain are marked `devnet` or use the
fixture of that name.
"""

import ipaddress
import signal
import socket
from collections.abc import Callable
from typing import Any

import pytest

# Whoever starts the tests in the background may have them ignore SIGINT, and every process that they start as well:
# those that a test interrupts would then run for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)


class SocketForbiddenError(Exception):
    """A test tried to use a socket that it may not use."""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def restrict_sockets(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    node: pytest.Item = request.node
    is_loopback_allowed = any(node.get_closest_marker(name) for name in ("devnet", "loopback")) or (
        "devnet" in request.fixturenames
    )

    def guarded(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: socket.socket, address: Any, /) -> Any:
            if self.family != socket.AF_UNIX:
                if not is_loopback_allowed:
                    raise SocketForbiddenError(
                        f"a unit test opened a socket to {address}; fake the node, or mark the test loopback or devnet"
                    )
                if not _is_loopback(address[0]):
                    raise SocketForbiddenError(f"a test tried to reach {address}, which is not on this machine")
            return original(self, address)

        return call

    for name in ("connect", "connect_ex", "bind"):
        monkeypatch.setattr(socket.socket, name, guarded(getattr(socket.socket, name)))

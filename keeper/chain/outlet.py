"""Where signed bytes go: to a private relay alone for as long as the batch's lane says, then to every node.

A relay is a wish, not a promise. One that does not take the bytes, for whatever reason, is no reason to wait: then they
are for everybody at once.
"""

from typing import Protocol

from keeper.chain.send_errors import SendError, classify_send_error
from keeper.errors import ChainError, NodeRefused


class Sender(Protocol):
    async def send_raw(self, raw: bytes) -> str: ...


class Outlet:
    def __init__(self, nodes: Sender, relay: Sender | None = None) -> None:
        """`nodes`: all that the keeper knows, as one."""
        self._nodes = nodes
        self._relay = relay

    async def offer(self, raw: bytes, *, is_private: bool) -> None:
        """Raises NodeRefused with the nodes' reason, and ChainError when whether they have it is not known."""
        if is_private and self._relay is not None and await _takes(self._relay, raw):
            return
        await self._nodes.send_raw(raw)


async def _takes(relay: Sender, raw: bytes) -> bool:
    try:
        await relay.send_raw(raw)
    except NodeRefused as refusal:
        return classify_send_error(refusal.reason) is SendError.ALREADY_KNOWN
    except ChainError:
        return False
    return True

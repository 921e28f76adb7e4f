"""What is given to the dispatcher, and what it tells of it."""

from dataclasses import dataclass

from keeper.chain.answers import MinedTransaction
from keeper.core.intent import Intent
from keeper.core.plan import Lane
from keeper.protocols.base import Log
from keeper.protocols.guard_batch import pause_calldata


@dataclass(frozen=True, slots=True)
class Batch:
    """A plan as bytes, ready to be signed."""

    plan_id: str
    lane: Lane
    calldata: bytes
    gas: int
    deadline: int
    """Unix seconds, the same as in the calldata."""
    fee_ceiling_wei: int
    """The most per gas that the value at risk justifies."""

    @property
    def is_pause(self) -> bool:
        """Whether it is the guard's own `pause`: nothing here holds that back."""
        return self.calldata == pause_calldata()


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to an intent, for the log and for whoever waits for it."""

    intent: Intent
    did: str
    """A clause: `sent as 0x…`, `included in block 17`."""
    logs: tuple[Log, ...] = ()
    """Its events, when a receipt came in."""
    is_first: bool = False
    """Whether a receipt came in that was not seen before, whatever the new state: of its first inclusion, or of one in
    another block after a reorganisation."""


def told(intent: Intent, found: MinedTransaction | None, *, is_first: bool, is_final: bool = False) -> Change:
    """What became of an intent that has a receipt; `found` is that receipt with its events, if it was asked for."""
    receipt = intent.receipt
    if receipt is None:
        raise ValueError(f"plan {intent.plan_id} has no receipt to be told")
    did = "final" if is_final else "included" if receipt.succeeded else "reverted"
    logs = () if found is None else found.logs
    return Change(intent, f"{did} in block {receipt.block_number} as {receipt.hash}", logs, is_first)

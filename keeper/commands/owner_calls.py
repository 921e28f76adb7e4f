"""Transactions for the owner to sign, in the forms that people sign from: a list, a Safe batch, `cast send` lines."""

from collections.abc import Sequence
from typing import Literal

from rich.console import RenderableType

from keeper.commands.answer import Verbatim
from keeper.core.units import Address
from keeper.documents import Document
from keeper.protocols.guard_setup import OwnerCall

Form = Literal["list", "safe", "cast"]
SIGN_THESE = (
    "Sign these with the owner's key: --form safe prints them for the Safe Transaction Builder, --form cast as "
    "`cast send` lines"
)


def call_document(call: OwnerCall) -> Document:
    document: Document = {
        "to": call.to,
        "data": f"0x{call.data.hex()}",
        "value_wei": str(call.value_wei),
        "says": call.says,
    }
    return document if call.sender is None else {**document, "from": call.sender}


def safe_document(name: str, calls: Sequence[OwnerCall], chain_id: int, hint: str = "") -> Document:
    """The Safe Transaction Builder's batch file, version 1.0; what somebody else has to send is in its
    description, and a hint that the owner would not see elsewhere."""
    own = [call for call in calls if call.sender is None]
    says = [call.says if call.sender is None else f"Sent by {call.sender}: {call.says}" for call in calls]
    return {
        "version": "1.0",
        "chainId": str(chain_id),
        "meta": {"name": name, "description": " ".join([*says, hint]).strip()},
        "transactions": [
            {
                "to": call.to,
                "value": str(call.value_wei),
                "data": f"0x{call.data.hex()}",
                "contractMethod": None,
                "contractInputsValues": None,
            }
            for call in own
        ],
    }


def cast_lines(calls: Sequence[OwnerCall], owner: Address) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for call in calls:
        sender = call.sender or owner
        lines += [
            Verbatim(f"# {call.says}"),
            Verbatim(f"cast send --rpc-url $ETH_RPC_URL --from {sender} {call.to} 0x{call.data.hex()}"),
        ]
    return lines


def list_lines(calls: Sequence[OwnerCall], hashes: Sequence[str] = ()) -> list[RenderableType]:
    """Numbered; with what each was sent as, if it was."""
    lines: list[RenderableType] = []
    for number, call in enumerate(calls, 1):
        sender = "" if call.sender is None else f" from {call.sender}"
        lines += [f"{number}. {call.says}", f"   to {call.to}{sender}, {len(call.data)} bytes of data"]
        if hashes:
            lines.append(f"   sent: {hashes[number - 1]}")
    return lines

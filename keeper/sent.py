"""What a batch that was sent moves, by the journal: also for a process that did not send it."""

import json
from typing import Any

from keeper.core.plan import Kind
from keeper.core.replanning import Move, Moves
from keeper.core.snapshot import SubaccountId
from keeper.core.units import Address
from keeper.errors import JournalError
from keeper.journal_reader import JournalReader


def sent_moves(reader: JournalReader, plan_id: str) -> Moves:
    """Nothing for the guard's pause, and for a batch whose cycle was not recorded: its process died before."""
    try:
        record = reader.cycle_of(plan_id).plan
    except JournalError:
        return {}
    document: dict[str, Any] = {"rescues": []} if record is None else json.loads(record.plan)
    found: dict[Move, int] = {}
    for rescue in document["rescues"]:
        for transfer in rescue["transfers"]:
            kind = Kind[str(transfer["kind"]).upper()]
            donor, recipient = SubaccountId.parse(transfer["donor"]), SubaccountId.parse(rescue["recipient"])
            move = (recipient, donor, Address(transfer["token"]), kind)
            found[move] = found.get(move, 0) + int(transfer["amount_raw"])
    return found

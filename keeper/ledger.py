"""What rescues moved, from the journal: each plan that took effect, with what the accounts held when it was made."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keeper.core.returning import Ledger, Place
from keeper.core.snapshot import Snapshot, SubaccountId
from keeper.core.units import Address
from keeper.errors import ProtocolError
from keeper.journal_reader import CycleRecord, JournalReader
from keeper.protocols.portfolio import Portfolio


@dataclass(frozen=True, slots=True)
class Recorded:
    ledger: Ledger
    problems: tuple[str, ...]
    """What of the journal could not be used, sentences."""


def recorded_ledger(reader: JournalReader) -> Recorded:
    """All rescues that the journal still holds, oldest first. What repaid a debt is left out: to take it back would be
    to borrow again."""
    moved: dict[Place, int] = {}
    before: dict[Place, int] = {}
    problems: list[str] = []
    for plan_id, recipients in reader.rescued().items():
        cycle = reader.cycle_of(plan_id)
        changes = _changes(cycle, recipients)
        if not changes.keys() <= before.keys():
            try:
                snapshot = Portfolio.from_json(cycle.topology).decode(cycle.block, cycle.reads)
            except ProtocolError as problem:
                problems.append(f"the rescues of plan {plan_id} are left out: {problem}")
                continue
            before = {place: _held(snapshot, place) for place in changes} | before
        for place, change in changes.items():
            moved[place] = moved.get(place, 0) + change
    return Recorded(Ledger(moved, before), tuple(problems))


def _changes(cycle: CycleRecord, recipients: frozenset[str]) -> Mapping[Place, int]:
    """What the rescues of these recipients moved."""
    changes: dict[Place, int] = {}
    document: dict[str, Any] = {"rescues": []} if cycle.plan is None else json.loads(cycle.plan.plan)
    for rescue in document["rescues"]:
        if rescue["recipient"] not in recipients:
            continue
        for transfer in rescue["transfers"]:
            if transfer["kind"] == "repay":
                continue
            token, amount = Address(transfer["token"]), int(transfer["amount_raw"])
            for id, change in ((transfer["donor"], -amount), (rescue["recipient"], amount)):
                place = SubaccountId.parse(id), token
                changes[place] = changes.get(place, 0) + change
    return changes


def _held(snapshot: Snapshot, place: Place) -> int:
    id, token = place
    lines = (each.line(token) for each in snapshot.subaccounts if each.id == id)
    return next((line.amount_raw for line in lines if line is not None), 0)

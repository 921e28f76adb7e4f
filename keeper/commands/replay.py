"""`keeper journal replay ID`: makes a recorded decision again, offline, from what the journal kept of its cycle."""

import json
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from keeper.commands.answer import Answer
from keeper.config import load_config
from keeper.core.plan import Plan
from keeper.core.planner import make_plan
from keeper.core.policy import Policy
from keeper.core.snapshot import Snapshot
from keeper.documents import Document, plan_document
from keeper.errors import JournalError
from keeper.journal_reader import CycleRecord, open_reader
from keeper.protocols.portfolio import Portfolio
from keeper.records import history_from_json, policy_from_json
from keeper.report import counted, rescue_paragraph, time_text, verdict_text

DIFFERENT = 1


def replay(config_path: Path, plan_id: str, now: int) -> Answer:
    """Fine only when the same plan comes out. Raises JournalError for a plan that is not there (any more)."""
    reader = open_reader(load_config(config_path).journal.path)
    try:
        cycle = reader.cycle_of(reader.plan_id_of(plan_id))
    finally:
        reader.close()
    if cycle.plan is None:
        raise JournalError(f"The journal holds no decision for {plan_id}.")
    snapshot = Portfolio.from_json(cycle.topology).decode(cycle.block, cycle.reads)
    policy = policy_from_json(cycle.plan.policy)
    again = make_plan(snapshot, policy, history_from_json(cycle.plan.history))
    recorded: Document = json.loads(cycle.plan.plan)
    differences = _differences(recorded, plan_document(again, snapshot), again)
    document = {
        "plan_id": cycle.plan.plan_id,
        "same": not differences,
        "differences": differences,
        "recorded": recorded,
        "again": plan_document(again, snapshot),
    }
    parts = _sentences(cycle, recorded, again, snapshot, policy, differences, now)
    return Answer(parts, document, exit_code=DIFFERENT if differences else 0)


def _differences(recorded: Document, again: Document, plan: Plan) -> list[str]:
    """What came out differently, as sentences; a rescue that its simulation refused was decided all the same."""
    refused = _refused(recorded, plan)
    kept = [rescue for rescue in again["rescues"] if rescue["recipient"] not in refused]
    found: list[str] = []
    if recorded["block"] != again["block"]:
        found.append(f"the block: {recorded['block']['hash']} then, {again['block']['hash']} now")
    if recorded["rescues"] != kept:
        then, now = ([rescue["recipient"] for rescue in rescues] for rescues in (recorded["rescues"], kept))
        found.append(f"the rescues: of {', '.join(then) or 'nobody'} then, of {', '.join(now) or 'nobody'} now")
    for id, decided in recorded["verdicts"].items():
        now = again["verdicts"].get(id, {"reason": "not there"})
        if id not in refused and decided != now:
            found.append(f"{id}: {decided['reason']} then, {now['reason']} now")
    return found


def _refused(recorded: Document, plan: Plan) -> dict[str, str]:
    """Who was to be rescued, was tried out and was not sent, and why."""
    sent = {rescue["recipient"] for rescue in recorded["rescues"]}
    verdicts: dict[str, Any] = recorded["verdicts"]
    return {
        str(rescue.recipient): verdicts[str(rescue.recipient)]["reason"]
        for rescue in plan.rescues
        if str(rescue.recipient) not in sent and verdicts[str(rescue.recipient)]["verdict"] == "Blocked"
    }


def _sentences(
    cycle: CycleRecord,
    recorded: Document,
    again: Plan,
    snapshot: Snapshot,
    policy: Policy,
    differences: list[str],
    now: int,
) -> list[RenderableType]:
    block = cycle.block
    lines: list[RenderableType] = [
        f"Decided at block {block.number}, {time_text(block.timestamp, now)}, on {len(cycle.reads):,} bytes of answers."
    ]
    for rescue in again.rescues:
        lines += ["", rescue_paragraph(rescue, snapshot, policy)]
    verdicts = {id: verdict_text(decided) for id, decided in again.verdicts.items()}
    lines += ["", *(f"{snapshot.subaccount(id).label}: {text}" for id, text in verdicts.items())]
    lines += ["", *(f"{id} was tried out and not sent: {why}" for id, why in _refused(recorded, again).items())]
    if differences:
        lines.append(f"A different plan, in {counted(len(differences), 'place')}:")
        lines += [f"  {difference}" for difference in differences]
    else:
        lines.append("The same plan, bit for bit.")
    return lines

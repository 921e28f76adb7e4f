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
from keeper.report import counted, time_text, verdict_text
from keeper.report_rescue import rescue_paragraph

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
    decided: Document = json.loads(json.dumps(plan_document(again, snapshot)))
    differences = _differences(recorded, decided, again)
    document = {
        "plan_id": cycle.plan.plan_id,
        "same": recorded == decided,
        "differences": differences,
        "blocked_then": _blocked_then(recorded, again),
        "recorded": recorded,
        "again": decided,
    }
    parts = _sentences(cycle, again, snapshot, policy, now)
    parts += ["", *_findings(document)]
    return Answer(parts, document, exit_code=DIFFERENT if differences else 0)


def _differences(recorded: Document, again: Document, plan: Plan) -> list[str]:
    """What came out differently, as sentences, but for rescues that were blocked then."""
    blocked = _blocked_then(recorded, plan)
    kept = [rescue for rescue in again["rescues"] if rescue["recipient"] not in blocked]
    found: list[str] = []
    if recorded["block"] != again["block"]:
        found.append(f"the block: {recorded['block']['hash']} then, {again['block']['hash']} now")
    then, now = ([rescue["recipient"] for rescue in rescues] for rescues in (recorded["rescues"], kept))
    if then != now:
        found.append(f"the rescues: of {', '.join(then) or 'nobody'} then, of {', '.join(now) or 'nobody'} now")
    elif recorded["rescues"] != kept:
        found.append(f"how {', '.join(then)} are rescued; `--json` has both")
    if recorded["notes"] != again["notes"]:
        found.append("the notes; `--json` has both")
    for id in recorded["verdicts"] | again["verdicts"]:
        was, is_ = (one["verdicts"].get(id, {"reason": "not there"}) for one in (recorded, again))
        if id not in blocked and was != is_:
            found.append(f"{id}: {was['reason']} then, {is_['reason']} now")
    return found


def _blocked_then(recorded: Document, plan: Plan) -> dict[str, str]:
    """Whose rescue is planned now and was blocked then, and why: the record does not tell whether the plan's own trial
    refused it, which is no difference, or the decision was another."""
    sent = {rescue["recipient"] for rescue in recorded["rescues"]}
    verdicts: dict[str, Any] = recorded["verdicts"]
    return {
        str(rescue.recipient): verdicts[str(rescue.recipient)]["reason"]
        for rescue in plan.rescues
        if str(rescue.recipient) not in sent and verdicts[str(rescue.recipient)]["verdict"] == "Blocked"
    }


def _findings(document: Document) -> list[str]:
    differences, blocked = document["differences"], document["blocked_then"]
    lines = [f"{id} would be rescued and was not: {why}" for id, why in blocked.items()]
    if document["same"]:
        lines.append("The same plan, bit for bit.")
    elif differences:
        lines.append(f"A different plan, in {counted(len(differences), 'place')}:")
        lines += [f"  {difference}" for difference in differences]
    else:
        lines.append("The same plan but for what was blocked then, perhaps by its own trial.")
    return lines


def _sentences(cycle: CycleRecord, again: Plan, snapshot: Snapshot, policy: Policy, now: int) -> list[RenderableType]:
    block = cycle.block
    lines: list[RenderableType] = [
        f"Decided at block {block.number}, {time_text(block.timestamp, now)}, on {len(cycle.reads):,} bytes of answers."
    ]
    for rescue in again.rescues:
        lines += ["", rescue_paragraph(rescue, snapshot, policy)]
    verdicts = {id: verdict_text(decided) for id, decided in again.verdicts.items()}
    return [*lines, "", *(f"{snapshot.subaccount(id).label}: {text}" for id, text in verdicts.items())]

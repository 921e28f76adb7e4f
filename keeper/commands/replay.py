"""`keeper journal replay ID`: makes a recorded decision again, offline, from what the journal kept of its cycle."""

import json
from pathlib import Path

from rich.console import RenderableType

from keeper.commands.answer import Answer
from keeper.config import load_config
from keeper.core.plan import Plan
from keeper.core.planner import make_plan
from keeper.core.policy import Policy
from keeper.core.snapshot import Snapshot
from keeper.documents import BEFORE_TRIAL, Document, plan_document
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
    before_trial: Document = recorded.pop(BEFORE_TRIAL, recorded)
    differences = _differences(before_trial, decided)
    document = {
        "plan_id": cycle.plan.plan_id,
        "same": before_trial == decided,
        "differences": differences,
        "refused_in_trial": _refused_in_trial(recorded, before_trial),
        "recorded": recorded,
        "again": decided,
    }
    parts = _sentences(cycle, again, snapshot, policy, now)
    parts += ["", *_findings(document)]
    return Answer(parts, document, exit_code=DIFFERENT if differences else 0)


def _differences(recorded: Document, again: Document) -> list[str]:
    """What came out differently, as sentences."""
    found: list[str] = []
    if recorded["block"] != again["block"]:
        found.append(f"the block: {recorded['block']['hash']} then, {again['block']['hash']} now")
    then, now = ([rescue["recipient"] for rescue in one["rescues"]] for one in (recorded, again))
    if then != now:
        found.append(f"the rescues: of {', '.join(then) or 'nobody'} then, of {', '.join(now) or 'nobody'} now")
    elif recorded["rescues"] != again["rescues"]:
        found.append(f"how {', '.join(then)} are rescued; `--json` has both")
    if recorded["notes"] != again["notes"]:
        found.append("the notes; `--json` has both")
    for id in recorded["verdicts"] | again["verdicts"]:
        was, is_ = (one["verdicts"].get(id, {"reason": "not there"}) for one in (recorded, again))
        if was != is_:
            found.append(f"{id}: {was['reason']} then, {is_['reason']} now")
    return found


def _refused_in_trial(recorded: Document, before_trial: Document) -> dict[str, str]:
    """Whose rescue was decided then and left out by the plan's own trial, and why."""
    sent = {rescue["recipient"] for rescue in recorded["rescues"]}
    decided = (rescue["recipient"] for rescue in before_trial["rescues"])
    return {id: recorded["verdicts"][id]["reason"] for id in decided if id not in sent}


def _findings(document: Document) -> list[str]:
    differences = document["differences"]
    lines = [f"{id} was left out by the plan's own trial: {why}" for id, why in document["refused_in_trial"].items()]
    if document["same"]:
        return [*lines, "The same plan, bit for bit."]
    lines.append(f"A different plan, in {counted(len(differences), 'place')}:")
    return [*lines, *(f"  {difference}" for difference in differences)]


def _sentences(cycle: CycleRecord, again: Plan, snapshot: Snapshot, policy: Policy, now: int) -> list[RenderableType]:
    block = cycle.block
    lines: list[RenderableType] = [
        f"Decided at block {block.number}, {time_text(block.timestamp, now)}, on {len(cycle.reads):,} bytes of answers."
    ]
    for rescue in again.rescues:
        lines += ["", rescue_paragraph(rescue, snapshot, policy)]
    verdicts = {id: verdict_text(decided) for id, decided in again.verdicts.items()}
    return [*lines, "", *(f"{snapshot.subaccount(id).label}: {text}" for id, text in verdicts.items())]

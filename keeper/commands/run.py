"""`keeper run`: the daemon; `--once` for one cycle, `--dry-run` to stop before signing."""

import asyncio
from pathlib import Path

from rich.console import RenderableType
from rich.padding import Padding

from keeper.commands.answer import Answer
from keeper.config import load_config
from keeper.report import reasons
from keeper.report_rescue import rescue_sentences
from keeper.service import run_daemon, run_once
from keeper.telling import CycleReport, cycle_document, held_back


def run(config_path: Path, *, once: bool, dry_run: bool) -> Answer:
    config = load_config(config_path)
    if not once:
        asyncio.run(run_daemon(config, is_dry_run=dry_run))
        return Answer([], {"stopped": True})
    return answer_to(asyncio.run(run_once(config, is_dry_run=dry_run)))


def answer_to(report: CycleReport) -> Answer:
    """One cycle as an answer; exits 1 when a rescue was due and did not go out."""
    snapshot, plan = report.snapshot, report.plan
    lines: list[RenderableType] = []
    for rescue in plan.rescues:
        first, *others = rescue_sentences(rescue, snapshot, report.policy)
        lines += [first, *(Padding(other, (0, 0, 0, 2), expand=False) for other in others), ""]
    lines += [*reasons(snapshot, plan), *plan.notes, *held_back(report.mode, report.quorum_problem)]
    nothing = "nothing could be sent" if report.has_failed else "nothing to send"
    lines.append(f"Block {snapshot.block.number}: {report.outcome or nothing}.")
    return Answer(lines, cycle_document(report), exit_code=1 if report.has_failed else 0)

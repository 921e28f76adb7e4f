"""`keeper run`: the daemon; `--once` for one cycle, `--dry-run` to stop before signing."""

import asyncio
from pathlib import Path

from keeper.commands.answer import Answer
from keeper.config import load_config
from keeper.daemon import CycleReport
from keeper.documents import Document, plan_document
from keeper.report import rescue_paragraph
from keeper.service import run_daemon, run_once


def run(config_path: Path, *, once: bool, dry_run: bool) -> Answer:
    config = load_config(config_path)
    if not once:
        asyncio.run(run_daemon(config, is_dry_run=dry_run))
        return Answer([], {"stopped": True}, is_streamed=True)
    return answer_to(asyncio.run(run_once(config, is_dry_run=dry_run)))


def answer_to(report: CycleReport) -> Answer:
    """One cycle as an answer; exits 1 when a rescue was due and did not go out."""
    snapshot, plan = report.snapshot, report.plan
    document: Document = {**plan_document(plan, snapshot), "outcome": report.outcome, "failed": report.has_failed}
    lines = [rescue_paragraph(rescue, snapshot, report.policy) for rescue in plan.rescues]
    lines.append(f"Block {snapshot.block.number}: {report.outcome or 'nothing to send'}.")
    return Answer(lines, document, exit_code=1 if report.has_failed else 0)

"""`keeper run`: the daemon; `--once` for one cycle, `--dry-run` to stop before signing."""

import asyncio
from pathlib import Path

from keeper.commands.answer import Answer
from keeper.config import load_config
from keeper.daemon import CycleReport, run_daemon, run_once
from keeper.documents import Document, plan_document
from keeper.report import cycle_sentences


def run(config_path: Path, *, once: bool, dry_run: bool) -> Answer:
    config = load_config(config_path)
    if not once:
        asyncio.run(run_daemon(config, is_dry_run=dry_run))
        return Answer([], {"stopped": True}, is_streamed=True)
    return answer_to(asyncio.run(run_once(config, is_dry_run=dry_run)))


def answer_to(report: CycleReport) -> Answer:
    """One cycle as an answer; 1 when a rescue was due and did not take effect."""
    document: Document = plan_document(report.plan, report.snapshot)
    document["outcome"] = report.outcome_text
    return Answer(
        cycle_sentences(report.plan, report.snapshot, report.policy, report.outcome_text),
        document,
        exit_code=1 if report.has_failed else 0,
    )

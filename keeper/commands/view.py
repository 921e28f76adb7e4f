"""What a verb that only looks gets to see: a snapshot, and the plan that the daemon would make of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from keeper.control import ask_daemon
from keeper.core.plan import History, Plan
from keeper.core.planner import make_plan
from keeper.core.shock import after_shock
from keeper.core.snapshot import Snapshot
from keeper.history import history_from_journal
from keeper.journal_reader import open_reader
from keeper.pausing import Mode, PauseFile
from keeper.session import Session

NO_CHANGES: Mapping[str, int] = {}


@dataclass(frozen=True, slots=True)
class View:
    session: Session
    snapshot: Snapshot
    history: History
    plan: Plan
    mode: Mode
    daemon: dict[str, Any] | None
    """What the running daemon says of itself; None when none runs."""


async def view(session: Session, changes_bps: Mapping[str, int] = NO_CHANGES) -> View:
    """Reads once and plans as the daemon would, after prices changed by `changes_bps` (by symbol)."""
    config = session.config
    snapshot = await session.look()
    if changes_bps:
        snapshot = after_shock(snapshot, changes_bps)
    mode = PauseFile(config.journal.path).read()
    history = History()
    if config.journal.path.exists():
        reader = open_reader(config.journal.path)
        try:
            history = history_from_journal(reader, (feed.feed for feed in snapshot.feeds), snapshot.block.timestamp)
        finally:
            reader.close()
    history = replace(
        history,
        gas_price_wei=snapshot.block.base_fee_wei + config.fees.tip,
        protect_only=mode is Mode.PROTECT_ONLY,
    )
    daemon = await ask_daemon(config.telemetry.socket, "status", {})
    return View(session, snapshot, history, make_plan(snapshot, session.policy, history), mode, daemon)

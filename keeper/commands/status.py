"""`keeper status`: every subaccount, nearest to liquidation first, and what the keeper could do."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from rich.console import RenderableType

from keeper.commands.answer import Answer
from keeper.commands.gas_money import gas_money
from keeper.commands.view import View, by_hand_document, by_hand_lines, view
from keeper.config import load_config
from keeper.core.amounts import amount_text
from keeper.core.policy import disagreements
from keeper.core.snapshot import Subaccount
from keeper.documents import status_document
from keeper.pausing import Mode
from keeper.report import (
    age_text,
    counted,
    name_of,
    reasons,
    short,
    shortage_sentences,
    spares,
    status_table,
    time_text,
)
from keeper.session import open_session
from keeper.telling import held_back
from keeper.unlisted import Unlisted, find_unlisted


def status(config_path: Path) -> Answer:
    return asyncio.run(_status(config_path))


async def _status(config_path: Path) -> Answer:
    async with open_session(load_config(config_path)) as session:
        seen = await view(session)
        unlisted = await find_unlisted(session, seen.snapshot.block)
    if seen.mode is Mode.PAUSED:
        seen = replace(seen, plan=seen.plan.held("the keeper is paused (`keeper resume` undoes it)"))
    seen = _with(seen, unlisted)
    spare_raw = spares(seen.snapshot, seen.session.policy)
    document = {
        "mode": seen.mode.value,
        "quorum_problem": seen.quorum_problem,
        "daemon": seen.daemon,
        **status_document(seen.snapshot, session.policy, seen.plan, spare_raw),
        "not_in_configuration": [
            {"id": str(id), "what_to_do": verdict.reason} for id, verdict in unlisted.verdicts.items()
        ],
        "wallet_tokens_not_in_configuration": list(unlisted.tokens),
        "by_hand": by_hand_document(seen),
    }
    table = status_table(seen.snapshot, session.policy, seen.plan, spare_raw)
    return Answer([*_header(seen), "", table, *_footer(seen, unlisted), *by_hand_lines(seen)], document)


def _with(seen: View, unlisted: Unlisted) -> View:
    """Beside what is kept, what is not: for showing alone, the plan knows nothing of it."""
    return replace(
        seen,
        snapshot=replace(seen.snapshot, subaccounts=(*seen.snapshot.subaccounts, *unlisted.positions)),
        plan=replace(seen.plan, verdicts={**seen.plan.verdicts, **unlisted.verdicts}),
    )


def _header(seen: View) -> list[RenderableType]:
    snapshot = seen.snapshot
    block, guard = snapshot.block, snapshot.guard
    now = int(time.time())
    lines: list[RenderableType] = [
        (
            f"owner {short(seen.session.config.guard.owner)} on chain {snapshot.chain_id}, block {block.number}, "
            f"{time_text(block.timestamp, now)}"
        )
    ]
    if guard is None:
        lines.append(f"NO GUARD: {snapshot.guard_problem or 'none is configured'}; nothing is protected")
    else:
        state = "PAUSED on-chain, only the owner can unpause it" if guard.is_paused else "active"
        lines.append(f"guard {short(guard.address)} {state}, {counted(guard.last_sequence, 'batch')} so far")
    if seen.daemon is None:
        lines.append("daemon: not running; nothing is protected until `keeper run` is started")
    elif "problem" in seen.daemon:
        lines.append(f"daemon: {seen.daemon['problem']}")
    else:
        what = ", DRY RUN: it sends nothing" if seen.daemon["dry_run"] else ""
        lines.append(f"daemon: running since {time_text(seen.daemon['started_at'], now)}{what}")
    if seen.journal_problem is not None:
        lines.append(f"journal: {seen.journal_problem}")
    return [*lines, *held_back(seen.mode, seen.quorum_problem)]


def _footer(seen: View, unlisted: Unlisted) -> list[RenderableType]:
    snapshot = seen.snapshot
    lines = [
        f"{name_of(each)} CAN BE LIQUIDATED NOW"
        + ("" if each.forced_liquidation is None else f": {each.forced_liquidation}")
        for each in snapshot.subaccounts
        if each.is_liquidatable
    ]
    lines += reasons(snapshot, seen.plan)
    lines += shortage_sentences(snapshot, seen.session.policy)
    lines += _cannot_give(snapshot.subaccounts)
    lines += [f"{name_of(each)}: {note}" for each in snapshot.subaccounts for note in each.notes]
    if snapshot.guard is not None:
        lines += [str(each) for each in disagreements(seen.session.policy, snapshot.guard, snapshot.subaccounts)]
    tokens = {line.token.address: line.token for each in snapshot.subaccounts for line in each.collateral}
    if snapshot.guard is not None and snapshot.guard.remaining_cap_raw:
        left = ", ".join(
            amount_text(amount, tokens[address])
            for address, amount in snapshot.guard.remaining_cap_raw.items()
            if address in tokens
        )
        lines.append(f"the guard's caps still let move: {left or 'nothing'}")
    money = gas_money(seen)
    if money is not None:
        lines.append(str(money))
    stale = [
        f"{feed.name} {age_text(snapshot.block.timestamp - feed.updated_at)}"
        for feed in snapshot.feeds
        if feed.heartbeat_seconds is not None and snapshot.block.timestamp - feed.updated_at > feed.heartbeat_seconds
    ]
    if stale:
        lines.append(f"older than their heartbeat: {', '.join(stale)}")
    lines += [*unlisted.notes, *seen.plan.notes]
    return ["", *lines] if lines else []


def _cannot_give(subaccounts: Iterable[Subaccount]) -> list[str]:
    """One line for each reason, whomever it holds back."""
    names: dict[str, list[str]] = {}
    for each in subaccounts:
        if each.cannot_give is not None:
            names.setdefault(each.cannot_give, []).append(each.label)
    return [f"cannot give: {', '.join(labels)}: {reason}" for reason, labels in names.items()]

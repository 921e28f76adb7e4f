"""`keeper plan --return`: the owner's transactions that would restore what accounts held before rescues moved it."""

import asyncio
import json
from pathlib import Path

from rich.console import RenderableType

from keeper.commands.answer import THERE_IS_SOMETHING_TO_DO, Answer, Verbatim
from keeper.commands.owner_calls import SIGN_THESE, Form, call_document, cast_lines, list_lines, safe_document
from keeper.commands.view import known_history
from keeper.config import Config, load_config
from keeper.core.amounts import amount_text
from keeper.core.disputes import disputes_in, distrust, doubts
from keeper.core.plan import History
from keeper.core.returning import Kept, Ledger, Returning, plan_return
from keeper.core.snapshot import Snapshot
from keeper.documents import Document, block_document
from keeper.journal_reader import open_reader
from keeper.ledger import Recorded, recorded_ledger
from keeper.report import counted, name_of
from keeper.return_calls import by_hand_sentences, return_calls
from keeper.session import open_session

NOT_BY_THE_HOT_KEY = "The keeper cannot do this: its hot key only fills who is in need."


def plan_returning(config_path: Path, form: Form) -> Answer:
    return asyncio.run(_plan_returning(load_config(config_path), form))


async def _plan_returning(config: Config, form: Form) -> Answer:
    recorded = _recorded(config.journal.path)
    async with open_session(config) as session:
        snapshot, reading = await session.see()
    prices = session.policy.prices
    has_journal = config.journal.path.exists()
    history = known_history(config.journal.path, snapshot, prices.memory_seconds) if has_journal else History()
    disputes = disputes_in(snapshot, prices, history)
    doubted = doubts(snapshot, disputes)
    if reading.problem is not None:
        doubted = {each.id: reading.problem for each in snapshot.subaccounts if each.has_debt}
    returning = plan_return(snapshot, session.policy, recorded.ledger, doubted)
    distrusted = list(distrust(snapshot, disputes))
    calls = return_calls(session.portfolio, snapshot, session.policy, returning)
    by_hand = by_hand_sentences(session.portfolio, snapshot, returning)
    exit_code = THERE_IS_SOMETHING_TO_DO if returning.returns else 0
    if form == "safe":
        safe = safe_document("Return after rescues", calls, config.chain.chain_id)
        return Answer([Verbatim(json.dumps(safe, indent=2))], safe, exit_code)
    document: Document = {
        **_document(snapshot, returning),
        "transactions": [call_document(call) for call in calls],
        "by_hand": by_hand,
        "problems": list(recorded.problems),
        "notes": distrusted,
    }
    if form == "cast":
        return Answer(cast_lines(calls, config.guard.owner) or ["# Nothing to return."], document, exit_code)
    lines: list[RenderableType] = [_first_line(snapshot, returning, recorded.ledger)]
    lines += ["", *list_lines(calls)] if calls else []
    kept = (_kept_sentence(each, snapshot) for each in returning.kept)
    said = [*by_hand, *kept, *distrusted, *recorded.problems]
    lines += ["", *said] if said else []
    lines += ["", f"Nothing was sent. {NOT_BY_THE_HOT_KEY} {SIGN_THESE}."] if calls else []
    return Answer(lines, document, exit_code)


def _recorded(journal: Path) -> Recorded:
    """Without a journal nothing was ever moved."""
    if not journal.exists():
        return Recorded(Ledger(), ())
    reader = open_reader(journal)
    try:
        return recorded_ledger(reader)
    finally:
        reader.close()


def _first_line(snapshot: Snapshot, returning: Returning, ledger: Ledger) -> str:
    at = f"At block {snapshot.block.number}"
    if returning.returns:
        return f"{at}: {counted(len(returning.returns), 'return')} would restore what rescues changed."
    if returning.kept:
        return f"{at}: nothing can be returned yet."
    had = "what rescues moved is back where it was, or gone" if ledger.moved_raw else "no rescue moved anything"
    return f"{at}: nothing to return; {had}."


def _kept_sentence(kept: Kept, snapshot: Snapshot) -> str:
    giver = name_of(snapshot.subaccount(kept.giver))
    return f"{giver} keeps {amount_text(kept.amount_raw, kept.token)} that it got: {kept.reason.rstrip('.')}."


def _document(snapshot: Snapshot, returning: Returning) -> Document:
    return {
        "block": block_document(snapshot),
        "returns": [
            {
                "giver": str(one.giver),
                "taker": str(one.taker),
                "token": one.token.address,
                "symbol": one.token.symbol,
                "amount_raw": str(one.amount_raw),
            }
            for one in returning.returns
        ],
        "kept": [
            {
                "giver": str(one.giver),
                "token": one.token.address,
                "symbol": one.token.symbol,
                "amount_raw": str(one.amount_raw),
                "reason": one.reason,
            }
            for one in returning.kept
        ],
    }

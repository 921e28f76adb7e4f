"""What a verb that only looks gets to see: a snapshot, and the plan that the daemon would make of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from keeper.by_hand import ByHand, by_hand
from keeper.chain.data_fee import current_data_fee
from keeper.commands.answer import Verbatim
from keeper.control import ask_daemon
from keeper.core.imagined import after_shock
from keeper.core.plan import History, InFlight, Plan
from keeper.core.planner import make_plan
from keeper.core.policy import Pair
from keeper.core.replanning import recipients
from keeper.core.snapshot import Snapshot
from keeper.documents import Document
from keeper.errors import ConfigError, JournalError, KeeperError
from keeper.history import history_from_journal
from keeper.journal_reader import JournalReader, open_reader
from keeper.pausing import Mode, PauseFile
from keeper.sent import sent_moves
from keeper.session import Session
from keeper.telling import held_back

NO_CHANGES: Mapping[str, int] = {}


@dataclass(frozen=True, slots=True)
class View:
    session: Session
    snapshot: Snapshot
    history: History
    plan: Plan
    """What would be sent if the keeper is not paused."""
    mode: Mode
    daemon: dict[str, Any] | None
    """What the running daemon says of itself, or its `problem`; None when none runs."""
    quorum_problem: str | None = None
    """Why fewer endpoints agree on the snapshot than must, as a sentence; None: enough do."""
    journal_problem: str | None = None
    """Why what earlier cycles know is missing here."""

    @property
    def by_hand(self) -> list[ByHand]:
        """What only the owner can do."""
        return by_hand(self.session.portfolio, self.snapshot, self.plan)


async def view(session: Session, changes_bps: Mapping[str, int] = NO_CHANGES, gas_price_wei: int | None = None) -> View:
    """Reads once and plans as the daemon would, after prices changed by `changes_bps` (by symbol) and with another
    price of gas, if one is given.

    A journal that cannot be read, or a daemon that does not answer, hides nothing of what the chain says.
    """
    config = session.config
    snapshot, reading = await session.see()
    if changes_bps:
        snapshot = after_shock(snapshot, changes_bps)
    mode = PauseFile(config.journal.path).read()
    history, journal_problem = History(), None
    if config.journal.path.exists():
        try:
            history = known_history(config.journal.path, snapshot, session.policy.prices.memory_seconds)
        except JournalError as fault:
            journal_problem = str(fault)
    if gas_price_wei is not None:
        snapshot = replace(
            snapshot, block=replace(snapshot.block, base_fee_wei=max(gas_price_wei - config.fees.tip, 0))
        )
    history = replace(
        history,
        prices={} if changes_bps else history.prices,  # a move that is imagined is no jump
        gas_price_wei=snapshot.block.base_fee_wei + config.fees.tip if gas_price_wei is None else gas_price_wei,
        data_fee=await current_data_fee(session.rpc, snapshot.block.hash),
        protect_only=mode is Mode.PROTECT_ONLY or reading.problem is not None,
    )
    try:
        daemon = await ask_daemon(config.telemetry.socket, "status", {})
    except KeeperError as fault:
        daemon = {"problem": str(fault)}
    plan = make_plan(snapshot, session.policy, history)
    return View(session, snapshot, history, plan, mode, daemon, reading.problem, journal_problem)


def known_history(journal: Path, snapshot: Snapshot, memory_seconds: int) -> History:
    """What earlier cycles know, by the journal. Raises JournalError when there is none."""
    reader = open_reader(journal)
    try:
        feeds = (feed.feed for feed in snapshot.feeds)
        known = history_from_journal(reader, feeds, snapshot.block.timestamp, memory_seconds)
        return replace(known, in_flight=_in_flight(reader))
    finally:
        reader.close()


def _in_flight(reader: JournalReader) -> InFlight | None:
    """What the daemon has on its way, by its own journal."""
    live = [intent for intent in reader.open_intents() if intent.is_live]
    if not live:
        return None
    return InFlight(live[-1].plan_id, live[-1].lane, recipients(sent_moves(reader, live[-1].plan_id)))


def as_spelt(option: str, changes_bps: Mapping[str, int], symbols: Iterable[str]) -> dict[str, int]:
    """The changes with each symbol as its token spells it; where two differ in case alone, it has to be written so.

    Raises ConfigError for a symbol of nothing that is held or owed, and for two spellings of one.
    """
    known = sorted(set(symbols))
    found: dict[str, int] = {}
    for written, bps in changes_bps.items():
        alike = [written] if written in known else [one for one in known if one.lower() == written.lower()]
        if len(alike) != 1:
            there_are = ", ".join(alike or known)
            raise ConfigError(f"{option} names {written}, which no account here holds or owes; there are {there_are}.")
        if alike[0] in found:
            raise ConfigError(f"{option} names {alike[0]} twice.")
        found[alike[0]] = bps
    return found


def symbols_of(session: Session) -> set[str]:
    """Of all that is held or owed."""
    return {token.symbol for adapter in session.portfolio.adapters for token in adapter.tokens()}


def with_companions(changes_bps: Mapping[str, int], pairs: Sequence[Pair]) -> dict[str, int]:
    """The changes, and the same for what moves together with one of them: ETH does not fall 12 % below wstETH."""
    companions = {
        pair.collateral_symbol: changes_bps[pair.debt_symbol]
        for pair in pairs
        if pair.lltv is not None and pair.moves_together and pair.debt_symbol in changes_bps
    }
    return dict(changes_bps) | {symbol: bps for symbol, bps in companions.items() if symbol not in changes_bps}


def held_back_lines(seen: View) -> list[RenderableType]:
    """Why less may be sent than could be, in a paragraph of its own."""
    lines = held_back(seen.mode, seen.quorum_problem)
    return ["", *lines] if lines else []


def by_hand_lines(seen: View) -> list[RenderableType]:
    """For a person, with the transactions as commands to be copied."""
    lines: list[RenderableType] = []
    for one in seen.by_hand:
        lines += ["", one.says, *map(Verbatim, one.cast_lines(seen.session.config.guard.owner))]
    return lines


def by_hand_document(seen: View) -> list[Document]:
    return [
        {
            "subaccount": str(one.subaccount),
            "says": one.says,
            "transactions": [{"to": to, "data": f"0x{data.hex()}", "value_wei": "0"} for to, data in one.calls],
        }
        for one in seen.by_hand
    ]

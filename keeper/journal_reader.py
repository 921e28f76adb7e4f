"""Reading the journal: its rows as values.

A reader has no right to change anything and sees every committed write of a daemon that runs at the same time.
"""

import json
import sqlite3
import zlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from keeper.core.fees import Fees
from keeper.core.intent import (
    FINISHED,
    Abandoned,
    Attempt,
    Included,
    Intent,
    Outcome,
    Receipt,
    Refused,
    Reverted,
    State,
)
from keeper.core.plan import Lane, LastRescue, PriceOf, PriceSeen
from keeper.core.snapshot import Block, FeedRound, SubaccountId
from keeper.core.units import Address, Wad
from keeper.errors import JournalError, JournalFull
from keeper.journal_schema import MIGRATIONS, check_version

OUT_OF_SPACE = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}


@dataclass(frozen=True, slots=True)
class VerdictNote:
    """One subaccount's verdict; a changed health alone is no change."""

    kind: str
    sentence: str
    health: Wad | None


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """A decision with everything that it was made from but the reads, which are its cycle's; JSON where not said."""

    plan_id: str
    lane: Lane
    policy: str
    history: str
    plan: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CycleRecord:
    """One cycle: what was read, as bytes, and what came of it."""

    block: Block
    snapshot_digest: str
    topology: str
    """JSON; stored once however often it comes."""
    reads: bytes
    rounds: tuple[FeedRound, ...] = ()
    verdicts: Mapping[str, VerdictNote] = field(default_factory=dict[str, VerdictNote])
    """By subaccount id; stored where they differ from the last."""
    plan: PlanRecord | None = None
    prices: Mapping[PriceOf, Wad] = field(default_factory=dict[PriceOf, Wad])
    """What accounts' protocols took their tokens for; stored where they differ from the last."""
    last_said: Mapping[PriceOf, Wad] = field(default_factory=dict[PriceOf, Wad])
    """What second sources said last of the prices that they dispute."""


@dataclass(frozen=True, slots=True)
class PricePoint:
    updated_at: int
    answer: int
    decimals: int


@dataclass(frozen=True, slots=True)
class RescueOutcome:
    """What one rescue of a mined batch did; healths as the guard reported them."""

    recipient: str
    succeeded: bool
    health_before: Wad
    health_after: Wad
    reason: str = ""
    label: str = field(default="", compare=False)
    """For people, where the account is known; only what is told of it keeps it."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line for people; `id` grows, so that a reader can follow."""

    id: int
    at: int
    kind: str
    """`verdict`, `plan`, `intent`, `outcome`, or what `record_event` was given."""
    subject: str
    sentence: str


class JournalReader:
    """Read-only; sees every committed write of a daemon that runs at the same time."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def close(self) -> None:
        self._connection.close()

    def cycle_of(self, plan_id: str) -> CycleRecord:
        """The cycle in which a plan was made, with the plan. Raises JournalError when it is not there (any more)."""
        row = self._one(
            "SELECT c.*, t.json AS topology, p.* FROM plans p JOIN cycles c ON c.id = p.cycle_id"
            " JOIN topologies t ON t.digest = c.topology_digest WHERE p.plan_id = ?",
            plan_id,
        )
        if row is None:
            raise JournalError(f"The journal holds no plan {plan_id} with its reads; they are kept for a limited time.")
        return CycleRecord(
            block=Block(
                row["block_number"],
                row["block_hash"],
                row["parent_hash"],
                row["block_timestamp"],
                int(row["base_fee_wei"]),
                row["gas_limit"],
            ),
            snapshot_digest=row["snapshot_digest"],
            topology=row["topology"],
            reads=zlib.decompress(row["reads"]),
            plan=PlanRecord(
                row["plan_id"],
                Lane(row["lane"]),
                row["policy"],
                row["history"],
                row["plan"],
                tuple(json.loads(row["sentences"])),
            ),
        )

    def plan_id_of(self, written: str) -> str:
        """The one plan whose id is written so, or begins so, or is shortened so (`0x3a85…1b2c`); `last` is the latest.

        Raises JournalError for none and for several.
        """
        if written == "last":
            rows = self._all("SELECT plan_id FROM plans ORDER BY at DESC, plan_id DESC LIMIT 1")
        else:
            beginning, _, end = written.lower().partition("…")
            rows = [
                row
                for row in self._all("SELECT plan_id FROM plans ORDER BY at")
                if row["plan_id"].startswith(beginning) and row["plan_id"].endswith(end)
            ]
        if not rows:
            raise JournalError(f"The journal holds no plan {written}; `keeper journal` lists those that it holds.")
        if len(rows) > 1:
            raise JournalError(f"{written} could be any of {len(rows)} plans; write more of the id.")
        return rows[0]["plan_id"]

    def price_history(self, feed: Address, since: int) -> tuple[PricePoint, ...]:
        """The answers of a feed updated at `since` (unix seconds) or later, oldest first."""
        rows = self._all(
            "SELECT updated_at, answer, decimals FROM prices WHERE feed = ? AND updated_at >= ?"
            " ORDER BY updated_at, block_number",
            feed,
            since,
        )
        return tuple(PricePoint(row["updated_at"], int(row["answer"]), row["decimals"]) for row in rows)

    def prices_seen(self, seconds: int) -> Mapping[PriceOf, tuple[PriceSeen, ...]]:
        """The prices that held in the last `seconds` before the newest cycle, oldest first; the one that still held
        then comes once more at the end, with that cycle's time."""
        newest = self._one("SELECT max(block_timestamp) AS at FROM cycles")
        if newest is None or newest["at"] is None:
            return {}
        since = newest["at"] - seconds
        rows = self._all(
            "SELECT subaccount, token, at, price FROM seen_prices AS one WHERE at <= ? AND at >= coalesce("
            "(SELECT max(at) FROM seen_prices WHERE subaccount = one.subaccount AND token = one.token AND at < ?), ?)"
            " ORDER BY subaccount, token, at",
            newest["at"],
            since,
            since,
        )
        found: dict[PriceOf, list[PriceSeen]] = {}
        for row in rows:
            key = SubaccountId.parse(row["subaccount"]), Address(row["token"])
            found.setdefault(key, []).append(PriceSeen(row["at"], int(row["price"])))
        return {key: (*seen, PriceSeen(newest["at"], seen[-1].price)) for key, seen in found.items()}

    def last_said(self) -> Mapping[PriceOf, Wad]:
        """What second sources said last of the prices that they dispute."""
        rows = self._all("SELECT subaccount, token, price FROM disputed_prices")
        return {(SubaccountId.parse(row["subaccount"]), Address(row["token"])): int(row["price"]) for row in rows}

    def latest_verdicts(self) -> Mapping[str, VerdictNote]:
        """The last verdict of every subaccount ever seen, with its health when that verdict began."""
        rows = self._all(
            "SELECT subaccount, kind, sentence, health FROM verdicts"
            " WHERE id IN (SELECT max(id) FROM verdicts GROUP BY subaccount)"
        )
        return {row["subaccount"]: VerdictNote(row["kind"], row["sentence"], _int(row["health"])) for row in rows}

    def open_intents(self) -> tuple[Intent, ...]:
        """Those that are not settled, oldest first."""
        finished = ", ".join(f"'{state.value}'" for state in FINISHED)
        return self._intents(f"WHERE state NOT IN ({finished}) ORDER BY planned_at, nonce")

    def intents_from_nonce(self, nonce: int) -> tuple[Intent, ...]:
        """All in any state whose nonce is `nonce` or later: what may still land, and the fees to outbid."""
        return self._intents("WHERE nonce >= ? ORDER BY nonce, planned_at", nonce)

    def final_nonce(self) -> int:
        """The one after the last nonce that is known to be used for good; 0 without any."""
        row = self._one("SELECT max(nonce) AS last FROM intents WHERE state = ?", State.FINAL.value)
        return 0 if row is None or row["last"] is None else row["last"] + 1

    def untold_intents(self) -> tuple[Intent, ...]:
        """Those whose receipt was seen, and what it says was not recorded yet (`Journal.record_rescues`)."""
        return self._intents(
            "WHERE plan_id IN (SELECT plan_id FROM outcomes WHERE told_at IS NULL) ORDER BY planned_at, nonce"
        )

    def intent(self, plan_id: str) -> Intent | None:
        return next(iter(self._intents("WHERE plan_id = ?", plan_id)), None)

    def spent_since(self, since: int) -> int:
        """Wei paid for gas by transactions whose receipt was seen at `since` (unix seconds) or later."""
        rows = self._all("SELECT gas_used, gas_price_wei, data_fee_wei FROM outcomes WHERE seen_at >= ?", since)
        return sum(row["gas_used"] * int(row["gas_price_wei"]) + int(row["data_fee_wei"]) for row in rows)

    def base_fee_low_since(self, since: int) -> int | None:
        """The lowest base fee, wei, of the blocks seen at `since` (unix seconds) or later; None without any."""
        # As numbers, because the least of texts is another one; no base fee comes near to 63 bits.
        row = self._one(
            "SELECT min(CAST(base_fee_wei AS INTEGER)) AS low FROM cycles WHERE block_timestamp >= ?", since
        )
        return None if row is None else row["low"]

    def inclusion_delay_since(self, since: int, now: int) -> int:
        """The longest that a transaction took from its signature to its receipt, of those whose receipt was seen at
        `since` (unix seconds) or later, or has waited for by `now`; seconds, 0 when there was none."""
        row = self._one(
            "SELECT max(o.seen_at - a.signed_at) AS delay FROM outcomes o JOIN attempts a ON a.plan_id = o.plan_id"
            " WHERE o.seen_at >= ? AND a.position = 0",
            since,
        )
        took = 0 if row is None or row["delay"] is None else row["delay"]
        waits = [now - intent.attempts[0].signed_at for intent in self.open_intents() if intent.is_live]
        return max(took, *waits, 0)

    def waiting_since(self) -> Mapping[str, int]:
        """Since when (unix seconds) each subaccount waits, whose last verdict is that its rescue waits."""
        rows = self._all(
            "SELECT subaccount, at FROM verdicts WHERE kind = 'Waiting'"
            " AND id IN (SELECT max(id) FROM verdicts GROUP BY subaccount)"
        )
        return {row["subaccount"]: row["at"] for row in rows}

    def last_rescues(self) -> Mapping[str, LastRescue]:
        """The last rescue that took effect, by recipient."""
        # SQLite takes the other columns from the row that has the maximum.
        rows = self._all(
            "SELECT recipient, max(at) AS at, health_after FROM rescues WHERE succeeded GROUP BY recipient"
        )
        return {row["recipient"]: LastRescue(row["at"], int(row["health_after"])) for row in rows}

    def rescues_of(self, plan_id: str) -> tuple[RescueOutcome, ...]:
        rows = self._all("SELECT * FROM rescues WHERE plan_id = ? ORDER BY position", plan_id)
        return tuple(
            RescueOutcome(
                row["recipient"],
                bool(row["succeeded"]),
                int(row["health_before"]),
                int(row["health_after"]),
                row["reason"],
            )
            for row in rows
        )

    def rescued(self) -> Mapping[str, frozenset[str]]:
        """Who was rescued by each plan that took effect and is still held with its reads, oldest first."""
        rows = self._all(
            "SELECT r.plan_id, r.recipient FROM rescues r JOIN plans p ON p.plan_id = r.plan_id"
            " JOIN cycles c ON c.id = p.cycle_id WHERE r.succeeded ORDER BY c.block_number, c.id"
        )
        found: dict[str, set[str]] = {}
        for row in rows:
            found.setdefault(row["plan_id"], set()).add(row["recipient"])
        return {plan_id: frozenset(recipients) for plan_id, recipients in found.items()}

    def events(self, since: int = 0, after_id: int = 0, limit: int = 1_000) -> tuple[Event, ...]:
        """The latest `limit` events at `since` (unix seconds) or later and after an id, oldest first."""
        rows = self._all(
            "SELECT * FROM events WHERE at >= ? AND id > ? ORDER BY id DESC LIMIT ?", since, after_id, limit
        )
        return tuple(
            Event(row["id"], row["at"], row["kind"], row["subject"], row["sentence"]) for row in reversed(rows)
        )

    def _intents(self, condition: str, *arguments: object) -> tuple[Intent, ...]:
        return tuple(self._intent_of(row) for row in self._all(f"SELECT * FROM intents {condition}", *arguments))

    def _intent_of(self, row: sqlite3.Row) -> Intent:
        attempts = self._all("SELECT * FROM attempts WHERE plan_id = ? ORDER BY position", row["plan_id"])
        receipt = self._one("SELECT * FROM outcomes WHERE plan_id = ?", row["plan_id"])
        floor = row["floor_max_fee_wei"]
        return Intent(
            plan_id=row["plan_id"],
            lane=Lane(row["lane"]),
            nonce=row["nonce"],
            deadline=row["deadline"],
            fee_ceiling_wei=int(row["fee_ceiling_wei"]),
            fee_floor=None if floor is None else Fees(int(floor), int(row["floor_tip_wei"])),
            state=State(row["state"]),
            attempts=tuple(_attempt(attempt) for attempt in attempts),
            outcome=_outcome(row, receipt),
        )

    def _all(self, sql: str, *arguments: object) -> list[sqlite3.Row]:
        with named_faults(self._path):
            return self._connection.execute(sql, arguments).fetchall()

    def _one(self, sql: str, *arguments: object) -> sqlite3.Row | None:
        with named_faults(self._path):
            return self._connection.execute(sql, arguments).fetchone()


def open_reader(path: Path) -> JournalReader:
    """Opens the journal at `path` without any right to change it.

    Raises JournalError when there is none, or when it is of another version than this keeper's.
    """
    if not path.exists():
        raise JournalError(f"There is no journal at {path} yet; `keeper run` makes one.")
    with named_faults(path):
        connection = connect(f"{path.absolute().as_uri()}?mode=ro")
        version = check_version(connection)
        if version < len(MIGRATIONS):
            raise JournalError(f"The journal {path} is from an older keeper; `keeper run` brings it up to date.")
    return JournalReader(connection, path)


def connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5)
    connection.row_factory = sqlite3.Row
    return connection


@contextmanager
def named_faults(path: Path) -> Generator[None]:
    """SQLite's errors as sentences about this journal."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code in OUT_OF_SPACE:
            raise JournalFull(f"The disk of the journal {path} is full; free some space.") from None
        if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            raise JournalError(
                f"The journal {path} is damaged ({error}); move it aside, a new one is made; the chain holds the truth."
            ) from None
        raise JournalError(f"The journal {path} cannot be used: {error}.") from None


# Rows -----------------------------------------------------------------------------------------------------------------


def _int(text: str | None) -> int | None:
    return None if text is None else int(text)


def _attempt(row: sqlite3.Row) -> Attempt:
    fees = Fees(int(row["max_fee_wei"]), int(row["tip_wei"]))
    return Attempt(row["hash"], row["raw"], row["nonce"], fees, row["signed_at"], row["sent_at"])


def _outcome(intent: sqlite3.Row, receipt: sqlite3.Row | None) -> Outcome | None:
    match intent["outcome"]:
        case "refused":
            return Refused(intent["reason"])
        case "abandoned":
            return Abandoned(intent["reason"])
        case "included" | "reverted" if receipt is not None:
            seen = Receipt(
                receipt["hash"],
                receipt["block_number"],
                receipt["block_hash"],
                bool(receipt["succeeded"]),
                receipt["gas_used"],
                int(receipt["gas_price_wei"]),
                int(receipt["data_fee_wei"]),
            )
            return Included(seen) if intent["outcome"] == "included" else Reverted(seen)
        case _:
            return None
